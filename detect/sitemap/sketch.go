package sitemap

import (
	"math"
	"math/bits"
)

// Quantiles is a histogram of numbers from 0 on, of 32 buckets to each doubling:
// a quantile is off by 1/64 of itself at most. It takes eight octets for each bucket
// of the doublings that there are numbers between. The zero value is ready.
type Quantiles struct {
	from   int // index of the first bucket, of a doubling
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
	if uint(i-q.from) >= uint(len(q.counts)) {
		q.widen(i)
	}
	q.counts[i-q.from] += n
	q.n += n
}

// widen makes room for a bucket, and for no more than its doubling.
func (q *Quantiles) widen(i int) {
	from := i &^ (1<<subBits - 1)
	to := from + 1<<subBits
	if len(q.counts) > 0 {
		from, to = min(from, q.from), max(to, q.from+len(q.counts))
	}
	counts := make([]uint64, to-from)
	if len(q.counts) > 0 {
		copy(counts[q.from-from:], q.counts)
	}
	q.from, q.counts = from, counts
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
