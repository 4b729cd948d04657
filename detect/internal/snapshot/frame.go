package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// magic begins every snapshot, before its version.
const magic = "offpath state\n"

// frameSize is the most octets of a frame. Each has a head, its length and the
// checksum (CRC-32C, RFC 3720 section 12.1) of all that came before and itself;
// one of length 0 is the last.
const (
	frameSize = 1 << 16
	headSize  = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteTo writes the snapshot, and makes what was left for later. It can be
// called once.
func (c *Codec) WriteTo(w io.Writer) (int64, error) {
	if c.err != nil {
		return 0, c.err
	}
	f := &frames{w: w, frame: make([]byte, headSize, headSize+frameSize)}
	f.write(binary.LittleEndian.AppendUint32([]byte(magic), Version))
	f.sum = crc32.Checksum(f.frame[headSize:], castagnoli)
	f.raw(f.frame[headSize:])
	f.frame = f.frame[:headSize]
	for _, p := range append(c.done, chunk{octets: c.out}) {
		f.write(p.octets)
		if p.later != nil {
			f.later(p.later)
		}
	}
	c.done, c.out = nil, nil
	f.flush()
	if len(f.frame) == headSize { // the last one is empty
		f.end()
	}
	return f.written, f.err
}

// frames cuts octets into frames.
type frames struct {
	w       io.Writer
	frame   []byte // its head left free
	sum     uint32
	written int64
	err     error
}

func (f *frames) write(octets []byte) {
	for len(octets) > 0 {
		n := min(len(octets), headSize+frameSize-len(f.frame))
		f.frame = append(f.frame, octets[:n]...)
		octets = octets[n:]
		if len(f.frame) == headSize+frameSize {
			f.flush()
		}
	}
}

// later writes what a description makes, as it makes it.
func (f *frames) later(describe func(*Codec)) {
	c := Writer()
	c.spill = f.write
	describe(c)
	f.write(c.out)
	if f.err == nil {
		f.err = c.err
	}
}

// flush writes a frame, unless it is empty.
func (f *frames) flush() {
	if len(f.frame) > headSize {
		f.end()
	}
}

func (f *frames) end() {
	f.sum = crc32.Update(f.sum, castagnoli, f.frame[headSize:])
	binary.LittleEndian.PutUint32(f.frame, uint32(len(f.frame)-headSize))
	binary.LittleEndian.PutUint32(f.frame[4:], f.sum)
	f.raw(f.frame)
	f.frame = f.frame[:headSize]
}

func (f *frames) raw(octets []byte) {
	if f.err == nil {
		var n int
		n, f.err = f.w.Write(octets)
		f.written += int64(n)
	}
}

// input is a snapshot that is read.
type input struct {
	r     io.Reader
	buf   []byte
	frame []byte // what of the present one was not read
	sum   uint32
	ended bool
}

// Reader returns a Codec that reads a snapshot. The error is ErrVersion where it
// was written by another version, ErrDamaged where it is none.
func Reader(r io.Reader) (*Codec, error) {
	head := make([]byte, len(magic)+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("%w: it ends before it begins: %w", ErrDamaged, err)
	}
	if string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: this is no snapshot", ErrDamaged)
	}
	if v := binary.LittleEndian.Uint32(head[len(magic):]); v != Version {
		return nil, fmt.Errorf("%w: format %d, this program has %d", ErrVersion, v, Version)
	}
	return &Codec{in: &input{r: r, buf: make([]byte, frameSize), sum: crc32.Checksum(head, castagnoli)}}, nil
}

// next reads the next frame; false at the end, which comes too early for
// whoever wants more.
func (in *input) next(c *Codec) bool {
	if c.err == nil && in.read(c) == 0 {
		c.Fail("it ends too early")
	}
	return c.err == nil
}

// read reads a frame and returns its length, 0 at the end and after an error.
func (in *input) read(c *Codec) int {
	if in.ended {
		return 0
	}
	var head [headSize]byte
	if !in.full(c, head[:]) {
		return 0
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > frameSize {
		c.Fail("a frame of %d octets", n)
		return 0
	}
	if !in.full(c, in.buf[:n]) {
		return 0
	}
	if in.sum = crc32.Update(in.sum, castagnoli, in.buf[:n]); in.sum != binary.LittleEndian.Uint32(head[4:]) {
		c.Fail("a checksum is wrong")
		return 0
	}
	in.ended, in.frame = n == 0, in.buf[:n]
	return int(n)
}

func (in *input) full(c *Codec, b []byte) bool {
	_, err := io.ReadFull(in.r, b)
	switch {
	case err == nil:
		return true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		c.Fail("it is cut short")
	default:
		c.fail(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	return false
}

// Close says that all has been read: that nothing follows.
func (c *Codec) Close() error {
	if c.err == nil && (len(c.in.frame) > 0 || c.in.read(c) > 0) {
		c.section = ""
		c.Fail("more stands there than is known")
	}
	return c.err
}

// take reads octets; zeroes after an error.
func (c *Codec) take(b []byte) {
	clear(b)
	for len(b) > 0 {
		if len(c.in.frame) == 0 && !c.in.next(c) {
			return
		}
		n := copy(b, c.in.frame)
		c.in.frame, b = c.in.frame[n:], b[n:]
	}
}

func (c *Codec) uvarint() uint64 {
	var v uint64
	for i := range maxVarint {
		if len(c.in.frame) == 0 && !c.in.next(c) {
			return 0
		}
		b := c.in.frame[0]
		c.in.frame = c.in.frame[1:]
		if b < 0x80 {
			if i == maxVarint-1 && b > 1 {
				break
			}
			return v | uint64(b)<<(7*i)
		}
		v |= uint64(b&0x7f) << (7 * i)
	}
	c.Fail("a number has too many octets")
	return 0
}

// text reads n octets; what is there bounds the memory.
func (in *input) text(c *Codec, n int) string {
	if n <= len(in.frame) {
		s := string(in.frame[:n])
		in.frame = in.frame[n:]
		return s
	}
	var b []byte
	for len(b) < n {
		if len(in.frame) == 0 && !in.next(c) {
			return ""
		}
		piece := in.frame[:min(n-len(b), len(in.frame))]
		b = append(b, piece...)
		in.frame = in.frame[len(piece):]
	}
	return string(b)
}
