package content

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonToken is what the scanner found.
type jsonToken uint8

const (
	jsonEnd    jsonToken = iota // the document is over, or what is left is none: see jsonScanner.state
	jsonObject                  // {
	jsonArray                   // [
	jsonClose                   // } or ]
	jsonKey                     // a member's name
	jsonString
	jsonNumber
	jsonTrue
	jsonFalse
	jsonNull
)

// maxJSONDepth bounds nesting; deeper is not looked at, nor what comes after.
const maxJSONDepth = 64

// jsonScanner goes through a JSON text (RFC 8259) token by token, without
// allocating. The text may end anywhere: what was complete before is found. Of
// every valid text it finds what encoding/json finds; of an invalid one all
// before the fault. Strings are not checked for control characters and invalid
// UTF-8, as servers are lenient with these too.
type jsonScanner struct {
	data  []byte
	pos   int
	depth int    // open objects and arrays
	array uint64 // bit n: the container at depth n+1 is an array
	state jsonState
}

type jsonState uint8

const (
	jsonWantValue jsonState = iota
	jsonWantValueOrClose
	jsonWantKey
	jsonWantKeyOrClose
	jsonWantCommaOrClose
	jsonDone   // the text is one whole value
	jsonFailed // the text ended early, is no JSON or too deep
)

func newJSONScanner(data []byte) jsonScanner {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	data = bytes.TrimPrefix(data, []byte(")]}',")) // guard against inclusion as a script
	return jsonScanner{data: data}
}

// next returns the next token; for jsonKey and jsonString raw is what stands
// between the quotes, for jsonNumber the number.
func (s *jsonScanner) next() (t jsonToken, raw []byte) {
	for s.state < jsonDone {
		for s.pos < len(s.data) && isJSONSpace(s.data[s.pos]) {
			s.pos++
		}
		if s.pos == len(s.data) {
			break
		}
		c := s.data[s.pos]
		switch s.state {
		case jsonWantCommaOrClose:
			if c == ',' {
				s.pos++
				s.state = jsonWantValue
				if !s.inArray() {
					s.state = jsonWantKey
				}
				continue
			}
			return s.close(c)
		case jsonWantKeyOrClose, jsonWantKey:
			if c == '"' {
				return s.key()
			}
			if s.state == jsonWantKey {
				return s.fail()
			}
			return s.close(c)
		case jsonWantValueOrClose:
			if c == ']' {
				return s.close(c)
			}
		}
		return s.value(c)
	}
	return s.fail()
}

func (s *jsonScanner) inArray() bool { return s.array>>(s.depth-1)&1 != 0 }

func (s *jsonScanner) fail() (jsonToken, []byte) {
	if s.state != jsonDone {
		s.state = jsonFailed
	}
	return jsonEnd, nil
}

// after is the state behind a value.
func (s *jsonScanner) after() {
	s.state = jsonWantCommaOrClose
	if s.depth == 0 {
		s.state = jsonDone
	}
}

func (s *jsonScanner) close(c byte) (jsonToken, []byte) {
	if c != '}' && c != ']' || (c == ']') != s.inArray() {
		return s.fail()
	}
	s.pos++
	s.depth--
	s.after()
	return jsonClose, nil
}

func (s *jsonScanner) key() (jsonToken, []byte) {
	raw, ok := s.str()
	if !ok {
		return s.fail()
	}
	for s.pos < len(s.data) && isJSONSpace(s.data[s.pos]) {
		s.pos++
	}
	if s.pos == len(s.data) || s.data[s.pos] != ':' {
		return s.fail()
	}
	s.pos++
	s.state = jsonWantValue
	return jsonKey, raw
}

func (s *jsonScanner) value(c byte) (jsonToken, []byte) {
	switch {
	case c == '"':
		raw, ok := s.str()
		if !ok {
			return s.fail()
		}
		s.after()
		return jsonString, raw
	case c == '{' || c == '[':
		if s.depth == maxJSONDepth {
			return s.fail()
		}
		s.pos++
		bit := uint64(1) << s.depth
		s.depth++
		if c == '{' {
			s.array &^= bit
			s.state = jsonWantKeyOrClose
			return jsonObject, nil
		}
		s.array |= bit
		s.state = jsonWantValueOrClose
		return jsonArray, nil
	case c == '-' || isDigit(c):
		return s.number()
	case c == 't':
		return s.literal("true", jsonTrue)
	case c == 'f':
		return s.literal("false", jsonFalse)
	case c == 'n':
		return s.literal("null", jsonNull)
	}
	return s.fail()
}

// str reads a string and returns what stands between its quotes; not ok if it
// has no end.
func (s *jsonScanner) str() (raw []byte, ok bool) {
	start := s.pos + 1
	for i := start; ; {
		n := bytes.IndexByte(s.data[i:], '"')
		if n < 0 {
			return nil, false
		}
		i += n
		slashes := 0
		for s.data[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			s.pos = i + 1
			return s.data[start:i], true
		}
		i++
	}
}

func (s *jsonScanner) number() (jsonToken, []byte) {
	start := s.pos
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case isDigit(c), c == '.', c == 'e', c == 'E', c == '+', c == '-':
			continue
		}
		break
	}
	if s.pos == len(s.data) && s.depth > 0 {
		return s.fail() // it may go on
	}
	raw := s.data[start:s.pos]
	s.after()
	return jsonNumber, raw
}

func (s *jsonScanner) literal(word string, t jsonToken) (jsonToken, []byte) {
	if rest := s.data[s.pos:]; len(rest) < len(word) || string(rest[:len(word)]) != word {
		return s.fail()
	}
	s.pos += len(word)
	s.after()
	return t, nil
}

func isJSONSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// appendJSONUnescaped appends what stands between the quotes of a JSON string
// with its escapes undone, as encoding/json does; an escape that is none stays
// as it is.
func appendJSONUnescaped(dst, raw []byte) []byte {
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
