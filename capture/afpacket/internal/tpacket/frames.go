package tpacket

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// vlanTagLen is the length of an IEEE 802.1Q tag, and what a Ring has the
// kernel reserve before each frame to put the tag back.
const vlanTagLen = 4

// macLen is the length of both MAC addresses, behind which the tag stands.
const macLen = 12

const etherVLAN = 0x8100 // IEEE 802.1Q customer tag

// Frame is one frame of a block.
type Frame struct {
	Data    []byte // captured octets from the link-layer header on; valid until the block is released
	WireLen int    // octets of the frame on the wire
	Time    int64  // when the kernel took it, ns since the epoch
}

// Frames walks over the frames of one block in the order of their arrival,
// once: it changes them. The zero value is an empty block.
type Frames struct {
	block []byte
	off   int
	left  uint32
}

// Next sets frame to the next frame, or returns false if there is none.
//
// The kernel takes the outermost VLAN tag off a frame (skb_vlan_untag) and
// gives it beside it. Next puts it back where it was, as libpcap does, so that
// Data holds the octets that were on the wire, priority bits included.
func (f *Frames) Next(frame *Frame) bool {
	if f.left == 0 {
		return false
	}
	h := frameHeaderAt(f.block, f.off)
	start, size := f.off+int(h.Mac), int(h.Snaplen)
	frame.WireLen = int(h.Len)
	frame.Time = int64(h.Sec)*1e9 + int64(h.Nsec)
	if h.Status&unix.TP_STATUS_VLAN_VALID != 0 && size >= macLen {
		tpid := uint16(etherVLAN)
		if h.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = h.Hv1.Vlan_tpid
		}
		start -= vlanTagLen
		size += vlanTagLen
		frame.WireLen += vlanTagLen
		b := f.block[start : start+macLen+vlanTagLen]
		copy(b, b[vlanTagLen:])
		binary.BigEndian.PutUint16(b[macLen:], tpid)
		binary.BigEndian.PutUint16(b[macLen+2:], uint16(h.Hv1.Vlan_tci))
	}
	frame.Data = f.block[start : start+size : start+size]

	f.left--
	f.off += int(h.Next_offset)
	return true
}
