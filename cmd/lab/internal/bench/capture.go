// Package bench measures replay on generated captures, beside other programs
// on the same files in the same run.
package bench

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"offpath/cmd/lab/internal/segment"
)

// Shape is what a generated capture looks like.
type Shape struct {
	Transactions  int
	Connections   int  // open at the same time
	PerConnection int  // transactions on one connection before it is closed
	Pages         bool // bodies of 1 to 20 KB, as of web pages; else small API calls, as of mobile apps
	Seed          uint64
}

// The shapes that `make bench` uses: small API calls on kept-alive connections,
// bodies of 1 to 20 KB, and connections of one transaction.
var (
	API   = Shape{Transactions: 200_000, Connections: 500, PerConnection: 50, Seed: 1}
	Pages = Shape{Transactions: 25_000, Connections: 500, PerConnection: 50, Pages: true, Seed: 2}
	Short = Shape{Transactions: 60_000, Connections: 100, PerConnection: 1, Seed: 3}
)

// connection is the state of one TCP connection of the generator.
type connection struct {
	client, server     netip.AddrPort
	clientSeq, servSeq uint32
	left               int
	agent, token       string
}

// Generate writes the frames of a capture in time order: Ethernet, IPv4, TCP
// port 80, segments of up to 1460 octets, acknowledged by what follows or by bare
// ACKs. It returns the number of transactions.
func Generate(s Shape, write func(ns int64, frame []byte) error) (int, error) {
	g := &generator{
		rand: rand.New(rand.NewPCG(s.Seed, 0)), shape: s, write: write,
		now: 1_700_000_000_000_000_000,
	}
	open := make([]*connection, s.Connections)
	for made := 0; made < s.Transactions; made++ {
		i := g.rand.IntN(len(open))
		if open[i] == nil {
			open[i] = g.connect()
		}
		if s.Pages {
			g.page(open[i])
		} else {
			g.call(open[i])
		}
		if open[i].left == 0 {
			g.close(open[i])
			open[i] = nil
		}
		if g.err != nil {
			return made, g.err
		}
	}
	for _, c := range open {
		if c != nil {
			g.close(c)
		}
	}
	return s.Transactions, g.err
}

type generator struct {
	rand  *rand.Rand
	shape Shape
	write func(int64, []byte) error
	now   int64
	ports uint32
	frame []byte
	err   error
}

var agents = []string{
	"ExampleBank/5.12.1 (iPhone; iOS 17.5.1; Scale/3.00)",
	"ExampleBank/5.12.0 (Android 14; Pixel 8; okhttp/4.12.0)",
	"ExampleBank/5.11.3 (Android 13; SM-A546B; okhttp/4.12.0)",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
}

func (g *generator) connect() *connection {
	g.ports++
	client := netip.AddrFrom4([4]byte{198, 18, byte(g.ports >> 12), byte(g.ports>>4) | 1})
	c := &connection{
		client: netip.AddrPortFrom(client, uint16(20000+g.ports%40000)),
		server: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 19, 0, 10}), 80),
		agent:  agents[g.rand.IntN(len(agents))],
		token:  fmt.Sprintf("%016x%016x%016x", g.rand.Uint64(), g.rand.Uint64(), g.rand.Uint64()),
		left:   g.shape.PerConnection, clientSeq: g.rand.Uint32(), servSeq: g.rand.Uint32(),
	}
	g.segment(c, true, segment.SYN, nil)
	c.clientSeq++
	g.segment(c, false, segment.SYN|segment.ACK, nil)
	c.servSeq++
	g.segment(c, true, segment.ACK, nil)
	return c
}

func (g *generator) close(c *connection) {
	g.segment(c, true, segment.FIN|segment.ACK, nil)
	c.clientSeq++
	g.segment(c, false, segment.FIN|segment.ACK, nil)
	c.servSeq++
	g.segment(c, true, segment.ACK, nil)
}

// call is a login now and then and an authenticated call otherwise.
func (g *generator) call(c *connection) {
	c.left--
	var request, response string
	if g.rand.IntN(40) == 0 {
		form := fmt.Sprintf(`{"username":"customer%06d","password":"%08x","device":{"id":"%016x","os":"ios"}}`,
			g.rand.IntN(1_000_000), g.rand.Uint32(), g.rand.Uint64())
		request = fmt.Sprintf("POST /api/v2/mobile/login HTTP/1.1\r\nHost: api.bank.example\r\nUser-Agent: %s\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\nX-App-Version: 5.12.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.agent, len(form), form)
		if g.rand.IntN(12) == 0 {
			response = jsonResponse("401 Unauthorized", `{"error":"invalid_credentials","message":"Wrong user name or password."}`)
		} else {
			response = jsonResponse("200 OK", fmt.Sprintf(`{"access_token":"%s","token_type":"Bearer","expires_in":900}`, c.token))
		}
	} else {
		request = fmt.Sprintf("GET /api/v2/accounts/%d/transactions?page=%d&size=20 HTTP/1.1\r\nHost: api.bank.example\r\nUser-Agent: %s\r\nAccept: application/json\r\nAccept-Language: en-GB,en;q=0.9\r\nAccept-Encoding: gzip\r\nAuthorization: Bearer %s\r\nX-App-Version: 5.12.1\r\nX-Request-ID: %016x%016x\r\n\r\n",
			10_000_000+g.rand.IntN(1000), g.rand.IntN(9), c.agent, c.token, g.rand.Uint64(), g.rand.Uint64())
		response = jsonResponse("200 OK", fmt.Sprintf(`{"page":1,"items":[{"id":"%08x","amount":"%d.%02d","currency":"EUR","date":"2026-03-%02d","text":"Card payment"},{"id":"%08x","amount":"-17.20","currency":"EUR","date":"2026-03-02","text":"Direct debit"}],"total":412}`,
			g.rand.Uint32(), g.rand.IntN(5000), g.rand.IntN(100), 1+g.rand.IntN(28), g.rand.Uint32()))
	}
	g.say(c, true, request)
	g.say(c, false, response)
	if g.rand.IntN(2) == 0 { // the other half is acknowledged by the next request
		g.segment(c, true, segment.ACK, nil)
	}
}

// page is a web page or one of its parts: half of them JSON, the others HTML and
// images. Every eighth is an upload.
func (g *generator) page(c *connection) {
	c.left--
	head := fmt.Sprintf("Host: www.bank.example\r\nUser-Agent: %s\r\nAccept: text/html,application/json;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.9\r\nAccept-Encoding: gzip\r\nCookie: session=%s\r\n", c.agent, c.token)
	item := g.rand.IntN(1000)
	var request, response string
	switch kind := g.rand.IntN(8); kind {
	case 0:
		form := g.statement()
		request = fmt.Sprintf("POST /portal/documents/%d HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", item, head, len(form), form)
		response = jsonResponse("201 Created", `{"status":"stored"}`)
	case 1, 2, 3, 4:
		request = fmt.Sprintf("GET /portal/accounts/%d/statement HTTP/1.1\r\n%s\r\n", 10_000_000+item, head)
		response = jsonResponse("200 OK", g.statement())
	case 5, 6:
		request = fmt.Sprintf("GET /portal/news/%d HTTP/1.1\r\n%s\r\n", item, head)
		response = typedResponse("200 OK", "text/html; charset=utf-8", g.html())
	default:
		request = fmt.Sprintf("GET /static/img/%d.png HTTP/1.1\r\n%s\r\n", item, head)
		response = typedResponse("200 OK", "image/png", g.image())
	}
	g.say(c, true, request)
	g.say(c, false, response)
	g.segment(c, true, segment.ACK, nil)
}

// size is that of a body, 1 to 20 KB.
func (g *generator) size() int { return 1000 + g.rand.IntN(19_000) }

func (g *generator) statement() string {
	var b strings.Builder
	b.WriteString(`{"page":1,"items":[`)
	for size := g.size(); ; b.WriteByte(',') {
		fmt.Fprintf(&b, `{"id":"%08x","amount":"%d.%02d","currency":"EUR","date":"2026-03-%02d","text":"Card payment"}`,
			g.rand.Uint32(), g.rand.IntN(5000), g.rand.IntN(100), 1+g.rand.IntN(28))
		if b.Len() >= size {
			break
		}
	}
	b.WriteString(`]}`)
	return b.String()
}

func (g *generator) html() string {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html><head><title>News</title></head><body>\n")
	for size := g.size(); b.Len() < size; {
		fmt.Fprintf(&b, "<p class=\"entry\">Branch %d is open from 9 to %d on weekdays.</p>\n", g.rand.IntN(1000), 12+g.rand.IntN(8))
	}
	b.WriteString("</body></html>\n")
	return b.String()
}

func (g *generator) image() string {
	b := []byte("\x89PNG\r\n\x1a\n")
	for size := g.size(); len(b) < size; {
		b = binary.BigEndian.AppendUint64(b, g.rand.Uint64())
	}
	return string(b)
}

func jsonResponse(status, body string) string {
	return typedResponse(status, "application/json; charset=utf-8", body)
}

func typedResponse(status, media, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nDate: Mon, 02 Mar 2026 10:00:00 GMT\r\nContent-Type: %s\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nStrict-Transport-Security: max-age=31536000\r\nContent-Length: %d\r\n\r\n%s", status, media, len(body), body)
}

// segmentSize is how many octets a segment has at most.
const segmentSize = 1460

// say writes the segments of a message; the other side acknowledges every second
// one that others follow.
func (g *generator) say(c *connection, fromClient bool, message string) {
	seq := &c.servSeq
	if fromClient {
		seq = &c.clientSeq
	}
	for n := 1; len(message) > 0; n++ {
		part := message[:min(len(message), segmentSize)]
		message = message[len(part):]
		flags := byte(segment.ACK)
		if message == "" {
			flags |= segment.PSH
		}
		g.segment(c, fromClient, flags, []byte(part))
		*seq += uint32(len(part))
		if n%2 == 0 && message != "" {
			g.segment(c, !fromClient, segment.ACK, nil)
		}
	}
}

// segment writes one frame from the client, or from the server.
func (g *generator) segment(c *connection, fromClient bool, flags byte, payload []byte) {
	src, dst, seq, ack := c.client, c.server, c.clientSeq, c.servSeq
	if !fromClient {
		src, dst, seq, ack = dst, src, ack, seq
	}
	if flags&segment.ACK == 0 {
		ack = 0
	}
	f := segment.Append(g.frame[:0], &segment.Segment{Source: src, Destination: dst, Seq: seq, Ack: ack, Flags: flags, Payload: payload})
	g.frame = f
	g.now += 1000 + g.rand.Int64N(9000)
	if g.err == nil {
		g.err = g.write(g.now, f)
	}
}
