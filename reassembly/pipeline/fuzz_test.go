package pipeline_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/reassembly"
	"offpath/reassembly/internal/script"
)

// dialogue writes valid exchanges of all kinds of framing.
func dialogue(c *script.Connection, r *rand.Rand, mss func() int) {
	client := func(octets string) { c.MSS = mss(); c.Client(octets) }
	server := func(octets string) { c.MSS = mss(); c.Server(octets) }
	c.Open()
	for i := range 1 + r.IntN(6) {
		body := strings.Repeat("b", r.IntN(300))
		switch r.IntN(6) {
		case 0:
			client(get(fmt.Sprint("/", i)))
			server(ok(body))
		case 1:
			client(fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", i, len(body), body))
			server("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
		case 2:
			client(get(fmt.Sprint("/p", i)) + get(fmt.Sprint("/q", i)))
			server(ok("1") + ok(body))
		case 3:
			client(fmt.Sprintf("PUT /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", i, len(body)+1, body+"c"))
			server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;e=1\r\nhello\r\n1\r\n \r\n0\r\nT: t\r\n\r\n")
		case 4:
			client(fmt.Sprintf("HEAD /%d HTTP/1.1\r\nHost: a\r\n\r\n", i))
			server("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")
		case 5:
			client(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\nX: a\r\n\tfolded\r\n\r\n", i))
			server("HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n")
		}
	}
	if r.IntN(3) == 0 {
		client("GET /last HTTP/1.0\r\n\r\n")
		server("HTTP/1.0 200 OK\r\n\r\nuntil the end")
		c.CloseByServer()
	} else {
		c.Close()
	}
}

// FuzzSegmentation: the same octets give the same transactions, however they are
// cut into segments, reordered and doubled.
func FuzzSegmentation(f *testing.F) {
	for i := range uint64(20) {
		f.Add(i, i*7+1, uint8(i*13), uint8(i))
	}
	f.Fuzz(func(t *testing.T, content, damage uint64, size, window uint8) {
		plain := script.New()
		dialogue(plain.Connection(), rand.New(rand.NewPCG(content, 0)), func() int { return 1 << 16 })
		want, _ := run(t, config, plain.Packets(), 64)
		r := rand.New(rand.NewPCG(damage, 1))
		s := script.New()
		dialogue(s.Connection(), rand.New(rand.NewPCG(content, 0)), func() int { return 1 + r.IntN(int(size)+1) })
		// A FIN before anything else was seen says nothing of a connection: the
		// first SYN stays first.
		doubled := script.Doubled(s.Packets(), 0.1, r)
		packets := script.Stamp(append(doubled[:1:1], script.Shuffled(doubled[1:], 1+int(window)%40, r)...))
		got, stats := run(t, config, packets, 1+r.IntN(100))
		bySequence := func(a, b *reassembly.Transaction) int { return a.Sequence - b.Sequence } // ends differ
		slices.SortFunc(want, bySequence)
		slices.SortFunc(got, bySequence)
		require.Equal(t, lines(want), lines(got))
		require.Zero(t, stats.TCP.Gap)
		require.Zero(t, stats.TCP.Conflicts)
	})
}

// FuzzOctets: whatever both sides say, and whatever packets are lost, nothing
// panics, the books balance, and the lines do not depend on the workers.
func FuzzOctets(f *testing.F) {
	f.Add([]byte(get("/")+"\x05\x01\x00"), []byte(ok("body")+"HTTP/1.1 200"), uint64(1), uint8(10))
	f.Add([]byte("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n"), []byte("HTTP/1.1 101 x\r\n\r\nxx"), uint64(2), uint8(0))
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nx"), []byte("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nx"), uint64(3), uint8(3))
	for i, said := range layered() {
		f.Add([]byte(said[0]), []byte(said[1]), uint64(i), uint8(0))
		f.Add([]byte(said[0]), []byte(said[1]), uint64(i+100), uint8(20))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64, loss uint8) {
		r := rand.New(rand.NewPCG(seed, 2))
		s := script.New()
		c := s.Connection()
		if seed%4 != 3 { // else it is joined in the middle
			c.Open()
		}
		for len(client)+len(server) > 0 && len(s.Packets()) < 400 {
			c.MSS = 1 + r.IntN(200)
			n, m := min(len(client), r.IntN(400)), min(len(server), r.IntN(400))
			c.Client(string(client[:n]))
			c.Server(string(server[:m]))
			client, server = client[n:], server[m:]
			if r.IntN(20) == 0 {
				c.SeqClient += uint32(r.IntN(1 << 22))
			}
		}
		c.Send(r.IntN(2) == 0, []uint8{capture.FlagFIN, capture.FlagRST, capture.FlagSYN}[r.IntN(3)], nil)
		packets, _ := script.Lossy(script.Shuffled(s.Packets(), 1+r.IntN(30), r), float64(loss)/512, r)
		for i := range packets {
			if r.IntN(50) == 0 { // cut by a snap length
				packets[i].Payload = packets[i].Payload[:r.IntN(len(packets[i].Payload)+1)]
			}
		}
		one := config
		one.Hellos, one.Sockets = true, true
		want, _ := run(t, one, packets, 64)
		two := one
		two.Workers = 2
		got, _ := run(t, two, packets, 5)
		require.Equal(t, want, got)
	})
}

// layered is what client and server say in the layers beside HTTP/1 in the clear.
func layered() [][2]string {
	client, server := newFramed(true), newFramed(false)
	client.get(1, "/a").head(3, false, ":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/b", "content-type", "application/grpc").
		data(3, true, rpcMessage(3)).get(5, "/c").frame(frameReset, 0, 5, "\x00\x00\x00\x08")
	server.head(1, false, ":status", "200").data(1, true, "body").head(3, false, ":status", "200", "content-type", "application/grpc").
		data(3, false, rpcMessage(2)).head(3, true, "grpc-status", "0")
	streams := [2]string{client.said(), server.said()}

	client, server = newFramed(true), newFramed(false)
	client.head(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a", ":path", "/live").
		data(1, false, clientText).data(1, true, clientClose)
	server.head(1, false, ":status", "200").data(1, false, serverPing+serverText).data(1, true, serverClose)
	socket := [2]string{client.said(), server.said()}

	upgraded := newFramed(true).get(3, "/second")
	answers := newFramed(false).head(1, true, ":status", "204").head(3, true, ":status", "404")
	return [][2]string{
		streams, socket,
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n" + upgraded.said(),
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + answers.said()},
		{"GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + clientText + clientClose,
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n" + serverPing + serverText + serverClose},
		{"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + get("/inside"), "HTTP/1.1 200 OK\r\n\r\n" + ok("body")},
		{"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" + tlsHello + strings.Repeat("e", 120), "HTTP/1.1 200 OK\r\n\r\n\x15\x03\x03\x00\x02\x02\x28"},
		{tlsHello + strings.Repeat("e", 120) + "\x17\x03\x03\x00\x04abcd", "\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03" + strings.Repeat("s", 32) + "\x00\x13\x01\x00"},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get("/"), ok("v1")},
		{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02" + streams[0], streams[1]},
	}
}

// FuzzLayers: of one conversation, whatever carries it and whatever is lost, late or
// doubled of it, nothing panics, the books balance, and what is told as complete
// was said.
func FuzzLayers(f *testing.F) {
	version := func(v uint16) *tls.Config { return &tls.Config{MinVersion: v, MaxVersion: v} }
	type carrier struct {
		said    []utterance
		secrets []byte
		whole   []*reassembly.Transaction
	}
	var carriers []carrier
	for _, each := range []struct {
		http2   bool
		secured *tls.Config
	}{{false, nil}, {true, nil}, {false, version(tls.VersionTLS12)}, {false, version(tls.VersionTLS13)}, {true, version(tls.VersionTLS12)}, {true, version(tls.VersionTLS13)}} {
		c := carrier{}
		c.said, c.secrets = carried(f, each.http2, each.secured)
		carriers = append(carriers, c)
	}
	play := func(t testing.TB, c *carrier, damage func(packets []capture.Packet) []capture.Packet, mss func() int) []*reassembly.Transaction {
		s := script.New()
		conn := s.Connection()
		conn.Open()
		for _, u := range c.said {
			conn.MSS = mss()
			onWire(conn, []utterance{u})
		}
		conn.Close()
		txs, _ := run(t, decrypting(t, c.secrets), damage(s.Packets()), 64)
		return txs
	}
	for i := range carriers {
		carriers[i].whole = play(f, &carriers[i], func(all []capture.Packet) []capture.Packet { return all }, func() int { return 1460 })
		require.Len(f, carriers[i].whole, 6)
		for k := range uint64(4) {
			f.Add(uint8(i), k, uint8(k*9), uint8(k*5), uint8(k))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, seed uint64, loss, late, doubled uint8) {
		c := &carriers[int(which)%len(carriers)]
		r := rand.New(rand.NewPCG(seed, 3))
		got := play(t, c, func(packets []capture.Packet) []capture.Packet {
			packets = script.Doubled(packets, float64(doubled)/1024, r)
			packets, _ = script.Lossy(script.Shuffled(packets, 1+int(late)%30, r), float64(loss)/1024, r)
			return script.Stamp(packets)
		}, func() int { return 600 + r.IntN(900) })
		for _, tx := range got {
			if tx.Complete && tx.GapBytes == 0 {
				require.True(t, slices.ContainsFunc(c.whole, func(said *reassembly.Transaction) bool { return agrees(tx, said) }), "%v", lines([]*reassembly.Transaction{tx}))
			}
		}
	})
}

// agrees reports whether all that is known of a transaction is what was said.
func agrees(tx, said *reassembly.Transaction) bool {
	for _, pair := range [][2]string{
		{tx.Request.Method, said.Request.Method}, {tx.Request.Target, said.Request.Target}, {tx.Request.Domain, said.Request.Domain},
		{tx.Request.UserAgent, said.Request.UserAgent}, {tx.Response.Signature.Location, said.Response.Signature.Location},
	} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return (tx.Response.Status == 0 || tx.Response.Status == said.Response.Status) &&
		tx.Request.BodyBytes == said.Request.BodyBytes && tx.Response.BodyBytes == said.Response.BodyBytes
}
