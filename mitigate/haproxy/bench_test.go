package haproxy_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/mitigate"
)

// BenchmarkLoad sets verdicts on addresses, 10,000 an order.
func BenchmarkLoad(b *testing.B) {
	const n = 10_000
	_, target := enforcing(b)
	set := make([]mitigate.Entry, n)
	for i := range set {
		set[i] = entry(fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
		set[i].ID = mitigate.ID(1<<32 + i + 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, target.Apply(b.Context(), set, nil))
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "verdicts/s")
}
