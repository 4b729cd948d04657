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
// sub-benchmark of a capture does what the one before it does and one thing more.
// The compiler's profile is made of it (make profile).
func BenchmarkReplay(b *testing.B) {
	for name, shape := range map[string]bench.Shape{"api": bench.API, "pages": bench.Pages, "short": bench.Short} {
		path := filepath.Join(b.TempDir(), name+".pcap")
		shape.Transactions /= 4
		transactions, err := bench.WriteFile(path, shape)
		require.NoError(b, err)
		info, err := os.Stat(path)
		require.NoError(b, err)
		for _, stage := range []string{"reassembly", "detection", "JSON"} {
			b.Run(name+"/"+stage, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(info.Size())
				for b.Loop() {
					require.Equal(b, transactions, replay(b, path, stage))
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*transactions), "ns/tx")
			})
		}
	}
}

// replay returns how many transactions a capture has that went through a stage and
// those before it.
func replay(b *testing.B, path, stage string) (seen int) {
	e, err := engine.New(engine.Config{}, silence{})
	require.NoError(b, err)
	var line []byte
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
	return seen
}
