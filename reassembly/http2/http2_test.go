package http2_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/http2"
	heads "offpath/reassembly/message"
)

const (
	client = http2.Client
	server = http2.Server
)

func grpc(messages ...string) string {
	out := ""
	for _, m := range messages {
		out += string([]byte{0, 0, 0, byte(len(m) >> 8), byte(len(m))}) + m
	}
	return out
}

func TestConversations(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for _, test := range []struct {
		name string
		say  func(p *peer)
		want []string
	}{
		{"a request without content and its response", func(p *peer) {
			p.request(1, true, "GET", "/a?b")
			p.response(1, false, 200, "content-length", "4")
			p.data(server, 1, true, "body")
		}, []string{"1 client head GET /a?b", "1 client end GET /a?b 0 whole", "1 server head 200", `1 server end 200 4 whole "body"`, "1 closed ended"}},
		{"content in several frames, beyond the limit that is kept", func(p *peer) {
			p.request(1, false, "POST", "/")
			for i := range 3 {
				p.data(client, 1, i == 2, long[:1000])
			}
			p.response(1, true, 204)
		}, []string{"1 client head POST /", `1 client end POST / 3000 "` + long[:40] + `"`, "1 server head 204", "1 server end 204 0 whole", "1 closed ended"}},
		{"an end without content in a frame of its own", func(p *peer) {
			p.request(1, false, "POST", "/")
			p.data(client, 1, false, "ab")
			p.data(client, 1, true, "")
		}, []string{"1 client head POST /", `1 client end POST / 2 whole "ab"`, "1 closed connection"}},
		{"streams that interleave", func(p *peer) {
			p.request(1, false, "POST", "/1")
			p.request(3, false, "POST", "/3")
			p.data(client, 3, false, "three")
			p.data(client, 1, false, "one")
			p.response(3, false, 200)
			p.data(client, 3, true, "!")
			p.data(server, 3, true, "3")
			p.data(client, 1, true, "!")
			p.response(1, true, 201)
		}, []string{"1 client head POST /1", "3 client head POST /3", "3 server head 200", `3 client end POST /3 6 whole "three!"`,
			`3 server end 200 1 whole "3"`, "3 closed ended", `1 client end POST /1 4 whole "one!"`, "1 server head 201", "1 server end 201 0 whole", "1 closed ended"}},
		{"a response before the end of its request", func(p *peer) {
			p.request(1, false, "POST", "/up")
			p.response(1, true, 413)
			p.reset(server, 1, 0)
		}, []string{"1 client head POST /up", "1 server head 413", "1 server end 413 0 whole", "1 client end POST /up 0 broken", "1 closed reset by server 0"}},
		{"interim responses", func(p *peer) {
			p.request(1, true, "GET", "/")
			p.response(1, false, 103, "link", "</style.css>")
			p.response(1, false, 100)
			p.response(1, true, 200)
		}, []string{"1 client head GET /", "1 client end GET / 0 whole", "1 server head 103", "1 server head 100", "1 server head 200", "1 server end 200 0 whole", "1 closed ended"}},
		{"trailers of both sides", func(p *peer) {
			p.request(1, false, "POST", "/")
			p.data(client, 1, false, "ab")
			p.headers(client, 1, true, "checksum", "1")
			p.response(1, false, 200)
			p.data(server, 1, false, "cd")
			p.headers(server, 1, true, "checksum", "2", "more", "3")
		}, []string{"1 client head POST /", `1 client end POST / 2 whole "ab" checksum=1`, "1 server head 200", `1 server end 200 2 whole "cd" checksum=2 more=3`, "1 closed ended"}},
		{"a header block in CONTINUATION frames", func(p *peer) {
			block := p.encode(client, ":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/c", "x", "y")
			p.frame(client, typeHeaders, endStream|padded|priority, 1, "\x07", u32(0), "\x09", block[:2], strings.Repeat("\x00", 7))
			p.frame(client, typeContinuation, 0, 1, block[2:5])
			p.frame(client, typeContinuation, 0, 1)
			p.frame(client, typeContinuation, endHeaders, 1, block[5:])
			p.response(1, true, 200)
		}, []string{"1 client head GET /c", "1 client end GET /c 0 whole", "1 server head 200", "1 server end 200 0 whole", "1 closed ended"}},
		{"padding is no content", func(p *peer) {
			p.request(1, false, "POST", "/")
			p.frame(client, typeData, padded, 1, "\xff", "ab", strings.Repeat("\x00", 255))
			p.frame(client, typeData, padded|endStream, 1, "\x03\x00\x00\x00")
		}, []string{"1 client head POST /", `1 client end POST / 2 whole "ab"`, "1 closed connection"}},
		{"a pushed response", func(p *peer) {
			p.request(1, true, "GET", "/")
			promised := p.encode(server, ":method", "GET", ":scheme", "https", ":authority", "bank.example", ":path", "/style.css")
			p.frame(server, typePushPromise, endHeaders|padded, 1, "\x03", u32(2), promised, "\x00\x00\x00")
			p.response(1, true, 200)
			p.response(2, false, 200)
			p.data(server, 2, true, "css")
		}, []string{"1 client head GET /", "1 client end GET / 0 whole", "2 client head GET /style.css", "2 client end GET /style.css 0 whole",
			"1 server head 200", "1 server end 200 0 whole", "1 closed ended", "2 server head 200", `2 server end 200 3 whole "css"`, "2 closed ended"}},
		{"a reset by either side", func(p *peer) {
			p.request(1, true, "GET", "/1")
			p.reset(client, 1, codeCancel)
			p.response(1, true, 200) // crossed the reset
			p.request(3, true, "GET", "/3")
			p.reset(server, 3, codeRefusedStream)
			p.request(5, true, "GET", "/5")
			p.response(5, false, 200)
			p.data(server, 5, false, "half")
			p.reset(server, 5, codeInternal)
		}, []string{"1 client head GET /1", "1 client end GET /1 0 whole", "1 closed reset by client 8",
			"3 client head GET /3", "3 client end GET /3 0 whole", "3 closed reset by server 7",
			"5 client head GET /5", "5 client end GET /5 0 whole", "5 server head 200", `5 server end 200 4 "half" broken`, "5 closed reset by server 2"}},
		{"GOAWAY says which requests won't be answered", func(p *peer) {
			for id := uint32(1); id <= 5; id += 2 {
				p.request(id, true, "GET", fmt.Sprint("/", id))
			}
			p.frame(server, typeGoAway, 0, 0, u32(1<<31-1), u32(0))
			p.frame(server, typeGoAway, 0, 0, u32(1), u32(0), "bye")
			p.response(1, true, 200)
			p.request(7, true, "GET", "/7")
		}, []string{"1 client head GET /1", "1 client end GET /1 0 whole", "3 client head GET /3", "3 client end GET /3 0 whole", "5 client head GET /5", "5 client end GET /5 0 whole",
			"3 closed goaway", "5 closed goaway", "1 server head 200", "1 server end 200 0 whole", "1 closed ended", "7 client head GET /7", "7 client end GET /7 0 whole", "7 closed goaway"}},
		{"CONNECT makes a tunnel", func(p *peer) {
			p.headers(client, 1, false, ":method", "CONNECT", ":authority", "db.example:5432")
			p.response(1, false, 200)
			p.data(client, 1, false, "hello")
			p.data(server, 1, true, "world")
			p.data(client, 1, true, "")
		}, []string{"1 client head CONNECT db.example:5432", "1 server head 200", "1 client end CONNECT db.example:5432 0 whole", "1 server end 200 0 whole",
			`1 client tunnel "hello"`, `1 server tunnel "world"`, "1 closed ended"}},
		{"a WebSocket on a stream", func(p *peer) {
			p.headers(client, 1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/chat", ":authority", "a")
			p.response(1, false, 200)
			p.data(server, 1, false, "\x81\x01x")
			p.reset(client, 1, codeCancel)
		}, []string{"1 client head CONNECT /chat", "1 server head 200", "1 client end CONNECT /chat 0 whole", "1 server end 200 0 whole",
			`1 server tunnel "\x81\x01x"`, "1 closed reset by client 8"}},
		{"a tunnel that is refused has content", func(p *peer) {
			p.headers(client, 1, false, ":method", "CONNECT", ":authority", "db.example:5432")
			p.response(1, false, 403)
			p.data(server, 1, true, "no")
			p.reset(client, 1, codeCancel)
		}, []string{"1 client head CONNECT db.example:5432", "1 server head 403", `1 server end 403 2 whole "no"`, "1 client end CONNECT db.example:5432 0 broken", "1 closed reset by client 8"}},
		{"gRPC messages and status", func(p *peer) {
			p.request(1, false, "POST", "/bank.Accounts/List", "content-type", "application/grpc+proto", "te", "trailers")
			p.data(client, 1, true, grpc("q"))
			p.response(1, false, 200, "content-type", "application/grpc")
			three := grpc(long[:300], "", "z")
			p.data(server, 1, false, three[:3])
			p.data(server, 1, false, three[3:100])
			p.data(server, 1, false, three[100:])
			p.headers(server, 1, true, "grpc-status", "5", "grpc-message", "not found")
		}, []string{"1 client head POST /bank.Accounts/List", `1 client end POST /bank.Accounts/List 6 whole "\x00\x00\x00\x00\x01q" grpc=1/-1`, "1 server head 200",
			`1 server end 200 316 whole "\x00\x00\x00\x01,` + long[:35] + `" grpc-status=5 grpc-message=not found grpc=3/5`, "1 closed ended"}},
		{"gRPC without content has its status in the head", func(p *peer) {
			p.request(1, true, "POST", "/bank.Accounts/List", "content-type", "application/grpc")
			p.response(1, true, 200, "content-type", "application/grpc", "grpc-status", "16")
		}, []string{"1 client head POST /bank.Accounts/List", "1 client end POST /bank.Accounts/List 0 whole grpc=0/-1", "1 server head 200", "1 server end 200 0 whole grpc=0/16", "1 closed ended"}},
		{"gRPC-Web is not counted", func(p *peer) {
			p.request(1, true, "POST", "/", "content-type", "application/grpc-web+proto")
		}, []string{"1 client head POST /", "1 client end POST / 0 whole", "1 closed connection"}},
		{"content that is no gRPC message", func(p *peer) {
			p.request(1, false, "POST", "/", "content-type", "application/grpc")
			p.data(client, 1, true, grpc("a")+"rubbish")
		}, []string{"1 client head POST /", `1 client end POST / 13 whole "\x00\x00\x00\x00\x01arubbish" grpc=1/-1?`, "1 closed connection"}},
		{"frames of unknown types are skipped", func(p *peer) {
			p.frame(client, 0xfb, 0xff, 77, long)
			p.request(1, true, "GET", "/")
		}, []string{"1 client head GET /", "1 client end GET / 0 whole", "1 closed connection"}},
		{"a response to HEAD has a length without content", func(p *peer) {
			p.request(1, true, "HEAD", "/")
			p.response(1, true, 200, "content-length", "10")
			p.request(3, true, "GET", "/", "if-none-match", "x")
			p.response(3, true, 304, "content-length", "10")
		}, []string{"1 client head HEAD /", "1 client end HEAD / 0 whole", "1 server head 200", "1 server end 200 0 whole", "1 closed ended",
			"3 client head GET /", "3 client end GET / 0 whole", "3 server head 304", "3 server end 304 0 whole", "3 closed ended"}},
		{"a response that comes before its request", func(p *peer) {
			p.response(1, true, 200)
			p.request(1, true, "GET", "/")
		}, []string{"1 server head 200", "1 server end 200 0 whole", "1 client head GET /", "1 client end GET / 0 whole", "1 closed ended"}},
		{"a response that is reset before its request comes", func(p *peer) {
			p.response(1, false, 200)
			p.reset(server, 1, codeCancel)
			p.request(1, true, "GET", "/")
		}, []string{"1 server head 200", "1 server end 200 0 broken", "1 closed reset by server 8",
			"1 client head GET /", "1 client end GET / 0 whole", "1 closed connection"}},
		{"a response that goes on though a GOAWAY denies it", func(p *peer) {
			p.request(1, true, "GET", "/1")
			p.response(1, false, 200)
			p.response(3, false, 200)
			p.frame(server, typeGoAway, 0, 0, u32(0), u32(0))
			p.request(3, true, "GET", "/3")
			p.data(server, 1, true, "a")
			p.data(server, 3, true, "b")
		}, []string{"1 client head GET /1", "1 client end GET /1 0 whole", "1 server head 200", "3 server head 200",
			"3 client head GET /3", "3 client end GET /3 0 whole",
			`1 server end 200 1 whole "a"`, "1 closed ended", `3 server end 200 1 whole "b"`, "3 closed ended"}},
		{"the end of the connection closes what is open", func(p *peer) {
			p.request(1, false, "POST", "/1")
			p.data(client, 1, false, "ab")
			p.request(3, true, "GET", "/3")
			p.response(3, false, 200)
		}, []string{"1 client head POST /1", "3 client head GET /3", "3 client end GET /3 0 whole", "3 server head 200",
			`1 client end POST /1 2 "ab" broken`, "1 closed connection", "3 server end 200 0 broken", "3 closed connection"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 1460, 7, 1} {
				p := newPeer()
				test.say(p)
				r := newReading(t)
				r.feed(cut(p.segments, size))
				r.finish()
				assert.Equal(t, test.want, r.lines(), "segments of %d octets", size)
				assert.Zero(t, r.reader.Stats.LostSync)
			}
		})
	}
}

func TestAnomalies(t *testing.T) {
	pseudo := []string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/"}
	with := func(more ...string) []string { return append(append([]string{}, pseudo...), more...) }
	for _, test := range []struct {
		name string
		say  func(p *peer)
		want string // anomalies of the request
	}{
		{"nothing is wrong", func(p *peer) { p.headers(client, 1, true, with("cookie", "a=b", "cookie", "c=d")...) }, ""},
		{"upper case in a field name", func(p *peer) { p.headers(client, 1, true, with("Cookie", "a")...) }, "invalid_header"},
		{"a field of HTTP/1.1 framing", func(p *peer) { p.headers(client, 1, true, with("transfer-encoding", "chunked")...) }, "invalid_header"},
		{"TE beyond trailers", func(p *peer) { p.headers(client, 1, true, with("te", "gzip")...) }, "invalid_header"},
		{"a line end in a value", func(p *peer) { p.headers(client, 1, true, with("x", "a\r\nhost: b")...) }, "bare_lf,bare_cr"},
		{"a pseudo-header field after others", func(p *peer) {
			p.headers(client, 1, true, "x", "y", ":method", "GET", ":scheme", "s", ":authority", "a", ":path", "/")
		}, "invalid_pseudo_header"},
		{"a pseudo-header field twice", func(p *peer) { p.headers(client, 1, true, append([]string{":path", "/admin"}, pseudo...)...) }, "invalid_pseudo_header"},
		{"a pseudo-header field that is none", func(p *peer) { p.headers(client, 1, true, append([]string{":query", "x"}, pseudo...)...) }, "invalid_pseudo_header"},
		{"no method", func(p *peer) { p.headers(client, 1, true, pseudo[2:]...) }, "invalid_pseudo_header"},
		{"a status in a request", func(p *peer) { p.headers(client, 1, true, append([]string{":status", "200"}, pseudo...)...) }, "invalid_pseudo_header"},
		{"a space in the target", func(p *peer) { p.headers(client, 1, true, append(pseudo[:6:6], ":path", "/ HTTP/1.1")...) }, "invalid_request_line"},
		{"a method that is no token", func(p *peer) { p.headers(client, 1, true, append([]string{":method", "GET /x"}, pseudo[2:]...)...) }, "invalid_request_line"},
		{"no host", func(p *peer) { p.headers(client, 1, true, ":method", "GET", ":scheme", "https", ":path", "/") }, "missing_host"},
		{"a host that differs from the authority", func(p *peer) { p.headers(client, 1, true, with("host", "b")...) }, "duplicate_host"},
		{"a host that is the authority", func(p *peer) { p.headers(client, 1, true, with("host", "A")...) }, ""},
		{"content shorter than its length", func(p *peer) {
			p.headers(client, 1, false, with("content-length", "5")...)
			p.data(client, 1, true, "abcd")
		}, "content_length_mismatch"},
		{"content without any where a length is said", func(p *peer) { p.headers(client, 1, true, with("content-length", "5")...) }, "content_length_mismatch"},
		{"lengths that differ", func(p *peer) {
			p.headers(client, 1, false, with("content-length", "4", "content-length", "5")...)
			p.data(client, 1, true, "abcd")
		}, "conflicting_content_length"},
		{"a length that is none", func(p *peer) { p.headers(client, 1, true, with("content-length", "+1")...) }, "invalid_content_length"},
		{"a pseudo-header field in trailers", func(p *peer) {
			p.headers(client, 1, false, pseudo...)
			p.headers(client, 1, true, ":path", "/admin")
		}, "invalid_pseudo_header"},
		{"a second head in the middle", func(p *peer) {
			p.headers(client, 1, false, pseudo...)
			p.headers(client, 1, false, with("x", "y")...)
			p.data(client, 1, true, "")
		}, "http2_frame_error,invalid_pseudo_header"},
		{"a frame inside a header block", func(p *peer) {
			p.frame(client, typeHeaders, 0, 1, "\x82")
			p.headers(client, 3, true, pseudo[:6]...)
		}, "http2_frame_error,invalid_pseudo_header"},
		{"CONTINUATION without a header block", func(p *peer) {
			p.frame(client, typeContinuation, endHeaders, 1, "\x82")
			p.headers(client, 3, true, pseudo...)
		}, "http2_frame_error"},
		{"padding longer than its frame", func(p *peer) {
			p.headers(client, 1, false, pseudo...)
			p.frame(client, typeData, padded|endStream, 1, "\x09a")
		}, "http2_frame_error"},
		{"a frame of the wrong length", func(p *peer) {
			p.frame(client, typePing, 0, 0, "\x09a")
			p.frame(client, typeReset, 0, 1)
			p.headers(client, 1, true, pseudo...)
		}, "http2_frame_error"},
		{"a frame longer than the server takes", func(p *peer) {
			p.headers(client, 1, false, pseudo...)
			p.data(client, 1, true, strings.Repeat("x", 16385))
		}, "http2_frame_error"},
		{"a frame as long as the server takes", func(p *peer) {
			p.settings(server, 5, 20000)
			p.headers(client, 1, false, pseudo...)
			p.data(client, 1, true, strings.Repeat("x", 20000))
		}, ""},
		{"a header block that is none", func(p *peer) {
			p.frame(client, typeHeaders, endStream|endHeaders, 1, "\x82\x87\x84\xff\xff")
		}, "hpack_error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPeer()
			test.say(p)
			r := newReading(t)
			got := "no request"
			r.each = func(e http2.Event) {
				if e == http2.End && r.reader.Side == client {
					got = strings.Join(r.reader.Message.Anomalies.Names(), ",")
				}
			}
			r.feed(p.segments)
			r.finish()
			assert.Equal(t, test.want, got)
		})
	}
}

func TestConnectionsThatAreNoHTTP2(t *testing.T) {
	for _, test := range []struct {
		name string
		side http2.Side
		data string
	}{
		{"a client without the preface", client, "GET / HTTP/1.1\r\n\r\n"},
		{"a preface that goes wrong at its end", client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r!"},
		{"a server that answers in HTTP/1.1", server, "HTTP/1.1 400 Bad Request\r\n\r\n"},
		{"a server that does not begin with SETTINGS", server, "\x00\x00\x00\x00\x01\x00\x00\x00\x01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{100, 1} {
				r := newReading(t)
				r.feed(cut([]segment{{side: test.side, data: []byte(test.data)}}, size))
				assert.True(t, r.conn.Seeking(test.side))
				r.finish()
				assert.Equal(t, []string{"0 lost"}, r.lines())
			}
		})
	}
}

func TestAnUpgradedRequestIsAnsweredOnStream1(t *testing.T) {
	p := newPeer()
	p.segments = append(p.segments[2:], p.segments[:2]...) // the server speaks first
	p.response(1, false, 200)
	p.data(server, 1, true, "up")
	p.request(3, true, "GET", "/3")
	p.response(3, true, 404)
	r := newReading(t)
	s := r.conn.Upgrade(r.reader, r.budget, r.time, false)
	s.User = "the request"
	r.each = func(http2.Event) {
		if r.reader.Stream.ID == 1 {
			require.Equal(t, "the request", r.reader.Stream.User)
		}
	}
	r.feed(p.segments)
	r.finish()
	assert.Equal(t, []string{"1 server head 200", `1 server end 200 2 whole "up"`, "1 closed ended",
		"3 client head GET /3", "3 client end GET /3 0 whole", "3 server head 404", "3 server end 404 0 whole", "3 closed ended"}, r.lines())
}

func TestSettingsAndWindowAreKeptAsSent(t *testing.T) {
	p := rawPeer()
	p.raw(client, preface)
	p.settings(client, 1, 65536, 4, 6291456, 0x0a0a, 7, 2, 0)
	p.frame(client, typeWindowUpdate, 0, 0, u32(15663105))
	p.settings(client, 1, 1)
	p.request(1, true, "GET", "/")
	p.frame(client, typeWindowUpdate, 0, 0, u32(7))
	for _, size := range []int{1000, 5} {
		r := newReading(t)
		r.feed(cut(p.segments, size))
		assert.Equal(t, []heads.Setting{{ID: 1, Value: 65536}, {ID: 4, Value: 6291456}, {ID: 0x0a0a, Value: 7}, {ID: 2}}, r.conn.Settings(client))
		assert.EqualValues(t, 15663105, r.conn.Window(client))
		assert.Nil(t, r.conn.Settings(server))
		assert.Zero(t, r.conn.Window(server))
		r.finish()
	}
}

func TestFieldsKeepTheirOrderAndPseudoHeaderFieldsTheirNames(t *testing.T) {
	p := newPeer()
	p.headers(client, 1, false, ":method", "POST", ":path", "/p", ":authority", "a.example", ":scheme", "https", "user-agent", "App/1", "cookie", "a=b", "cookie", "c=d")
	p.request(3, true, "GET", "/other")
	p.data(client, 1, true, "x")
	r := newReading(t)
	r.fields = true
	r.feed(p.segments)
	want := " POST /p :method=POST :path=/p :authority=a.example :scheme=https user-agent=App/1 cookie=a=b cookie=c=d"
	assert.Equal(t, "1 client head"+want, r.lines()[0])
	assert.Equal(t, "1 client end"+want+` 1 whole "x"`, r.lines()[3])
	r.finish()
}

func TestTimesAreThoseOfTheFirstAndTheLastOctet(t *testing.T) {
	p := newPeer() // three segments
	p.request(1, false, "POST", "/")
	p.data(client, 1, true, strings.Repeat("x", 30))
	p.response(1, true, 200)
	r := newReading(t)
	var times []int64
	r.each = func(e http2.Event) {
		if e == http2.End {
			times = append(times, r.reader.Message.First/1e6, r.reader.Message.Last/1e6)
		}
	}
	r.feed(p.segments[:3])
	r.feed(cut(p.segments[3:4], 5))
	n := int64(len(cut(p.segments[3:4], 5)))
	r.feed(cut(p.segments[4:5], 10))
	r.feed(p.segments[5:])
	assert.Equal(t, []int64{4, 3 + n + 4, 3 + n + 5, 3 + n + 5}, times)
	r.finish()
}

func TestPeekShowsARequestThatIsAnsweredBeforeItsEnd(t *testing.T) {
	p := newPeer()
	p.request(1, false, "POST", "/up", "x", "y")
	p.data(client, 1, false, "half")
	p.response(1, true, 413)
	p.data(client, 1, true, "!")
	r := newReading(t)
	peeked := 0
	r.each = func(e http2.Event) {
		x := r.reader
		if e == http2.End && x.Side == server {
			ok := r.conn.Peek(x, x.Stream, client, func() {
				peeked++
				assert.Equal(t, "POST /up", string(x.Head.Method)+" "+string(x.Head.Target))
				assert.Equal(t, "half", string(x.Body.Prefix))
				assert.EqualValues(t, 4, x.Body.Bytes)
			})
			assert.True(t, ok)
			assert.Equal(t, 413, x.Head.Status)
			assert.False(t, r.conn.Peek(x, x.Stream, server, func() { t.Error("it has ended") }))
		}
	}
	r.feed(p.segments)
	r.finish()
	assert.Equal(t, 1, peeked)
}

func TestStreamsThatNothingIsHeardOfAreGivenUpOnDemand(t *testing.T) {
	p := newPeer()
	p.request(1, true, "GET", "/1")
	p.request(3, true, "GET", "/3")
	r := newReading(t)
	r.feed(p.segments)
	r.conn.Expire(r.time)
	r.pump(client, &http2.Input{Time: r.time})
	assert.Equal(t, "1 closed expired", r.lines()[4])
	assert.Len(t, r.lines(), 5)
	r.finish()
}
