package controller_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
	"offpath/mitigate/internal/targettest"
)

// BenchmarkVerdictToFirst403 is the time from Apply until a client that asks
// without pause, on one kept connection, gets its first 403.
func BenchmarkVerdictToFirst403(b *testing.B) {
	s := haproxytest.Start(b, haproxy.Setup{})
	c, _ := targettest.Running(b, controller.Config{
		Targets:  []mitigate.Target{targetOf(b, "lb1", s.Socket, s)},
		Mode:     detect.ModeEnforce,
		Coalesce: time.Nanosecond, MaxPerMinute: 1 << 30,
	})
	eventually(b, func() bool { return c.Targets()[0].Connected && c.Targets()[0].Mode == detect.ModeEnforce }, "connected")
	ask := asking(b, s, attacker)
	require.Equal(b, 200, ask())
	b.ReportAllocs()
	id := uint32(0)
	for b.Loop() {
		id++
		v := targettest.Block(id, attacker)
		require.NoError(b, c.Apply(v))
		for ask() != 403 {
		}
		b.StopTimer()
		require.NoError(b, c.Lift(v.ID, "benchmark"))
		for ask() != 200 {
		}
		b.StartTimer()
	}
}

// BenchmarkRequest is what the rules cost a request that no verdict concerns,
// on one kept connection: bare has none of them, and with a predicate in force
// HAProxy computes the fingerprint of every request.
func BenchmarkRequest(b *testing.B) {
	addresses := func(n int) []mitigate.Entry {
		set := make([]mitigate.Entry, n)
		for i := range set {
			set[i].Subject.Client = targettest.Network(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		}
		return set
	}
	program := detect.Subject{Fingerprint: "0123456789abcdef", Endpoint: "POST bank.example/login"}
	for _, c := range []struct {
		name     string
		verdicts []mitigate.Entry
	}{
		{"bare", nil},
		{"0 verdicts", addresses(0)},
		{"100000 verdicts", addresses(100_000)},
		{"100000 verdicts and one about a program", append(addresses(100_000), mitigate.Entry{Subject: program})},
	} {
		b.Run(c.name, func(b *testing.B) {
			var s *haproxytest.Server
			if c.verdicts == nil {
				s = haproxytest.NewPlain(b)
				s.Up()
			} else {
				s = haproxytest.Start(b, haproxy.Setup{})
				target := targetOf(b, "lb1", s.Socket, s)
				for i := range c.verdicts {
					e := &c.verdicts[i]
					e.ID, e.Action, e.Expires = mitigate.ID(1<<32+i+1), detect.ActionBlock, time.Now().Add(time.Hour).Unix()
				}
				require.NoError(b, target.Apply(b.Context(), c.verdicts, nil))
				require.NoError(b, target.SetMode(b.Context(), detect.ModeEnforce, false))
			}
			ask := asking(b, s, customer)
			require.Equal(b, 200, ask())
			before := s.CPU()
			for b.Loop() {
				ask()
			}
			b.ReportMetric(float64(s.CPU()-before)/float64(b.N), "haproxy-ns/op")
		})
	}
}

// asking is a client with a kept connection; it returns the status.
func asking(b *testing.B, s *haproxytest.Server, from string) func() int {
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
