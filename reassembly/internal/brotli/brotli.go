// Package brotli undoes the content coding br (RFC 7932), for streams that
// others wrote and that may be hostile or end anywhere.
//
// It differs from the usual decoders in what it costs: nothing is allocated by a
// length that a stream merely states. The window grows with what was really
// decoded, tables are as large as their codes need, and all of it is kept from
// stream to stream, so that after the first few a [Reader] doesn't allocate. It
// holds at most the window of 16 MiB, half of it again while it grows, and 4 MiB
// of tables.
//
// Large windows (an extension) and shared dictionaries (RFC 9841) are not
// supported. A Reader is not for concurrent use.
package brotli

import (
	"errors"
	"io"
)

// ErrCorrupt says that a stream is none.
var ErrCorrupt = errors.New("brotli: corrupt stream")

// state is what a Reader does next.
type state uint8

const (
	atStream    state = iota // the window's size
	atMetaBlock              // the header of a meta-block
	inRaw                    // octets of an uncompressed meta-block
	atCommand                // an insert-and-copy length
	inLiterals               // literals of a command
	atDistance               // a distance
	inCopy                   // octets of a copy
	atEnd
)

const (
	firstRing  = 32 << 10 // octets of the ring buffer at first
	maxPending = 16 << 10 // octets decoded ahead of the reader, a word of the dictionary more
	windowGap  = 16       // a window of 2^n octets reaches 2^n-16 back (RFC 7932 section 9.1)
)

// Reader decodes one stream; Reset makes it ready for the next.
type Reader struct {
	in    bitReader
	state state
	last  bool // the meta-block at hand is the last
	err   error

	// The ring buffer: octet n of the output is at n % len(ring), as long as it
	// is in the window.
	ring      []byte
	window    int64 // octets
	out       int64 // octets decoded
	delivered int64 // octets read

	left      int // octets of the meta-block that are not decoded yet
	insert    int // literals of the command at hand still to come
	copy      int // octets of its copy still to come
	distance  int
	implicit  bool   // its distance is the last one
	distances [4]int // the last four, the latest first

	block
	scratch
}

// Reset makes r read the stream that src holds. Octets behind the stream's end
// may be read from src.
func (r *Reader) Reset(src io.ByteReader) {
	if r.ring == nil {
		r.ring = make([]byte, firstRing)
	}
	r.in = bitReader{src: src}
	r.state, r.err, r.last = atStream, nil, false
	r.out, r.delivered, r.mapped = 0, 0, 0
	r.distances = [4]int{4, 11, 15, 16}
}

// Read implements io.Reader. Where a stream is cut off or breaks, what was
// before is returned first, then io.ErrUnexpectedEOF or ErrCorrupt.
func (r *Reader) Read(p []byte) (n int, err error) {
	for len(p) > 0 {
		if r.out == r.delivered {
			if n > 0 {
				break
			}
			if r.err == nil {
				r.decode()
			}
			if r.out == r.delivered {
				return 0, r.err
			}
		}
		from := int(r.delivered) & (len(r.ring) - 1)
		m := copy(p, r.ring[from:min(len(r.ring), from+int(r.out-r.delivered))])
		p = p[m:]
		r.delivered += int64(m)
		n += m
	}
	return n, nil
}

// decode goes on until there is enough to read, or the stream ends or breaks.
func (r *Reader) decode() {
	for r.out-r.delivered < maxPending && r.err == nil {
		switch r.state {
		case atStream:
			r.streamHeader()
		case atMetaBlock:
			r.metaBlock()
		case inRaw:
			r.raw()
		case atCommand:
			r.command()
		case inLiterals:
			r.literals()
		case atDistance:
			r.readDistance()
		case inCopy:
			r.copyOctets()
		case atEnd:
			r.err = io.EOF
		}
		if r.in.err != nil && r.err == nil {
			r.err = r.in.err
		}
	}
}

// corrupt ends a stream that is none, unless it only ends early.
func (r *Reader) corrupt() {
	if r.err = r.in.err; r.err == nil {
		r.err = ErrCorrupt
	}
}

// streamHeader reads WBITS (section 9.1).
func (r *Reader) streamHeader() {
	bits := 16
	if r.in.bits(1) == 1 {
		if n := r.in.bits(3); n != 0 {
			bits = 17 + int(n)
		} else if n := r.in.bits(3); n == 1 {
			r.corrupt() // a large window
			return
		} else if n != 0 {
			bits = 8 + int(n)
		} else {
			bits = 17
		}
	}
	r.window = 1 << bits
	r.state = atMetaBlock
}

// metaBlock reads the header of a meta-block (section 9.2).
func (r *Reader) metaBlock() {
	if r.last {
		r.state = atEnd
		return
	}
	r.last = r.in.bits(1) == 1
	if r.last && r.in.bits(1) == 1 {
		r.state = atEnd
		return
	}
	nibbles := int(r.in.bits(2)) + 4
	if nibbles == 7 {
		r.metadata()
		return
	}
	size := 0
	for i := range nibbles {
		n := int(r.in.bits(4))
		if i == nibbles-1 && nibbles > 4 && n == 0 {
			r.corrupt()
			return
		}
		size |= n << (4 * i)
	}
	r.left = size + 1
	if !r.last && r.in.bits(1) == 1 {
		if !r.in.align() {
			r.corrupt()
			return
		}
		r.state = inRaw
		return
	}
	if r.in.err != nil {
		return
	}
	if !r.blockHeader() {
		r.corrupt()
		return
	}
	r.state = atCommand
}

// metadata passes over a meta-block that holds no content.
func (r *Reader) metadata() {
	if r.in.bits(1) != 0 {
		r.corrupt()
		return
	}
	octets := int(r.in.bits(2))
	size := 0
	for i := range octets {
		n := int(r.in.bits(8))
		if i == octets-1 && octets > 1 && n == 0 {
			r.corrupt()
			return
		}
		size |= n << (8 * i)
	}
	if octets > 0 {
		size++
	}
	if !r.in.align() {
		r.corrupt()
		return
	}
	for ; size > 0 && r.in.err == nil; size-- {
		r.in.bits(8)
	}
}

func (r *Reader) raw() {
	for r.left > 0 && r.out-r.delivered < maxPending {
		c := byte(r.in.bits(8))
		if r.in.err != nil {
			return
		}
		r.put(c)
		r.left--
	}
	if r.left == 0 {
		r.state = atMetaBlock
	}
}

// put appends an octet to the output.
func (r *Reader) put(c byte) {
	if r.out == int64(len(r.ring)) {
		r.grow()
	}
	r.ring[int(r.out)&(len(r.ring)-1)] = c
	r.out++
}

// grow doubles a ring buffer that is full for the first time, unless it holds
// the window.
func (r *Reader) grow() {
	if int64(len(r.ring)) >= r.window {
		return
	}
	ring := make([]byte, 2*len(r.ring))
	copy(ring, r.ring)
	r.ring = ring
}

// before returns the octet n before the end of the output, 0 before its
// beginning.
func (r *Reader) before(n int64) byte {
	if r.out < n {
		return 0
	}
	return r.ring[int(r.out-n)&(len(r.ring)-1)]
}

// command reads an insert-and-copy length (section 5).
func (r *Reader) command() {
	b := &r.kinds[commands]
	if !r.switchBlock(commands) {
		return
	}
	symbol := r.in.symbol(&r.commandTrees[b.current])
	cell := cells[symbol>>6]
	insert := insertLengths[cell.insert+symbol>>3&7]
	length := copyLengths[cell.copy+symbol&7]
	r.insert = int(insert.base) + int(r.in.bits(insert.bits))
	r.copy = int(length.base) + int(r.in.bits(length.bits))
	r.implicit = symbol < 128
	if r.insert > r.left {
		r.corrupt()
		return
	}
	r.left -= r.insert
	r.state = inLiterals
}

// literals reads the literals of a command.
func (r *Reader) literals() {
	b := &r.kinds[literals]
	p1, p2 := r.before(1), r.before(2)
	for r.insert > 0 && r.out-r.delivered < maxPending {
		if !r.switchBlock(literals) {
			return
		}
		context := 64*int(b.current) + int(contextOf(r.modes[b.current], p1, p2))
		c := byte(r.in.symbol(&r.literalTrees[r.literalMap[context]]))
		if r.in.err != nil {
			return
		}
		r.put(c)
		p2, p1 = p1, c
		r.insert--
	}
	if r.insert > 0 {
		return
	}
	if r.left == 0 {
		r.state = atMetaBlock // the last command may have no copy
		return
	}
	r.state = atDistance
}

// readDistance reads a distance (section 4) and begins the copy.
func (r *Reader) readDistance() {
	code := 0
	if !r.implicit {
		if !r.switchBlock(distances) {
			return
		}
		context := 4*int(r.kinds[distances].current) + min(r.copy, 5) - 2
		code = int(r.in.symbol(&r.distanceTrees[r.distanceMap[context]]))
	}
	distance, ok := r.decodeDistance(code)
	if r.in.err != nil {
		return
	}
	if !ok {
		r.corrupt()
		return
	}
	if reach := min(r.window-windowGap, r.out); int64(distance) > reach {
		r.word(distance - int(reach) - 1)
		return
	}
	if r.copy > r.left {
		r.corrupt()
		return
	}
	if code != 0 {
		copy(r.distances[1:], r.distances[:3])
		r.distances[0] = distance
	}
	r.left -= r.copy
	r.distance = distance
	r.state = inCopy
}

// decodeDistance returns the distance of a code; not ok if there is none.
func (r *Reader) decodeDistance(code int) (distance int, ok bool) {
	switch {
	case code < 4:
		distance = r.distances[code]
	case code < 16:
		back := nearby[code-4]
		distance = r.distances[back.which] + back.add
	case code < 16+r.direct:
		distance = code - 15
	default:
		code -= 16 + r.direct
		bits := 1 + uint(code)>>(r.postfix+1)
		high, low := code>>r.postfix, code&(1<<r.postfix-1)
		offset := (2+high&1)<<bits - 4
		distance = (offset+int(r.in.bits(uint8(bits))))<<r.postfix + low + r.direct + 1
	}
	return distance, distance > 0
}

// copyOctets copies from the window. What overlaps with its copy is periodic, so
// ever longer stretches of it can be copied at once.
func (r *Reader) copyOctets() {
	mask, back := len(r.ring)-1, r.distance
	for r.copy > 0 && r.out-r.delivered < maxPending {
		if r.out == int64(len(r.ring)) {
			r.grow()
			mask = len(r.ring) - 1
		}
		to, from := int(r.out)&mask, int(r.out-int64(back))&mask
		n := min(r.copy, len(r.ring)-to, len(r.ring)-from, back, maxPending)
		copy(r.ring[to:to+n], r.ring[from:from+n])
		r.out += int64(n)
		r.copy -= n
		if n == back && back < maxPending/2 {
			back *= 2
		}
	}
	if r.copy == 0 {
		r.nextCommand()
	}
}

func (r *Reader) nextCommand() {
	r.state = atCommand
	if r.left == 0 {
		r.state = atMetaBlock
	}
}

// word appends a word of the static dictionary (section 8) instead of a copy.
func (r *Reader) word(id int) {
	if r.copy < minWord || r.copy > maxWord {
		r.corrupt()
		return
	}
	bits := wordBits[r.copy]
	index, transform := id&(1<<bits-1), id>>bits
	if bits == 0 || transform >= len(transforms) {
		r.corrupt()
		return
	}
	var buf [maxTransformed]byte
	w := transforms[transform].append(buf[:0], dictionaryWord(r.copy, index))
	if len(w) > r.left {
		r.corrupt()
		return
	}
	for _, c := range w {
		r.put(c)
	}
	r.left -= len(w)
	r.nextCommand()
}
