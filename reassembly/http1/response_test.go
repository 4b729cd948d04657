package http1_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly/http1"
)

// TestResponses feeds one response, and then the end of the connection.
func TestResponses(t *testing.T) {
	const (
		chunks    = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
		text      = "hello world"
		head      = "HTTP/1.1 200 OK\r\n"
		invalid   = "invalid_status_line"
		unchunked = "unknown_transfer_coding"
	)
	for _, test := range []struct {
		name, in, start, body, anomalies string
	}{
		{"chunks", head + "Transfer-Encoding: chunked\r\n\r\n" + chunks, "200", text, ""},
		{"a status line with a version of two digits", "HTTP/1.10 404 no\r\nContent-Length: 11\r\n\r\n" + text, "404", text, invalid},
		{"a status line of HTTP/2", "HTTP/2.0 403 no\r\nContent-Length: 11\r\n\r\n" + text, "403", text, invalid},
		{"the protocol's name in lower case", "http/1.1 404 no\r\nContent-Length: 11\r\n\r\n" + text, "404", text, invalid},
		{"a tab before the status", "HTTP/1.1\t 404 no\r\nContent-Length: 11\r\n\r\n" + text, "404", text, invalid},
		{"a status line without a status", "HTTP/1.1\r\nContent-Length: 11\r\n\r\n" + text, "200", text, invalid},
		{"a status of four digits", "HTTP/1.1 2040 ok\r\nContent-Length: 11\r\n\r\n" + text, "200", text, invalid},
		{"a status that begins with 0", "HTTP/1.1 020 ok\r\nContent-Length: 11\r\n\r\n" + text, "200", text, invalid},
		{"a status with letters", "HTTP/1.1 2xx ok\r\nContent-Length: 11\r\n\r\n" + text, "200", text, invalid},
		{"chunks under another name are chunks", head + "Transfer-Encoding: chunkedx\r\n\r\n" + chunks, "200", text, unchunked},
		{"an unknown coding of what is no chunk", head + "Transfer-Encoding: x\r\n\r\n" + text, "200", text, unchunked},
		{"an unknown coding and a length", head + "Transfer-Encoding: x\r\nContent-Length: 11\r\n\r\n" + text, "200", text, "content_length_and_chunked,unknown_transfer_coding"},
		{"chunks beside a length", head + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, "200", text, "content_length_and_chunked"},
		{"no chunks beside a length", head + "Content-Length: 11\r\nTransfer-Encoding: chunked\r\n\r\n" + text, "200", text, "content_length_and_chunked"},
		{"chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, "200", text, ""},
		{"no chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + text, "200", text, ""},
		{"the field that announces chunks is folded into another", head + "X: y\r\n Transfer-Encoding: chunked\r\n\r\n" + chunks, "200", text, "obs_fold"},
		{"the field that announces chunks stands behind a CR", head + "X: y\rTransfer-Encoding: chunked\r\n\r\n" + chunks, "200", text, "bare_cr"},
		{"lines that end in CR alone", "HTTP/1.1 200 OK\rTransfer-Encoding: chunked\r\n\n" + chunks, "200", text, "bare_lf,bare_cr"},
		{"a status line without a blank at its end and a body that looks like chunks", "HTTP/1.0 200\r\n\r\n0\r\n\r\n", "200", "0\r\n\r\n", invalid},
		{"a number that is no chunk size", head + "Transfer-Encoding: x\r\n\r\n12 o'clock", "200", "12 o'clock", unchunked},
		{"digits alone", head + "Transfer-Encoding: x\r\n\r\n123", "200", "123", unchunked},
		{"digits and a CR that no LF follows", head + "X : y\r\n\r\n2\r", "200", "2\r", "space_before_colon"},
		{"digits and a CR within a line", head + "X : y\r\n\r\n2\rx", "200", "2\rx", "space_before_colon"},
		{"many digits", head + "Transfer-Encoding: x\r\n\r\n1234567890123456789012345678901234567890", "200", "1234567890123456789012345678901234567890", unchunked},
		{"a length of 0 and nothing that follows", head + "Transfer-Encoding: x\r\nContent-Length: 0\r\n\r\n", "200", "", "content_length_and_chunked,unknown_transfer_coding"},
		{"junk around chunk sizes", head + "Transfer-Encoding: chunked\r\n\r\n\r 5\x00\r\nhello\r\n6\r\r\n world\r\n0x\r\n\r\n", "200", text, "invalid_chunk"},
		{"no empty line behind the last chunk", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "200", "hello", "invalid_chunk"},
		{"no line end behind the last chunk", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0", "200", "hello", "invalid_chunk"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 20, 7, 1} {
				var p http1.Parser
				p.Answer()
				r, b := http1.NewReader(1000), &budget{limit: 1 << 20}
				var messages []got
				for rest := test.in; len(rest) > 0; {
					n := min(size, len(rest))
					messages = append(messages, read(&p, r, b, rest[:n])...)
					rest = rest[n:]
				}
				p.Finish(r, b, true)
				messages = append(messages, pump(&p, r, b, &http1.Input{})...)
				if assert.Len(t, messages, 1, "segments of %d octets", size) {
					m := messages[0]
					assert.Equal(t, []any{test.start, test.body, int64(len(test.body)), true, false, test.anomalies},
						[]any{m.start, m.body, m.bytes, m.whole, m.broken, m.anomalies}, "segments of %d octets", size)
				}
				p.Close(r, b)
				assert.Zero(t, b.used, "budget")
			}
		})
	}
}

// TestBrokenFieldNames: what lenient clients take for a field is one of a response,
// never of a request.
func TestBrokenFieldNames(t *testing.T) {
	for _, test := range []struct {
		name, lines, response, request string
		anomalies                      string
	}{
		{"a CR alone begins a field of a response", "A: b\rC: d\r\nE: f\r\n", "A=b;C=d;E=f;", "A=b\rC: d;E=f;", "bare_cr"},
		{"each of several CRs", "A: b\rC:d\rE:\r\n", "A=b;C=d;E=;", "A=b\rC:d\rE:;", "bare_cr"},
		{"a CR that no name follows belongs to the value", "A: b\rc d: e\r\n", "A=b\rc d: e;", "A=b\rc d: e;", "bare_cr"},
		{"a CR that a name follows behind one that none does", "A: b\rc\rD: e\r\n", "A=b\rc;D=e;", "A=b\rc\rD: e;", "bare_cr"},
		{"a NUL behind a name is no part of a response's", "A\x00: b\r\n", "A=b;", "A\x00=b;", "invalid_header,nul_in_head"},
		{"a NUL within a name is part of it", "A\x00B: c\r\n", "A\x00B=c;", "A\x00B=c;", "invalid_header,nul_in_head"},
		{"a response's colon may come on the next line", "A: b\r\nC\r\n :\r\n d\r\n", "A=b;C=d;", "A=b : d;", "obs_fold,invalid_header"},
		{"its value as well", "A: b\r\nC\r\n\t: d\r\n", "A=b;C=d;", "A=b : d;", "obs_fold,invalid_header"},
		{"a name whose next line has no colon is none", "A: b\r\nC\r\n d\r\n :e\r\n", "A=b d :e;", "A=b d :e;", "obs_fold,invalid_header"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 7, 1} {
				for _, side := range []struct{ line, fields string }{
					{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "Content-Length=0;" + test.response},
					{"GET / HTTP/1.0\r\nHost: h\r\n", "Host=h;" + test.request},
				} {
					var p http1.Parser
					if side.line[0] == 'H' {
						p.Answer()
					}
					r, b := http1.NewReader(1000), &budget{limit: 1 << 20}
					var messages []got
					for rest := side.line + test.lines + "\r\n"; len(rest) > 0; rest = rest[min(size, len(rest)):] {
						messages = append(messages, read(&p, r, b, rest[:min(size, len(rest))])...)
					}
					if assert.Len(t, messages, 1) {
						assert.Equal(t, side.fields, messages[0].fields)
						assert.Equal(t, test.anomalies, messages[0].anomalies)
					}
				}
			}
		})
	}
}

// TestMissingOctetsOfDoubtfulBodies: what is missing can't tell how a body is
// delimited, so its head decides.
func TestMissingOctetsOfDoubtfulBodies(t *testing.T) {
	for _, test := range []struct {
		name, in string
		missing  int64
		after    string
		bytes    int64
		broken   bool
	}{
		{"a length counts", "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\nContent-Length: 10\r\n\r\n", 4, "456789", 10, false},
		{"chunks can't be followed", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 4, "456789", 0, true},
		{"no length goes on to the end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n", 4, "456789", 10, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p http1.Parser
			p.Answer()
			r, b := http1.NewReader(1000), &budget{limit: 1 << 20}
			messages := read(&p, r, b, test.in)
			p.Missing(r, b, test.missing)
			messages = append(messages, read(&p, r, b, "", test.after)...)
			p.Finish(r, b, true)
			messages = append(messages, pump(&p, r, b, &http1.Input{})...)
			if assert.Len(t, messages, 1) {
				assert.Equal(t, test.bytes, messages[0].bytes)
				assert.Equal(t, test.broken, messages[0].broken)
			}
		})
	}
}
