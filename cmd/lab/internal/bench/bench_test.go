package bench_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/pcapfile"
	"offpath/cmd/lab/internal/bench"
)

func TestTheGeneratedCaptureIsOfTCPSegmentsOfTheSizeThatItClaims(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.pcap")
	n, err := bench.WriteFile(path, bench.Shape{Transactions: 2000, Connections: 20, PerConnection: 10, Seed: 7})
	require.NoError(t, err)
	require.Equal(t, 2000, n)
	source, err := pcapfile.Open([]string{path}, pcapfile.Options{Workers: 1})
	require.NoError(t, err)
	requests, octets, connections := 0, 0, 0
	last := int64(0)
	require.NoError(t, source.Run(t.Context(), func(_ int, b capture.Batch) {
		for i := range b.Packets {
			p := &b.Packets[i]
			require.Equal(t, capture.DispositionTCP, p.Disposition)
			require.Greater(t, p.Time, last)
			last = p.Time
			if p.DstPort != 80 {
				continue
			}
			if p.Flags&capture.FlagSYN != 0 {
				connections++
			}
			if len(p.Payload) > 0 {
				requests++
				octets += len(p.Payload)
			}
		}
	}))
	assert.Equal(t, 2000, requests)
	assert.InDelta(t, 200, connections, 20)
	assert.InDelta(t, 408, octets/requests, 40, "octets of a request on average")
}
