package http1_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/reassembly/http1"
)

// taught returns a Reader that knows the shape of a head, and the parser that
// read it last.
func taught(b http1.Budget, head string) (*http1.Reader, *http1.Parser) {
	r, p := http1.NewReader(1<<20), new(http1.Parser)
	for range 3 {
		p = new(http1.Parser)
		read(p, r, b, head)
	}
	return r, p
}

// sameAsUntaught reads text after a head whose shape is known, on the connection
// of that head and on another, and requires what a new Reader makes of it.
func sameAsUntaught(t *testing.T, head, text string) {
	t.Helper()
	b := &budget{limit: 1 << 22}
	var untaught http1.Parser
	want := read(&untaught, http1.NewReader(1<<20), b, text)
	r, p := taught(b, head)
	if p.Idle() {
		require.Equal(t, want, read(p, r, b, text), "on the same connection")
	}
	require.Equal(t, want, read(new(http1.Parser), r, b, text), "on another connection")
}

const regular = "GET /first HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n"

func TestAHeadOfAKnownShapeReadsAsAnyOther(t *testing.T) {
	for name, text := range map[string]string{
		"the same head":                  regular,
		"other values":                   "POST /second HTTP/1.1\r\nHost: other\r\nAccept:text/html \t\r\nContent-Length:  4\r\n\r\nbody",
		"empty values":                   "GET / HTTP/1.1\r\nHost:\r\nAccept: \r\nContent-Length: 0\r\n\r\n",
		"names in another case":          "GET / HTTP/1.1\r\nhost: h\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n",
		"one field more":                 "GET / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nContent-Length: 0\r\nX: y\r\n\r\n",
		"one field less":                 "GET / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n",
		"a folded value":                 "GET / HTTP/1.1\r\nHost: h\r\nAccept: a,\r\n b\r\nContent-Length: 0\r\n\r\n",
		"a folded last value":            "GET / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nContent-Length: 0\r\n 1\r\n\r\n",
		"a line without CR":              "GET / HTTP/1.1\r\nHost: h\nAccept: */*\r\nContent-Length: 0\r\n\r\n",
		"an end without CR":              "GET / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nContent-Length: 0\r\n\n",
		"a CR inside a value":            "GET / HTTP/1.1\r\nHost: h\r\nAccept: a\rb\r\nContent-Length: 0\r\n\r\n",
		"a NUL inside a value":           "GET / HTTP/1.1\r\nHost: h\r\nAccept: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"a space before a colon":         "GET / HTTP/1.1\r\nHost : h\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n",
		"a Content-Length that is none":  "GET / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nContent-Length: x\r\n\r\n",
		"HTTP/1.0":                       "GET / HTTP/1.0\r\nHost: h\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n",
		"a request line without version": "GET /\r\nHost: h\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n",
		"two in one segment":             regular + regular,
		"a head that is not whole":       regular[:len(regular)-1],
	} {
		t.Run(name, func(t *testing.T) { sameAsUntaught(t, regular, text) })
	}
}

// FuzzShape: what was read before has no say in what is read.
func FuzzShape(f *testing.F) {
	f.Add([]byte(regular), []byte(regular))
	f.Add([]byte(regular), []byte("GET / HTTP/1.1\r\nHost: h\r\nAccept: a,\r\n b\r\nContent-Length: 0\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nUpgrade: x\r\n\r\n0\r\n\r\n"), []byte("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nUpgrade: x\r\n\r\n1\r\na\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, head, text []byte) { sameAsUntaught(t, string(head), string(text)) })
}
