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

	"offpath/capture"
	"offpath/reassembly"
	"offpath/reassembly/internal/script"
	"offpath/reassembly/pipeline"
)

func get(target string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: bank.example\r\nUser-Agent: t\r\n\r\n"
}

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// exchangeOf is n requests and responses, one after the other.
func exchangeOf(c *script.Connection, n int) {
	for i := range n {
		c.Client(get(fmt.Sprint("/", i)))
		c.Server(ok(fmt.Sprint("body ", i)))
	}
}

func TestConnections(t *testing.T) {
	big := strings.Repeat("0123456789", 1000)
	for _, test := range []struct {
		name  string
		write func(s *script.Script, c *script.Connection)
		alter func(p []capture.Packet) []capture.Packet
		want  []string
	}{{
		name: "a request and its response make a complete transaction",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=6"},
	}, {
		name: "requests on a kept-alive connection are numbered and paired in order",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 3)
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=6", "GET /1 200 req=0 res=6", "GET /2 200 req=0 res=6"},
	}, {
		name: "a connection joined in the middle is read though the capture ends at once",
		write: func(_ *script.Script, c *script.Connection) {
			c.ClientAddr, c.ServerAddr = c.ServerAddr, c.ClientAddr // the server's packets come first
			c.Silent = true
			exchangeOf(c, 1)
		},
		want: []string{"GET /0 200 req=0 res=6 midstream"},
	}, {
		name: "pipelined requests get their responses in order",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client(get("/a") + get("/b") + get("/c"))
			c.Server(ok("1") + ok("22") + ok("333"))
			c.Close()
		},
		want: []string{"GET /a 200 req=0 res=1", "GET /b 200 req=0 res=2", "GET /c 200 req=0 res=3"},
	}, {
		name: "heads and bodies that come octet by octet are the same messages",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.MSS = 1
			c.Client("POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
			c.Server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n")
			c.Close()
		},
		want: []string{"POST /login 200 req=5 res=5"},
	}, {
		name: "HEAD, 204 and 304 have no body whatever they claim",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n")
			c.Server("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
			c.Client(get("/n"))
			c.Server("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n")
			c.Client(get("/m"))
			c.Server("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n")
			c.Close()
		},
		want: []string{"HEAD /h 200 req=0 res=0", "GET /n 204 req=0 res=0", "GET /m 304 req=0 res=0"},
	}, {
		name: "informational responses come before the final one",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("POST /u HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
			c.Server("HTTP/1.1 100 Continue\r\n\r\n")
			c.Client("abc")
			c.Server("HTTP/1.1 103 Early Hints\r\n\r\n" + ok("x"))
			c.Close()
		},
		want: []string{"POST /u 200 req=3 res=1 info=[100 103]"},
	}, {
		name: "a response before the end of its request waits for that end",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
			c.Server("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
			c.Client("def")
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{"POST /u 413 req=6 res=0", "GET /0 200 req=0 res=6"},
	}, {
		name: "a body without length ends with the connection",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("GET / HTTP/1.0\r\n\r\n")
			c.Server("HTTP/1.0 200 OK\r\n\r\n" + big)
			c.CloseByServer()
		},
		want: []string{"GET / 200 req=0 res=10000"},
	}, {
		name: "a reset ends a body without length, which is then incomplete",
		write: func(s *script.Script, c *script.Connection) {
			c.Open()
			c.Client("GET / HTTP/1.0\r\n\r\n")
			c.Server("HTTP/1.0 200 OK\r\n\r\n" + big)
			c.Send(false, capture.FlagRST, nil)
		},
		want: []string{"GET / 200 req=0 res=10000 reset_in_message incomplete"},
	}, {
		name: "CONNECT makes a tunnel, and HTTP that goes through it is read",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n")
			c.Server("HTTP/1.1 200 OK\r\n\r\n")
			exchangeOf(c, 2)
			c.Close()
		},
		want: []string{"CONNECT a:443 200 req=0 res=0 tunnel", "GET /0 200 req=0 res=6", "GET /1 200 req=0 res=6"},
	}, {
		name: "HTTP/2 by upgrade: the request in HTTP/1 is answered in HTTP/2",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
			c.Server("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" +
				"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + // SETTINGS
				"\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88" + // HEADERS: 200
				"\x00\x00\x04\x00\x01\x00\x00\x00\x01body") // DATA, END_STREAM
			c.Client("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" +
				"\x00\x00\x03\x01\x05\x00\x00\x00\x03\x82\x84\x86") // GET /
			c.Server("\x00\x00\x01\x01\x05\x00\x00\x00\x03\x8d") // 404
			c.Close()
		},
		want: []string{"GET /a 200 req=0 res=4 info=[101] upgraded", "GET / 404 req=0 res=0 missing_host"},
	}, {
		name: "a WebSocket is counted, what it says is no HTTP",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			c.Server("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello")
			c.Client("\x81\x85\x00\x00\x00\x00GET /")
			c.Close()
		},
		want: []string{"GET /chat 101 req=0 res=0 upgraded"},
	}, {
		name: "a PROXY protocol header comes before the request",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("PROXY TCP4 203.0.113.9 192.0.2.1 5000 80\r\n" + get("/0"))
			c.Server(ok("zero"))
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=4"},
	}, {
		name: "a PROXY protocol header in octets",
		write: func(_ *script.Script, c *script.Connection) {
			c.MSS = 1
			c.Open()
			c.Client("PROXY TCP4 203.0.113.9 192.0.2.1 5000 80\r\n" + get("/0"))
			c.Server(ok("zero"))
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=4"},
	}, {
		name: "what looks like a PROXY protocol header and is none is read as it is",
		write: func(_ *script.Script, c *script.Connection) {
			c.MSS = 1
			c.Open()
			c.Client("PROPFIND /0 HTTP/1.1\r\nHost: a\r\n\r\n")
			c.Server(ok("zero"))
			c.Close()
		},
		want: []string{"PROPFIND /0 200 req=0 res=4"},
	}, {
		name: "a tunnel that carries something else is left alone",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("CONNECT a:25 HTTP/1.1\r\nHost: a\r\n\r\n")
			c.Server("HTTP/1.1 200 OK\r\n\r\n220 mail ready\r\n")
			c.Client("HELO b\r\n")
			c.Server("250 a\r\n")
			c.Close()
		},
		want: []string{"CONNECT a:25 200 req=0 res=0 tunnel"},
	}, {
		name: "a refused CONNECT leaves HTTP as it was",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n")
			c.Server("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{"CONNECT a:443 403 req=0 res=2", "GET /0 200 req=0 res=6"},
	}, {
		name: "101 turns the connection to another protocol",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			c.Server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello")
			c.Client("\x81\x85abcdefghi")
			c.Close()
		},
		want: []string{"GET /ws 101 req=0 res=0 upgraded"},
	}, {
		name: "a mirror that shows the response before its request changes nothing",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 3)
			c.Close()
		},
		alter: func(p []capture.Packet) []capture.Packet { return script.Moved(p, 3, 6) },
		want:  []string{"GET /0 200 req=0 res=6", "GET /1 200 req=0 res=6", "GET /2 200 req=0 res=6"},
	}, {
		name: "data before SYN-ACK and SYN is the same connection",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 1)
			c.Close()
		},
		alter: func(p []capture.Packet) []capture.Packet { return script.Moved(script.Moved(p, 1, 3), 0, 3) },
		want:  []string{"GET /0 200 req=0 res=6"},
	}, {
		name: "data in the SYN is the first data",
		write: func(_ *script.Script, c *script.Connection) {
			c.Send(true, capture.FlagSYN, []byte(get("/fast")))
			c.Send(false, capture.FlagSYN|capture.FlagACK, nil)
			c.Server(ok("1"))
			c.Close()
		},
		want: []string{"GET /fast 200 req=0 res=1"},
	}, {
		name: "a connection joined after its start is read from the first provable message",
		write: func(_ *script.Script, c *script.Connection) {
			c.Client("tail of a body" + get("/hidden"))
			c.Server("tail of another")
			exchangeOf(c, 2)
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=6 midstream", "GET /1 200 req=0 res=6 midstream"},
	}, {
		name: "with the server's direction missing there are requests without response",
		write: func(s *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 2)
			s.Wait(3 * time.Second)
			c.Client(get("/late"))
		},
		alter: func(p []capture.Packet) []capture.Packet { return side(p, 8080, false) },
		want: []string{
			"GET /0 0 req=0 res=-1 one_way incomplete", "GET /1 0 req=0 res=-1 one_way incomplete",
			"GET /late 0 req=0 res=-1 one_way,truncated incomplete",
		},
	}, {
		name: "with the client's direction missing there is nothing to report",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 2)
			c.Close()
		},
		alter: func(p []capture.Packet) []capture.Packet { return side(p, 8080, true) },
		want:  []string{},
	}, {
		name: "a lost segment inside a body of known length costs only itself",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client(get("/big"))
			c.Server(ok(big))
			exchangeOf(c, 1)
			c.Close()
		},
		alter: func(p []capture.Packet) []capture.Packet { return script.Without(p, 8) },
		want:  []string{"GET /big 200 req=0 res=10000 gap=1400 gap", "GET /0 200 req=0 res=6"},
	}, {
		name: "a lost request costs its transaction, its response answers no other",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 4)
			c.Close()
		},
		alter: func(p []capture.Packet) []capture.Packet { return script.Without(p, 7) },
		want:  []string{"GET /0 200 req=0 res=6", "GET /2 200 req=0 res=6", "GET /3 200 req=0 res=6"},
	}, {
		name: "a lost response leaves its request unanswered, the next is paired right",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 4)
			c.Close()
		},
		alter: func(p []capture.Packet) []capture.Packet { return script.Without(p, 9) },
		want: []string{
			"GET /0 200 req=0 res=6", "GET /1 0 req=0 res=-1 incomplete", "GET /2 200 req=0 res=6", "GET /3 200 req=0 res=6",
		},
	}, {
		name: "a lost segment between chunks breaks that message off, the next is found",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client(get("/chunks"))
			c.MSS = 100
			c.Server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("20\r\n"+big[:32]+"\r\n", 20) + "0\r\n\r\n")
			c.MSS = 1400
			exchangeOf(c, 2)
			c.Close()
		},
		alter: func(p []capture.Packet) []capture.Packet { return script.Without(p, 8) },
		want: []string{
			"GET /chunks 200 req=0 res=224 gap=100 gap incomplete", "GET /0 200 req=0 res=6", "GET /1 200 req=0 res=6",
		},
	}, {
		name: "what the snap length cut off is missing and said to be",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client(get("/big"))
			c.Server(ok(big))
			exchangeOf(c, 1)
			c.Close()
		},
		alter: func(p []capture.Packet) []capture.Packet {
			for i := range p {
				p[i].Payload = p[i].Payload[:min(len(p[i].Payload), 400)]
			}
			return p
		},
		want: []string{"GET /big 200 req=0 res=10000 gap=7000 gap,truncated", "GET /0 200 req=0 res=6"},
	}, {
		name: "the ports of a closed connection serve a new one, the last bare ACK does not",
		write: func(s *script.Script, c *script.Connection) {
			for range 3 {
				c.Open()
				exchangeOf(c, 1)
				c.Close()
				c.SeqClient += 1 << 28
				c.SeqServer += 1 << 29
				s.Wait(10 * time.Second)
			}
		},
		want: []string{"GET /0 200 req=0 res=6", "GET /0 200 req=0 res=6", "GET /0 200 req=0 res=6"},
	}, {
		name: "a new handshake replaces a connection whose end was not seen",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 1)
			c.SeqClient += 1 << 28
			c.SeqServer += 1 << 29
			c.Open()
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=6", "GET /0 200 req=0 res=6"},
	}, {
		name: "a SYN that nobody acknowledges does not disturb a connection",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 1)
			seq := c.SeqClient
			c.SeqClient += 1 << 28
			c.Send(true, capture.FlagSYN, nil)
			c.SeqClient = seq
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=6", "GET /0 200 req=0 res=6"},
	}, {
		name: "a reset outside the window, or one belied by more data, does not end a connection",
		write: func(s *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 1)
			seq := c.SeqClient
			c.SeqClient += 1 << 28
			c.Send(true, capture.FlagRST, nil)
			c.SeqClient = seq
			c.Send(true, capture.FlagRST, nil)
			exchangeOf(c, 1)
			s.Wait(time.Second)
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=6", "GET /0 200 req=0 res=6", "GET /0 200 req=0 res=6"},
	}, {
		name: "keep-alive probes and zero-window probes add nothing",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			exchangeOf(c, 1)
			c.SeqClient--
			c.Send(true, capture.FlagACK, []byte{0})
			c.SeqClient--
			c.Send(true, capture.FlagACK, nil)
			c.SeqClient++
			request := get("/probed")
			c.Send(true, capture.FlagACK, []byte(request[:1]))
			c.SeqClient--
			c.Client(request)
			c.Server(ok("x"))
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=6", "GET /probed 200 req=0 res=1"},
	}, {
		name: "a retransmission with other octets is an anomaly, and the first copy wins",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Send(true, capture.FlagACK, []byte(get("/true")))
			c.SeqClient -= uint32(len(get("/true")))
			c.Client(get("/fake"))
			c.Server(ok("x"))
			c.Close()
		},
		want: []string{"GET /true 200 req=0 res=1 overlap_conflict"},
	}, {
		name: "where no body is looked at any more, other octets are none",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client(get("/0"))
			body := strings.Repeat("x", 3000)
			c.Server("HTTP/1.1 200 OK\r\nContent-Length: 3010\r\n\r\n" + body)
			c.Server("0123456789")
			c.SeqServer -= 10
			c.Send(false, capture.FlagACK, []byte("9876543210"))
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=3010", "GET /0 200 req=0 res=6"},
	}, {
		name: "a server that speaks first without being asked is unsolicited",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Server("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=6 unsolicited_response"},
	}, {
		name: "octets after a message that are no request are skipped",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client(get("/a") + "{} cruft\r\n")
			c.Server(ok("x"))
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{"GET /a 200 req=0 res=1", "GET /0 200 req=0 res=6 garbage"},
	}, {
		name: "other protocols are left alone",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Server("220 mail.example ESMTP\r\n")
			c.Client("EHLO me\r\n" + strings.Repeat("mail\r\n", 4000))
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{},
	}, {
		name: "HTTP through a SOCKS proxy is found behind the handshake",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("\x05\x01\x00")
			c.Server("\x05\x00")
			c.Client("\x05\x01\x00\x03\x06a.test\x00\x50")
			c.Server("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
			exchangeOf(c, 2)
			c.Close()
		},
		want: []string{"GET /0 200 req=0 res=6", "GET /1 200 req=0 res=6"},
	}, {
		name: "TLS is left alone",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
			c.Server("\x16\x03\x03\x00\x7a\x02\x00\x00\x76")
			exchangeOf(c, 1)
			c.Close()
		},
		want: []string{},
	}, {
		name: "what is open at the end of the capture is flushed and says so",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Client(get("/a"))
			c.Server(ok(big)[:5000])
		},
		want: []string{"GET /a 200 req=0 res=4932 truncated incomplete"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			s := script.New()
			test.write(s, s.Connection())
			packets := s.Packets()
			if test.alter != nil {
				packets = test.alter(packets)
			}
			txs, stats := run(t, config, packets, 7)
			assert.Equal(t, test.want, lines(txs), "%+v", stats)
		})
	}
}

// side returns the packets that the server sent, or those that it did not.
func side(packets []capture.Packet, server uint16, sent bool) []capture.Packet {
	var kept []capture.Packet
	for _, p := range packets {
		if p.SrcPort == server == sent {
			kept = append(kept, p)
		}
	}
	return script.Stamp(kept)
}

func TestWorkersBatchesAndCutsDoNotChangeTheLines(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := script.New()
	var conns []*script.Connection
	for range 40 {
		c := s.Connection()
		c.Open()
		conns = append(conns, c)
	}
	for i := range 2000 {
		c := conns[r.IntN(len(conns))]
		c.Client(get(fmt.Sprint("/", i)))
		c.Server(ok(strings.Repeat("x", r.IntN(5000))))
		if i%100 == 99 {
			s.Wait(time.Second)
		}
	}
	packets, _ := script.Lossy(script.Shuffled(s.Packets(), 20, r), 0.01, r)
	want, stats := run(t, config, packets, 64)
	require.Greater(t, len(want), 1900)
	require.NotZero(t, stats.TCP.Gap)
	for _, workers := range []int{1, 2, 8} {
		for _, batch := range []int{1, 13, 1 << 20} {
			config := config
			config.Workers = workers
			got, _ := run(t, config, packets, batch)
			require.Equal(t, want, got, "%d workers, batches of %d", workers, batch)
		}
	}
	for range 20 {
		n := r.IntN(len(packets))
		clock := packets[n].Clock
		got, _ := run(t, config, packets[:n+1], 64)
		for i, tx := range want {
			if tx.End >= clock {
				break
			}
			require.Equal(t, tx, got[i], "cut after packet %d", n)
		}
	}
}

// TestDividedFlowsShareTheMemory: where workers have flows of all shards, all of
// them together hold no more than one would.
func TestDividedFlowsShareTheMemory(t *testing.T) {
	s := script.New()
	for i := range 20000 {
		c := s.Connection()
		c.ServerAddr = netip.AddrPortFrom(c.ServerAddr.Addr(), uint16(i%7+1))
		c.Silent = true
		c.Client(get(fmt.Sprint("/", i)))
		c.Server(ok("x"))
	}
	packets := s.Packets()
	config := config
	config.Divided = true
	config.TCP.MaxFlows = 16
	for _, workers := range []int{1, 2, 7} {
		config.Workers = workers
		p, err := pipeline.New(config, func(int, []*reassembly.Transaction, int64) {})
		require.NoError(t, err)
		parts := make([][]capture.Packet, workers)
		for _, packet := range packets {
			w := int(packet.SrcPort+packet.DstPort) % workers // as the kernel divides them
			parts[w] = append(parts[w], packet)
		}
		for w := range parts {
			p.Handle(w, capture.Batch{Packets: parts[w], Clock: packets[len(packets)-1].Clock})
		}
		held := p.Stats().TCP.Flows
		assert.LessOrEqual(t, held, uint64(16*capture.Shards), "%d workers", workers)
		assert.Greater(t, held, uint64(15*capture.Shards), "%d workers", workers)
		p.Close()
	}
}
