package controller_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/targettest"
)

// percentile is of durations, which it sorts.
func percentile(of []time.Duration, p float64) time.Duration {
	slices.Sort(of)
	return of[min(int(p*float64(len(of))), len(of)-1)]
}

// busy takes all processors, as a controller does that shares them with the load balancer.
func busy(during time.Duration) {
	var all sync.WaitGroup
	end := time.Now().Add(during)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for time.Now().Before(end) {
			}
		})
	}
	all.Wait()
}

// BenchmarkMillion puts a million verdicts about addresses in force, by one controller at
// one HAProxy, while customers ask; then one more, lifts one, and reloads HAProxy. What
// customers wait meanwhile is beside what they wait when nothing else runs, and when
// something else takes all processors. Apart, HAProxy and its customers do not share their
// processors with the controller: that is, they come first; else all are equal.
func BenchmarkMillion(b *testing.B) {
	b.Run("apart", func(b *testing.B) { million(b, true) })
	b.Run("shared", func(b *testing.B) { million(b, false) })
}

func million(b *testing.B, apart bool) {
	const n = 1_000_000
	address := func(i uint32) string { return fmt.Sprintf("127.%d.%d.%d", 16+i>>16, i>>8&255, i&255) }
	for b.Loop() {
		more := uint32(0)
		ofCustomers, ofHAProxy := 0, 0 // priorities
		if apart {
			ofCustomers, ofHAProxy = 20, 10
		}
		s, p99 := startWithCustomers(b, haproxy.Setup{TableSize: "1100000"}, ofCustomers)
		comes := func() {
			if apart {
				ahead(b, s.PID(), ofHAProxy)
			}
		}
		comes()
		target, err := haproxy.New(haproxy.Options{Name: "lb1", Address: s.Socket, MapDir: s.MapDir, Capacity: n + 1000})
		require.NoError(b, err)
		c, stop := targettest.Running(b, controller.Config{
			Targets: []mitigate.Target{target}, Mode: detect.ModeEnforce, MaxVerdicts: n + 1000, MaxPerMinute: 1 << 30, PollInterval: time.Second, StateDir: b.TempDir(),
		})
		eventually(b, func() bool { return c.Targets()[0].Connected && c.Targets()[0].Mode == detect.ModeEnforce }, "connected")

		p99()
		time.Sleep(5 * time.Second)
		b.ReportMetric(float64(p99().Microseconds()), "p99-before-µs")
		busy(5 * time.Second)
		b.ReportMetric(float64(p99().Microseconds()), "p99-busy-µs")
		began := time.Now()
		for i := range uint32(n) {
			require.NoError(b, c.Apply(targettest.Block(i+1, address(i))))
		}
		require.Eventually(b, func() bool { return c.Targets()[0].InForce == n }, 5*time.Minute, 10*time.Millisecond)
		b.ReportMetric(time.Since(began).Seconds(), "s-to-in-force")
		b.ReportMetric(float64(p99().Microseconds()), "p99-while-loading-µs")
		for i := uint32(0); i < n; i += n / 100 {
			require.Equal(b, 403, status(s, address(i)))
		}

		one := func(when string) {
			var in, out []time.Duration
			for range 100 {
				more++
				v := targettest.Block(n+more, fmt.Sprintf("127.9.9.%d", more))
				began := time.Now()
				require.NoError(b, c.Apply(v))
				for status(s, v.Subject.Client.Addr().String()) != 403 {
				}
				in = append(in, time.Since(began))
				began = time.Now()
				require.NoError(b, c.Lift(v.ID, "benchmark"))
				for status(s, v.Subject.Client.Addr().String()) != 200 {
				}
				out = append(out, time.Since(began))
			}
			b.ReportMetric(float64(percentile(in, 1).Microseconds())/1000, "one-more"+when+"-ms-worst")
			b.ReportMetric(float64(percentile(out, 1).Microseconds())/1000, "one-lifted"+when+"-ms-worst")
		}
		one("")
		s.Reload()
		comes()
		eventually(b, func() bool { return c.Targets()[0].Restarts == 1 && c.Targets()[0].Connected }, "seen the reload")
		one("-after-reload") // while all others are written again

		stop()
		began = time.Now()
		s.Reload()
		lost := 0
		for i := uint32(0); i < n; i += n / 1000 {
			if status(s, address(i)) != 403 {
				lost++
			}
		}
		b.ReportMetric(time.Since(began).Seconds(), "s-reload")
		b.ReportMetric(float64(lost), "lost-of-1000-by-reload")
		s.Down()
	}
}
