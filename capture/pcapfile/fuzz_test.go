package pcapfile

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// FuzzSource: any octets, plain or compressed, either are no capture or give
// packets and at most a damage within the file; and packets don't depend on how
// the input is cut into reads.
func FuzzSource(f *testing.F) {
	all := variants(f)
	for _, name := range []string{
		"pcap µs, LittleEndian", "pcap ns, BigEndian", "pcap modified, LittleEndian", "pcapng ns, BigEndian",
		"pcapng 10^-12, LittleEndian", "pcapng µs, -offset, BigEndian",
	} {
		require.Contains(f, all, name)
		f.Add(all[name])
	}
	f.Add(gzipped(f, all["pcapng ns, BigEndian"]))
	f.Add(zstded(f, all["pcap µs, LittleEndian"]))
	ng := &pcapngBytes{order: binary.LittleEndian}
	f.Add(ng.section().iface(capture.LinkRaw, 60, ng.option(optionIfName, []byte("eth0")), ng.option(optionTsResol, []byte{0x8a})).
		block(blockSecrets, ng.u32(secretsTLS, 3), []byte("abc")).
		block(blockSimple, ng.u32(100), make([]byte, 60)).
		block(blockPacket, ng.u16(0, 0), ng.u32(0, 1, 4, 4), []byte("\x45abc")).b)
	f.Fuzz(func(t *testing.T, content []byte) {
		path := write(t, t.TempDir(), "x", content)
		got, s, err := read(t, Options{Stdin: &trickle{content}}, "-")
		stats := s.Stats()
		var sum uint64
		for _, n := range stats.Frames {
			sum += n
		}
		require.Equal(t, stats.Received, sum)
		require.EqualValues(t, len(got), sum)
		var damage *capture.DamageError
		switch {
		case errors.As(err, &damage):
			require.EqualValues(t, 1, stats.DamagedInputs)
			require.GreaterOrEqual(t, damage.Offset, int64(0))
		case err != nil:
			require.True(t, errors.Is(err, ErrNotCapture) || errors.Is(err, ErrEmpty), "%v", err)
			require.Empty(t, got)
			_, err := Open([]string{path}, Options{})
			require.Error(t, err, "the same from a file")
			return
		}
		whole, err := Open([]string{path}, Options{Workers: 1})
		require.NoError(t, err)
		n := 0
		err = whole.Run(context.Background(), func(_ int, b capture.Batch) {
			for _, p := range b.Packets {
				require.Equal(t, got[n].Time, p.Time)
				require.Equal(t, string(got[n].Data), string(p.Data))
				require.Equal(t, got[n].Disposition, p.Disposition)
				n++
			}
		})
		require.Equal(t, len(got), n)
		var again *capture.DamageError
		require.Equal(t, damage != nil, errors.As(err, &again))
		if damage != nil {
			require.Equal(t, damage.Offset, again.Offset)
		}
	})
}

// trickle reads a few octets at a time.
type trickle struct{ rest []byte }

func (r *trickle) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 7)], r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// FuzzParser: records lie within the input, none is longer than the format
// allows, and a cut anywhere changes none of the records before it.
func FuzzParser(f *testing.F) {
	for _, content := range variants(f) {
		f.Add(content[:min(len(content), 200)], 100)
	}
	ng := &pcapngBytes{order: binary.LittleEndian}
	f.Add(ng.section().iface(capture.LinkRaw, 60, ng.option(optionTsResol, []byte{0x8a}), ng.option(optionTsOffset, make([]byte, 8))).
		block(blockSecrets, ng.u32(secretsTLS, 3), []byte("abc")).
		block(blockSimple, ng.u32(100), make([]byte, 60)).
		block(blockPacket, ng.u16(0, 0), ng.u32(0, 1, 4, 4), []byte("\x45abc")).b, 70)
	f.Fuzz(func(t *testing.T, content []byte, cut int) {
		records := func(b []byte) (list []record, end int) {
			p, err := sniff(b, func(string, capture.LinkType) uint16 { return 0 })
			if p == nil || err != nil {
				return nil, 0
			}
			for end < len(b) {
				var rec record
				n, err := p.next(b[end:], &rec)
				if err != nil || n == 0 {
					return list, end
				}
				require.LessOrEqual(t, n, len(b)-end)
				require.GreaterOrEqual(t, n, minBlockLen)
				require.Less(t, len(rec.data), n)
				if rec.kind == recordPacket {
					require.GreaterOrEqual(t, rec.time, int64(0))
					require.GreaterOrEqual(t, rec.wireLen, len(rec.data))
				}
				end += n
				list = append(list, rec)
			}
			return list, end
		}
		whole, end := records(content)
		part, before := records(content[:min(uint(cut), uint(len(content)))])
		require.LessOrEqual(t, before, end)
		require.LessOrEqual(t, len(part), len(whole))
		for i := range part {
			require.Equal(t, whole[i], part[i])
		}
	})
}
