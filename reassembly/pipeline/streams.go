package pipeline

import (
	"bytes"
	"strings"

	"offpath/reassembly"
	"offpath/reassembly/http1"
	"offpath/reassembly/http2"
	"offpath/reassembly/message"
	"offpath/reassembly/tcp"
)

// asksForStreams reports whether the request that the reader holds asks for
// HTTP/2 (RFC 7540 section 3.2).
func (s *shard) asksForStreams() bool {
	value, _ := s.reader.Head.Get("upgrade")
	return message.EqualFold(value, "h2c")
}

// turnToStreams makes a connection one that speaks HTTP/2, or leaves it if there is no
// room for that.
func (s *shard) turnToStreams(f *tcp.Flow, c *conn) bool {
	s.stats.ConnectionsHTTP2++
	l := s.over(c)
	if l == nil || !s.admits(http2.ConnCost) {
		s.refuse(f, c)
		return false
	}
	client := c.client
	asked := &c.parser[client] // where a preface that comes in pieces may have begun
	begun := http1.Input{Data: bytes.Clone(asked.Begun()), Position: asked.First()}
	if len(l.preamble) > 0 && l.from == client { // it begins as a PROXY header does
		begun = http1.Input{Data: bytes.Clone(l.preamble), Position: tcp.Position{Time: s.table.Clock()}}
	}
	s.forgetPreamble(c)
	s.startOver(c)
	c.client, c.oriented, c.spoken = client, true, true
	l.http2 = new(http2.Conn)
	if len(begun.Data) > 0 && strings.HasPrefix(http1.Preface, string(begun.Data)) {
		l.since = begun.Time
		s.readStreams(f, c, client, &begun, true)
	}
	return !f.Ignored()
}

// goOnInStreams goes on in HTTP/2 with a client whose preface came in pieces, and looked
// like a request of HTTP/1 until it was whole.
func (s *shard) goOnInStreams(f *tcp.Flow, c *conn, at tcp.Position, in *http1.Input, last bool) {
	s.reader.Stats.Requests-- // it was none
	if !s.turnToStreams(f, c) {
		return
	}
	c.layers.since = at.Time
	head := http1.Input{Data: []byte(http1.Preface), Position: at}
	s.readStreams(f, c, c.client, &head, true)
	if !f.Ignored() {
		s.readStreams(f, c, c.client, in, last)
	}
}

// joinsStreams turns to HTTP/2 if a segment of a connection whose beginning was
// not seen is proven to be of it, or is its beginning after all.
func (s *shard) joinsStreams(f *tcp.Flow, c *conn, d tcp.Direction, in *http1.Input, last bool) bool {
	if c.oriented && !c.midstream && !c.prefaced || len(in.Data) == 0 {
		return false
	}
	side, sought := http2.Client, false
	if http1.Recognise(in.Data) != http1.HTTP2 {
		if in.Data[0] != 0 {
			return false // no frame is longer than 64 KiB unless the peers agreed on that
		}
		if side, sought = s.frames.Prove(in.Data); !sought {
			return false
		}
	}
	client := d
	if side == http2.Server {
		client = d.Other()
	}
	c.guess(f, client)
	if !s.turnToStreams(f, c) {
		return true
	}
	if c.midstream || c.prefaced || sought {
		c.claim(d)
	}
	c.midstream = true
	if sought {
		c.layers.http2.Seek(s.frames, s.budget, http2.Client)
	} else {
		c.layers.since = in.Time
	}
	s.readStreams(f, c, d, in, last)
	return true
}

// upgradeToStreams goes on in HTTP/2 with the answer to a request in HTTP/1.
func (s *shard) upgradeToStreams(f *tcp.Flow, c *conn, x *exchange) {
	c.queue = x.next
	if c.queue == nil {
		c.newest = nil
	}
	c.queued--
	x.answered = false
	x.informational = append(x.informational, s.reader.Head.Status)
	s.endRequests(f, c)
	if s.turnToStreams(f, c) {
		c.turned = true
		if stream := c.layers.http2.Upgrade(s.frames, s.budget, s.table.Clock(), x.head); stream != nil {
			stream.User = x
			return
		}
	}
	x.broken = true
	s.finish(f, c, x)
}

// turnBack goes on in HTTP/1 with a server that takes the preface for what it looks like
// to it: a request of HTTP/1 (RFC 9113 section 3.4), which its answer belongs to. What
// the client has asked for behind it was not read, and is handed over without answer.
func (s *shard) turnBack(f *tcp.Flow, c *conn) {
	client := c.client
	s.endRequests(f, c)
	c.layers.http2.Close(s.frames, s.budget)
	s.budget.Give(http2.ConnCost)
	c.layers.http2 = nil
	s.startOver(c)
	c.client, c.oriented, c.midstream = client, true, false
	c.parser[client].Seek()
	c.parser[client.Other()].Answer()
	x := s.newExchange()
	x.first.Time, x.sequence, x.ended = c.layers.since, int(c.sequence), true
	c.sequence++
	c.queue, c.newest, c.queued = x, x, 1
	s.reader.Stats.Requests++
	s.extract(f, c, x, &message.Head{Version: "2", Method: []byte("PRI"), Target: []byte("*")}, message.Body{Whole: true})
	if !s.waits(x) {
		s.giveUpEnded(f, c)
	}
}

// side is who sends in a direction.
func (c *conn) side(d tcp.Direction) http2.Side {
	if d == c.client {
		return http2.Client
	}
	return http2.Server
}

// direction is that in which a side sends.
func (c *conn) direction(side http2.Side) tcp.Direction {
	if side == http2.Client {
		return c.client
	}
	return c.client.Other()
}

// readStreams takes octets of HTTP/2.
func (s *shard) readStreams(f *tcp.Flow, c *conn, d tcp.Direction, in *http1.Input, last bool) {
	if !last && d != c.client && in.HasAck && len(in.Data) > 0 && f.Behind(c.client, in.Ack) {
		return // what it answers is yet to come
	}
	if c.layers.belied(in) {
		s.retract(f, c)
		if !f.Ignored() {
			s.read(f, c, d, in, last)
		}
		return
	}
	if l := c.layers; d != c.client && len(in.Data) > 0 && !l.begun {
		l.begun = true
		if l.since != 0 && http1.Recognise(in.Data) == http1.Response {
			s.turnBack(f, c)
			s.read(f, c, d, in, last)
			return
		}
		if c.midstream && !http2.Opens(in.Data) {
			l.http2.Seek(s.frames, s.budget, http2.Server)
		}
	}
	frames := http2.Input{Data: in.Data, Time: in.Time, Inside: in.Inside}
	in.Data = nil
	r := s.frames
	for {
		switch c.layers.http2.Read(r, s.budget, c.side(d), &frames) {
		case http2.More:
			return
		case http2.Head:
			s.streamHead(f, c)
		case http2.End:
			s.streamEnd(f, c)
		case http2.Tunnel:
			if k, _ := r.Stream.User.(*socket); k != nil {
				s.doubt(c, k)
				k.sides[r.Side].Missing(r.Missing)
				k.read(r.Side, r.Data, in.Time)
			}
		case http2.Closed:
			s.streamClosed(f, c)
		case http2.Lost:
			s.stats.ConnectionsOther++
			s.leave(f, c)
			return
		}
	}
}

// settled is what a stream has of which nothing more is made: for want of room its
// transaction was handed over as it stood, or given up.
type settled struct{}

// call returns the exchange of the stream at hand, made if there is none; nil if the
// stream is settled.
func (s *shard) call() *exchange {
	switch user := s.frames.Stream.User.(type) {
	case *exchange:
		return user
	case settled:
		return nil
	}
	x := s.newExchange()
	x.sequence = -1
	s.frames.Stream.User = x
	return x
}

func (s *shard) streamHead(f *tcp.Flow, c *conn) {
	r := s.frames
	x := s.call()
	c.confirm(c.direction(r.Side))
	switch {
	case x == nil && r.Side == http2.Client:
		s.stats.RequestsAbandoned++
		return
	case x == nil:
		return
	case r.Side == http2.Client:
		x.first.Time = r.Message.First
		s.count(c, x)
		return
	}
	switch status := r.Head.Status; {
	case status != 0 && status < 200:
		s.stats.Informational++
		if len(x.informational) < maxInformational {
			x.informational = append(x.informational, status)
		}
	case x.connect && status/100 == 2 && x.extended:
		x.flags |= reassembly.FlagUpgraded
	case x.connect && status/100 == 2:
		x.flags |= reassembly.FlagTunnel
	}
}

// count gives a request its place on the connection.
func (s *shard) count(c *conn, x *exchange) {
	x.sequence = int(c.sequence)
	c.sequence++
	head := &s.frames.Head
	if x.connect = string(head.Method) == "CONNECT"; x.connect {
		var protocol []byte
		protocol, x.extended = head.Get(":protocol")
		x.socket = message.EqualFold(protocol, "websocket")
	}
}

func (s *shard) streamEnd(f *tcp.Flow, c *conn) {
	r := s.frames
	x := s.call()
	if x == nil {
		return
	}
	m := r.Message
	x.gap += m.Gap
	x.anomalies |= m.Anomalies
	x.broken = x.broken || m.Broken || m.Unknown > 0
	x.last = max(x.last, m.Last)
	if m.Unknown > 0 {
		x.flags |= reassembly.FlagGap // what the fields are was said in octets that are missing
	}
	if r.Side == http2.Client {
		x.ended = true
		r.Head.Partial = m.Unknown > 0 || m.Anomalies&cutHead != 0
		r.Head.Settings, r.Head.Window = c.layers.http2.Settings(http2.Client), c.layers.http2.Window(http2.Client)
		s.extract(f, c, x, &r.Head, r.Body)
		if l := c.layers; !l.waiting && !f.Seen(c.client.Other()) {
			l.waiting = true
			f.SetDeadline(s.table.Clock() + oneWayWait)
		}
		if m.RPC.Is {
			x.tx.Operation = procedure(x.tx.Request.Path)
			grpc(x.tx, &m.RPC).RequestMessages = m.RPC.Messages
		}
		if !x.answered && !s.waits(x) {
			r.Stream.User = settled{}
			s.finish(f, c, x)
		}
		return
	}
	x.answered = true
	if x.tx == nil { // the request has not ended
		x.tx = s.txs.New()
		if !s.waits(x) {
			s.forgo(x)
			r.Stream.User = settled{}
			return
		}
	}
	s.extractor.Response(x.tx, &r.Head, r.Body)
	if m.RPC.Is {
		rpc := grpc(x.tx, &m.RPC)
		rpc.ResponseMessages, rpc.Status = m.RPC.Messages, m.RPC.Status
	}
	if x.flags&(reassembly.FlagUpgraded|reassembly.FlagTunnel) != 0 && x.ended {
		r.Stream.User = nil // what follows is not part of it
		if x.socket {
			if k := s.openSocket(x.tx, m.Last); k != nil {
				r.Stream.User = k
				asked := r.Stream.Message(http2.Client)
				k.sides[http2.Client].Partial = asked.Bytes+asked.Early > 0 // that it was one was not known
			}
		}
		s.finish(f, c, x)
	}
}

// expireStreams hands over requests that wait for a server of which no packet was
// ever seen.
func (s *shard) expireStreams(f *tcp.Flow, c *conn) {
	l := c.layers
	l.waiting = false
	l.http2.Expire(s.table.Clock() - oneWayWait + 1)
	s.pump(f, c, c.client)
	if since, ok := l.http2.Idle(); ok {
		l.waiting = true
		f.SetDeadline(since + oneWayWait)
	}
}

// doubt ends the count of a WebSocket in the stream at hand once frames of it may
// have been lost.
func (s *shard) doubt(c *conn, k *socket) {
	for side := range k.sides {
		if !c.layers.http2.Whole(s.frames.Stream, http2.Side(side)) {
			k.sides[side].Partial = true
		}
	}
}

// grpc returns the call that one of a transaction's messages is part of.
func grpc(tx *reassembly.Transaction, rpc *http2.RPC) *reassembly.GRPC {
	if tx.GRPC == nil {
		tx.GRPC = &reassembly.GRPC{
			Status: reassembly.Unknown, RequestMessages: reassembly.Unknown, ResponseMessages: reassembly.Unknown,
		}
	}
	tx.GRPC.Partial = tx.GRPC.Partial || rpc.Partial
	return tx.GRPC
}

// maxProcedure is the most octets of a method's full name, and maxNumbers of the
// digits in it: it names versions, nobody's account.
const (
	maxProcedure = 128
	maxNumbers   = 5
)

// procedure is the full name of the method that gRPC calls by a path, which is
// service and method, names with dots; "" for any other path, which anybody may
// call by that media type.
func procedure(path string) string {
	if len(path) < 2 || len(path) > maxProcedure || path[0] != '/' {
		return ""
	}
	name := path[1:]
	slash, digits := strings.IndexByte(name, '/'), 0
	if slash <= 0 || slash == len(name)-1 {
		return ""
	}
	for i := range len(name) {
		switch c := name[i]; {
		case '0' <= c && c <= '9':
			digits++
		case i == slash, 'a' <= c|0x20 && c|0x20 <= 'z', c == '_', c == '.':
		default:
			return ""
		}
	}
	if digits > maxNumbers {
		return ""
	}
	return name
}

func (s *shard) streamClosed(f *tcp.Flow, c *conn) {
	r := s.frames
	user := r.Stream.User
	r.Stream.User = nil
	if k, _ := user.(*socket); k != nil {
		s.doubt(c, k)
		s.closeSocket(f, c, k)
	}
	x, _ := user.(*exchange)
	switch {
	case x == nil:
	case x.sequence >= 0 && x.ended && !(c.layers.claimed && f.Seen(c.layers.claimant.Other())):
		if r.Reason == http2.ReasonReset && !x.answered {
			x.anomalies |= reassembly.AnomalyResetInMessage
		}
		s.finish(f, c, x)
	default:
		s.forgo(x)
	}
}

// forgo counts an exchange of which no transaction can be made.
func (s *shard) forgo(x *exchange) {
	if x.sequence >= 0 {
		s.stats.RequestsAbandoned++
	} else {
		s.stats.ResponsesUnpaired++
	}
	s.recycle(x)
}
