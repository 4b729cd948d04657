package pipeline

import (
	"offpath/reassembly/http1"
	"offpath/reassembly/http2"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
)

// That a connection which was joined in the middle, or has begun with something
// else, turns to TLS or HTTP/2 is claimed by what one side says: a body may hold a
// hello, or frames. The claim stands when the other side says its part, and falls
// when a segment of either begins with a start line of HTTP/1. Until it stands nothing
// is handed over that rests on it, unless the other side is not on the mirror.

// claim notes that a side has shown another protocol than HTTP/1.
func (c *conn) claim(d tcp.Direction) {
	l := c.layers
	l.claimed, l.claimant, l.prefaced = true, d, c.prefaced
}

// confirm notes that a side has said what belongs to the protocol claimed, and to
// its role in it.
func (c *conn) confirm(d tcp.Direction) {
	if l := c.layers; l.claimed && d != l.claimant {
		l.claimed, c.guessed = false, false
	}
}

// belied reports whether a segment shows that a claim is wrong.
func (l *layers) belied(in *http1.Input) bool {
	return l.claimed && !in.Inside && http1.Prove(in.Data) != http1.Unlike
}

// retract goes back to looking for HTTP/1, or anything else.
func (s *shard) retract(f *tcp.Flow, c *conn) {
	s.stats.ClaimsRetracted++
	l := c.layers
	if h := l.http2; h != nil {
		h.Finish(http2.Server)
		s.pump(f, c, c.client)
		if f.Ignored() {
			return
		}
		h.Close(s.frames, s.budget)
		s.budget.Give(http2.ConnCost)
		l.http2, l.begun, l.waiting = nil, false, false
	} else {
		l.tls.Close(s.records, s.budget, silence{})
		s.budget.Give(tls.ConnCost)
		l.tls, l.doubt, l.ja4, l.serverName = nil, false, "", ""
	}
	l.claimed = false
	s.startOver(c)
	c.heard = [2]bool{}
	c.midstream, c.prefaced, c.spoken, c.turned = true, l.prefaced, false, false
}
