// Package buffer keeps the octets of connections that must outlive their segment.
//
// A buffer is a slice whose capacity is what it takes of memory, and what its owner
// is charged for; nil is an empty one, which costs nothing. Only a [Pool] makes and
// enlarges buffers, and an owner may shorten or empty one, but not cut octets off
// its front. Capacities come in steps, and depend on nothing but what was put in:
// what finds no room must not depend on the buffers that a worker has to spare.
package buffer

import "math/bits"

// Budget is where buffers are charged.
type Budget interface {
	Take(octets int) bool // false: there are not as many
	Give(octets int)      // takes back what was taken
}

// Capacities, in octets: powers of two from the smallest to the largest that is
// pooled, beyond that multiples of the latter.
const (
	smallest = 1 << 8
	largest  = 1 << 16

	sizes    = 9  // that are pooled
	maxSpare = 16 // buffers of each size that wait to be used again
)

// Pool is the buffers that the connections of a worker do not use at the moment,
// about 2 MiB at most. The zero value is an empty one. It is not for concurrent use.
type Pool struct {
	spare [sizes][][]byte
}

// Append appends data to a buffer. If there is no room for it, ok is false and the
// buffer is as it was. Views of it are not valid afterwards.
func (p *Pool) Append(b Budget, buf, data []byte) (with []byte, ok bool) {
	if buf, ok = p.Grow(b, buf, len(data)); !ok {
		return buf, false
	}
	return append(buf, data...), true
}

// Grow makes a buffer one to which n octets can be appended, as Append does.
func (p *Pool) Grow(b Budget, buf []byte, n int) (larger []byte, ok bool) {
	need := len(buf) + n
	if need <= cap(buf) {
		return buf, true
	}
	size := capacity(need)
	if size > largest { // not to be copied for every few octets
		size = max(size, capacity(cap(buf)+cap(buf)/4))
	}
	if !b.Take(size - cap(buf)) {
		if size = capacity(need); !b.Take(size - cap(buf)) {
			return buf, false
		}
	}
	larger = append(p.take(size), buf...)
	p.put(buf)
	return larger, true
}

// Release gives a buffer back, with all views of it.
func (p *Pool) Release(b Budget, buf []byte) {
	if cap(buf) > 0 {
		b.Give(cap(buf))
		p.put(buf)
	}
}

// capacity is that of the smallest buffer for n octets.
func capacity(n int) int {
	switch {
	case n <= smallest:
		return smallest
	case n <= largest:
		return 1 << bits.Len(uint(n-1))
	}
	return (n + largest - 1) / largest * largest
}

// class is the place of a capacity that is pooled.
func class(size int) int { return bits.Len(uint(size)) - bits.Len(uint(smallest)) }

func (p *Pool) take(size int) []byte {
	if size <= largest {
		spare := &p.spare[class(size)]
		if n := len(*spare); n > 0 {
			buf := (*spare)[n-1]
			*spare = (*spare)[:n-1]
			return buf
		}
	}
	return make([]byte, 0, size)
}

func (p *Pool) put(buf []byte) {
	if size := cap(buf); 0 < size && size <= largest {
		if spare := &p.spare[class(size)]; len(*spare) < maxSpare {
			*spare = append(*spare, buf[:0])
		}
	}
}
