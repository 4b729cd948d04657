package endpoint

import "cmp"

// Identifier reports whether a path segment is an identifier by its shape
// alone: digits, a UUID, an object id or other hex of 8 digits or more, an ISO
// date, a ULID, a token of letters and digits of 16 characters or more that
// nobody would write, the same of 8 behind a prefix (cus_9aXk2LmQ), or anything
// too long to be a word. Never one without a digit.
func Identifier(segment string) bool {
	n := len(segment)
	if n > maxSegment {
		return true
	}
	var s letters
	s.read(segment)
	switch {
	case s.other > 0 || s.digits == 0:
		return false
	case s.digits == n:
		return true
	case s.hex == n:
		return n >= minMixed
	case n == 36 && s.hex == 32:
		return segment[8] == '-' && segment[13] == '-' && segment[18] == '-' && segment[23] == '-'
	case n == 10 && s.digits == 8:
		return segment[4] == '-' && segment[7] == '-'
	case s.dashes == 1:
		if tail := prefixed(segment); tail >= 6 && s.digits == tail {
			return true
		} else if tail >= minMixed && (s.digits >= 2 && s.upper+s.odd > 0 || s.odd > 0 && s.upper > 1) {
			return true
		}
	}
	// A random token mixes its alphabet. A name with a number at its end, such
	// as signInWithPassword2, has few digits for its length.
	return n >= 16 && s.dashes <= 2 && s.upper+s.lower >= 3 && s.mixed()
}

// letters counts what a segment consists of.
type letters struct {
	digits, hex, upper, lower, dashes, other, vowels int
	// odd is how often letters and digits follow one another as in no name: a
	// letter in lower case alone between others, or a digit before a letter.
	odd   int
	heads int // runs of two capitals or more before a letter in lower case
}

// mixed reports whether the alphabet is mixed as by chance: many digits, or
// capitals where no camelCase has them, and fewer vowels than in any language.
func (s *letters) mixed() bool {
	all := s.digits + s.upper + s.lower
	if s.digits >= 3 && s.digits*8 >= all {
		return true
	}
	if s.upper < 2 || s.lower < 2 {
		return false
	}
	score := s.odd + min(s.heads, 1)
	if 4*s.upper >= all {
		score++
	}
	if 4*s.vowels < s.upper+s.lower {
		score += 2
	}
	return score >= 3
}

const (
	kindNone = iota
	kindDigit
	kindUpper
	kindLower
)

func (s *letters) read(segment string) {
	before, kind := kindNone, kindNone // of the last octet but one, and of the last
	for i := 0; i <= len(segment); i++ {
		next := kindNone
		if i < len(segment) {
			switch c := segment[i]; {
			case '0' <= c && c <= '9':
				s.digits++
				s.hex++
				next = kindDigit
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
				next = kindLower
				if c <= 'Z' {
					next = kindUpper
					s.upper++
				} else {
					s.lower++
				}
				switch c | 0x20 {
				case 'a', 'e', 'i', 'o', 'u':
					s.vowels++
				}
				if c|0x20 <= 'f' {
					s.hex++
				}
			case c == '-' || c == '_':
				s.dashes++
			default:
				s.other++
			}
		}
		switch {
		case kind == kindLower && before != kindLower && next != kindLower && before != kindNone && next != kindNone,
			kind == kindDigit && next > kindDigit:
			s.odd++
		case before == kindUpper && kind == kindUpper && next == kindLower:
			s.heads++
		}
		before, kind = kind, next
	}
}

// prefixed is how many octets follow the prefix of an identifier such as
// cus_9aXk2LmQ: two to eight letters in lower case and an underscore. 0 of
// anything else.
func prefixed(segment string) int {
	for i := 0; i < len(segment) && i <= 8; i++ {
		if c := segment[i]; c == '_' && i >= 2 {
			return len(segment) - i - 1
		} else if c < 'a' || c > 'z' {
			return 0
		}
	}
	return 0
}

// named reports whether a segment without a digit is an identifier by its shape:
// an e-mail address, a locale with its country (RFC 5646: en-US), or a random
// token that happens to have no digit. An e-mail address may have any.
func named(segment string) bool {
	n := len(segment)
	if n == 5 && (segment[2] == '-' || segment[2] == '_') {
		return lowerAt(segment, 0) && lowerAt(segment, 1) && upperAt(segment, 3) && upperAt(segment, 4)
	}
	if n < 6 {
		return false
	}
	at := -1
	for i := 1; i < n; i++ {
		if segment[i] == '@' || segment[i] == '%' && i+2 < n && segment[i+1] == '4' && segment[i+2] == '0' {
			at = i
		} else if segment[i] == '.' && at > 0 && i > at+1 && i < n-2 {
			return true
		}
	}
	if at > 0 || n < 16 {
		return false
	}
	var s letters
	s.read(segment[n-cmp.Or(prefixed(segment), n):])
	return s.other+s.dashes == 0 && s.mixed()
}

func lowerAt(s string, i int) bool { return 'a' <= s[i] && s[i] <= 'z' }
func upperAt(s string, i int) bool { return 'A' <= s[i] && s[i] <= 'Z' }

// stem is how much of a segment is its own: without a custom method behind a
// colon (accounts/17:close, Google AIP-136), or the extension of a format.
func stem(segment string) int {
	for i := len(segment) - 1; i > 0; i-- {
		switch c := segment[i]; {
		case c == ':':
			if i < len(segment)-1 && lowerAt(segment, i+1) {
				return i
			}
			return len(segment)
		case c == '.':
			if format(segment[i+1:]) {
				return i
			}
			return len(segment)
		case (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9'):
			return len(segment)
		}
	}
	return len(segment)
}

// format reports whether a file name's extension is of a format in which APIs
// answer.
func format(extension string) bool {
	switch extension {
	case "json", "xml", "csv", "jsonld", "geojson", "yaml", "rdf", "ttl", "pdf", "txt", "rss", "atom":
		return true
	}
	return false
}

// versioned reports whether an identifier by its shape is the version of an API
// by its place: a date or a small number that begins the path, or stands behind
// api. above is the path before it, with its slash.
func versioned(above, segment string) bool {
	switch len(segment) {
	case 10:
		if segment[4] != '-' {
			return false
		}
	case 1, 2:
	default:
		return false
	}
	return above == "/" || len(above) >= 5 && above[len(above)-5:] == "/api/"
}

// strange reports whether a segment looks a little like an identifier: it is
// long, and is all hex, or has a digit, or has capitals as in no camelCase, behind
// a prefix, or with fewer vowels than in any language.
func strange(segment string) bool {
	if len(segment) < minMixed {
		return false
	}
	var s letters
	s.read(segment)
	return s.digits > 0 || s.hex == len(segment) || s.upper > 1 && s.odd+s.heads > 0 ||
		s.upper > 0 && (4*s.vowels < s.upper+s.lower || prefixed(segment) >= minMixed)
}
