package pipeline

import (
	"time"

	"offpath/reassembly/http1"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
	"offpath/reassembly/tls/hello"
)

// startsTLS turns to TLS if a hello begins with the input. It may come at any
// time before the first message: after a tunnel was opened, or where the
// connection was joined.
func (s *shard) startsTLS(f *tcp.Flow, c *conn, d tcp.Direction, in *http1.Input, last bool) bool {
	if c.layers != nil && c.layers.tls != nil {
		return false // TLS within TLS is not followed
	}
	client := d
	switch tls.Looks(in.Data) {
	case tls.ClientHello:
	case tls.ServerHello:
		client = d.Other()
	default:
		return false
	}
	s.secure(f, c, client, d, in, last)
	return true
}

// secure makes a connection one that is secured by TLS from here on, and reads the
// input that shows it.
func (s *shard) secure(f *tcp.Flow, c *conn, client, d tcp.Direction, in *http1.Input, last bool) {
	s.stats.ConnectionsTLS++
	l := s.over(c)
	if l == nil || !s.admits(tls.ConnCost) {
		s.refuse(f, c)
		return
	}
	s.startOver(c)
	if c.midstream || c.prefaced {
		c.claim(d)
	}
	c.guess(f, client)
	c.oriented, c.sure = true, true
	c.parser[client.Other()].Answer()
	c.heard = [2]bool{true, true} // what is decrypted begins where the peers began
	c.prefaced, c.midstream = false, false
	l.tls = new(tls.Conn)
	s.decrypt(f, c, d, in, last)
}

// decrypt takes octets of a secured connection.
func (s *shard) decrypt(f *tcp.Flow, c *conn, d tcp.Direction, in *http1.Input, last bool) {
	if !last && d != c.client && in.HasAck && f.Behind(c.client, in.Ack) {
		return // what it answers is yet to come
	}
	if c.layers.belied(in) {
		s.retract(f, c)
		s.read(f, c, d, in, last)
		return
	}
	record := tls.Input{Data: in.Data, Position: in.Position}
	c.layers.tls.Read(s.records, s.budget, d == c.client, &record, last, s.enter(f, c))
	s.exit(f, c)
	in.Data = record.Data
	s.settle(f, c)
}

// secretsWait is how often, ns of event time, it is looked for secrets that
// records wait for.
const secretsWait = int64(time.Second)

// settle gives up a secured connection of which nothing more is to be learnt.
func (s *shard) settle(f *tcp.Flow, c *conn) {
	if f.Ignored() {
		return
	}
	switch status := c.layers.tls.Status(); {
	case status == tls.Opaque && c.layers.claimed:
		s.retract(f, c)
	case status == tls.Opaque:
		s.leave(f, c)
	case status == tls.Waiting:
		f.SetDeadline(s.table.Clock() + secretsWait)
	}
}

// inside is what is said inside TLS. It implements tls.Consumer.
type inside struct {
	shard *shard
	flow  *tcp.Flow
	conn  *conn
}

// enter returns the consumer for a call of the connection's tls.Conn. Until exit
// that one is not released, even if what it says has the connection left.
func (s *shard) enter(f *tcp.Flow, c *conn) *inside {
	c.layers.busy = true
	s.plain = inside{s, f, c}
	return &s.plain
}

// exit ends a call.
func (s *shard) exit(f *tcp.Flow, c *conn) {
	c.layers.busy = false
	if f.Ignored() {
		s.releaseLayers(f, c)
	}
}

// direction is that of a side.
func (i *inside) direction(client bool) tcp.Direction {
	if client {
		return i.conn.client
	}
	return i.conn.client.Other()
}

// ClientHello takes what names the client's software: the first says it.
func (i *inside) ClientHello(h *hello.Client) {
	l, kept := i.conn.layers, true
	i.conn.confirm(i.direction(true))
	if l.ja4 == "" {
		l.ja4 = h.JA4(hello.TCP)
		if kept = i.shard.budget.Take(len(h.ServerName)); kept {
			l.charge += len(h.ServerName)
			l.serverName = string(h.ServerName)
		}
	}
	if i.shard.config.Hellos {
		i.shard.hello(i.flow, i.conn, h)
	}
	if !kept {
		i.shard.refuse(i.flow, i.conn)
	}
}

// ServerHello says nothing that a transaction holds.
func (i *inside) ServerHello(*hello.Server) { i.conn.confirm(i.direction(false)) }

// Plain reads on in what was decrypted.
func (i *inside) Plain(client bool, p *tls.Plain) int {
	in := http1.Input{Data: p.Data, Position: p.Position}
	if !i.flow.Ignored() {
		i.shard.read(i.flow, i.conn, i.direction(client), &in, p.Last)
	}
	if i.flow.Ignored() {
		return len(p.Data)
	}
	return len(p.Data) - len(in.Data)
}

// Gap says that octets are missing of what was decrypted.
func (i *inside) Gap(client bool, n int64, exact bool) {
	if !i.flow.Ignored() {
		i.shard.missing(i.flow, i.conn, i.direction(client), n, exact)
	}
}

// End says that a side has said its last.
func (i *inside) End(client, clean bool) {
	if !i.flow.Ignored() {
		i.shard.ended(i.flow, i.conn, i.direction(client), clean)
	}
}

// silence takes what a connection says that nobody listens to any more.
type silence struct{}

func (silence) ClientHello(*hello.Client)      {}
func (silence) ServerHello(*hello.Server)      {}
func (silence) Plain(_ bool, p *tls.Plain) int { return len(p.Data) }
func (silence) Gap(bool, int64, bool)          {}
func (silence) End(_, _ bool)                  {}
