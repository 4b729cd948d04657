// Package decode reads the headers of a captured frame: link layer, VLAN tags,
// IP and TCP, down to the payload that reassembly wants.
//
// [Decode] fills a [capture.Packet] in place from its Data, WireLen and Link.
// It never fails, it classifies: every frame gets a [capture.Disposition]. It
// allocates nothing and keeps nothing; Payload is a view into Data. It may run
// on any number of goroutines at once, each with its own Packet.
//
// Checksums are not verified. A mirror port and a capture on the sending host
// see frames before the interface filled them in (checksum offload), so a wrong
// checksum says nothing about what the receiver got.
//
// An IP length beyond the frame's is read like a frame cut by the snap length,
// not as a lie: some mirrors cut frames themselves and hide it, and a host or
// router on the real path discards such a packet (RFC 1812 section 5.2.2), so
// nobody can use it to show us what the server does not see.
//
// It does not reassemble IP fragments, and does not look into tunnels.
package decode

import (
	"encoding/binary"

	"offpath/capture"
)

// EtherTypes (IEEE 802 registry).
const (
	etherIPv4 = 0x0800
	etherVLAN = 0x8100 // IEEE 802.1Q customer tag
	etherIPv6 = 0x86dd
	etherQinQ = 0x88a8 // IEEE 802.1ad service tag
	etherQOld = 0x9100 // service tag before 802.1ad
)

// Link-layer values that a file may carry for raw IP: DLT_RAW is 12 on most
// systems and 14 on OpenBSD, and old files hold the DLT_ number.
const (
	dltRaw        capture.LinkType = 12
	dltRawOpenBSD capture.LinkType = 14
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

const vlanMask = 0x0fff // VLAN identifier within the tag control information

func layerOf(tpid uint16) capture.Encapsulation {
	if tpid == etherQinQ || tpid == etherQOld {
		return capture.EncapsulationQinQ
	}
	return capture.EncapsulationVLAN
}

// Decode fills p from p.Data, p.WireLen and p.Link: Disposition, Wrapping,
// Shard and, for DispositionTCP, everything below it.
//
// For a frame that is no TCP, Payload is nil and PayloadLen 0.
func Decode(p *capture.Packet) {
	p.Wrapping = capture.Wrapping{}
	p.Shard, p.Payload, p.PayloadLen = 0, nil, 0
	p.Disposition = link(p)
}

// link reads the link-layer header.
func link(p *capture.Packet) capture.Disposition {
	data := p.Data
	switch p.Link {
	case capture.LinkEthernet:
		if len(data) < 14 {
			return capture.DispositionTruncated
		}
		return network(p, binary.BigEndian.Uint16(data[12:]), 14)
	case capture.LinkSLL:
		if len(data) < 16 {
			return capture.DispositionTruncated
		}
		return network(p, binary.BigEndian.Uint16(data[14:]), 16)
	case capture.LinkSLL2:
		if len(data) < 20 {
			return capture.DispositionTruncated
		}
		return network(p, binary.BigEndian.Uint16(data), 20)
	case capture.LinkRaw, capture.LinkIPv4, capture.LinkIPv6, dltRaw, dltRawOpenBSD:
		return raw(p)
	case capture.LinkNull, capture.LinkLoop:
		return loopback(p)
	}
	return capture.DispositionUnsupportedLink
}

// raw reads a frame that begins with the IP header; the version must be the
// one that the link type names, if it names one.
func raw(p *capture.Packet) capture.Disposition {
	if len(p.Data) == 0 {
		return capture.DispositionTruncated
	}
	switch version := p.Data[0] >> 4; {
	case version == 4 && p.Link != capture.LinkIPv6:
		return ipv4(p, 0)
	case version == 6 && p.Link != capture.LinkIPv4:
		return ipv6(p, 0)
	}
	return capture.DispositionMalformed
}

// loopback reads the four-octet address family. Its byte order is that of the
// writing host (LINKTYPE_NULL) or of the network (LINKTYPE_LOOP); families are
// small numbers, so the order shows.
func loopback(p *capture.Packet) capture.Disposition {
	if len(p.Data) < 4 {
		return capture.DispositionTruncated
	}
	family := binary.BigEndian.Uint32(p.Data)
	if family > 0xffff {
		family = binary.LittleEndian.Uint32(p.Data)
	}
	switch family {
	case familyINET:
		return ipv4(p, 4)
	case familyINET6Linux, familyINET6Windows, familyINET6NetBSD, familyINET6FreeBSD, familyINET6Darwin:
		return ipv6(p, 4)
	}
	return capture.DispositionNotIP
}

// network reads VLAN tags until an IP header, which begins at off. Values
// below 0x0600 are the length of an IEEE 802.3 frame: no IP.
func network(p *capture.Packet, etherType uint16, off int) capture.Disposition {
	for {
		switch etherType {
		case etherIPv4:
			return ipv4(p, off)
		case etherIPv6:
			return ipv6(p, off)
		case etherVLAN, etherQinQ, etherQOld:
			if len(p.Data) < off+4 {
				return capture.DispositionTruncated
			}
			w := &p.Wrapping
			if int(w.Tags) == capture.MaxTags {
				return capture.DispositionMalformed
			}
			w.VLAN[w.Tags] = binary.BigEndian.Uint16(p.Data[off:]) & vlanMask
			w.Layers[w.Depth] = layerOf(etherType)
			w.Tags++
			w.Depth++
			etherType = binary.BigEndian.Uint16(p.Data[off+2:])
			off += 4
		default:
			return capture.DispositionNotIP
		}
	}
}
