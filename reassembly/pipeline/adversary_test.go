package pipeline_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/internal/script"
)

const tlsHello = "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestOctetsInsideAHeadAreNoOtherProtocol(t *testing.T) {
	for name, inside := range map[string]string{
		"a ClientHello":      tlsHello,
		"a ServerHello":      strings.Replace(tlsHello, "\x01\x00\x00\xa1", "\x02\x00\x00\xa1", 1),
		"preface of HTTP/2":  "PRI * HTTP/2.0\r\nA: b",
		"PROXY protocol":     "PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\nA: b",
		"a frame of HTTP/2":  "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"midstream of TLS":   "\x17\x03\x03\x00\x10aaaaaaaaaaaaaaaa",
		"a response's start": "HTTP/1.1 200 OK\r\nA: b",
	} {
		t.Run(name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			c.Open()
			c.Client("GET /a HTTP/1.1\r\nHost: h\r\nX: ")
			c.Client(inside + "\r\n\r\n")
			c.Server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			c.Client("GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
			c.Server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			c.Close()
			txs, _ := run(t, config, s.Packets(), 64)
			got := lines(txs)
			if assert.Len(t, got, 2) {
				assert.Contains(t, got[0], "GET /a 200")
				assert.Contains(t, got[1], "GET /b 200")
			}
		})
	}
}

func TestASecondPROXYHeaderIsNotBelieved(t *testing.T) {
	s := script.New()
	c := s.Connection()
	c.Open()
	c.Client("PROXY TCP4 203.0.113.1 198.51.100.20 1 8080\r\n")
	c.Client("PROXY TCP4 203.0.113.66 198.51.100.20 1 8080\r\n")
	c.Client("GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
	c.Server("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	c.Close()
	trusting := config
	peer := c.ClientAddr.Addr()
	for _, proxies := range []netip.Prefix{netip.PrefixFrom(peer, 32), netip.PrefixFrom(netip.AddrFrom16(peer.As16()), 128)} {
		trusting.Content.TrustedProxies = []netip.Prefix{proxies}
		txs, stats := run(t, trusting, s.Packets(), 64)
		require.Len(t, txs, 1)
		assert.Equal(t, "203.0.113.1", txs[0].Client.String(), "%s is trusted", proxies)
		assert.EqualValues(t, 1, stats.ConnectionsProxied)
	}
}

func TestARequestIsHandedOverWhenTheProtocolChanges(t *testing.T) {
	for name, test := range map[string]struct {
		want []string
		said []utterance
	}{
		"a WebSocket in the middle of a request": {[]string{"POST /a 101 req=3 res=0 upgraded incomplete"}, []utterance{{true, "POST /a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 10\r\n\r\nabc"},
			{false, "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"}, {true, "abcdefgabcdefg"}}},
		"a tunnel in the middle of a request": {[]string{"CONNECT a:1 200 req=3 res=0 tunnel incomplete"}, []utterance{{true, "CONNECT a:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"},
			{false, "HTTP/1.1 200 Fine\r\n\r\n"}, {true, "abcdefgabcdefg"}}},
		"another protocol in the middle of a request": {[]string{"POST /a 101 req=3 res=0 upgraded incomplete"}, []utterance{{true, "POST /a HTTP/1.1\r\nHost: h\r\nUpgrade: foo\r\nConnection: upgrade\r\nContent-Length: 10\r\n\r\nabc"},
			{false, "HTTP/1.1 101 Switching\r\nUpgrade: foo\r\n\r\n"}, {true, "abcdefgabcdefg"}}},
		"HTTP/2 in the middle of a request": {[]string{"POST /a 101 req=3 res=0 upgraded incomplete"}, []utterance{{true, "POST /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 10\r\n\r\nabc"},
			{false, "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"}, {true, "abcdefgPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}}},
		"HTTP/2 that never comes": {[]string{"GET /a 0 req=0 res=-1 info=[101] upgraded incomplete"}, []utterance{{true, "GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"},
			{false, "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n"}, {true, "nothing known to us here"}, {false, "nothing known to us here"}}},
		"HTTP/2 to a server that does not speak it": {[]string{"GET / 0 req=0 res=-1 missing_host incomplete", "PRI * 400 req=0 res=0"}, []utterance{{true, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x84\x86"},
			{false, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			c.Open()
			onWire(c, test.said)
			c.Close()
			txs, _ := run(t, config, s.Packets(), 64)
			assert.Equal(t, test.want, lines(txs))
		})
	}
}

// Servers pass over line ends before a request (RFC 9112 section 2.2), and read
// chunk extensions and trailers of any length.
func TestNothingThatServersPassOverHidesRequests(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n" }
	chunked := "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, said := range map[string][]utterance{
		"line ends before each request":                     {{true, "\r\n" + get("/a")}, {false, ok}, {true, "\r\n" + get("/b")}},
		"line ends in a segment of their own":               {{true, "\r\n"}, {true, get("/a")}, {false, ok}, {true, "\n"}, {true, "\r\n" + get("/b")}},
		"line ends that may begin a PROXY header":           {{true, "\r\n\r\n"}, {true, get("/a")}, {false, ok}, {true, "\r\n\r\n" + get("/b")}},
		"a chunk extension in many segments":                {{true, chunked + "0;" + strings.Repeat("x", 20_000) + "\r\n\r\n\r\n"}, {false, ok}, {true, "\r\n" + get("/b")}},
		"a trailer field in many segments":                  {{true, chunked + "0\r\nA:" + strings.Repeat("x", 20_000) + "\r\n\r\n"}, {false, ok}, {true, "\r\n" + get("/b")}},
		"a trailer section beyond bounds":                   {{true, chunked + "0\r\n" + strings.Repeat("A: b\r\n", 20_000) + "\r\n"}, {false, ok}, {true, "\r\n" + get("/b")}},
		"a CONNECT that the server took for any request":    {{true, "CONNECT /a HTTP/1.1\r\nHost: h\r\n\r\n"}, {false, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000)}, {true, get("/b")}},
		"a request line of 15 KB, then one in two segments": {{true, get("/a" + strings.Repeat("/", 15_000))}, {false, ok}, {true, "GET /b HT"}, {true, "TP/1.1\r\nHost: h\r\n\r\n"}},
		"an invalid chunk, and line ends before requests":   {{true, chunked + "zz\r\n"}, {false, ok}, {true, "\r\n" + get("/b")}},
	} {
		t.Run(name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			c.Open()
			onWire(c, append(said, utterance{false, ok}))
			c.Close()
			txs, _ := run(t, config, s.Packets(), 64)
			targets := ""
			for _, tx := range txs {
				targets += tx.Request.Target[:2]
			}
			assert.Equal(t, "/a/b", targets)
		})
	}
}

// TestNoSplittingOfRequestsHidesThem: clients may cut what they say anywhere, also
// behind a head that is too large, octets that are missing, or chunks that can't be
// followed.
func TestNoSplittingOfRequestsHidesThem(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n" }
	post := func(target, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
	}
	const lost = "" // what the client says is not in the capture
	long := strings.Repeat("x", 70<<10)
	type said struct{ client, server string }
	chunks := said{"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ok}
	for name, test := range map[string]struct {
		said []said
		want string // targets
	}{
		"a head too large, then a request in two segments": {
			[]said{{"GET /a HTTP/1.1\r\nHost: h\r\nX: " + long + "\r\n\r\n", ok}, {"GE", ""}, {get("/b")[2:], ok}}, "GET /a\nGET /b\n"},
		"a head too large with a body that holds a request": {
			[]said{{"POST /a HTTP/1.1\r\nHost: h\r\nX: " + long + "\r\nContent-Length: 34\r\n\r\n", ""}, {get("/x") + "123456", ok}, {get("/b"), ok}}, "POST /a\nGET /b\n"},
		"a request line too large, then requests in two segments": {
			[]said{{get("/a" + long), ok}, {"GE", ""}, {get("/b")[2:], ok}}, "GET /a\nGET /b\n"},
		"a gap, then requests in two segments each": {
			[]said{{get("/a"), ok}, {lost, ok}, {get("/b")[:9], ""}, {get("/b")[9:], ok}, {"GE", ""}, {get("/c")[2:], ok}}, "GET /a\nGET /c\n"},
		"a gap, then requests in octets": {
			[]said{{get("/a"), ok}, {lost, ok}, {"\r\n", ""}, {"G", ""}, {"E", ""}, {"T", ok}, {" /b HTTP/1.1\r\n\r\n", ok}, {"G", ""}, {"E", ""}, {"T /c HTTP", ""}, {get("/c")[11:], ok}}, "GET /a\nGET /b\nGET /c\n"},
		"a gap, then every segment ends in the next request line": {
			[]said{{get("/a"), ok}, {lost + "tail\r\n\r\nGET /lo", ok}, {"st HTTP/1.1\r\nHost: h\r\n\r\nGET /d", ok}, {"d HTTP/1.1\r\nHost: h\r\n\r\nGET /e", ok}, {"e HTTP/1.1\r\nHost: h\r\n\r\n", ok}}, "GET /a\nGET /lost\nGET /dd\nGET /ee\n"},
		"chunks that can't be followed, then bodies run into the next request line": {
			[]said{chunks, {post("/b", "x=1")[6:] + "POST /c", ok}, {post("/c", "y=2")[7:] + "PO", ok}, {post("/d", "z=3")[2:], ok}}, "POST /a\nPOST /c\nPOST /d\n"},
		"chunks that can't be followed, then a request whose method nobody knows": {
			[]said{chunks, {"FROB", ""}, {"NICATE /b HTTP/1.1\r\nHost: h\r\n\r\n", ok}}, "POST /a\nFROBNICATE /b\n"},
		"chunks that can't be followed, then a body that holds requests": {
			[]said{chunks, {"aa\r\n\r\nGET /x", ""}, {"x HTTP/1.1\r\nHost: h\r\n\r\nGET", ""}, {" /xx HTTP/1.1\r\n\r\n", ok}, {get("/b"), ok}}, "POST /a\nGET /b\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			c.Open()
			for _, said := range test.said {
				if said.client == lost || strings.HasPrefix(said.client, lost+"tail") {
					c.SeqClient += 100
				}
				c.Client(said.client)
				s.Wait(time.Second)
				c.Server(said.server)
			}
			c.Close()
			txs, stats := run(t, config, s.Packets(), 64)
			targets := ""
			for _, tx := range txs {
				targets += fmt.Sprintln(tx.Request.Method, strings.TrimRight(tx.Request.Target, "x"))
				assert.Equal(t, 200, tx.Response.Status, tx.Request.Target)
			}
			assert.Equal(t, test.want, targets)
			assert.Zero(t, stats.ResponsesUnsolicited)
		})
	}
}

// TestOneSideAloneDoesNotSayWhoTheClientIs: of a connection joined in the middle,
// what a body holds does not make its sender the server.
func TestOneSideAloneDoesNotSayWhoTheClientIs(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	const fake = "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n" }
	for name, test := range map[string]struct {
		said []utterance
		want []string
		port uint16 // of the server
	}{
		"a response in an upload": {[]utterance{{true, fake}, {false, ok}, {true, get("/a")}, {false, ok}, {true, get("/b")}, {false, ok}},
			[]string{"GET /a 200 req=0 res=0 midstream", "GET /b 200 req=0 res=0 midstream"}, 8080},
		"responses in an upload before each request": {[]utterance{{true, fake}, {true, fake}, {true, get("/a")}, {false, ok}, {true, fake}, {true, get("/b")}, {false, ok}},
			[]string{"GET /a 200 req=0 res=0 midstream", "GET /b 200 req=0 res=0 midstream,garbage"}, 8080},
		"a response in an upload, and requests in parts": {[]utterance{{true, fake}, {false, ok}, {true, "x"}, {false, ok}, {true, "GE"}, {true, get("/a")[2:]}, {false, ok}, {true, get("/b")}, {false, ok}},
			[]string{"GET /a 200 req=0 res=0 midstream", "GET /b 200 req=0 res=0 midstream"}, 8080},
		"a request in a download": {[]utterance{{false, get("/x")}, {true, get("/a")}, {false, ok}, {true, get("/b")}, {false, ok}},
			[]string{"GET /a 200 req=0 res=0 midstream", "GET /b 200 req=0 res=0 midstream"}, 8080},
		"a request in a download from a server's port": {[]utterance{{false, get("/x")}, {true, "rest of an upload"}}, []string{}, 80},
		"a client whose requests come in parts": {[]utterance{{false, ok}, {true, "GE"}, {true, get("/a")[2:]}, {false, ok}, {true, "GE"}, {true, get("/b")[2:]}, {false, ok}},
			[]string{"GET /a 200 req=0 res=0 midstream", "GET /b 200 req=0 res=0 midstream"}, 8080},
		"a download, then requests": {[]utterance{{false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody!"}, {true, get("/a")}, {false, ok}},
			[]string{"GET /a 200 req=0 res=0 midstream"}, 8080},
	} {
		t.Run(name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			c.ServerAddr = netip.AddrPortFrom(c.ServerAddr.Addr(), test.port)
			for _, u := range test.said {
				s.Wait(time.Second)
				onWire(c, []utterance{u})
			}
			c.Close()
			txs, _ := run(t, config, s.Packets(), 64)
			assert.Equal(t, test.want, lines(txs))
			for _, tx := range txs {
				assert.Equal(t, c.ClientAddr, tx.Source)
			}
		})
	}
}

// TestWhatABodyHoldsIsNoOtherProtocolForGood: of a connection joined in the middle.
func TestWhatABodyHoldsIsNoOtherProtocolForGood(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	const frames = settings + "\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x84\x86" // GET /
	const reset = "\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"
	const record = "\x17\x03\x03\x00\x10aaaaaaaaaaaaaaaa"
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n" }
	serverHello := strings.Replace(tlsHello, "\x01\x00\x00\xa1", "\x02\x00\x00\xa1", 1)
	for name, inside := range map[string][]string{
		"a record of TLS":                          {record},
		"many of them":                             {record, record, record, record, "x", record},
		"a ClientHello":                            {tlsHello + strings.Repeat("b", 200)},
		"a part of one":                            {tlsHello[:20]},
		"a ClientHello, and records":               {tlsHello + strings.Repeat("b", 200), record, record},
		"a ServerHello":                            {serverHello},
		"frames of HTTP/2":                         {frames},
		"frames of HTTP/2 with a request given up": {frames + reset, frames},
		"frames of a server":                       {settings + "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88"},
		"the preface of HTTP/2":                    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames},
		"HTTP/2 in records":                        {record, frames, tlsHello},
	} {
		for first, requests := range map[string][]utterance{
			"a whole request": {{true, get("/a")}, {false, ok}},
			"a response":      {{false, ok}, {true, get("/a")}, {false, ok}},
		} {
			t.Run(name+", then "+first, func(t *testing.T) {
				s := script.New()
				c := s.Connection()
				for _, octets := range inside {
					s.Wait(time.Second)
					c.Client(octets)
				}
				for _, u := range append(requests, utterance{true, get("/b")}, utterance{false, ok}) {
					s.Wait(time.Second)
					onWire(c, []utterance{u})
				}
				c.Close()
				txs, stats := run(t, config, s.Packets(), 64)
				assert.Equal(t, []string{"GET /a 200 req=0 res=0 midstream", "GET /b 200 req=0 res=0 midstream"}, lines(txs))
				assert.LessOrEqual(t, stats.ClaimsRetracted, uint64(len(inside)))
				for _, tx := range txs {
					assert.Equal(t, c.ClientAddr, tx.Source)
					assert.Empty(t, tx.JA4)
				}
			})
		}
	}
}

// TestProtocolsJoinedInTheMiddleAreKnownByBothSides: what both sides say is believed.
func TestProtocolsJoinedInTheMiddleAreKnownByBothSides(t *testing.T) {
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	const record = "\x17\x03\x03\x00\x10aaaaaaaaaaaaaaaa"
	for name, test := range map[string]struct {
		said  []utterance
		want  []string
		tls   uint64
		http2 uint64
	}{
		"TLS": {[]utterance{{true, record}, {false, record}, {true, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"}, {false, "HTTP/1.1 200 OK\r\n\r\n"}}, []string{}, 1, 0},
		"HTTP/2, a body in it that holds a request": {[]utterance{
			{true, settings + "\x00\x00\x03\x01\x04\x00\x00\x00\x01\x83\x84\x86"}, {false, settings + "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88"},
			{true, "\x00\x00\x1c\x00\x01\x00\x00\x00\x01"}, {true, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"}},
			[]string{"POST / 200 req=28 res=0 midstream,missing_host"}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			for _, u := range test.said {
				s.Wait(time.Second)
				onWire(c, []utterance{u})
			}
			c.Close()
			txs, stats := run(t, config, s.Packets(), 64)
			assert.Equal(t, test.want, lines(txs))
			assert.Equal(t, test.tls, stats.ConnectionsTLS)
			assert.Equal(t, test.http2, stats.ConnectionsHTTP2)
			assert.Zero(t, stats.ClaimsRetracted)
		})
	}
}
