package pipeline

import (
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/http1"
	"offpath/reassembly/http2"
	"offpath/reassembly/message"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
)

// conn is a connection that speaks HTTP/1, or may. What else it is made of, or
// speaks, is in its layers.
type conn struct {
	parser   [2]http1.Parser // by direction
	queue    *exchange       // requests whose transaction is not finished, in order
	newest   *exchange       // the last of them
	identity identity        // known from the first request on
	layers   *layers         // nil: HTTP/1 and nothing else
	last     int64           // capture time of the server's last segment

	skipped   uint16 // KiB of a connection joined in the middle that were no HTTP
	sequence  uint32 // requests so far
	anomalies reassembly.Anomalies
	queued    uint8
	client    tcp.Direction

	secured       [2]bool           // a segment looked like one of TLS, by direction
	heard         [2]bool           // octets came, by direction
	said          [2]http1.Likeness // start line that a side last began a segment with, while the client is a guess
	oriented      bool              // client is known, the parsers are set up
	spoken        bool              // a message was read
	pipelined     bool              // the client does not wait for responses
	responsesLost bool              // responses may have been lost since the last pair
	answering     bool              // the response being read belongs to the first request
	interim       bool              // the response being read is a 1xx
	serverEnded   bool              // no more responses come
	midstream     bool              // joined after its start, or lost it
	prefaced      bool              // began with something else than HTTP
	sure          bool              // who is the client is no guess
	guessed       bool              // nor does the handshake tell
	turned        bool              // another protocol begins with the server's next octet
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
// joined in the middle of a body, or after a CONNECT, which a server may answer like
// any request; and one that begins with another protocol, such as the handshake of
// a SOCKS proxy (RFC 1928).
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
	in := http1.Input{Data: seg.Data, Position: seg.Position}
	if c.layers != nil && c.layers.tls != nil {
		s.decrypt(f, c, d, &in, seg.Last)
	} else {
		s.read(f, c, d, &in, seg.Last)
	}
	if f.Ignored() {
		s.forget(f, c)
		return len(seg.Data)
	}
	seg.Unread = in.Unread == len(seg.Data)
	return len(seg.Data) - len(in.Data)
}

// read takes octets of an application protocol, in the clear or decrypted. What
// is left in the input waits.
func (s *shard) read(f *tcp.Flow, c *conn, d tcp.Direction, in *http1.Input, last bool) {
	switch l := c.layers; {
	case l != nil && l.http2 != nil:
		s.readStreams(f, c, d, in, last)
		return
	case l != nil && l.socket != nil:
		l.socket.read(c.side(d), in.Data, in.Time)
		in.Data = nil
		return
	}
	if c.fresh(f, d) && s.passedOn(f, c, d, in) {
		return
	}
	if !c.spoken && c.between(d) && (s.startsTLS(f, c, d, in, last) || s.joinsStreams(f, c, d, in, last)) {
		return
	}
	if !c.oriented && !s.orient(f, c, d, in) {
		return
	}
	if !c.heard[d] {
		c.heard[d] = true
		if c.midstream || !f.Synchronised(d) {
			c.parser[d].Seek()
		}
	}
	if !c.spoken && !c.midstream && !c.prefaced && c.parser[d].Idle() && s.foreign(f, c, d, in, last) {
		return
	}
	if !c.sure {
		s.review(f, c, d, in)
	}
	data := in.Data
	if d == c.client {
		s.requests(f, c, in, last)
	} else {
		c.last = in.Time
		s.responses(f, c, in, last)
	}
	if !c.spoken && c.oriented && c.parser[d].Seeking() && !f.Ignored() {
		s.skip(f, c, d, data)
	}
}

// fresh reports whether a direction's next octet is its first, for all that is
// known, and may be a client's.
func (c *conn) fresh(f *tcp.Flow, d tcp.Direction) bool {
	if c.heard[d] || c.midstream || c.prefaced {
		return false
	}
	client, known := f.Client()
	return !known || d == client
}

// between reports whether a direction is not inside a message, whose octets may
// look like anything.
func (c *conn) between(d tcp.Direction) bool {
	p := &c.parser[d]
	return !c.oriented || p.Idle() || p.Seeking()
}

// orient finds out who is the client, from the handshake or from the first
// segment that tells. It returns false if it is not known yet.
func (s *shard) orient(f *tcp.Flow, c *conn, d tcp.Direction, in *http1.Input) bool {
	client, _ := f.Client()
	begun := false
	if c.sure = !c.guesses(f) && !c.prefaced; !c.sure {
		switch like := http1.Prove(in.Data); {
		case like != http1.Unlike && c.believes(f, d, like):
			client = asker(d, like)
		case c.prefaced && !c.midstream && mayBeginRequest(in.Data):
			client, begun = d, true
		default:
			s.skip(f, c, d, in.Data)
			in.Data = nil
			return false
		}
		c.guess(f, client)
	}
	c.client, c.oriented = client, true
	c.parser[client.Other()].Answer()
	if c.prefaced {
		c.parser[client.Other()].Seek()
		if !begun {
			c.parser[client].Seek()
		}
	}
	return true
}

// mayBeginRequest reports whether a segment may hold the beginning of a request
// line whose rest is in the next ones.
func mayBeginRequest(data []byte) bool {
	return 'A' <= data[0] && data[0] <= 'Z' && http1.Recognise(data) == http1.Undecided
}

// skip counts octets of a connection that prove nothing, and gives it up when they
// are too many, or both sides secure theirs.
func (s *shard) skip(f *tcp.Flow, c *conn, d tcp.Direction, data []byte) {
	c.skipped += uint16((len(data) + 1023) / 1024)
	c.secured[d] = c.secured[d] || tls.Looks(data) == tls.Midstream
	switch {
	case c.secured[0] && c.secured[1]:
		s.stats.ConnectionsTLS++
	case c.skipped > maxUnproven, c.skipped > maxPreface && c.prefaced && c.sequence == 0:
		s.stats.ConnectionsOther++
	default:
		return
	}
	s.leave(f, c)
}

// foreign turns to the protocol that a connection's first octets are of, if it is
// not HTTP/1. Of one that isn't known the beginning is searched for a message.
func (s *shard) foreign(f *tcp.Flow, c *conn, d tcp.Direction, in *http1.Input, last bool) bool {
	expected := http1.Request
	if d != c.client {
		expected = http1.Response
	}
	switch like := http1.Recognise(in.Data); {
	case like == expected, like == http1.Undecided:
		return false
	case like == http1.TLS:
		s.secure(f, c, c.client, d, in, last)
	case like == http1.HTTP2 && d == c.client, d != c.client && http2.Opens(in.Data):
		if s.turnToStreams(f, c) {
			if d == c.client {
				c.layers.since = in.Time
			}
			s.readStreams(f, c, d, in, last)
		}
	default:
		s.preface(f, c, d, in.Data)
		in.Data = nil
	}
	return true
}

// preface starts over: a connection that began with something else than HTTP may
// turn to it, and either side may be the client then.
func (s *shard) preface(f *tcp.Flow, c *conn, d tcp.Direction, data []byte) {
	s.startOver(c)
	c.prefaced = true
	s.skip(f, c, d, data)
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
			if !c.spoken && s.reader.Preface() {
				s.goOnInStreams(f, c, p.First(), in, last)
				return
			}
			s.requestHead(f, c, p)
		case http1.End:
			s.requestEnd(f, c, p, in)
		case http1.Lost:
			if x := c.reading(); x != nil {
				s.abandon(c, x)
			}
			if !c.spoken && !c.midstream {
				s.preface(f, c, c.client, in.Data)
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
	x.safe = content.IsSafe(method)
	x.connect = string(method) == "CONNECT"
	x.decides = x.connect || s.reader.Upgrade()
	x.h2c = x.decides && s.asksForStreams()
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
		s.reader.Head.Partial = p.Anomalies()&cutHead != 0
		s.extract(f, c, x, &s.reader.Head, s.reader.Body)
	} else {
		x.tx.Request.BodyBytes = p.Body()
	}
	switch {
	case x.answered:
		s.emit(f, c) // the response came first
	case c.serverEnded:
		s.giveUp(f, c)
	case !s.waits(x):
		s.giveUpEnded(f, c)
		c.responsesLost = true
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
		if !c.sure && c.queue == nil && p.Seeking() && len(in.Data) > 0 {
			if http1.Prove(in.Data) == http1.Response {
				s.stats.ResponsesUnpaired++
			}
			c.responsesLost = true
			in.Data = nil
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
			if c.turned {
				c.turned = false
				if len(in.Data) > 0 {
					s.read(f, c, c.client.Other(), in, last)
				}
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
	c.responsesLost, x.resynced, c.sure = false, false, true
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
	case x.safe:
		p.Keep(s.reader, s.config.Content.SafeAnswerLimit(&s.reader.Head))
	}
}

// orphan counts a response that no request can be told for.
func (s *shard) orphan(c *conn) {
	switch {
	case c.interim:
		s.stats.Informational++
	case c.midstream || c.unproven() || c.parser[c.client].Unsure() || c.layers != nil && c.layers.doubt:
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
	if x.tx == nil { // the response came before the request's end
		asked := &c.parser[c.client]
		asked.Peek(s.reader, func() {
			s.reader.Head.Partial = asked.Anomalies()&cutHead != 0
			s.extract(f, c, x, &s.reader.Head, s.reader.Body)
		})
	}
	if x.h2c && s.reader.Head.Status == 101 && x.ended {
		s.upgradeToStreams(f, c, x)
		return
	}
	upgraded, tx := x.flags&(reassembly.FlagUpgraded|reassembly.FlagTunnel), x.tx
	s.extractor.Response(tx, &s.reader.Head, s.reader.Body)
	switch {
	case x.ended:
		s.emit(f, c)
	case !s.waits(x):
		s.refuse(f, c)
		return
	}
	switch {
	case upgraded&reassembly.FlagUpgraded != 0:
		s.stats.ConnectionsUpgraded++
		if value, _ := s.reader.Head.Get("upgrade"); message.EqualFold(value, "websocket") {
			s.turnToSocket(f, c, tx)
		} else {
			s.leave(f, c)
		}
	case upgraded != 0:
		s.stats.ConnectionsTunnel++
		s.tunnel(f, c)
	}
}

// tunnel starts over after CONNECT: what follows is another connection, which may
// be secured, and may speak HTTP.
func (s *shard) tunnel(f *tcp.Flow, c *conn) {
	if c.layers != nil && c.layers.tls != nil {
		s.leave(f, c)
		return
	}
	s.endRequests(f, c)
	s.startOver(c)
	c.prefaced, c.turned, c.spoken, c.midstream = true, true, false, false
	c.said = [2]http1.Likeness{}
	c.skipped = 0
}

// startOver forgets what was read of messages.
func (s *shard) startOver(c *conn) {
	for d := range c.parser {
		c.parser[d].Close(s.reader, s.budget)
		c.parser[d] = http1.Parser{}
	}
	c.oriented = false
}

// leave stops reading a connection: from here on it speaks something else.
func (s *shard) leave(f *tcp.Flow, c *conn) {
	f.Ignore()
	if c.oriented {
		s.endRequests(f, c)
	}
	s.release(f, c)
}

// forget takes what is attached to a flow that nobody reads any more.
func (s *shard) forget(f *tcp.Flow, c *conn) {
	if f.Ignored() && c.queue == nil {
		f.Conn = nil
		s.recycleConn(c)
	}
}

// endRequests hands over what was asked as it stands: nothing more is read of it.
func (s *shard) endRequests(f *tcp.Flow, c *conn) {
	if l := c.layers; l != nil && l.http2 != nil {
		l.http2.Finish(http2.Server)
	} else {
		c.parser[c.client].Finish(s.reader, s.budget, false)
	}
	s.pump(f, c, c.client)
	s.giveUpEnded(f, c)
}

// release gives back what a connection keeps.
func (s *shard) release(f *tcp.Flow, c *conn) {
	c.parser[0].Close(s.reader, s.budget)
	c.parser[1].Close(s.reader, s.budget)
	if c.layers != nil {
		s.releaseLayers(f, c)
	}
}
