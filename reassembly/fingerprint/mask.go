package fingerprint

import "bytes"

const (
	android       = "Android"
	minIdentifier = 16 // octets
)

// appendMasked appends the value of user-agent, masked.
func appendMasked(b, value []byte) []byte {
	begin := len(b)
	b = appendWithoutDevice(b, value)
	kept := b[:begin]
	for rest := b[begin:]; len(rest) > 0; { // what is written is never longer than what was read
		n := 0
		for n < len(rest) && (isHex(rest[n]) || rest[n] == '-') {
			n++
		}
		switch {
		case n >= minIdentifier:
			kept, rest = append(kept, '#'), rest[n:]
			continue
		case n == 0:
			kept, rest = append(kept, rest[0]), rest[1:]
			continue
		}
		kept, rest = append(kept, rest[:n]...), rest[n:]
	}
	digits := kept[begin:]
	kept = kept[:begin]
	for len(digits) > 0 {
		c := digits[0]
		digits = digits[1:]
		if !isDigit(c) {
			kept = append(kept, c)
			continue
		}
		kept = append(kept, '#')
		for len(digits) > 0 && (isDigit(digits[0]) || digits[0] == '.' || digits[0] == '_') {
			digits = digits[1:]
		}
	}
	return kept
}

// appendWithoutDevice leaves out what stands between Android and the end of its
// comment.
func appendWithoutDevice(b, value []byte) []byte {
	for {
		at := bytes.Index(value, []byte(android))
		if at < 0 {
			return append(b, value...)
		}
		at += len(android)
		b = append(b, value[:at]...)
		value = value[at:]
		if end := bytes.IndexAny(value, "()"); end >= 0 && value[end] == ')' {
			value = value[end:]
		}
	}
}

// habits are the ways of writing accept-language that hold, one bit for each
// letter of habitLetters.
type habits uint8

const (
	habitLower habits = 1 << iota
	habitQuality
	habitSpace
	habitUnderscore
	habitWildcard
)

const habitLetters = "lqsuw"

// class is what an octet is to habits.
type class uint8

const (
	classOther class = iota
	classHyphen
	classEquals
	classLower
	classZero
	classSpace
	classUnderscore
	classWildcard
	classes
)

// classOf has the class of every octet, pairHabits the habits that two octets in a
// row show.
var (
	classOf    = makeClasses()
	pairHabits = makePairs()
)

func makeClasses() (t [256]class) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] = classLower
	}
	t['-'], t['='], t['0'], t[' '], t['\t'] = classHyphen, classEquals, classZero, classSpace, classSpace
	t['_'], t['*'] = classUnderscore, classWildcard
	return t
}

func makePairs() (t [classes * classes]habits) {
	for before := range classes {
		for c := range classes {
			h := &t[before*classes+c]
			if before == classHyphen && c == classLower {
				*h |= habitLower
			}
			if before == classEquals && c != classZero {
				*h |= habitQuality
			}
			switch c {
			case classSpace:
				*h |= habitSpace
			case classUnderscore:
				*h |= habitUnderscore
			case classWildcard:
				*h |= habitWildcard
			}
		}
	}
	return t
}

func habitsOf(value []byte) (h habits) {
	before := classOther
	for _, c := range value {
		class := classOf[c]
		h |= pairHabits[before*classes+class]
		before = class
	}
	return h | pairHabits[before*classes+classOther]
}

// append appends the letters.
func (h habits) append(b []byte) []byte {
	for i := range len(habitLetters) {
		if h&(1<<i) != 0 {
			b = append(b, habitLetters[i])
		}
	}
	return b
}

// casing returns the letter of how a name is spelled.
func casing(name []byte) byte {
	upper, lower, title := false, false, true
	begins := true
	for _, c := range name {
		switch {
		case 'A' <= c && c <= 'Z':
			upper, title = true, title && begins
		case 'a' <= c && c <= 'z':
			lower, title = true, title && !begins
		}
		begins = c == '-'
	}
	switch {
	case !upper:
		return 'l'
	case title:
		return 't'
	case !lower:
		return 'u'
	}
	return 'm'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
