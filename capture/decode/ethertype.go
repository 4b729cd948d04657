package decode

import (
	"encoding/binary"

	"offpath/capture"
)

// EtherTypes (IEEE 802 registry).
const (
	etherIPv4       = 0x0800
	etherTEB        = 0x6558 // transparent Ethernet bridging
	etherVLAN       = 0x8100 // IEEE 802.1Q customer tag
	etherIPv6       = 0x86dd
	etherMPLS       = 0x8847
	etherMPLSOther  = 0x8848 // upstream-assigned labels (RFC 5332)
	etherPPPoE      = 0x8864 // session stage
	etherQinQ       = 0x88a8 // IEEE 802.1ad service tag
	etherPBB        = 0x88e7 // IEEE 802.1ah service instance tag
	etherFabricPath = 0x8903
	etherVNTag      = 0x8926
	etherETag       = 0x893f
	etherNSH        = 0x894f
	etherQOld       = 0x9100 // service tag before 802.1ad

	// Below it, the field is the length of an IEEE 802.3 frame.
	etherTypeLeast = 0x0600
)

const vlanMask = 0x0fff // VLAN identifier within the tag control information

func layerOf(tpid uint16) capture.Encapsulation {
	if tpid == etherQinQ || tpid == etherQOld {
		return capture.EncapsulationQinQ
	}
	return capture.EncapsulationVLAN
}

// ethernet reads an Ethernet frame within another layer.
func (d *Decoder) ethernet(p *capture.Packet, b []byte, size int) capture.Disposition {
	return d.link(p, capture.LinkEthernet, b, size)
}

// network reads what an EtherType announces, through VLAN tags.
func (d *Decoder) network(p *capture.Packet, etherType uint16, b []byte, size int) capture.Disposition {
	for {
		switch etherType {
		case etherIPv4:
			return d.ipv4(p, b, size)
		case etherIPv6:
			return d.ipv6(p, b, size)
		case etherVLAN, etherQinQ, etherQOld:
			if len(b) < 4 {
				return capture.DispositionTruncated
			}
			if !tag(p, etherType, binary.BigEndian.Uint16(b)) {
				return capture.DispositionMalformed
			}
			etherType = binary.BigEndian.Uint16(b[2:])
			b, size = b[4:], size-4
		default:
			return d.wrapped(p, etherType, b, size)
		}
	}
}

// tag notes a VLAN tag. It returns false if there are too many.
func tag(p *capture.Packet, tpid, tci uint16) bool {
	w := &p.Wrapping
	if int(w.Tags) < capture.MaxTags {
		w.VLAN[w.Tags] = tci & vlanMask
		w.Tags++
	} else if w.Depth == w.Tags { // no tunnel yet
		return false
	}
	return push(p, layerOf(tpid))
}

// wrapped reads the EtherTypes that are not IP itself.
func (d *Decoder) wrapped(p *capture.Packet, etherType uint16, b []byte, size int) capture.Disposition {
	switch etherType {
	case etherMPLS, etherMPLSOther:
		return d.mpls(p, b, size)
	case etherPPPoE:
		return d.pppoe(p, b, size)
	case etherNSH:
		return d.nsh(p, b, size)
	case etherTEB:
		return d.ethernet(p, b, size)
	case etherVNTag:
		return d.switchTag(p, capture.EncapsulationVNTag, 4, b, size)
	case etherETag:
		return d.switchTag(p, capture.EncapsulationETag, 6, b, size)
	case etherPBB:
		return d.macInMAC(p, capture.EncapsulationPBB, 4, b, size)
	case etherFabricPath:
		return d.macInMAC(p, capture.EncapsulationFabricPath, 2, b, size)
	}
	if etherType < etherTypeLeast {
		b, size = limit(b, size, int(etherType))
		return d.llc(p, b, size)
	}
	return capture.DispositionNotIP
}

// switchTag passes over a tag of the given size that an EtherType follows.
func (d *Decoder) switchTag(p *capture.Packet, e capture.Encapsulation, header int, b []byte, size int) capture.Disposition {
	if len(b) < header+2 {
		return capture.DispositionTruncated
	}
	if !push(p, e) {
		return capture.DispositionMalformed
	}
	return d.network(p, binary.BigEndian.Uint16(b[header:]), b[header+2:], size-header-2)
}

// macInMAC passes over a tag of the given size that an Ethernet frame follows.
func (d *Decoder) macInMAC(p *capture.Packet, e capture.Encapsulation, header int, b []byte, size int) capture.Disposition {
	if !push(p, e) {
		return capture.DispositionMalformed
	}
	return d.ethernet(p, skip(b, header), size-header)
}

// LLC and SNAP (IEEE 802.2).
const (
	sapSNAP       = 0xaa
	sapIP         = 0x06
	llcUnnumbered = 0x03 // unnumbered information

	ouiEtherType = 0x000000 // the protocol is an EtherType (RFC 1042)
	ouiBridge    = 0x0000f8 // the same, tunnelled by bridges (IEEE 802.1H)
)

// llc reads an IEEE 802.2 header.
func (d *Decoder) llc(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 3 {
		if size < 3 {
			return capture.DispositionNotIP
		}
		return capture.DispositionTruncated
	}
	if b[2] != llcUnnumbered {
		return capture.DispositionNotIP
	}
	switch {
	case b[0] == sapIP && b[1] == sapIP:
		return d.ipv4(p, skip(b, 3), size-3)
	case b[0] != sapSNAP || b[1] != sapSNAP:
		return capture.DispositionNotIP
	}
	if len(b) < 8 {
		return capture.DispositionTruncated
	}
	oui := binary.BigEndian.Uint32(b[2:]) & 0xffffff
	etherType := binary.BigEndian.Uint16(b[6:])
	if oui != ouiEtherType && oui != ouiBridge || etherType < etherTypeLeast {
		return capture.DispositionNotIP
	}
	return d.network(p, etherType, skip(b, 8), size-8)
}

// NSH next protocols (RFC 8300 section 2.2), which are also those of VXLAN-GPE.
const (
	nextIPv4     = 1
	nextIPv6     = 2
	nextEthernet = 3
	nextNSH      = 4
	nextMPLS     = 5
)

// nsh reads the network service header (RFC 8300): version, O bit, TTL and
// length in words; metadata type; next protocol.
func (d *Decoder) nsh(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 8 {
		return capture.DispositionTruncated
	}
	header := int(b[1]&0x3f) * 4
	if b[0]>>6 != 0 || header < 8 || header > size || !push(p, capture.EncapsulationNSH) {
		return capture.DispositionMalformed
	}
	if b[0]&0x20 != 0 { // operations, administration and maintenance
		return capture.DispositionNotIP
	}
	return d.next(p, b[3], skip(b, header), size-header)
}

// next reads what NSH or VXLAN-GPE announces.
func (d *Decoder) next(p *capture.Packet, protocol byte, b []byte, size int) capture.Disposition {
	switch protocol {
	case nextIPv4:
		return d.ipv4(p, b, size)
	case nextIPv6:
		return d.ipv6(p, b, size)
	case nextEthernet:
		return d.ethernet(p, b, size)
	case nextNSH:
		return d.nsh(p, b, size)
	case nextMPLS:
		return d.mpls(p, b, size)
	}
	return capture.DispositionNotIP
}
