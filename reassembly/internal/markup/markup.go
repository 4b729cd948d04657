// Package markup goes through XML 1.0 and the SGML of OFX tag by tag, without
// allocating. It is for texts that others wrote: they may be hostile and end
// anywhere, and what was complete before is found. It makes no tree and demands
// none: whether tags match is the caller's affair.
//
// Entities are those that XML predefines and character references; what a
// document declares is passed over, so nothing expands. Each octet is looked at a
// bounded number of times.
package markup

import (
	"bytes"
	"unicode/utf8"
)

// Token is what the scanner found.
type Token uint8

const (
	End   Token = iota // nothing more, or a tag that has no end
	Open               // a start tag, or the tag of an empty element
	Close              // an end tag
	Text               // what stands between two tags and isn't only white space, comments and the like
)

// Scanner is the state of a walk through one text; New makes it.
type Scanner struct {
	data       []byte
	pos        int
	attributes []byte
	empty      bool
	cut        bool
	noPIEnd    bool // there is no ?> any more
}

// New returns a Scanner at the beginning of data, which it doesn't change.
func New(data []byte) Scanner { return Scanner{data: data} }

// Attributes are those of the last Open, for NextAttribute.
func (s *Scanner) Attributes() []byte { return s.attributes }

// Empty reports whether the last Open was the tag of an empty element (<a/>),
// which no Close follows.
func (s *Scanner) Empty() bool { return s.empty }

// Cut reports whether the last Text goes on to the end of the data: there may
// have been more of it.
func (s *Scanner) Cut() bool { return s.cut }

// Next returns the next token; for Open and Close raw is the element's name as
// sent, for Text what stands there, without white space around it ([AppendText]
// undoes its markup).
func (s *Scanner) Next() (t Token, raw []byte) {
	start := s.pos
	end, content := s.text()
	if content {
		s.cut = end == len(s.data)
		return Text, trim(s.data[start:end])
	}
	if end == len(s.data) {
		return End, nil
	}
	s.pos = end + 1
	if s.data[s.pos] == '/' {
		return s.close()
	}
	return s.open()
}

// text passes over what isn't a tag, and returns where the next one begins and
// whether there is content before it.
func (s *Scanner) text() (end int, content bool) {
	for {
		i := bytes.IndexByte(s.data[s.pos:], '<')
		if i < 0 {
			content = content || !isBlank(s.data[s.pos:])
			s.pos = len(s.data)
			return s.pos, content
		}
		content = content || !isBlank(s.data[s.pos:s.pos+i])
		s.pos += i
		rest := s.data[s.pos:]
		switch {
		case isTag(rest):
			return s.pos, content
		case len(rest) > 1 && (rest[1] == '!' || rest[1] == '?'):
			n := s.declaration(rest)
			content = content || bytes.HasPrefix(rest, cdata)
			s.pos += n
		default:
			content = true
			s.pos++
		}
	}
}

var (
	cdata    = []byte("<![CDATA[")
	cdataEnd = []byte("]]>")
)

// isTag reports whether b, which begins with <, begins with a tag.
func isTag(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	c := b[1]
	if c == '/' && len(b) > 2 {
		c = b[2]
	}
	return 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == ':' || c >= utf8.RuneSelf
}

// declaration returns the length of the comment, section, instruction or
// declaration that b begins with: all of b if it has no end.
func (s *Scanner) declaration(b []byte) int {
	switch {
	case bytes.HasPrefix(b, []byte("<!--")):
		return until(b, 4, []byte("-->"))
	case bytes.HasPrefix(b, cdata):
		return until(b, len(cdata), cdataEnd)
	case b[1] == '?':
		if !s.noPIEnd {
			if n := bytes.Index(b, []byte("?>")); n >= 0 {
				return n + 2
			}
			s.noPIEnd = true
		}
		return until(b, 2, []byte{'>'}) // as SGML has it
	}
	depth, quote := 0, byte(0)
	for i, c := range b {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == '>' && depth <= 0:
			return i + 1
		}
	}
	return len(b)
}

func until(b []byte, from int, end []byte) int {
	if i := bytes.Index(b[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(b)
}

func (s *Scanner) close() (Token, []byte) {
	end := bytes.IndexByte(s.data[s.pos:], '>')
	if end < 0 {
		s.pos = len(s.data)
		return End, nil
	}
	name := trim(s.data[s.pos+1 : s.pos+end])
	s.pos += end + 1
	return Close, name
}

func (s *Scanner) open() (Token, []byte) {
	rest := s.data[s.pos:]
	n := 0
	for n < len(rest) && rest[n] != '>' && rest[n] != '/' && rest[n] != '<' && !isSpace(rest[n]) {
		n++
	}
	end, quote := n, byte(0)
	for ; end < len(rest); end++ {
		c := rest[end]
		if quote != 0 {
			if c == quote {
				quote = 0
			}
		} else if c == '"' || c == '\'' {
			quote = c
		} else if c == '>' || c == '<' {
			break
		}
	}
	if end == len(rest) {
		s.pos = len(s.data)
		return End, nil
	}
	s.attributes = rest[n:end]
	s.empty = end > 0 && rest[end-1] == '/'
	if s.empty && len(s.attributes) > 0 {
		s.attributes = s.attributes[:len(s.attributes)-1]
	}
	s.pos += end
	if rest[end] == '>' { // else the next tag ends this one
		s.pos++
	}
	return Open, rest[:n]
}

// NextAttribute cuts the first attribute off what Attributes returned; its name
// is empty where there are no more.
func NextAttribute(attributes []byte) (name, value, rest []byte) {
	b := trim(attributes)
	n := 0
	for n < len(b) && b[n] != '=' && !isSpace(b[n]) {
		n++
	}
	name, b = b[:n], trim(b[n:])
	if len(b) == 0 || b[0] != '=' {
		return name, nil, b
	}
	b = trim(b[1:])
	if len(b) > 0 && (b[0] == '"' || b[0] == '\'') {
		if end := bytes.IndexByte(b[1:], b[0]); end >= 0 {
			return name, b[1 : 1+end], b[2+end:]
		}
		return name, b[1:], nil
	}
	n = 0
	for n < len(b) && !isSpace(b[n]) {
		n++
	}
	return name, b[:n], b[n:]
}

// IsPlain reports whether AppendText would append raw as it is.
func IsPlain(raw []byte) bool { return !bytes.ContainsAny(raw, "<&") }

// AppendText appends a Text, or an attribute's value, with its markup undone:
// references are what they refer to, sections are their content, comments and the
// like are nothing. An entity that isn't predefined stays as sent.
func AppendText(dst, raw []byte) []byte {
	var s Scanner
	for len(raw) > 0 {
		i := bytes.IndexAny(raw, "<&")
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		raw = raw[i:]
		switch {
		case raw[0] == '&':
			r, n := reference(raw)
			if n == 0 {
				dst, raw = append(dst, '&'), raw[1:]
				continue
			}
			dst, raw = utf8.AppendRune(dst, r), raw[n:]
		case len(raw) > 1 && (raw[1] == '!' || raw[1] == '?'):
			n := s.declaration(raw)
			if bytes.HasPrefix(raw, cdata) {
				dst = append(dst, bytes.TrimSuffix(raw[len(cdata):n], cdataEnd)...)
			}
			raw = raw[n:]
		default:
			dst, raw = append(dst, raw[0]), raw[1:]
		}
	}
	return dst
}

// reference returns the character that the reference at the beginning of b
// stands for, and the reference's length; 0 if it is none.
func reference(b []byte) (r rune, n int) {
	const longest = 10
	end := bytes.IndexByte(b[:min(len(b), longest)], ';')
	if end < 2 {
		return 0, 0
	}
	name := b[1:end]
	if name[0] != '#' {
		switch string(name) {
		case "amp":
			return '&', end + 1
		case "lt":
			return '<', end + 1
		case "gt":
			return '>', end + 1
		case "quot":
			return '"', end + 1
		case "apos":
			return '\'', end + 1
		}
		return 0, 0
	}
	base := rune(10)
	if name = name[1:]; len(name) > 0 && name[0]|0x20 == 'x' {
		base, name = 16, name[1:]
	}
	if len(name) == 0 {
		return 0, 0
	}
	for _, c := range name {
		digit := rune(99)
		switch {
		case '0' <= c && c <= '9':
			digit = rune(c - '0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			digit = rune(c|0x20-'a') + 10
		}
		if digit >= base {
			return 0, 0
		}
		r = r*base + digit
	}
	if r == 0 || !utf8.ValidRune(r) {
		return 0, 0
	}
	return r, end + 1
}

// Local returns a name without its namespace prefix.
func Local(name []byte) []byte { return name[bytes.LastIndexByte(name, ':')+1:] }

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func isBlank(b []byte) bool {
	for _, c := range b {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}
