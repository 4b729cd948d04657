package jsonl

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
)

// pairs is the two digits of every number below 100, the first in the low octet.
var pairs = func() (t [100]uint16) {
	for i := range t {
		t[i] = uint16('0'+i/10) | uint16('0'+i%10)<<8
	}
	return t
}()

// put2 writes v, 0 to 99, as two digits.
func put2(dst []byte, v uint32) { binary.LittleEndian.PutUint16(dst, pairs[v]) }

// appendInt appends an integer in decimal.
func appendInt(b []byte, v int64) []byte {
	switch {
	case v < 0 || v >= 1e8:
		return strconv.AppendInt(b, v, 10)
	case v < 10:
		return append(b, byte('0'+v))
	}
	u := uint32(v)
	size := digits(u)
	n := len(b) + size
	b = slices.Grow(b, size)[:n]
	for ; u >= 100; u /= 100 {
		n -= 2
		put2(b[n:], u%100)
	}
	if u >= 10 {
		put2(b[n-2:], u)
	} else {
		b[n-1] = byte('0' + u)
	}
	return b
}

// digits is how many decimal digits a number from 1 to 10^9-1 has.
func digits(u uint32) int {
	// log10(2) is a little more than 1233/4096.
	n := bits.Len32(u) * 1233 >> 12
	if u >= powers[n] {
		n++
	}
	return n
}

var powers = [...]uint32{1, 10, 100, 1000, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// octets is the text of every octet of an IPv4 address, with a dot behind it
// and its length at the end.
var octets = func() (t [256][5]byte) {
	for i := range t {
		text := strconv.AppendInt(nil, int64(i), 10)
		copy(t[i][:], append(text, '.'))
		t[i][4] = byte(len(text) + 1)
	}
	return t
}()

// appendAddr appends an address as netip writes it.
func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.Is4() {
		return a.AppendTo(b)
	}
	n := len(b)
	b = slices.Grow(b, 16)[:n+16]
	for _, octet := range a.As4() {
		text := &octets[octet]
		copy(b[n:n+4], text[:4])
		n += int(text[4])
	}
	return b[:n-1] // without the last dot
}
