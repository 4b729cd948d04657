package quic

import (
	"encoding/binary"
)

// Versions that are read.
const (
	version1  = 0x00000001
	version2  = 0x6b3343cf // RFC 9369
	draft29   = 0xff00001d
	draft32   = 0xff000020
	draft34   = 0xff000022
	maxConnID = 20 // octets (RFC 9000 section 17.2)
)

// longHeader is the part of an Initial packet that is not protected.
type longHeader struct {
	version      uint32
	destination  []byte // connection id
	numberOffset int    // of the packet number in the packet
	packet       []byte // up to its end, within the datagram
}

// parseInitial reads the first packet of data, and returns what follows it.
// ok is false where nothing more can be read; initial is false for packets of
// other kinds.
func parseInitial(data []byte) (h longHeader, initial bool, rest []byte, ok bool) {
	if len(data) < 7 || data[0]&0xc0 != 0xc0 {
		return h, false, nil, false
	}
	h.version = binary.BigEndian.Uint32(data[1:])
	kinds := uint8(0) // the value of Initial; the others follow in a circle
	switch {
	case h.version == version2:
		kinds = 1 // RFC 9369 section 3.2
	case h.version == version1, draft29 <= h.version && h.version <= draft34:
	default:
		return h, false, nil, false
	}
	kind := (data[0]>>4 - kinds) & 3
	if kind == 3 { // Retry has no length
		return h, false, nil, false
	}
	c := cursor{data: data, at: 5}
	h.destination = c.connectionID()
	c.connectionID()
	if kind == 0 {
		c.skip(c.varint()) // token
	}
	length := c.varint()
	h.numberOffset = c.at
	if c.bad || length > uint64(len(data)-c.at) {
		return h, false, nil, false
	}
	end := c.at + int(length)
	h.packet = data[:end:end]
	return h, kind == 0, data[end:], true
}

// cursor reads the fields of RFC 9000 section 16 and 17. After a read beyond the
// end it is bad, and all further ones give nothing.
type cursor struct {
	data []byte
	at   int
	bad  bool
}

func (c *cursor) left() int { return len(c.data) - c.at }

func (c *cursor) skip(n uint64) []byte {
	if c.bad || n > uint64(c.left()) {
		c.bad = true
		return nil
	}
	b := c.data[c.at : c.at+int(n) : c.at+int(n)]
	c.at += int(n)
	return b
}

func (c *cursor) connectionID() []byte {
	n := c.skip(1)
	if n == nil || n[0] > maxConnID {
		c.bad = true
		return nil
	}
	return c.skip(uint64(n[0]))
}

func (c *cursor) varint() uint64 {
	if c.bad || c.left() == 0 {
		c.bad = true
		return 0
	}
	b := c.skip(1 << (c.data[c.at] >> 6))
	if b == nil {
		return 0
	}
	v := uint64(b[0] & 0x3f)
	for _, octet := range b[1:] {
		v = v<<8 | uint64(octet)
	}
	return v
}
