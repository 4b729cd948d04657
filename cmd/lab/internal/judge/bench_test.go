package judge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect/engine"
)

// BenchmarkEngine is what detection costs a transaction, on traffic of its own
// kind for each: an attack that rotates through addresses, a burst, sprayed
// passwords, and customers alone. The traffic is made meanwhile, which ns/tx leaves out.
func BenchmarkEngine(b *testing.B) {
	for _, name := range []string{"B2-50", "B1", "B7", "N5", "N1"} {
		b.Run(name, func(b *testing.B) {
			list, err := traffic.Select([]string{name})
			require.NoError(b, err)
			var sum float64
			for b.Loop() {
				cost, err := Cost(list[0].Open(1), Engine(engine.Config{}))
				require.NoError(b, err)
				sum += cost
			}
			b.ReportMetric(sum/float64(b.N), "ns/tx")
		})
	}
}
