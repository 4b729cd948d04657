package pipeline_test

import (
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
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64, loss uint8) {
		r := rand.New(rand.NewPCG(seed, 2))
		s := script.New()
		c := s.Connection()
		c.Open()
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
		want, _ := run(t, config, packets, 64)
		two := config
		two.Workers = 2
		got, _ := run(t, two, packets, 5)
		require.Equal(t, want, got)
	})
}
