package campaign

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

	"offpath/detect/internal/generations"
)

// distinct counts different numbers to within about 3 %: HyperLogLog with 2^10
// registers and linear counting where there are few (Flajolet et al., AofA
// 2007). The zero value is ready.
type distinct struct{ registers *[1 << precision]uint8 }

const precision = 10

func (d *distinct) add(n uint64) {
	if n == 0 {
		return
	}
	if d.registers == nil {
		d.registers = new([1 << precision]uint8)
	}
	h := generations.Mix(0, n)
	rank := uint8(bits.LeadingZeros64(h<<precision|1<<(precision-1))) + 1
	if r := &d.registers[h>>(64-precision)]; *r < rank {
		*r = rank
	}
}

func (d *distinct) count() int {
	if d.registers == nil {
		return 0
	}
	const m = 1 << precision
	sum, empty := 0.0, 0
	for _, r := range d.registers {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			empty++
		}
	}
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && empty > 0 {
		estimate = m * math.Log(float64(m)/float64(empty))
	}
	return int(estimate + 0.5)
}

// addressNumber stands for an address; for IPv6 for its /64, whose addresses
// are one client's.
func addressNumber(a netip.Addr) uint64 {
	b := a.As16()
	if a.Is6() && !a.Is4In6() {
		clear(b[8:])
	}
	return generations.Mix(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]))
}
