package decode

import (
	"encoding/binary"

	"offpath/capture"
)

// Protocol numbers (IANA), which are also IPv6 next-header values.
const (
	protocolHopByHop    = 0
	protocolTCP         = 6
	protocolRouting     = 43
	protocolFragment    = 44
	protocolAH          = 51
	protocolDestination = 60
)

const optionJumbo = 0xc2 // jumbo payload option (RFC 2675 section 2)

// maxExtensions bounds the chain of extension headers that is followed. Hosts
// set no bound of their own, so it is far above what anybody sends.
const maxExtensions = 32

// ipv4 reads the IPv4 header (RFC 791) at off.
func ipv4(p *capture.Packet, off int) capture.Disposition {
	data := p.Data
	if len(data) < off+20 {
		if len(data) > off && data[off]>>4 != 4 {
			return capture.DispositionMalformed
		}
		return capture.DispositionTruncated
	}
	h := data[off : off+20 : off+20]
	headerLen := int(h[0]&0x0f) * 4
	if h[0]>>4 != 4 || headerLen < 20 {
		return capture.DispositionMalformed
	}
	src, dst := binary.BigEndian.Uint32(h[12:]), binary.BigEndian.Uint32(h[16:])
	p.IPVersion = 4
	p.Src, p.Dst = mapped(src), mapped(dst)
	words := src ^ dst

	// Segmentation offload leaves the length 0 in what the sending host
	// captures, and Linux does so for packets above 64 KiB (BIG TCP).
	end := off + int(binary.BigEndian.Uint16(h[2:]))
	if end == off {
		end = wireEnd(p)
	}
	if end < off+headerLen {
		return other(p, words, capture.DispositionMalformed)
	}
	if binary.BigEndian.Uint16(h[6:])&0x3fff != 0 { // more fragments, or an offset
		return other(p, words, capture.DispositionFragment)
	}
	if len(data) < off+headerLen {
		return other(p, words, capture.DispositionTruncated)
	}
	if h[9] == protocolTCP {
		return tcp(p, words, off+headerLen, end)
	}
	if h[9] == protocolAH {
		return extensions(p, words, protocolAH, off+headerLen, end)
	}
	return other(p, words, capture.DispositionNotTCP)
}

// ipv6 reads the IPv6 header (RFC 8200) at off.
func ipv6(p *capture.Packet, off int) capture.Disposition {
	data := p.Data
	if len(data) < off+40 {
		if len(data) > off && data[off]>>4 != 6 {
			return capture.DispositionMalformed
		}
		return capture.DispositionTruncated
	}
	h := data[off : off+40 : off+40]
	if h[0]>>4 != 6 {
		return capture.DispositionMalformed
	}
	p.IPVersion = 6
	p.Src, p.Dst = capture.Addr(h[8:24]), capture.Addr(h[24:40])
	x := binary.BigEndian.Uint64(h[8:]) ^ binary.BigEndian.Uint64(h[16:]) ^
		binary.BigEndian.Uint64(h[24:]) ^ binary.BigEndian.Uint64(h[32:])
	words := uint32(x>>32) ^ uint32(x)

	// Length 0 is a jumbogram, whose option says the length, or segmentation
	// offload as in IPv4.
	off += 40
	end := off + int(binary.BigEndian.Uint16(h[4:]))
	if end == off {
		end = wireEnd(p)
		if h[6] == protocolHopByHop {
			if n, found := jumboLength(data[off:]); found {
				if n <= 0xffff || n > end-off {
					return other(p, words, capture.DispositionMalformed)
				}
				end = off + n
			}
		}
	}
	if h[6] == protocolTCP {
		return tcp(p, words, off, end)
	}
	return extensions(p, words, h[6], off, end)
}

// extensions follows the chain of extension headers from the one of the given
// kind at off; end is where the packet ends.
func extensions(p *capture.Packet, words uint32, next uint8, off, end int) capture.Disposition {
	data := p.Data
	for range maxExtensions {
		switch next {
		case protocolTCP:
			return tcp(p, words, off, end)
		case protocolHopByHop, protocolRouting, protocolDestination, protocolFragment, protocolAH:
		default:
			return other(p, words, capture.DispositionNotTCP)
		}
		if off+8 > end {
			return other(p, words, capture.DispositionMalformed)
		}
		if len(data) < off+8 {
			return other(p, words, capture.DispositionTruncated)
		}
		size := int(data[off+1])*8 + 8
		switch next {
		case protocolFragment:
			// A fragment of offset 0 that is also the last is a whole packet
			// (atomic fragment, RFC 6946).
			if binary.BigEndian.Uint16(data[off+2:])&0xfff9 != 0 {
				return other(p, words, capture.DispositionFragment)
			}
			size = 8
		case protocolAH:
			size = int(data[off+1])*4 + 8 // RFC 4302 section 2.2
		}
		if off+size > end {
			return other(p, words, capture.DispositionMalformed)
		}
		if len(data) < off+size {
			return other(p, words, capture.DispositionTruncated)
		}
		next = data[off]
		off += size
	}
	return other(p, words, capture.DispositionMalformed)
}

// jumboLength returns the length that the jumbo payload option (RFC 2675) in
// the hop-by-hop header at the beginning of b gives for all that follows the
// IPv6 header.
func jumboLength(b []byte) (length int, found bool) {
	if len(b) < 8 {
		return 0, false
	}
	options := b[2:min(len(b), int(b[1])*8+8)]
	for len(options) >= 2 {
		if options[0] == 0 { // Pad1, the only option without a length
			options = options[1:]
			continue
		}
		size := 2 + int(options[1])
		if size > len(options) {
			return 0, false
		}
		if options[0] == optionJumbo && size == 6 {
			return int(binary.BigEndian.Uint32(options[2:])), true
		}
		options = options[size:]
	}
	return 0, false
}

// tcp reads the TCP header (RFC 9293 section 3.1) at off of a packet that ends
// at end.
func tcp(p *capture.Packet, words uint32, off, end int) capture.Disposition {
	data := p.Data
	if off+20 > end {
		return other(p, words, capture.DispositionMalformed)
	}
	if len(data) < off+20 {
		return other(p, words, capture.DispositionTruncated)
	}
	h := data[off : off+20 : off+20]
	start := off + int(h[12]>>4)*4
	if start < off+20 || start > end {
		return other(p, words, capture.DispositionMalformed)
	}
	if start > len(data) {
		return other(p, words, capture.DispositionTruncated)
	}
	p.SrcPort, p.DstPort = binary.BigEndian.Uint16(h), binary.BigEndian.Uint16(h[2:])
	p.Seq, p.Ack = binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
	p.Flags = h[13]
	p.Window = binary.BigEndian.Uint16(h[14:])
	p.PayloadLen = end - start
	captured := min(end, len(data))
	p.Payload = data[start:captured:captured]
	p.Shard = finish(words, p.SrcPort, p.DstPort)
	return capture.DispositionTCP
}

// other gives an IP packet whose TCP header isn't read its shard.
func other(p *capture.Packet, words uint32, d capture.Disposition) capture.Disposition {
	p.Shard = finish(words, 0, 0)
	return d
}

// wireEnd is where the frame ended on the wire, as far as the capture knows.
func wireEnd(p *capture.Packet) int { return max(p.WireLen, len(p.Data)) }

// mapped returns the IPv4-mapped form of an address.
func mapped(v4 uint32) (a capture.Addr) {
	binary.BigEndian.PutUint64(a[8:], 0xffff<<32|uint64(v4))
	return a
}
