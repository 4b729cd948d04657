package http2_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/http2"
)

// lose makes the last n segments missing, but for their first octets.
func (p *peer) lose(n, but int) {
	at := len(p.segments) - n
	lost := p.segments[at]
	size := -but
	for _, s := range p.segments[at:] {
		size += len(s.data)
	}
	p.segments = p.segments[:at]
	if but > 0 {
		p.segments = append(p.segments, segment{side: lost.side, data: lost.data[:but]})
	}
	p.segments = append(p.segments, segment{side: lost.side, gap: size})
}

// loseMiddle makes octets of the last segment missing.
func (p *peer) loseMiddle(from, n int) {
	s := p.segments[len(p.segments)-1]
	p.segments = append(p.segments[:len(p.segments)-1],
		segment{side: s.side, data: s.data[:from]}, segment{side: s.side, gap: n}, segment{side: s.side, data: s.data[from+n:]})
}

func TestMissingOctets(t *testing.T) {
	for _, test := range []struct {
		name string
		say  func(p *peer)
		want []string
	}{
		{"inside DATA cost themselves", func(p *peer) {
			p.request(1, false, "POST", "/1")
			p.data(client, 1, true, "abcdefghij")
			p.loseMiddle(9+2, 5)
			p.request(3, true, "GET", "/3", "cookie", "a=b")
		}, []string{"1 client head POST /1", `1 client end POST /1 10 "ab" gap=5`, "3 client head GET /3 cookie=a=b", "3 client end GET /3 cookie=a=b 0 whole",
			"1 closed connection", "3 closed connection"}},
		{"that end a DATA frame end its message", func(p *peer) {
			p.request(1, false, "POST", "/1")
			p.data(client, 1, true, "abcdefghij")
			p.lose(1, 9+2)
			p.request(3, true, "GET", "/3")
		}, []string{"1 client head POST /1", `1 client end POST /1 10 "ab" gap=8`, "3 client head GET /3", "3 client end GET /3 0 whole",
			"1 closed connection", "3 closed connection"}},
		{"in padding cost nothing", func(p *peer) {
			p.request(1, false, "POST", "/1")
			p.frame(client, typeData, padded|endStream, 1, "\x04", "ab", "\x00\x00\x00\x00")
			p.loseMiddle(9+1+2+1, 2)
		}, []string{"1 client head POST /1", `1 client end POST /1 2 whole "ab"`, "1 closed connection"}},
		{"where padding was to be told leave the content unknown", func(p *peer) {
			p.request(1, false, "POST", "/1")
			p.frame(client, typeData, padded|endStream, 1, "\x04", "ab", "\x00\x00\x00\x00")
			p.loseMiddle(9, 2)
		}, []string{"1 client head POST /1", `1 client end POST /1 0 broken`, "1 closed connection"}},
		{"in a header block leave the next frame, and what needs no table", func(p *peer) {
			p.request(1, true, "GET", "/1", "x-a", "1")
			p.loseMiddle(9+4, 3)
			p.request(3, true, "GET", "/3", "x-a", "1", "x-b", "2")
			p.request(5, true, "GET", "/5", "x-b", "2")
			p.response(1, true, 200)
			p.response(3, true, 200)
			p.response(5, true, 200)
		}, []string{"3 client head GET /3 x-b=2", "3 client end GET /3 x-b=2 0 whole unknown=2", "5 client head GET /5 x-b=2", "5 client end GET /5 x-b=2 0 whole unknown=1",
			"1 server head 200", "1 server end 200 0 whole", "1 closed ended", "3 server head 200", "3 server end 200 0 whole", "3 closed ended", "5 server head 200", "5 server end 200 0 whole", "5 closed ended"}},
		{"in a header block of a response leave its request without", func(p *peer) {
			p.request(1, true, "GET", "/1")
			p.response(1, false, 503, "x", "y")
			p.loseMiddle(9+1, 1)
			p.data(server, 1, false, "text")
			p.headers(server, 1, true, "grpc-status", "0")
			p.request(3, true, "GET", "/3")
			p.response(3, true, 503, "x", "y")
		}, []string{"1 client head GET /1", "1 client end GET /1 0 whole", "1 closed ended", "3 client head GET /3", "3 client end GET /3 0 whole",
			"3 server head ?", "3 server end ? 0 whole unknown=2", "3 closed ended"}},
		{"in trailers leave the end", func(p *peer) {
			p.request(1, true, "GET", "/1")
			p.response(1, false, 200)
			p.data(server, 1, false, "text")
			p.headers(server, 1, true, "grpc-status", "0")
			p.loseMiddle(10, 3)
		}, []string{"1 client head GET /1", "1 client end GET /1 0 whole", "1 server head 200", `1 server end 200 4 whole "text" gap=3`, "1 closed ended"}},
		{"beyond a frame make what follows uncertain", func(p *peer) {
			p.request(1, false, "POST", "/1")
			p.request(3, false, "POST", "/3", "content-length", "4")
			p.data(client, 3, false, "ab")
			p.data(client, 1, false, "lost")
			p.lose(1, 0)
			p.data(client, 1, false, "ab")
			p.data(client, 3, true, "cd")
			p.data(client, 1, true, "cd")
			p.request(5, true, "GET", "/5", "cookie", "new=1")
			p.request(7, true, "GET", "/7", "cookie", "new=1")
		}, []string{"1 client head POST /1", "3 client head POST /3 content-length=4", `3 client end POST /3 content-length=4 4 whole "abcd"`, `1 client end POST /1 4 "abcd" broken`,
			"5 client head GET /5 cookie=new=1", "5 client end GET /5 cookie=new=1 0 whole unknown=1", "7 client head GET /7 cookie=new=1", "7 client end GET /7 cookie=new=1 0 whole unknown=1",
			"3 closed connection", "1 closed connection", "5 closed connection", "7 closed connection"}},
		{"in a frame header lose the boundary until a segment proves it", func(p *peer) {
			p.request(1, false, "POST", "/1")
			p.data(client, 1, true, "lost")
			p.lose(1, 4)
			p.raw(client, strings.Repeat("content goes on ", 20))
			p.raw(client, "\x00\x00\x01\x00\x00\x00\x00\x00\x01") // one header that may be one by chance, and goes on
			p.request(3, true, "GET", "/3")
		}, []string{"1 client head POST /1", "3 client head GET /3", "3 client end GET /3 0 whole unknown=1",
			"1 client end POST /1 0 broken", "1 closed connection", "3 closed connection"}},
		{"that held a request leave its response alone", func(p *peer) {
			p.request(1, true, "GET", "/1")
			p.request(3, true, "GET", "/3")
			p.lose(1, 0)
			p.request(5, true, "GET", "/5")
			p.response(1, true, 200)
			p.response(3, true, 201)
			p.response(5, true, 202)
		}, []string{"1 client head GET /1", "1 client end GET /1 0 whole", "5 client head GET /5", "5 client end GET /5 0 whole unknown=1",
			"1 server head 200", "1 server end 200 0 whole", "1 closed ended", "3 server head 201", "3 server end 201 0 whole",
			"5 server head 202", "5 server end 202 0 whole", "5 closed ended", "3 closed connection"}},
		{"that held a head don't make one of the trailers", func(p *peer) {
			p.request(1, true, "GET", "/1")
			p.request(3, false, "POST", "/3")
			p.lose(1, 0)
			p.headers(client, 3, true, "checksum", "1")
			p.response(1, false, 200)
			p.lose(1, 0)
			p.headers(server, 1, true, "grpc-status", "0")
		}, []string{"1 client head GET /1", "1 client end GET /1 0 whole", "1 closed ended"}},
		{"inside a gRPC message leave the count", func(p *peer) {
			p.request(1, false, "POST", "/1", "content-type", "application/grpc")
			p.data(client, 1, true, grpc("abcdef", "g"))
			p.loseMiddle(9+5+1, 3)
		}, []string{"1 client head POST /1 content-type=application/grpc", `1 client end POST /1 content-type=application/grpc 17 "\x00\x00\x00\x00\x06a" grpc=2/-1 gap=3`, "1 closed connection"}},
		{"across gRPC messages make the count a part", func(p *peer) {
			p.request(1, false, "POST", "/1", "content-type", "application/grpc")
			p.data(client, 1, true, grpc("abcdef", "g", "h"))
			p.loseMiddle(9+5+1, 7)
		}, []string{"1 client head POST /1 content-type=application/grpc", `1 client end POST /1 content-type=application/grpc 23 "\x00\x00\x00\x00\x06a" grpc=1/-1? gap=7`, "1 closed connection"}},
		{"of a tunnel are told in their place", func(p *peer) {
			p.headers(client, 1, false, ":method", "CONNECT", ":authority", "a:1")
			p.response(1, false, 200)
			p.data(client, 1, false, "abcdefgh")
			p.loseMiddle(9+2, 3)
		}, []string{"1 client head CONNECT a:1", "1 server head 200", "1 client end CONNECT a:1 0 whole", "1 server end 200 0 whole",
			`1 client tunnel "ab"`, "1 client tunnel missing 3", `1 client tunnel "fgh"`, "1 closed connection"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPeer()
			test.say(p)
			r := newReading(t)
			r.fields = true
			r.feed(p.segments)
			r.finish()
			assert.Equal(t, test.want, withoutPseudo(r.lines()))
		})
	}
}

// withoutPseudo leaves pseudo-header fields out of lines.
func withoutPseudo(lines []string) []string {
	for i, line := range lines {
		words := strings.Split(line, " ")
		kept := words[:0]
		for _, w := range words {
			if !strings.HasPrefix(w, ":") {
				kept = append(kept, w)
			}
		}
		lines[i] = strings.Join(kept, " ")
	}
	return lines
}

func TestAConnectionJoinedInTheMiddle(t *testing.T) {
	p := newPeer()
	p.request(1, true, "GET", "/1", "cookie", "a=b")
	p.response(1, true, 302, "x", "y")
	joined := len(p.segments)
	p.request(3, false, "POST", "/3", "cookie", "a=b", "x-new", "1")
	p.data(client, 3, true, "body")
	p.response(3, true, 302, "x", "y")
	p.request(5, true, "GET", "/1", "x-new", "1")
	p.response(5, true, 200, "x", "z")
	r := newReading(t)
	r.fields = true
	r.conn.Seek(r.reader, r.budget, client)
	r.conn.Seek(r.reader, r.budget, server)
	assert.True(t, r.conn.Seeking(client))
	r.feed([]segment{{side: client, data: []byte("the rest of a body")}})
	r.feed(p.segments[joined:])
	r.finish()
	assert.Equal(t, []string{
		"3 client head POST /3 x-new=1", `3 client end POST /3 x-new=1 4 whole "body" unknown=2`,
		"3 server head ?", "3 server end ? 0 whole unknown=2", "3 closed ended",
		"5 client head GET  x-new=1", "5 client end GET  x-new=1 0 whole unknown=2", "5 server head 200", "5 server end 200 0 whole unknown=1", "5 closed ended",
	}, withoutPseudo(r.lines()))
}

func TestProve(t *testing.T) {
	p := newPeer()
	p.request(1, true, "GET", "/1", "cookie", "a=b")
	p.response(1, false, 200)
	p.data(server, 1, true, "body")
	join := func(s ...segment) (data []byte) {
		for _, s := range s {
			data = append(data, s.data...)
		}
		return data
	}
	request, response, content := p.segments[3], p.segments[4], p.segments[5]
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"a request", request.data, "client"},
		{"a response with content", join(response, content), "server"},
		{"a response whose content goes on", join(response, content)[:len(response.data)+11], "server"},
		{"a frame header that goes on", join(response, content)[:len(response.data)+5], "server"},
		{"content alone says nothing", content.data, ""},
		{"a head that is cut", request.data[:len(request.data)-1], ""},
		{"both sides in one", join(request, response), ""},
		{"something else behind", append(join(request), "HTTP/1.1 200 OK\r\n\r\n"...), ""},
		{"text", []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ""},
		{"zeros", make([]byte, 100), ""},
		{"nothing", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			side, ok := http2.NewReader(0, nil).Prove(test.data)
			assert.Equal(t, test.want != "", ok)
			if ok {
				assert.Equal(t, test.want, sides[side])
			}
		})
	}
}

func TestStreamsWhoseEndWasLostAreClosedInTime(t *testing.T) {
	p := newPeer()
	p.request(1, false, "POST", "/1")
	p.data(client, 1, true, "end")
	p.lose(1, 0)
	p.request(3, false, "POST", "/3")
	r := newReading(t)
	r.feed(p.segments)
	r.time += 29e9
	p.segments = nil
	p.frame(client, typePing, 0, 0, "12345678")
	r.feed(p.segments)
	assert.Len(t, r.events, 2)
	r.time += 1e9
	r.feed(p.segments)
	assert.Equal(t, []string{"1 client end POST /1 0 broken", "1 closed expired"}, r.lines()[2:], "but not stream 3, whose beginning came later")
	r.finish()
}

func TestResponsesOfAClientThatIsNotOnTheMirrorAreClosed(t *testing.T) {
	p := rawPeer()
	p.settings(server)
	for id := uint32(1); id < 10000; id += 2 {
		p.response(id, true, 200)
	}
	r := newReading(t)
	r.feed(p.segments) // a thousand a second
	assert.Less(t, r.budget.peak, 1300*640)
	assert.EqualValues(t, 5000, r.reader.Stats.Responses)
	assert.Zero(t, r.reader.Stats.StreamsEvicted)
	r.finish()
}

// message is a message of a conversation, as it was read.
type message struct {
	method, target string
	status         int
	fields         []string
	interim        []int
	unknown        int
	ended          bool
	body           string
	bytes          int64
	whole, broken  bool
	trailers       []string
	rpc            http2.RPC
}

type place struct {
	stream uint32
	side   http2.Side
}

// messages notes what is read of each message.
func (r *reading) messages() map[place]*message {
	all := map[place]*message{}
	r.each = func(e http2.Event) {
		if e != http2.Head && e != http2.End {
			return
		}
		x := r.reader
		at := place{x.Stream.ID, x.Side}
		if all[at] == nil {
			all[at] = &message{}
		}
		m := all[at]
		if e == http2.Head && x.Side == server && 0 < x.Head.Status && x.Head.Status < 200 {
			m.interim = append(m.interim, x.Head.Status)
			return
		}
		m.method, m.target, m.status, m.fields = string(x.Head.Method), string(x.Head.Target), x.Head.Status, nil
		for _, f := range x.Head.Fields {
			m.fields = append(m.fields, string(f.Name)+"="+string(f.Value))
		}
		m.unknown = x.Message.Unknown
		if e == http2.End {
			m.ended, m.body, m.bytes, m.whole, m.broken = true, string(x.Body.Prefix), x.Body.Bytes, x.Body.Whole, x.Message.Broken
			m.rpc = x.Message.RPC
			for _, f := range x.Trailers {
				m.trailers = append(m.trailers, string(f.Name)+"="+string(f.Value))
			}
		}
	}
	return all
}

// conversation is a connection with random exchanges, whose frames interleave.
func conversation(r *rand.Rand, streams int) *peer {
	p := newPeer()
	some := func() (fields []string) {
		for range r.IntN(6) {
			fields = append(fields, fmt.Sprint("x-", r.IntN(8)), strings.Repeat(fmt.Sprint(r.IntN(4)), r.IntN(40)))
		}
		return fields
	}
	head := func(side http2.Side, id uint32, last bool, fields ...string) func() {
		split := r.IntN(8) == 0
		return func() {
			block := p.encode(side, fields...)
			if !split {
				p.frame(side, typeHeaders, endHeaders|end(last), id, block)
				return
			}
			n := r.IntN(len(block))
			p.frame(side, typeHeaders, end(last)|padded, id, "\x02", block[:n], "\x00\x00")
			p.frame(side, typeContinuation, endHeaders, id, block[n:])
		}
	}
	content := func(side http2.Side, id uint32, last bool, rpc bool) (steps []func()) {
		n := 1 + r.IntN(4)
		for i := range n {
			data := strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(300))
			if rpc {
				data = grpc(data, "x")
			}
			flags := end(last && i == n-1)
			steps = append(steps, func() {
				if len(data)%5 == 0 {
					p.frame(side, typeData, flags|padded, id, "\x03", data, "\x00\x00\x00")
					return
				}
				p.frame(side, typeData, flags, id, data)
			})
		}
		return steps
	}
	var scripts [][]func()
	pushed := uint32(0)
	for i := range streams {
		id := uint32(2*i + 1)
		rpc := r.IntN(3) == 0
		fields := append([]string{":method", []string{"GET", "POST", "PUT"}[r.IntN(3)], ":scheme", "https",
			":authority", []string{"a.example", "b.example"}[r.IntN(2)], ":path", fmt.Sprint("/", r.IntN(10), "/", id)}, some()...)
		answer := append([]string{":status", fmt.Sprint([]int{200, 201, 302, 404, 503}[r.IntN(5)])}, some()...)
		if rpc {
			fields, answer = append(fields, "content-type", "application/grpc"), append(answer, "content-type", "application/grpc")
		}
		var script []func()
		body, trailers := r.IntN(2) == 0, r.IntN(4) == 0
		script = append(script, head(client, id, !body, fields...))
		if body {
			script = append(script, content(client, id, !trailers, rpc)...)
			if trailers {
				script = append(script, head(client, id, true, "checksum", "1"))
			}
		}
		if r.IntN(10) == 0 {
			script = append(script, func() { p.response(id, false, 103, some()...) })
		}
		if r.IntN(10) == 0 {
			script = append(script, func() {
				pushed += 2
				promised := pushed
				p.frame(server, typePushPromise, endHeaders, id, u32(promised),
					p.encode(server, ":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", fmt.Sprint("/pushed/", promised)))
				p.response(promised, false, 200, some()...)
				p.data(server, promised, true, "pushed")
			})
		}
		if r.IntN(15) == 0 {
			script = append(script, func() { p.reset([]http2.Side{client, server}[r.IntN(2)], id, codeCancel) })
			scripts = append(scripts, script)
			continue
		}
		body, trailers = r.IntN(4) > 0, rpc
		script = append(script, head(server, id, !body && !trailers, answer...))
		if body {
			script = append(script, content(server, id, !trailers, rpc)...)
		}
		if trailers {
			script = append(script, head(server, id, true, "grpc-status", fmt.Sprint(r.IntN(17)), "grpc-message", "x"))
		}
		scripts = append(scripts, script)
	}
	// At most eight streams at once; they open in the order of their ids.
	var open [][]func()
	for len(scripts) > 0 || len(open) > 0 {
		if len(scripts) > 0 && (len(open) == 0 || len(open) < 8 && r.IntN(4) == 0) {
			scripts[0][0]()
			open, scripts = append(open, scripts[0][1:]), scripts[1:]
			continue
		}
		i := r.IntN(len(open))
		if len(open[i]) == 0 {
			open = append(open[:i], open[i+1:]...)
			continue
		}
		open[i][0]()
		open[i] = open[i][1:]
		switch r.IntN(20) {
		case 0:
			p.frame(client, typeWindowUpdate, 0, 0, u32(1000))
		case 1:
			p.frame(server, typePing, 0, 0, "12345678")
		}
	}
	return p
}

// joined merges runs of segments of one side, as a sender does that has much to
// say.
func joined(r *rand.Rand, segments []segment) (out []segment) {
	for _, s := range segments {
		if n := len(out); n > 0 && out[n-1].side == s.side && r.IntN(2) == 0 {
			out[n-1].data = append(out[n-1].data[:len(out[n-1].data):len(out[n-1].data)], s.data...)
			continue
		}
		out = append(out, s)
	}
	return out
}

// checkLoss reads a conversation as it was and with segments lost, and checks that
// what is read of the second is a part of the first.
func checkLoss(t testing.TB, seed uint64, loss float64, size int) (found, all int) {
	r := rand.New(rand.NewPCG(seed, 1))
	p := conversation(r, 40)
	segments := cut(joined(r, p.segments), size)
	complete := newReading(t)
	truth := complete.messages()
	complete.feed(segments)
	complete.finish()
	require.Zero(t, complete.reader.Stats.FrameErrors)

	lossy := newReading(t)
	got := lossy.messages()
	at := 0
	if r.IntN(4) == 0 {
		at = r.IntN(len(segments))
		lossy.conn.Seek(lossy.reader, lossy.budget, client)
		lossy.conn.Seek(lossy.reader, lossy.budget, server)
	}
	for _, s := range segments[at:] {
		if r.Float64() < loss {
			s = segment{side: s.side, gap: len(s.data)}
		}
		lossy.feed([]segment{s})
	}
	lossy.finish()
	for at, m := range got {
		want := truth[at]
		name := fmt.Sprintf("seed %d, %s of stream %d", seed, sides[at.side], at.stream)
		require.NotNil(t, want, name)
		require.Subset(t, want.interim, m.interim, name)
		if at.side == server && m.status == 0 && (!m.ended || m.broken) {
			continue // it may have been an interim response
		}
		require.True(t, subsequence(m.fields, want.fields), "%s: %q of %q", name, m.fields, want.fields)
		require.True(t, m.method == want.method || m.method == "" && m.unknown > 0, name)
		require.True(t, m.target == want.target || m.target == "" && m.unknown > 0, name)
		require.True(t, m.status == want.status || m.status == 0 && m.unknown > 0, name)
		require.True(t, subsequence(m.trailers, want.trailers), name)
		require.True(t, strings.HasPrefix(want.body, m.body) || m.broken, name)
		require.LessOrEqual(t, m.rpc.Messages, want.rpc.Messages, name)
		if m.unknown == 0 && m.ended && m.rpc.Is && len(m.trailers) > 0 {
			require.Equal(t, want.rpc.Status, m.rpc.Status, name)
		}
		if m.ended && !m.broken {
			require.Equal(t, want.bytes, m.bytes, name)
			require.False(t, want.broken, name)
			require.True(t, m.rpc.Partial || m.rpc.Messages == want.rpc.Messages || !m.rpc.Is, name)
			require.True(t, !m.whole || m.body == want.body, name)
		}
		if at.side == client && m.ended {
			found++
		}
	}
	for at := range truth {
		if at.side == client {
			all++
		}
	}
	return found, all
}

// subsequence reports whether part is whole with elements left out.
func subsequence[T comparable](part, whole []T) bool {
	for _, x := range part {
		i := 0
		for i < len(whole) && whole[i] != x {
			i++
		}
		if i == len(whole) {
			return false
		}
		whole = whole[i+1:]
	}
	return true
}

func TestWhatIsReadWithOctetsMissingIsAPartOfTheTruth(t *testing.T) {
	for _, loss := range []float64{0, 0.001, 0.01, 0.1, 0.4} {
		for _, size := range []int{1460, 60} {
			found, all := 0, 0
			for seed := range uint64(25) {
				f, a := checkLoss(t, seed, loss, size)
				found, all = found+f, all+a
			}
			t.Logf("%4.1f %% lost, segments of at most %d octets: %d of %d requests ended", 100*loss, size, found, all)
		}
	}
}
