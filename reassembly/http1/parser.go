package http1

import (
	"bytes"

	"offpath/reassembly"
	"offpath/reassembly/message"
	"offpath/reassembly/tcp"
)

// Input is what is left of a segment. Parser.Read takes from its front.
type Input struct {
	Data []byte
	tcp.Position
	Inside bool // Data does not begin where the segment did
	Unread int  // octets of the segment that belong to a body and are not kept of it
}

func (in *Input) skip(n int) {
	if n > 0 {
		in.Data = in.Data[n:]
		in.Seq += uint32(n)
		in.Inside = true
	}
}

// Event is what Parser.Read found.
type Event uint8

// The events.
const (
	More Event = iota // the input is used up
	Head              // a head: Reader.Head is set
	End               // the end of a message: Reader.Head and Reader.Body are set
	Lost              // what follows is no message
)

type state uint8

const (
	stateStart     state = iota // between messages
	stateHead                   // inside a head
	stateLongLine               // inside a request line, beyond what is kept of it
	stateRest                   // inside a head, beyond what is kept of it
	stateLength                 // inside a body of known length
	stateProbe                  // before a body of which it is not known yet whether it is chunked
	stateChunkSize              // before or inside a chunk-size line
	stateChunkData              // inside a chunk
	stateChunkEnd               // after a chunk, before its line end
	stateTrailer                // in the trailer section
	stateToClose                // inside a body that the connection's end delimits
	stateEnd                    // a message has ended, End is yet to be said
	stateLost                   // looking for a message
)

// Parser is the state of one direction. The zero value reads requests from
// their first octet.
type Parser struct {
	kept   *partial     // what is kept of the message at hand; nil: nothing
	remain int64        // octets left of the body or chunk, or read of the trailer section; in stateProbe the body's length
	bytes  int64        // octets of the body so far, missing ones included
	gap    int64        // missing octets of the message
	first  tcp.Position // of the message's first octet

	anomalies reassembly.Anomalies // of the message
	head      uint32               // octets of the head
	ack       uint32               // acknowledgement number of the last segment that was searched, if acked
	state     state
	shape     uint8 // slot of the shape of its last head
	response  bool
	found     bool // a message was found after others may have been lost
	resynced  bool // and it is the one at hand
	lostAfter bool // the message's end is not followed by a message
	broken    bool // the message's end was not seen
	garbage   bool // octets that are no message came before the next one
	acked     bool
	bodiless  bool // the message has no body, whatever its head says
}

// Answer makes the parser read responses.
func (p *Parser) Answer() { p.response = true }

// Seek makes the parser look for the first provable message: the stream was
// joined in its middle.
func (p *Parser) Seek() { p.state = stateLost }

// First is the position of the first octet of the message at hand.
func (p *Parser) First() tcp.Position { return p.first }

// HeadOctets is the length of the head of the message at hand.
func (p *Parser) HeadOctets() uint32 { return p.head }

// Anomalies are those of the message at hand.
func (p *Parser) Anomalies() reassembly.Anomalies { return p.anomalies }

// Gap is how many octets of the message at hand are missing.
func (p *Parser) Gap() int64 { return p.gap }

// Resynced reports whether messages between the one at hand and the one before
// it may have been lost.
func (p *Parser) Resynced() bool { return p.resynced }

// Broken reports whether the message ended without its end having been seen.
func (p *Parser) Broken() bool { return p.broken }

// Body is how many octets of the body were read so far.
func (p *Parser) Body() int64 { return p.bytes }

// Idle reports whether the parser is between messages.
func (p *Parser) Idle() bool { return p.state == stateStart }

// Seeking reports whether the parser looks for a message.
func (p *Parser) Seeking() bool { return p.state == stateLost }

// Unsure reports whether messages may have been lost before the next one.
func (p *Parser) Unsure() bool { return p.state == stateLost || p.found }

// Begun is what has come of a head that comes in parts; nil if none does. It is valid
// until the next call.
func (p *Parser) Begun() []byte {
	if p.state != stateHead || p.kept == nil {
		return nil
	}
	return p.kept.head
}

// Peek calls use while Reader.Head and Reader.Body are those of the message at
// hand as far as it has come, and restores them. There must have been a Head for
// it, and no event since from this parser.
func (p *Parser) Peek(r *Reader, use func()) {
	raw, body := r.raw, r.Body
	r.readHead(p.kept.head, p.response, true, p.shape)
	r.Body = message.Body{Prefix: p.kept.body, Bytes: p.bytes}
	use()
	r.readHead(raw, !p.response, true, p.shape)
	r.Body = body
}

// NoBody says at a Head that the message has no body, whatever its head says:
// it answers HEAD, or is a 1xx, 204 or 304 (RFC 9112 section 6.3).
func (p *Parser) NoBody() {
	if p.state == stateRest {
		p.bodiless = true
		return
	}
	p.state, p.remain = stateEnd, 0
}

// Keep says at a Head how many octets are wanted of the message's body, if fewer
// than of others.
func (p *Parser) Keep(r *Reader, octets int) {
	r.keep = min(octets, r.bodyLimit)
	if p.kept != nil {
		p.kept.limit = r.keep
	}
}

// Read reads on to the next event.
func (p *Parser) Read(r *Reader, b Budget, in *Input) Event {
	for {
		switch p.state {
		case stateStart:
			p.finishLast(r, b)
			skip := 0
			for skip < len(in.Data) && (in.Data[skip] == '\r' || in.Data[skip] == '\n') {
				skip++ // RFC 9112 section 2.2
			}
			in.skip(skip)
			if len(in.Data) == 0 {
				return More
			}
			if event, again := p.begin(r, b, in); !again {
				return event
			}
		case stateHead:
			if event, again := p.readOn(r, b, in); !again {
				return event
			}
		case stateLost:
			if p.sought() == nil {
				p.finishLast(r, b)
			}
			if !p.seek(r, b, in) {
				return More
			}
		case stateRest:
			if len(in.Data) == 0 {
				return More
			}
			p.readRest(r, b, in)
		case stateLongLine:
			switch {
			case len(in.Data) == 0:
				return More
			case !p.readLongLine(r, in):
				r.Stats.HeadsLost++
				p.garbage = true
				return p.lose(r, in)
			}
		case stateEnd:
			p.end(r)
			return End
		default:
			switch {
			case len(in.Data) == 0 && p.keep(r, b):
				return More
			case len(in.Data) == 0 || !p.readBody(r, b, in):
				return p.lose(r, in)
			}
		}
	}
}

// finishLast gives back what was kept of the last message.
func (p *Parser) finishLast(r *Reader, b Budget) {
	if p.kept != nil {
		r.release(p.kept, b)
		p.kept = nil
	}
}

// provable reports whether a segment begins with a start line.
func (p *Parser) provable(in *Input) bool {
	data := afterLineEnds(in.Data)
	if in.Inside || len(data) == 0 {
		return false
	}
	if p.response {
		return data[0] == 'H' && recogniseResponse(data) == Response
	}
	return tchar[data[0]] && provesRequest(data)
}

// begin reads a message from its first octet. again is true if there is more to
// do before there is an event.
func (p *Parser) begin(r *Reader, b Budget, in *Input) (event Event, again bool) {
	p.open(in.Position)
	n := r.readHead(in.Data[:min(len(in.Data), MaxHead)], p.response, false, p.shape)
	switch {
	case n == headInvalid || n == headIncomplete && !p.plausible(in.Data):
		p.garbage = true
		return p.lose(r, in), false
	case n == headIncomplete:
		p.kept = r.newPartial()
		p.state = stateHead
		return More, true
	}
	r.raw = in.Data[:n]
	in.skip(n)
	return p.headRead(r, n), false
}

// open begins a message at a position.
func (p *Parser) open(at tcp.Position) {
	p.first = at
	p.anomalies, p.gap, p.bytes, p.broken, p.lostAfter, p.bodiless = 0, 0, 0, false, false, false
	p.resynced, p.found = p.found, false
	if p.garbage {
		p.anomalies, p.garbage = reassembly.AnomalyGarbage, false
	}
}

// plausible reports whether octets without a whole start line may begin one.
func (p *Parser) plausible(data []byte) bool {
	if p.response {
		return likeResponse(data)
	}
	like := recogniseRequest(data)
	return like == Request || like == Undecided
}

// lose turns to looking for a message.
func (p *Parser) lose(r *Reader, in *Input) Event {
	p.state = stateLost
	in.Inside = true // what begins with these octets was just found to be none
	r.Stats.LostSync++
	return Lost
}

// headStep is how many octets are copied at once of a segment in which a head goes
// on: it may be long, and the head's end near.
const headStep = 4 << 10

// readOn reads on in a head that came in parts.
func (p *Parser) readOn(r *Reader, b Budget, in *Input) (event Event, again bool) {
	if len(in.Data) == 0 {
		return More, false
	}
	k := p.kept
	before := len(k.head)
	add := in.Data[:min(len(in.Data), MaxHead-before, headStep)]
	if !k.take(b, len(add)) {
		r.Stats.BudgetAbandoned++
		r.Stats.HeadsLost++
		return p.lose(r, in), false
	}
	k.head = append(k.head, add...)
	end, whole := k.headEnd()
	if k.line == 0 && !p.plausible(k.head) {
		r.Stats.HeadsLost++
		p.garbage = true
		return p.lose(r, in), false
	}
	if !whole && len(k.head) < MaxHead {
		in.skip(len(add))
		return More, true
	}
	if !whole {
		in.skip(len(add))
		return p.cutHead(r, in)
	}
	n := r.readHead(k.head[:end], p.response, false, p.shape)
	if n <= 0 {
		r.Stats.HeadsLost++
		p.garbage = true
		return p.lose(r, in), false
	}
	in.skip(end - before)
	k.head = k.head[:end]
	if k.long {
		r.anomalies |= reassembly.AnomalyHeadTooLarge
	}
	r.raw = k.head
	return p.headRead(r, end), false
}

// headEnd looks for the empty line that ends a head, from the last line that
// was not complete on; a first line of HTTP/0.9 is a head by itself.
func (k *partial) headEnd() (end int, whole bool) {
	for {
		length := bytes.IndexByte(k.head[k.line:], '\n')
		if length < 0 {
			return 0, false
		}
		line, _ := trimCR(k.head[k.line : k.line+length])
		first := k.line == 0
		k.line += length + 1
		if !first && len(line) == 0 {
			return k.line, true
		}
		if first && (len(line) < len(protocol) || !likeResponse(line)) {
			if _, ok := version(lastWord(line)); !ok {
				return k.line, true
			}
		}
	}
}

// headRead decides how the message goes on after its head of n octets.
func (p *Parser) headRead(r *Reader, n int) Event {
	p.head = uint32(n)
	if r.Head.Shape != nil {
		p.shape = uint8(r.Head.Shape.Slot)
	}
	if p.response {
		r.Stats.Responses++
	} else {
		r.Stats.Requests++
	}
	p.state, p.remain = r.bodyState(p.response)
	if p.response && r.bodiless() {
		p.NoBody()
	}
	p.anomalies |= r.anomalies
	r.Body = message.Body{}
	p.Keep(r, r.bodyLimit)
	return Head
}

// keep copies what of a message must outlive its segment, or says that there is
// no room for it.
func (p *Parser) keep(r *Reader, b Budget) bool {
	if p.kept != nil {
		return true
	}
	k := r.newPartial()
	k.limit = r.keep
	p.kept = k
	if !k.take(b, len(r.raw)) {
		r.Stats.BudgetAbandoned++
		r.Stats.HeadsLost++
		return false
	}
	k.head = append(k.head, r.raw...)
	return true
}

// readBody reads from the body; there is input. It returns false if the message
// must be given up.
func (p *Parser) readBody(r *Reader, b Budget, in *Input) bool {
	switch p.state {
	case stateLength:
		n := int(min(p.remain, int64(len(in.Data))))
		if p.kept == nil && int64(n) == p.remain && p.bytes == 0 {
			r.Body.Prefix = in.Data[:min(n, r.keep)]
		} else if !p.bodyOctets(r, b, in, n) {
			return false
		}
		p.advance(n, in)
		if p.remain == 0 {
			p.state = stateEnd
		}
	case stateChunkData:
		n := int(min(p.remain, int64(len(in.Data))))
		if !p.bodyOctets(r, b, in, n) {
			return false
		}
		p.advance(n, in)
		if p.remain == 0 {
			p.state = stateChunkEnd
		}
	case stateToClose:
		if !p.bodyOctets(r, b, in, len(in.Data)) {
			return false
		}
		p.bytes += int64(len(in.Data))
		in.skip(len(in.Data))
	case stateProbe:
		return p.readProbe(r, b, in)
	default:
		return p.readChunkLine(r, b, in)
	}
	return true
}

func (p *Parser) advance(n int, in *Input) {
	p.remain -= int64(n)
	p.bytes += int64(n)
	in.skip(n)
}

// bodyOctets keeps, of the next n octets of a body, those that lie within the limit.
func (p *Parser) bodyOctets(r *Reader, b Budget, in *Input, n int) bool {
	if !p.keep(r, b) {
		return false
	}
	k := p.kept
	data := in.Data[:min(n, k.limit-len(k.body))]
	in.Unread += n - len(data)
	if k.capped || len(data) == 0 {
		return true
	}
	if !k.take(b, len(data)) {
		k.capped = true
		r.Stats.BudgetCut++
		return true
	}
	k.body = append(k.body, data...)
	return true
}

// readChunkLine reads a line between chunks: a size, the end of a chunk, or one
// of the trailer section.
func (p *Parser) readChunkLine(r *Reader, b Budget, in *Input) bool {
	end := bytes.IndexByte(in.Data, '\n')
	if end < 0 && !p.keep(r, b) {
		return false
	}
	take := end + 1
	if end < 0 {
		take = len(in.Data)
	}
	line := in.Data[:take]
	if p.kept != nil && (end < 0 || len(p.kept.rest) > 0) {
		k := p.kept
		var tail []byte
		if room := max(0, maxChunkLine-len(k.rest)); len(line) > room {
			// Of extensions and trailer fields the rest is passed over, as servers do.
			p.anomalies |= reassembly.AnomalyInvalidChunk
			if end >= 0 {
				tail = line[max(0, len(line)-len("\r\n")):]
			}
			line = line[:room]
		}
		if !k.take(b, len(line)+len(tail)) {
			p.breakOff(reassembly.AnomalyInvalidChunk)
			return true
		}
		k.rest = append(append(k.rest, line...), tail...)
		line = k.rest
		if len(k.rest) >= maxChunkLine && (p.state == stateChunkEnd || p.state == stateChunkSize && bytes.IndexByte(line, ';') < 0) {
			p.breakOff(reassembly.AnomalyInvalidChunk)
			return true
		}
	}
	in.skip(take)
	if end < 0 {
		if p.state == stateChunkEnd && line[0] != '\r' {
			p.breakOff(reassembly.AnomalyInvalidChunk)
		}
		return true
	}
	p.chunkLine(line[:len(line)-1])
	if p.kept != nil {
		p.kept.rest = p.kept.rest[:0]
	}
	return true
}

// chunkLine takes a whole line between chunks.
func (p *Parser) chunkLine(line []byte) {
	line, terminated := trimCR(line)
	if !terminated {
		p.anomalies |= reassembly.AnomalyBareLF
	}
	switch p.state {
	case stateChunkSize:
		size, anomaly, ok := chunkSize(line)
		p.anomalies |= anomaly
		switch {
		case !ok:
			p.breakOff(anomaly)
		case size == 0:
			p.state, p.remain = stateTrailer, 0
		default:
			p.state, p.remain = stateChunkData, size
		}
	case stateChunkEnd:
		if len(line) != 0 {
			p.breakOff(reassembly.AnomalyInvalidChunk)
			return
		}
		p.state = stateChunkSize
	case stateTrailer:
		if p.remain += int64(len(line)) + 1; p.remain > maxTrailer {
			p.anomalies |= reassembly.AnomalyHeadTooLarge // nothing of it is kept
		}
		if len(line) == 0 {
			p.state = stateEnd
		}
	}
}

// breakOff ends a message that can't be followed to its end; what comes next is
// no message until one can be proven.
func (p *Parser) breakOff(why reassembly.Anomalies) {
	p.anomalies |= why
	p.state, p.broken, p.lostAfter = stateEnd, true, true
}

// end makes Head and Body those of the message that has ended.
func (p *Parser) end(r *Reader) {
	if k := p.kept; k != nil {
		r.raw = k.head
		r.readHead(k.head, p.response, true, p.shape)
		r.Body.Prefix = k.body
	}
	r.Body.Bytes = p.bytes
	r.Body.Whole = int64(len(r.Body.Prefix)) == p.bytes && !p.broken
	if p.broken {
		r.Stats.Broken++
	}
	p.state = stateStart
	if p.lostAfter {
		p.state = stateLost
		r.Stats.LostSync++
	}
}
