package judge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/reassembly"
)

// BenchmarkEngine is what detection costs a transaction, on traffic of its own
// kind for each: an attack that rotates through addresses, a burst, sprayed
// passwords, and customers alone.
func BenchmarkEngine(b *testing.B) {
	for _, name := range []string{"B2-50", "B1", "B7", "N5"} {
		b.Run(name, func(b *testing.B) {
			list, err := traffic.Select([]string{name})
			require.NoError(b, err)
			run := list[0].Open(1)
			txs := make([]reassembly.Transaction, 0, 1<<17)
			for len(txs) < cap(txs) {
				txs = txs[:len(txs)+1]
				if _, more := run.Next(&txs[len(txs)-1]); !more {
					txs = txs[:len(txs)-1]
					break
				}
			}
			var seen int
			b.ReportAllocs()
			for b.Loop() {
				e, err := engine.New(engine.Config{}, forgetful{})
				require.NoError(b, err)
				for i := range txs {
					e.Observe(&txs[i])
				}
				seen += len(txs)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(seen), "ns/tx")
		})
	}
}

// forgetful is a Sink.
type forgetful struct{}

func (forgetful) Finding(*detect.Finding) {}
func (forgetful) Verdict(*detect.Verdict) {}
