package endpoint

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// maxPlain is how long a plain path is at most, octets: its marks fit one word
// with one to spare.
const maxPlain = 63

// minAffixed is how long a segment with an identifier that is not all of digits
// is at least, octets: 1:x.
const minAffixed = 3

// marks says of a path which of its octets are slashes, digits, and those that
// a dot segment begins with, a bit each.
type marks struct{ slashes, digits, dots uint64 }

// appendPlain is appendTemplate for nearly every path there is: one that begins
// with a slash and has no empty segments, no parameters, nothing percent-encoded and
// nothing like a dot segment. Only its segments with digits are looked at. Not ok of others.
func appendPlain(dst []byte, path string) (_ []byte, ok bool) {
	if len(path) > maxPlain || path == "" || path[0] != '/' || strings.IndexByte(path, ';') >= 0 || strings.IndexByte(path, '%') >= 0 {
		return dst, false
	}
	m := marksOf(path)
	if m.slashes<<1&(m.slashes|m.dots) != 0 || bits.OnesCount64(m.slashes) > maxSegments {
		return dst, false
	}
	if len(path) > 1 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	copied := 0
	ends := m.slashes | 1<<(len(path)&63)
	for digits := m.digits; digits != 0; {
		at := bits.TrailingZeros64(digits)
		start := bits.Len64(m.slashes & (1<<(at&63) - 1))
		end := at + bits.TrailingZeros64(ends>>(at&63))
		inside := digits & (1<<(end&63) - 1)
		digits &^= inside
		whole := bits.OnesCount64(inside) == end-start
		if !whole && end-start < minAffixed {
			continue
		}
		stop := end
		if !whole {
			stop = start + stem(path[start:end])
			whole = Identifier(path[start:stop])
		}
		if whole && !versioned(path[:start], path[start:end]) {
			dst = append(dst, path[copied:start]...)
			dst = append(dst, parameter...)
			copied = stop
		}
	}
	return append(dst, path[copied:]...), true
}

// marksOf marks a path of at most maxPlain octets.
func marksOf(path string) marks {
	var slashes, digits, dots uint64
	for at := 0; at < len(path); at += 8 {
		slash, digit, dot := kinds(octets(path, at))
		slashes |= slash << (at & 63)
		digits |= digit << (at & 63)
		dots |= dot << (at & 63)
	}
	return marks{slashes, digits, dots}
}

// octets returns the eight octets of s from at on, the first the lowest; behind
// the end are zeros.
func octets(s string, at int) uint64 {
	if at+8 <= len(s) {
		return word(s[at:])
	}
	if at > 0 {
		return word(s[len(s)-8:]) >> (8 * (at + 8 - len(s)) & 63)
	}
	var w uint64
	for i := range len(s) {
		w |= uint64(s[i]) << (8 * i & 63)
	}
	return w
}

// Eight octets of 1, and of nothing but the highest bit.
const ones, highs = 0x0101010101010101, 0x8080808080808080

// kinds tells which of eight octets are slashes, digits, and those that a dot
// segment begins with, a bit each.
func kinds(w uint64) (slashes, digits, dots uint64) {
	ascii := w &^ highs
	dot, slash, digit := atLeast(ascii, '.'), atLeast(ascii, '/'), atLeast(ascii, '0')
	return gather(slash &^ digit &^ w), gather(digit &^ atLeast(ascii, '9'+1) &^ w), gather(dot &^ slash &^ w)
}

// atLeast has the highest bit of each of eight ASCII octets set that is c or
// more.
func atLeast(ascii uint64, c byte) uint64 { return ascii + (0x80-uint64(c))*ones }

// gather makes one octet of the highest bits of eight.
func gather(w uint64) uint64 { return (w & highs >> 7) * 0x0102040810204080 >> 56 }

// word returns the first eight octets of s in little-endian order.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// appendLower appends s with its ASCII letters in lower case.
func appendLower(dst []byte, s string) []byte {
	dst = append(dst, s...)
	text := dst[len(dst)-len(s):]
	for len(text) >= 8 {
		w := binary.LittleEndian.Uint64(text)
		upper := atLeast(w&^highs, 'A') &^ atLeast(w&^highs, 'Z'+1) &^ w & highs
		binary.LittleEndian.PutUint64(text, w|upper>>2)
		text = text[8:]
	}
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			text[i] = c | 0x20
		}
	}
	return dst
}
