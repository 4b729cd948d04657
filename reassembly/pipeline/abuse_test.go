package pipeline_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/decode"
	"offpath/reassembly"
	"offpath/reassembly/internal/script"
	"offpath/reassembly/pipeline"
)

// line is a wire of which a pipeline sees every packet, a microsecond apart.
type line struct {
	pipeline *pipeline.Pipeline
	batch    []capture.Packet
	waiting  int // octets of the batch
	now      int64
	octets   int64 // on the wire: no frame takes less than 84
	before   int64 // octets of the heap at first
	txs      []*reassembly.Transaction
	keep     int // transactions kept of those that come
	found    int
}

func newLine(t *testing.T, config pipeline.Config, keep int) *line {
	t.Helper()
	l := &line{now: script.Epoch, keep: keep}
	var err error
	l.pipeline, err = pipeline.New(config, func(_ int, txs []*reassembly.Transaction, _ int64) {
		l.found += len(txs)
		l.txs = append(l.txs, txs[:min(len(txs), max(0, l.keep-len(l.txs)))]...)
	})
	require.NoError(t, err)
	l.before = heap()
	return l
}

func (l *line) send(p capture.Packet) {
	l.now += 1000
	p.Time, p.Clock = l.now, l.now
	p.Shard = decode.Shard(p.Src, p.Dst, p.SrcPort, p.DstPort)
	l.octets += int64(max(84, p.PayloadLen+78))
	l.batch, l.waiting = append(l.batch, p), l.waiting+p.PayloadLen
	if len(l.batch) == 256 || l.waiting > 256<<10 { // as sources do
		l.flush()
	}
}

func (l *line) flush() {
	l.pipeline.Handle(0, capture.Batch{Packets: l.batch, Clock: l.now})
	l.batch, l.waiting = l.batch[:0], 0
}

// from is a connection of its own for a number.
func from(p capture.Packet, server capture.Packet, i int) capture.Packet {
	client := &p.Src
	if p.SrcPort == server.DstPort {
		client = &p.Dst
	}
	binary.BigEndian.PutUint32(client[12:], 10<<24|uint32(i))
	return p
}

// cpu is the time that the process has used, ns.
func cpu(t *testing.T) int64 {
	var use syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return use.Utime.Nano() + use.Stime.Nano()
}

// cost is CPU time, ns for an octet on the wire and for a transaction.
type cost struct{ octet, transaction float64 }

// usual is what API calls cost at the moment, half of them on kept-alive connections,
// half on one of their own.
func usual(t *testing.T, packets []capture.Packet) cost {
	t.Helper()
	l := newLine(t, live, 0)
	took := l.feed(t, func(l *line) {
		for _, p := range packets {
			l.send(p)
		}
	})
	return cost{took / float64(l.octets), took / float64(l.found)}
}

// feed runs feed to its end and returns the CPU time that it took, ns.
func (l *line) feed(t *testing.T, feed func(l *line)) float64 {
	t.Helper()
	start := cpu(t)
	feed(l)
	l.flush()
	return float64(cpu(t) - start)
}

// mostUsual is how many times the usual abuse may cost.
const mostUsual = 5

// measure runs feed on fresh lines, at most five times, until one takes no more than
// mostUsual times what usual traffic that carries as much takes. It returns the last
// line, and how many times the usual it took. Machines have slow phases, so the usual
// is measured beside each. The race detector slows some down more than others: with it
// nothing is measured.
func measure(t *testing.T, config pipeline.Config, packets []capture.Packet, feed func(l *line)) (l *line, times float64) {
	t.Helper()
	if raceDetector {
		l = newLine(t, config, 10)
		feed(l)
		l.flush()
		return l, 0
	}
	for range 5 {
		before := usual(t, packets)
		l = newLine(t, config, 10)
		took := l.feed(t, feed)
		after := usual(t, packets)
		times = took / max(
			(before.octet+after.octet)/2*float64(l.octets),
			(before.transaction+after.transaction)/2*float64(l.found))
		if times <= mostUsual {
			break
		}
	}
	return l, times
}

// connection gives the packets of one connection, by what was said.
func connection(write func(c *script.Connection)) []capture.Packet {
	s := script.New()
	c := s.Connection()
	c.MSS = 60000
	write(c)
	return s.Packets()
}

// abuse is traffic that is meant to cost, and what became of it.
type abuse struct {
	name   string
	memory int64 // MiB
	feed   func(l *line)
	check  func(t *testing.T, l *line, s *pipeline.Stats)
}

func TestAbuse(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	packets := append(apiTraffic(10000, 100, r), apiTraffic(10000, 10000, r)...)
	usual(t, packets) // what is made at first is not measured
	long := strings.Repeat("a", 60000)
	handshake := connection((*script.Connection).Open)
	talk := connection(func(c *script.Connection) { c.Open(); exchangeOf(c, 1) })
	for _, test := range append(abuseOfLayers(t), []abuse{{
		"a million half-open connections", 1024,
		func(l *line) {
			for i := range 1_000_000 {
				l.send(from(handshake[0], handshake[1], i))
			}
		},
		func(t *testing.T, _ *line, s *pipeline.Stats) {
			assert.EqualValues(t, 1_000_000, s.TCP.FlowsOpened)
			assert.EqualValues(t, s.TCP.FlowsOpened-s.TCP.Flows, s.TCP.EvictedOpen)
		},
	}, {
		"200,000 idle connections", 1024,
		func(l *line) {
			for i := range 200_000 {
				for _, p := range talk {
					l.send(from(p, talk[1], i))
				}
			}
		},
		func(t *testing.T, l *line, s *pipeline.Stats) {
			assert.Equal(t, 200_000, l.found)
			assert.EqualValues(t, 200_000, s.TCP.Flows)
		},
	}, {
		"150,000 connections with one huge gap", 64,
		func(l *line) {
			gap := connection(func(c *script.Connection) {
				c.Open()
				c.SeqClient += 1 << 20
				c.Silent = true
				c.Client(long[:1400])
			})
			for i := range 150_000 {
				for _, p := range gap {
					l.send(from(p, gap[1], i))
				}
			}
		},
		func(t *testing.T, _ *line, s *pipeline.Stats) {
			assert.Positive(t, s.TCP.SegmentsDropped+s.TCP.EvictedIdle+s.TCP.EvictedOpen, "what there was no room for")
		},
	}, {
		"30,000 segments in reverse order", 64,
		func(l *line) {
			packets := connection(func(c *script.Connection) {
				c.Open()
				c.MSS, c.Silent = 1000, true
				c.Client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n" + strings.Repeat(long, 500))
			})
			for _, p := range packets[:3] {
				l.send(p)
			}
			for i := len(packets) - 1; i > 2; i-- {
				l.send(packets[i])
			}
		},
		func(t *testing.T, _ *line, s *pipeline.Stats) {
			assert.Positive(t, s.TCP.SegmentsOutOfOrder)
		},
	}, {
		"a gigabyte of header", 64,
		func(l *line) {
			c := script.New().Connection()
			c.MSS, c.Silent = 60000, true
			for _, p := range talk[:3] {
				l.send(p)
			}
			head := *c.Send(true, capture.FlagACK, []byte("GET / HTTP/1.1\r\nHost: a\r\nX: "))
			head.Seq = talk[3].Seq
			l.send(head)
			for seq := head.Seq + uint32(head.PayloadLen); l.octets < 1<<30; seq += uint32(len(long)) {
				p := head
				p.Seq, p.Payload, p.PayloadLen = seq, []byte(long), len(long)
				l.send(p)
			}
		},
		func(t *testing.T, l *line, s *pipeline.Stats) {
			require.Len(t, l.txs, 1)
			assert.Equal(t, []string{"head_too_large"}, l.txs[0].Anomalies.Names())
			assert.Greater(t, s.HTTP.SkippedOctets, uint64(1<<29))
		},
	}, {
		"a million header fields", 64,
		said("GET / HTTP/1.1\r\nHost: a\r\n"+strings.Repeat("a: b\r\n", 1_000_000)+"\r\n", ""),
		anomalies("head_too_large", "too_many_headers"),
	}, {
		"a chunk of 2^64 octets", 64,
		said("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"+strings.Repeat(long, 100), ""),
		anomalies("chunk_size_overflow"),
	}, {
		"a Content-Length of 2^63-1 octets", 64,
		said("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n"+strings.Repeat(long, 100), ""),
		anomalies(),
	}, {
		"a million chunks of an octet", 64,
		said("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1\r\nx\r\n", 1_000_000)+"0\r\n\r\n", ok("")),
		anomalies(),
	}, {
		"a million requests that nobody answers", 64,
		said(strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1_000_000), ""),
		func(t *testing.T, l *line, s *pipeline.Stats) {
			assert.Positive(t, s.QueueOverflows, "of those that waited")
			assert.Equal(t, 1_000_000, l.found)
		},
	}, {
		"octets that are no message for ever", 64,
		said(get("/")+strings.Repeat("GET / HTTP/9 x\r\n", 1_000_000), ok("x")),
		func(t *testing.T, l *line, s *pipeline.Stats) { assert.Positive(t, s.HTTP.SkippedOctets) },
	}, {
		"60 KB of names, each in the value of the one before", 64,
		said(strings.Repeat(get("/?x="+strings.Repeat("/a=", 20_000)), 20), ""),
		func(t *testing.T, l *line, s *pipeline.Stats) { assert.EqualValues(t, 20, s.HTTP.Requests) },
	}, {
		"60 KB of encoded names, each in the value of the one before", 64,
		said(strings.Repeat(get("/?x="+strings.Repeat("/e=%25", 10_000)), 10)+strings.Repeat(get("/?x="+strings.Repeat("/e=\"%252525", 5_000)), 10), ""),
		func(t *testing.T, l *line, s *pipeline.Stats) { assert.EqualValues(t, 20, s.HTTP.Requests) },
	}, {
		"a compression bomb of 1000:1", 64,
		func(l *line) {
			body := bomb(t)
			for _, p := range connection(func(c *script.Connection) {
				c.Open()
				for range 200 {
					c.Client(get("/"))
					c.Server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
				}
			}) {
				l.send(p)
			}
		},
		func(t *testing.T, l *line, _ *pipeline.Stats) {
			assert.Equal(t, 200, l.found)
			assert.Equal(t, []string{"compression_bomb"}, l.txs[0].Anomalies.Names())
		},
	}}...) {
		t.Run(test.name, func(t *testing.T) {
			config := live
			config.Memory = test.memory << 20
			l, times := measure(t, config, packets, test.feed)
			used := heap() - l.before
			stats := l.pipeline.Stats()
			l.pipeline.Close()
			closed := l.pipeline.Stats()
			balance(t, &closed)
			assert.Zero(t, l.pipeline.Charged(), "octets that were not given back")
			t.Logf("%.1f times the usual; %d MiB", times, used>>20)
			assert.LessOrEqual(t, times, float64(mostUsual), "CPU for what was carried")
			assert.LessOrEqual(t, used, config.Memory, "memory")
			stats.HTTP = closed.HTTP
			test.check(t, l, &stats)
		})
	}
}

// said feeds what client and server say on one connection, with no end.
func said(client, server string) func(l *line) {
	packets := connection(func(c *script.Connection) {
		c.Open()
		c.Client(client)
		c.Server(server)
	})
	return func(l *line) {
		for _, p := range packets {
			l.send(p)
		}
	}
}

// anomalies expects one transaction with these anomalies.
func anomalies(want ...string) func(*testing.T, *line, *pipeline.Stats) {
	return func(t *testing.T, l *line, _ *pipeline.Stats) {
		require.Len(t, l.txs, 1)
		assert.ElementsMatch(t, want, l.txs[0].Anomalies.Names())
	}
}

// bomb is a body of 16 MiB zeros in 16 KiB.
func bomb(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 16<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}
