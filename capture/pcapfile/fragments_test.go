package pcapfile

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// Each frame of many flows comes in two fragments, others between them. The
// datagrams are the packets of the frames, whoever gets them, and a recording of
// the run gives them again.
func TestDatagramsInFragmentsGoToTheWorkerOfTheirConnection(t *testing.T) {
	const frames, header, cut = 4000, 14 + 20, 32
	var b bytes.Buffer
	w, err := NewWriter(&b, PcapNG, Interface{"eth0", capture.LinkEthernet})
	require.NoError(t, err)
	var want []string // payloads
	var late []byte
	for i := range frames {
		frame := apiFrame(i/2, i%2 == 1)
		want = append(want, string(frame[header+20:]))
		first, last := slices.Clone(frame[:header+cut]), append(slices.Clone(frame[:header]), frame[header+cut:]...)
		for part, f := range map[uint16][]byte{0x2000: first, cut / 8: last} {
			binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
			binary.BigEndian.PutUint16(f[18:], uint16(i))
			binary.BigEndian.PutUint16(f[20:], part)
		}
		for _, f := range [][]byte{first, late} {
			if f != nil {
				require.NoError(t, w.WritePacket(int64(i)*1000, f, 0))
			}
		}
		late = last
	}
	require.NoError(t, w.WritePacket(frames*1000, late, 0))
	require.NoError(t, w.Flush())
	path := write(t, t.TempDir(), "x", b.Bytes())

	for _, workers := range []int{1, 2, 3} {
		s, err := Open([]string{path}, Options{Workers: workers})
		require.NoError(t, err)
		all, err := collect(t, s)
		require.NoError(t, err)
		var got []string
		for worker, packets := range all {
			for _, p := range packets {
				if p.Disposition == capture.DispositionTCP {
					require.Equal(t, worker, int(p.Shard)%workers)
					got = append(got, string(p.Payload))
				}
			}
		}
		assert.ElementsMatch(t, want, got)
		stats := s.Stats()
		assert.Equal(t, capture.FragmentStats{Whole: frames}, stats.Fragments)
		assert.EqualValues(t, frames, stats.Frames[capture.DispositionFragment])
	}

	var recording bytes.Buffer
	r, err := NewRecorder(&recording, RecorderOptions{Workers: 1, Interfaces: []Interface{{"eth0", capture.LinkEthernet}}})
	require.NoError(t, err)
	again, err := Open([]string{path}, Options{Workers: 1})
	require.NoError(t, err)
	require.NoError(t, again.Run(t.Context(), r.Batch))
	require.NoError(t, r.Close())
	one, _, err := read(t, Options{}, path)
	require.NoError(t, err)
	replayed, _, err := read(t, Options{}, write(t, t.TempDir(), "y", recording.Bytes()))
	require.NoError(t, err)
	requireSame(t, one, replayed)
}
