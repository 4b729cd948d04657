package jsonl

import (
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
)

// pairs is the two digits of every number below 100, one behind the other.
var pairs = func() (t [200]byte) {
	for i := range 100 {
		t[2*i], t[2*i+1] = byte('0'+i/10), byte('0'+i%10)
	}
	return t
}()

// appendInt appends an integer in decimal.
func appendInt(b []byte, v int64) []byte {
	if v < 0 || v >= 1e8 {
		return strconv.AppendInt(b, v, 10)
	}
	u := uint32(v)
	size := digits(u)
	n := len(b) + size
	b = slices.Grow(b, size)[:n]
	for ; u >= 100; u /= 100 {
		n -= 2
		b[n], b[n+1] = pairs[u%100*2], pairs[u%100*2+1]
	}
	if u >= 10 {
		b[n-2] = pairs[u*2]
	}
	b[n-1] = pairs[u*2+1]
	return b
}

// digits is how many decimal digits a number below 10^9 has.
func digits(u uint32) int {
	// log10(2) is a little more than 1233/4096.
	n := bits.Len32(u|1) * 1233 >> 12
	if u >= powers[n] {
		n++
	}
	return max(n, 1)
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
