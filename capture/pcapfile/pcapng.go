package pcapfile

import (
	"fmt"
	"math"
	"math/bits"

	"offpath/capture"
)

// Block types (draft-ietf-opsawg-pcapng).
const (
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6
	blockSecrets   = 10
	blockSection   = magicSection
)

// Option codes of the interface description block, and the end of any list.
const (
	optionEnd      = 0
	optionIfName   = 2
	optionTsResol  = 9
	optionTsOffset = 14
)

const (
	sectionMagic    = 0x1a2b3c4d
	secretsTLS      = 0x544c534b // "TLSK": a key log as in SSLKEYLOGFILE
	minBlockLen     = 12
	minSectionLen   = 28
	packetHeaderLen = 20 // of both packet blocks, without type and length
	maxNameLen      = 255
)

// pcapngParser reads pcapng files.
type pcapngParser struct {
	intern interner

	order      order
	interfaces []pcapngInterface // of the section
	last       int64             // time of the last packet, for those without one
}

type pcapngInterface struct {
	clock   clock
	snapLen uint32 // 0: no limit
	link    capture.LinkType
	index   uint16
}

func (p *pcapngParser) next(b []byte, rec *record) (int, error) {
	if len(b) < minBlockLen {
		return 0, nil
	}
	kind := p.order.u32(b)
	if kind == blockSection {
		// The magic number tells the byte order of all that follows.
		switch (order{}).u32(b[8:]) {
		case sectionMagic:
			p.order.little = false
		case bits.ReverseBytes32(sectionMagic):
			p.order.little = true
		default:
			return 0, fmt.Errorf("section header with byte-order magic %#x", b[8:12])
		}
	}
	total := p.order.u32(b[4:])
	if total < minBlockLen || total%4 != 0 || total > maxRecord || kind == blockSection && total < minSectionLen {
		return 0, fmt.Errorf("block of type %d with length %d", kind, total)
	}
	n := int(total)
	if len(b) < n {
		return 0, nil
	}
	if again := p.order.u32(b[n-4:]); again != total {
		return 0, fmt.Errorf("block of type %d begins with length %d and ends with %d", kind, total, again)
	}
	rec.kind = recordOther
	return n, p.block(kind, b[8:n-4:n-4], rec)
}

func (p *pcapngParser) block(kind uint32, body []byte, rec *record) error {
	switch kind {
	case blockEnhanced:
		if len(body) < packetHeaderLen {
			return errShortBlock(kind, body)
		}
		return p.packet(body, p.order.u32(body), rec)
	case blockPacket:
		if len(body) < packetHeaderLen {
			return errShortBlock(kind, body)
		}
		return p.packet(body, uint32(p.order.u16(body)), rec)
	case blockSimple:
		return p.simple(body, rec)
	case blockInterface:
		return p.describe(body)
	case blockSection:
		if major := p.order.u16(body[4:]); major != 1 {
			return fmt.Errorf("pcapng version %d.%d", major, p.order.u16(body[6:]))
		}
		p.interfaces = p.interfaces[:0]
	case blockSecrets:
		return p.secrets(body, rec)
	}
	return nil
}

func errShortBlock(kind uint32, body []byte) error {
	return fmt.Errorf("block of type %d with a body of %d octets", kind, len(body))
}

// packet reads an enhanced packet block, or the obsolete packet block, which
// differs only in the first word.
func (p *pcapngParser) packet(body []byte, iface uint32, rec *record) error {
	if uint64(iface) >= uint64(len(p.interfaces)) {
		return fmt.Errorf("packet of interface %d of %d", iface, len(p.interfaces))
	}
	captured, wire := p.order.u32(body[12:]), p.order.u32(body[16:])
	if uint64(captured) > uint64(len(body)-packetHeaderLen) {
		return fmt.Errorf("frame of %d octets in a block with room for %d", captured, len(body)-packetHeaderLen)
	}
	in := &p.interfaces[iface]
	t, ok := in.clock.nanoseconds(uint64(p.order.u32(body[4:]))<<32 | uint64(p.order.u32(body[8:])))
	if !ok {
		return errTime
	}
	p.last = t
	end := packetHeaderLen + int(captured)
	*rec = record{
		kind: recordPacket, time: t, data: body[packetHeaderLen:end:end], wireLen: int(max(captured, wire)),
		link: in.link, iface: in.index,
	}
	return nil
}

// simple reads a simple packet block. It has no time and gets that of the
// packet before it; its captured length follows from the snap length.
func (p *pcapngParser) simple(body []byte, rec *record) error {
	if len(body) < 4 {
		return errShortBlock(blockSimple, body)
	}
	if len(p.interfaces) == 0 {
		return fmt.Errorf("packet of interface 0 of 0")
	}
	in := &p.interfaces[0]
	wire := p.order.u32(body)
	captured := wire
	if in.snapLen != 0 {
		captured = min(captured, in.snapLen)
	}
	if uint64(captured) > uint64(len(body)-4) {
		return fmt.Errorf("frame of %d octets in a block with room for %d", captured, len(body)-4)
	}
	end := 4 + int(captured)
	*rec = record{
		kind: recordPacket, time: p.last, data: body[4:end:end], wireLen: int(wire),
		link: in.link, iface: in.index,
	}
	return nil
}

// describe reads an interface description block.
func (p *pcapngParser) describe(body []byte) error {
	if len(body) < 8 {
		return errShortBlock(blockInterface, body)
	}
	if len(p.interfaces) == maxInterfaces {
		return fmt.Errorf("more than %d interfaces", maxInterfaces)
	}
	in := pcapngInterface{
		clock:   clock{resolution: 6},
		link:    capture.LinkType(p.order.u16(body)),
		snapLen: p.order.u32(body[4:]),
	}
	var name string
	for options := body[8:]; len(options) >= 4; {
		code, size := p.order.u16(options), int(p.order.u16(options[2:]))
		if code == optionEnd || 4+size > len(options) {
			break
		}
		value := options[4 : 4+size]
		switch {
		case code == optionIfName:
			name = string(value[:min(size, maxNameLen)])
		case code == optionTsResol && size == 1:
			in.clock.resolution = value[0]
		case code == optionTsOffset && size == 8:
			in.clock.offset = int64(p.order.u64(value))
		}
		options = options[min(4+(size+3)&^3, len(options)):]
	}
	if err := in.clock.prepare(); err != nil {
		return err
	}
	in.index = p.intern(name, in.link)
	p.interfaces = append(p.interfaces, in)
	return nil
}

// secrets reads a decryption secrets block; only TLS key logs are of use.
func (p *pcapngParser) secrets(body []byte, rec *record) error {
	if len(body) < 8 {
		return errShortBlock(blockSecrets, body)
	}
	size := p.order.u32(body[4:])
	if uint64(size) > uint64(len(body)-8) {
		return fmt.Errorf("secrets of %d octets in a block with room for %d", size, len(body)-8)
	}
	if p.order.u32(body) == secretsTLS {
		rec.kind, rec.data = recordSecrets, body[8:8+size]
	}
	return nil
}

// clock turns the timestamps of an interface into nanoseconds.
type clock struct {
	resolution uint8 // as if_tsresol: 10^-n seconds, or with the high bit 2^-n
	offset     int64 // as if_tsoffset: seconds

	multiply, divide uint64 // ns = t * multiply / divide, for powers of ten
}

const maxSeconds = math.MaxInt64 / int64(1e9)

// prepare computes what nanoseconds needs.
func (c *clock) prepare() error {
	if c.offset < -maxSeconds || c.offset > maxSeconds {
		return fmt.Errorf("if_tsoffset of %d seconds", c.offset)
	}
	c.multiply, c.divide = 1, 1
	for n := c.resolution; n < 9; n++ {
		c.multiply *= 10
	}
	for n := uint8(9); n < min(c.resolution&0x7f, 28); n++ {
		c.divide *= 10
	}
	return nil
}

// nanoseconds returns t since the epoch, and false if an int64 can't hold it
// or it lies before the epoch.
func (c *clock) nanoseconds(t uint64) (int64, bool) {
	var high, low uint64
	if shift := c.resolution & 0x7f; c.resolution&0x80 == 0 {
		high, low = bits.Mul64(t/c.divide, c.multiply)
	} else if high, low = bits.Mul64(t, 1e9); shift < 64 {
		high, low = high>>shift, high<<(64-shift)|low>>shift
	} else {
		high, low = 0, high>>(shift-64)
	}
	ns := int64(low)
	if high != 0 || ns < 0 {
		return 0, false
	}
	offset := c.offset * 1e9
	if offset > 0 && ns > math.MaxInt64-offset || ns+offset < 0 {
		return 0, false
	}
	return ns + offset, true
}
