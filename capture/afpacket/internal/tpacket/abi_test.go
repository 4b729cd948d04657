package tpacket

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

func TestStructuresHaveTheSizesOfTheKernel(t *testing.T) {
	assert.Equal(t, 48, blockHeaderSize, "struct tpacket_block_desc")
	assert.Equal(t, 48, frameHeaderSize, "struct tpacket3_hdr")
	assert.EqualValues(t, 8, unsafe.Offsetof(blockHeader{}.bh1), "block_status begins the union")
	assert.EqualValues(t, 24, unsafe.Offsetof(frameHeader{}.Mac))
	assert.EqualValues(t, 28, unsafe.Offsetof(frameHeader{}.Hv1))
	assert.EqualValues(t, 28, unsafe.Sizeof(unix.TpacketReq3{}), "struct tpacket_req3")
	assert.EqualValues(t, 12, unsafe.Sizeof(unix.TpacketStatsV3{}), "struct tpacket_stats_v3")
}

func TestBlocksHoldWholeFrames(t *testing.T) {
	assert.Zero(t, BlockSize%frameSize, "the kernel wants blocks of whole frames")
	assert.Zero(t, BlockSize%unix.Getpagesize())
}
