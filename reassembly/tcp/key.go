package tcp

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"offpath/capture"
)

// key identifies a flow: the lower endpoint first, so that both directions have
// the same.
type key struct {
	low, high [2]uint64 // addresses, big endian
	rest      uint64    // port of low, port of high, version of IP, 16 bits each
}

// equal is == without a call; what differs most comes first.
func (k *key) equal(o *key) bool {
	return k.rest == o.rest && k.low[1] == o.low[1] && k.high[1] == o.high[1] && k.low[0] == o.low[0] && k.high[0] == o.high[0]
}

// version is that of IP, 4 or 6.
func (k *key) version() uint8 { return uint8(k.rest) }

// of makes k the key of p's flow and returns the direction of p: 0 if the lower
// endpoint sent it.
func (k *key) of(p *capture.Packet) Direction {
	src0, src1 := binary.BigEndian.Uint64(p.Src[:8]), binary.BigEndian.Uint64(p.Src[8:])
	dst0, dst1 := binary.BigEndian.Uint64(p.Dst[:8]), binary.BigEndian.Uint64(p.Dst[8:])
	if src0 < dst0 || src0 == dst0 && (src1 < dst1 || src1 == dst1 && p.SrcPort < p.DstPort) {
		k.low[0], k.low[1], k.high[0], k.high[1] = src0, src1, dst0, dst1
		k.rest = uint64(p.SrcPort)<<32 | uint64(p.DstPort)<<16 | uint64(p.IPVersion)
		return 0
	}
	k.low[0], k.low[1], k.high[0], k.high[1] = dst0, dst1, src0, src1
	k.rest = uint64(p.DstPort)<<32 | uint64(p.SrcPort)<<16 | uint64(p.IPVersion)
	return 1
}

// endpoint returns address and port of the side that sends direction d.
func (k *key) endpoint(d Direction) (addr capture.Addr, port uint16) {
	words, port := k.low, uint16(k.rest>>32)
	if d == 1 {
		words, port = k.high, uint16(k.rest>>16)
	}
	binary.BigEndian.PutUint64(addr[:8], words[0])
	binary.BigEndian.PutUint64(addr[8:], words[1])
	return addr, port
}

// hashSeed keys the placement of flows in a table, so that nobody outside can
// aim at one chain. Nothing but speed depends on it.
type hashSeed [4]uint64

func newHashSeed() hashSeed {
	return hashSeed{rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64()}
}

func (s *hashSeed) hash(k *key) uint64 {
	h := fold(k.low[0]^k.high[0]^s[0], k.low[1]^s[1])
	h ^= fold(k.high[1]^s[2], k.rest^s[3])
	return fold(h^s[1], k.low[0]^s[2])
}

// fold multiplies to 128 bits and folds the halves (as wyhash does).
func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
