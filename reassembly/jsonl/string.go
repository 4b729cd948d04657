package jsonl

import (
	"bytes"
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
	dst = append(dst, '"')
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
