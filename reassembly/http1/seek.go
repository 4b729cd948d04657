package http1

import "bytes"

// Behind lost octets the content does not tell a message from a body that holds
// one; how the stream is written does. A request is taken to begin where a segment
// begins with a whole request line. Since clients may cut theirs anywhere, one is
// also found in a line within which the client went on after the server had said
// more: who waits for an answer begins a request with what it says next, or has
// begun it with the last octets before.

// Bounds of what is kept of a line in which a request may begin.
const (
	maxBeforeTurn = 1 << 10 // octets, as long as the server has said nothing
	maxSoughtLine = 8 << 10 // octets in all
)

// seek looks for a message in the input. It returns false if none begins in it.
func (p *Parser) seek(r *Reader, b Budget, in *Input) bool {
	turned := p.turn(in)
	switch {
	case len(in.Data) == 0:
		return false
	case p.beginsInLine(b, in, turned):
		p.state = stateHead
	case p.provable(in):
		p.finishLast(r, b)
		p.state, p.found = stateStart, true
	default:
		r.Stats.SkippedOctets += uint64(len(in.Data))
		if !p.response {
			p.keepLine(r, b, in.Data, turned)
		}
		in.skip(len(in.Data))
		return false
	}
	r.Stats.Resyncs++
	p.acked = false
	return true
}

// turn reports whether the other side has said more since the segment before.
func (p *Parser) turn(in *Input) bool {
	if !in.HasAck {
		return false
	}
	turned := !in.Inside && p.acked && int32(in.Ack-p.ack) > 0
	p.ack, p.acked = in.Ack, true
	return turned
}

// sought returns the line that is kept, nil if none is.
func (p *Parser) sought() *partial {
	if p.kept != nil && p.kept.sought {
		return p.kept
	}
	return nil
}

// beginsInLine begins a head if the input ends a line that is kept, and a request
// line is found in it that began in an earlier segment.
func (p *Parser) beginsInLine(b Budget, in *Input, turned bool) bool {
	k := p.sought()
	if k == nil {
		return false
	}
	if turned {
		k.turn()
	}
	end, before := bytes.IndexByte(in.Data, '\n'), len(k.head)
	if !k.turned { // then its method may still have begun before
		if !p.provable(in) {
			return false
		}
		k.firstTurn, k.lastTurn = before, before
	}
	if end < 0 || before+end >= maxSoughtLine || !k.take(b, end+1) {
		return false
	}
	k.head = append(k.head, in.Data[:end+1]...)
	from := k.requestLine()
	if from < 0 || from >= before {
		k.head = k.head[:before]
		return false
	}
	at := in.Position
	at.Seq -= uint32(before - from)
	k.head = k.head[:copy(k.head, k.head[from:])]
	k.sought = false
	p.found = true
	p.open(at)
	in.skip(end + 1)
	return true
}

// turn notes that the other side has said something before the next octet.
func (k *partial) turn() {
	k.lastTurn = len(k.head)
	if !k.turned {
		k.turned, k.firstTurn = true, len(k.head)
	}
}

// requestLine returns where in the kept line a request line begins, which the
// line's end ends: with one of the common methods, no later than at the last turn,
// whatever stands before it; or else at the first turn. It is negative if none does.
func (k *partial) requestLine() int {
	line, _ := trimCR(k.head[:len(k.head)-1])
	target := bytes.LastIndexByte(line, ' ') // before the version
	if target < 0 {
		return -1
	}
	if method := bytes.LastIndexByte(line[:target], ' '); method > 0 {
		for _, name := range commonMethods {
			from := method - len(name)
			if from >= 0 && from <= k.lastTurn && string(line[from:method]) == name && provesRequest(k.head[from:]) {
				return from
			}
		}
	}
	if provesRequest(k.head[k.firstTurn:]) {
		return k.firstTurn
	}
	return -1
}

// commonMethods are those of RFC 9110 section 9 and RFC 5789; none ends with another.
var commonMethods = [...]string{"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"}

// keepLine keeps the line that data leaves unfinished.
func (p *Parser) keepLine(r *Reader, b Budget, data []byte, turned bool) {
	if end := bytes.LastIndexByte(data, '\n'); end >= 0 {
		data, turned = data[end+1:], false
		if k := p.sought(); k != nil {
			k.head, k.turned = k.head[:0], false
		}
	}
	if len(data) == 0 {
		return
	}
	k := p.sought()
	if k == nil {
		k = r.newPartial()
		k.sought, p.kept = true, k
		if turned {
			k.turn()
		}
	}
	if !k.turned {
		data = data[max(0, len(data)-maxBeforeTurn):]
		keep := k.head[max(0, min(len(k.head), len(k.head)+len(data)-maxBeforeTurn)):]
		k.head = k.head[:copy(k.head, keep)]
	}
	if len(k.head)+len(data) > maxSoughtLine || !k.take(b, len(data)) {
		p.finishLast(r, b)
		return
	}
	k.head = append(k.head, data...)
}
