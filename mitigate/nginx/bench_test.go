package nginx_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/nginx"
)

// addresses are n verdicts on addresses.
func addresses(n int) []mitigate.Entry {
	set := make([]mitigate.Entry, n)
	for i := range set {
		set[i] = entry(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		set[i].ID = mitigate.ID(1<<32 + i + 1)
	}
	return set
}

// BenchmarkLoad sets verdicts on addresses, 10,000 an order.
func BenchmarkLoad(b *testing.B) {
	const n = 10_000
	_, target := enforcing(b)
	set := addresses(n)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, target.Apply(b.Context(), set, nil))
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "verdicts/s")
}

// BenchmarkCompare is a full comparison of 200,000 verdicts of which none differs, with the
// 99th percentile of what a client waits meanwhile and of what it waits otherwise.
func BenchmarkCompare(b *testing.B) {
	s, target := enforcing(b)
	set := addresses(200_000)
	require.NoError(b, target.Apply(b.Context(), set, nil))
	ask := asking(b, s, other)
	waits := func(until <-chan struct{}) float64 {
		var all []time.Duration
		for {
			select {
			case <-until:
				slices.Sort(all)
				return float64(all[len(all)*99/100].Microseconds())
			default:
			}
			began := time.Now()
			ask()
			all = append(all, time.Since(began))
		}
	}
	idle, cancel := context.WithTimeout(b.Context(), 3*time.Second)
	defer cancel()
	otherwise := waits(idle.Done())
	busy, done := context.WithCancel(b.Context())
	meanwhile := make(chan float64)
	go func() { meanwhile <- waits(busy.Done()) }()
	for b.Loop() {
		report, err := target.Sync(b.Context(), set)
		require.NoError(b, err)
		require.Equal(b, mitigate.SyncReport{Held: len(set), Compared: true}, report)
	}
	done()
	b.ReportMetric(<-meanwhile, "p99-µs")
	b.ReportMetric(otherwise, "p99-µs-otherwise")
}

// BenchmarkRequest is what the rules cost a request that no verdict concerns, on one kept
// connection: bare has none of them, and with a predicate in force nginx computes the
// fingerprint of every request.
func BenchmarkRequest(b *testing.B) {
	program := entry(client)
	program.Subject = detect.Subject{Fingerprint: "0123456789abcdef", Endpoint: "POST bank.example/login"}
	networks := entry("10.200.0.0/24")
	for _, c := range []struct {
		name     string
		verdicts []mitigate.Entry
	}{
		{"bare", nil},
		{"0 verdicts", []mitigate.Entry{}},
		{"100000 verdicts", addresses(100_000)},
		{"100000 verdicts and one on a network", append(addresses(100_000), networks)},
		{"100000 verdicts and one about a program", append(addresses(100_000), program)},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := nginxtest.Start(b, nginx.Setup{}, nginxtest.Options{Bare: c.verdicts == nil})
			if c.verdicts != nil {
				target := s.Target(b)
				require.NoError(b, target.Apply(b.Context(), c.verdicts, nil))
				require.NoError(b, target.SetMode(b.Context(), detect.ModeEnforce, false))
			}
			ask := asking(b, s, other)
			require.Equal(b, 200, ask())
			before := s.CPU()
			for b.Loop() {
				ask()
			}
			b.ReportMetric(float64(s.CPU()-before)/float64(b.N), "nginx-ns/op")
		})
	}
}

// BenchmarkVerdictToFirst403 is the time from Apply until a client that asks without pause,
// on one kept connection, gets its first 403.
func BenchmarkVerdictToFirst403(b *testing.B) {
	s, target := enforcing(b)
	ask := asking(b, s, client)
	e := entry(client)
	for b.Loop() {
		require.NoError(b, target.Apply(b.Context(), []mitigate.Entry{e}, nil))
		for ask() != 403 {
		}
		b.StopTimer()
		require.NoError(b, target.Apply(b.Context(), nil, []detect.Subject{e.Subject}))
		for ask() != 200 {
		}
		b.StartTimer()
	}
}

// asking is a client with a kept connection; it returns the status.
func asking(b *testing.B, s *nginxtest.Server, from string) func() int {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	b.Cleanup(client.CloseIdleConnections)
	return func() int {
		response, err := client.Get(s.URL + "/")
		require.NoError(b, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(b, err)
		response.Body.Close()
		return response.StatusCode
	}
}
