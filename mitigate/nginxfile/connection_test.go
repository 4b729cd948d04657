package nginxfile_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/internal/targettest"
)

// slow adds a path whose requests take until they are released.
func slow(t *testing.T, s *nginxtest.Plain) (entered <-chan struct{}, release func()) {
	t.Helper()
	in, out := make(chan struct{}, 1), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		in <- struct{}{}
		<-out
		io.WriteString(w, "slow\n")
	}))
	t.Cleanup(server.Close)
	s.Configure(strings.Replace(s.Config(), "location /own/", "location /slow { proxy_pass "+server.URL+"; }\nlocation /own/", 1))
	s.Reload()
	return in, func() { close(out) }
}

// from is a connection of the attacker.
func from(t *testing.T, address string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(targettest.Attacker)}}
	conn, err := dialer.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(targettest.Wait)))
	return conn
}

// A worker of before goes on with a request that is under way while nginx reloads. Who
// keeps a connection busy so gets nothing more out of it.

func TestABusyHTTP1ConnectionOfBeforeIsNoWayAroundAVerdict(t *testing.T) {
	s, _, target := enforcing(t)
	entered, release := slow(t, s)
	conn := from(t, strings.TrimPrefix(s.URL, "http://"))
	_, err := io.WriteString(conn, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	<-entered
	apply(t, target, entry(1, targettest.Attacker))
	_, err = io.WriteString(conn, strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 3))
	require.NoError(t, err)
	release()
	answers := bufio.NewReader(conn)
	first, err := http.ReadResponse(answers, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(first.Body)
	require.NoError(t, err)
	assert.Equal(t, "slow\n", string(body))
	_, err = http.ReadResponse(answers, nil)
	assert.Error(t, err, "it ends with the request that was under way")
}

func TestABusyHTTP2ConnectionOfBeforeIsNoWayAroundAVerdict(t *testing.T) {
	s, _, target := enforcing(t)
	entered, release := slow(t, s)
	conn := from(t, s.H2)
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	require.NoError(t, framer.WriteSettings())
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	request := func(stream uint32, path string) {
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", path}, {":authority", "a"}} {
			require.NoError(t, encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	}
	request(1, "/slow")
	<-entered
	apply(t, target, entry(1, targettest.Attacker))
	for stream := uint32(3); stream < 20; stream += 2 {
		request(stream, fmt.Sprint("/", stream))
	}
	time.AfterFunc(300*time.Millisecond, release)
	answered := map[uint32]string{}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			break
		}
		if head, ok := frame.(*http2.MetaHeadersFrame); ok {
			answered[head.StreamID] = head.PseudoValue("status")
		}
	}
	assert.Equal(t, map[uint32]string{1: "200"}, answered, "the one that was under way")
}
