package content

import "bytes"

// formScanner goes through name=value pairs of a query or of a body of type
// application/x-www-form-urlencoded (WHATWG URL section 5.1): pairs are
// separated by &, empty ones are skipped.
type formScanner struct {
	data  []byte
	whole bool // data is all of it, so the last value is complete
}

// next returns a pair as sent; cut says that its end may be missing. Not ok at
// the end.
func (s *formScanner) next() (name, value []byte, cut, ok bool) {
	for len(s.data) > 0 {
		pair, rest, more := bytes.Cut(s.data, []byte{'&'})
		s.data = rest
		if len(pair) == 0 {
			continue
		}
		name, value, _ = bytes.Cut(pair, []byte{'='})
		return name, value, !more && !s.whole, true
	}
	return nil, nil, false, false
}
