package netnstest

import (
	"encoding/binary"
	"net/netip"
)

// TCP builds the Ethernet frame of a TCP segment from src to dst, both of IPv4
// or of IPv6. tags are VLAN tags, outermost first, each the EtherType and the
// tag control information.
func TCP(src, dst netip.AddrPort, payload []byte, tags ...[2]uint16) []byte {
	f := make([]byte, 12, 128+len(payload))
	f[0], f[6] = 0x02, 0x02 // locally administered
	f[5], f[11] = 1, 2
	for _, tag := range tags {
		f = binary.BigEndian.AppendUint16(f, tag[0])
		f = binary.BigEndian.AppendUint16(f, tag[1])
	}
	length := 20 + len(payload)
	if src.Addr().Is4() {
		f = append(f, 0x08, 0x00, 0x45, 0)
		f = binary.BigEndian.AppendUint16(f, uint16(20+length))
		f = append(f, 0, 0, 0x40, 0, 64, 6, 0, 0)
	} else {
		f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0)
		f = binary.BigEndian.AppendUint16(f, uint16(length))
		f = append(f, 6, 64)
	}
	f = append(f, src.Addr().AsSlice()...)
	f = append(f, dst.Addr().AsSlice()...)
	f = binary.BigEndian.AppendUint16(f, src.Port())
	f = binary.BigEndian.AppendUint16(f, dst.Port())
	f = append(f, 0, 0, 0, 1, 0, 0, 0, 1, 5<<4, 0x18, 0xff, 0xff, 0, 0, 0, 0)
	return append(f, payload...)
}
