package pipeline_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/reassembly/internal/script"
	"offpath/reassembly/pipeline"
)

// abuseOfLayers is what HTTP/2, TLS and the PROXY protocol invite to.
func abuseOfLayers(t *testing.T) []abuse {
	hellos := secretive(t)
	return []abuse{{
		"HPACK bombs", 64,
		streamed(func(s *framed) {
			s.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/", "x", strings.Repeat("b", 3900))
			const first = "\xbe" // the entry that was inserted last (RFC 7541 section 2.3.3)
			for i := range 1000 {
				s.frame(frameHeaders, endHeaders|endStream, uint32(2*i+3), strings.Repeat(first, 16<<10))
			}
		}),
		func(t *testing.T, _ *line, s *pipeline.Stats) {
			assert.EqualValues(t, 1001, s.HTTP2.Requests+s.HTTP2.HeadsLost)
		},
	}, {
		"100,000 streams", 1024,
		streamed(func(s *framed) {
			for i := range 100_000 {
				s.get(uint32(2*i+1), "/")
			}
		}),
		func(t *testing.T, l *line, s *pipeline.Stats) {
			assert.EqualValues(t, 100_000, s.HTTP2.Requests)
			assert.Positive(t, s.HTTP2.StreamsEvicted)
			assert.Equal(t, 100_000, l.found)
		},
	}, {
		"100,000 streams that are reset at once", 64,
		streamed(func(s *framed) {
			for i := range 100_000 {
				s.get(uint32(2*i+1), "/").frame(frameReset, 0, uint32(2*i+1), "\x00\x00\x00\x08")
			}
		}),
		func(t *testing.T, l *line, s *pipeline.Stats) {
			assert.Equal(t, 100_000, l.found)
			assert.Zero(t, s.HTTP2.StreamsEvicted)
		},
	}, {
		"a flood of CONTINUATION", 64,
		streamed(func(s *framed) {
			s.frame(frameHeaders, 0, 1, s.encode(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"))
			more := s.encode("name", strings.Repeat("v", 100))
			for range 200_000 {
				s.frame(frameContinuation, 0, 1, more)
			}
		}),
		func(t *testing.T, l *line, s *pipeline.Stats) {
			assert.Zero(t, l.found)
			assert.Greater(t, s.HTTP2.Frames, uint64(200_000))
		},
	}, {
		"a header block without end that makes entries of the compression table", 64,
		streamed(func(s *framed) {
			s.frame(frameHeaders, 0, 1, s.encode(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"))
			const entry = "\x41\x00" // :authority without value (RFC 7541 section 6.2.1)
			for range 1000 {
				s.frame(frameContinuation, 0, 1, strings.Repeat(entry, 8<<10))
			}
		}),
		func(t *testing.T, l *line, s *pipeline.Stats) {
			assert.Zero(t, l.found)
			assert.Greater(t, s.HTTP2.Frames, uint64(1000))
		},
	}, {
		"a million empty frames", 64,
		streamed(func(s *framed) {
			s.head(1, false, ":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/")
			for range 1_000_000 {
				s.data(1, false, "")
			}
		}),
		func(t *testing.T, _ *line, s *pipeline.Stats) { assert.Greater(t, s.HTTP2.Frames, uint64(1_000_000)) },
	}, {
		"20,000 ClientHellos that never end", 64,
		func(l *line) {
			endless := connection(func(c *script.Connection) {
				c.Open()
				c.Client("\x16\x03\x01\x40\x00\x01\x00\xff\xff\x03\x03" + strings.Repeat("r", 12_000))
			})
			for i := range 20_000 {
				for _, p := range endless {
					l.send(from(p, endless[1], i))
				}
			}
		},
		func(t *testing.T, _ *line, s *pipeline.Stats) { assert.EqualValues(t, 20_000, s.ConnectionsTLS) },
	}, {
		"512,000 connections in the middle of a ClientHello", 1024,
		func(l *line) {
			half := connection(func(c *script.Connection) {
				c.Open()
				c.Client(string(hellos[3].Payload[:150]))
			})
			for i := range 512_000 {
				for _, p := range half {
					l.send(from(p, half[1], i))
				}
			}
		},
		func(t *testing.T, _ *line, s *pipeline.Stats) {
			assert.EqualValues(t, 512_000, s.ConnectionsTLS)
			assert.Positive(t, s.ConnectionsRefused)
			assert.Less(t, s.ConnectionsRefused, uint64(256_000))
		},
	}, {
		"300,000 connections of HTTP/2 with an open stream each", 1024,
		func(l *line) {
			asking := streaming(func(s *framed) {
				s.head(1, false, ":method", "POST", ":scheme", "https", ":authority", "bank.example", ":path", "/api/v1/transfers", "user-agent", "BankApp/5.2", "content-type", "application/json")
			})
			for i := range 300_000 {
				for _, p := range asking {
					l.send(from(p, asking[1], i))
				}
			}
		},
		func(t *testing.T, l *line, s *pipeline.Stats) {
			assert.EqualValues(t, 300_000, s.ConnectionsHTTP2)
			assert.Positive(t, s.ConnectionsRefused)
			assert.Greater(t, s.HTTP2.Requests, uint64(100_000))
			assert.Zero(t, s.Transactions)
		},
	}, {
		"300,000 connections of HTTP/2 with a request each that nobody answers", 1024,
		func(l *line) {
			asking := streaming(func(s *framed) { s.get(1, "/api/v1/accounts?of=1") })
			for i := range 300_000 {
				for _, p := range asking {
					l.send(from(p, asking[1], i))
				}
			}
		},
		func(t *testing.T, l *line, s *pipeline.Stats) {
			assert.Positive(t, s.ConnectionsRefused)
			assert.Greater(t, s.HTTP2.Requests, uint64(100_000))
			assert.Equal(t, s.QueueOverflows, s.Transactions)
			assert.EqualValues(t, s.HTTP2.Requests, l.found)
		},
	}, {
		"450,000 connections with a request each that nobody answers", 1024,
		func(l *line) {
			asking := connection(func(c *script.Connection) {
				c.Open()
				c.Client("GET /api/v1/accounts?of=1 HTTP/1.1\r\nHost: bank.example\r\nUser-Agent: BankApp/5.2\r\nAccept: application/json\r\nCookie: a=b\r\n\r\n")
			})
			for i := range 450_000 {
				for _, p := range asking {
					l.send(from(p, asking[1], i))
				}
			}
		},
		func(t *testing.T, l *line, s *pipeline.Stats) {
			assert.Positive(t, s.QueueOverflows)
			assert.Equal(t, s.QueueOverflows, s.Transactions, "who finds no room to wait is handed over")
			assert.Less(t, s.Transactions, uint64(250_000))
			assert.Equal(t, 450_000, l.found)
		},
	}, {
		"200,000 connections in TLS without a key", 1024,
		func(l *line) {
			for i := range 200_000 {
				for _, p := range hellos {
					l.send(from(p, hellos[1], i))
				}
			}
		},
		func(t *testing.T, _ *line, s *pipeline.Stats) {
			assert.EqualValues(t, 200_000, s.ConnectionsTLS)
			assert.EqualValues(t, 200_000, s.TCP.Flows)
		},
	}, {
		"150,000 PROXY headers that never end", 64,
		func(l *line) {
			headers := [][]capture.Packet{
				connection(func(c *script.Connection) { c.Open(); c.Client("PROXY TCP4 192.0.2.1 ") }),
				connection(func(c *script.Connection) {
					c.Open()
					c.Client("\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + strings.Repeat("p", 1300))
				}),
			}
			for i := range 150_000 {
				packets := headers[i%2]
				for _, p := range packets {
					l.send(from(p, packets[1], i))
				}
			}
		},
		func(t *testing.T, _ *line, s *pipeline.Stats) { assert.Zero(t, s.ConnectionsProxied) },
	}}
}

// streaming is a connection on which a client says something in HTTP/2.
func streaming(write func(s *framed)) []capture.Packet {
	s := newFramed(true)
	write(s)
	return connection(func(c *script.Connection) {
		c.Open()
		c.Client(s.said())
	})
}

// streamed feeds what a client says in HTTP/2, made beforehand.
func streamed(write func(s *framed)) func(l *line) {
	s := newFramed(true)
	write(s)
	return said(s.said(), "")
}

// secretive is a connection in TLS whose key nobody has, up to its first octets of
// application data.
func secretive(t *testing.T) []capture.Packet {
	all, _ := carried(t, false, &tls.Config{MinVersion: tls.VersionTLS13})
	return connection(func(c *script.Connection) {
		c.Open()
		onWire(c, all[:min(len(all), 12)])
	})
}

// TestAConnectionThatNobodyReadsIsSmall: once it is known that nothing can be learnt
// of a connection, it costs its flow and nothing else.
func TestAConnectionThatNobodyReadsIsSmall(t *testing.T) {
	const n = 50_000
	each := func(packets []capture.Packet) int {
		l := newLine(t, live, 0)
		for i := range n {
			for _, p := range packets {
				l.send(from(p, packets[1], i))
			}
		}
		l.flush()
		used := heap() - l.before
		stats := l.pipeline.Stats()
		require.EqualValues(t, n, stats.TCP.Flows)
		l.pipeline.Close()
		return int(used / n)
	}
	opened := each(connection((*script.Connection).Open))
	for name, packets := range map[string][]capture.Packet{
		"TLS without a key": secretive(t),
		"another upgrade": connection(func(c *script.Connection) {
			c.Open()
			c.Client("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
			c.Server("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		}),
	} {
		used := each(packets)
		t.Logf("%s: %d octets a connection, %d beyond one that is merely open", name, used, used-opened)
		assert.LessOrEqual(t, used-opened, 64, name)
	}
}
