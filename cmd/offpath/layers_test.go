package main_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tap is a client's end of a connection that notes what each side says.
type tap struct {
	net.Conn
	mu   sync.Mutex
	said []utterance
}

type utterance struct {
	client bool
	octets []byte
}

func (c *tap) note(client bool, octets []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, utterance{client, bytes.Clone(octets)})
}

func (c *tap) Write(b []byte) (int, error) {
	c.note(true, b)
	return c.Conn.Write(b)
}

func (c *tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.note(false, b[:n])
	return n, err
}

// secured makes a capture of connections in TLS, every other one of HTTP/2, with
// the secrets of those that keep says.
func secured(t *testing.T, connections, each int, keep func(i int) bool) *synth {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, strings.Repeat(r.URL.Path, 1000))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	s := newSynth(t)
	for i := range connections {
		var secrets bytes.Buffer
		var wire *tap
		transport := &http.Transport{
			ForceAttemptHTTP2: i%2 == 0,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &secrets, ServerName: "bank.example"},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, address)
				wire = &tap{Conn: c}
				return wire, err
			},
		}
		client := &http.Client{Transport: transport}
		for k := range each {
			response, err := client.Post(fmt.Sprintf("%s/%d/%d", server.URL, i, k), "text/plain", strings.NewReader("body"))
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
		}
		transport.CloseIdleConnections()
		if keep(i) {
			require.NoError(t, s.writer.WriteSecrets(secrets.Bytes()))
		}
		c := s.connect(fmt.Sprintf("198.51.100.%d:%d", i+1, 20000+i))
		wire.mu.Lock()
		for _, u := range wire.said {
			for rest := u.octets; len(rest) > 0; {
				n := min(len(rest), 1400)
				c.segment(u.client, flagPSH|flagACK, rest[:n])
				rest = rest[n:]
			}
		}
		wire.mu.Unlock()
		c.close()
	}
	return s
}

func TestOutputOfTLSAndHTTP2DoesNotDependOnTheNumberOfWorkers(t *testing.T) {
	path := secured(t, 12, 5, func(i int) bool { return i%3 != 2 }).save("secured.pcapng")
	want, _ := replayAll(t, "--workers", "1", "--detail", "headers,bodies,tls,websocket", path)
	assert.Equal(t, 12, strings.Count(want.transactions, `"action":"tls-client-hello"`))
	assert.Equal(t, 8*5, strings.Count(want.transactions, `"method":"POST"`))
	assert.Equal(t, 4*5, strings.Count(want.transactions, `"version":"2"`))
	for _, workers := range []string{"2", "8"} {
		got, _ := replayAll(t, "--workers", workers, "--detail", "headers,bodies,tls,websocket", path)
		assert.Equal(t, want, got, "%s workers", workers)
	}
}

func TestAReportSaysWhatStayedEncrypted(t *testing.T) {
	r := run(t, "replay", secured(t, 5, 1, func(i int) bool { return i < 3 }).save("secured.pcapng"))
	assert.Equal(t, 0, r.status, r.stderr)
	for _, part := range []string{
		`(?m)^TLS        5 connections, 3 decrypted$`, `(?m)^Requests   3, 3 answered$`,
		`(?m)^  connections encrypted \(TLS\), without a key +2$`,
	} {
		assert.Regexp(t, part, r.stdout)
	}
	assert.NotContains(t, r.stdout, "not readable")
}

func TestDetailWebSocketAddsALineForEachThatEnds(t *testing.T) {
	s := newSynth(t)
	c := s.connect("198.51.100.1:4000")
	c.exchange("GET /live HTTP/1.1\r\nHost: bank.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	c.exchange("\x81\x85\x00\x00\x00\x00hello", "\x81\x03abc")
	c.exchange("\x88\x82\x00\x00\x00\x00\x03\xe8", "\x88\x02\x03\xe8")
	c.close()
	path := s.save("socket.pcapng")
	plain := string(runReplay(t, "--transactions", "-", path))
	with := string(runReplay(t, "--detail", "websocket", "--transactions", "-", path))
	require.True(t, strings.HasPrefix(with, plain), "the transaction comes first, as without")
	assert.Contains(t, with[len(plain):], `"action":"websocket-end"`)
	assert.Contains(t, with[len(plain):], `"client":{"frames":2,"messages":1,"bytes":7,"close_code":1000,"partial":false,"invalid":false}`)
	again := string(runReplay(t, "--transactions", "-", save(t, "lines.jsonl", []byte(with))))
	assert.Equal(t, plain, again, "lines of another kind are passed over")
}
