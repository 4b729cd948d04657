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

// appendHabits appends the letters of how languages are written.
func appendHabits(b, value []byte) []byte {
	var lower, quality, space, underscore, wildcard bool
	for i, c := range value {
		rest := value[i+1:]
		switch c {
		case '-':
			lower = lower || len(rest) > 0 && 'a' <= rest[0] && rest[0] <= 'z'
		case '=':
			quality = quality || i > 0 && value[i-1] == 'q' && !bytes.HasPrefix(rest, []byte("0."))
		case ' ', '\t':
			space = true
		case '_':
			underscore = true
		case '*':
			wildcard = true
		}
	}
	for _, habit := range [...]struct {
		holds  bool
		letter byte
	}{{lower, 'l'}, {quality, 'q'}, {space, 's'}, {underscore, 'u'}, {wildcard, 'w'}} {
		if habit.holds {
			b = append(b, habit.letter)
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
