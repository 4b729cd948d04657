package jsonl

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// plain tells the octets that stand for themselves inside a JSON string: ASCII
// but controls, quote and backslash.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// AppendString appends a string of the wire as a JSON string: every backslash
// doubled, every octet that is no valid UTF-8 as \xNN, and that as JSON.
func AppendString(dst []byte, wire string) []byte {
	return appendQuoted(append(dst, '"'), wire)
}

// appendQuoted is AppendString behind the first quote. It copies eight octets at
// a time and looks meanwhile whether all of them stand for themselves; the last
// eight overlap with those before them.
func appendQuoted(dst []byte, wire string) []byte {
	from, last := len(dst), len(wire)-8
	end := from + len(wire) + 1
	if end > cap(dst) {
		dst = slices.Grow(dst, len(wire)+1)
	}
	text := dst[from:end]
	special := uint64(0)
	if last < 0 {
		special = copyShort(text, wire)
	} else {
		for i := 0; i < last; i += 8 {
			v := word(wire[i:])
			binary.LittleEndian.PutUint64(text[i:], v)
			special |= specials(v)
		}
		v := word(wire[last:])
		binary.LittleEndian.PutUint64(text[last:], v)
		special |= specials(v)
	}
	if special&highs != 0 {
		return appendEscaped(dst, wire)
	}
	text[len(wire)] = '"'
	return dst[:end]
}

// copyShort copies less than eight octets, and returns their specials.
func copyShort(dst []byte, wire string) uint64 {
	n := len(wire)
	if n >= 4 {
		first, last := half(wire), half(wire[n-4:])
		binary.LittleEndian.PutUint32(dst, first)
		binary.LittleEndian.PutUint32(dst[n-4:], last)
		return specials(uint64(first)<<32 | uint64(last))
	}
	special := uint64(0)
	for i := range n {
		dst[i] = wire[i]
		special |= specials(uint64(wire[i]))
	}
	return special & 0xff
}

// half returns the first four octets of s in little-endian order.
func half(s string) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// word returns the first eight octets of s in little-endian order.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// Eight octets of 1, and of nothing but the highest bit.
const ones, highs = 0x0101010101010101, 0x8080808080808080

// specials has no highest bit in its eight octets if none of those of v is
// special: a control, a quote, a backslash or beyond ASCII. What becomes less
// than 0 has borrowed. With their second bit turned, the controls and the quote
// are the octets up to ' '.
func specials(v uint64) uint64 {
	low, backslash := v^2*ones, v^'\\'*ones
	return v | (low - (' '+1)*ones) | (backslash - ones)
}

// appendEscaped is appendQuoted of any string.
func appendEscaped(dst []byte, wire string) []byte {
	from := 0
	for i := 0; i < len(wire); {
		c := wire[i]
		if plain[c] {
			i++
			continue
		}
		width := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, width = utf8.DecodeRuneInString(wire[i:]); r != utf8.RuneError || width > 1 {
				i += width
				continue
			}
		}
		dst = append(dst, wire[from:i]...)
		switch {
		case c == '\\':
			dst = append(dst, `\\\\`...)
		case c >= utf8.RuneSelf:
			dst = append(dst, '\\', '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		case c == '"':
			dst = append(dst, '\\', '"')
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i += width
		from = i
	}
	return append(append(dst, wire[from:]...), '"')
}

// appendWire appends the octets of the wire that s, a JSON string already
// unescaped, stands for. A backslash that begins neither of the two escapes
// stays, as a tool that knows nothing of them would have it.
func appendWire(dst, s []byte) []byte {
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		switch rest := s[i+1:]; {
		case len(rest) > 0 && rest[0] == '\\':
			dst, s = append(dst, '\\'), rest[1:]
		case len(rest) > 2 && rest[0] == 'x' && unhex(rest[1]) >= 0 && unhex(rest[2]) >= 0:
			dst, s = append(dst, byte(unhex(rest[1])<<4|unhex(rest[2]))), rest[3:]
		default:
			dst, s = append(dst, '\\'), rest
		}
	}
}

func unhex(c byte) int { return bytes.IndexByte([]byte(hexDigits), c) }
