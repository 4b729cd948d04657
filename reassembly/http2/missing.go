package http2

// Upgrade makes the connection one that an HTTP/1.1 request has turned to HTTP/2
// (RFC 7540 section 3.2): the server goes on with its first frame after the 101,
// the client with the preface, and stream 1, which is returned, is answered
// without a request. time is that of the 101, ns since the epoch; head says that
// the method was HEAD. Nil is returned if there is no room for the stream.
func (c *Conn) Upgrade(r *Reader, b Budget, time int64, head bool) *Stream {
	s := c.open(r, b, 1, time)
	c.dir[Client].newest = 1
	if s != nil {
		s.half[Client].state = halfOver
		s.told = true
		s.head = head
	}
	return s
}

// Seek makes the connection look for a frame boundary in what a side says: it was
// joined in its middle.
func (c *Conn) Seek(r *Reader, b Budget, side Side) {
	d := &c.dir[side]
	d.started, d.sought, d.state = true, true, stateLost
	d.table.lose(b)
}

// Missing says that the next n octets of a side will not come. Call Read
// afterwards, with what follows or without input, for the events that this leads
// to.
func (c *Conn) Missing(r *Reader, b Budget, side Side, n int64) {
	d := &c.dir[side]
	c.begin(d, side)
	switch d.state {
	case stateForeign:
	case stateLost:
		d.losses++
	case stateData:
		within := min(n, int64(d.remain))
		c.missingData(d, side, within)
		d.lostAfter = n > within
	case stateOther:
		within := min(n, int64(d.remain))
		d.remain -= uint32(within)
		d.absent += within
		d.damaged = d.damaged || within > 0
		d.lostAfter = n > within
	default:
		c.lose(r, b, side)
	}
}

// missingData takes note of n missing octets of a DATA frame.
func (c *Conn) missingData(d *direction, side Side, n int64) {
	s := d.target
	if d.padding && n > 0 {
		// How much of the frame is padding is not known: none of it is counted,
		// and that the content is whole can't be said any more.
		d.padding, d.pad = false, d.remain
		if s != nil {
			s.half[side].doubtful = true
			s.half[side].capped = true
		}
	}
	content := min(n, int64(d.remain-d.pad))
	d.remain -= uint32(n)
	d.pad = min(d.pad, d.remain)
	if s == nil || content == 0 {
		return
	}
	h := &s.half[side]
	if h.state == halfTunnel {
		d.missed += content
		return
	}
	h.Bytes += content
	h.Gap += content
	h.capped = true
	if h.RPC.Is {
		h.rpc.missing(&h.RPC, content)
	}
}

// lose turns to looking for a frame boundary.
func (c *Conn) lose(r *Reader, b Budget, side Side) {
	d := &c.dir[side]
	r.Stats.LostSync++
	r.Stats.TablesLost++
	d.block.release(r, b)
	r.release(b, &d.rest)
	d.block, d.target = block{}, nil
	d.table.lose(b)
	d.losses++
	d.have, d.missed, d.lostAfter = 0, 0, false
	d.state = stateLost
}

// Finish says that a side has ended. When it was the server, no more responses
// come: all streams are closed. Call Read without input for the events.
func (c *Conn) Finish(side Side) {
	c.finished = c.finished || side == Server
}

// Expire gives up the streams that were last heard of before a time, ns since the
// epoch. Call Read without input for the events.
func (c *Conn) Expire(before int64) { c.before = max(c.before, before) }

// Idle returns when the stream that is idle longest was last heard of, ns since the
// epoch; ok is false if there is no stream.
func (c *Conn) Idle() (since int64, ok bool) {
	if c.oldest == nil {
		return 0, false
	}
	return c.oldest.last, true
}

// Whole reports whether no frame of a side can have been missed since a stream was
// opened.
func (c *Conn) Whole(s *Stream, side Side) bool { return s.half[side].losses == c.dir[side].losses }

// Close gives back what is kept; the connection is of no use afterwards. Streams
// that were not Closed are forgotten.
func (c *Conn) Close(r *Reader, b Budget) {
	for c.oldest != nil {
		c.recycle(r, b)
		c.remove(r, b, c.oldest)
	}
	c.recycle(r, b)
	c.pending, c.streams = nil, nil
	for side := range c.dir {
		d := &c.dir[side]
		d.block.release(r, b)
		r.release(b, &d.rest)
		d.table.release(b)
		b.Give(cap(d.settings) * settingOctets)
		*d = direction{started: true, state: stateForeign}
	}
	c.told = true
}

// Peek calls use while Reader.Head and Reader.Body are those of a side's message
// as far as it has come, and restores them; it returns false if the message is
// not at hand: it must have had a Head and no End.
func (c *Conn) Peek(r *Reader, s *Stream, side Side, use func()) bool {
	h := &s.half[side]
	if h.state != halfOpen || h.head == nil {
		return false
	}
	head, body := r.Head, r.Body
	r.Head, r.Body = loadHead(h.head, &r.peeked, h.shape), h.sofar()
	use()
	r.Head, r.Body = head, body
	return true
}
