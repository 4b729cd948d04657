package pipeline

import (
	"net/netip"

	"offpath/reassembly/http2"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
)

// layers are what a connection is made of beside HTTP/1 in the clear.
type layers struct {
	tls     *tls.Conn   // nil: not secured
	http2   *http2.Conn // nil: not spoken
	socket  *socket     // nil: no WebSocket
	charge  int         // octets charged for what these fields don't charge themselves
	waiting bool        // in HTTP/2, for a server that is not on the mirror
	busy    bool        // a method of tls is being called
	doubt   bool        // octets were lost under tls
	begun   bool        // the server has begun to speak HTTP/2
	since   int64       // capture time of the preface of HTTP/2; 0: not seen

	claimed  bool          // what it speaks is the word of one side
	claimant tcp.Direction // of this
	prefaced bool          // conn.prefaced before the claim

	preamble []byte        // a buffer of the worker: of a PROXY protocol header that is not whole
	from     tcp.Direction // in which it came
	proxied  bool          // one was read

	client     netip.Addr // named by a PROXY protocol header that is believed
	ja4        string     // of its ClientHello
	serverName string     // likewise
}

// layersCost is what layers are charged to the budget, octets: their own and those of
// a JA4.
const layersCost = 192

// over returns the layers of a connection, made if there are none; nil if there is no
// room for them.
func (s *shard) over(c *conn) *layers {
	if c.layers == nil && s.admits(layersCost) {
		c.layers = &layers{charge: layersCost}
	}
	return c.layers
}

// admits charges what a connection takes while nothing is said, or says that there is
// no room for it: a quarter of the budget is left to messages that are being read.
func (s *shard) admits(octets int) bool {
	return s.budget.Used()+octets <= s.config.shardBuffer()/4*3 && s.budget.Take(octets)
}

// refuse leaves a connection because there is no room for what it is.
func (s *shard) refuse(f *tcp.Flow, c *conn) {
	s.stats.ConnectionsRefused++
	s.leave(f, c)
}

// releaseLayers gives back what the layers keep.
func (s *shard) releaseLayers(f *tcp.Flow, c *conn) {
	s.forgetPreamble(c)
	if k := c.layers.socket; k != nil {
		s.closeSocket(f, c, k)
		c.layers.socket = nil
	}
	if h := c.layers.http2; h != nil {
		h.Close(s.frames, s.budget)
		s.budget.Give(http2.ConnCost)
		c.layers.http2 = nil
	}
	if t := c.layers.tls; t != nil && !c.layers.busy {
		t.Close(s.records, s.budget, silence{})
		s.budget.Give(tls.ConnCost)
		c.layers.tls = nil
	}
	s.budget.Give(c.layers.charge)
	c.layers.charge = 0
}
