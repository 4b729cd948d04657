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

// multipartScanner goes through the parts of a multipart/form-data body
// (RFC 7578) that are no files.
type multipartScanner struct {
	data     []byte
	boundary []byte // with the two hyphens before it
	whole    bool
}

// newMultipartScanner takes the boundary from the Content-Type; without one
// nothing is found.
func newMultipartScanner(data, contentType []byte, whole bool) multipartScanner {
	s := multipartScanner{whole: whole}
	if b := unquote(parameter(contentType, "boundary")); len(b) > 0 && len(b) <= 70 {
		i := bytes.Index(data, b)
		if i >= 2 && data[i-1] == '-' && data[i-2] == '-' {
			s.boundary = data[i-2 : i+len(b)]
			s.data = data[i+len(b):]
		}
	}
	return s
}

// next is as in formScanner; the value of a file is empty.
func (s *multipartScanner) next() (name, value []byte, cut, ok bool) {
	for len(s.data) > 0 {
		part, rest, more := bytes.Cut(s.data, s.boundary)
		s.data = rest
		head, content, found := bytes.Cut(part, []byte("\r\n\r\n"))
		if !found {
			continue
		}
		name, file := disposition(head)
		if name == nil {
			continue
		}
		if file {
			content = nil
		}
		return name, bytes.TrimSuffix(content, []byte("\r\n")), !more && !s.whole, true
	}
	return nil, nil, false, false
}

// disposition finds the name in a part's Content-Disposition, and whether the
// part is a file.
func disposition(head []byte) (name []byte, file bool) {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		if field, value, ok := bytes.Cut(line, []byte{':'}); ok && equalFold(trim(field), "content-disposition") {
			return unquote(parameter(value, "name")), parameter(value, "filename") != nil
		}
	}
	return nil, false
}

// parameter returns the value of a parameter of a media type or the like
// (RFC 9110 section 5.6.6), with its quotes; nil if it is not there.
func parameter(value []byte, name string) []byte {
	for first := true; len(value) > 0; first = false {
		var pair []byte
		pair, value = cutPair(value)
		if first {
			continue
		}
		if n, v, ok := bytes.Cut(pair, []byte{'='}); ok && equalFold(trim(n), name) {
			return trim(v)
		}
	}
	return nil
}
