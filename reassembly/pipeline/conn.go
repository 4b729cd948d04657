package pipeline

import (
	"offpath/reassembly"
	"offpath/reassembly/http1"
	"offpath/reassembly/tcp"
)

// conn is a connection that speaks HTTP/1, or may.
type conn struct {
	parser   [2]http1.Parser // by direction
	queue    *exchange       // requests whose transaction is not finished, in order
	newest   *exchange       // the last of them
	identity *identity       // nil before the first request
	last     int64           // capture time of the server's last segment

	skipped   uint32 // KiB of a connection joined in the middle that were no HTTP
	sequence  uint32 // requests so far
	anomalies reassembly.Anomalies
	queued    uint8
	client    tcp.Direction

	heard         [2]bool // octets came, by direction
	oriented      bool    // client is known, the parsers are set up
	spoken        bool    // a message was read
	pipelined     bool    // the client does not wait for responses
	responsesLost bool    // responses may have been lost since the last pair
	answering     bool    // the response being read belongs to the first request
	interim       bool    // the response being read is a 1xx
	serverEnded   bool    // no more responses come
	midstream     bool    // joined after its start, or lost it
	cut           bool    // the capture ended
	prefaced      bool    // began with something else than HTTP
}

// maxSpareConns bounds worker.spareConns.
const maxSpareConns = 256

func (w *worker) newConn() *conn {
	if n := len(w.spareConns); n > 0 {
		c := w.spareConns[n-1]
		w.spareConns = w.spareConns[:n-1]
		return c
	}
	return new(conn)
}

// recycleConn takes back what was attached to a flow that is closed.
func (w *worker) recycleConn(c *conn) {
	if len(w.spareConns) < maxSpareConns {
		*c = conn{}
		w.spareConns = append(w.spareConns, c)
	}
}

// reading returns the request that is being read; nil between requests.
func (c *conn) reading() *exchange {
	if c.newest != nil && !c.newest.ended {
		return c.newest
	}
	return nil
}

// Bounds of what is read of a connection that never shows a message, KiB: one
// joined in the middle of a body, and one that begins with another protocol, such
// as the handshake of a SOCKS proxy (RFC 1928).
const (
	maxUnproven = 16 << 10
	maxPreface  = 16
)

// Data implements tcp.Consumer.
func (s *shard) Data(f *tcp.Flow, d tcp.Direction, seg *tcp.Segment) int {
	c, _ := f.Conn.(*conn)
	if c == nil {
		c = s.newConn()
		c.midstream = f.Midstream()
		f.Conn = c
	}
	if !c.oriented && !s.orient(f, c, d, seg.Data) {
		return len(seg.Data)
	}
	if !c.heard[d] {
		c.heard[d] = true
		if c.midstream || !f.Synchronised(d) {
			c.parser[d].Seek()
		}
	}
	if !c.spoken && !c.midstream && !c.prefaced && c.parser[d].Idle() && s.foreign(f, c, d, seg.Data) {
		return len(seg.Data)
	}
	in := http1.Input{Data: seg.Data, Position: http1.Position{Time: seg.Time, Seq: seg.Seq, Ack: seg.Ack, HasAck: seg.HasAck}}
	if d == c.client {
		s.requests(f, c, &in, seg.Last)
	} else {
		c.last = seg.Time
		s.responses(f, c, &in, seg.Last)
	}
	if !c.spoken && c.oriented && c.parser[d].Seeking() && !f.Ignored() {
		s.skip(f, c, seg.Data)
	}
	if f.Ignored() {
		return len(seg.Data)
	}
	return len(seg.Data) - len(in.Data)
}

// orient finds out who is the client, from the handshake or from the first
// segment that tells. It returns false if it is not known yet.
func (s *shard) orient(f *tcp.Flow, c *conn, d tcp.Direction, data []byte) bool {
	client, known := f.Client()
	if !known || c.prefaced {
		switch http1.Prove(data) {
		case http1.Request:
			client = d
		case http1.Response:
			client = d.Other()
		default:
			s.skip(f, c, data)
			return false
		}
		f.SetClient(client)
	}
	c.client, c.oriented = client, true
	c.parser[client.Other()].Answer()
	if c.prefaced {
		c.parser[0].Seek()
		c.parser[1].Seek()
	}
	return true
}

// skip counts octets of a connection that prove nothing, and gives it up when it
// is something else, or too long.
func (s *shard) skip(f *tcp.Flow, c *conn, data []byte) {
	c.skipped += uint32(len(data)+1023) / 1024
	switch {
	case len(data) > 2 && 0x14 <= data[0] && data[0] <= 0x17 && data[1] == 3 && data[2] <= 4: // TLS record
		s.stats.ConnectionsTLS++
	case c.skipped > maxUnproven, c.skipped > maxPreface && c.prefaced:
		s.stats.ConnectionsOther++
	default:
		return
	}
	s.leave(f, c)
}

// foreign gives up a connection whose first octets are those of a protocol that
// never turns to HTTP/1. Of others the beginning is searched for a message.
func (s *shard) foreign(f *tcp.Flow, c *conn, d tcp.Direction, data []byte) bool {
	expected := http1.Request
	if d != c.client {
		expected = http1.Response
	}
	switch like := http1.Recognise(data); like {
	case expected, http1.Undecided:
		return false
	case http1.TLS:
		s.stats.ConnectionsTLS++
	case http1.HTTP2:
		s.stats.ConnectionsHTTP2++
	default:
		s.preface(f, c, data)
		return true
	}
	s.leave(f, c)
	return true
}

// preface starts over: a connection that began with something else than HTTP may
// turn to it, and either side may be the client then.
func (s *shard) preface(f *tcp.Flow, c *conn, data []byte) {
	for d := range c.parser {
		c.parser[d].Close(s.reader, s.budget)
		c.parser[d] = http1.Parser{}
	}
	c.prefaced, c.oriented = true, false
	s.skip(f, c, data)
}

// speaks notes that a message was read.
func (s *shard) speaks(c *conn) {
	if !c.spoken {
		c.spoken = true
		s.stats.ConnectionsHTTP++
	}
}

// requests reads what the client says. What it does not take waits for the
// server's turn: after asking for another protocol the answer decides what
// follows.
func (s *shard) requests(f *tcp.Flow, c *conn, in *http1.Input, last bool) {
	p := &c.parser[c.client]
	for {
		if x := c.newest; x != nil && x.ended && x.decides && len(in.Data) > 0 {
			if !last && f.Seen(c.client.Other()) {
				return
			}
			x.decides = false
		}
		switch p.Read(s.reader, s.budget, in) {
		case http1.More:
			return
		case http1.Head:
			s.requestHead(f, c, p)
		case http1.End:
			s.requestEnd(f, c, p, in)
		case http1.Lost:
			if x := c.reading(); x != nil {
				s.abandon(c, x)
			}
			if !c.spoken && !c.midstream && !c.prefaced {
				s.preface(f, c, in.Data)
				in.Data = nil
				return
			}
		}
	}
}

func (s *shard) requestHead(f *tcp.Flow, c *conn, p *http1.Parser) {
	s.speaks(c)
	if c.queued >= maxQueue {
		s.stats.QueueOverflows++
		s.giveUp(f, c)
		c.responsesLost = true
	}
	x := s.newExchange()
	x.first = p.First()
	x.headEnd = x.first.Seq + p.HeadOctets()
	x.resynced = p.Resynced()
	x.sequence = int(c.sequence)
	c.sequence++
	method := s.reader.Head.Method
	x.head = string(method) == "HEAD"
	x.connect = string(method) == "CONNECT"
	x.decides = x.connect || s.reader.Upgrade()
	if c.newest == nil {
		c.queue = x
	} else {
		c.newest.next = x
		c.pipelined = c.pipelined || c.newest.first.Ack == x.first.Ack
	}
	c.newest = x
	c.queued++
}

func (s *shard) requestEnd(f *tcp.Flow, c *conn, p *http1.Parser, in *http1.Input) {
	x := c.newest
	x.ended = true
	x.end = in.Seq
	x.gap += p.Gap()
	x.anomalies |= p.Anomalies()
	x.broken = x.broken || p.Broken()
	if x.tx == nil {
		s.extract(f, c, x)
	} else {
		x.tx.Request.BodyBytes = p.Body()
	}
	switch {
	case x.answered:
		s.emit(f, c) // the response came first
	case c.serverEnded:
		s.giveUp(f, c)
	case !f.Seen(c.client.Other()):
		f.SetDeadline(s.table.Clock() + oneWayWait)
	}
}

// oneWayWait is how long, ns, a request waits for a response where no packet of
// the server was ever seen.
const oneWayWait = int64(2e9)

// giveUp finishes the first request of the queue as it stands. A request that is
// being read is finished when it ends.
func (s *shard) giveUp(f *tcp.Flow, c *conn) {
	if x := c.queue; !x.ended {
		s.abandon(c, x)
		return
	}
	s.emit(f, c)
}

// giveUpEnded finishes, in order, all requests that were read.
func (s *shard) giveUpEnded(f *tcp.Flow, c *conn) {
	for c.queue != nil && c.queue.ended {
		s.emit(f, c)
	}
}

// responses reads what the server says. What it does not take waits for request
// octets that the server had, and we have not yet.
func (s *shard) responses(f *tcp.Flow, c *conn, in *http1.Input, last bool) {
	p := &c.parser[c.client.Other()]
	for {
		if !last && len(in.Data) > 0 && in.HasAck && (p.Idle() || p.Seeking() && in.Data[0] == 'H') &&
			f.Behind(c.client, in.Ack) && s.premature(c, in) {
			return
		}
		switch p.Read(s.reader, s.budget, in) {
		case http1.More:
			return
		case http1.Head:
			s.responseHead(f, c, p)
		case http1.End:
			s.responseEnd(f, c, p)
			if f.Ignored() {
				return
			}
		case http1.Lost:
			if c.answering {
				c.answering = false
				s.stats.ResponsesAbandoned++
			}
			c.responsesLost = true
		}
	}
}

// premature reports whether the response that comes next can't be paired well
// with what is there of the requests.
func (s *shard) premature(c *conn, in *http1.Input) bool {
	return c.queue == nil || !c.queue.ended || c.unproven() && c.match(in.Position) == nil
}

func (s *shard) responseHead(f *tcp.Flow, c *conn, p *http1.Parser) {
	s.speaks(c)
	if p.Resynced() {
		c.responsesLost = true
	}
	status := s.reader.Head.Status
	c.interim = status < 200 && status != 101
	x := c.match(p.First())
	if x == nil {
		s.orphan(c)
		return
	}
	for c.queue != x {
		s.giveUp(f, c) // what answered it was lost
	}
	c.responsesLost, x.resynced = false, false
	if c.interim {
		s.stats.Informational++
		if len(x.informational) < maxInformational {
			x.informational = append(x.informational, status)
		}
		return
	}
	c.answering = true
	switch {
	case status == 101:
		x.flags |= reassembly.FlagUpgraded
	case x.connect && status < 300:
		x.flags |= reassembly.FlagTunnel
		p.NoBody()
	case x.head:
		p.NoBody()
	}
}

// orphan counts a response that no request can be told for.
func (s *shard) orphan(c *conn) {
	switch {
	case c.interim:
		s.stats.Informational++
	case c.midstream || c.unproven():
		s.stats.ResponsesUnpaired++
	default:
		s.stats.ResponsesUnsolicited++
		c.anomalies |= reassembly.AnomalyUnsolicitedResponse
	}
	c.responsesLost = true // from here on order proves nothing
}

func (s *shard) responseEnd(f *tcp.Flow, c *conn, p *http1.Parser) {
	if c.interim {
		c.interim = false
		return
	}
	if !c.answering {
		return
	}
	c.answering = false
	x := c.queue
	x.answered = true
	x.gap += p.Gap()
	x.anomalies |= p.Anomalies()
	x.broken = x.broken || p.Broken()
	x.last = c.last
	upgraded := x.flags & (reassembly.FlagUpgraded | reassembly.FlagTunnel)
	if x.tx == nil { // the response came before the request's end
		c.parser[c.client].Peek(s.reader, func() { s.extract(f, c, x) })
	}
	s.extractor.Response(x.tx, &s.reader.Head, s.reader.Body)
	if x.ended {
		s.emit(f, c)
	}
	switch {
	case upgraded&reassembly.FlagUpgraded != 0:
		s.stats.ConnectionsUpgraded++
	case upgraded != 0:
		s.stats.ConnectionsTunnel++
	default:
		return
	}
	s.leave(f, c)
}

// leave stops reading a connection: from here on it speaks something else.
func (s *shard) leave(f *tcp.Flow, c *conn) {
	f.Ignore()
	if c.oriented {
		c.parser[c.client].Finish(s.reader, s.budget, false)
		s.pump(f, c, c.client)
		s.giveUpEnded(f, c)
	}
	c.parser[0].Close(s.reader, s.budget)
	c.parser[1].Close(s.reader, s.budget)
}
