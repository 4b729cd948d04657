package bench_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/capture/pcapfile"
	"offpath/cmd/lab/internal/bench"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/jsonl"
	"offpath/reassembly/order"
	"offpath/reassembly/pipeline"
)

// silence is a sink that nobody reads.
type silence struct{}

func (silence) Finding(*detect.Finding) {}
func (silence) Verdict(*detect.Verdict) {}

// BenchmarkReplay is what replay does with one worker, stage by stage: each
// sub-benchmark does what the one before it does and one thing more.
func BenchmarkReplay(b *testing.B) {
	path := filepath.Join(b.TempDir(), "api.pcap")
	shape := bench.API
	shape.Transactions = 50_000
	transactions, err := bench.WriteFile(path, shape)
	require.NoError(b, err)
	info, err := os.Stat(path)
	require.NoError(b, err)

	for _, stage := range []string{"reassembly", "detection", "JSON"} {
		b.Run(stage, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(info.Size())
			for b.Loop() {
				e, err := engine.New(engine.Config{}, silence{})
				require.NoError(b, err)
				var line []byte
				seen := 0
				merger := order.New(1, func(txs []*reassembly.Transaction, watermark int64) {
					for _, tx := range txs {
						if stage != "reassembly" {
							e.Observe(tx)
						}
						if stage == "JSON" {
							line = jsonl.AppendTransaction(line[:0], tx)
						}
					}
					seen += len(txs)
					reassembly.Release(txs)
				})
				p, err := pipeline.New(pipeline.Config{Workers: 1, Content: content.Config{Key: make([]byte, 32)}},
					func(worker int, txs []*reassembly.Transaction, watermark int64) { merger.Push(worker, txs, watermark) })
				require.NoError(b, err)
				source, err := pcapfile.Open([]string{path}, pcapfile.Options{Workers: 1})
				require.NoError(b, err)
				require.NoError(b, source.Run(b.Context(), p.Handle))
				p.Close()
				merger.Close()
				require.Equal(b, transactions, seen)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*transactions), "ns/tx")
		})
	}
}
