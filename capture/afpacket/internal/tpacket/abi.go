package tpacket

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's structures, from include/uapi/linux/if_packet.h:
//
//	struct tpacket_block_desc {
//		__u32 version;
//		__u32 offset_to_priv;
//		union tpacket_bd_header_u hdr;	// struct tpacket_hdr_v1 bh1
//	};
//
//	struct tpacket_hdr_v1 {
//		__u32	block_status;
//		__u32	num_pkts;
//		__u32	offset_to_first_pkt;
//		__u32	blk_len;
//		__aligned_u64	seq_num;
//		struct tpacket_bd_ts	ts_first_pkt, ts_last_pkt;
//	};
type blockHeader struct {
	version      uint32
	offsetToPriv uint32
	bh1          unix.TpacketHdrV1
}

//	struct tpacket3_hdr {
//		__u32		tp_next_offset;
//		__u32		tp_sec;
//		__u32		tp_nsec;
//		__u32		tp_snaplen;
//		__u32		tp_len;
//		__u32		tp_status;
//		__u16		tp_mac;
//		__u16		tp_net;
//		union {
//			struct tpacket_hdr_variant1 hv1;
//		};
//		__u8		tp_padding[8];
//	};
//
//	struct tpacket_hdr_variant1 {
//		__u32	tp_rxhash;
//		__u32	tp_vlan_tci;
//		__u16	tp_vlan_tpid;
//		__u16	tp_padding;
//	};
type frameHeader = unix.Tpacket3Hdr

const (
	blockHeaderSize = int(unsafe.Sizeof(blockHeader{}))
	frameHeaderSize = int(unsafe.Sizeof(frameHeader{}))
)

// blockHeaderAt returns the header at the beginning of a block.
func blockHeaderAt(block []byte) *blockHeader {
	return (*blockHeader)(unsafe.Pointer(&block[:blockHeaderSize][0]))
}

// frameHeaderAt returns the header of the frame at off of a block. Its bounds
// are checked like those of a slice.
func frameHeaderAt(block []byte, off int) *frameHeader {
	return (*frameHeader)(unsafe.Pointer(&block[off : off+frameHeaderSize][0]))
}

// ready tells whether the block belongs to the process. What it holds may be
// read after that: the load orders.
func (h *blockHeader) ready() bool {
	return atomic.LoadUint32(&h.bh1.Block_status)&unix.TP_STATUS_USER != 0
}

// release gives the block back to the kernel, after everything read from it.
func (h *blockHeader) release() {
	atomic.StoreUint32(&h.bh1.Block_status, unix.TP_STATUS_KERNEL)
}
