package http2

import (
	"offpath/reassembly"
	"offpath/reassembly/message"
)

// unknown is reassembly.Unknown.
const unknown = reassembly.Unknown

// Bounds of a connection.
const (
	maxStreams  = 2048
	maxSettings = maxControl / 6 // settings kept of a side's first SETTINGS frame
)

// Times, ns.
const (
	lossWait = int64(30e9) // that a stream whose end may have been lost waits for more
	raceWait = int64(1e9)  // that a response waits for a request that may have been lost
	sweep    = int64(25e7) // between looks for such streams
)

type state uint8

const (
	statePreface state = iota // inside the client's preface
	stateFirst                // before the server's first frame
	stateFrame                // before or inside a frame header
	stateData                 // inside a DATA frame
	stateOther                // inside another frame
	stateLost                 // looking for a frame boundary
	stateForeign              // this is not HTTP/2
)

// direction is what one side says.
type direction struct {
	table    table
	target   *Stream           // of the DATA frame at hand; nil: nobody reads it
	rest     []byte            // payload of the frame at hand, if it comes in parts
	block    block             // header block at hand
	settings []message.Setting // of the first SETTINGS frame, as far as there is room for them

	began  int64  // capture time of the first octet of the frame at hand
	remain uint32 // octets left of its payload
	pad    uint32 // of these, padding
	losses uint32 // times that frames may have been missed
	newest uint32 // highest stream that the side has opened
	window uint32 // first increment of the connection's window
	absent int64  // octets of the frame at hand that are missing, DATA aside
	missed int64  // octets of a tunnel that are missing and were not told yet
	max    uint32 // largest payload that the other side takes, if announced
	frame  frame

	octets    [headerOctets]byte
	have      uint8 // octets of a frame header, or of the preface
	state     state
	started   bool // the state of a connection's beginning is set
	announced bool // a SETTINGS frame was read
	heard     bool // octets came
	sought    bool // frame boundaries were not known from the beginning
	padding   bool // the length of the padding is yet to come
	damaged   bool // octets of the frame at hand are missing
	lostAfter bool // so are some beyond it
}

// unsure reports whether frames of the side may have been missed.
func (d *direction) unsure() bool { return d.sought || d.losses > 0 }

// unsure reports whether frames of either side may have been missed.
func (c *Conn) unsure() bool {
	return c.dir[Client].unsure() || c.dir[Server].unsure() || !c.dir[Client].heard
}

// ConnCost is what the owner of a Conn charges to the budget for it, octets: its own
// and those of a small table of streams. What it keeps beside, it charges itself.
const ConnCost = 9 << 7

// Conn is one connection. The zero value is one that begins, with prior
// knowledge or inside TLS.
type Conn struct {
	dir     [2]direction // by side
	streams map[uint32]*Stream
	oldest  *Stream // in order of activity
	newest  *Stream

	pending *Stream   // events are to be said of it
	gone    *Stream   // it was told of last, and can be used again
	shown   [4][]byte // what the last event's views are of
	view    []byte    // content of the message that ends, if it came in one piece
	before  int64     // streams last heard of before are given up
	swept   int64     // last look for streams of which nothing more may come

	anomalies  reassembly.Anomalies // that no message was told of yet
	code       uint32               // of the last reset
	lastStream uint32               // of a GOAWAY
	reason     Reason               // of the stream that is closing
	by         Side                 // who has sent it
	goAway     bool
	finished   bool // the server says nothing more
	crowded    bool // the table of streams has grown
	draining   bool // streams are to be closed because of it
	told       bool // Lost was said
	holding    bool // the event after the next has views of the same block
	trailing   bool // the block at hand is the trailer section of the message that ends
}

// Places in Conn.shown.
const (
	shownHead = iota
	shownBody
	shownRest
	shownBlock
)

// settingOctets is the size of a setting in memory.
const settingOctets = 8

// Settings returns those of a side's first SETTINGS frame, in their order; nil if
// none was seen, or there was no room for them.
func (c *Conn) Settings(side Side) []message.Setting { return c.dir[side].settings }

// Window returns by how much a side's first WINDOW_UPDATE enlarged the window of
// the connection, 0 if it had not before its first header block.
func (c *Conn) Window(side Side) uint32 { return c.dir[side].window }

// Seeking reports whether no frame boundary of a side is known.
func (c *Conn) Seeking(side Side) bool { return c.dir[side].state >= stateLost }

// Read reads on in what a side says, to the next event. With an input without
// octets it says what is still to be said, by the input's time.
func (c *Conn) Read(r *Reader, b Budget, side Side, in *Input) Event {
	d := &c.dir[side]
	c.begin(d, side)
	d.heard = d.heard || len(in.Data) > 0
	for {
		if event := c.say(r, b, in.Time); event != More {
			return event
		}
		event, more := More, true
		switch d.state {
		case statePreface:
			more = c.readPreface(r, d, in)
		case stateFirst, stateFrame:
			if len(c.streams) >= maxStreams {
				c.close(c.oldest, ReasonEvicted)
				continue
			}
			if more = d.header(r, in); more {
				c.makeRoom(b, &d.frame)
				c.beginFrame(r, b, side, in)
			}
		case stateData:
			event, more = c.readData(r, b, side, in)
		case stateOther:
			event, more = c.readOther(r, b, side, in)
		case stateLost:
			if more = len(in.Data) > 0; !more {
				break
			}
			if c.proves(r, side, in) {
				r.Stats.Resyncs++
				d.state = stateFrame
				break
			}
			d.losses++ // there may have been frames in it
			d.skip(r, in)
		case stateForeign:
			d.skip(r, in)
			more = false
			if !c.told {
				c.told = true
				return Lost
			}
		}
		if event != More {
			return event
		}
		if !more {
			return More
		}
	}
}

// makeRoom closes the stream idle longest if there is no room for one that a frame may
// open.
func (c *Conn) makeRoom(b Budget, f *frame) {
	opens := f.kind == kindPushPromise || f.kind == kindHeaders && c.streams[f.stream] == nil
	if !opens || c.oldest == nil {
		return
	}
	if b.Take(streamCost) {
		b.Give(streamCost)
		return
	}
	c.close(c.oldest, ReasonEvicted)
}

// begin sets the state in which a connection begins.
func (c *Conn) begin(d *direction, side Side) {
	if !d.started {
		d.started = true
		if side == Server {
			d.state = stateFirst
		}
	}
}

// skip takes octets that belong to no frame.
func (d *direction) skip(r *Reader, in *Input) {
	r.Stats.SkippedOctets += uint64(len(in.Data))
	in.skip(len(in.Data))
}

// take takes octets of frames.
func (d *direction) take(r *Reader, in *Input, n int) []byte {
	data := in.Data[:n:n]
	r.Stats.Octets += uint64(n)
	in.skip(n)
	return data
}

// readPreface reads the client's preface; more is false if there is not enough
// input.
func (c *Conn) readPreface(r *Reader, d *direction, in *Input) (more bool) {
	n := min(len(in.Data), len(preface)-int(d.have))
	if string(in.Data[:n]) != preface[d.have:int(d.have)+n] {
		d.state = stateForeign
		return true
	}
	d.take(r, in, n)
	if d.have += uint8(n); int(d.have) < len(preface) {
		return false
	}
	d.have, d.state = 0, stateFrame
	return true
}

// header reads a frame header; it returns false if there is not enough input.
func (d *direction) header(r *Reader, in *Input) bool {
	if len(in.Data) == 0 {
		return false
	}
	if d.have == 0 {
		d.began = in.Time
		if len(in.Data) >= headerOctets {
			d.frame = frameFrom(in.Data)
			d.take(r, in, headerOctets)
			return true
		}
	}
	n := copy(d.octets[d.have:], in.Data)
	d.take(r, in, n)
	if d.have += uint8(n); d.have < headerOctets {
		return false
	}
	d.have, d.frame = 0, frameFrom(d.octets[:])
	return true
}

// beginFrame begins the frame whose header was read.
func (c *Conn) beginFrame(r *Reader, b Budget, side Side, in *Input) {
	d := &c.dir[side]
	f := &d.frame
	if d.state == stateFirst && (f.kind != kindSettings || !f.sane()) {
		d.state = stateForeign // RFC 9113 section 3.4: SETTINGS comes first
		return
	}
	r.Stats.Frames++
	d.remain, d.damaged, d.absent = f.length, false, 0
	if d.block.open && (f.kind != kindContinuation || f.stream != d.block.stream) {
		c.frameError(r) // RFC 9113 section 6.10
		c.dropBlock(r, b, d)
	}
	if !f.wellFormed() || f.length > max(d.max, defaultMaxFrame) && c.dir[side.Other()].announced {
		c.frameError(r)
	}
	if f.kind != kindData {
		d.state = stateOther
		return
	}
	d.state = stateData
	d.padding, d.pad = f.has(flagPadded), 0
	d.target = c.streams[f.stream]
	if d.target == nil || d.target.half[side].state == halfOver {
		d.target = nil
		r.Stats.StrayFrames++
		return
	}
	c.touch(d.target, in.Time)
	if h := &d.target.half[side]; h.state == halfIdle && !h.headless && !d.unsure() {
		c.frameError(r) // content before the head
	}
}

// frameError notes a frame that must not be.
func (c *Conn) frameError(r *Reader) {
	r.Stats.FrameErrors++
	c.anomalies |= reassembly.AnomalyHTTP2FrameError
}

// readOther gathers the payload of a frame that is not DATA, up to what is read
// of its type.
func (c *Conn) readOther(r *Reader, b Budget, side Side, in *Input) (event Event, more bool) {
	d := &c.dir[side]
	n := min(len(in.Data), int(d.remain))
	if n == 0 && d.remain > 0 {
		return More, false
	}
	payload := d.take(r, in, n)
	whole := uint32(n) == d.frame.length && !d.damaged
	d.remain -= uint32(n)
	if !whole && !d.damaged {
		bound := maxControl
		if k := d.frame.kind; k == kindHeaders || k == kindContinuation || k == kindPushPromise {
			bound = MaxHead + 256 // and the padding
		}
		if !r.keep(b, &d.rest, payload[:min(n, max(0, bound-len(d.rest)))]) {
			r.Stats.BudgetAbandoned++
			d.damaged = true
		}
		payload = d.rest
	}
	if d.remain > 0 {
		return More, true
	}
	d.state = stateFrame
	event = c.other(r, b, side, payload, in.Time)
	if d.rest != nil {
		c.shown[shownRest], d.rest = d.rest, nil // views of it may be in the event
	}
	if d.lostAfter {
		c.lose(r, b, side)
	}
	return event, true
}

// other takes a whole frame that is not DATA, or what is there of it.
func (c *Conn) other(r *Reader, b Budget, side Side, payload []byte, time int64) Event {
	d := &c.dir[side]
	f := &d.frame
	switch f.kind {
	case kindHeaders, kindPushPromise:
		return c.beginBlock(r, b, side, payload, time)
	case kindContinuation:
		return c.continueBlock(r, b, side, payload, time)
	}
	if d.damaged || !f.wellFormed() {
		return More
	}
	switch f.kind {
	case kindReset:
		if s := c.streams[f.stream]; s != nil {
			c.by, c.code = side, be32(payload)
			c.close(s, ReasonReset)
		}
	case kindSettings:
		if !f.has(flagAck) {
			c.applySettings(b, side, payload)
		}
	case kindGoAway:
		if side == Server {
			c.goAway, c.draining, c.lastStream = true, true, be32(payload)&^(1<<31)
		}
	case kindWindowUpdate:
		if f.stream == 0 && d.window == 0 && d.newest == 0 {
			d.window = be32(payload) &^ (1 << 31)
		}
	}
	return More
}

// applySettings reads a SETTINGS frame (RFC 9113 section 6.5). The table size
// that it offers to the other side's encoder is only used once that announces it.
func (c *Conn) applySettings(b Budget, side Side, payload []byte) {
	const settingMaxFrameSize = 5
	d := &c.dir[side]
	var list []message.Setting
	first := !d.announced && !d.sought
	if n := min(len(payload)/6, maxSettings); first && n > 0 && b.Take(n*settingOctets) {
		list = make([]message.Setting, 0, n)
	}
	for ; len(payload) >= 6; payload = payload[6:] {
		s := message.Setting{ID: uint16(payload[0])<<8 | uint16(payload[1]), Value: be32(payload[2:])}
		if s.ID == settingMaxFrameSize {
			peer := &c.dir[side.Other()]
			peer.max = max(peer.max, s.Value)
		}
		if first && len(list) < cap(list) {
			list = append(list, s)
		}
	}
	if first {
		d.settings, d.announced = list, true
	}
}

// close ends a stream; Conn.say says what is to be said of it.
func (c *Conn) close(s *Stream, why Reason) {
	s.closing = true
	c.reason = why
	c.pending = s
}

// say returns the next event that is due without more input.
func (c *Conn) say(r *Reader, b Budget, time int64) Event {
	if !c.holding {
		c.recycle(r, b)
	}
	for {
		s := c.pending
		if s == nil {
			if !c.due(time) {
				return More
			}
			continue
		}
		for side := range s.half {
			h := &s.half[side]
			if h.state == halfOpen && (h.finished || s.closing || s.tunnel) {
				c.end(r, Side(side), s)
				return End
			}
			if h.finished {
				h.state = halfOver
			}
		}
		if !s.closing {
			if why, over := c.over(s); over {
				c.close(s, why)
			}
		}
		c.pending = nil
		if s.closing {
			c.remove(r, b, s)
			if s.told {
				r.Stream, r.Side, r.Reason, r.Code = s, c.by, c.reason, c.code
				return Closed
			}
			c.recycle(r, b)
		}
	}
}

// due finds a stream that is to be closed: because the connection has ended,
// the server won't answer, or nothing was heard of it.
func (c *Conn) due(time int64) bool {
	s := c.oldest
	switch {
	case s == nil:
		return false
	case c.finished:
		c.close(s, ReasonConnection)
		return true
	case s.last < c.before:
		c.close(s, ReasonExpired)
		return true
	}
	if c.draining {
		for ; s != nil; s = s.newer {
			if c.refuses(s) {
				c.close(s, ReasonGoAway)
				return true
			}
		}
		c.draining = false
	}
	if time < c.swept+sweep || !c.unsure() {
		return false
	}
	for s = c.oldest; s != nil && s.last < time-raceWait; s = s.newer {
		switch {
		case c.alone(s):
			c.close(s, ReasonEnded)
			return true
		case s.last < time-lossWait && c.uncertain(s):
			c.close(s, ReasonExpired)
			return true
		}
	}
	c.swept = time
	return false
}

// end makes the event of the end of a message.
func (c *Conn) end(r *Reader, side Side, s *Stream) {
	h := &s.half[side]
	h.state = halfOver
	if s.tunnel && !h.finished && !s.closing {
		h.state = halfTunnel
	}
	if s.tunnel {
		h.Early, h.Bytes, h.Gap = h.Bytes, 0, 0 // what was sent early belongs to the tunnel
	}
	counted := h.length >= 0 && h.Bytes == h.length
	switch {
	case s.tunnel:
	case !h.finished, h.doubtful, h.losses != c.dir[side].losses && !counted:
		h.Broken = true
		r.Stats.Broken++
	case h.length >= 0 && !counted && !(side == Server && (s.head || h.status == 304)):
		h.Anomalies |= reassembly.AnomalyContentLengthMismatch
	}
	h.Anomalies |= c.anomalies
	c.anomalies = 0
	r.Stream, r.Side, r.Message, r.Trailers = s, side, &h.Message, nil
	if h.head != nil {
		r.Head = loadHead(h.head, &r.kept, h.shape)
		c.shown[shownHead], h.head = h.head, nil
	}
	r.Body = c.body(h)
	if s.tunnel {
		r.Body = message.Body{Whole: true}
	}
	if c.trailing {
		r.Trailers = r.section.fields
	}
	c.holding, c.trailing = false, false
}
