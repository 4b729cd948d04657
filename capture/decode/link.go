package decode

import (
	"encoding/binary"

	"offpath/capture"
)

// Link types under which a file may hold what is registered under another
// number: DLT_RAW is 12 on most systems and 14 on OpenBSD, and Apple's tools
// wrote PKTAP as DLT_USER2 before it had a number.
const (
	dltRaw        capture.LinkType = 12
	dltRawOpenBSD capture.LinkType = 14
	dltUser2      capture.LinkType = 149
)

// Address families in the header of a BSD loopback frame. AF_INET6 differs
// between the systems.
const (
	familyINET = 2

	familyINET6Linux   = 10
	familyINET6Windows = 23
	familyINET6NetBSD  = 24 // also OpenBSD and BSD/OS
	familyINET6FreeBSD = 28 // also DragonFly
	familyINET6Darwin  = 30
)

// sllLLC is the protocol of a Linux cooked frame that goes on with an IEEE
// 802.2 header.
const sllLLC = 0x0004

// link reads the link-layer header.
func (d *Decoder) link(p *capture.Packet, link capture.LinkType, b []byte, size int) capture.Disposition {
	switch link {
	case capture.LinkEthernet:
		if len(b) < 14 {
			return capture.DispositionTruncated
		}
		return d.network(p, binary.BigEndian.Uint16(b[12:]), skip(b, 14), size-14)
	case capture.LinkSLL:
		if len(b) < 16 {
			return capture.DispositionTruncated
		}
		return d.cooked(p, binary.BigEndian.Uint16(b[14:]), skip(b, 16), size-16)
	case capture.LinkSLL2:
		if len(b) < 20 {
			return capture.DispositionTruncated
		}
		return d.cooked(p, binary.BigEndian.Uint16(b), skip(b, 20), size-20)
	case capture.LinkRaw, dltRaw, dltRawOpenBSD:
		return d.raw(p, 0, b, size)
	case capture.LinkIPv4:
		return d.raw(p, 4, b, size)
	case capture.LinkIPv6:
		return d.raw(p, 6, b, size)
	case capture.LinkNull, capture.LinkLoop:
		return d.loopback(p, b, size)
	case capture.LinkPPP, capture.LinkPPPHDLC:
		return d.ppp(p, b, size)
	case capture.LinkPPPWithDir:
		return d.ppp(p, skip(b, 1), size-1)
	case capture.LinkPPPoE:
		return d.pppoe(p, b, size)
	case capture.LinkCiscoHDLC:
		return d.ciscoHDLC(p, b, size)
	case capture.LinkWLAN:
		return d.wlan(p, b, size, false)
	case capture.LinkRadiotap:
		return d.radiotap(p, b, size)
	case capture.LinkNFLOG:
		return d.nflog(p, b, size)
	case capture.LinkPPI:
		return d.ppi(p, b, size)
	case capture.LinkPKTAP, dltUser2:
		return d.pktap(p, b, size)
	}
	return capture.DispositionUnsupportedLink
}

// cooked reads what follows a Linux cooked header.
func (d *Decoder) cooked(p *capture.Packet, protocol uint16, b []byte, size int) capture.Disposition {
	if protocol == sllLLC {
		return d.llc(p, b, size)
	}
	return d.network(p, protocol, b, size)
}

// raw reads a packet that begins with the IP header; its version must be the
// wanted one, or either if that is 0.
func (d *Decoder) raw(p *capture.Packet, want byte, b []byte, size int) capture.Disposition {
	if len(b) == 0 {
		return capture.DispositionTruncated
	}
	switch version := b[0] >> 4; {
	case want != 0 && version != want:
	case version == 4:
		return d.ipv4(p, b, size)
	case version == 6:
		return d.ipv6(p, b, size)
	}
	return capture.DispositionMalformed
}

// loopback reads the four-octet address family. Its byte order is that of the
// writing host (LINKTYPE_NULL) or of the network (LINKTYPE_LOOP); families are
// small numbers, so the order shows.
func (d *Decoder) loopback(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 4 {
		return capture.DispositionTruncated
	}
	family := binary.BigEndian.Uint32(b)
	if family > 0xffff {
		family = binary.LittleEndian.Uint32(b)
	}
	switch family {
	case familyINET:
		return d.ipv4(p, skip(b, 4), size-4)
	case familyINET6Linux, familyINET6Windows, familyINET6NetBSD, familyINET6FreeBSD, familyINET6Darwin:
		return d.ipv6(p, skip(b, 4), size-4)
	}
	return capture.DispositionNotIP
}

// nflogPayload is the attribute of an NFLOG frame that holds the packet
// (NFULA_PAYLOAD in linux/netfilter/nfnetlink_log.h).
const nflogPayload = 9

// nflog reads a frame of the netfilter log: a header of four octets, then
// attributes of length, type and value, padded to four octets, in the byte
// order of the writing host. Types are small numbers, so the order shows.
func (d *Decoder) nflog(p *capture.Packet, b []byte, size int) capture.Disposition {
	b, size = skip(b, 4), size-4
	for len(b) >= 4 {
		order := binary.ByteOrder(binary.LittleEndian)
		if b[2] == 0 && b[3] != 0 {
			order = binary.BigEndian
		}
		n := int(order.Uint16(b))
		if n < 4 {
			return capture.DispositionMalformed
		}
		if order.Uint16(b[2:]) == nflogPayload {
			b, size = limit(b, size, n)
			return d.raw(p, 0, skip(b, 4), size-4)
		}
		n = (n + 3) &^ 3
		b, size = skip(b, n), size-n
	}
	if size <= 0 {
		return capture.DispositionNotIP
	}
	return capture.DispositionTruncated
}

// ppi reads the per-packet information header (CACE Technologies, 2010): octet
// 2 on its length, 4 on the link type (of DLT_ numbers), little-endian.
func (d *Decoder) ppi(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 8 {
		return capture.DispositionTruncated
	}
	return d.within(p, binary.LittleEndian.Uint32(b[4:]), uint32(binary.LittleEndian.Uint16(b[2:])), 8, b, size)
}

// pktap reads Apple's header: its length, the type of record, and the link type
// (of DLT_ numbers), little-endian on all of Apple's machines today.
func (d *Decoder) pktap(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 12 {
		return capture.DispositionTruncated
	}
	return d.within(p, binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b), 12, b, size)
}

// within reads the frame of another link type behind a header, which has at
// least a number of octets. Such headers don't nest.
func (d *Decoder) within(p *capture.Packet, link, header, least uint32, b []byte, size int) capture.Disposition {
	if header < least || int(header) > size {
		return capture.DispositionMalformed
	}
	switch inner := capture.LinkType(link); {
	case link > 0xffff, inner == capture.LinkPPI, inner == capture.LinkPKTAP, inner == dltUser2:
		return capture.DispositionUnsupportedLink
	default:
		return d.link(p, inner, skip(b, int(header)), size-int(header))
	}
}
