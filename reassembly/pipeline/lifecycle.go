package pipeline

import (
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
	c.midstream = c.midstream || !c.spoken
	if !c.oriented {
		return
	}
	if why == tcp.CauseCut {
		if x := c.current(d); x != nil {
			x.flags |= reassembly.FlagTruncated
		}
	}
	c.parser[d].Missing(s.reader, s.budget, n)
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
	if d == c.client {
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
	c.parser[d].Finish(s.reader, s.budget, true)
	s.pump(f, c, d)
	if d != c.client && !f.Ignored() {
		c.serverEnded = true
		s.giveUpEnded(f, c)
	}
}

// Timeout implements tcp.Consumer: no response can be hoped for where the
// server's packets are not on the mirror.
func (s *shard) Timeout(f *tcp.Flow) {
	if c, _ := f.Conn.(*conn); c != nil && c.oriented && !f.Seen(c.client.Other()) {
		s.giveUpEnded(f, c)
	}
}

// Close implements tcp.Consumer: what is unfinished is handed over as it stands.
func (s *shard) Close(f *tcp.Flow, why tcp.Reason) {
	c, _ := f.Conn.(*conn)
	if c == nil {
		return
	}
	c.cut = why == tcp.ReasonEndOfInput
	if c.oriented {
		for _, d := range []tcp.Direction{c.client, c.client.Other()} {
			if x := c.current(d); x != nil && why == tcp.ReasonReset {
				x.anomalies |= reassembly.AnomalyResetInMessage
			}
			c.parser[d].Finish(s.reader, s.budget, why == tcp.ReasonFIN)
			s.pump(f, c, d)
		}
		s.giveUpEnded(f, c)
	}
	c.parser[0].Close(s.reader, s.budget)
	c.parser[1].Close(s.reader, s.budget)
	s.recycleConn(c)
}
