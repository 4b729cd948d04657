package envoy_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate"
	"offpath/mitigate/internal/targettest"
)

// many are verdicts against addresses that nobody here has.
func many(n int) (entries []mitigate.Entry) {
	for i := range n {
		entries = append(entries, block(mitigate.ID(1000+i), of(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))))
	}
	return entries
}

// BenchmarkDecision measures from an order to the first refusal, with so many verdicts in
// force before.
func BenchmarkDecision(b *testing.B) {
	for _, held := range []int{0, 10_000, 100_000} {
		b.Run(fmt.Sprintf("%d held", held), func(b *testing.B) {
			s, target := enforcing(b)
			sync(b, target, many(held)...)
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				from := fmt.Sprintf("127.5.%d.%d", i>>8, i&255)
				e := block(1, of(from))
				began := time.Now()
				require.NoError(b, target.Apply(b.Context(), []mitigate.Entry{e}, nil))
				for s.Get(from, "/").Status != 403 {
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			at := func(p int) float64 { return float64(took[(len(took)-1)*p/100].Microseconds()) / 1000 }
			b.ReportMetric(at(50), "p50-ms")
			b.ReportMetric(at(99), "p99-ms")
		})
	}
}

// BenchmarkLoad measures a full list, what Envoy's processors have to do for it, and the
// longest that another client's request took meanwhile.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, target := enforcing(b)
			entries := many(n)
			stop, done := make(chan struct{}), make(chan struct{})
			var slowest atomic.Int64
			go func() {
				defer close(done)
				for {
					select {
					case <-stop:
						return
					default:
						slowest.Store(max(slowest.Load(), int64(s.Get(client, "/").Elapsed)))
					}
				}
			}()
			before := s.CPU()
			for b.Loop() {
				sync(b, target)
				sync(b, target, entries...)
			}
			b.ReportMetric(float64((s.CPU()-before).Milliseconds())/float64(b.N), "envoy-ms/op")
			close(stop)
			<-done
			b.ReportMetric(float64(slowest.Load())/1e6, "slowest-request-ms")
		})
	}
}

func TestTheMostThatItHoldsIsInForce(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred thousand verdicts")
	}
	t.Parallel()
	s, target := enforcing(t)
	entries := many(target.Capacity() - 1)
	last := block(7, of(client))
	sync(t, target, append(entries, last)...)
	answers(t, s, refused(last), client, "/")
	answers(t, s, refused(entries[0]), targettest.Proxy, "/", "X-Forwarded-For", "10.0.0.0")
	answers(t, s, passed, other, "/")
	began := time.Now()
	require.NoError(t, target.SetMode(within(t, targettest.Wait), "off", false))
	answers(t, s, passed, client, "/")
	t.Logf("off after %s", time.Since(began).Round(time.Millisecond))
	assert.Equal(t, 100_000, target.Capacity())
}
