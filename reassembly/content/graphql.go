package content

import (
	"bytes"

	"offpath/reassembly/internal/jsonscan"
)

// graphqlScanner goes through the tokens of a GraphQL document (GraphQL October
// 2021, section 2.1), leniently: white space, commas and comments are passed
// over, numbers are names.
type graphqlScanner struct {
	data []byte
	pos  int
}

// graphqlToken is the kind of a token: its octet, if it is punctuation.
type graphqlToken byte

const (
	graphqlEnd    graphqlToken = 0
	graphqlName   graphqlToken = 'a'
	graphqlString graphqlToken = '"'
)

// next returns a token, and the octets of a name or between the quotes of a
// string.
func (s *graphqlScanner) next() (graphqlToken, []byte) {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',' || c >= 0x80:
			s.pos++
		case c == '#':
			if end := bytes.IndexAny(s.data[s.pos:], "\r\n"); end >= 0 {
				s.pos += end
			} else {
				s.pos = len(s.data)
			}
		case c == '"':
			return s.str()
		case isAlnum(c) || c == '_':
			start := s.pos
			for s.pos < len(s.data) && (isAlnum(s.data[s.pos]) || s.data[s.pos] == '_') {
				s.pos++
			}
			return graphqlName, s.data[start:s.pos]
		default:
			s.pos++
			return graphqlToken(c), nil
		}
	}
	return graphqlEnd, nil
}

// str reads a string or a block string; without an end there is none.
func (s *graphqlScanner) str() (graphqlToken, []byte) {
	rest := s.data[s.pos:]
	if block := []byte(`"""`); bytes.HasPrefix(rest, block) {
		end := bytes.Index(rest[3:], block)
		if end < 0 {
			s.pos = len(s.data)
			return graphqlEnd, nil
		}
		s.pos += 3 + end + 3
		return graphqlString, rest[3 : 3+end]
	}
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			s.pos += i + 1
			return graphqlString, rest[1:i]
		}
	}
	s.pos = len(s.data)
	return graphqlEnd, nil
}

// walkDocument shows credentials the arguments that are strings, and returns the
// name of a document's operation: that of the first that has one, else its first
// field; nil if it is no GraphQL. It is valid until the request's end.
func (e *Extractor) walkDocument(document value, to *credentials) (name []byte) {
	start := len(e.documents)
	e.documents = document.append(e.documents)
	s := graphqlScanner{data: e.documents[start:]}
	var field, last []byte // the first field; the last name
	var before graphqlToken
	braces, parens := 0, 0
	definition := false // an operation begins: its name may follow
	m := e.topMember()
	for first := true; ; first = false {
		t, text := s.next()
		if first && t != '{' && t != graphqlString && !(t == graphqlName && isDefinition(text)) {
			return nil
		}
		switch t {
		case graphqlEnd:
			if name == nil {
				name = field
			}
			return name
		case '{':
			braces++
		case '}':
			braces--
		case '(':
			parens++
		case ')':
			parens--
		case graphqlName:
			switch {
			case parens > 0:
			case braces == 0 && definition && name == nil && before == graphqlName:
				name = text
			case braces == 0:
				definition = isDefinition(text) && string(text) != "fragment"
			case braces == 1 && field == nil && before == '{',
				braces == 1 && before == ':' && len(field) > 0 && len(last) > 0 && &field[0] == &last[0]: // behind an alias
				field = text
			}
			if braces > 0 || parens > 0 {
				definition = false
			}
			last = text
		case graphqlString:
			if before == ':' && len(last) > 0 {
				m.name, m.value = value{last, encodingNone}, value{text, encodingJSON}
				m.parent, m.token = documentPath, jsonscan.String
				if _, m.info, m.first = e.keys.add(documentPath, last); m.info.class&to.wanted()&^classCall != 0 {
					to.visit(m)
				}
			}
		}
		before = t
	}
}

// documentPath is the path of the arguments in a document.
const documentPath = rootPath + 1

// isDefinition reports whether a name begins a definition.
func isDefinition(name []byte) bool {
	switch string(name) {
	case "query", "mutation", "subscription", "fragment":
		return true
	}
	return false
}
