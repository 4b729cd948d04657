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
	waiting bool        // in HTTP/2, for a server that is not on the mirror
	busy    bool        // a method of tls is being called
	doubt   bool        // octets were lost under tls
	begun   bool        // the server has begun to speak HTTP/2

	preamble []byte        // of a PROXY protocol header that is not whole
	from     tcp.Direction // in which it came
	proxied  bool          // one was read

	client     netip.Addr // named by a PROXY protocol header that is believed
	ja4        string     // of its ClientHello
	serverName string     // likewise
}

// over returns the layers of a connection, made if there are none.
func (c *conn) over() *layers {
	if c.layers == nil {
		c.layers = new(layers)
	}
	return c.layers
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
		c.layers.http2 = nil
	}
	if t := c.layers.tls; t != nil && !c.layers.busy {
		t.Close(s.records, s.budget, silence{})
		c.layers.tls = nil
	}
}
