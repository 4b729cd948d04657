package sitemap

import (
	"math"
	"math/bits"
	"net/netip"
)

// Quantiles is a histogram of numbers from 0 on, of 32 buckets to each doubling:
// a quantile is off by 1/64 of itself at most. The zero value is ready.
type Quantiles struct {
	from   int // index of the first bucket
	counts []uint64
	n      uint64
}

const subBits = 5 // 2^5 buckets a doubling

// bucket is the index of a number's bucket.
func bucket(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)<<subBits + int(v>>shift) - 1<<subBits
}

// middle is the number in the middle of a bucket.
func middle(i int) uint64 {
	if i < 1<<subBits {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return (1<<subBits+uint64(i&(1<<subBits-1)))<<shift + 1<<shift>>1
}

// Add counts a number; one below 0 is not known, and left out.
func (q *Quantiles) Add(v int64) {
	if v >= 0 {
		q.add(bucket(uint64(v)), 1)
	}
}

func (q *Quantiles) add(i int, n uint64) {
	switch {
	case q.n == 0:
		q.from, q.counts = i, append(q.counts[:0], 0)
	case i < q.from:
		q.counts = append(make([]uint64, q.from-i), q.counts...)
		q.from = i
	case i >= q.from+len(q.counts):
		q.counts = append(q.counts, make([]uint64, i-q.from-len(q.counts)+1)...)
	}
	q.counts[i-q.from] += n
	q.n += n
}

// Merge adds the numbers of another.
func (q *Quantiles) Merge(o *Quantiles) {
	for i, n := range o.counts {
		if n > 0 {
			q.add(o.from+i, n)
		}
	}
}

// Count is how many numbers there are.
func (q *Quantiles) Count() uint64 { return q.n }

// At is a quantile, p from 0 to 1; 0 where there are no numbers.
func (q *Quantiles) At(p float64) uint64 {
	rank := uint64(math.Ceil(p * float64(q.n)))
	var sum uint64
	for i, n := range q.counts {
		if sum += n; sum >= max(rank, 1) {
			return middle(q.from + i)
		}
	}
	return 0
}

// Clients counts different addresses; of IPv6, different /64 networks.
// HyperLogLog (Flajolet and others, 2007) with 256 registers: the standard error
// is 6.5 %, and small numbers are nearly exact. The zero value is ready.
type Clients struct{ registers [256]uint8 }

// Add counts an address.
func (c *Clients) Add(a netip.Addr) {
	b := a.Unmap().As16()
	if a.Is6() && !a.Is4In6() {
		clear(b[8:])
	}
	h := mix(b)
	i := h >> 56
	c.registers[i] = max(c.registers[i], uint8(bits.LeadingZeros64(h<<8|1<<7))+1)
}

// mix is a hash of 16 octets that repeats from run to run: the finaliser of
// MurmurHash3 over FNV-1a.
func mix(b [16]byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Merge adds the addresses of another.
func (c *Clients) Merge(o *Clients) {
	for i, r := range o.registers {
		c.registers[i] = max(c.registers[i], r)
	}
}

// Count estimates how many there are.
func (c *Clients) Count() uint64 {
	const m = float64(len(c.registers))
	sum, zeros := 0.0, 0.0
	for _, r := range c.registers {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			zeros++
		}
	}
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && zeros > 0 {
		estimate = m * math.Log(m/zeros)
	}
	return uint64(math.Round(estimate))
}
