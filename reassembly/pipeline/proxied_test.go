package pipeline_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/internal/script"
)

const named = "PROXY TCP4 203.0.113.66 198.51.100.20 1 8080\r\n"

// passed is a connection that a proxy passes on: when, what it begins with, and to
// whom.
type passed struct {
	at     time.Duration
	octets string
	server string // "": one and the same
}

func passOn(connections []passed) *script.Script {
	s := script.New()
	now := time.Duration(0)
	for _, p := range connections {
		s.Wait(p.at - now)
		now = p.at
		c := s.Connection()
		if p.server != "" {
			c.ServerAddr = netip.MustParseAddrPort(p.server)
		}
		c.Open()
		c.Client(p.octets)
		c.Server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		c.Close()
	}
	return s
}

// TestHeadersOfAProxyThatSendsNoneAreItsClients: behind a proxy that sends no PROXY
// protocol header, clients may write one themselves.
func TestHeadersOfAProxyThatSendsNoneAreItsClients(t *testing.T) {
	const check = "OPTIONS /health HTTP/1.0\r\n\r\n"
	const other = "198.51.100.21:8080"
	local := "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00" // version 2, LOCAL
	for name, test := range map[string]struct {
		connections []passed
		want        string // whether each header that names a client is believed
	}{
		"a proxy that always sends them":                      {[]passed{{0, named + get("/"), ""}, {time.Minute, named + get("/"), ""}}, "++"},
		"one that sends none":                                 {[]passed{{0, get("/"), ""}, {time.Minute, named + get("/"), ""}}, "-"},
		"one that sends none, said by a ClientHello":          {[]passed{{0, tlsHello, ""}, {time.Minute, named + get("/"), ""}}, "-"},
		"one that sends none to another server":               {[]passed{{0, get("/"), other}, {time.Minute, named + get("/"), ""}, {time.Minute, named + get("/"), other}}, "+-"},
		"one that sends none until it is configured anew":     {[]passed{{0, get("/"), ""}, {59 * time.Minute, named + get("/"), ""}, {61 * time.Minute, named + get("/"), ""}}, "-+"},
		"one that goes on to send none":                       {[]passed{{0, get("/a"), ""}, {50 * time.Minute, get("/b"), ""}, {100 * time.Minute, named + get("/"), ""}}, "-"},
		"health checks whose header names nobody":             {[]passed{{0, local + check, ""}, {time.Minute, named + get("/"), ""}}, "+"},
		"health checks without data":                          {[]passed{{0, "", ""}, {time.Minute, named + get("/"), ""}}, "+"},
		"health checks without header end belief for an hour": {[]passed{{0, check, ""}, {30 * time.Minute, check, ""}, {31 * time.Minute, named + get("/"), ""}, {61 * time.Minute, named + get("/"), ""}, {62 * time.Minute, check, ""}, {63 * time.Minute, named + get("/"), ""}}, "-++"},
		"health checks and a client without header":           {[]passed{{0, check, ""}, {62 * time.Minute, check, ""}, {63 * time.Minute, get("/"), ""}, {64 * time.Minute, named + get("/"), ""}}, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			s := passOn(test.connections)
			packets := s.Packets()
			for i := range packets {
				packets[i].Shard = 7 // what is seen is remembered by the shard
			}
			trusting := config
			trusting.Content.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			txs, stats := run(t, trusting, packets, 64)
			believed := ""
			n := 0
			for _, c := range test.connections {
				if !strings.Contains(c.octets, " HTTP/1.") {
					continue
				}
				require.Less(t, n, len(txs))
				client := txs[n].Client.String()
				n++
				switch {
				case !strings.HasPrefix(c.octets, named):
					assert.Equal(t, "192.0.2.10", client)
				case client == "203.0.113.66":
					believed += "+"
				default:
					assert.Equal(t, "192.0.2.10", client)
					believed += "-"
				}
			}
			assert.Equal(t, test.want, believed)
			assert.EqualValues(t, strings.Count(test.want, "-"), stats.ProxyHeadersDisbelieved)
		})
	}
}

func TestWorkersDoNotChangeWhichHeadersAreBelieved(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	var connections []passed
	for i := range 3000 {
		server := fmt.Sprintf("198.51.%d.%d:80", r.IntN(2), r.IntN(200))
		octets := get(fmt.Sprint("/", i))
		if r.IntN(2) == 0 {
			octets = named + octets
		}
		connections = append(connections, passed{time.Duration(i) * 3 * time.Second, octets, server})
	}
	trusting := config
	trusting.Content.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	packets := passOn(connections).Packets()
	for i := range packets {
		packets[i].Shard %= 3 // each with more passages than it remembers
	}
	want, stats := run(t, trusting, packets, 64)
	require.Greater(t, stats.ProxyHeadersDisbelieved, uint64(100))
	for _, workers := range []int{2, 7} {
		trusting.Workers = workers
		got, again := run(t, trusting, packets, 13)
		require.Equal(t, want, got, "%d workers", workers)
		require.Equal(t, stats.ProxyHeadersDisbelieved, again.ProxyHeadersDisbelieved)
	}
}
