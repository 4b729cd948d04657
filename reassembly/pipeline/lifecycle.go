package pipeline

import (
	"math"

	"offpath/reassembly"
	"offpath/reassembly/http1"
	"offpath/reassembly/tcp"
)

// Missing implements tcp.Consumer.
func (s *shard) Missing(f *tcp.Flow, d tcp.Direction, n int64, why tcp.Cause) {
	c, _ := f.Conn.(*conn)
	if c == nil {
		c = s.newConn()
		f.Conn = c
	}
	if l := c.layers; l != nil && l.tls != nil {
		l.doubt = true
		l.tls.Missing(s.records, s.budget, d == c.client, n, s.enter(f, c))
		s.exit(f, c)
		s.settle(f, c)
		s.forget(f, c)
		return
	}
	if !c.oriented {
		c.midstream = true
		return
	}
	if why == tcp.CauseCut {
		if x := c.current(d); x != nil {
			x.flags |= reassembly.FlagTruncated
		}
	}
	s.missing(f, c, d, n, true)
	s.forget(f, c)
}

// missing says that octets of an application protocol are missing: n of them if
// exact, else at most so many.
func (s *shard) missing(f *tcp.Flow, c *conn, d tcp.Direction, n int64, exact bool) {
	c.midstream = c.midstream || !c.spoken
	switch l := c.layers; {
	case l != nil && l.socket != nil && exact:
		l.socket.sides[c.side(d)].Missing(n)
		return
	case l != nil && l.socket != nil:
		l.socket.sides[c.side(d)].Partial = true
		return
	case l != nil && l.http2 != nil && exact:
		l.http2.Missing(s.frames, s.budget, c.side(d), n)
	case l != nil && l.http2 != nil:
		l.http2.Missing(s.frames, s.budget, c.side(d), math.MaxInt32) // beyond any frame
	case exact:
		c.parser[d].Missing(s.reader, s.budget, n)
	default:
		c.parser[d].MissingSome(s.reader, s.budget, n)
	}
	s.pump(f, c, d)
}

// current returns the exchange whose message direction d is in; nil if there is
// none.
func (c *conn) current(d tcp.Direction) *exchange {
	switch {
	case d == c.client:
		return c.reading()
	case c.answering:
		return c.queue
	}
	return nil
}

// pump reads on without input.
func (s *shard) pump(f *tcp.Flow, c *conn, d tcp.Direction) {
	var none http1.Input
	if c.layers != nil && c.layers.http2 != nil {
		s.readStreams(f, c, d, &none, true)
	} else if d == c.client {
		s.requests(f, c, &none, true)
	} else {
		s.responses(f, c, &none, true)
	}
}

// Conflict implements tcp.Consumer.
func (s *shard) Conflict(f *tcp.Flow, _ tcp.Direction) {
	if c, _ := f.Conn.(*conn); c != nil {
		c.anomalies |= reassembly.AnomalyOverlapConflict
	}
}

// End implements tcp.Consumer.
func (s *shard) End(f *tcp.Flow, d tcp.Direction) {
	c, _ := f.Conn.(*conn)
	if c == nil || !c.oriented {
		return
	}
	s.ended(f, c, d, c.layers == nil || c.layers.tls == nil)
	s.forget(f, c)
}

// ended says that a side says nothing more.
func (s *shard) ended(f *tcp.Flow, c *conn, d tcp.Direction, clean bool) {
	if l := c.layers; l != nil && l.socket != nil {
		return
	} else if l != nil && l.http2 != nil {
		l.http2.Finish(c.side(d))
		s.pump(f, c, d)
		return
	}
	c.parser[d].Finish(s.reader, s.budget, clean)
	s.pump(f, c, d)
	if d != c.client && !f.Ignored() {
		c.serverEnded = true
		s.giveUpEnded(f, c)
	}
}

// Timeout implements tcp.Consumer: no response can be hoped for where the
// server's packets are not on the mirror; and secrets may have come.
func (s *shard) Timeout(f *tcp.Flow) {
	c, _ := f.Conn.(*conn)
	if c == nil || !c.oriented {
		return
	}
	if l := c.layers; l != nil && l.tls != nil {
		l.tls.Retry(s.records, s.budget, s.table.Clock(), s.enter(f, c))
		s.exit(f, c)
		s.settle(f, c)
	}
	switch {
	case f.Seen(c.client.Other()) || f.Ignored():
	case c.layers != nil && c.layers.http2 != nil:
		s.expireStreams(f, c)
	default:
		s.giveUpEnded(f, c)
	}
	s.forget(f, c)
}

// Close implements tcp.Consumer: what is unfinished is handed over as it stands.
func (s *shard) Close(f *tcp.Flow, why tcp.Reason) {
	c, _ := f.Conn.(*conn)
	if c == nil {
		return
	}
	s.cut = why == tcp.ReasonEndOfInput
	if l := c.layers; l != nil && l.tls != nil {
		l.tls.Close(s.records, s.budget, s.enter(f, c))
		s.exit(f, c)
	}
	if c.oriented {
		for _, d := range []tcp.Direction{c.client, c.client.Other()} {
			s.closed(f, c, d, why)
		}
		s.giveUpEnded(f, c)
	}
	s.release(f, c)
	s.cut = false
	s.recycleConn(c)
}

// closed finishes what a side was saying.
func (s *shard) closed(f *tcp.Flow, c *conn, d tcp.Direction, why tcp.Reason) {
	if l := c.layers; l != nil && l.socket != nil {
		return
	} else if l != nil && l.http2 != nil {
		l.http2.Finish(c.side(d))
		s.pump(f, c, d)
		return
	}
	if x := c.current(d); x != nil && why == tcp.ReasonReset {
		x.anomalies |= reassembly.AnomalyResetInMessage
	}
	c.parser[d].Finish(s.reader, s.budget, why == tcp.ReasonFIN)
	s.pump(f, c, d)
}
