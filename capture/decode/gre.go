package decode

import (
	"encoding/binary"

	"offpath/capture"
)

// Flags and version of GRE (RFC 2784, RFC 2890; version 1: RFC 2637).
const (
	greChecksum = 0x8000
	greRouting  = 0x4000 // source routes of RFC 1701
	greKey      = 0x2000
	greSequence = 0x1000
	greAck      = 0x0080 // version 1
	greVersion  = 0x0007
)

// What GRE carries beside EtherTypes.
const (
	greERSPAN      = 0x88be // type I and II
	greERSPAN3     = 0x22eb
	grePPP         = 0x880b // version 1
	greWCCP        = 0x883e // web cache redirection
	greAruba       = 0x8200 // and up to greArubaLast: IEEE 802.11 from an access point
	greArubaLast   = 0x820f
	greArubaTunnel = 0x9000 // Ethernet of a wired port of an access point
)

// gre reads a GRE header of either version.
func (d *Decoder) gre(p *capture.Packet, b []byte, size int) capture.Disposition {
	if size < 4 {
		return d.other(p, capture.DispositionMalformed)
	}
	if len(b) < 4 {
		return d.other(p, capture.DispositionTruncated)
	}
	flags, protocol := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	header := 4
	if flags&greRouting != 0 || flags&greVersion > 1 {
		return d.other(p, capture.DispositionNotTCP)
	}
	if flags&greChecksum != 0 {
		header += 4
	}
	if flags&greKey != 0 {
		header += 4
	}
	if flags&greSequence != 0 {
		header += 4
	}
	if flags&greVersion == 1 {
		if flags&greAck != 0 {
			header += 4
		}
		if protocol != grePPP {
			return d.other(p, capture.DispositionNotTCP)
		}
	}
	b, size = skip(b, header), size-header
	switch {
	case size < 0:
		return d.other(p, capture.DispositionMalformed)
	case size == 0: // a keepalive or an acknowledgement
		return d.other(p, capture.DispositionNotTCP)
	}
	switch protocol {
	case greERSPAN:
		return d.erspan(p, flags, b, size)
	case greERSPAN3:
		return d.erspan3(p, b, size)
	}
	if !push(p, capture.EncapsulationGRE) {
		return d.other(p, capture.DispositionMalformed)
	}
	switch {
	case protocol == grePPP:
		return d.ppp(p, b, size)
	case protocol == greWCCP:
		if len(b) > 0 && b[0]>>4 != 4 { // version 2 has a header of four octets
			b, size = skip(b, 4), size-4
		}
		return d.ipv4(p, b, size)
	case protocol >= greAruba && protocol <= greArubaLast:
		return d.wlan(p, b, size, false)
	case protocol == greArubaTunnel:
		return d.ethernet(p, b, size)
	}
	return d.network(p, protocol, b, size)
}

// Versions of the ERSPAN header (draft-foschiano-erspan).
const (
	erspanVersion2 = 1
	erspanVersion3 = 2
)

// erspan reads type I, which is the mirrored frame at once, or type II, whose
// header of 8 octets shows by the GRE sequence number.
func (d *Decoder) erspan(p *capture.Packet, flags uint16, b []byte, size int) capture.Disposition {
	if flags&greSequence == 0 {
		if !push(p, capture.EncapsulationERSPAN1) {
			return d.other(p, capture.DispositionMalformed)
		}
		return d.ethernet(p, b, size)
	}
	if len(b) < 8 {
		return d.other(p, capture.DispositionTruncated)
	}
	switch b[0] >> 4 {
	case erspanVersion2:
	case erspanVersion3: // under the number of type II, as some switches have it
		return d.erspan3(p, b, size)
	default:
		return d.other(p, capture.DispositionMalformed)
	}
	if !push(p, capture.EncapsulationERSPAN2) {
		return d.other(p, capture.DispositionMalformed)
	}
	return d.ethernet(p, skip(b, 8), size-8)
}

// Fields in the last two octets of the type III header.
const (
	erspanPlatform = 0x0001 // O: a platform-specific header of 8 octets follows
	erspanFrame    = 0x7c00 // FT: what is mirrored
	erspanEthernet = 0 << 10
	erspanIP       = 2 << 10
)

// erspan3 reads type III: 12 octets and the platform-specific header.
func (d *Decoder) erspan3(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 12 {
		return d.other(p, capture.DispositionTruncated)
	}
	if b[0]>>4 != erspanVersion3 || !push(p, capture.EncapsulationERSPAN3) {
		return d.other(p, capture.DispositionMalformed)
	}
	last := binary.BigEndian.Uint16(b[10:])
	b, size = b[12:], size-12
	if last&erspanPlatform != 0 {
		b, size = skip(b, 8), size-8
	}
	switch last & erspanFrame {
	case erspanEthernet:
		return d.ethernet(p, b, size)
	case erspanIP:
		return d.raw(p, 0, b, size)
	}
	return d.other(p, capture.DispositionNotTCP)
}
