// Package snapshot is the format in which detection keeps its state, and the
// [Codec] by which each detector describes its own: one description, which
// writes the state where the Codec writes and fills it in where it reads, so
// that the two can't differ.
//
// A snapshot is a version, then frames with a checksum each, over themselves
// and all before them: damage anywhere is one error, [ErrDamaged]. What is
// inside are fields without names, in an order that the version stands for;
// section names stand in between, for whoever reads the error. Equal states are
// equal octets: what has no order of its own is sorted.
//
// Reading trusts nothing: what was read of a list so far is all the memory that
// the claim of its length gets, and every number is within the bounds that its
// owner states. After the first error a Codec reads zeroes, so that a
// description need not look.
//
// A Codec belongs to one goroutine. Writing, it gathers in memory, so that the
// owner of the state is kept for as short as may be; work on copies can be left
// for later ([Codec.Later]), to be done by [Codec.WriteTo] in another goroutine.
package snapshot

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
)

// The errors of a snapshot that can't be read.
var (
	ErrVersion = errors.New("written by another version")
	ErrDamaged = errors.New("damaged")
)

// Codec carries a state out of its owner, or back into it.
type Codec struct {
	in      *input // nil: writing
	out     []byte
	done    []chunk
	spill   func([]byte) // writing: takes what would be gathered; nil: nobody
	section string
	err     error
	dropped uint64
}

// chunk is octets, or who makes them later.
type chunk struct {
	octets []byte
	later  func(*Codec)
}

// chunkSize is how many octets are gathered in one piece.
const chunkSize = 1 << 18

// Writer returns a Codec that gathers a state.
func Writer() *Codec { return &Codec{out: make([]byte, 0, chunkSize)} }

// Reading reports whether the Codec fills in what it is given.
func (c *Codec) Reading() bool { return c.in != nil }

// Err is the first error, which says in which section.
func (c *Codec) Err() error { return c.err }

// Fail makes what was read damaged: a value is impossible.
func (c *Codec) Fail(format string, args ...any) {
	c.fail(fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...)))
}

// refuse says that a value which nobody could read back is not written.
func (c *Codec) refuse(format string, args ...any) {
	c.fail(fmt.Errorf("it can't be written: "+format, args...))
}

func (c *Codec) fail(err error) {
	if c.err != nil {
		return
	}
	if c.section != "" {
		err = fmt.Errorf("%s: %w", c.section, err)
	}
	c.err = err
	if c.in != nil {
		c.in.frame = nil
	}
}

// Drop counts entries that were read and found no room: limits have changed.
func (c *Codec) Drop(n int) { c.dropped += uint64(n) }

// Dropped is how many there were.
func (c *Codec) Dropped() uint64 { return c.dropped }

// Section begins a part of the state.
func (c *Codec) Section(name string) {
	found := name
	String(c, &found)
	if c.err == nil && found != name {
		c.Fail("%.40q stands where %q begins", found, name)
	}
	c.section = name
}

// Later has the rest of a description made by WriteTo, of copies that are its
// own. Only in writing, and not in what is made later itself.
func (c *Codec) Later(encode func(*Codec)) {
	c.done = append(c.done, chunk{octets: c.out}, chunk{later: encode})
	c.out = nil
}

// put appends to what was gathered.
func (c *Codec) put(octets ...byte) {
	c.room(len(octets))
	c.out = append(c.out, octets...)
}

// room makes room for n octets.
func (c *Codec) room(n int) {
	switch {
	case len(c.out)+n <= cap(c.out):
	case c.spill != nil:
		c.spill(c.out)
		c.out = c.out[:0]
	default:
		c.done = append(c.done, chunk{octets: c.out})
		c.out = make([]byte, 0, chunkSize)
	}
}

func (c *Codec) putUvarint(v uint64) {
	c.room(maxVarint)
	for v >= 0x80 {
		c.out = append(c.out, byte(v)|0x80)
		v >>= 7
	}
	c.out = append(c.out, byte(v))
}

// maxVarint is the most octets of a number.
const maxVarint = 10

// Uint codes unsigned numbers.
func Uint[T ~uint8 | ~uint16 | ~uint32 | ~uint64](c *Codec, values ...*T) {
	for _, v := range values {
		if c.in == nil {
			c.putUvarint(uint64(*v))
			continue
		}
		n := c.uvarint()
		if uint64(T(n)) != n {
			c.Fail("the number %d is too large", n)
			n = 0
		}
		*v = T(n)
	}
}

// Int codes numbers of either sign.
func Int[T ~int | ~int64](c *Codec, values ...*T) {
	for _, v := range values {
		if c.in == nil {
			n := int64(*v)
			c.putUvarint(uint64(n)<<1 ^ uint64(n>>63))
			continue
		}
		n := c.uvarint()
		*v = T(int64(n>>1) ^ -int64(n&1))
	}
}

// Many is the limit of a count that has none.
const Many = 1 << 53

// Count codes a number from 0 to limit.
func (c *Codec) Count(n *int, limit int) {
	u := uint64(*n)
	if c.in == nil && (*n < 0 || u > uint64(limit)) { // or nobody could read it
		c.refuse("%d is not from 0 to %d", *n, limit)
	}
	Uint(c, &u)
	if c.in == nil {
		return
	}
	if u > uint64(limit) {
		c.Fail("%d is more than %d", u, limit)
		u = 0
	}
	*n = int(u)
}

// Index codes a place in a list of n; -1 is none.
func (c *Codec) Index(i *int, n int) {
	above := *i + 1
	c.Count(&above, n)
	if c.in != nil {
		*i = above - 1
	}
}

// Fixed64 codes numbers that use all their bits.
func (c *Codec) Fixed64(values ...*uint64) {
	for _, v := range values {
		if c.in == nil {
			n := *v
			c.put(byte(n), byte(n>>8), byte(n>>16), byte(n>>24), byte(n>>32), byte(n>>40), byte(n>>48), byte(n>>56))
			continue
		}
		var b [8]byte
		c.take(b[:])
		*v = uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
	}
}

// Float64 codes floating-point numbers that are neither infinite nor none.
func (c *Codec) Float64(values ...*float64) {
	for _, v := range values {
		if c.in == nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
			c.refuse("a number is %v", *v)
		}
		u := math.Float64bits(*v)
		c.Fixed64(&u)
		if c.in == nil {
			continue
		}
		if *v = math.Float64frombits(u); math.IsNaN(*v) || math.IsInf(*v, 0) {
			c.Fail("a number is none")
			*v = 0
		}
	}
}

// Float32 is the same of four octets.
func (c *Codec) Float32(values ...*float32) {
	for _, v := range values {
		if c.in == nil {
			if f := float64(*v); math.IsNaN(f) || math.IsInf(f, 0) {
				c.refuse("a number is %v", f)
			}
			n := math.Float32bits(*v)
			c.put(byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
			continue
		}
		var b [4]byte
		c.take(b[:])
		*v = math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
		if f := float64(*v); math.IsNaN(f) || math.IsInf(f, 0) {
			c.Fail("a number is none")
			*v = 0
		}
	}
}

// Bool codes truths.
func (c *Codec) Bool(values ...*bool) {
	for _, v := range values {
		if c.in == nil {
			n := byte(0)
			if *v {
				n = 1
			}
			c.put(n)
			continue
		}
		var b [1]byte
		c.take(b[:])
		if b[0] > 1 {
			c.Fail("a truth is %d", b[0])
		}
		*v = b[0] == 1
	}
}

// Octets codes an array.
func (c *Codec) Octets(b []byte) {
	if c.in == nil {
		c.put(b...)
		return
	}
	c.take(b)
}

// maxString bounds a string, octets.
const maxString = 1 << 20

// String codes strings.
func String[T ~string](c *Codec, values ...*T) {
	for _, v := range values {
		n := len(*v)
		c.Count(&n, maxString)
		if c.in == nil {
			for rest := string(*v); rest != ""; {
				piece := rest[:min(len(rest), chunkSize/2)]
				c.put([]byte(piece)...)
				rest = rest[len(piece):]
			}
			continue
		}
		*v = T(c.in.text(c, n))
	}
}

// Addr codes addresses; one that is not valid is one too.
func (c *Codec) Addr(values ...*netip.Addr) {
	for _, v := range values {
		var text string
		if c.in == nil {
			b, _ := v.MarshalBinary() // never fails
			text = string(b)
		}
		String(c, &text)
		if c.in != nil {
			if err := v.UnmarshalBinary([]byte(text)); err != nil {
				c.Fail("an address has %d octets", len(text))
			}
		}
	}
}

// Prefix codes networks likewise.
func (c *Codec) Prefix(values ...*netip.Prefix) {
	for _, v := range values {
		addr, bits := v.Addr(), v.Bits()
		c.Addr(&addr)
		c.Index(&bits, 129)
		if c.in == nil {
			continue
		}
		*v = netip.Prefix{}
		if addr.IsValid() || bits >= 0 {
			if *v = netip.PrefixFrom(addr, bits); !v.IsValid() {
				c.Fail("a network of %d bits", bits)
			}
		}
	}
}

// eager is how many elements a list gets room for by its claim alone.
const eager = 1 << 10

// List codes a list of at most limit elements, in its order.
func List[T any](c *Codec, list *[]T, limit int, element func(*T)) {
	n := len(*list)
	c.Count(&n, limit)
	if c.in == nil {
		for i := range *list {
			element(&(*list)[i])
		}
		return
	}
	*list = nil
	if n > 0 {
		*list = make([]T, 0, min(n, eager))
	}
	for range n {
		var v T
		element(&v)
		if c.err != nil {
			return
		}
		*list = append(*list, v)
	}
}
