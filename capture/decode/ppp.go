package decode

import (
	"encoding/binary"

	"offpath/capture"
)

// PPP protocol numbers (IANA).
const (
	pppIPv4 = 0x0021
	pppIPv6 = 0x0057
	pppMPLS = 0x0281
)

const (
	hdlcAllStations = 0xff // address and control of PPP (RFC 1662 section 3.1)
	hdlcUnnumbered  = 0x03
	hdlcUnicast     = 0x0f // address of Cisco HDLC
	hdlcMulticast   = 0x8f
)

// ppp reads a PPP frame: address and control, if they are there, and the
// protocol, in one octet if it was compressed (RFC 1661 section 6.5).
func (d *Decoder) ppp(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 2 {
		return capture.DispositionTruncated
	}
	switch {
	case b[0] == hdlcAllStations && b[1] == hdlcUnnumbered:
		b, size = b[2:], size-2
	case (b[0] == hdlcUnicast || b[0] == hdlcMulticast) && b[1] == 0:
		return d.ciscoHDLC(p, b, size)
	}
	if len(b) < 2 {
		return capture.DispositionTruncated
	}
	protocol := uint16(b[0])
	b, size = b[1:], size-1
	if protocol&1 == 0 {
		protocol = protocol<<8 | uint16(b[0])
		b, size = b[1:], size-1
	}
	switch protocol {
	case pppIPv4:
		return d.ipv4(p, b, size)
	case pppIPv6:
		return d.ipv6(p, b, size)
	case pppMPLS:
		return d.mpls(p, b, size)
	}
	return capture.DispositionNotIP
}

// ciscoHDLC reads address, control and EtherType.
func (d *Decoder) ciscoHDLC(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 4 {
		return capture.DispositionTruncated
	}
	return d.network(p, binary.BigEndian.Uint16(b[2:]), skip(b, 4), size-4)
}

// pppoe reads the header of the session stage (RFC 2516 section 4): version and
// type 1, code 0, session, length.
func (d *Decoder) pppoe(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 6 {
		return capture.DispositionTruncated
	}
	if b[0] != 0x11 {
		return capture.DispositionMalformed
	}
	if b[1] != 0 { // discovery
		return capture.DispositionNotIP
	}
	if !push(p, capture.EncapsulationPPPoE) {
		return capture.DispositionMalformed
	}
	b, size = limit(b[6:], size-6, int(binary.BigEndian.Uint16(b[4:])))
	return d.ppp(p, b, size)
}
