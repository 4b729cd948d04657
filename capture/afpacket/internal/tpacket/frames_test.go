package tpacket

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

// kernelFrame is what the kernel writes into a block.
type kernelFrame struct {
	data      []byte
	length    uint32 // on the wire; 0: that of data
	status    uint32
	tci, tpid uint16
	sec, nsec uint32
}

// block lays frames out as the kernel does, with room for a VLAN tag before
// each.
func block(frames ...kernelFrame) Frames {
	const mac = 96
	b := make([]byte, blockHeaderSize, 4096)
	first := len(b)
	for _, f := range frames {
		off := len(b)
		size := (mac + len(f.data) + 15) &^ 15
		b = append(b, make([]byte, size)...)
		h := frameHeaderAt(b, off)
		*h = frameHeader{
			Next_offset: uint32(size), Sec: f.sec, Nsec: f.nsec,
			Snaplen: uint32(len(f.data)), Len: f.length, Status: f.status, Mac: mac,
		}
		if f.length == 0 {
			h.Len = uint32(len(f.data))
		}
		h.Hv1.Vlan_tci, h.Hv1.Vlan_tpid = uint32(f.tci), f.tpid
		copy(b[off+mac:], f.data)
	}
	return Frames{block: b, off: first, left: uint32(len(frames))}
}

const addresses = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"

func TestNextReturnsTheFrameAsItWasOnTheWire(t *testing.T) {
	tests := []struct {
		name    string
		frame   kernelFrame
		data    string
		wireLen int
	}{
		{"untagged", kernelFrame{data: []byte(addresses + "\x08\x00E")}, addresses + "\x08\x00E", 15},
		{"cut by the snap length", kernelFrame{data: []byte(addresses + "\x08\x00"), length: 1514}, addresses + "\x08\x00", 1514},
		{
			"tag with its EtherType, priority and drop bits kept",
			kernelFrame{
				data: []byte(addresses + "\x08\x00E"), tci: 0xf064, tpid: 0x88a8,
				status: unix.TP_STATUS_VLAN_VALID | unix.TP_STATUS_VLAN_TPID_VALID,
			},
			addresses + "\x88\xa8\xf0\x64\x08\x00E", 19,
		},
		{
			"tag without an EtherType is a customer tag",
			kernelFrame{data: []byte(addresses + "\x08\x00E"), tci: 7, status: unix.TP_STATUS_VLAN_VALID},
			addresses + "\x81\x00\x00\x07\x08\x00E", 19,
		},
		{
			"tagged and cut", kernelFrame{data: []byte(addresses), length: 100, tci: 7, status: unix.TP_STATUS_VLAN_VALID},
			addresses + "\x81\x00\x00\x07", 104,
		},
		{
			"tag identifier without its status is no tag",
			kernelFrame{data: []byte(addresses + "\x08\x00E"), tci: 7}, addresses + "\x08\x00E", 15,
		},
		{
			"too short for a tag to have stood in it",
			kernelFrame{data: []byte(addresses[:11]), tci: 7, status: unix.TP_STATUS_VLAN_VALID}, addresses[:11], 11,
		},
		{"empty", kernelFrame{}, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			neighbour := kernelFrame{data: []byte("the next frame")}
			frames := block(tt.frame, neighbour)
			var f Frame
			assert.True(t, frames.Next(&f))
			assert.Equal(t, tt.data, string(f.Data))
			assert.Equal(t, tt.wireLen, f.WireLen)
			assert.Equal(t, len(f.Data), cap(f.Data), "what follows in the block is out of reach")

			assert.True(t, frames.Next(&f))
			assert.Equal(t, "the next frame", string(f.Data))
			assert.False(t, frames.Next(&f))
		})
	}
}

func TestNextTakesTimesBeyond2038(t *testing.T) {
	frames := block(kernelFrame{data: []byte(addresses), sec: 1<<32 - 1, nsec: 999_999_999})
	var f Frame
	assert.True(t, frames.Next(&f))
	assert.Equal(t, int64(1<<32-1)*1e9+999_999_999, f.Time)
}

func TestZeroFramesIsEmpty(t *testing.T) {
	var frames Frames
	var f Frame
	assert.False(t, frames.Next(&f))
}

func TestNextDoesNotAllocate(t *testing.T) {
	frames := block(
		kernelFrame{data: []byte(addresses + "\x08\x00E")},
		kernelFrame{data: []byte(addresses + "\x08\x00E"), tci: 7, status: unix.TP_STATUS_VLAN_VALID},
	)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		walk := frames
		var f Frame
		for walk.Next(&f) {
		}
	}))
}
