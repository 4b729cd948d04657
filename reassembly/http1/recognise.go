package http1

import "bytes"

// Likeness is what octets look like.
type Likeness uint8

// What the first octets of a direction, or of a segment, look like.
const (
	Unlike    Likeness = iota // no HTTP/1 message begins so
	Undecided                 // one may, if more octets follow suit
	Request                   // a request line
	Response                  // a status line
	HTTP2                     // the client's preface of HTTP/2 (RFC 9113 section 3.4)
	TLS                       // a TLS record with a handshake (RFC 8446 section 5.1)
)

// Bounds of what is looked at to tell a start line.
const (
	maxMethod    = 32      // octets of a method
	maxStartLine = MaxHead // octets of a start line that came in part: servers take long ones
)

// Preface is the head that the client's preface of HTTP/2 begins with (RFC 9113 section
// 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\n"

var http2Preface = []byte(Preface[:len(Preface)-2])

// afterLineEnds is what follows the line ends that data begins with: before a
// start line they are passed over (RFC 9112 section 2.2).
func afterLineEnds(data []byte) []byte {
	for len(data) > 0 && (data[0] == '\r' || data[0] == '\n') {
		data = data[1:]
	}
	return data
}

// Recognise says what begins with data, whatever the port. It reads no further
// than the first line, and settles most protocols by their first octets.
func Recognise(data []byte) Likeness {
	if rest := afterLineEnds(data); len(rest) < len(data) {
		if like := Recognise(rest); like < HTTP2 {
			return like
		}
		return Unlike
	}
	if len(data) == 0 {
		return Undecided
	}
	if data[0] == 0x16 && (len(data) < 2 || data[1] == 3) {
		return TLS
	}
	if data[0]|0x20 == 'h' && likeResponse(data) {
		if len(data) < len(protocol) {
			return Undecided
		}
		return Response
	}
	return recogniseRequest(data)
}

var protocol = []byte("HTTP/")

// likeResponse reports whether data begins as a status line, or may: where one is
// due, clients take any line with the protocol's name for it.
func likeResponse(data []byte) bool {
	n := min(len(data), len(protocol))
	return bytes.EqualFold(data[:n], protocol[:n])
}

// looseStatus reads a status line as lenient clients do: what does not begin with
// the protocol's name is none; a status that is not three digits is 200.
func looseStatus(line []byte) (status int, ok bool) {
	if len(line) < len(protocol) || !likeResponse(line) {
		return 0, false
	}
	code := line[len(protocol):]
	for len(code) > 0 && !isSpace(code[0]) {
		code = code[1:]
	}
	code = trimLeft(code)
	digits := 0
	for digits < len(code) && isDigit(code[digits]) {
		digits++
	}
	if digits != 3 || code[0] == '0' || digits < len(code) && code[digits] > ' ' {
		return 200, true
	}
	return int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0'), true
}

// recogniseResponse tells a status line by what it must begin with: version,
// space, and three digits (RFC 9112 section 4). Clients read more than one space
// as one.
func recogniseResponse(data []byte) Likeness {
	const shape = "HTTP/0.0 "
	for i := range min(len(data), len(shape)) {
		c := data[i]
		if shape[i] == '0' && !isDigit(c) || shape[i] != '0' && shape[i] != c {
			return Unlike
		}
	}
	if len(data) > 5 && data[5] > '1' {
		return Unlike // HTTP/2 and later have no status line
	}
	if len(data) < len(shape) {
		return Undecided
	}
	code := statusCode(data)
	for i := range min(len(code), 3) {
		if !isDigit(code[i]) {
			return Unlike
		}
	}
	switch {
	case len(data)-len(code) > maxStatusSpace:
		return Unlike
	case len(code) < 3:
		return Undecided
	case code[0] == '0' || len(code) > 3 && code[3] != ' ' && code[3] != '\r' && code[3] != '\n':
		return Unlike
	}
	return Response
}

// maxStatusSpace is how many octets may come before the status code.
const maxStatusSpace = 32

// statusCode is what follows version and space in a status line.
func statusCode(line []byte) []byte {
	code := line[len("HTTP/0.0 "):]
	for len(code) > 0 && code[0] == ' ' {
		code = code[1:]
	}
	return code
}

// recogniseRequest tells a request line: a method, a space, and at its end a
// version (RFC 9112 section 3); or GET with a path alone (HTTP/0.9).
func recogniseRequest(data []byte) Likeness {
	i := 0
	for i < len(data) && i <= maxMethod && tchar[data[i]] {
		i++
	}
	switch {
	case i == 0 || i > maxMethod:
		return Unlike
	case i == len(data):
		return Undecided
	case data[i] != ' ':
		return Unlike
	}
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		if len(data) > maxStartLine {
			return Unlike
		}
		return Undecided
	}
	if bytes.HasPrefix(data, http2Preface) {
		return HTTP2
	}
	line, _ := trimCR(data[:end])
	if _, ok := version(lastWord(line)); ok {
		return Request
	}
	if target := trimRight(line[i+1:]); i == 3 && string(data[:3]) == "GET" && len(target) > 0 && target[0] == '/' && bytes.IndexByte(target, ' ') < 0 {
		return Request
	}
	return Unlike
}

// Prove says Request or Response if a segment from the middle of a stream begins
// with a start line that is nothing else by chance, or Unlike.
func Prove(data []byte) Likeness {
	data = afterLineEnds(data)
	switch {
	case provesRequest(data):
		return Request
	case recogniseResponse(data) == Response:
		return Response
	}
	return Unlike
}

// provesRequest reports whether data begins with a request line that is nothing
// else by chance: a method, a target in one of the forms of RFC 9112 section 3.2,
// and an HTTP/1 version at the end of the line. Blanks within the target, as
// scanners send them, don't weaken that.
func provesRequest(data []byte) bool {
	end := bytes.IndexByte(data, '\n')
	if end < 0 || recogniseRequest(data) != Request {
		return false
	}
	line, _ := trimCR(data[:end])
	method, rest, _ := bytes.Cut(line, []byte{' '})
	version := lastWord(rest)
	target := trimRight(rest[:len(trimRight(rest))-len(version)])
	if len(target) == 0 || len(version) != len("HTTP/1.1") || version[5] != '1' {
		return false
	}
	return target[0] == '/' || target[0] == '*' || bytes.Contains(target, []byte("://")) || string(method) == "CONNECT"
}

// lastWord is what follows the last space of a line.
func lastWord(line []byte) []byte {
	line = trimRight(line)
	return line[bytes.LastIndexByte(line, ' ')+1:]
}

// version reads HTTP-version (RFC 9112 section 2.3); what claims to be of another
// major version, or of a minor one above 1, is read as HTTP/1.1.
func version(word []byte) (name string, ok bool) {
	if len(word) != 8 || string(word[:5]) != "HTTP/" || !isDigit(word[5]) || word[6] != '.' || !isDigit(word[7]) {
		return "", false
	}
	switch {
	case word[5] == '1' && word[7] == '0':
		return "1.0", true
	case word[5] == '0':
		return "0.9", true
	}
	return "1.1", true
}
