package pcapfile

import (
	"fmt"

	"offpath/capture"
)

// Lengths in a pcap file, in octets (draft-ietf-opsawg-pcap).
const (
	pcapHeaderLen         = 24
	pcapRecordLen         = 16
	pcapModifiedRecordLen = 24 // with interface index, protocol and packet type
)

// minSnapLength is what frames may have in any file, whatever the snap length
// in its header: writers leave that too low, or 0.
const minSnapLength = 256 << 10

// pcapParser reads pcap files, of which sniff has seen the magic number.
type pcapParser struct {
	order  order
	magic  uint32
	intern interner

	headerLen int // of a record; 0 before the file header was read
	fraction  int64
	maxFrame  uint32
	link      capture.LinkType
	iface     uint16
}

func (p *pcapParser) next(b []byte, rec *record) (int, error) {
	if p.headerLen == 0 {
		return p.fileHeader(b, rec)
	}
	if len(b) < max(p.headerLen, pcapRecordLen) {
		return 0, nil
	}
	seconds, fraction := p.order.pair(b[:8])
	captured, wire := p.order.pair(b[8:16])
	if captured > p.maxFrame {
		return 0, fmt.Errorf("frame of %d octets", captured)
	}
	n := p.headerLen + int(captured)
	if len(b) < n {
		return 0, nil
	}
	rec.kind = recordPacket
	rec.time = int64(seconds)*1e9 + int64(fraction)*p.fraction
	rec.data = b[p.headerLen:n:n]
	rec.wireLen = int(max(wire, captured))
	rec.link, rec.iface = p.link, p.iface
	return n, nil
}

func (p *pcapParser) fileHeader(b []byte, rec *record) (int, error) {
	if len(b) < pcapHeaderLen {
		return 0, nil
	}
	if major := p.order.u16(b[4:]); major != 2 {
		return 0, fmt.Errorf("pcap version %d.%d", major, p.order.u16(b[6:]))
	}
	p.maxFrame = min(max(p.order.u32(b[16:]), minSnapLength), maxRecord)
	p.link = linkType(p.order.u32(b[20:]))
	p.iface = p.intern("", p.link)
	p.headerLen, p.fraction = pcapRecordLen, 1e3
	switch p.magic {
	case magicNano:
		p.fraction = 1
	case magicModified:
		p.headerLen = pcapModifiedRecordLen
	}
	rec.kind = recordOther
	return pcapHeaderLen, nil
}
