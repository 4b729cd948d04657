package decode

import (
	"encoding/binary"

	"offpath/capture"
)

// Shard returns the shard, 0 to 255, of the flow between two TCP endpoints. It
// is symmetric: both directions of a connection fall into the same shard.
//
// It is defined in 32-bit arithmetic on the header fields, so that an eBPF
// program can compute the same value before the packet reaches the process:
//
//	x     = XOR of the big-endian 32-bit words of both addresses
//	        (IPv4: one word each; IPv6: four words each)
//	ports = (srcport XOR dstport) << 16 | ((srcport + dstport) & 0xffff)
//	h     = x XOR ports
//	h    ^= h >> 16;  h *= 0x85ebca6b
//	h    ^= h >> 13;  h *= 0xc2b2ae35
//	h    ^= h >> 16
//	shard = h & 0xff
//
// The last four lines but one are the finaliser of MurmurHash3 (fmix32). An
// IPv4-mapped Addr needs no case of its own: the word 0000ffff stands in both
// addresses and cancels out.
//
// IP packets without a TCP header take part with both ports 0; frames without
// IP are in shard 0. The hash has no key: whoever picks many ports can aim at
// one shard, which therefore has caps of its own.
func Shard(src, dst capture.Addr, srcPort, dstPort uint16) uint8 {
	x := binary.BigEndian.Uint64(src[:8]) ^ binary.BigEndian.Uint64(src[8:]) ^
		binary.BigEndian.Uint64(dst[:8]) ^ binary.BigEndian.Uint64(dst[8:])
	return finish(uint32(x>>32)^uint32(x), srcPort, dstPort)
}

// finish is Shard from the XOR of the address words on.
func finish(x uint32, srcPort, dstPort uint16) uint8 {
	h := x ^ (uint32(srcPort^dstPort)<<16 | uint32(srcPort+dstPort))
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	h ^= h >> 16
	return uint8(h)
}
