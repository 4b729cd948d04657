package decode

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"offpath/capture"
)

// Shard returns a number, 0 to 255, of the flow between two TCP endpoints by which
// the kernel steers: an eBPF program computes the same before the packet reaches
// the process. It is symmetric: both directions of a connection have the same.
//
// It is defined in 32-bit arithmetic on the header fields:
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
// one number. So the shards in which flows have their memory are those of a
// Decoder with a secret.
func Shard(src, dst capture.Addr, srcPort, dstPort uint16) uint8 {
	x := binary.BigEndian.Uint64(src[:8]) ^ binary.BigEndian.Uint64(src[8:]) ^
		binary.BigEndian.Uint64(dst[:8]) ^ binary.BigEndian.Uint64(dst[8:])
	h := uint32(x>>32) ^ uint32(x) ^ (uint32(srcPort^dstPort)<<16 | uint32(srcPort+dstPort))
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	h ^= h >> 16
	return uint8(h)
}

// shard returns the shard of the flow between p's addresses and two ports. With a
// key it hashes each address, and the sum of both with the ports, by multiplying
// what the key hides to 128 bits and folding the halves (as wyhash does).
func (d *Decoder) shard(p *capture.Packet, srcPort, dstPort uint16) uint8 {
	if !d.keyed {
		return Shard(p.Src, p.Dst, srcPort, dstPort)
	}
	k := &d.key
	a := fold(binary.LittleEndian.Uint64(p.Src[:8])^k[0], binary.LittleEndian.Uint64(p.Src[8:])^k[1])
	b := fold(binary.LittleEndian.Uint64(p.Dst[:8])^k[0], binary.LittleEndian.Uint64(p.Dst[8:])^k[1])
	ports := uint64(srcPort^dstPort)<<32 | (uint64(srcPort) + uint64(dstPort))
	return uint8(fold((a+b)^k[2], ports^k[3]) >> 32)
}

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// shardKey is what a secret makes of a Decoder's hash.
type shardKey [4]uint64

func newShardKey(secret []byte) (k shardKey) {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("offpath shard"))
	sum := mac.Sum(nil)
	for i := range k {
		k[i] = binary.LittleEndian.Uint64(sum[8*i:])
	}
	return k
}
