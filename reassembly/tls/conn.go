package tls

import (
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls/internal/protection"
)

// The two directions, as indices.
const (
	fromClient = 0
	fromServer = 1
)

func side(client bool) int {
	if client {
		return fromClient
	}
	return fromServer
}

// epoch is the keys that a direction of TLS 1.3 is under (RFC 8446 section 4).
type epoch uint8

const (
	epochPlain epoch = iota
	epochEarly
	epochHandshake
	epochApplication
)

// half is one direction.
type half struct {
	header [headerLen]byte // of the record at hand
	have   uint8           // octets of it
	sslv2  bool            // the record at hand is a hello in the form of SSL 2.0
	echo   bool            // the next octet was read; it stands for plaintext refused
	part   []byte          // body of the record at hand as far as it has come
	start  tcp.Position    // of its first octet
	skip   int             // octets of a lost record that are still to come
	seek   seek
	held   held

	refused      []byte // plaintext that the consumer did not take
	refusedStart tcp.Position

	opener  protection.Opener // nil: none yet, or the next one is not made yet
	secret  []byte            // traffic secret of opener
	seq     uint64            // of the next record
	next    protection.Opener // the one that follows, tried after missing octets
	trial   []byte            // traffic secret of next
	window  int               // records that may be missing before the next one
	passes  int               // records that may be passed over until one authenticates
	failed  uint8             // records in a row that did not authenticate
	epoch   epoch
	changed bool // ChangeCipherSpec was seen, its keys are not in place
	doubt   bool // something is missing since the last record that authenticated
	proven  bool // a record authenticated under the last keys of the handshake
	greeted bool // its hello was read
	closed  bool // said its last
	lost    bool // given up

	messages messages
}

// ConnCost is what the owner of a Conn charges to the budget for it, octets. What it
// keeps beside, of a handshake, of keys and of records, it charges itself.
const ConnCost = 1 << 10

// Conn is one TLS connection. The zero value begins with the hellos.
type Conn struct {
	half     [2]half
	hs       *handshake // nil before and after
	since    int64      // event time from which records wait; 0: none does
	asked    uint64     // generation of the secrets that was looked through
	arrivals uint32     // of records held, for their order
	keys     int        // octets charged for keys
	protocol string
	version  uint16 // chosen by the server; 0: not known
	suiteID  uint16 // likewise
	status   Status
	reason   Reason
	doomed   Reason // why it can't be decrypted, known before all hellos are read
	progress bool   // what holds records back may have changed
	found    bool   // secrets were found
	retried  bool   // the server asked for another ClientHello
	answered bool   // and it came
	opened   bool   // a record was opened
}

// Status is how far the connection has come. If it is Opaque, there is nothing
// more to learn and the connection can be forgotten; Close it before.
func (c *Conn) Status() Status { return c.status }

// Reason says why the connection is Opaque.
func (c *Conn) Reason() Reason { return c.reason }

// Version is the version that the server chose; 0 if it is not known.
func (c *Conn) Version() uint16 { return c.version }

// Protocol is the protocol that the peers agreed on by ALPN; "" if there is none,
// or it is not known: in TLS 1.3 it is encrypted.
func (c *Conn) Protocol() string { return c.protocol }

// Lost reports whether a direction was given up: it is not decrypted any more,
// while the other may be.
func (c *Conn) Lost(client bool) bool { return c.half[side(client)].lost }

func (c *Conn) suite() protection.Suite {
	s, _ := protection.ByID(c.suiteID)
	return s
}

// record is one record, and the place of its first octet.
type record struct {
	protection.Record
	start tcp.Position
	last  bool // its plaintext has to be taken
}

// reads reports whether what comes in a direction is of use.
func (c *Conn) reads(h *half) bool { return c.status < Opaque && !h.lost && !h.closed }

// Read reads from a segment of one direction: hellos and plaintext go to out. It
// takes all of it, unless the consumer refuses plaintext: then what is left, at
// least one octet, is to be offered again when the consumer may take it. With
// last set the consumer must take all.
func (c *Conn) Read(r *Reader, b Budget, client bool, in *Input, last bool, out Consumer) {
	i := side(client)
	h := &c.half[i]
	if c.status == Waiting {
		c.retry(r, b, in.Time, out)
	}
	if h.refused != nil && !c.offer(r, b, i, last, out) {
		return
	}
	if h.echo && len(in.Data) > 0 {
		in.skip(1)
		h.echo = false
	}
	for len(in.Data) > 0 && c.reads(h) {
		if h.seek.active {
			c.sought(r, b, i, in, out)
			continue
		}
		before := *in
		rec, whole := c.frame(r, b, i, in, out)
		if !whole {
			continue
		}
		rec.last = last
		c.take(r, b, i, &rec, out)
		r.release(b, &h.part)
		c.settle(r, b, out)
		if h.refused != nil {
			taken := len(before.Data) - len(in.Data)
			*in = before
			in.skip(taken - 1)
			h.echo = true
			return
		}
	}
	if !c.reads(h) {
		in.skip(len(in.Data))
	}
}

// take processes a record, or holds it back if that can't be done yet.
func (c *Conn) take(r *Reader, b Budget, i int, rec *record, out Consumer) {
	if c.half[i].held.any() || !c.process(r, b, i, rec, out) {
		c.hold(r, b, i, rec)
	}
}

// settle processes what was held back if that is possible now, and sees how far
// the connection is.
func (c *Conn) settle(r *Reader, b Budget, out Consumer) {
	if c.progress {
		c.drain(r, b, out)
	}
	client, server := &c.half[fromClient], &c.half[fromServer]
	if client.proven && server.proven {
		c.dropHandshake(r, b)
	}
	switch {
	case c.status >= Opaque:
	case client.greeted && server.greeted && c.doomed != ReasonNone:
		c.opaque(r, b, c.doomed)
	case (client.closed || client.lost) && (server.closed || server.lost):
		c.status = Closed
		c.drop(r, b)
	case client.held.any() || server.held.any():
		c.status = Waiting
	case c.opened:
		c.status = Decrypting
	default:
		c.status = Hellos
	}
}

// Retry looks again for the secret that records wait for, at the event time
// given, and reports whether they still wait.
func (c *Conn) Retry(r *Reader, b Budget, now int64, out Consumer) bool {
	if c.status == Waiting {
		c.retry(r, b, now, out)
	}
	return c.status == Waiting
}

// Close gives back what is kept; what waits for its secret is tried once more. The
// connection is of no use afterwards.
func (c *Conn) Close(r *Reader, b Budget, out Consumer) {
	if c.status == Waiting {
		c.progress = true
		c.settle(r, b, out)
	}
	if c.status == Waiting {
		c.opaque(r, b, ReasonNoSecret)
	}
	c.drop(r, b)
}

// opaque gives the connection up.
func (c *Conn) opaque(r *Reader, b Budget, why Reason) {
	if c.status >= Opaque {
		return
	}
	c.status, c.reason = Opaque, why
	r.Stats.Opaque[why]++
	c.drop(r, b)
}

// giveUp gives a direction up; the connection too, if nothing was or can be read
// of the other.
func (c *Conn) giveUp(r *Reader, b Budget, i int, why Reason) {
	if c.half[i].lost {
		return
	}
	other := &c.half[1-i]
	if !c.opened && !other.held.any() || other.lost || other.closed || c.version == 0 {
		c.opaque(r, b, why)
		return
	}
	r.Stats.GivenUp++
	c.half[i].lost = true
	c.half[i].drop(r, b)
	c.progress = true // what depends on this direction need not wait for it
}

// drop gives back what both directions keep.
func (c *Conn) drop(r *Reader, b Budget) {
	for i := range c.half {
		c.half[i].drop(r, b)
	}
	c.dropHandshake(r, b)
	b.Give(c.keys)
	c.keys = 0
}

// afford charges the keys of so many directions, or says that there is no room for
// them. They are charged until the connection is given up or ends.
func (c *Conn) afford(b Budget, directions int) bool {
	suite := c.suite()
	more := directions*suite.Cost() - c.keys
	if more <= 0 {
		return true
	}
	if !b.Take(more) {
		return false
	}
	c.keys += more
	return true
}

func (h *half) drop(r *Reader, b Budget) {
	r.release(b, &h.part)
	r.release(b, &h.refused)
	r.release(b, &h.seek.octets)
	r.release(b, &h.messages.body)
	h.held.drop(r, b)
	h.opener, h.next, h.secret, h.trial = nil, nil, nil, nil
}

// deliver hands on plaintext. What the consumer refuses is kept.
func (c *Conn) deliver(r *Reader, b Budget, i int, plain []byte, rec *record, out Consumer) {
	r.Stats.PlainOctets += uint64(len(plain))
	if len(plain) == 0 {
		return
	}
	h := &c.half[i]
	r.out = Plain{Data: plain, Position: rec.start, Last: rec.last}
	n := out.Plain(i == fromClient, &r.out)
	if rec.last || n >= len(plain) {
		return
	}
	if !r.keep(b, &h.refused, plain[n:]) {
		r.out = Plain{Data: plain[n:], Position: rec.start, Last: true}
		out.Plain(i == fromClient, &r.out)
		return
	}
	h.refusedStart = rec.start
}

// offer hands on again what was refused, and reports whether all of it was taken.
func (c *Conn) offer(r *Reader, b Budget, i int, last bool, out Consumer) bool {
	h := &c.half[i]
	r.out = Plain{Data: h.refused, Position: h.refusedStart, Last: last}
	n := out.Plain(i == fromClient, &r.out)
	if last || n >= len(h.refused) {
		r.release(b, &h.refused)
		return true
	}
	h.refused = h.refused[:copy(h.refused, h.refused[n:])]
	return false
}
