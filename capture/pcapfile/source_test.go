package pcapfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
)

const second = int64(1e9)

// variants are captures of the same three frames in every format, by name;
// times are whole microseconds, so that all of them can say the same.
func variants(t testing.TB) map[string][]byte {
	frames := [3][]byte{apiFrame(0, false), apiFrame(0, true), apiFrame(1, false)}
	files := map[string][]byte{}
	for _, order := range []interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}{binary.LittleEndian, binary.BigEndian} {
		for name, v := range map[string]struct{ magic, fraction uint32 }{
			"pcap µs": {magicMicro, 1}, "pcap ns": {magicNano, 1000}, "pcap modified": {magicModified, 1},
		} {
			var records []pcapRecord
			for i, data := range frames {
				records = append(records, pcapRecord{1_700_000_000 + uint32(i), 5 * v.fraction, data, 0})
			}
			// The upper bits say that there is a frame check sequence of 4 octets.
			f := pcapBytes{order: order, magic: v.magic, link: 0x2400_0001}
			files[fmt.Sprintf("%s, %s", name, order)] = f.file(records...)
		}
		for name, v := range map[string]struct {
			resolution []byte // the option's value
			perSecond  uint64
			offset     int64
		}{
			"pcapng µs":          {nil, 1e6, 0},
			"pcapng ns":          {[]byte{9}, 1e9, 0},
			"pcapng 10^-12":      {[]byte{12}, 1e12, 1_700_000_000},
			"pcapng µs, offset":  {[]byte{6}, 1e6, 1_600_000_000},
			"pcapng µs, -offset": {[]byte{6}, 1e6, -100},
		} {
			f := &pcapngBytes{order: order}
			f.section()
			var options [][]byte
			if v.resolution != nil {
				options = append(options, f.option(optionTsResol, v.resolution))
			}
			if v.offset != 0 {
				options = append(options, f.option(optionTsOffset, order.AppendUint64(nil, uint64(v.offset))))
			}
			f.iface(capture.LinkEthernet, 0, append(options, f.option(optionEnd, nil))...)
			for i, data := range frames {
				seconds := uint64(1_700_000_000 + int64(i) - v.offset)
				f.enhanced(0, seconds*v.perSecond+5*v.perSecond/1e6, data)
			}
			files[fmt.Sprintf("%s, %s", name, order)] = f.b
		}
	}
	for _, format := range []Format{Pcap, PcapNG} {
		var b bytes.Buffer
		w, err := NewWriter(&b, format, Interface{"eth0", capture.LinkEthernet})
		require.NoError(t, err)
		for i, data := range frames {
			require.NoError(t, w.WritePacket((1_700_000_000+int64(i))*second+5000, data, len(data)))
		}
		require.NoError(t, w.Flush())
		files[fmt.Sprintf("Writer, format %d", format)] = b.Bytes()
	}
	return files
}

func requireVariant(t testing.TB, got []seen) {
	t.Helper()
	require.Len(t, got, 3)
	for i, want := range [][]byte{apiFrame(0, false), apiFrame(0, true), apiFrame(1, false)} {
		p := got[i]
		require.Equal(t, (1_700_000_000+int64(i))*second+5000, p.Time)
		require.Equal(t, p.Time, p.Clock)
		require.Equal(t, want, p.Data)
		require.Equal(t, len(want), p.WireLen)
		require.Equal(t, capture.LinkEthernet, p.Link)
		require.Equal(t, capture.DispositionTCP, p.Disposition)
		require.Len(t, p.Payload, 408)
	}
}

func TestEveryFormatGivesTheSamePackets(t *testing.T) {
	for name, content := range variants(t) {
		for kind, content := range map[string][]byte{
			"plain": content, "gzip": gzipped(t, content), "zstd": zstded(t, content),
			"gzip in two members":                   append(gzipped(t, content[:40]), gzipped(t, content[40:])...),
			"zstd after a skippable frame":          append([]byte("\x50\x2a\x4d\x18\x02\x00\x00\x00hi"), zstded(t, content)...),
			"zstd in two frames, cut in the header": append(zstded(t, content[:3]), zstded(t, content[3:])...),
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				path := write(t, t.TempDir(), "no-telling-name", content)
				got, s, err := read(t, Options{}, path)
				require.NoError(t, err)
				requireVariant(t, got)
				assert.Equal(t, capture.Stats{
					Received: 3, Bytes: 3 * 462, Frames: [capture.Dispositions]uint64{capture.DispositionTCP: 3},
				}, s.Stats())

				got, _, err = read(t, Options{Stdin: bytes.NewReader(content)}, "-")
				require.NoError(t, err)
				requireVariant(t, got)

				// As a pipe, written in pieces.
				r, w, err := os.Pipe()
				require.NoError(t, err)
				defer r.Close()
				go func() {
					defer w.Close()
					for len(content) > 0 {
						n, _ := w.Write(content[:min(100, len(content))])
						content = content[n:]
					}
				}()
				got, _, err = read(t, Options{Stdin: r}, "-")
				require.NoError(t, err)
				requireVariant(t, got)
			})
		}
	}
}

func TestPcapngSectionsInterfacesAndOldBlocks(t *testing.T) {
	frame := apiFrame(0, false)
	f := &pcapngBytes{order: binary.LittleEndian}
	f.section().
		block(4, []byte("a name resolution block, skipped")).
		block(0x0bad, []byte("a block of a vendor, skipped")).
		iface(capture.LinkEthernet, 0, f.option(optionIfName, []byte("eth0")), f.option(optionTsResol, []byte{9}), f.option(optionEnd, nil)).
		iface(capture.LinkRaw, 100, f.option(optionIfName, []byte("tun0")), f.option(optionTsResol, []byte{0x80 | 10})).
		enhanced(0, 7, frame).
		enhanced(1, 3<<10|512, frame[14:]).
		block(blockPacket, f.u16(1, 9), f.u32(0, 4<<10, 20, 448), frame[14:34])
	// A section in the other byte order, with its own interfaces.
	g := &pcapngBytes{order: binary.BigEndian, b: f.b}
	g.section().
		iface(capture.LinkRaw, 60, g.option(optionIfName, []byte("tun0"))).
		iface(capture.LinkEthernet, 0, g.option(optionIfName, []byte("eth1"))).
		block(blockSimple, g.u32(448), frame[14:74]).
		enhanced(1, 5_000_000, frame)

	got, s, err := read(t, Options{}, write(t, t.TempDir(), "x", g.b))
	require.NoError(t, err)
	type line struct {
		time    int64
		link    capture.LinkType
		iface   uint16
		octets  int
		wireLen int
	}
	var lines []line
	for _, p := range got {
		lines = append(lines, line{p.Time, p.Link, p.Iface, len(p.Data), p.WireLen})
	}
	assert.Equal(t, []line{
		{7, capture.LinkEthernet, 0, 462, 462},
		{3*second + second/2, capture.LinkRaw, 1, 448, 448},
		{4 * second, capture.LinkRaw, 1, 20, 448},
		{4 * second, capture.LinkRaw, 1, 60, 448}, // no time of its own; an interface known from before
		{5 * second, capture.LinkEthernet, 2, 462, 462},
	}, lines)
	assert.Equal(t, capture.Stats{
		Received: 5, Bytes: 462 + 448 + 20 + 60 + 462, SnapLengthCut: 2,
		Frames: [capture.Dispositions]uint64{capture.DispositionTCP: 4, capture.DispositionTruncated: 1},
	}, s.Stats())
}

func TestTimeResolutions(t *testing.T) {
	tests := []struct {
		name       string
		resolution uint8
		offset     int64
		t          uint64
		want       int64
		ok         bool
	}{
		{"seconds", 0, 0, 3, 3 * second, true},
		{"milliseconds", 3, 0, 3, 3e6, true},
		{"nanoseconds", 9, 0, 3, 3, true},
		{"picoseconds are cut off", 12, 0, 3999, 3, true},
		{"10^-19", 19, 0, 1e19, second, true},
		{"10^-127 is always 0", 127, 0, math.MaxUint64, 1, true},
		{"halves", 0x81, 0, 3, second * 3 / 2, true},
		{"2^-0", 0x80, 0, 3, 3 * second, true},
		{"2^-63", 0x80 | 63, 0, 1<<63 | 1<<62, second * 3 / 2, true},
		{"2^-64", 0x80 | 64, 0, 1 << 63, second / 2, true},
		{"2^-127 is always 0", 0x80 | 127, 0, math.MaxUint64, 0, true},
		{"offset", 6, 100, 1, 100*second + 1000, true},
		{"negative offset", 6, -100, 101e6, second, true},
		{"before 1970", 6, -100, 99e6, 0, false},
		{"the last nanosecond", 9, 0, math.MaxInt64, math.MaxInt64, true},
		{"after 2262", 9, 0, math.MaxInt64 + 1, 0, false},
		{"after 2262 by the offset", 9, 1, math.MaxInt64, 0, false},
		{"far beyond", 0, 0, math.MaxUint64, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := clock{resolution: tt.resolution, offset: tt.offset}
			require.NoError(t, c.prepare())
			got, ok := c.nanoseconds(tt.t)
			assert.Equal(t, tt.ok, ok)
			assert.Equal(t, tt.want, got)
		})
	}
	c := clock{offset: math.MinInt64}
	assert.ErrorContains(t, c.prepare(), "if_tsoffset of -9223372036854775808 seconds")
}

func TestEveryWorkerGetsTheSecretsThatStandBeforeItsPackets(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, PcapNG, Interface{"eth0", capture.LinkEthernet})
	require.NoError(t, err)
	require.NoError(t, w.WritePacket(1, apiFrame(0, false), 0))
	require.NoError(t, w.WriteSecrets([]byte("CLIENT_RANDOM 00 11\n")))
	require.NoError(t, w.WritePacket(2, apiFrame(0, false), 0))
	require.NoError(t, w.WriteSecrets([]byte("CLIENT_RANDOM 22 33\n")))
	require.NoError(t, w.WriteSecrets([]byte("CLIENT_RANDOM 44 55\n")))
	require.NoError(t, w.WritePacket(3, apiFrame(0, false), 0))
	require.NoError(t, w.Flush())
	path := write(t, t.TempDir(), "x", b.Bytes())

	for _, workers := range []int{1, 3} {
		s, err := Open([]string{path}, Options{Workers: workers})
		require.NoError(t, err)
		known := make([]string, workers)
		seen := make([]string, 3)
		require.NoError(t, s.Run(t.Context(), func(worker int, batch capture.Batch) {
			known[worker] += string(batch.Secrets)
			for _, p := range batch.Packets {
				seen[p.Time-1] = known[worker]
			}
		}))
		all := "CLIENT_RANDOM 00 11\nCLIENT_RANDOM 22 33\nCLIENT_RANDOM 44 55\n"
		assert.Equal(t, []string{"", "CLIENT_RANDOM 00 11\n", all}, seen, "%d workers", workers)
		for _, k := range known {
			assert.Equal(t, all, k)
		}
	}
}

func TestWrongInputsGetAClearError(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good", variants(t)["Writer, format 0"])
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	write(t, dir, "folder/readme", []byte("no capture"))
	tests := []struct {
		name, path string
		is         error
		text       string
	}{
		{"a missing file", filepath.Join(dir, "missing"), fs.ErrNotExist, "missing"},
		{"an empty file", write(t, dir, "empty", nil), ErrEmpty, "empty: the file is empty"},
		{"a gzip of nothing", write(t, dir, "empty.gz", gzipped(t, nil)), ErrEmpty, "empty.gz: the file is empty"},
		{"a text", write(t, dir, "text", []byte("hello")), ErrNotCapture, "text: not a capture (neither pcap nor pcapng)"},
		{"one octet that begins no capture", write(t, dir, "one", []byte("h")), ErrNotCapture, "one: not a capture"},
		{"a compressed text", write(t, dir, "text.zst", zstded(t, []byte("hello"))), ErrNotCapture, "text.zst: not a capture"},
		{"a folder without captures", filepath.Join(dir, "folder"), ErrNoCaptures, "folder: the folder holds no captures"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open([]string{good, tt.path}, Options{})
			require.ErrorIs(t, err, tt.is)
			assert.ErrorContains(t, err, tt.text)
		})
	}
	t.Run("all wrong inputs are named at once", func(t *testing.T) {
		_, err := Open([]string{tests[0].path, tests[1].path}, Options{})
		assert.ErrorIs(t, err, fs.ErrNotExist)
		assert.ErrorIs(t, err, ErrEmpty)
	})
	t.Run("standard input twice", func(t *testing.T) {
		_, err := Open([]string{"-", "-"}, Options{})
		assert.ErrorContains(t, err, "named twice")
	})
	for content, want := range map[string]error{"": ErrEmpty, "hello": ErrNotCapture} {
		t.Run(fmt.Sprintf("standard input of %q", content), func(t *testing.T) {
			_, s, err := read(t, Options{Stdin: bytes.NewReader([]byte(content))}, "-")
			assert.ErrorIs(t, err, want)
			assert.Zero(t, s.Stats().DamagedInputs)
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for want, opts := range map[string]Options{
		"workers must be 0 to 256, not -1":                                                   {Workers: -1},
		"workers must be 0 to 256, not 257":                                                  {Workers: 257},
		"speed must be 0 or more, not -1":                                                    {Speed: -1},
		"speed must be 0 or more, not NaN":                                                   {Speed: math.NaN()},
		"the time range ends (1970-01-01T00:00:01Z) before it begins (1970-01-01T00:00:02Z)": {From: 2 * second, To: second},
	} {
		_, err := Open(nil, opts)
		assert.EqualError(t, err, want)
	}
}

func TestAFolderIsReadInOrderOfTime(t *testing.T) {
	dir := t.TempDir()
	capturedAt := func(seconds uint32) []byte {
		return pcapBytes{binary.LittleEndian, magicMicro, 1}.file(pcapRecord{seconds, 0, apiFrame(0, false), 0}, pcapRecord{seconds + 100, 0, apiFrame(1, false), 0})
	}
	write(t, dir, "a", capturedAt(300))
	write(t, dir, "b.gz", gzipped(t, capturedAt(100)))
	write(t, dir, "c", capturedAt(200))
	write(t, dir, "d", capturedAt(100)) // as b: by name
	write(t, dir, "e", pcapBytes{binary.LittleEndian, magicMicro, 1}.file())
	write(t, dir, "notes.txt", []byte("no capture"))
	write(t, dir, "empty", nil)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))

	got, s, err := read(t, Options{}, dir)
	require.NoError(t, err)
	names := func(paths []string) (names []string) {
		for _, p := range paths {
			names = append(names, filepath.Base(p))
		}
		return names
	}
	assert.Equal(t, []string{"e", "b.gz", "d", "c", "a"}, names(s.Inputs()))
	assert.Equal(t, []string{"empty", "notes.txt", "sub"}, names(s.Skipped()))
	var times, clocks []int64
	for _, p := range got {
		times, clocks = append(times, p.Time/second), append(clocks, p.Clock/second)
	}
	assert.Equal(t, []int64{100, 200, 100, 200, 200, 300, 300, 400}, times)
	assert.Equal(t, []int64{100, 200, 200, 200, 200, 300, 300, 400}, clocks, "the clock goes on over all inputs")
	assert.EqualValues(t, 1, s.Stats().TimeBackwards)

	got, _, err = read(t, Options{}, filepath.Join(dir, "a"), filepath.Join(dir, "c"))
	require.NoError(t, err)
	assert.Equal(t, 300*second, got[0].Time, "files are read in the given order")
	assert.Equal(t, 200*second, got[2].Time)
}

func TestATimeRangeIsAsIfTheInputHeldNoOtherPackets(t *testing.T) {
	path := write(t, t.TempDir(), "x", variants(t)["Writer, format 0"])
	at := func(i int64) int64 { return (1_700_000_000+i)*second + 5000 }
	for name, tt := range map[string]struct {
		from, to int64
		want     []int64
	}{
		"from the second on":      {at(1), 0, []int64{at(1), at(2)}},
		"to the second, included": {0, at(1), []int64{at(0), at(1)}},
		"the second alone":        {at(1), at(1), []int64{at(1)}},
		"none":                    {at(2) + 1, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, s, err := read(t, Options{From: tt.from, To: tt.to}, path)
			require.NoError(t, err)
			var times []int64
			for _, p := range got {
				times = append(times, p.Time)
			}
			assert.Equal(t, tt.want, times)
			assert.EqualValues(t, len(tt.want), s.Stats().Received)
		})
	}
}

// manyFrames is a capture of n frames on 1000 connections, longer than a round.
func manyFrames(t testing.TB, format Format, n int) []byte {
	var b bytes.Buffer
	w, err := NewWriter(&b, format, Interface{"eth0", capture.LinkEthernet})
	require.NoError(t, err)
	for i := range n {
		data := apiFrame(i/2, i%2 == 1)
		if i%10 == 9 {
			data = data[:14+i%40] // something else than TCP now and then
		}
		require.NoError(t, w.WritePacket(int64(i)*1000-int64(i%7)*5000+second, data, 0))
	}
	require.NoError(t, w.Flush())
	return b.Bytes()
}

func TestWorkersGetTheirShardsInInputOrder(t *testing.T) {
	const frames = 10_000
	path := write(t, t.TempDir(), "x", manyFrames(t, PcapNG, frames))
	secret := []byte("0123456789abcdef")
	one, first, err := read(t, Options{Secret: secret}, path)
	require.NoError(t, err)
	require.Len(t, one, frames)
	for _, workers := range []int{2, 3, 8, 256} {
		s, err := Open([]string{path}, Options{Workers: workers, Secret: secret})
		require.NoError(t, err)
		all, err := collect(t, s)
		require.NoError(t, err)
		want := make([][]seen, workers)
		for _, p := range one {
			p.Worker = int(p.Shard) % workers
			want[p.Worker] = append(want[p.Worker], p)
		}
		for worker := range want {
			requireSame(t, want[worker], all[worker])
		}
		assert.Equal(t, first.Stats(), s.Stats())
	}
}

func TestEveryWorkerHearsEveryRound(t *testing.T) {
	// All frames are of one flow, so of one worker.
	var b bytes.Buffer
	w, err := NewWriter(&b, Pcap, Interface{"", capture.LinkEthernet})
	require.NoError(t, err)
	for i := range 5000 {
		require.NoError(t, w.WritePacket(int64(i), apiFrame(0, i%2 == 0), 0))
	}
	require.NoError(t, w.Flush())
	s, err := Open([]string{write(t, t.TempDir(), "x", b.Bytes())}, Options{Workers: 4})
	require.NoError(t, err)
	clocks := make([][]int64, 4)
	require.NoError(t, s.Run(context.Background(), func(worker int, b capture.Batch) {
		clocks[worker] = append(clocks[worker], b.Clock)
	}))
	assert.Greater(t, len(clocks[0]), 5)
	assert.EqualValues(t, 4999, clocks[0][len(clocks[0])-1])
	for _, c := range clocks[1:] {
		assert.Equal(t, clocks[0], c)
	}
}

func TestRecordsLongerThanARoundAreRead(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 5*roundSize+3)
	for name, content := range map[string][]byte{
		"pcapng": (&pcapngBytes{order: binary.LittleEndian}).section().iface(capture.LinkEthernet, 0).enhanced(0, 1, long).enhanced(0, 2, apiFrame(0, false)).b,
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir(), "x", content)
			for _, workers := range []int{1, 2} {
				s, err := Open([]string{path}, Options{Workers: workers})
				require.NoError(t, err)
				all, err := collect(t, s)
				require.NoError(t, err)
				assert.Equal(t, long, all[0][0].Data)
				assert.EqualValues(t, 2, s.Stats().Received)
			}
		})
	}
}

func TestAbsurdLengthsAreDamageAndNotMemory(t *testing.T) {
	frame := apiFrame(0, false)
	header := pcapBytes{binary.LittleEndian, magicMicro, 1}
	good := header.file(pcapRecord{1, 0, frame, 0})
	lie := func(captured uint32) []byte {
		b := append(bytes.Clone(good), make([]byte, 16)...)
		binary.LittleEndian.PutUint32(b[len(good)+8:], captured)
		return b
	}
	ng := (&pcapngBytes{order: binary.LittleEndian}).section().iface(capture.LinkEthernet, 0).enhanced(0, 1, frame)
	tail := func(b ...uint32) []byte { return append(bytes.Clone(ng.b), ng.u32(b...)...) }
	for name, tt := range map[string]struct {
		content []byte
		offset  int
		text    string
	}{
		"pcap, 4 GiB":                        {lie(0xffffffff), len(good), "frame of 4294967295 octets"},
		"pcap, more than any frame":          {lie(256<<10 + 1), len(good), "frame of 262145 octets"},
		"pcap, beyond the file":              {lie(1000), len(good), "ends inside a record"},
		"pcapng, 4 GiB":                      {tail(6, 0xfffffffc, 0), len(ng.b), "block of type 6 with length 4294967292"},
		"pcapng, below the least":            {tail(6, 8, 8), len(ng.b), "block of type 6 with length 8"},
		"pcapng, no multiple of 4":           {tail(6, 13, 0, 13), len(ng.b), "block of type 6 with length 13"},
		"pcapng, 200 MiB beyond the file":    {tail(6, 200<<20, 0), len(ng.b), "ends inside a record"},
		"pcapng, two lengths":                {tail(6, 12, 16), len(ng.b), "begins with length 12 and ends with 16"},
		"pcapng, an interface not described": {append(bytes.Clone(ng.b), (&pcapngBytes{order: binary.LittleEndian}).enhanced(1, 1, frame).b...), len(ng.b), "packet of interface 1 of 1"},
		"pcapng, a frame beyond its block": {append(bytes.Clone(ng.b), (&pcapngBytes{order: binary.LittleEndian}).
			block(blockEnhanced, ng.u32(0, 0, 1, 5, 5), []byte("abcd")).b...), len(ng.b), "frame of 5 octets in a block with room for 4"},
		"pcapng, a time after 2262": {append(bytes.Clone(ng.b), (&pcapngBytes{order: binary.LittleEndian}).enhanced(0, math.MaxUint64, frame).b...), len(ng.b), "after 2262"},
		"pcapng, version 2": {append(bytes.Clone(ng.b), (&pcapngBytes{order: binary.LittleEndian}).
			block(blockSection, ng.u32(sectionMagic), ng.u16(2, 0), ng.u32(0, 0)).b...), len(ng.b), "pcapng version 2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, content := range map[string][]byte{"plain": tt.content, "gzip": gzipped(t, tt.content)} {
				path := write(t, t.TempDir(), kind, content)
				got, s, err := read(t, Options{}, path)
				var damage *capture.DamageError
				require.ErrorAs(t, err, &damage)
				assert.Equal(t, path, damage.File)
				assert.EqualValues(t, tt.offset, damage.Offset)
				assert.ErrorContains(t, damage.Err, tt.text)
				assert.Len(t, got, 1, "what stood before")
				assert.EqualValues(t, 1, s.Stats().DamagedInputs)
			}
		})
	}
}

func TestDamageInOneFileDoesNotKeepFromTheNext(t *testing.T) {
	dir := t.TempDir()
	content := variants(t)["Writer, format 0"]
	a := write(t, dir, "a", content[:len(content)-1])
	b := write(t, dir, "b", content[:len(content)-500])
	c := write(t, dir, "c", content)
	got, s, err := read(t, Options{}, a, b, c)
	assert.ErrorContains(t, err, a+": damaged at byte ")
	assert.ErrorContains(t, err, b+": damaged at byte ")
	assert.NotContains(t, err.Error(), c)
	assert.Len(t, got, 2+1+3)
	assert.EqualValues(t, 2, s.Stats().DamagedInputs)
}

// A capture cut anywhere gives all packets that are whole, and says where it
// ends.
func TestACaptureCutAnywhereGivesWhatIsBeforeTheCut(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"pcap":   manyFrames(t, Pcap, 3000),
		"pcapng": manyFrames(t, PcapNG, 3000),
	} {
		whole, _, err := read(t, Options{}, write(t, dir, name, content))
		require.NoError(t, err)
		ends := recordEnds(t, content)
		for i := range 220 {
			cut := 1 + i
			if i >= 60 {
				cut = 1 + (len(content)-2)*(i-60)/159
			}
			before, packets := 0, 0
			for _, end := range ends {
				if end.offset <= cut {
					before, packets = end.offset, end.packets
				}
			}
			got, s, err := read(t, Options{}, write(t, dir, "cut", content[:cut]))
			require.Len(t, got, packets, "%s cut at %d", name, cut)
			if packets > 0 {
				require.Equal(t, whole[packets-1], got[packets-1])
			}
			if before == cut {
				require.NoError(t, err, "%s cut at %d, between records", name, cut)
				continue
			}
			var damage *capture.DamageError
			require.ErrorAs(t, err, &damage, "%s cut at %d", name, cut)
			require.EqualValues(t, before, damage.Offset)
			require.ErrorIs(t, damage, errCutShort)
			require.EqualValues(t, 1, s.Stats().DamagedInputs)
		}
	}
}

type recordEnd struct{ offset, packets int }

func recordEnds(t *testing.T, content []byte) (ends []recordEnd) {
	p, err := sniff(content[:4], func(string, capture.LinkType) uint16 { return 0 })
	require.NoError(t, err)
	var rec record
	for at, packets := 0, 0; at < len(content); {
		n, err := p.next(content[at:], &rec)
		require.NoError(t, err)
		require.NotZero(t, n)
		if at += n; rec.kind == recordPacket {
			packets++
		}
		ends = append(ends, recordEnd{at, packets})
	}
	return ends
}

func TestACompressedCaptureCutAnywhereGivesAPrefix(t *testing.T) {
	dir := t.TempDir()
	content := manyFrames(t, PcapNG, 3000)
	whole, _, err := read(t, Options{}, write(t, dir, "whole", content))
	require.NoError(t, err)
	for name, compressed := range map[string][]byte{"gzip": gzipped(t, content), "zstd": zstded(t, content)} {
		most := 0
		for i := range 100 {
			cut := 4 + (len(compressed)-5)*i/99
			got, _, err := read(t, Options{}, write(t, dir, "cut", compressed[:cut]))
			var damage *capture.DamageError
			require.ErrorAs(t, err, &damage, "%s cut at %d of %d", name, cut, len(compressed))
			require.LessOrEqual(t, len(got), len(whole))
			if len(got) > 0 {
				require.Equal(t, whole[len(got)-1], got[len(got)-1])
			}
			most = max(most, len(got))
		}
		assert.Greater(t, most, len(whole)/2, "%s: what can be decompressed is delivered", name)
	}
}

func TestCancelStopsASlowPipe(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	content := variants(t)["Writer, format 0"]
	_, err = w.Write(content[:len(content)-1]) // two packets, and then nothing more
	require.NoError(t, err)
	for _, workers := range []int{1, 2} {
		s, err := Open([]string{"-"}, Options{Workers: workers, Stdin: r})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		packets := make(chan int, 100)
		if workers == 2 {
			cancel() // nothing to wait for: the pipe is empty now
		}
		assert.NoError(t, s.Run(ctx, func(_ int, b capture.Batch) {
			if len(b.Packets) > 0 {
				packets <- len(b.Packets)
				cancel()
			}
		}), "a wait that is called off is no error")
		if workers == 1 {
			assert.Equal(t, 2, <-packets, "what has arrived doesn't wait for more")
		}
		cancel()
	}
}

func TestCancelStopsAWorkerThatWaitsInItsTurn(t *testing.T) {
	content := variants(t)["Writer, format 0"] // 3 frames, a second apart
	path := write(t, t.TempDir(), "x", content)
	for _, workers := range []int{2, 3, 8} {
		t.Run(fmt.Sprint("for the time of a packet, of ", workers), func(t *testing.T) {
			s, err := Open([]string{path}, Options{Speed: 1e-3, Workers: workers})
			require.NoError(t, err)
			stopAtFirstPacket(t, s)
		})
		t.Run(fmt.Sprint("for a pipe, of ", workers), func(t *testing.T) {
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			defer w.Close()
			_, err = w.Write(content[:len(content)-1])
			require.NoError(t, err)
			s, err := Open([]string{"-"}, Options{Workers: workers, Stdin: r})
			require.NoError(t, err)
			stopAtFirstPacket(t, s)
		})
	}
}

// stopAtFirstPacket runs a source until it has delivered a packet.
func stopAtFirstPacket(t *testing.T, s *Source) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	require.NoError(t, s.Run(ctx, func(_ int, b capture.Batch) {
		if len(b.Packets) > 0 {
			cancel()
		}
	}))
	require.Error(t, ctx.Err(), "a packet came")
}

func TestCancelStopsBetweenRounds(t *testing.T) {
	path := write(t, t.TempDir(), "x", manyFrames(t, Pcap, 20_000))
	for _, workers := range []int{1, 3} {
		s, err := Open([]string{path}, Options{Workers: workers})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		require.NoError(t, s.Run(ctx, func(int, capture.Batch) { cancel() }))
		assert.Less(t, s.Stats().Received, uint64(20_000))
		cancel()
	}
}

func TestPacingWaitsForTheCapturesOwnClock(t *testing.T) {
	// 3 frames, a second apart: at speed 1e9 all are due at once; at 1e-3 the
	// second is due in a quarter of an hour, which the test doesn't wait for.
	path := write(t, t.TempDir(), "x", variants(t)["Writer, format 0"])
	got, _, err := read(t, Options{Speed: 1e9}, path)
	require.NoError(t, err)
	requireVariant(t, got)

	got, _, err = read(t, Options{Speed: 100}, path)
	require.NoError(t, err)
	requireVariant(t, got)

	s, err := Open([]string{path}, Options{Speed: 1e-3, Workers: 1})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	packets := 0
	require.NoError(t, s.Run(ctx, func(_ int, b capture.Batch) {
		if packets += len(b.Packets); packets > 0 {
			cancel()
		}
	}))
	assert.Equal(t, 1, packets, "the first is delivered before the wait for the second")
}

func TestProgressEndsAtTheSizeOnDisk(t *testing.T) {
	dir := t.TempDir()
	a := write(t, dir, "a", manyFrames(t, Pcap, 2000))
	b := write(t, dir, "b.gz", gzipped(t, manyFrames(t, PcapNG, 2000)))
	var calls [][2]int64
	_, _, err := read(t, Options{Progress: func(done, total int64) { calls = append(calls, [2]int64{done, total}) }}, a, b)
	require.NoError(t, err)
	last := int64(0)
	for _, c := range calls {
		assert.GreaterOrEqual(t, c[0], last)
		last = c[0]
	}
	require.NotEmpty(t, calls)
	total := calls[len(calls)-1][1]
	assert.Equal(t, total, last)
	info, err := os.Stat(b)
	require.NoError(t, err)
	assert.Greater(t, total, info.Size())
}

func TestAReadErrorIsReportedAsItIs(t *testing.T) {
	content := variants(t)["Writer, format 0"]
	broken := io.MultiReader(bytes.NewReader(content[:len(content)-1]), failing{io.ErrClosedPipe})
	got, s, err := read(t, Options{Stdin: broken}, "-")
	assert.ErrorIs(t, err, io.ErrClosedPipe)
	assert.EqualError(t, err, "read -: io: read/write on closed pipe")
	var damage *capture.DamageError
	assert.NotErrorAs(t, err, &damage)
	assert.Len(t, got, 2)
	assert.Zero(t, s.Stats().DamagedInputs)
}

func TestNothingStaysOpen(t *testing.T) {
	dir := t.TempDir()
	content := manyFrames(t, PcapNG, 1000)
	paths := []string{
		write(t, dir, "a", content), write(t, dir, "b", gzipped(t, content)), write(t, dir, "c", zstded(t, content[:len(content)-1])), "-",
	}
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	_, err = w.Write(content[:1000])
	require.NoError(t, err)
	require.NoError(t, w.Close())
	files, goroutines := open(), runtime.NumGoroutine()
	s, err := Open(paths, Options{Workers: 3, Stdin: r})
	require.NoError(t, err)
	_, err = collect(t, s)
	require.Error(t, err)
	assert.EqualValues(t, 2, s.Stats().DamagedInputs)
	assert.Equal(t, files, open())
	// One that has said that it is done may still be on its way out.
	for tries := 0; runtime.NumGoroutine() > goroutines && tries < 10_000; tries++ {
		time.Sleep(time.Millisecond)
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
}

func TestReadingDoesNotAllocatePerPacket(t *testing.T) {
	dir := t.TempDir()
	runs := func(frames int) float64 {
		path := write(t, dir, "x", manyFrames(t, PcapNG, frames))
		return testing.AllocsPerRun(3, func() {
			s, err := Open([]string{path}, Options{Workers: 1})
			require.NoError(t, err)
			require.NoError(t, s.Run(context.Background(), func(int, capture.Batch) {}))
		})
	}
	assert.InDelta(t, runs(5_000), runs(50_000), 10)
}
