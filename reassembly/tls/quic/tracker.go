package quic

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"offpath/reassembly/tls/hello"
)

// Flow is the addresses and ports of a datagram.
type Flow struct{ Source, Destination netip.AddrPort }

// Config bounds a Tracker. A field that is 0 takes its default.
type Config struct {
	// MaxConnections is how many connections are remembered. Default 4096.
	MaxConnections int
	// MaxOctets is how many octets of incomplete hellos are held. Default 4 MiB.
	MaxOctets int
}

func (c *Config) validate() error {
	if c.MaxConnections < 0 || c.MaxOctets < 0 {
		return fmt.Errorf("max connections %d, max octets %d: neither may be negative", c.MaxConnections, c.MaxOctets)
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 4096
	}
	if c.MaxOctets == 0 {
		c.MaxOctets = 4 << 20
	}
	return nil
}

// Stats are a Tracker's books. Initials = Opened + Unopened + Repeated + Failed.
type Stats struct {
	Datagrams  uint64 // looked at
	Initials   uint64 // Initial packets of versions that are read
	Opened     uint64 // that authenticated, and were read
	Unopened   uint64 // that did not: of servers, damaged, or made up
	Repeated   uint64 // of connections that had said their hello, or were given up
	Failed     uint64 // whose keys could not be made
	Hellos     uint64 // ClientHellos read
	GivenUp    uint64 // connections with a hello beyond the bounds, or that is none
	Evicted    uint64 // connections forgotten while their hello was incomplete
	Remembered uint64 // connections remembered now
	Octets     uint64 // held now
}

// connection is a client's first flight.
type connection struct {
	flow   Flow
	id     [maxConnID]byte // of its first packet, which the keys follow from
	length uint8
	keys   *keys // nil once there is nothing more to read

	fragments []fragment // by offset; neither overlapping nor empty
	octets    int
}

type fragment struct {
	offset int
	data   []byte
}

func (f *fragment) end() int { return f.offset + len(f.data) }

// maxFragments is how many pieces of a hello are held.
const maxFragments = 256

// Tracker reads the ClientHellos of QUIC connections.
type Tracker struct {
	config      Config
	connections map[Flow]*connection
	order       []*connection // in order of arrival, a ring once it is full
	oldest      int

	hello   hello.Client
	message []byte
	scratch []byte
	stats   Stats
}

// New returns a Tracker.
func New(config Config) (*Tracker, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("QUIC: %w", err)
	}
	return &Tracker{config: config, connections: map[Flow]*connection{}}, nil
}

// Stats are the books until now.
func (t *Tracker) Stats() Stats {
	s := t.stats
	s.Remembered = uint64(len(t.connections))
	return s
}

// Looks reports whether a UDP payload may begin with an Initial packet of a
// version that is read.
func Looks(datagram []byte) bool {
	if len(datagram) < 7 || datagram[0]&0xc0 != 0xc0 {
		return false
	}
	v := binary.BigEndian.Uint32(datagram[1:])
	return v == version1 || v == version2 || draft29 <= v && v <= draft34
}

// Datagram takes a UDP payload, and returns the ClientHello that it completes,
// or nil. The hello and what it refers to are valid until the next call.
func (t *Tracker) Datagram(flow Flow, payload []byte) *hello.Client {
	t.stats.Datagrams++
	for {
		h, initial, rest, ok := parseInitial(payload)
		if !ok {
			return nil
		}
		payload = rest
		if !initial {
			continue
		}
		t.stats.Initials++
		if client := t.initial(flow, &h); client != nil {
			return client
		}
	}
}

// initial reads an Initial packet. Keys follow from the connection id of the
// client's first one and stay when the client goes over to the id that the server
// chose; after a Retry, and in another connection between the same ports, there
// are new ones (RFC 9001 section 5.2).
func (t *Tracker) initial(flow Flow, h *longHeader) *hello.Client {
	c := t.connections[flow]
	if c != nil && c.keys == nil && bytes.Equal(c.id[:c.length], h.destination) {
		t.stats.Repeated++
		return nil
	}
	if c != nil && c.keys != nil {
		if payload, ok := t.open(c.keys, h); ok {
			t.stats.Opened++
			return t.frames(c, payload)
		}
	}
	own, err := clientKeys(h.version, h.destination)
	if err != nil {
		t.stats.Failed++
		return nil
	}
	payload, ok := t.open(own, h)
	if !ok {
		t.stats.Unopened++
		return nil
	}
	if c == nil {
		c = t.remember(flow)
	}
	t.release(c)
	c.keys, c.length = own, uint8(copy(c.id[:], h.destination))
	t.stats.Opened++
	return t.frames(c, payload)
}

func (t *Tracker) open(k *keys, h *longHeader) (payload []byte, ok bool) {
	payload, t.scratch, ok = k.open(t.scratch, h)
	return payload, ok
}

func (t *Tracker) remember(flow Flow) *connection {
	c := &connection{flow: flow}
	t.connections[flow] = c
	if len(t.order) < t.config.MaxConnections {
		t.order = append(t.order, c)
		return c
	}
	t.forget(t.order[t.oldest])
	t.order[t.oldest] = c
	t.oldest = (t.oldest + 1) % len(t.order)
	return c
}

// forget removes a connection from the table, its place in the order aside.
func (t *Tracker) forget(c *connection) {
	if t.connections[c.flow] != c {
		return
	}
	if c.keys != nil {
		t.stats.Evicted++
	}
	t.release(c)
	delete(t.connections, c.flow)
}

// release gives back what is held of a hello, and the keys.
func (t *Tracker) release(c *connection) {
	t.stats.Octets -= uint64(c.octets)
	c.fragments, c.octets, c.keys = nil, 0, nil
}

// Frame types of RFC 9000 section 19 that an Initial packet may hold.
const (
	framePadding = 0x00
	framePing    = 0x01
	frameACK     = 0x02
	frameACKECN  = 0x03
	frameCrypto  = 0x06
)

// frames reads the frames of an Initial packet.
func (t *Tracker) frames(c *connection, payload []byte) *hello.Client {
	f := cursor{data: payload}
	for f.left() > 0 && !f.bad {
		switch kind := f.varint(); kind {
		case framePadding, framePing:
		case frameACK, frameACKECN:
			f.varint()
			f.varint()
			ranges := f.varint()
			f.varint()
			for ; ranges > 0 && !f.bad; ranges-- {
				f.varint()
				f.varint()
			}
			if kind == frameACKECN {
				f.varint()
				f.varint()
				f.varint()
			}
		case frameCrypto:
			offset := f.varint()
			data := f.skip(f.varint())
			if f.bad {
				break
			}
			if offset+uint64(len(data)) > hello.MaxMessage || !c.add(t, int(offset), data) {
				t.giveUp(c)
				return nil
			}
		default: // CONNECTION_CLOSE, or what can't be here
			f.bad = true
		}
	}
	client := t.complete(c)
	t.makeRoom()
	return client
}

func (t *Tracker) giveUp(c *connection) {
	t.stats.GivenUp++
	t.release(c)
}

// makeRoom forgets the oldest connections while too much is held.
func (t *Tracker) makeRoom() {
	for i := 0; i < len(t.order) && t.stats.Octets > uint64(t.config.MaxOctets); i++ {
		if o := t.order[(t.oldest+i)%len(t.order)]; o.octets > 0 {
			t.forget(o)
		}
	}
}

// add keeps the octets of a frame that are not there yet. The first copy of an
// octet counts. It returns false if there are too many pieces.
func (c *connection) add(t *Tracker, offset int, data []byte) bool {
	at := 0
	for len(data) > 0 {
		for at < len(c.fragments) && c.fragments[at].end() <= offset {
			at++
		}
		n := len(data)
		if at < len(c.fragments) {
			next := &c.fragments[at]
			if next.offset <= offset {
				skip := min(n, next.end()-offset)
				data, offset = data[skip:], offset+skip
				continue
			}
			n = min(n, next.offset-offset)
		}
		if len(c.fragments) == maxFragments {
			return false
		}
		c.fragments = append(c.fragments, fragment{})
		copy(c.fragments[at+1:], c.fragments[at:])
		c.fragments[at] = fragment{offset, append([]byte(nil), data[:n]...)}
		c.octets += n
		t.stats.Octets += uint64(n)
		data, offset = data[n:], offset+n
	}
	return true
}

// complete returns the hello if it is there to its end.
func (t *Tracker) complete(c *connection) *hello.Client {
	const header, clientHello = 4, 1
	t.message = t.message[:0]
	for i := range c.fragments {
		if c.fragments[i].offset != len(t.message) {
			break
		}
		t.message = append(t.message, c.fragments[i].data...)
	}
	if len(t.message) < header {
		return nil
	}
	length := int(t.message[1])<<16 | int(t.message[2])<<8 | int(t.message[3])
	switch {
	case t.message[0] != clientHello || length > hello.MaxMessage-header:
		t.giveUp(c)
		return nil
	case len(t.message) < header+length:
		return nil
	}
	t.release(c)
	t.stats.Hellos++
	hello.ParseClient(t.message[header:header+length], &t.hello)
	return &t.hello
}
