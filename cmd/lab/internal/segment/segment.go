// Package segment makes Ethernet frames of TCP segments, with checksums that are
// right. It holds no state.
package segment

import (
	"encoding/binary"
	"net/netip"
)

// TCP flags.
const (
	FIN = 0x01
	SYN = 0x02
	PSH = 0x08
	ACK = 0x10
)

// Size is how many octets of payload a segment has at most.
const Size = 1460 - 20 // so that IPv6's longer header has room

// Segment is one TCP segment. Source and Destination are of one address family.
type Segment struct {
	Source, Destination netip.AddrPort
	Seq, Ack            uint32
	Flags               byte
	Payload             []byte
}

// Append appends the frame of a segment to dst: Ethernet, IPv4 or IPv6 without
// options, TCP without options.
func Append(dst []byte, s *Segment) []byte {
	from, to := s.Source.Addr(), s.Destination.Addr()
	length := 20 + len(s.Payload)
	f := append(dst, 0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2)
	var addresses []byte
	if from.Is4() {
		f = append(f, 0x08, 0x00)
		head := len(f)
		f = append(f, 0x45, 0)
		f = binary.BigEndian.AppendUint16(f, uint16(20+length))
		f = append(f, 0, 0, 0x40, 0, 64, 6, 0, 0)
		f = append(f, from.AsSlice()...)
		f = append(f, to.AsSlice()...)
		binary.BigEndian.PutUint16(f[head+10:], checksum(0, f[head:]))
		addresses = f[head+12:]
	} else {
		f = append(f, 0x86, 0xdd)
		head := len(f)
		f = append(f, 0x60, 0, 0, 0)
		f = binary.BigEndian.AppendUint16(f, uint16(length))
		f = append(f, 6, 64)
		f = append(f, from.AsSlice()...)
		f = append(f, to.AsSlice()...)
		addresses = f[head+8:]
	}
	pseudo := sum(0, addresses) + 6 + uint32(length)
	tcp := len(f)
	f = binary.BigEndian.AppendUint16(f, s.Source.Port())
	f = binary.BigEndian.AppendUint16(f, s.Destination.Port())
	f = binary.BigEndian.AppendUint32(f, s.Seq)
	f = binary.BigEndian.AppendUint32(f, s.Ack)
	f = append(f, 0x50, s.Flags, 0xff, 0xff, 0, 0, 0, 0)
	f = append(f, s.Payload...)
	binary.BigEndian.PutUint16(f[tcp+16:], checksum(pseudo, f[tcp:]))
	return f
}

// checksum is the Internet checksum (RFC 1071).
func checksum(start uint32, b []byte) uint16 {
	s := sum(start, b)
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func sum(s uint32, b []byte) uint32 {
	for len(b) >= 2 {
		s += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}
