package decode

import (
	"encoding/binary"

	"offpath/capture"
)

// Radiotap (radiotap.org): the first word says which fields are present.
const (
	radiotapTSFT  = 1 << 0  // eight octets, aligned to eight
	radiotapFlags = 1 << 1  // one octet
	radiotapMore  = 1 << 31 // another word of presence bits follows

	radiotapPadded = 0x20 // in flags: the IEEE 802.11 header is padded to four octets
	radiotapBadFCS = 0x40 // in flags: the frame check sequence is wrong
)

// radiotap reads the header: version, padding, length, presence bits, fields;
// all little-endian.
func (d *Decoder) radiotap(p *capture.Packet, b []byte, size int) capture.Disposition {
	if len(b) < 8 {
		return capture.DispositionTruncated
	}
	length := int(binary.LittleEndian.Uint16(b[2:]))
	if b[0] != 0 || length < 8 || length > size {
		return capture.DispositionMalformed
	}
	if len(b) < length {
		return capture.DispositionTruncated
	}
	header := b[:length]
	present := binary.LittleEndian.Uint32(header[4:])
	field := 8
	for more := present; more&radiotapMore != 0; field += 4 {
		if field+4 > length {
			return capture.DispositionMalformed
		}
		more = binary.LittleEndian.Uint32(header[field:])
	}
	var flags byte
	if present&radiotapFlags != 0 {
		if present&radiotapTSFT != 0 {
			field = (field+7)&^7 + 8
		}
		if field >= length {
			return capture.DispositionMalformed
		}
		flags = header[field]
	}
	if flags&radiotapBadFCS != 0 { // the receiver has thrown it away
		return capture.DispositionMalformed
	}
	return d.wlan(p, b[length:], size-length, flags&radiotapPadded != 0)
}

// Frame control of IEEE 802.11 (section 9.2.4.1): version, type and subtype in
// the first octet, flags in the second.
const (
	wlanTypeMask = 0x0f // version and type
	wlanData     = 0x08 // version 0, type data
	wlanNull     = 0x40 // subtypes without data
	wlanQoS      = 0x80 // subtypes with QoS control

	wlanToDS      = 0x01
	wlanFromDS    = 0x02
	wlanMore      = 0x04 // more fragments
	wlanProtected = 0x40
	wlanOrder     = 0x80 // in a QoS frame: HT control is there

	wlanFragment = 0x0f // fragment number, in the first octet of sequence control
	wlanAMSDU    = 0x80 // in the first octet of QoS control
)

// wlan reads an IEEE 802.11 frame. Of an aggregate (A-MSDU) the first part is
// read.
func (d *Decoder) wlan(p *capture.Packet, b []byte, size int, padded bool) capture.Disposition {
	if len(b) < 2 {
		return capture.DispositionTruncated
	}
	return d.wlanFrame(p, b, size, padded, false)
}

// wlanFrame is wlan for at least the two octets of frame control. If swapped, these
// and those of sequence control come the wrong way round.
func (d *Decoder) wlanFrame(p *capture.Packet, b []byte, size int, padded, swapped bool) capture.Disposition {
	kind, flags, sequence := b[0], b[1], 22
	if swapped {
		kind, flags, sequence = flags, kind, sequence+1
	}
	if kind&wlanTypeMask != wlanData || kind&wlanNull != 0 || flags&wlanProtected != 0 {
		return capture.DispositionNotIP
	}
	header, qos := 24, 0
	if flags&(wlanToDS|wlanFromDS) == wlanToDS|wlanFromDS { // four addresses
		header += 6
	}
	if kind&wlanQoS != 0 {
		qos = header
		header += 2
		if flags&wlanOrder != 0 {
			header += 4
		}
	}
	if padded {
		header = (header + 3) &^ 3
	}
	if len(b) < header {
		return capture.DispositionTruncated
	}
	if flags&wlanMore != 0 || b[sequence]&wlanFragment != 0 {
		return capture.DispositionFragment
	}
	aggregate := qos != 0 && b[qos]&wlanAMSDU != 0
	b, size = b[header:], size-header
	if aggregate { // addresses and length
		if len(b) < 14 {
			return capture.DispositionTruncated
		}
		b, size = limit(b[14:], size-14, int(binary.BigEndian.Uint16(b[12:])))
	}
	return d.llc(p, b, size)
}
