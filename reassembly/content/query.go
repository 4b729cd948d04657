package content

import "bytes"

// What an octet is to plainTarget; bits.
const (
	octetDigit   = 1 << iota
	octetInPath  // may hide, begin or delimit something in a path; looked at elsewhere
	octetInQuery // the same of a query
)

var octetClass = func() (t [256]uint8) {
	for c := byte('0'); c <= '9'; c++ {
		t[c] = octetDigit
	}
	for _, c := range []byte("%;#@+, \"{(") {
		t[c] = octetInPath | octetInQuery
	}
	t['='], t['/'], t['?'] = octetInPath, octetInQuery, octetInQuery
	return t
}()

// plainTarget reports whether a request-target, as nearly all are, is in
// origin-form with nothing in it that [Extractor.appendRedacted] could hide: no
// name of a secret before an equals sign, no run of digits as long as a card
// number, no octet by which either could stand there in disguise. bare says that
// the query holds no name that means anything to [credentials] either. question
// is where the query's question mark stands, or the end.
func (e *Extractor) plainTarget(target []byte) (plain, bare bool, question int) {
	if len(target) == 0 || target[0] != '/' || len(target) > 1 && target[1] == '/' {
		return false, false, 0
	}
	question = bytes.IndexByte(target, '?')
	if question < 0 {
		return isHarmless(target, octetInPath), true, len(target)
	}
	if !isHarmless(target[:question], octetInPath) || !isHarmless(target[question+1:], octetInQuery) {
		return false, false, 0
	}
	bare = true
	for query := target[question+1:]; len(query) > 0; {
		pair := query
		if i := bytes.IndexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = nil
		}
		name := pair
		if i := bytes.IndexByte(pair, '='); i >= 0 {
			name = pair[:i]
		}
		if len(name) == 0 {
			continue
		}
		info := e.keys.names.look(name, endsOf(name)).info
		if _, secret := info.hashed(); secret {
			return false, false, 0
		}
		bare = bare && info.class == 0
	}
	return true, bare, question
}

// isHarmless reports whether no octet of b is of a kind, nor a card number among
// them.
func isHarmless(b []byte, kind uint8) bool {
	set, digits := uint8(0), 0
	for _, c := range b {
		set |= octetClass[c]
		digits += int(octetClass[c] & octetDigit)
	}
	return set&kind == 0 && (digits < minCard || !hasDigits(b))
}

// hasDigits reports whether b holds a run of digits, hyphens between them
// perhaps, as long as a card number.
func hasDigits(b []byte) bool {
	digits := 0
	for _, c := range b {
		switch {
		case isDigit(c):
			if digits++; digits >= minCard {
				return true
			}
		case c != '-':
			digits = 0
		}
	}
	return false
}
