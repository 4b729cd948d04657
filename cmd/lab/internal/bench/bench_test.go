package bench_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/pcapfile"
	"offpath/cmd/lab/internal/bench"
	"offpath/cmd/lab/internal/plain"
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/pipeline"
)

func TestTheGeneratedCapturesAreWhatTheyClaim(t *testing.T) {
	for _, test := range []struct {
		name        string
		shape       bench.Shape
		connections int
		body        [2]int64 // octets of the larger body of each transaction, least and most on average
	}{
		{"small API calls on kept-alive connections",
			bench.Shape{Transactions: 2000, Connections: 20, PerConnection: 10, Seed: 7}, 200, [2]int64{100, 300}},
		{"bodies of 1 to 20 KB on kept-alive connections",
			bench.Shape{Transactions: 2000, Connections: 20, PerConnection: 10, Pages: true, Seed: 7}, 200, [2]int64{9000, 12000}},
		{"one transaction a connection",
			bench.Shape{Transactions: 2000, Connections: 20, PerConnection: 1, Seed: 7}, 2000, [2]int64{100, 300}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.pcap")
			n, err := bench.WriteFile(path, test.shape)
			require.NoError(t, err)
			require.Equal(t, test.shape.Transactions, n)

			complete, octets := 0, int64(0)
			p, err := pipeline.New(pipeline.Config{Content: content.Config{Key: make([]byte, 32)}},
				func(_ int, txs []*reassembly.Transaction, _ int64) {
					for _, tx := range txs {
						octets += max(tx.Request.BodyBytes, tx.Response.BodyBytes)
						if tx.Complete && tx.Flags == 0 && tx.Anomalies == 0 {
							complete++
						}
					}
				})
			require.NoError(t, err)
			source, err := pcapfile.Open([]string{path}, pcapfile.Options{Workers: 1})
			require.NoError(t, err)
			last := int64(0)
			require.NoError(t, source.Run(t.Context(), func(worker int, b capture.Batch) {
				for i := range b.Packets {
					require.Equal(t, capture.DispositionTCP, b.Packets[i].Disposition)
					require.Greater(t, b.Packets[i].Time, last)
					last = b.Packets[i].Time
				}
				p.Handle(worker, b)
			}))
			p.Close()
			assert.Equal(t, n, complete)
			stats := p.Stats().TCP
			assert.InDelta(t, test.connections, stats.FlowsOpened, 20)
			assert.Zero(t, stats.Gap+stats.Duplicate+stats.Stray)
			each := octets / int64(n)
			assert.True(t, test.body[0] <= each && each <= test.body[1], "%d octets of body on average", each)

			found, err := plain.Read(path)
			require.NoError(t, err)
			assert.Equal(t, plain.Messages{Requests: int64(n), Responses: int64(n)}, found, "the plain program finds them all")
		})
	}
}
