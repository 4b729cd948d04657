package content

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

var testKey = []byte("0123456789abcdef")

func newExtractor(tb testing.TB, change func(*Config)) *Extractor {
	tb.Helper()
	c := Config{Key: testKey}
	if change != nil {
		change(&c)
	}
	e, err := New(c)
	require.NoError(tb, err)
	return e
}

// shapes are those of the heads that the tests of this package parse, as a
// parser knows them.
var shapes = message.NewShapes(nil)

// parse makes a head and body of text with one line each for start line and
// fields, a blank line, and the body.
func parse(text string) (*message.Head, message.Body) {
	top, content, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(top, "\n")
	h := &message.Head{Version: "1.1"}
	start := strings.SplitN(lines[0], " ", 3)
	if strings.HasPrefix(start[0], "HTTP/") {
		for _, c := range start[1] {
			h.Status = h.Status*10 + int(c-'0')
		}
	} else {
		h.Method, h.Target = []byte(start[0]), []byte(start[1])
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		h.Fields = append(h.Fields, message.Field{Name: []byte(name), Value: []byte(strings.TrimSpace(value))})
	}
	h.Shape = shapes.Find(h.Fields)
	return h, message.Body{Prefix: []byte(content), Bytes: int64(len(content)), Whole: true}
}

func request(e *Extractor, text string) *reassembly.Transaction {
	tx := &reassembly.Transaction{Source: netip.MustParseAddrPort("10.0.0.1:40000")}
	head, body := parse(text)
	e.Request(tx, head, body)
	return tx
}

func response(e *Extractor, text string) *reassembly.Transaction {
	tx := &reassembly.Transaction{}
	head, body := parse(text)
	e.Response(tx, head, body)
	return tx
}
