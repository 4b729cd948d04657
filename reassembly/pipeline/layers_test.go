package pipeline_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/internal/script"
	"offpath/reassembly/pipeline"
	offtls "offpath/reassembly/tls"
	"offpath/reassembly/tls/keylog"
)

// utterance is what one side wrote at once.
type utterance struct {
	client bool
	octets string
}

// tapped is the client's end of a connection, and what went over it.
type tapped struct {
	net.Conn
	mu   sync.Mutex
	said []utterance
}

func (c *tapped) note(client bool, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(b) > 0 {
		c.said = append(c.said, utterance{client, string(b)})
	}
}

func (c *tapped) Write(b []byte) (int, error) {
	c.note(true, b)
	return c.Conn.Write(b)
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.note(false, b[:n])
	return n, err
}

// one is a listener that accepts one connection.
type one struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *one) Close() error   { close(l.done); return nil }
func (l *one) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// carried has a client of net/http talk to a server over one connection, and
// returns what was said on the wire, and the key log.
func carried(t testing.TB, http2 bool, secured *tls.Config) ([]utterance, []byte) {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2 && secured != nil)
	protocols.SetUnencryptedHTTP2(http2 && secured == nil)
	clientEnd, serverEnd := net.Pipe()
	wire := &tapped{Conn: clientEnd}
	l := &one{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	server := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(answer), ErrorLog: log.New(io.Discard, "", 0)}
	var secrets bytes.Buffer
	transport := &http.Transport{Protocols: &protocols, DisableCompression: true}
	if secured != nil {
		cert := certificate(t)
		server.TLSConfig = secured.Clone()
		server.TLSConfig.Certificates = []tls.Certificate{cert}
		transport.TLSClientConfig = secured.Clone()
		transport.TLSClientConfig.InsecureSkipVerify = true
		transport.TLSClientConfig.KeyLogWriter = &secrets
	}
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		l.conns <- serverEnd
		return wire, nil
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if secured != nil {
			_ = server.ServeTLS(l, "", "")
		} else {
			_ = server.Serve(l)
		}
	}()
	scheme := "http"
	if secured != nil {
		scheme = "https"
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for i := range 6 {
		method, body := "GET", ""
		switch i % 3 {
		case 1:
			method, body = "POST", strings.Repeat("b", 20_000*i)
		case 2:
			method = "HEAD"
		}
		request, err := http.NewRequest(method, fmt.Sprintf("%s://bank.example/%d?of=%d", scheme, i, i*i), strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("User-Agent", "t")
		response, err := client.Do(request)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
	transport.CloseIdleConnections()
	require.NoError(t, server.Close())
	<-served
	wire.mu.Lock()
	defer wire.mu.Unlock()
	return slices.Clone(wire.said), secrets.Bytes()
}

// answer answers by the target.
func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	switch r.URL.Path {
	case "/0":
		fmt.Fprint(w, "zero")
	case "/1":
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusSeeOther)
	case "/3":
		fmt.Fprint(w, strings.Repeat("three", 10_000))
	case "/4":
		http.Error(w, "no", http.StatusForbidden)
	}
}

// certificate is that of net/http's tests.
func certificate(t testing.TB) tls.Certificate {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	require.NotEmpty(t, s.TLS.Certificates)
	return s.TLS.Certificates[0]
}

// onWire writes what was said as the packets of a connection.
func onWire(c *script.Connection, all []utterance) {
	for _, s := range all {
		if s.client {
			c.Client(s.octets)
		} else {
			c.Server(s.octets)
		}
	}
}

// decrypting is config with a key log.
func decrypting(t testing.TB, secrets []byte) pipeline.Config {
	store, err := keylog.New(keylog.Config{})
	require.NoError(t, err)
	store.Add(secrets)
	c := config
	c.TLS = offtls.Config{Secrets: store, Complete: true}
	return c
}

// meaning is what transactions say whatever carries them.
func meaning(txs []*reassembly.Transaction) []string {
	slices.SortFunc(txs, func(a, b *reassembly.Transaction) int { return a.Sequence - b.Sequence })
	list := []string{}
	for _, tx := range txs {
		if tx.Event == nil {
			list = append(list, fmt.Sprint(lines([]*reassembly.Transaction{tx})[0], " ", tx.Request.Domain, " ", tx.Request.UserAgent, " ", tx.Response.Signature.Location))
		}
	}
	return list
}

func TestTheSameConversationGivesTheSameTransactionsWhateverCarriesIt(t *testing.T) {
	plain, _ := carried(t, false, nil)
	s := script.New()
	c := s.Connection()
	c.Open()
	onWire(c, plain)
	c.Close()
	txs, _ := run(t, config, s.Packets(), 64)
	want := meaning(txs)
	require.Len(t, want, 6)

	version := func(v uint16) *tls.Config { return &tls.Config{MinVersion: v, MaxVersion: v} }
	for _, test := range []struct {
		name    string
		http2   bool
		secured *tls.Config
		ahead   string // what comes first, "connect"
	}{
		{"HTTP/2 with prior knowledge", true, nil, ""},
		{"HTTP/1 over TLS 1.2", false, version(tls.VersionTLS12), ""},
		{"HTTP/1 over TLS 1.3", false, version(tls.VersionTLS13), ""},
		{"HTTP/2 over TLS 1.2", true, version(tls.VersionTLS12), ""},
		{"HTTP/2 over TLS 1.3", true, version(tls.VersionTLS13), ""},
		{"HTTP/1 over TLS through a tunnel", false, version(tls.VersionTLS13), "connect"},
		{"HTTP/2 over TLS through a tunnel", true, version(tls.VersionTLS13), "connect"},
	} {
		t.Run(test.name, func(t *testing.T) {
			all, secrets := carried(t, test.http2, test.secured)
			for _, mss := range []int{1460, 100_000, 77} {
				s := script.New()
				c := s.Connection()
				c.MSS = mss
				c.Open()
				if test.ahead == "connect" {
					c.Client("CONNECT bank.example:443 HTTP/1.1\r\nHost: bank.example\r\n\r\n")
					c.Server("HTTP/1.1 200 OK\r\n\r\n")
				}
				onWire(c, all)
				c.Close()
				txs, stats := run(t, decrypting(t, secrets), s.Packets(), 64)
				got := meaning(txs)
				if test.ahead == "connect" {
					require.NotEmpty(t, got)
					require.Contains(t, got[0], "CONNECT")
					got = got[1:]
				}
				assert.Equal(t, want, got, "segments of %d octets", mss)
				for _, tx := range txs {
					if test.http2 && tx.Request.Method != "CONNECT" {
						assert.Equal(t, "2", tx.HTTPVersion)
					}
					if test.secured != nil && tx.Request.Method != "CONNECT" {
						assert.Equal(t, "bank.example", tx.ServerName)
						assert.Regexp(t, `^t1[23]d[0-9]{4}(h[12]|00)_[0-9a-f]{12}_[0-9a-f]{12}$`, tx.JA4)
					}
				}
				if test.secured != nil {
					assert.EqualValues(t, 1, stats.TLS.Decrypted)
				}
			}
		})
	}
}

func TestWhatIsSecuredAndHasNoKeyIsLeftAlone(t *testing.T) {
	all, _ := carried(t, false, &tls.Config{MinVersion: tls.VersionTLS13})
	s := script.New()
	c := s.Connection()
	c.Open()
	onWire(c, all)
	c.Close()
	hellos := config
	hellos.Hellos = true
	txs, stats := run(t, hellos, s.Packets(), 64)
	require.Len(t, txs, 1, "the hello alone")
	require.IsType(t, &reassembly.Hello{}, txs[0].Event)
	assert.Equal(t, "bank.example", txs[0].ServerName)
	assert.Len(t, txs[0].Event.(*reassembly.Hello).JA3, 32)
	assert.EqualValues(t, 1, stats.ConnectionsTLS)
	assert.Greater(t, stats.TCP.Ignored, stats.TCP.Octets/2, "most octets are not looked at")
}

func TestTheClientHelloThatAHelloRetryRequestAsksForIsALineToo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	answered := make(chan error, 1)
	choosy := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.CurveP384}}
	go func() {
		conn, err := l.Accept()
		if err != nil {
			answered <- err
			return
		}
		defer conn.Close()
		server := tls.Server(conn, choosy)
		if _, err = server.Read(make([]byte, 1000)); err == nil {
			_, err = server.Write([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
		}
		answered <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	wire := &tapped{Conn: conn}
	var log bytes.Buffer
	client := tls.Client(wire, &tls.Config{InsecureSkipVerify: true, ServerName: "bank.example", KeyLogWriter: &log})
	_, err = client.Write([]byte("GET / HTTP/1.1\r\nHost: bank.example\r\n\r\n"))
	require.NoError(t, err)
	require.NoError(t, <-answered)
	_, err = client.Read(make([]byte, 1000))
	require.NoError(t, err)
	all, secrets := wire.said, log.Bytes()
	for name, log := range map[string][]byte{"with its secrets": secrets, "without": nil} {
		t.Run(name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			c.Open()
			onWire(c, all)
			c.Close()
			hellos := config
			hellos.Hellos = true
			if log != nil {
				hellos.TLS = decrypting(t, log).TLS
			}
			txs, _ := run(t, hellos, s.Packets(), 64)
			var lines, requests []*reassembly.Transaction
			for _, tx := range txs {
				if tx.Event != nil {
					lines = append(lines, tx)
				} else {
					requests = append(requests, tx)
				}
			}
			require.Len(t, lines, 2)
			assert.NotEqual(t, lines[0].ID, lines[1].ID)
			assert.NotEqual(t, lines[0].Start, lines[1].Start)
			assert.Equal(t, "bank.example", lines[1].ServerName)
			assert.Equal(t, log != nil, len(requests) > 0)
			for _, tx := range requests {
				assert.Equal(t, lines[0].JA4, tx.JA4, "the first says whose it is")
			}
		})
	}
}

func TestWhatIsNoHTTPInsideTLSIsLeft(t *testing.T) {
	for name, answer := range map[string]string{
		"from the beginning": "",
		"after a 101 to it":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
		"through a tunnel":   "HTTP/1.1 200 OK\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			clientEnd, serverEnd := net.Pipe()
			wire := &tapped{Conn: clientEnd}
			var secrets bytes.Buffer
			client := tls.Client(wire, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &secrets})
			server := tls.Server(serverEnd, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
			done := make(chan error)
			go func() {
				if answer != "" {
					head := make([]byte, 12)
					if _, err := io.ReadFull(server, head); err != nil {
						done <- err
						return
					}
					if _, err := server.Write([]byte(answer)); err != nil {
						done <- err
						return
					}
				}
				_, err := io.Copy(io.Discard, server)
				done <- err
			}()
			if answer != "" {
				method := "GET /"
				if name == "through a tunnel" {
					method = "CONNECT a:1"
				}
				_, err := fmt.Fprintf(client, "%s HTTP/1.1\r\nHost: a\r\nUpgrade: other\r\n\r\n", method)
				require.NoError(t, err)
				_, err = client.Read(make([]byte, 1000))
				require.NoError(t, err)
			}
			for range 40 {
				_, err := client.Write(bytes.Repeat([]byte("\x01no HTTP\x02"), 200))
				require.NoError(t, err)
			}
			require.NoError(t, client.CloseWrite())
			require.NoError(t, <-done)
			s := script.New()
			c := s.Connection()
			c.Open()
			onWire(c, wire.said)
			c.Close()
			txs, stats := run(t, decrypting(t, secrets.Bytes()), s.Packets(), 64)
			assert.LessOrEqual(t, len(txs), 1)
			assert.EqualValues(t, 1, stats.TLS.Decrypted)
			assert.Greater(t, stats.TCP.Ignored, uint64(20_000))
		})
	}
}

func TestLossInsideTLSCostsWhatWasLost(t *testing.T) {
	for _, test := range []struct {
		name  string
		http2 bool
		run   int // packets lost in a row
	}{
		{"HTTP/1, one packet", false, 1},
		{"HTTP/1, many packets", false, 30},
		{"HTTP/2, one packet", true, 1},
		{"HTTP/2, many packets", true, 30},
	} {
		t.Run(test.name, func(t *testing.T) {
			all, secrets := carried(t, test.http2, &tls.Config{MinVersion: tls.VersionTLS13})
			whole := script.New()
			c := whole.Connection()
			c.Open()
			onWire(c, all)
			c.Close()
			packets := whole.Packets()
			complete, _ := run(t, decrypting(t, secrets), packets, 64)
			want := meaning(complete)
			found := 0
			for lost := range len(packets) - test.run {
				rest := append(slices.Clone(packets[:lost]), packets[lost+test.run:]...)
				txs, _ := run(t, decrypting(t, secrets), script.Stamp(rest), 64)
				for _, tx := range txs {
					// Whatever is there and complete is a part of the truth.
					if tx.Complete && tx.GapBytes == 0 && tx.Anomalies == 0 {
						require.Contains(t, want, meaning([]*reassembly.Transaction{tx})[0], "%d packets from %d of %d", test.run, lost, len(packets))
						found++
					}
				}
			}
			assert.Positive(t, found)
		})
	}
}
