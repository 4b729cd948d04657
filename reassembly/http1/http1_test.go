package http1_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/http1"
	"offpath/reassembly/tcp"
)

// budget is a Budget of limited octets.
type budget struct{ limit, used, peak int }

func (b *budget) Take(n int) bool {
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	b.peak = max(b.peak, b.used)
	return true
}

func (b *budget) Give(n int) { b.used -= n }

// got is a message that was read.
type got struct {
	start     string // method and target, or status
	fields    string
	body      string
	bytes     int64
	whole     bool
	broken    bool
	anomalies string
}

// read feeds segments to a parser and returns the messages that end in them.
func read(p *http1.Parser, r *http1.Reader, b http1.Budget, segments ...string) (messages []got) {
	for _, s := range segments {
		messages = append(messages, pump(p, r, b, &http1.Input{Data: []byte(s)})...)
	}
	return messages
}

func pump(p *http1.Parser, r *http1.Reader, b http1.Budget, in *http1.Input) (messages []got) {
	for {
		switch p.Read(r, b, in) {
		case http1.More:
			return messages
		case http1.End:
			m := got{
				body: string(r.Body.Prefix), bytes: r.Body.Bytes, whole: r.Body.Whole, broken: p.Broken(),
				anomalies: strings.Join(p.Anomalies().Names(), ","),
			}
			if m.start = fmt.Sprintf("%s %s", r.Head.Method, r.Head.Target); r.Head.Status != 0 {
				m.start = fmt.Sprint(r.Head.Status)
			}
			for _, f := range r.Head.Fields {
				m.fields += fmt.Sprintf("%s=%s;", f.Name, f.Value)
			}
			messages = append(messages, m)
		}
	}
}

func TestRequests(t *testing.T) {
	long := strings.Repeat("x", 70<<10)
	const next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
	after := got{start: "GET /next", fields: "Host=h;", whole: true}
	for _, test := range []struct {
		name string
		in   string
		want []got
	}{
		{"a simple request", "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n", []got{{start: "GET /a?b", fields: "Host=h;", whole: true}}},
		{"lines that end in LF alone", "GET / HTTP/1.1\nHost: h\n\n", []got{{start: "GET /", fields: "Host=h;", whole: true, anomalies: "bare_lf"}}},
		{"empty lines before a request", "\r\n\r\nGET / HTTP/1.0\r\n\r\n", []got{{start: "GET /", whole: true}}},
		{"obsolete line folding is joined", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\tc\r\n\r\n",
			[]got{{start: "GET /", fields: "Host=h;X=a b c;", whole: true, anomalies: "obs_fold"}}},
		{"a folded Transfer-Encoding counts", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
			[]got{{start: "POST /", fields: "Host=h;Transfer-Encoding=chunked;", body: "x", bytes: 1, whole: true, anomalies: "obs_fold"}}},
		{"a space before the colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", []got{{start: "GET /", fields: "Host=h;", whole: true, anomalies: "space_before_colon"}}},
		{"a line that is no field", "GET / HTTP/1.1\r\nHost: h\r\nrubbish\r\n\r\n", []got{{start: "GET /", fields: "Host=h;", whole: true, anomalies: "invalid_header"}}},
		{"NUL and bare CR in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\rc\r\n\r\n",
			[]got{{start: "GET /", fields: "Host=h;X=a\x00b\rc;", whole: true, anomalies: "bare_cr,nul_in_head"}}},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", []got{{start: "GET /", whole: true, anomalies: "missing_host"}}},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", []got{{start: "GET /", fields: "Host=a;Host=b;", whole: true, anomalies: "duplicate_host"}}},
		{"a target with spaces", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", []got{{start: "GET /a b", fields: "Host=h;", whole: true, anomalies: "invalid_request_line"}}},
		{"HTTP/0.9", "GET /old\r\n", []got{{start: "GET /old", whole: true}}},
		{"equal Content-Lengths are one", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\nContent-Length: 3\r\n\r\nabc",
			[]got{{start: "POST /", fields: "Host=h;Content-Length=3, 3;Content-Length=3;", body: "abc", bytes: 3, whole: true}}},
		{"of differing Content-Lengths the first counts", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
			[]got{{start: "POST /", fields: "Host=h;Content-Length=3;Content-Length=5;", body: "abc", bytes: 3, whole: true, anomalies: "conflicting_content_length"}}},
		{"a Content-Length that is no number", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
			[]got{{start: "POST /", fields: "Host=h;Content-Length=-1;", whole: true, anomalies: "invalid_content_length"}}},
		{"chunked wins over Content-Length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
			[]got{{start: "POST /", fields: "Host=h;Content-Length=3;Transfer-Encoding=chunked;", body: "ab", bytes: 2, whole: true, anomalies: "content_length_and_chunked"}}},
		{"an unknown transfer coding", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: xchunked\r\n\r\nab",
			[]got{{start: "POST /", fields: "Host=h;Content-Length=2;Transfer-Encoding=xchunked;", body: "ab", bytes: 2, whole: true, anomalies: "content_length_and_chunked,unknown_transfer_coding"}}},
		{"chunks with extensions and trailers", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0A;q=\"x\"\r\n0123456789\r\n1 ;y\r\n!\r\n00\r\nT: v\r\n\r\n",
			[]got{{start: "POST /", fields: "Host=h;Transfer-Encoding=gzip, chunked;", body: "0123456789!", bytes: 11, whole: true}}},
		{"a chunk size that overflows", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\nx",
			[]got{{start: "POST /", fields: "Host=h;Transfer-Encoding=chunked;", broken: true, anomalies: "chunk_size_overflow"}}},
		{"a chunk that does not end where it should", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
			[]got{{start: "POST /", fields: "Host=h;Transfer-Encoding=chunked;", body: "x", bytes: 1, broken: true, anomalies: "invalid_chunk"}}},
		{"a head beyond the limit is read up to it, and passed over", "GET / HTTP/1.1\r\nHost: h\r\nX: " + long + "\r\nY: z\r\n\r\n" + next,
			[]got{{start: "GET /", fields: "Host=h;", whole: true, anomalies: "head_too_large"}, after}},
		{"a field of many octets right behind the request line", "GET / HTTP/1.1\r\nX: " + long + "\nHost: h\n\n" + next,
			[]got{{start: "GET /", whole: true, anomalies: "head_too_large"}, after}},
		{"no Host in a head beyond the limit", "GET / HTTP/1.1\r\nX: " + long + "\r\n\r\n" + next,
			[]got{{start: "GET /", whole: true, anomalies: "missing_host,head_too_large"}, after}},
		{"Content-Length beyond the limit of a head", "POST / HTTP/1.1\r\nHost: h\r\nX: " + long + "\r\ncontent-length : 3\r\n\r\nabc" + next,
			[]got{{start: "POST /", fields: "Host=h;", body: "abc", bytes: 3, whole: true, anomalies: "head_too_large"}, after}},
		{"Content-Length on both sides of the limit", "POST / HTTP/1.1\r\nContent-Length: 3\r\nHost: h\r\nX: " + long + "\r\nContent-Length: 5\r\n\r\nabc" + next,
			[]got{{start: "POST /", fields: "Content-Length=3;Host=h;", body: "abc", bytes: 3, whole: true, anomalies: "conflicting_content_length,head_too_large"}, after}},
		{"folded Transfer-Encoding beyond the limit of a head", "POST / HTTP/1.1\r\nHost: h\r\nX: " + long + "\r\nTransfer-Encoding:\r\n chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" + next,
			[]got{{start: "POST /", fields: "Host=h;", body: "a", bytes: 1, whole: true, anomalies: "obs_fold,head_too_large"}, after}},
		{"Transfer-Encoding that goes on beyond the limit of a head", "POST / HTTP/1.1\r\nHost: h\r\nX: " + long[:http1.MaxHead-51] + "\r\nTransfer-Encoding:\r\n chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" + next,
			[]got{{start: "POST /", fields: "Host=h;X=" + long[:http1.MaxHead-51] + ";", body: "a", bytes: 1, whole: true, anomalies: "obs_fold,head_too_large"}, after}},
		{"a request line beyond the limit is cut", "POST /" + long + " HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\n" + next + strings.Repeat("x", 40-len(next)) + next,
			[]got{{start: "POST /" + long[:16<<10-len("POST /")], fields: "Host=h;Content-Length=40;", body: next + strings.Repeat("x", 40-len(next)), bytes: 40, whole: true, anomalies: "head_too_large"}, after}},
		{"a line beyond the limit that is no request line", "POST /" + long + "\r\n" + next, nil},
		{"a body beyond the limit is counted", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n" + long[:2000],
			[]got{{start: "POST /", fields: "Host=h;Content-Length=2000;", body: long[:1000], bytes: 2000}}},
		{"two requests in a row", "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
			[]got{{start: "GET /a", fields: "Host=h;", whole: true}, {start: "GET /b", fields: "Host=h;", whole: true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 1460, 7, 1} {
				var p http1.Parser
				r, b := http1.NewReader(1000), &budget{limit: 1 << 20}
				var segments []string
				for rest := test.in; len(rest) > 0; {
					n := min(size, len(rest))
					segments, rest = append(segments, rest[:n]), rest[n:]
				}
				assert.Equal(t, test.want, read(&p, r, b, segments...), "segments of %d octets", size)
				p.Close(r, b)
				assert.Zero(t, b.used, "budget")
			}
		})
	}
}

func TestTooManyFieldsAreKeptUpToTheLimitAndFramingIsReadOn(t *testing.T) {
	var p http1.Parser
	r := http1.NewReader(1000)
	messages := read(&p, r, &budget{limit: 1 << 20},
		"POST / HTTP/1.1\r\nHost: h\r\n"+strings.Repeat("X: y\r\n", 300)+"Content-Length: 2\r\n\r\nab")
	require.Len(t, messages, 1)
	assert.Equal(t, http1.MaxFields, strings.Count(messages[0].fields, ";"))
	assert.Equal(t, "ab", messages[0].body)
	assert.Equal(t, "too_many_headers", messages[0].anomalies)
}

func TestWithoutRoomHeadsAreGivenUpAndBodiesCutShort(t *testing.T) {
	var p http1.Parser
	r, b := http1.NewReader(1000), &budget{limit: 100}
	messages := read(&p, r, b, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 300\r\n\r\n", strings.Repeat("x", 300))
	require.Len(t, messages, 1)
	assert.Empty(t, messages[0].body)
	assert.EqualValues(t, 300, messages[0].bytes)
	assert.False(t, messages[0].whole)
	messages = read(&p, r, b, "GET / HTTP/1.1\r\nX: "+strings.Repeat("x", 90), "y\r\n\r\n", "GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
	require.Len(t, messages, 1)
	assert.Equal(t, "GET /next", messages[0].start)
	assert.EqualValues(t, 1, r.Stats.BudgetAbandoned)
	assert.EqualValues(t, 1, r.Stats.BudgetCut)
	p.Close(r, b)
	assert.Zero(t, b.used)
}

func TestMissingOctets(t *testing.T) {
	next := "GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, test := range []struct {
		name    string
		before  string
		missing int64
		after   []string
		want    []string // start, octets, gap
	}{
		{"inside a body of known length cost themselves", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nab", 3, []string{"fghij", next}, []string{"POST /a 10 3", "GET /next 0 0"}},
		{"that end a body leave the next message readable", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nab", 8, []string{next}, []string{"POST /a 10 8", "GET /next 0 0"}},
		{"beyond a body are searched for the next message", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nab", 20, []string{"rest of a head\r\n\r\n", next}, []string{"POST /a 10 8", "GET /next 0 0"}},
		{"in a head lose its message", "GET /a HTTP/1.1\r\nHo", 3, []string{"h\r\n\r\n", next}, []string{"GET /next 0 0"}},
		{"inside a chunk cost themselves", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na", 4, []string{"\r\n0\r\n\r\n", next}, []string{"POST /a 5 4", "GET /next 0 0"}},
		{"across chunks break the message off", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na", 9, []string{"0\r\n\r\n", next}, []string{"POST /a 5 9", "GET /next 0 0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p http1.Parser
			r, b := http1.NewReader(1000), &budget{limit: 1 << 20}
			var messages []string
			feed := func(in http1.Input) {
				for event := p.Read(r, b, &in); event != http1.More; event = p.Read(r, b, &in) {
					if event == http1.End {
						messages = append(messages, fmt.Sprintf("%s %s %d %d", r.Head.Method, r.Head.Target, r.Body.Bytes, p.Gap()))
					}
				}
			}
			feed(http1.Input{Data: []byte(test.before)})
			p.Missing(r, b, test.missing)
			feed(http1.Input{})
			for _, s := range test.after {
				feed(http1.Input{Data: []byte(s)})
			}
			assert.Equal(t, test.want, messages)
		})
	}
}

func TestRecognise(t *testing.T) {
	for _, test := range []struct {
		in   string
		want http1.Likeness
	}{
		{"GET / HTTP/1.1\r\n", http1.Request},
		{"X-CUSTOM /p HTTP/1.0\n", http1.Request},
		{"GET /old\r\n", http1.Request},
		{"GE", http1.Undecided},
		{"POST /long", http1.Undecided},
		{"HTTP/1.1 200 OK\r\n", http1.Response},
		{"HTTP/1.0 404", http1.Response},
		{"HTTP", http1.Undecided},
		{"HTTP/1.1 20x", http1.Response},
		{"http/1.0 200 OK", http1.Response},
		{"HTTQ/1.1 200 OK", http1.Unlike},
		{"INVITE sip:a@b SIP/2.0\r\n", http1.Unlike},
		{"EHLO me\r\n", http1.Unlike},
		{"SSH-2.0-OpenSSH\r\n", http1.Unlike},
		{"\x16\x03\x01\x00\xc8\x01", http1.TLS},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", http1.HTTP2},
		{"\x00\x00", http1.Unlike},
	} {
		assert.Equal(t, test.want, http1.Recognise([]byte(test.in)), "%q", test.in)
	}
}

// coded reports whether Transfer-Encoding is there, which net/http overlooks in
// HTTP/1.0 messages (RFC 9112 section 6.1 calls their framing faulty).
func coded(data []byte) bool {
	return bytes.Contains(bytes.ToLower(data), []byte("transfer-encoding"))
}

// token is what a field name must be (RFC 9110 section 5.6.2).
var token = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

// FuzzRequest: what net/http reads as a request, the parser reads as the same;
// of anything else it makes something within its bounds.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("POST /a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"), uint8(9))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\nT: v\r\n\r\n"), uint8(3))
	f.Add([]byte("GET http://h/ HTTP/1.0\n\n"), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		var p http1.Parser
		r, b := http1.NewReader(1<<20), &budget{limit: 1 << 22}
		messages := read(&p, r, b, string(data))
		var cut http1.Parser
		b2 := &budget{limit: 100 << 10}
		var segments []string
		for rest := data; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			segments, rest = append(segments, string(rest[:n])), rest[n:]
		}
		inParts := read(&cut, http1.NewReader(1000), b2, segments...)
		cut.Finish(r, b2, false)
		cut.Close(r, b2)
		require.Zero(t, b2.used)

		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil || request.ProtoMajor != 1 || request.ProtoMinor == 0 && coded(data) {
			return
		}
		if len(request.Method) > 32 {
			return // a longer token is taken for another protocol
		}
		for name := range request.Header {
			if !token.MatchString(name) {
				return // net/http's server refuses what its reader let pass
			}
		}
		require.NotEmpty(t, messages, "net/http reads a request")
		m := messages[0]
		require.Equal(t, request.Method+" "+request.RequestURI, m.start)
		if !strings.Contains(m.anomalies, "transfer_coding") {
			require.Equal(t, string(body), m.body)
		}
		require.NotEmpty(t, inParts)
		require.Equal(t, m.start, inParts[0].start)
	})
}

// Heads with these anomalies leave open whether chunks follow, and what begins so
// is taken for chunks.
var (
	odd       = regexp.MustCompile("obs_fold|bare_cr|space_before_colon|invalid_header|nul_in_head|transfer_coding")
	chunkLine = regexp.MustCompile(`^[ \t\r]*[0-9A-Fa-f]{1,16}[ \t\r]*[;\n]`)
)

// FuzzResponse is FuzzRequest for responses to GET.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 404 Not Found\r\n\r\nuntil the end"))
	f.Add([]byte("http/1.10\t2xx\r\nTransfer-Encoding: x\r\n\r\n5\r\nhello\r\n0"))
	f.Add([]byte("HTTP/1.1 200 OK\rX: y\n\n12 o'clock"))
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nA: b\rC: d\rContent-Length: 5\r\n\r\nuntil the end"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding\r\n :\r\n chunked\r\nD\x00: e\r\n\r\n2\r\nab\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 200\n\n0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p http1.Parser
		p.Answer()
		r, b := http1.NewReader(1<<20), &budget{limit: 1 << 22}
		messages := read(&p, r, b, string(data))
		p.Finish(r, b, true)
		messages = append(messages, pump(&p, r, b, &http1.Input{})...)
		p.Close(r, b)
		require.Zero(t, b.used)

		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), nil)
		if err != nil || response.ProtoMajor != 1 || response.StatusCode < 100 || response.ProtoMinor == 0 && coded(data) {
			return
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return
		}
		require.NotEmpty(t, messages, "net/http reads a response")
		require.Equal(t, fmt.Sprint(response.StatusCode), messages[0].start)
		if odd.MatchString(messages[0].anomalies) && chunkLine.Match(body) {
			return // its head may have announced chunks: the body tells
		}
		require.Equal(t, string(body), messages[0].body)
	})
}

func BenchmarkRequest(b *testing.B) {
	data := []byte("POST /api/v1/accounts/00001234/transfers HTTP/1.1\r\nHost: api.bank.example\r\nUser-Agent: BankApp/5.2 (iPhone; iOS 17.1)\r\n" +
		"Accept: application/json\r\nAccept-Language: en-GB\r\nContent-Type: application/json\r\nX-Request-ID: 7f4df6a07f4df6a0\r\n" +
		"Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0\r\nContent-Length: 41\r\nConnection: keep-alive\r\n\r\n" + strings.Repeat("b", 41))
	var p http1.Parser
	r, budget := http1.NewReader(16<<10), &budget{limit: 1 << 20}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		in := http1.Input{Data: data}
		for p.Read(r, budget, &in) != http1.More {
		}
	}
}

func TestReadingAMessageAllocatesNothing(t *testing.T) {
	var p http1.Parser
	r, b := http1.NewReader(16<<10), &budget{limit: 1 << 20}
	whole := []byte("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
	var anomalies reassembly.Anomalies
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		for _, part := range [][]byte{whole, whole[:10], whole[10:45], whole[45:]} {
			in := http1.Input{Data: part}
			for p.Read(r, b, &in) != http1.More {
				anomalies |= p.Anomalies()
			}
		}
	}))
	assert.Zero(t, anomalies)
	assert.EqualValues(t, 2*101, r.Stats.Requests)
}

// What is dropped again while a message goes on is not charged for ever.
func TestLinesInPartsAreChargedWhileTheyAreKept(t *testing.T) {
	fields := strings.Repeat("Content-Length: 3\r\n", 20_000)
	chunks := strings.Repeat("1;ext=0123456789\r\nx\r\n", 20_000)
	lost := strings.Repeat("GET /a HTTP/1.1 \r\nno request\r\n", 5_000)
	for name, test := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"fields beyond the limit of a head": {"POST /a HTTP/1.1\r\nHost: h\r\n" + fields + "\r\nabc", http1.MaxHead + 1<<10, "POST /a"},
		"chunk-size lines":                  {"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + "0\r\n\r\n", 4 << 10, "POST /a"},
		"lines that are searched":           {"no request\r\n" + lost + "GET /b HTTP/1.1\r\nHost: h\r\n\r\n", 4 << 10, "GET /b"},
	} {
		t.Run(name, func(t *testing.T) {
			var p http1.Parser
			r, b := http1.NewReader(1000), &budget{limit: test.limit}
			var messages []got
			ack := uint32(0)
			for rest := test.in; len(rest) > 0; {
				n := min(5, len(rest))
				if strings.HasPrefix(rest, "GET /b") {
					n = len(rest)
				}
				ack++
				messages = append(messages, pump(&p, r, b, &http1.Input{
					Data: []byte(rest[:n]), Position: tcp.Position{Ack: ack, HasAck: true},
				})...)
				rest = rest[n:]
			}
			require.NotEmpty(t, messages)
			last := messages[len(messages)-1]
			assert.Equal(t, test.want, last.start)
			assert.False(t, last.broken)
			assert.Zero(t, r.Stats.BudgetAbandoned)
			p.Close(r, b)
			assert.Zero(t, b.used)
		})
	}
}
