package decode

import (
	"bytes"
	"encoding/binary"

	"offpath/capture"
)

// UDP ports of tunnels (IANA; 8472 is what Linux used for VXLAN before it had
// a number, 5072 what SixXS used for AYIYA).
const (
	portGTP         = 2152
	portTeredo      = 3544
	portVXLAN       = 4789
	portVXLANGPE    = 4790
	portAYIYA       = 5072
	portCAPWAP      = 5247 // data channel
	portGeneve      = 6081
	portMPLS        = 6635 // RFC 7510
	portVXLANFormer = 8472
)

// udp reads a UDP datagram whose port is that of a tunnel, or which looks like
// Teredo. If it turns out to be none, or no TCP to be in it, the packet is what it
// was: QUIC or no TCP, between the addresses of the outer header.
func (d *Decoder) udp(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 8 {
		return d.other(p, capture.DispositionNotTCP)
	}
	src, dst := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length == 0 { // a jumbogram, or segmentation offload
		length = size
	}
	if length < 8 || length > size {
		return d.other(p, capture.DispositionNotTCP)
	}
	b, size = limit(b, size, length)
	b, size = b[8:], size-8

	wrapping, from, to, version := p.Wrapping, p.Src, p.Dst, p.IPVersion
	inner := capture.DispositionNotTCP
	switch {
	case !d.trusted(p):
	case dst == portVXLAN, dst == portVXLANFormer, dst == portVXLANGPE:
		inner = d.vxlan(p, b, size)
	case dst == portGeneve:
		inner = d.geneve(p, b, size)
	case dst == portGTP, src == portGTP:
		inner = d.gtp(p, b, size)
	case dst == portTeredo, src == portTeredo:
		inner = d.teredo(p, b, size)
	case dst == portMPLS:
		inner = d.mpls(p, b, size)
	case dst == portCAPWAP, src == portCAPWAP:
		inner = d.capwap(p, b, size)
	case dst == portAYIYA, src == portAYIYA:
		inner = d.ayiya(p, b, size)
	case len(b) > 0 && b[0]>>4 == 6: // Teredo's clients and relays talk from ports of their own
		inner = d.teredo(p, b, size)
	}
	if inner == capture.DispositionTCP || inner == capture.DispositionFragment {
		return inner
	}
	p.Wrapping, p.Src, p.Dst, p.IPVersion = wrapping, from, to, version
	if !isQUIC(b) {
		return d.other(p, capture.DispositionNotTCP)
	}
	p.SrcPort, p.DstPort = src, dst
	p.Payload, p.PayloadLen = b[:len(b):len(b)], size
	p.Shard = d.shard(p, src, dst)
	return capture.DispositionQUIC
}

// isQUIC reports whether a UDP payload begins with a long header of a version of
// QUIC that is in use (RFC 9000 section 17.2, RFC 9369, and the last drafts).
func isQUIC(b []byte) bool {
	if len(b) < 7 || b[0]&0xc0 != 0xc0 {
		return false
	}
	v := binary.BigEndian.Uint32(b[1:])
	return v == 1 || v == 0x6b3343cf || v>>8 == 0xff0000 && v&0xff >= 29 && v&0xff <= 34
}

// Flags of VXLAN (RFC 7348 section 5), of its group policy extension
// (draft-smith-vxlan-group-policy) and of its generic protocol extension
// (draft-ietf-nvo3-vxlan-gpe).
const (
	vxlanVNI      = 0x08 // I: there is a network identifier
	vxlanPolicy   = 0x80 // G: octets 1 to 3 are those of a group policy
	vxlanProtocol = 0x04 // P: octet 3 says what follows
)

// vxlan reads VXLAN, or its generic protocol extension where the P bit says so.
// I must be set, reserved bits and octets must be 0.
func (d *Decoder) vxlan(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 8 {
		return capture.DispositionTruncated
	}
	h := b[:8]
	switch {
	case h[0]&vxlanVNI == 0 || h[7] != 0:
		return capture.DispositionNotTCP
	case h[0] == vxlanVNI && h[1] == 0 && h[2] == 0 && h[3] == 0, h[0] == vxlanVNI|vxlanPolicy:
		if !push(p, capture.EncapsulationVXLAN) {
			return capture.DispositionMalformed
		}
		return d.ethernet(p, skip(b, 8), size-8)
	case h[0] == vxlanVNI|vxlanProtocol && h[1] == 0 && h[2] == 0:
		if !push(p, capture.EncapsulationVXLANGPE) {
			return capture.DispositionMalformed
		}
		return d.next(p, h[3], skip(b, 8), size-8)
	}
	return capture.DispositionNotTCP
}

const geneveControl = 0x80 // O: a control packet

// geneve reads Geneve (RFC 8926 section 3.4): version 0 and length of the
// options in words; O and C, six reserved bits; EtherType; network identifier;
// a reserved octet.
func (d *Decoder) geneve(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 8 {
		return capture.DispositionTruncated
	}
	h := b[:8]
	header := 8 + int(h[0]&0x3f)*4
	if h[0]>>6 != 0 || h[1]&0x3f != 0 || h[7] != 0 || h[1]&geneveControl != 0 || header > size {
		return capture.DispositionNotTCP
	}
	if !push(p, capture.EncapsulationGeneve) {
		return capture.DispositionMalformed
	}
	return d.network(p, binary.BigEndian.Uint16(h[2:]), skip(b, header), size-header)
}

// GTP-U header (3GPP TS 29.281 section 5.1).
const (
	gtpVersionMask = 0xf8 // version, protocol type, a reserved bit
	gtpVersion1    = 0x30
	gtpOptional    = 0x07 // E, S, PN: any of them brings four octets
	gtpExtension   = 0x04 // E: the last of them is the type of an extension header
	gtpTPDU        = 255  // message type of a user's packet
)

// gtp reads GTP-U: flags, message type, length of what follows the first eight
// octets, tunnel; four optional octets; extension headers, each with its length
// in words first and the type of the next last.
func (d *Decoder) gtp(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 8 {
		return capture.DispositionTruncated
	}
	flags := b[0]
	if flags&gtpVersionMask != gtpVersion1 || b[1] != gtpTPDU ||
		int(binary.BigEndian.Uint16(b[2:])) != size-8 || !push(p, capture.EncapsulationGTP) {
		return capture.DispositionNotTCP
	}
	b, size = b[8:], size-8
	if flags&gtpOptional == 0 {
		return d.raw(p, 0, b, size)
	}
	if len(b) < 4 {
		return capture.DispositionTruncated
	}
	next := b[3]
	if flags&gtpExtension == 0 {
		next = 0
	}
	b, size = b[4:], size-4
	for next != 0 {
		if len(b) == 0 {
			return capture.DispositionTruncated
		}
		header := int(b[0]) * 4
		if header == 0 {
			return capture.DispositionNotTCP
		}
		if len(b) < header {
			return capture.DispositionTruncated
		}
		next = b[header-1]
		b, size = b[header:], size-header
	}
	return d.raw(p, 0, b, size)
}

// Prefixes of Teredo addresses (RFC 4380 section 2.6, and what Windows used
// before).
var (
	teredoPrefix       = []byte{0x20, 0x01, 0x00, 0x00}
	teredoFormerPrefix = []byte{0x3f, 0xfe, 0x83, 0x1f}
)

// teredo reads a Teredo packet (RFC 4380 section 5.1.1): an authentication and
// an origin header, each if it is there, then nothing but IPv6 between addresses
// of which one is Teredo's.
func (d *Decoder) teredo(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) >= 4 && b[0] == 0 && b[1] == 1 {
		header := 13 + int(b[2]) + int(b[3])
		b, size = skip(b, header), size-header
	}
	if len(b) >= 8 && b[0] == 0 && b[1] == 0 {
		b, size = b[8:], size-8
	}
	if len(b) < 40 || b[0]>>4 != 6 || 40+int(binary.BigEndian.Uint16(b[4:])) != size {
		return capture.DispositionNotTCP
	}
	src, dst := b[8:], b[24:]
	if !bytes.HasPrefix(src, teredoPrefix) && !bytes.HasPrefix(dst, teredoPrefix) &&
		!bytes.HasPrefix(src, teredoFormerPrefix) && !bytes.HasPrefix(dst, teredoFormerPrefix) {
		return capture.DispositionNotTCP
	}
	if !push(p, capture.EncapsulationTeredo) {
		return capture.DispositionMalformed
	}
	return d.ipv6(p, b, size)
}

const ayiyaForward = 1 // operation code

// ayiya reads AYIYA (draft-massar-v6ops-ayiya-02 section 4): lengths of
// identity (as a power of 2) and signature (in words), methods, operation, the
// protocol that follows; time; identity; signature.
func (d *Decoder) ayiya(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 8 {
		return capture.DispositionTruncated
	}
	h := b[:8]
	header := 8 + 1<<(h[0]>>4) + int(h[1]>>4)*4
	if h[2]&0x0f != ayiyaForward || header > size || !push(p, capture.EncapsulationAYIYA) {
		return capture.DispositionNotTCP
	}
	switch h[3] {
	case protocolIPv4:
		return d.ipv4(p, skip(b, header), size-header)
	case protocolIPv6:
		return d.ipv6(p, skip(b, header), size-header)
	}
	return capture.DispositionNotTCP
}

// CAPWAP header (RFC 5415 section 4.3), octets 1 to 3.
const (
	capwapBinding  = 0x00003e // WBID
	capwapWLAN     = 0x000002 // IEEE 802.11
	capwapNative   = 0x000001 // T: in the binding's own format, else IEEE 802.3
	capwapFragment = 0x80     // F, in octet 3
)

// capwap reads CAPWAP: a preamble of version 0 and type 0 (1 is DTLS); length
// in words, radio, binding and T in two octets; F and other flags; fragment.
func (d *Decoder) capwap(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 8 {
		return capture.DispositionTruncated
	}
	h := b[:8]
	bits := int(binary.BigEndian.Uint16(h[1:]))
	header := bits >> 11 * 4
	if h[0] != 0 || header < 8 || header > size || h[3]&capwapFragment != 0 || !push(p, capture.EncapsulationCAPWAP) {
		return capture.DispositionNotTCP
	}
	b, size = skip(b, header), size-header
	switch {
	case bits&capwapNative == 0:
		return d.ethernet(p, b, size)
	case bits&capwapBinding != capwapWLAN:
		return capture.DispositionNotTCP
	case len(b) < 2:
		return capture.DispositionTruncated
	}
	swapped := b[0]&wlanTypeMask != wlanData // as some access points send them
	return d.wlanFrame(p, b, size, false, swapped)
}
