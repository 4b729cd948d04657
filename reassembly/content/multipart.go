package content

import "bytes"

// Bounds of a multipart body. Every level that is nested is looked at once more.
const (
	maxBoundary = 256 // octets; RFC 2046 section 5.1.1 has 70, servers take more
	maxNested   = 3   // levels
)

// multipartScanner goes through the parts of a multipart body (RFC 2046 section
// 5.1, RFC 7578), as lenient servers do: a delimiter is a line that begins with
// two hyphens and the boundary and goes on with white space or two hyphens at
// most; lines may end without CR; what is before the first and behind the last
// delimiter is nothing.
type multipartScanner struct {
	data     []byte // from behind a delimiter's boundary
	boundary []byte
	whole    bool
}

// part is one part of a multipart body, as views.
type part struct {
	name        []byte // nil if it has none
	contentType []byte
	content     []byte
	file        bool
	cut         bool // its end may be missing
}

// newMultipartScanner takes the boundary from the Content-Type; without one
// nothing is found.
func newMultipartScanner(data, contentType []byte, whole bool) multipartScanner {
	s := multipartScanner{data, unquote(parameter(contentType, "boundary")), whole}
	if len(s.boundary) == 0 || len(s.boundary) > maxBoundary {
		s.data = nil
	} else if at, ok := s.delimiter(); ok {
		s.data = data[at.next:]
	} else {
		s.data = nil
	}
	return s
}

// delimiterAt is the place of a delimiter.
type delimiterAt struct {
	end  int // of what is before it, its line break excluded
	next int // what is behind its boundary
}

// delimiter finds the next delimiter.
func (s *multipartScanner) delimiter() (at delimiterAt, ok bool) {
	for from := 0; ; {
		i := bytes.Index(s.data[from:], s.boundary)
		if i < 0 {
			return at, false
		}
		i += from
		from = i + 1
		if i < 2 || s.data[i-1] != '-' || s.data[i-2] != '-' || i > 2 && s.data[i-3] != '\n' {
			continue
		}
		at.next = i + len(s.boundary)
		line := s.data[at.next:]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end]
		}
		if !bytes.HasPrefix(line, []byte("--")) && len(bytes.TrimRight(line, " \t\r")) > 0 {
			continue
		}
		at.end = max(0, i-3)
		if at.end > 0 && s.data[at.end-1] == '\r' {
			at.end--
		}
		return at, true
	}
}

// next returns the next part; not ok at the end.
func (s *multipartScanner) next() (p part, ok bool) {
	for len(s.data) > 0 && !bytes.HasPrefix(s.data, []byte("--")) {
		at, found := s.delimiter()
		text := s.data
		if found {
			text, s.data = text[:at.end], text[at.next:]
		} else {
			s.data, p.cut = nil, !s.whole
		}
		_, text, _ = bytes.Cut(text, []byte{'\n'}) // the rest of the delimiter's line
		if p.head(text) {
			return p, true
		}
	}
	return p, false
}

// head reads a part's header section; false if it has no end.
func (p *part) head(text []byte) bool {
	p.name, p.contentType, p.file = nil, nil, false
	for {
		line, rest, more := bytes.Cut(text, []byte{'\n'})
		if !more {
			return false
		}
		text = rest
		line = bytes.TrimSuffix(line, []byte{'\r'})
		if len(line) == 0 {
			p.content = text
			return true
		}
		field, value, _ := bytes.Cut(line, []byte{':'})
		switch field = trim(field); {
		case equalFold(field, "content-disposition"):
			p.name = unquote(parameter(value, "name"))
			p.file = parameter(value, "filename") != nil || parameter(value, "filename*") != nil
		case equalFold(field, "content-type"):
			p.contentType = trim(value)
		}
	}
}

// walkMultipart visits the parts of a multipart body that are no files. Those
// that are JSON (also what the GraphQL multipart request specification calls
// operations), XML or multipart themselves are walked.
func (e *Extractor) walkMultipart(data, contentType []byte, whole bool, v visitor) {
	e.xml.reset()
	e.walkParts(data, contentType, whole, v, maxNested)
}

func (e *Extractor) walkParts(data, contentType []byte, whole bool, v visitor, levels int) {
	s := newMultipartScanner(data, contentType, whole)
	for {
		p, ok := s.next()
		if !ok {
			return
		}
		kind := ""
		if !p.file {
			kind = mediaKind(mediaType(p.contentType))
		}
		switch {
		case kind == mediaMultipart && levels > 1:
			e.walkParts(p.content, p.contentType, !p.cut, v, levels-1)
		case kind == mediaJSON, string(p.name) == "operations" && sniffed("", p.content) == mediaJSON:
			e.topMember()
			e.scan(afterGuard(p.content), place{}, v, false)
		case kind == mediaXML:
			e.walkXML(p.content, !p.cut, v)
		case p.name != nil:
			e.visitPart(&p, v)
		}
	}
}

// visitPart visits a part as a member; the value of a file is empty.
func (e *Extractor) visitPart(p *part, v visitor) {
	m := e.topMember()
	if p.file {
		p.content = nil
	}
	m.name, m.value, m.cut = value{p.name, encodingNone}, value{p.content, encodingNone}, p.cut
	_, m.info, m.first = e.keys.add(rootPath, p.name)
	v.visit(m)
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
