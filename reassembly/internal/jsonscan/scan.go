// Package jsonscan goes through a JSON text (RFC 8259) token by token, without
// allocating. It is for texts that others wrote: they may end anywhere, and what
// was complete before is found. Of every valid text not deeper than [MaxDepth]
// it finds what encoding/json finds; of an invalid one all before the fault.
// Control characters, invalid UTF-8 and undefined escapes in strings and the
// exact form of numbers are not checked, as servers are lenient with these too.
package jsonscan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// Token is what the scanner found.
type Token uint8

const (
	End    Token = iota // the value is over, or what follows is none; see Scanner.Whole
	Object              // {
	Array               // [
	Close               // } or ]
	Key                 // a member's name
	String
	Number
	True
	False
	Null
)

// MaxDepth bounds nesting; deeper is not looked at, nor what comes after.
const MaxDepth = 64

// Scanner is the state of a walk through one text; New makes it.
type Scanner struct {
	data    []byte
	pos     int
	depth   int    // open objects and arrays
	array   uint64 // bit n: the container at depth n+1 is an array
	state   state
	quiet   bool
	escaped bool
}

type state uint8

const (
	wantValue state = iota
	wantValueOrClose
	wantKey
	wantKeyOrClose
	wantCommaOrClose
	done   // the text is one whole value
	failed // the text ended early, is no JSON or too deep
)

// New returns a Scanner at the beginning of data, which it doesn't change.
func New(data []byte) Scanner { return Scanner{data: data} }

// Behind returns a Scanner that has read data up to pos, where a value ends inside
// depth objects and arrays, 1 to [MaxDepth]; bit n of arrays says that the one at
// depth n+1 is an array.
func Behind(data []byte, pos, depth int, arrays uint64) Scanner {
	return Scanner{data: data, pos: pos, depth: depth, array: arrays, state: wantCommaOrClose}
}

// Depth is the number of objects and arrays that are open.
func (s *Scanner) Depth() int { return s.depth }

// Pos is how much of the text was read, octets.
func (s *Scanner) Pos() int { return s.pos }

// Escaped reports whether the last Key or String has an escape in it.
func (s *Scanner) Escaped() bool { return s.escaped }

// Failed reports whether the text turned out to be cut short, no JSON or too
// deep.
func (s *Scanner) Failed() bool { return s.state == failed }

// Whole reports whether the text was read to its end and was one value, with
// nothing but white space behind it.
func (s *Scanner) Whole() bool {
	if s.state != done {
		return false
	}
	for _, c := range s.data[s.pos:] {
		if !IsSpace(c) {
			return false
		}
	}
	return true
}

// Quiet makes Next pass over strings, numbers and literals without returning
// them, until it is called with false.
func (s *Scanner) Quiet(quiet bool) { s.quiet = quiet }

// Next returns the next token; for Key and String raw is what stands between the
// quotes ([AppendUnescaped] undoes its escapes), for numbers and literals the
// value.
func (s *Scanner) Next() (t Token, raw []byte) {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\n', '\r', '\t':
			if s.state >= done {
				return s.fail()
			}
			s.pos++
		case ',':
			if s.state != wantCommaOrClose {
				return s.fail()
			}
			s.pos++
			s.state = wantValue
			if !s.inArray() {
				s.state = wantKey
			}
		case '"':
			key := s.state == wantKey || s.state == wantKeyOrClose
			if !key && s.state > wantValueOrClose {
				return s.fail()
			}
			raw, ok := s.str()
			if !ok || key && !s.colon() {
				return s.fail()
			}
			if key {
				return Key, raw
			}
			if s.after(); !s.quiet {
				return String, raw
			}
		case '}', ']':
			if s.state == wantValue || s.state == wantKey || s.state >= done || (c == ']') != s.inArray() {
				return s.fail()
			}
			s.pos++
			s.depth--
			s.after()
			return Close, nil
		default:
			if s.state > wantValueOrClose {
				return s.fail()
			}
			if c == '{' || c == '[' {
				return s.open(c)
			}
			if t, raw = s.scalar(); t == End || !s.quiet {
				return t, raw
			}
		}
	}
	return s.fail()
}

func (s *Scanner) inArray() bool { return s.array>>((s.depth-1)&63)&1 != 0 }

func (s *Scanner) fail() (Token, []byte) {
	if s.state != done {
		s.state = failed
	}
	return End, nil
}

// after is the state behind a value.
func (s *Scanner) after() {
	s.state = wantCommaOrClose
	if s.depth == 0 {
		s.state = done
	}
}

// colon reads what stands between a name and its value.
func (s *Scanner) colon() bool {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		if c == ':' {
			s.pos++
			s.state = wantValue
			return true
		}
		if !IsSpace(c) {
			return false
		}
		s.pos++
	}
	return false
}

func (s *Scanner) open(c byte) (Token, []byte) {
	if s.depth == MaxDepth {
		return s.fail()
	}
	s.pos++
	bit := uint64(1) << s.depth
	s.depth++
	if c == '{' {
		s.array &^= bit
		s.state = wantKeyOrClose
		return Object, nil
	}
	s.array |= bit
	s.state = wantValueOrClose
	return Array, nil
}

// scalar reads a number or literal.
func (s *Scanner) scalar() (Token, []byte) {
	t, end := Scalar(s.data, s.pos)
	if t == End || t == Number && end == len(s.data) && s.depth > 0 {
		return s.fail() // a number may go on
	}
	raw := s.data[s.pos:end]
	s.pos = end
	s.after()
	return t, raw
}

// str reads a string and returns what stands between its quotes; not ok if it
// has no end.
func (s *Scanner) str() (raw []byte, ok bool) {
	start := s.pos + 1
	end, escaped := StringEnd(s.data, start)
	s.escaped = escaped
	if end < 0 {
		return nil, false
	}
	s.pos = end + 1
	return s.data[start:end], true
}

// StringEnd returns the index of the quote that ends a string whose octets begin
// at i, -1 if there is none, and whether the string has an escape in it.
//
// Eight octets are looked at together: one that equals the pattern becomes 0, and
// the lowest 0 is found by the borrow that it causes.
func StringEnd(data []byte, i int) (end int, escaped bool) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for i+8 <= len(data) {
		v := binary.LittleEndian.Uint64(data[i:])
		q, b := v^'"'*ones, v^'\\'*ones
		zero := ((q - ones) | (b - ones)) &^ v & highs // both have v's highest bits
		if zero == 0 {
			i += 8
			continue
		}
		if i += bits.TrailingZeros64(zero) / 8; data[i] == '"' {
			return i, escaped
		}
		escaped = true
		i += 2
	}
	for i < len(data) {
		switch data[i] {
		case '"':
			return i, escaped
		case '\\':
			escaped = true
			i++
		}
		i++
	}
	return -1, escaped
}

// Scalar returns what number or literal begins at data[i], and the index behind
// it; End if none does. A number that ends with data may go on.
func Scalar(data []byte, i int) (t Token, end int) {
	switch c := data[i]; {
	case c == '-' || isDigit(c):
		for i++; i < len(data) && inNumber[data[i]]; i++ {
		}
		return Number, i
	case c == 't':
		return literal(data, i, "true", True)
	case c == 'f':
		return literal(data, i, "false", False)
	case c == 'n':
		return literal(data, i, "null", Null)
	}
	return End, i
}

// inNumber are the octets of numbers.
var inNumber = [256]bool{
	'0': true, '1': true, '2': true, '3': true, '4': true, '5': true, '6': true, '7': true, '8': true, '9': true,
	'.': true, 'e': true, 'E': true, '+': true, '-': true,
}

func literal(data []byte, i int, word string, t Token) (Token, int) {
	if rest := data[i:]; len(rest) < len(word) || string(rest[:len(word)]) != word {
		return End, i
	}
	return t, i + len(word)
}

// IsSpace reports whether c is white space between tokens.
func IsSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// AppendUnescaped appends what stands between the quotes of a JSON string
// with its escapes undone, as encoding/json does; an escape that is none stays
// as it is.
func AppendUnescaped(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 || i+1 == len(raw) {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		width := 2
		switch c := raw[i+1]; c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, ok := unicodeEscape(raw[i:])
			if !ok {
				dst = append(dst, '\\', 'u')
				break
			}
			width = 6
			if utf16.IsSurrogate(r) {
				low, _ := unicodeEscape(raw[i+6:])
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					width = 12
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, '\\', c)
		}
		raw = raw[i+width:]
	}
}

// unicodeEscape returns the code unit of the \uXXXX that b begins with.
func unicodeEscape(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		d := unhex(c)
		if d < 0 {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// unhex returns the value of a hex digit, or -1.
func unhex(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
