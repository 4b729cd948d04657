// Package distinct counts different things in little memory: HyperLogLog, with
// linear counting where there are few (Flajolet and others, AofA 2007).
//
// A [Counter] has 2^10 registers of one octet, allocated with the first thing,
// and is off by 3 % (one standard error). It belongs to one goroutine. What it
// counts depends on the things alone, not on their order nor on a seed, so that
// counters of parts add up to that of the whole ([Counter.Merge]).
package distinct

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

	"offpath/detect/internal/generations"
)

const precision = 10 // 2^10 registers

// Counter counts different numbers. The zero value is ready.
type Counter struct{ registers *[1 << precision]uint8 }

// Add counts a number; 0 stands for what is not known, and is left out.
func (c *Counter) Add(n uint64) {
	if n == 0 {
		return
	}
	if c.registers == nil {
		c.registers = new([1 << precision]uint8)
	}
	h := generations.Mix(0, n)
	rank := uint8(bits.LeadingZeros64(h<<precision|1<<(precision-1))) + 1
	if r := &c.registers[h>>(64-precision)]; *r < rank {
		*r = rank
	}
}

// AddAddress counts an address; of IPv6 its /64, whose addresses are one
// client's.
func (c *Counter) AddAddress(a netip.Addr) { c.Add(Address(a)) }

// Merge adds what another counted.
func (c *Counter) Merge(o *Counter) {
	if o.registers == nil {
		return
	}
	if c.registers == nil {
		c.registers = new([1 << precision]uint8)
	}
	for i, r := range o.registers {
		c.registers[i] = max(c.registers[i], r)
	}
}

// Copy is the counter as it is now.
func (c *Counter) Copy() Counter {
	if c.registers == nil {
		return Counter{}
	}
	registers := *c.registers
	return Counter{&registers}
}

// Count estimates how many there are.
func (c *Counter) Count() int {
	if c.registers == nil {
		return 0
	}
	const m = 1 << precision
	sum, empty := 0.0, 0
	for _, r := range c.registers {
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

// Address is a number for an address; for IPv6 for its /64, whose addresses are
// one client's.
func Address(a netip.Addr) uint64 {
	b := a.As16()
	if a.Is6() && !a.Is4In6() {
		clear(b[8:])
	}
	return generations.Mix(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]))
}
