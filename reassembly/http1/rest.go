package http1

import (
	"bytes"

	"offpath/reassembly"
)

// A head above MaxHead is kept up to its last whole line within. Servers take
// longer ones, and requests follow them, so the rest is passed over to its empty
// line, and read for the fields that decide framing. Of a request line above MaxHead
// the beginning is kept, and its version; the fields behind it are read as of any.

const (
	maxLongLine = 16 << 10                 // octets kept of a request line above MaxHead
	maxVersion  = len(" HTTP/1.1\r\n") + 5 // octets at its end that are looked at for the version
)

// cutHead goes on with a head that is too large.
func (p *Parser) cutHead(r *Reader, in *Input) (event Event, again bool) {
	k := p.kept
	if k.line == 0 && !p.response {
		p.state = stateLongLine
		k.rest = append(k.rest[:0], k.head[len(k.head)-maxVersion:]...)
		k.head = k.head[:maxLongLine]
		return More, true
	}
	tail := k.head[k.line:]
	k.head = k.head[:k.line]
	if k.line > 0 {
		k.keepLastField()
	}
	n := r.readHead(k.head, p.response, true, p.shape)
	if n <= 0 {
		r.Stats.HeadsLost++
		p.garbage = true
		return p.lose(r, in), false
	}
	r.anomalies = r.anomalies&^reassembly.AnomalyMissingHost | reassembly.AnomalyHeadTooLarge
	k.framing = r.framing
	r.raw = k.head
	event = p.headRead(r, n)
	p.bodiless = p.response && r.bodiless()
	p.state = stateRest
	k.rest = append(k.rest[:0], tail[:min(len(tail), maxChunkLine)]...)
	return event, false
}

// readLongLine reads on in a request line that is too long. It returns false if that
// is none after all.
func (p *Parser) readLongLine(r *Reader, in *Input) bool {
	k := p.kept
	part := in.Data
	end := bytes.IndexByte(part, '\n')
	if end >= 0 {
		part = part[:end+1]
	}
	in.skip(len(part))
	r.Stats.SkippedOctets += uint64(len(part))
	part = part[max(0, len(part)-maxVersion):]
	keep := k.rest[max(0, len(k.rest)+len(part)-maxVersion):]
	k.rest = append(k.rest[:copy(k.rest, keep)], part...)
	if end < 0 {
		return true
	}
	line, _ := trimCR(k.rest[:len(k.rest)-1])
	word := lastWord(line)
	if _, ok := version(word); !ok {
		return false
	}
	k.head = append(append(append(k.head, ' '), word...), "\r\n"...)
	k.line, k.long = len(k.head), true
	k.rest = k.rest[:0]
	p.state = stateHead
	return true
}

// keepLastField takes the last field out of a head, to wait in k.field, if it
// decides framing: lines that continue it may be beyond the limit.
func (k *partial) keepLastField() {
	start := len(k.head)
	for start == len(k.head) || start > 0 && isSpace(k.head[start]) {
		start = bytes.LastIndexByte(k.head[:start-1], '\n') + 1
	}
	line := k.head[start:]
	colon := bytes.IndexByte(line, ':')
	if start == 0 || colon < 0 || !delimits(trimRight(line[:colon])) {
		return
	}
	k.field = append(k.field[:0], line...)
	for i, c := range k.field {
		if c == '\r' || c == '\n' {
			k.field[i] = ' '
		}
	}
	k.head = k.head[:start]
}

// delimits reports whether fields of that name say how long a body is.
func delimits(name []byte) bool {
	return equalFold(name, "content-length") || equalFold(name, "transfer-encoding")
}

// bodiless reports whether a response has no body whatever its fields say.
func (r *Reader) bodiless() bool {
	return r.Head.Status < 200 || r.Head.Status == 204 || r.Head.Status == 304
}

// readRest reads a line of the rest of a head, or a part of one.
func (p *Parser) readRest(r *Reader, b Budget, in *Input) {
	k := p.kept
	end := bytes.IndexByte(in.Data, '\n')
	line := in.Data[:end+1]
	if end < 0 {
		line = in.Data
	}
	in.skip(len(line))
	r.Stats.SkippedOctets += uint64(len(line))
	if end < 0 || len(k.rest) > 0 {
		if !p.joinRest(b, line) {
			p.breakOff(0)
			return
		}
		line = k.rest
	}
	if end < 0 {
		return
	}
	line, _ = trimCR(line[:len(line)-1])
	switch {
	case len(line) == 0:
		p.endRest(r)
	default:
		p.restLine(r, b, line)
	}
	k.rest = k.rest[:0]
}

// joinRest keeps of a part of a line what lies within the limit, and the line's end.
func (p *Parser) joinRest(b Budget, part []byte) bool {
	k := p.kept
	var tail []byte
	if room := max(0, maxChunkLine-len(k.rest)); len(part) > room {
		if part[len(part)-1] == '\n' {
			tail = part[max(0, len(part)-len("\r\n")):]
		}
		part = part[:room]
	}
	if !k.take(b, len(part)+len(tail)) {
		return false
	}
	k.rest = append(append(k.rest, part...), tail...)
	return true
}

// restLine takes a line of the rest of a head. A field that decides framing waits
// in k.field for lines that continue it.
func (p *Parser) restLine(r *Reader, b Budget, line []byte) {
	k := p.kept
	if isSpace(line[0]) {
		if room := maxChunkLine - len(k.field); len(k.field) > 0 && room > 0 && k.take(b, min(room, len(line))) {
			p.anomalies |= reassembly.AnomalyObsFold
			k.field = append(k.field, line[:min(room, len(line))]...)
		}
		return
	}
	p.frameRest(r)
	colon := bytes.IndexByte(line, ':')
	if colon > 0 && framingKind(trimRight(line[:colon])) != 0 && k.take(b, len(line)) {
		k.field = append(k.field, line...)
	}
}

// frameRest reads the field that waits.
func (p *Parser) frameRest(r *Reader) {
	k := p.kept
	if len(k.field) == 0 {
		return
	}
	colon := bytes.IndexByte(k.field, ':')
	r.framing = k.framing
	r.frame(framingKind(trimRight(k.field[:colon])), trim(k.field[colon+1:]))
	k.framing = r.framing
	k.field = k.field[:0]
}

// endRest decides how the message goes on after its head.
func (p *Parser) endRest(r *Reader) {
	p.frameRest(r)
	k := p.kept
	r.readHead(k.head, p.response, true, p.shape)
	r.framing = k.framing
	p.state, p.remain = r.bodyState(p.response)
	if p.bodiless {
		p.state, p.remain = stateEnd, 0
	}
	if !p.response && r.Head.Version == "1.1" && r.hosts == 0 {
		r.anomalies |= reassembly.AnomalyMissingHost
	}
	p.anomalies |= r.anomalies
}
