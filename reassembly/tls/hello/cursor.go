package hello

import "encoding/binary"

// cursor reads the presentation language of RFC 8446 section 3. After the first
// read beyond the end it is bad, and all further ones give nothing.
type cursor struct {
	data []byte
	bad  bool
}

func (c *cursor) empty() bool { return len(c.data) == 0 }

func (c *cursor) take(n int) []byte {
	if n > len(c.data) {
		c.bad, c.data = true, nil
		return nil
	}
	b := c.data[:n:n]
	c.data = c.data[n:]
	return b
}

func (c *cursor) u8() int {
	if b := c.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// vector8 and vector16 read a vector whose length stands in one or two octets.
// One that claims more than there is gives nothing.
func (c *cursor) vector8() []byte  { return c.take(c.u8()) }
func (c *cursor) vector16() []byte { return c.take(int(c.u16())) }

// numbers appends the 16-bit numbers that data consists of; an odd octet at the
// end makes the cursor bad.
func (c *cursor) numbers(dst []uint16, data []byte) []uint16 {
	for ; len(data) >= 2; data = data[2:] {
		dst = append(dst, binary.BigEndian.Uint16(data))
	}
	if len(data) > 0 {
		c.bad = true
	}
	return dst
}
