package script

import (
	"encoding/binary"

	"offpath/capture"
)

// Wrap is a way in which a mirror delivers packets.
type Wrap struct {
	Name  string
	Link  capture.LinkType
	Frame func(p *capture.Packet) []byte
}

// Wraps are the ways that every feature of a packet survives; an IPv4 packet
// becomes one of IPv6 in the last.
var Wraps = []Wrap{
	{"ethernet", capture.LinkEthernet, func(p *capture.Packet) []byte { return ethernet(p) }},
	{"vlan", capture.LinkEthernet, func(p *capture.Packet) []byte { return tagged(ethernet(p), 0x8100, 100) }},
	{"qinq", capture.LinkEthernet, func(p *capture.Packet) []byte { return tagged(tagged(ethernet(p), 0x8100, 100), 0x88a8, 200) }},
	{"sll", capture.LinkSLL, func(p *capture.Packet) []byte {
		return append(append([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, etherType(p)...), network(p)...)
	}},
	{"raw", capture.LinkRaw, network},
	{"vxlan", capture.LinkEthernet, func(p *capture.Packet) []byte {
		return udp(4789, []byte{0x08, 0, 0, 0, 0, 0, 42, 0}, ethernet(p))
	}},
	{"geneve", capture.LinkEthernet, func(p *capture.Packet) []byte {
		return udp(6081, []byte{0, 0, 0x65, 0x58, 0, 0, 42, 0}, ethernet(p))
	}},
	{"gre", capture.LinkEthernet, func(p *capture.Packet) []byte {
		return outer(47, append([]byte{0, 0}, etherType(p)...), network(p))
	}},
	{"nvgre", capture.LinkEthernet, func(p *capture.Packet) []byte {
		return outer(47, []byte{0x20, 0, 0x65, 0x58, 0, 0, 42, 0}, ethernet(p))
	}},
	{"erspan1", capture.LinkEthernet, func(p *capture.Packet) []byte {
		return outer(47, []byte{0, 0, 0x88, 0xbe}, ethernet(p))
	}},
	{"erspan2", capture.LinkEthernet, func(p *capture.Packet) []byte {
		return outer(47, []byte{0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 42, 0, 1, 0, 0, 0, 0}, ethernet(p))
	}},
	{"erspan3", capture.LinkEthernet, func(p *capture.Packet) []byte {
		return outer(47, []byte{0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 42, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, ethernet(p))
	}},
	{"ipip", capture.LinkEthernet, func(p *capture.Packet) []byte {
		if p.IPVersion == 6 {
			return outer(41, nil, network(p))
		}
		return outer(4, nil, network(p))
	}},
	{"ipv6", capture.LinkEthernet, func(p *capture.Packet) []byte {
		six := *p
		six.IPVersion = 6
		for _, a := range []*capture.Addr{&six.Src, &six.Dst} {
			copy(a[:], []byte{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0})
		}
		return ethernet(&six)
	}},
}

var macs = []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}

func etherType(p *capture.Packet) []byte {
	if p.IPVersion == 6 {
		return []byte{0x86, 0xdd}
	}
	return []byte{0x08, 0}
}

func ethernet(p *capture.Packet) []byte {
	return append(append(append([]byte(nil), macs...), etherType(p)...), network(p)...)
}

// tagged puts a tag into an Ethernet frame.
func tagged(frame []byte, tpid, vlan uint16) []byte {
	list := append([]byte(nil), frame[:12]...)
	list = binary.BigEndian.AppendUint16(list, tpid)
	list = binary.BigEndian.AppendUint16(list, vlan)
	return append(list, frame[12:]...)
}

// network is the IP packet.
func network(p *capture.Packet) []byte {
	segment := make([]byte, 20, 20+len(p.Payload))
	binary.BigEndian.PutUint16(segment, p.SrcPort)
	binary.BigEndian.PutUint16(segment[2:], p.DstPort)
	binary.BigEndian.PutUint32(segment[4:], p.Seq)
	binary.BigEndian.PutUint32(segment[8:], p.Ack)
	segment[12], segment[13] = 5<<4, p.Flags
	binary.BigEndian.PutUint16(segment[14:], p.Window)
	segment = append(segment, p.Payload...)
	if p.IPVersion == 6 {
		head := make([]byte, 40, 40+len(segment))
		head[0], head[6], head[7] = 6<<4, 6, 64
		binary.BigEndian.PutUint16(head[4:], uint16(len(segment)))
		copy(head[8:], p.Src[:])
		copy(head[24:], p.Dst[:])
		return append(head, segment...)
	}
	return ipv4(6, [4]byte(p.Src[12:]), [4]byte(p.Dst[12:]), segment)
}

func ipv4(protocol byte, src, dst [4]byte, payload []byte) []byte {
	head := make([]byte, 20, 20+len(payload))
	head[0], head[8], head[9] = 4<<4|5, 64, protocol
	binary.BigEndian.PutUint16(head[2:], uint16(20+len(payload)))
	copy(head[12:], src[:])
	copy(head[16:], dst[:])
	return append(head, payload...)
}

// outer is the Ethernet frame of a tunnel between two devices.
func outer(protocol byte, header, inner []byte) []byte {
	packet := ipv4(protocol, [4]byte{203, 0, 113, 1}, [4]byte{203, 0, 113, 2}, append(append([]byte(nil), header...), inner...))
	return append(append(append([]byte(nil), macs...), 0x08, 0), packet...)
}

// udp is the Ethernet frame of a tunnel over UDP.
func udp(port uint16, header, inner []byte) []byte {
	head := make([]byte, 8)
	binary.BigEndian.PutUint16(head, 49152)
	binary.BigEndian.PutUint16(head[2:], port)
	binary.BigEndian.PutUint16(head[4:], uint16(8+len(header)+len(inner)))
	return outer(17, append(head, header...), inner)
}
