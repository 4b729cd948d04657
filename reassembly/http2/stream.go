package http2

import "offpath/reassembly/message"

// Stream is one exchange: a request, and what answers it.
type Stream struct {
	ID   uint32
	Push uint32 // the stream whose answer promised it; 0 if the client opened it
	User any    // the caller's; of what it refers to, 128 octets are charged with the stream

	half         [2]half // by side
	older, newer *Stream // in order of activity
	last         int64   // capture time of its last frame, ns since the epoch
	closing      bool
	told         bool // there was an event of it
	connect      bool // the method is CONNECT
	tunnel       bool // and a 2xx has answered it
	head         bool // the method is HEAD
}

// Message returns what is known of a side's message so far.
func (s *Stream) Message(side Side) *Message { return &s.half[side].Message }

// streamCost is what a stream is charged to the budget, beside what its messages
// keep: its own octets, its place in the table, and 128 for what User refers to.
const streamCost = 640

type halfState uint8

const (
	halfIdle   halfState = iota // nothing was said
	halfOpen                    // the head was read
	halfTunnel                  // the message has ended, octets of a tunnel follow
	halfOver                    // the message has ended, or won't come
)

// half is one side of a stream.
type half struct {
	Message
	rpc    rpcReader
	head   []byte         // the head, if it must outlive its block
	shape  *message.Shape // of the head
	body   []byte         // prefix of the body
	length int64          // Content-Length; -1: none
	losses uint32         // the direction's losses when the stream was opened
	status int
	state  halfState

	finished bool // END_STREAM was seen
	headless bool // its header block was lost
	doubtful bool // head or content may be others than those kept
	capped   bool // no more of the body is kept
}

// open adds a stream, or says that there is no room for it. Whether there are too
// many was seen to when its frame began.
func (c *Conn) open(r *Reader, b Budget, id uint32, time int64) *Stream {
	if !b.Take(streamCost) {
		r.Stats.BudgetAbandoned++
		return nil
	}
	var s *Stream
	if n := len(r.streams); n > 0 {
		s, r.streams = r.streams[n-1], r.streams[:n-1]
	} else {
		s = new(Stream)
	}
	s.ID = id
	for side := range s.half {
		s.half[side].length = -1
		s.half[side].RPC.Status = unknown
		s.half[side].losses = c.dir[side].losses
	}
	if c.streams == nil || len(c.streams) == 0 && c.crowded {
		c.streams, c.crowded = make(map[uint32]*Stream), false // maps don't shrink
	}
	c.streams[id] = s
	c.crowded = c.crowded || len(c.streams) > 64
	s.last = time
	c.append(s)
	r.Stats.StreamsOpened++
	return s
}

// append puts a stream at the newest end of the order of activity.
func (c *Conn) append(s *Stream) {
	s.older, s.newer = c.newest, nil
	if c.newest == nil {
		c.oldest = s
	} else {
		c.newest.newer = s
	}
	c.newest = s
}

// unlink takes a stream out of the order of activity.
func (c *Conn) unlink(s *Stream) {
	if s.older == nil {
		c.oldest = s.newer
	} else {
		s.older.newer = s.newer
	}
	if s.newer == nil {
		c.newest = s.older
	} else {
		s.newer.older = s.older
	}
}

// touch notes that a frame of a stream was seen.
func (c *Conn) touch(s *Stream, time int64) {
	s.last = time
	if c.newest != s {
		c.unlink(s)
		c.append(s)
	}
}

// remove takes a stream out of the table. It is used again after the next call.
func (c *Conn) remove(r *Reader, b Budget, s *Stream) {
	delete(c.streams, s.ID)
	c.unlink(s)
	for side := range c.dir {
		if c.dir[side].target == s {
			c.dir[side].target = nil
		}
		r.release(b, &s.half[side].head)
		r.release(b, &s.half[side].body)
	}
	b.Give(streamCost)
	r.Stats.StreamsClosed++
	switch {
	case !s.closing:
	case c.reason == ReasonEvicted:
		r.Stats.StreamsEvicted++
	case c.reason == ReasonExpired:
		r.Stats.StreamsExpired++
	}
	c.gone = s
}

// recycle gives back what the last event showed.
func (c *Conn) recycle(r *Reader, b Budget) {
	for i := range c.shown {
		r.release(b, &c.shown[i])
	}
	if s := c.gone; s != nil {
		c.gone = nil
		if len(r.streams) < maxSpare {
			*s = Stream{}
			r.streams = append(r.streams, s)
		}
	}
}

// over reports whether nothing more is to come of a stream, and why.
func (c *Conn) over(s *Stream) (why Reason, over bool) {
	client, server := &s.half[Client], &s.half[Server]
	switch {
	case client.state == halfOver && server.state == halfOver:
		return ReasonEnded, true
	case client.state != halfOver:
		return 0, false
	case c.finished:
		return ReasonConnection, true
	case c.refuses(s):
		return ReasonGoAway, true
	}
	return 0, false
}

// refuses reports whether the server has announced that it won't answer a stream.
// One that it answers nevertheless, it does not refuse.
func (c *Conn) refuses(s *Stream) bool {
	answer := &s.half[Server]
	return c.goAway && s.ID > c.lastStream && s.ID%2 == 1 && answer.state == halfIdle && !answer.headless
}

// alone reports whether a stream is an answer whose request may have been lost.
func (c *Conn) alone(s *Stream) bool {
	d := &c.dir[Client]
	return s.half[Server].state == halfOver && s.half[Client].state == halfIdle && (!d.heard || d.unsure())
}

// uncertain reports whether the end of one of the messages may have been lost.
func (c *Conn) uncertain(s *Stream) bool {
	for side := range s.half {
		h := &s.half[side]
		if h.state < halfTunnel && h.losses != c.dir[side].losses {
			return true
		}
	}
	return false
}
