package http1

import (
	"bytes"

	"offpath/reassembly"
)

// doubtful reports whether a response's head leaves open how its body is
// delimited: Transfer-Encoding in a form that clients read differently, beside a
// Content-Length or in HTTP/1.0, or no length in a head whose lines are odd
// enough for a field of it to be read differently. What the server meant is then
// told by what it sent.
func (r *Reader) doubtful() bool {
	const odd = reassembly.AnomalyObsFold | reassembly.AnomalyBareCR | reassembly.AnomalySpaceBeforeColon | reassembly.AnomalyInvalidHeader |
		reassembly.AnomalyNULInHead
	switch {
	case r.coded:
		return !r.chunked || r.length != lengthNone || r.Head.Version != "1.1" || r.anomalies&(odd|reassembly.AnomalyInvalidStatusLine) != 0
	default:
		return r.length < 0 && r.anomalies&odd != 0
	}
}

// maxProbe is how many octets of a body are looked at to tell a chunk size.
const maxProbe = 32

// probe tells whether a line, the first of a body, is one with a chunk size (RFC
// 9112 section 7.1). It is not known as long as there is too little of it and it
// has not ended; a CR alone, which a body may hold, ends nothing.
func probe(line []byte, ended bool) (chunked, known bool) {
	size := bytes.TrimLeft(line, " \t\r")
	digits := 0
	for digits < len(size) && hexDigit(size[digits]) >= 0 {
		digits++
	}
	rest := bytes.TrimLeft(size[digits:], " \t\r")
	chunked = 0 < digits && digits <= 16 && (len(rest) == 0 || rest[0] == ';')
	switch {
	case ended || len(rest) > 0:
		return chunked, true
	case len(line) >= maxProbe:
		return false, true
	}
	return false, false
}

// readProbe reads from a body of which it is not known whether it is chunked.
// The end of its first line is left in the input.
func (p *Parser) readProbe(r *Reader, b Budget, in *Input) bool {
	var line []byte // what came of it in earlier segments
	if p.kept != nil {
		line = p.kept.rest
	}
	data := in.Data[:min(len(in.Data), maxProbe-len(line))]
	end := bytes.IndexByte(data, '\n')
	if end >= 0 {
		data = data[:end]
	}
	if len(line) == 0 {
		if chunked, known := probe(data, end >= 0); known {
			p.settle(r, b, chunked)
			return true
		}
	}
	if !p.keep(r, b) || !p.kept.take(b, len(data)) {
		return false
	}
	p.kept.rest = append(p.kept.rest, data...)
	in.skip(len(data))
	if chunked, known := probe(p.kept.rest, end >= 0); known {
		p.settle(r, b, chunked)
	}
	return true
}

// settle ends the probing of a body: p.remain is its length if it is not
// chunked, negative if it goes on to the connection's end.
func (p *Parser) settle(r *Reader, b Budget, chunked bool) {
	if chunked {
		p.state, p.remain = stateChunkSize, 0
		return
	}
	p.state = stateToClose
	if p.remain >= 0 {
		p.state = stateLength
	}
	if p.kept == nil || len(p.kept.rest) == 0 {
		if p.remain == 0 {
			p.state = stateEnd
		}
		return
	}
	// They were taken for the beginning of a chunk-size line.
	octets := p.kept.rest
	if p.state == stateLength && int64(len(octets)) >= p.remain {
		p.lostAfter = int64(len(octets)) > p.remain
		octets = octets[:p.remain]
		p.state = stateEnd
	}
	p.bodyOctets(r, b, &Input{Data: octets}, len(octets))
	p.bytes += int64(len(octets))
	p.remain -= int64(len(octets))
	p.kept.rest = p.kept.rest[:0]
}
