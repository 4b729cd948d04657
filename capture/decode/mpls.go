package decode

import (
	"encoding/binary"
	"slices"

	"offpath/capture"
)

const (
	mplsBottom = 0x100 // bottom of stack, in a label stack entry
	// maxLabels bounds the stack that is followed; routers push a handful.
	maxLabels = 16
)

// mpls reads a label stack (RFC 3032). It does not say what follows, so the
// first half octet has to: 4 and 6 are IP, 1 is a channel of a pseudowire
// (RFC 5586), 0 the control word of a pseudowire (RFC 4385), which is taken to
// carry Ethernet (RFC 4448).
//
// A pseudowire without a control word begins with a hardware address, which may
// look like any of them (RFC 4928). So where the first reading does not lead to
// TCP, that one is tried; once a frame, or nested stacks would double the work
// with every layer.
func (d *Decoder) mpls(p *capture.Packet, b []byte, size int) capture.Disposition {
	nested := slices.Contains(p.Wrapping.Layers[:p.Wrapping.Depth], capture.EncapsulationMPLS)
	if !push(p, capture.EncapsulationMPLS) {
		return capture.DispositionMalformed
	}
	for labels := 0; ; labels++ {
		if labels == maxLabels {
			return capture.DispositionMalformed
		}
		if len(b) < 4 {
			return capture.DispositionTruncated
		}
		entry := binary.BigEndian.Uint32(b)
		b, size = b[4:], size-4
		if entry&mplsBottom != 0 {
			break
		}
	}
	if len(b) == 0 {
		return capture.DispositionTruncated
	}
	wrapping := p.Wrapping
	var first capture.Disposition
	switch b[0] >> 4 {
	case 4, 6:
		first = d.raw(p, 0, b, size)
	case 0:
		first = d.ethernet(p, skip(b, 4), size-4)
	case 1:
		return capture.DispositionNotIP
	default:
		return d.ethernet(p, b, size)
	}
	if nested || first == capture.DispositionTCP {
		return first
	}
	p.Wrapping = wrapping
	if second := d.ethernet(p, b, size); second == capture.DispositionTCP || isIP(second) && !isIP(first) {
		return second
	}
	p.Wrapping = wrapping
	return first
}

// isIP tells whether a frame was found to carry IP that holds together.
func isIP(d capture.Disposition) bool {
	switch d {
	case capture.DispositionTCP, capture.DispositionQUIC, capture.DispositionNotTCP, capture.DispositionFragment:
		return true
	}
	return false
}
