package envoy_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"offpath/mitigate/internal/envoytest"
	"offpath/mitigate/internal/targettest"
)

// apart are fields that HTTP/2 has not, and that these tests say by themselves.
var apart = map[string]bool{
	"host": true, "connection": true, "content-length": true, "transfer-encoding": true, "upgrade": true, "keep-alive": true,
	"http2-settings": true, "te": true, "expect": true,
}

func dial(t testing.TB, s *envoytest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(targettest.Wait)))
	return conn
}

// http1 sends lines of a request as they are, and returns the marker of the answer.
func http1(t testing.TB, s *envoytest.Server, lines string) string {
	t.Helper()
	conn := dial(t, s)
	_, err := io.WriteString(conn, lines+"Connection: close\r\n\r\n")
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	conn.Close()
	return response.Header.Get("X-Offpath-Refused")
}

// h2 sends fields in their order over HTTP/2 without TLS, and returns the marker of the
// answer.
func h2(t testing.TB, s *envoytest.Server, fields [][2]string) (marker string) {
	t.Helper()
	conn := dial(t, s)
	defer conn.Close()
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	require.NoError(t, framer.WriteSettings())
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		require.NoError(t, encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true}))
	for {
		frame, err := framer.ReadFrame()
		require.NoError(t, err)
		if headers, ok := frame.(*http2.MetaHeadersFrame); ok {
			for _, f := range headers.Fields {
				if f.Name == "x-offpath-refused" {
					marker = f.Value
				}
			}
			return marker
		}
	}
}
