package decode

import (
	"encoding/binary"

	"offpath/capture"
)

// Protocol numbers (IANA), which are also IPv6 next-header values.
const (
	protocolHopByHop    = 0
	protocolIPv4        = 4
	protocolTCP         = 6
	protocolUDP         = 17
	protocolIPv6        = 41
	protocolRouting     = 43
	protocolFragment    = 44
	protocolGRE         = 47
	protocolAH          = 51
	protocolDestination = 60
	protocolMPLS        = 137 // RFC 4023
)

const optionJumbo = 0xc2 // jumbo payload option (RFC 2675 section 2)

// maxExtensions bounds the chain of extension headers that is followed. Hosts
// set no bound of their own, so it is far above what anybody sends.
const maxExtensions = 32

// ipv4 reads the IPv4 header (RFC 791).
func (d *Decoder) ipv4(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 20 {
		if len(b) > 0 && b[0]>>4 != 4 {
			return capture.DispositionMalformed
		}
		return capture.DispositionTruncated
	}
	h := b[:20:20]
	header := int(h[0]&0x0f) * 4
	if h[0]>>4 != 4 || header < 20 {
		return capture.DispositionMalformed
	}
	p.IPVersion = 4
	p.Src, p.Dst = mapped(binary.BigEndian.Uint32(h[12:])), mapped(binary.BigEndian.Uint32(h[16:]))

	// Segmentation offload leaves the length 0 in what the sending host
	// captures, and Linux does so for packets above 64 KiB (BIG TCP).
	if length := int(binary.BigEndian.Uint16(h[2:])); length != 0 {
		size = length
	}
	if size < header {
		return d.other(p, capture.DispositionMalformed)
	}
	if len(b) < header {
		return d.other(p, capture.DispositionTruncated)
	}
	if binary.BigEndian.Uint16(h[6:])&0x3fff != 0 { // more fragments, or an offset
		return d.ipv4Fragment(p, h, b[header:], size-header)
	}
	if h[9] == protocolTCP {
		return d.tcp(p, b[header:], size-header)
	}
	return d.payload(p, h[9], b[header:], size-header, false)
}

// ipv4Fragment takes the fragment of header h and payload b.
func (d *Decoder) ipv4Fragment(p *capture.Packet, h, b []byte, size int) capture.Disposition {
	field := binary.BigEndian.Uint16(h[6:])
	protocol := h[9]
	whole, disposition := d.fragment(p, datagramKey{
		src: p.Src, dst: p.Dst, id: uint32(binary.BigEndian.Uint16(h[4:])), protocol: protocol, version: 4,
	}, fragment{
		offset: int(field&0x1fff) * 8, size: size, more: field&0x2000 != 0, next: protocol, octets: b[:min(size, len(b))],
	})
	if whole.size == 0 {
		return d.other(p, disposition)
	}
	return d.payload(p, protocol, whole.octets, whole.size, true)
}

// ipv6 reads the IPv6 header (RFC 8200).
func (d *Decoder) ipv6(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 40 {
		if len(b) > 0 && b[0]>>4 != 6 {
			return capture.DispositionMalformed
		}
		return capture.DispositionTruncated
	}
	h := b[:40:40]
	if h[0]>>4 != 6 {
		return capture.DispositionMalformed
	}
	p.IPVersion = 6
	p.Src, p.Dst = capture.Addr(h[8:24]), capture.Addr(h[24:40])

	// Length 0 is a jumbogram, whose option says the length, or segmentation
	// offload as in IPv4.
	b, size = b[40:], size-40
	if length := int(binary.BigEndian.Uint16(h[4:])); length != 0 {
		size = length
	} else if h[6] == protocolHopByHop {
		if n, found := jumboLength(b); found {
			if n <= 0xffff || n > size {
				return d.other(p, capture.DispositionMalformed)
			}
			size = n
		}
	}
	if h[6] == protocolTCP {
		return d.tcp(p, b, size)
	}
	return d.payload(p, h[6], b, size, false)
}

// ipv6Fragment takes the fragment that begins with its header (RFC 8200
// section 4.5).
func (d *Decoder) ipv6Fragment(p *capture.Packet, b []byte, size int) capture.Disposition {
	field := binary.BigEndian.Uint16(b[2:])
	whole, disposition := d.fragment(p, datagramKey{
		src: p.Src, dst: p.Dst, id: binary.BigEndian.Uint32(b[4:]), version: 6,
	}, fragment{
		offset: int(field &^ 7), size: size - 8, more: field&1 != 0, next: b[0], octets: b[8:],
	})
	if whole.size == 0 {
		return d.other(p, disposition)
	}
	return d.payload(p, whole.next, whole.octets, whole.size, true)
}

// fragment gives a fragment to the defragmenter. If that completes a datagram,
// this is returned, with a size above 0; else the disposition of the frame.
func (d *Decoder) fragment(p *capture.Packet, key datagramKey, f fragment) (fragment, capture.Disposition) {
	switch {
	case !f.valid():
		return fragment{}, capture.DispositionMalformed
	case d.defragmenter == nil:
		return fragment{}, capture.DispositionFragment
	}
	return d.defragmenter.add(p.Clock, key, f), capture.DispositionFragment
}

// payload reads what the protocol number of an IP header announces, through
// the chain of extension headers; size is that of the payload by the header.
// whole tells that it was put together from fragments: such a datagram has no
// fragment header of its own.
func (d *Decoder) payload(p *capture.Packet, next uint8, b []byte, size int, whole bool) capture.Disposition {
	b = b[:min(size, len(b))]
	for range maxExtensions {
		switch next {
		case protocolTCP:
			return d.tcp(p, b, size)
		case protocolUDP:
			return d.udp(p, b, size)
		case protocolHopByHop, protocolRouting, protocolDestination, protocolFragment, protocolAH:
		default:
			return d.tunnel(p, next, b, size)
		}
		if size < 8 {
			return d.other(p, capture.DispositionMalformed)
		}
		if len(b) < 8 {
			return d.other(p, capture.DispositionTruncated)
		}
		header := int(b[1])*8 + 8
		switch next {
		case protocolFragment:
			// A fragment of offset 0 that is also the last is a whole packet
			// (atomic fragment, RFC 6946).
			if binary.BigEndian.Uint16(b[2:])&0xfff9 != 0 {
				if whole {
					return d.other(p, capture.DispositionMalformed)
				}
				return d.ipv6Fragment(p, b, size)
			}
			header = 8
		case protocolAH:
			header = int(b[1])*4 + 8 // RFC 4302 section 2.2
		}
		if size < header {
			return d.other(p, capture.DispositionMalformed)
		}
		if len(b) < header {
			return d.other(p, capture.DispositionTruncated)
		}
		next = b[0]
		b, size = b[header:], size-header
	}
	return d.other(p, capture.DispositionMalformed)
}

// tunnel reads what IP carries beside TCP and UDP. Unless there is an IP packet
// in it, the shard is that of the outer addresses.
func (d *Decoder) tunnel(p *capture.Packet, protocol uint8, b []byte, size int) capture.Disposition {
	p.Shard = d.shard(p, 0, 0)
	if !d.trusted(p) {
		return capture.DispositionNotTCP
	}
	switch protocol {
	case protocolIPv4:
		if !push(p, capture.EncapsulationIPIP) {
			return d.other(p, capture.DispositionMalformed)
		}
		return d.ipv4(p, b, size)
	case protocolIPv6:
		layer := capture.Encapsulation6in4
		if p.IPVersion == 6 {
			layer = capture.Encapsulation6in6
		}
		if !push(p, layer) {
			return d.other(p, capture.DispositionMalformed)
		}
		return d.ipv6(p, b, size)
	case protocolGRE:
		return d.gre(p, b, size)
	case protocolMPLS:
		return d.mpls(p, b, size)
	}
	return d.other(p, capture.DispositionNotTCP)
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

// tcp reads the TCP header (RFC 9293 section 3.1).
func (d *Decoder) tcp(p *capture.Packet, b []byte, size int) capture.Disposition {
	if size < 20 {
		return d.other(p, capture.DispositionMalformed)
	}
	if len(b) < 20 {
		return d.other(p, capture.DispositionTruncated)
	}
	header := int(b[12]>>4) * 4
	if header < 20 || header > size {
		return d.other(p, capture.DispositionMalformed)
	}
	if header > len(b) {
		return d.other(p, capture.DispositionTruncated)
	}
	p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	p.Seq, p.Ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	p.Flags = b[13]
	p.Window = binary.BigEndian.Uint16(b[14:])
	p.PayloadLen = size - header
	captured := min(size, len(b))
	p.Payload = b[header:captured:captured]
	p.Shard = d.shard(p, p.SrcPort, p.DstPort)
	return capture.DispositionTCP
}

// other gives an IP packet whose TCP header isn't read its shard.
func (d *Decoder) other(p *capture.Packet, disposition capture.Disposition) capture.Disposition {
	p.Shard = d.shard(p, 0, 0)
	return disposition
}

// mapped returns the IPv4-mapped form of an address.
func mapped(v4 uint32) (a capture.Addr) {
	binary.BigEndian.PutUint64(a[8:], 0xffff<<32|uint64(v4))
	return a
}
