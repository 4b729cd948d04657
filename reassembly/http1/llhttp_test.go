package http1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/http1"
)

// vector is an input of llhttp's own tests and what its callbacks said.
type vector struct {
	Name     string
	Type     string // request or response, and options of llhttp
	Input    []byte `json:"input_b64"`
	Log      []string
	Begun    int      `json:"messages_begun"`
	Complete int      `json:"messages_complete"`
	Error    []string // code and reason; nil if none
	Method   string   `json:"last_method"`
	URLs     string   // all of them, joined
	Headers  [][2]string
	Body     string // joined, line ends left out
}

var offset = regexp.MustCompile(`^off=(\d+) `)

// input is the whole input: where it ends with empty lines they were lost from
// the file, but the log has their offsets.
func (v *vector) input() string {
	end := 0
	for _, line := range v.Log {
		if m := offset.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			end = max(end, n)
		}
	}
	input := string(v.Input)
	for len(input) < end {
		input += "\r\n"
	}
	if v.Error == nil && strings.Count(strings.Join(v.Log, "\n"), " headers complete") < v.Begun {
		input += "\r\n\r\n" // a head that does not end is no message to us
	}
	return input
}

// refused reports whether llhttp takes the input for wrong. That it pauses after
// a request for another protocol is no fault of the input, nor are trailing data.
func (v *vector) refused() bool {
	return v.Error != nil && !strings.HasPrefix(v.Error[1], "Pause on")
}

// llhttpArgued are vectors that are read otherwise, each with the reason.
var llhttpArgued = map[string]string{
	"request.content-length: Content-Length reset when no body is received":                            "its caller says that there is no body",
	"response.content-length: Content-Length reset when no body is received":                           "its caller says that there is no body",
	"request.content-length: Missing CRLF-CRLF before body (lenient)":                                  bareCR,
	"request.lenient-headers: Empty headers separated by CR (lenient)":                                 bareCR,
	"request.sample: No LF after CR (lenient)":                                                         bareCR,
	"response.invalid: Bare CR after response line (lenient)":                                          bareCR,
	"request.finish: It should be unsafe to finish inside of the header":                               "part of a field name is no field",
	"request.invalid: Only LFs present (lenient)":                                                      trailers,
	"request.transfer-encoding: Trailing headers":                                                      trailers,
	"request.method: CONNECT with body":                                                                "the octets that Content-Length announces are no part of the tunnel",
	"request.method: SOURCE request with ICE":                                                          otherProtocol,
	"request.method: OPTIONS request with RTSP":                                                        otherProtocol,
	"request.method: ANNOUNCE request with RTSP":                                                       otherProtocol,
	"request.transfer-encoding: POST with `Transfer-Encoding` and `Content-Length` (lenient)":          unknownCoding,
	"request.transfer-encoding: POST with `chunked` before other transfer-coding (lenient)":            unknownCoding,
	"request.transfer-encoding: POST with `chunked` and duplicate transfer-encoding (lenient)":         unknownCoding,
	"request.transfer-encoding: Chunk header not terminated by CRLF (lenient)":                         "a chunk-size line ends with LF",
	"response.transfer-encoding: `chunkedchunked` transfer-encoding does not enable chunked enconding": evidence,
	"response.transfer-encoding: Invalid OBS fold after chunked value":                                 evidence,
}

const (
	bareCR        = "a CR alone is an anomaly and ends no line"
	trailers      = "fields of a trailer section are skipped"
	otherProtocol = "ICE and RTSP are no HTTP"
	unknownCoding = "a request whose last transfer coding is not chunked has the body that Content-Length says, or none"
	evidence      = "where the head of a response is odd, that the body consists of chunks decides"
)

func TestLLHTTPVectors(t *testing.T) {
	files, err := filepath.Glob("../../../shared/corpora/llhttp/*/vectors.json")
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("the corpora are not beside the project")
	}
	vectors, refused, argued := 0, 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var list []*vector
		require.NoError(t, json.Unmarshal(text, &list))
		group := filepath.Base(filepath.Dir(file))
		for _, v := range list {
			vectors++
			id := group + ": " + v.Name
			if llhttpArgued[id] != "" {
				argued++
				continue
			}
			t.Run(id, func(t *testing.T) {
				if v.refused() {
					refused++
					requireFlagged(t, v)
					return
				}
				requireRead(t, v)
			})
		}
	}
	fmt.Printf("llhttp: %d vectors, %d of them with an error, %d read otherwise for a reason\n", vectors, refused, argued)
}

// readVector reads an input whole, as the one direction of a connection that
// then ends, and says whether anything was irregular.
func readVector(v *vector, input string) (messages []got, flagged bool) {
	var p http1.Parser
	r, b := http1.NewReader(1<<20), &budget{limit: 1 << 24}
	if strings.HasPrefix(v.Type, "response") {
		p.Answer()
	}
	in := &http1.Input{Data: []byte(input)}
	messages = pump(&p, r, b, in)
	p.Finish(r, b, true)
	messages = append(messages, pump(&p, r, b, &http1.Input{})...)
	for _, m := range messages {
		flagged = flagged || m.anomalies != "" || m.broken
	}
	return messages, flagged || r.Stats.LostSync > 0 || r.Stats.HeadsLost > 0
}

// requireFlagged: what is wrong is an anomaly of the message, or no message.
func requireFlagged(t *testing.T, v *vector) {
	messages, flagged := readVector(v, v.input())
	if !flagged {
		_, flagged = readVector(v, v.input()+"\r\n\r\n") // it ends before the head does
	}
	assert.True(t, flagged, "%s: nothing was flagged in %q: %+v", v.Error[1], v.input(), messages)
}

func requireRead(t *testing.T, v *vector) {
	messages, _ := readVector(v, v.input())
	var urls, body, methods, fields, want string
	complete := 0
	for _, m := range messages {
		if method, url, ok := strings.Cut(m.start, " "); ok {
			urls, methods = urls+url, methods+method
		}
		body += m.body
		fields += m.fields
		if !m.broken {
			complete++
		}
	}
	for _, h := range v.Headers {
		want += h[0] + "=" + h[1] + ";"
	}
	joined := strings.NewReplacer("\r", "", "\n", "", `\r`, "", `\n`, "", `\`, "").Replace
	assert.Equal(t, v.URLs, urls, "URLs of %q", v.input())
	assert.Equal(t, unblank(want), unblank(fields), "header fields of %q", v.input())
	assert.Equal(t, joined(v.Body), joined(body), "bodies of %q", v.input())
	assert.GreaterOrEqual(t, complete, v.Complete, "messages of %q", v.input())
	if methods != "" {
		assert.Equal(t, v.Method, methods, "methods of %q", v.input())
	}
}

// unblank leaves out blanks: llhttp leaves some at the ends of lines, and its log
// writes others as escapes.
func unblank(s string) string {
	return strings.Join(strings.Fields(strings.NewReplacer(`\t`, " ", `\f`, " ").Replace(s)), "")
}
