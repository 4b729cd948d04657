package pcapfile

import (
	"encoding/binary"
	"math/bits"

	"offpath/capture"
)

const (
	// maxRecord is the length of the longest record that is read, in octets.
	maxRecord = 256 << 20
	// maxInterfaces bounds the interfaces of one pcapng section.
	maxInterfaces = 1 << 16
)

// record is what a parser found.
type record struct {
	kind    recordKind
	time    int64  // ns since the epoch
	data    []byte // the frame, or the secrets; a view into the parser's input
	wireLen int
	link    capture.LinkType
	iface   uint16
}

type recordKind uint8

const (
	recordOther   recordKind = iota // a header, or something that is skipped
	recordPacket                    // a frame
	recordSecrets                   // a TLS key log
)

// parser reads one file format. It keeps what headers say from record to
// record, but no octets.
type parser interface {
	// next reads the record at the beginning of b into rec and returns its
	// length in the file, or 0 if b doesn't hold all of it. An error means
	// that the record is damaged, and the parser is at its end.
	next(b []byte, rec *record) (int, error)
}

// interner numbers the interfaces of an input.
type interner func(name string, link capture.LinkType) uint16

// Magic numbers, as the first four octets read in big-endian order.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34 // Kuznetzov's variant: longer record headers
	magicSection  = 0x0a0d0d0a // pcapng section header block, the same both ways
)

// sniff returns a parser for the format that the beginning of a file shows.
// It returns nil, nil if b is too short to tell, and ErrNotCapture.
func sniff(b []byte, intern interner) (parser, error) {
	for _, magic := range [...]uint32{magicMicro, magicNano, magicModified, magicSection} {
		for _, swap := range [...]bool{false, true} {
			var m [4]byte
			binary.BigEndian.PutUint32(m[:], magic)
			if swap {
				binary.LittleEndian.PutUint32(m[:], magic)
			}
			n := min(len(b), 4)
			if string(m[:n]) != string(b[:n]) {
				continue
			}
			if n < 4 {
				return nil, nil
			}
			if magic == magicSection {
				return &pcapngParser{intern: intern}, nil
			}
			return &pcapParser{order: order{little: swap}, magic: magic, intern: intern}, nil
		}
	}
	return nil, ErrNotCapture
}

// order reads numbers in the byte order of a file. It is a flag and not a
// binary.ByteOrder because calls through the interface aren't inlined.
type order struct{ little bool }

func (o order) u16(b []byte) uint16 {
	v := binary.BigEndian.Uint16(b)
	if o.little {
		v = bits.ReverseBytes16(v)
	}
	return v
}

func (o order) u32(b []byte) uint32 {
	v := binary.BigEndian.Uint32(b)
	if o.little {
		v = bits.ReverseBytes32(v)
	}
	return v
}

// pair reads two 32-bit numbers, one behind the other.
func (o order) pair(b []byte) (first, second uint32) {
	v := binary.BigEndian.Uint64(b)
	if o.little {
		v = bits.ReverseBytes64(v)
		return uint32(v), uint32(v >> 32)
	}
	return uint32(v >> 32), uint32(v)
}

func (o order) u64(b []byte) uint64 {
	v := binary.BigEndian.Uint64(b)
	if o.little {
		v = bits.ReverseBytes64(v)
	}
	return v
}

// linkType returns the link type in the low bits of a pcap file header's
// field; above it lie the length of the frame check sequence and flags. What
// no LinkType can hold becomes its largest value, which is not assigned.
func linkType(v uint32) capture.LinkType {
	return capture.LinkType(min(v&0x03ffffff, 0xffff))
}
