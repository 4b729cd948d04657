package content

import "bytes"

// What an octet counts for to plainTarget. The counts of so many octets as it looks at
// don't carry from one to the next.
const (
	octetDigit   = 1
	octetDot     = octetDigit << countBits
	octetInPath  = octetDot << countBits    // may hide, begin or delimit something in a path; looked at elsewhere
	octetInQuery = octetInPath << countBits // the same of a query

	digits  = octetDot - octetDigit
	dots    = octetInPath - octetDot
	inPath  = octetInQuery - octetInPath
	inQuery = octetInQuery<<countBits - octetInQuery

	countBits = 14
	maxPlain  = 1<<countBits - 1 // octets of a request-target
)

var octetCounts = func() (t [256]uint64) {
	for c := byte('0'); c <= '9'; c++ {
		t[c] = octetDigit
	}
	for _, c := range []byte("%;#@+, \"{(") {
		t[c] = octetInPath + octetInQuery
	}
	t['='], t['/'], t['?'], t['.'] = octetInPath, octetInQuery, octetInQuery, octetDot
	return t
}()

// plainTarget reports whether a request-target, as nearly all are, is in
// origin-form with nothing in it that [Extractor.appendRedacted] could hide: no
// name of a secret before an equals sign, no run of digits as long as a card
// number, no JSON Web Token, no octet by which one of these could stand there in
// disguise. bare says that the query holds no name that means anything to
// [credentials] either. question is where the query's question mark stands, or the
// end.
func (e *Extractor) plainTarget(target []byte) (plain, bare bool, question int) {
	if len(target) == 0 || len(target) > maxPlain || target[0] != '/' || len(target) > 1 && target[1] == '/' {
		return false, false, 0
	}
	question = bytes.IndexByte(target, '?')
	if question < 0 {
		return isHarmless(target, inPath), true, len(target)
	}
	if !isHarmless(target[:question], inPath) || !isHarmless(target[question+1:], inQuery) {
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

// isHarmless reports whether no octet of b is of a kind, and neither a card number
// nor a token among them.
func isHarmless(b []byte, kind uint64) bool {
	all, counts := b, uint64(0)
	for ; len(b) >= 4; b = b[4:] {
		counts += octetCounts[b[0]] + octetCounts[b[1]] + octetCounts[b[2]] + octetCounts[b[3]]
	}
	for _, c := range b {
		counts += octetCounts[c]
	}
	return counts&kind == 0 && (counts&digits < minCard || !hasDigits(all)) && (counts&dots < tokenDots*octetDot || !holdsToken(all))
}

// holdsToken reports whether a JSON Web Token stands in b.
func holdsToken(b []byte) bool {
	_, _, found := nextToken(b, 0)
	return found
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
