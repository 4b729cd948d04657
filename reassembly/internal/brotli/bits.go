package brotli

import "io"

// bitReader reads bits, the least significant of each octet first (RFC 7932
// section 1.5.1). At the end of its source it gives zeros and has an error.
type bitReader struct {
	src io.ByteReader
	acc uint64 // the next bits
	n   uint   // bits in acc
	err error
	end bool // of src
}

// fill makes at least 48 bits ready, if there are as many.
func (b *bitReader) fill() {
	for b.n <= 56 && !b.end {
		c, err := b.src.ReadByte()
		if err != nil {
			b.end = true
			return
		}
		b.acc |= uint64(c) << b.n
		b.n += 8
	}
}

// bits reads up to 24 bits.
func (b *bitReader) bits(n uint8) uint32 {
	if b.n < uint(n) {
		b.fill()
	}
	v := uint32(b.acc) & (1<<n - 1)
	b.skip(uint(n))
	return v
}

func (b *bitReader) skip(n uint) {
	if n > b.n {
		b.err = io.ErrUnexpectedEOF
		b.acc, b.n = 0, 0
		return
	}
	b.acc >>= n
	b.n -= n
}

// align passes over the bits up to the next octet; not ok if one of them is set.
func (b *bitReader) align() bool { return b.bits(uint8(b.n&7)) == 0 }

// symbol reads a symbol of a prefix code.
func (b *bitReader) symbol(t *tree) uint16 {
	if b.n < maxLength {
		b.fill()
	}
	e := t.table[uint32(b.acc)&(1<<t.root-1)]
	if e.length > t.root {
		e2 := t.table[uint32(e.value)+uint32(b.acc>>t.root)&(1<<(e.length-t.root)-1)]
		b.skip(uint(t.root) + uint(e2.length))
		return e2.value
	}
	b.skip(uint(e.length))
	return e.value
}
