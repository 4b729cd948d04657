package http2_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/http2"
)

func TestStreamsBeyondTheLimitPushOutTheIdlest(t *testing.T) {
	const streams = 100_000
	p := newPeer()
	p.request(1, false, "POST", "/", "x-long", strings.Repeat("x", 200))
	p.request(3, false, "POST", "/", "x-long", strings.Repeat("x", 200))
	again := p.segments[4].data
	r := newReading(t)
	r.budget.limit = 16 << 20
	r.feed(p.segments)
	evicted := []uint32{}
	r.each = func(e http2.Event) {
		if e == http2.Closed && r.reader.Reason == http2.ReasonEvicted && len(evicted) < 4 {
			evicted = append(evicted, r.reader.Stream.ID)
		}
	}
	for id := uint32(5); id < 2*streams; id += 2 {
		copy(again[5:], u32(id))
		r.feed([]segment{{side: client, data: again}})
		if id == 1001 {
			p.segments = nil
			p.data(client, 1, false, "busy")
			r.feed(p.segments)
		}
		r.events = nil
	}
	assert.Equal(t, []uint32{3, 5, 7, 9}, evicted, "stream 1 was busy")
	assert.EqualValues(t, streams, r.reader.Stats.Requests)
	assert.EqualValues(t, streams-2047, r.reader.Stats.StreamsEvicted)
	assert.Less(t, r.budget.peak, 4<<20)
	r.finish()
}

func TestWithoutRoomThereAreNoStreamsAndNoHarm(t *testing.T) {
	p := newPeer()
	p.request(1, false, "POST", "/1")
	p.data(client, 1, true, strings.Repeat("x", 500))
	p.request(3, true, "GET", "/3", "x", "y")
	p.response(3, false, 200)
	p.data(server, 3, true, strings.Repeat("y", 900))
	truth := newReading(t)
	all := truth.messages()
	truth.feed(cut(p.segments, 100))
	truth.finish()
	most := 0
	for limit := 0; limit < truth.budget.peak+50; limit += 50 {
		r := newReading(t)
		r.budget.limit = limit
		got := r.messages()
		r.feed(cut(p.segments, 100))
		r.finish()
		for at, m := range got {
			want := all[at]
			require.Equal(t, want.target+want.method, m.target+m.method)
			require.Equal(t, want.status, m.status)
			require.True(t, strings.HasPrefix(want.body, m.body))
			require.True(t, !m.ended || m.bytes == want.bytes)
		}
		most = max(most, len(got))
	}
	assert.Equal(t, len(all), most)
}

func TestAHeaderBlockWithoutEndIsBounded(t *testing.T) {
	p := newPeer()
	p.frame(client, typeHeaders, endStream, 1, p.encode(client, ":method", "GET", ":scheme", "https", ":authority", "bank.example", ":path", "/flood"))
	for range 1000 {
		p.frame(client, typeContinuation, 0, 1, "\x00\x01x\x7f\xff\x06", strings.Repeat("x", 1022))
	}
	p.frame(client, typeContinuation, endHeaders, 1)
	p.request(3, true, "GET", "/3")
	r := newReading(t)
	r.feed(p.segments)
	assert.Equal(t, []string{"1 client head GET /flood", "1 client end GET /flood 0 whole head_too_large", "3 client head GET /3", "3 client end GET /3 0 whole"}, r.lines())
	assert.Less(t, r.budget.peak, 256<<10)
	r.finish()
}

func TestAFrameOfAnyLengthIsNotBuffered(t *testing.T) {
	for _, kind := range []byte{typeData, typeHeaders, typeSettings, typePushPromise, typeGoAway, typeContinuation, 0x77} {
		p := newPeer()
		p.request(1, true, "GET", "/1")
		p.frame(client, kind, 0, 1, strings.Repeat("\x00", 1<<24-1))
		p.frame(client, typePing, 0, 0, "12345678")
		p.request(3, true, "GET", "/3")
		r := newReading(t)
		r.feed(cut(p.segments, 1<<16))
		r.finish()
		assert.Less(t, r.budget.peak, 256<<10)
		assert.EqualValues(t, 2, r.reader.Stats.Requests, "frame type %d", kind)
	}
}

func TestAResetFloodLeavesNothing(t *testing.T) {
	p := newPeer()
	for id := uint32(1); id < 20_000; id += 2 {
		p.request(id, true, "GET", "/")
		p.reset(client, id, codeCancel)
	}
	r := newReading(t)
	r.feed(p.segments)
	assert.EqualValues(t, 10_000, r.reader.Stats.StreamsClosed)
	assert.Less(t, r.budget.used, 4<<10)
	r.finish()
}

// exchange is a request and its response as a client and a server send them again
// and again.
func exchange() (p *peer, request, response []byte) {
	p = newPeer()
	for id := uint32(1); id <= 5; id += 2 {
		request, response = nil, nil
		from := len(p.segments)
		p.request(id, false, "POST", "/api/v1/accounts/00001234/transfers", "user-agent", "BankApp/5.2 (iPhone; iOS 17.1)",
			"accept", "application/json", "accept-language", "en-GB", "content-type", "application/json",
			"authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0", "content-length", "41")
		p.data(client, id, true, strings.Repeat("b", 41))
		p.response(id, false, 200, "content-type", "application/json", "date", "Mon, 01 Jan 2024 00:00:00 GMT", "content-length", "300")
		p.data(server, id, true, strings.Repeat("b", 300))
		for _, s := range p.segments[from:] {
			if s.side == client {
				request = append(request, s.data...)
			} else {
				response = append(response, s.data...)
			}
		}
	}
	return p, request, response
}

// repeat reads an exchange n times, with a new stream each time.
type repeat struct {
	conn              http2.Conn
	reader            *http2.Reader
	budget            *budget
	request, response []byte
	id                uint32
	events            int
}

func newRepeat() *repeat {
	p, request, response := exchange()
	r := &repeat{reader: http2.NewReader(16<<10, nil), budget: &budget{limit: 1 << 20}, request: request, response: response, id: 7}
	for _, s := range p.segments {
		r.read(s.side, s.data)
	}
	return r
}

func (r *repeat) read(side http2.Side, data []byte) {
	in := http2.Input{Data: data, Time: 1}
	for r.conn.Read(r.reader, r.budget, side, &in) != http2.More {
		r.events++
	}
}

// next reads the exchange in segments of at most size octets.
func (r *repeat) next(size int) {
	for side, data := range [][]byte{r.request, r.response} {
		length := int(data[0])<<16 | int(data[1])<<8 | int(data[2])
		for _, at := range []int{5, 9 + length + 5} {
			data[at], data[at+1], data[at+2], data[at+3] = byte(r.id>>24), byte(r.id>>16), byte(r.id>>8), byte(r.id)
		}
		for len(data) > size {
			r.read(http2.Side(side), data[:size])
			data = data[size:]
		}
		r.read(http2.Side(side), data)
	}
	r.id += 2
}

func TestReadingAllocatesNothing(t *testing.T) {
	for _, size := range []int{1 << 20, 40, 3} {
		r := newRepeat()
		for range 1000 {
			r.next(size)
		}
		before := r.events
		assert.Zero(t, testing.AllocsPerRun(100, func() { r.next(size) }), "segments of %d octets", size)
		assert.Equal(t, 101*5, r.events-before)
		assert.Zero(t, r.reader.Stats.FieldsUnknown+r.reader.Stats.FrameErrors)
	}
}

// TestWhatConnectionsTakeIsCharged: the heap of many connections is within what they
// are charged, and that is not much more.
func TestWhatConnectionsTakeIsCharged(t *testing.T) {
	const n = 1000
	long := strings.Repeat("x", 700)
	for _, test := range []struct {
		name  string
		slack int // what may be charged too much: the caller's share of streams, buffers half empty
		say   func(p *peer)
	}{
		{"one that is idle after three exchanges", 600, func(p *peer) { *p = *said(exchange()) }},
		{"one of which only the preface came", 500, func(p *peer) { p.segments = p.segments[:1] }},
		{"one with a list of settings", 600, func(p *peer) {
			p.segments = nil
			p.raw(client, preface)
			p.settings(client, 1, 4096, 2, 0, 3, 100, 4, 65535, 5, 16384, 6, 16384, 8, 1)
		}},
		{"one with an open stream", 1100, func(p *peer) { p.request(1, false, "POST", "/") }},
		{"one with an open stream and some of its body", 1900, func(p *peer) {
			p.request(1, false, "POST", "/", "x", long)
			p.data(client, 1, false, long)
		}},
		{"one with 300 open streams", 300 * 600, func(p *peer) {
			for id := uint32(1); id < 600; id += 2 {
				p.request(id, false, "POST", "/")
			}
		}},
		{"one in the middle of a header block", 1100, func(p *peer) {
			p.frame(client, typeHeaders, 0, 1, p.encode(client, ":method", "GET", "x", long))
		}},
		{"one in the middle of a frame", 1100, func(p *peer) {
			p.request(1, false, "POST", "/", "x", long)
			last := &p.segments[len(p.segments)-1]
			last.data = last.data[:len(last.data)-100]
		}},
		{"one whose compression tables are full", 7500, func(p *peer) {
			for range 100 {
				p.request(1, true, "GET", "/", "x-a", strings.Repeat(fmt.Sprint(len(p.segments)), 20))
			}
			p.reset(server, 1, codeCancel)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPeer()
			test.say(p)
			reader := http2.NewReader(16<<10, nil)
			b := &budget{limit: 1 << 30}
			read := func(c *http2.Conn) {
				require.True(t, b.Take(http2.ConnCost))
				for _, s := range p.segments {
					in := http2.Input{Data: s.data, Time: 1}
					for c.Read(reader, b, s.side, &in) != http2.More {
					}
				}
			}
			for range 100 { // until the Reader has what it keeps
				var c http2.Conn
				read(&c)
				c.Close(reader, b)
				b.Give(http2.ConnCost)
			}
			require.Zero(t, b.used)
			conns := make([]*http2.Conn, n)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i := range conns {
				conns[i] = new(http2.Conn)
				read(conns[i])
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			took, charged := int(after.HeapAlloc-before.HeapAlloc)/n, b.used/n
			t.Logf("%d octets, %d charged", took, charged)
			assert.LessOrEqual(t, took, charged)
			assert.Less(t, charged-took, test.slack)
			for _, c := range conns {
				c.Close(reader, b)
			}
			assert.Equal(t, n*http2.ConnCost, b.used)
		})
	}
}

// said is the connection of an exchange.
func said(p *peer, _, _ []byte) *peer { return p }

func BenchmarkExchange(b *testing.B) {
	r := newRepeat()
	b.SetBytes(int64(len(r.request) + len(r.response)))
	b.ReportAllocs()
	for b.Loop() {
		r.next(1 << 20)
	}
}

func BenchmarkData(b *testing.B) {
	p := newPeer()
	p.request(7, false, "POST", "/up")
	r := newRepeat()
	for _, s := range p.segments[3:] {
		r.read(s.side, s.data)
	}
	frame := []byte("\x00\x40\x00\x00\x00\x00\x00\x00\x07" + strings.Repeat("x", 1<<14))
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := frame; len(rest) > 0; {
			n := min(len(rest), 1448)
			r.read(client, rest[:n])
			rest = rest[n:]
		}
	}
}
