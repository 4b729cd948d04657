package hello_test

import (
	"bytes"
	ctls "crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/tls/hello"
)

// ext is an extension with its type and length.
func ext(kind byte, data string) string {
	return string([]byte{0, kind, byte(len(data) >> 8), byte(len(data))}) + data
}

// client is the body of a ClientHello: suites, extensions.
func client(suites, extensions string) []byte {
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + string([]byte{byte(len(suites) >> 8), byte(len(suites))}) + suites + "\x01\x00"
	if extensions != "" {
		body += string([]byte{byte(len(extensions) >> 8), byte(len(extensions))}) + extensions
	}
	return []byte(body)
}

func alpn(names ...string) string {
	list := ""
	for _, n := range names {
		list += string([]byte{byte(len(n))}) + n
	}
	return ext(16, string([]byte{0, byte(len(list))})+list)
}

func TestJA4(t *testing.T) {
	for _, c := range []struct {
		name, suites, extensions, want string
	}{
		{"no extensions", "\x00\x2f\x00\x35", "", "t12i020000_f54dd463d39b_000000000000"},
		{"no suites", "", "", "t12i000000_000000000000_000000000000"},
		{"ALPN of one letter", "\x00\x2f", alpn("x"), "t12i0101xx_"},
		{"ALPN with other characters", "\x00\x2f", alpn("-a", "h2"), "t12i010121_"},
		{"ALPN beyond ASCII", "\x00\x2f", alpn("\xbdab\xbd"), "t12i010199_"},
		{"an empty ALPN", "\x00\x2f", alpn(""), "t12i010100_"},
		{"GREASE takes no part", "\x1a\x1a\x00\x2f", ext(43, "\x04\x2a\x2a\x03\x04"), "t13i010100_"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h hello.Client
			hello.ParseClient(client(c.suites, c.extensions), &h)
			assert.False(t, h.Malformed)
			assert.Truef(t, strings.HasPrefix(h.JA4(hello.TCP), c.want), "%s", h.JA4(hello.TCP))
			assert.Len(t, h.JA4(hello.TCP), 36)
		})
	}
}

func TestHellosThatEndEarlyAreMalformedAndGiveWhatCameBefore(t *testing.T) {
	whole := client("\x00\x2f", ext(0, "\x00\x04\x00\x00\x01a")+alpn("h2"))
	for n := range whole {
		var h hello.Client
		hello.ParseClient(whole[:n], &h)
		withoutExtensions := n == len(client("\x00\x2f", ""))
		assert.Equal(t, !withoutExtensions, h.Malformed, "%d octets", n)
	}
	var h hello.Client
	hello.ParseClient(append(whole, 'x'), &h)
	assert.True(t, h.Malformed, "octets after the extensions")
	assert.Equal(t, "a", string(h.ServerName))
	assert.Equal(t, [][]byte{[]byte("h2")}, h.Protocols)
}

// spoken is the body of the ClientHello that crypto/tls says.
func spoken(t testing.TB) []byte {
	t.Helper()
	c, s := net.Pipe()
	go func() {
		ctls.Client(c, &ctls.Config{ServerName: "bank.example", NextProtos: []string{"h2"}}).Handshake()
	}()
	record := make([]byte, 1<<14)
	n, err := s.Read(record)
	require.NoError(t, err)
	s.Close()
	return record[9:n]
}

func TestReadingAllocatesNothing(t *testing.T) {
	body := spoken(t)
	var h hello.Client
	var s hello.Server
	var text [4096]byte
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		hello.ParseClient(body, &h)
		hello.ParseServer(body, &s)
		h.AppendJA4(text[:0], hello.TCP)
		h.AppendJA3(text[:0])
	}))
	assert.Equal(t, "bank.example", string(h.ServerName))
	assert.False(t, h.Malformed)
}

func FuzzHellos(f *testing.F) {
	f.Add(spoken(f))
	f.Add(client("\x00\x2f", alpn("h2")+ext(10, "\x00\x02\x00\x1d")+ext(11, "\x01\x00")+ext(13, "\x00\x02\x04\x03")+ext(35, "t")))
	f.Add([]byte("\x01\x03\x01\x00\x03\x00\x00\x00\x10\x00\x00\x2f0123456789abcdef"))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		var c hello.Client
		hello.ParseClient(body, &c)
		assert.LessOrEqual(t, 2*len(c.Suites)+4*len(c.Extensions)+len(c.SessionID), len(body))
		assert.Len(t, c.JA4(hello.TCP), 36)
		assert.Len(t, c.JA3(), 32)
		again := c
		hello.ParseClient(body, &c)
		assert.Equal(t, again.JA4(hello.QUIC), c.JA4(hello.QUIC))
		hello.ParseSSLv2(body, &c)
		assert.Empty(t, c.JA4(hello.TCP)+c.JA3())
		var s hello.Server
		hello.ParseServer(body, &s)
		var e hello.Encrypted
		hello.ParseEncrypted(body, &e)
		assert.Equal(t, before, body)
	})
}
