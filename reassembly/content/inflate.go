package content

import (
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// inflater undoes gzip and deflate as lenient clients do: checksums and lengths
// behind the data are not compared, nor looked for, and what follows and is no
// further member of a gzip file is no part of the content. The zero value is
// ready for reset.
type inflater struct {
	in     octetReader
	gzip   bool
	inside bool // a member
	later  bool // it isn't the first member
	flate  io.ReadCloser
}

var errFormat = errors.New("neither gzip nor zlib")

func (z *inflater) reset(in octetReader, gzip bool) {
	z.in, z.gzip, z.inside, z.later = in, gzip, false, false
}

// Read implements io.Reader.
func (z *inflater) Read(p []byte) (n int, err error) {
	for {
		if !z.inside {
			if err := z.begin(); err != nil {
				return 0, err
			}
		}
		n, err = z.flate.Read(p)
		if err != io.EOF || !z.gzip {
			return n, err
		}
		z.inside, z.later = false, true
		for range 8 { // CRC-32 and length
			if _, err := z.in.ReadByte(); err != nil {
				return n, io.EOF
			}
		}
		if n > 0 {
			return n, nil
		}
	}
}

// begin reads the header of a member.
func (z *inflater) begin() error {
	read := z.zlibHeader
	if z.gzip {
		read = z.gzipHeader
	}
	if err := read(); err != nil {
		return err
	}
	z.inside = true
	if z.flate == nil {
		z.flate = flate.NewReader(z.in)
		return nil
	}
	return z.flate.(flate.Resetter).Reset(z.in, nil)
}

// zlibHeader reads a header of RFC 1950, if there is one. Bare deflate does not
// begin with such an octet: it would be a stored block whose padding isn't 0.
func (z *inflater) zlibHeader() error {
	c, err := z.in.ReadByte()
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	if c&0x0f != 8 || c>>4 > 7 {
		return z.in.UnreadByte()
	}
	if c, err = z.in.ReadByte(); err != nil {
		return io.ErrUnexpectedEOF
	}
	if c&0x20 != 0 {
		return errFormat // a preset dictionary
	}
	return nil
}

// Flags of a gzip header (RFC 1952 section 2.3.1).
const (
	gzipHeaderCRC = 1 << 1
	gzipExtra     = 1 << 2
	gzipName      = 1 << 3
	gzipComment   = 1 << 4
)

func (z *inflater) gzipHeader() error {
	var head [10]byte
	for i := range head {
		c, err := z.in.ReadByte()
		if err != nil {
			return z.noMember(io.ErrUnexpectedEOF)
		}
		if head[i] = c; i < 3 && c != "\x1f\x8b\x08"[i] {
			return z.noMember(errFormat)
		}
	}
	flags := head[3]
	skip := 0
	if flags&gzipExtra != 0 {
		low, _ := z.in.ReadByte()
		high, _ := z.in.ReadByte()
		skip = int(high)<<8 | int(low)
	}
	for _, text := range [...]byte{gzipName, gzipComment} {
		if err := z.pass(skip, flags&text != 0); err != nil {
			return z.noMember(err)
		}
		skip = 0
	}
	if flags&gzipHeaderCRC != 0 {
		return z.noMember(z.pass(2, false))
	}
	return nil
}

// noMember says what the end of the input, or what is no header, means: behind a
// member it is only the end.
func (z *inflater) noMember(err error) error {
	if z.later && err != nil {
		return io.EOF
	}
	return err
}

// pass passes over some octets, and over a text with a NUL at its end.
func (z *inflater) pass(octets int, text bool) error {
	for octets > 0 || text {
		c, err := z.in.ReadByte()
		if err != nil {
			return io.ErrUnexpectedEOF
		}
		if octets > 0 {
			octets--
		} else if c == 0 {
			text = false
		}
	}
	return nil
}
