package pipeline_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/internal/script"
	"offpath/reassembly/pipeline"
)

// live is the configuration of a sensor: hashes, no details.
var live = pipeline.Config{Content: content.Config{Key: []byte("0123456789abcdef")}}

// batches cuts packets into batches of 256.
func batches(packets []capture.Packet) (list []capture.Batch) {
	for len(packets) > 0 {
		n := min(256, len(packets))
		list = append(list, capture.Batch{Packets: packets[:n], Clock: packets[n-1].Clock})
		packets = packets[n:]
	}
	return list
}

// BenchmarkAPI is requests of 408 octets with a JSON body and responses of about
// as much on kept-alive connections, packets already decoded.
func BenchmarkAPI(b *testing.B) {
	benchmark(b, 20000, apiTraffic(20000, 100, rand.New(rand.NewPCG(3, 5))))
}

// BenchmarkStreams is the same in HTTP/2.
func BenchmarkStreams(b *testing.B) { benchmark(b, 20000, streamTraffic(20000, 100)) }

// streamTraffic is API calls of HTTP/2, so many to a connection.
func streamTraffic(total, each int) []capture.Packet {
	s := script.New()
	var c *script.Connection
	var client, server *framed
	for i := range total {
		if i%each == 0 {
			c = s.Connection()
			c.Open()
			client, server = newFramed(true), newFramed(false)
		}
		stream := uint32(2*(i%each) + 1)
		client.head(stream, false, ":method", "POST", ":scheme", "https", ":authority", "api.bank.example", ":path", fmt.Sprint("/v1/accounts/", i, "/balance"),
			"content-type", "application/json", "accept", "application/json", "accept-encoding", "gzip", "user-agent", "BankApp/7.1 (Android 14)",
			"x-device-id", fmt.Sprintf("%016x", i), "authorization", fmt.Sprintf("Bearer %032x", i/each), "content-length", "28")
		client.data(stream, true, `{"currency":"EUR","id":1234}`)
		server.head(stream, false, ":status", "200", "content-type", "application/json", "date", "Mon, 01 Jan 2024 00:00:00 GMT",
			"cache-control", "no-store", "x-request-id", fmt.Sprintf("%016x", i), "content-length", "33")
		server.data(stream, true, `{"balance":"1234.56","held":"0.0"}`[:33])
		c.Client(client.said())
		c.Server(server.said())
	}
	return s.Packets()
}

// benchmark has a pipeline make so many transactions of packets.
func benchmark(b *testing.B, total int, packets []capture.Packet) {
	octets := int64(0)
	for _, p := range packets {
		octets += int64(p.PayloadLen) + 54
	}
	list := batches(packets)
	b.SetBytes(octets)
	b.ReportAllocs()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	for b.Loop() {
		n = 0
		p, err := pipeline.New(live, func(_ int, txs []*reassembly.Transaction, _ int64) {
			n += len(txs)
			reassembly.Release(txs)
		})
		if err != nil {
			b.Fatal(err)
		}
		for _, batch := range list {
			p.Handle(0, batch)
		}
		p.Close()
	}
	runtime.ReadMemStats(&now)
	require.Equal(b, total, n)
	done := float64(b.N * total)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/done, "ns/tx")
	b.ReportMetric(float64(now.Mallocs-before.Mallocs)/done, "allocs/tx")
}

// BenchmarkBody is what packets inside a large body cost: a download that
// nobody looks at beyond its first octets.
func BenchmarkBody(b *testing.B) {
	s := script.New()
	c := s.Connection()
	c.Open()
	c.Client(get("/download"))
	c.Server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 14_000_000, make([]byte, 14_000_000)))
	c.Close()
	packets := s.Packets()
	list := batches(packets)
	b.SetBytes(14_000_000)
	b.ReportAllocs()
	for b.Loop() {
		p, err := pipeline.New(live, func(int, []*reassembly.Transaction, int64) {})
		if err != nil {
			b.Fatal(err)
		}
		for _, batch := range list {
			p.Handle(0, batch)
		}
		p.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(packets)), "ns/packet")
}

func TestPacketsOfAKnownConnectionCostNoAllocation(t *testing.T) {
	s := script.New()
	c := s.Connection()
	c.Open()
	c.Client(get("/download"))
	c.Server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 1<<40, make([]byte, 100_000)))
	p, err := pipeline.New(live, func(int, []*reassembly.Transaction, int64) {})
	require.NoError(t, err)
	packets := s.Packets()
	p.Handle(0, capture.Batch{Packets: packets, Clock: packets[len(packets)-1].Clock})
	next := packets[len(packets)-2] // the last data segment
	batch := capture.Batch{Packets: []capture.Packet{next}}
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		next.Seq += uint32(next.PayloadLen)
		next.Clock += 1000
		batch.Packets[0], batch.Clock = next, next.Clock
		p.Handle(0, batch)
	}))
}

func TestATransactionCostsOneAllocation(t *testing.T) {
	const runs = 2000
	list := batches(apiTraffic(2*runs, 10, rand.New(rand.NewPCG(3, 5))))
	transactions := 0
	p, err := pipeline.New(live, func(_ int, txs []*reassembly.Transaction, _ int64) {
		transactions += len(txs)
		reassembly.Release(txs)
	})
	require.NoError(t, err)
	half := len(list) / 2
	for _, batch := range list[:half] { // until tables and buffers have their size
		p.Handle(0, batch)
	}
	list, transactions = list[half:], 0
	allocations := testing.AllocsPerRun(len(list)-1, func() {
		p.Handle(0, list[0])
		list = list[1:]
	})
	each := allocations / 128 // a batch is of 256 packets, two for a transaction
	assert.InDelta(t, runs, transactions, 200)
	assert.LessOrEqual(t, each, 1.1, "one for its text; ids share one")
}

// heap returns the octets that live on the heap.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestIdleConnectionsAreSmall(t *testing.T) {
	const flows = 100_000
	for _, test := range []struct {
		name  string
		limit int64 // octets of a flow
		write func(c *script.Connection)
	}{
		{"a SYN", 400, func(c *script.Connection) { c.Send(true, capture.FlagSYN, nil) }},
		{"one request, answered", 640, func(c *script.Connection) {
			c.Open()
			c.Client(get("/"))
			c.Server(ok("x"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			test.write(c)
			packets := s.Packets()
			p, err := pipeline.New(live, func(int, []*reassembly.Transaction, int64) {})
			require.NoError(t, err)
			before := heap()
			for i := range flows {
				for j := range packets {
					client := &packets[j].Src
					if packets[j].SrcPort == c.ServerAddr.Port() {
						client = &packets[j].Dst
					}
					client[12], client[13], client[14], client[15] = 10, byte(i>>16), byte(i>>8), byte(i)
				}
				p.Handle(0, capture.Batch{Packets: script.Stamp(packets), Clock: packets[0].Clock})
			}
			each := (heap() - before) / flows
			stats := p.Stats()
			require.EqualValues(t, flows, stats.TCP.Flows)
			t.Logf("%d octets a flow", each)
			assert.LessOrEqual(t, each, test.limit)
			p.Close()
		})
	}
}

func TestAFloodOfSYNsStaysWithinItsShare(t *testing.T) {
	config := live
	config.Memory = 32 << 20
	s := script.New()
	c := s.Connection()
	c.Open()
	exchangeOf(c, 1)
	packets := s.Packets()
	transactions := 0
	p, err := pipeline.New(config, func(_ int, txs []*reassembly.Transaction, _ int64) { transactions += len(txs) })
	require.NoError(t, err)
	p.Handle(0, capture.Batch{Packets: packets, Clock: packets[len(packets)-1].Clock})
	before := heap()
	syn := packets[0]
	for i := range 500_000 {
		syn.Src[12], syn.Src[13], syn.Src[14], syn.Src[15] = 11, byte(i>>16), byte(i>>8), byte(i)
		list := script.Stamp([]capture.Packet{syn})
		p.Handle(0, capture.Batch{Packets: list, Clock: list[0].Clock})
	}
	assert.Less(t, heap()-before, int64(16<<20))
	stats := p.Stats()
	assert.EqualValues(t, stats.TCP.FlowsOpened-stats.TCP.Flows, stats.TCP.EvictedOpen, "only half-open ones go")
	exchangeOf(c, 2)
	rest := s.Packets()[len(packets):]
	for i := range rest {
		rest[i].Clock = syn.Clock
	}
	p.Handle(0, capture.Batch{Packets: rest, Clock: syn.Clock})
	assert.Equal(t, 3, transactions, "the connection that was there lives on")
	p.Close()
}
