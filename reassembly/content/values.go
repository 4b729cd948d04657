package content

import (
	"offpath/reassembly/internal/jsonscan"
	"offpath/reassembly/internal/markup"
)

// encoding is how a name or value stands in a body.
type encoding uint8

const (
	encodingNone    encoding = iota
	encodingPercent          // application/x-www-form-urlencoded
	encodingJSON             // within a JSON string
	encodingMarkup           // between tags, or an attribute
)

// value is a name or value as it stands in a body: a view, decoded only when
// it is needed.
type value struct {
	octets []byte
	enc    encoding
}

// append appends the value with its encoding undone.
func (v value) append(dst []byte) []byte {
	switch v.enc {
	case encodingPercent:
		return appendUnescaped(dst, v.octets)
	case encodingJSON:
		return jsonscan.AppendUnescaped(dst, v.octets)
	case encodingMarkup:
		return markup.AppendText(dst, v.octets)
	}
	return append(dst, v.octets...)
}

// member is one name and value of a body, whatever its syntax.
type member struct {
	parent uint64 // path of what holds it
	depth  int    // 1 at the top
	name   value
	info   nameInfo
	first  bool // this path is seen for the first time
	value  value
	token  jsonscan.Token // jsonscan.String, jsonscan.Number, jsonscan.True or jsonscan.False
	cut    bool           // the value may go on beyond what was seen
}

// topMember returns the Extractor's member as one at the top of a body that may
// be a string; name and value are to be set.
func (e *Extractor) topMember() *member {
	m := &e.member
	m.parent, m.depth, m.token, m.cut = rootPath, 1, jsonscan.String, false
	return m
}

// show has v visit m with a value, as its token and as it stands in a JSON text.
func (m *member) show(v visitor, t jsonscan.Token, raw []byte) {
	m.token, m.value = t, value{raw, encodingNone}
	switch t {
	case jsonscan.Null:
		return
	case jsonscan.String:
		m.value.enc = encodingJSON
	}
	v.visit(m)
	m.first = false
}

// visitor takes the members of a body in order whose names say what it wants;
// they are valid during the call.
type visitor interface {
	visit(m *member)
	wanted() class
}

// walkForm visits the pairs of a form or query.
func (e *Extractor) walkForm(data []byte, whole bool, v visitor) {
	s := formScanner{data, whole}
	m := e.topMember()
	for {
		name, val, cut, ok := s.next()
		if !ok {
			return
		}
		m.name, m.value, m.cut = value{name, encodingPercent}, value{val, encodingPercent}, cut
		e.value = m.name.append(e.value[:0])
		_, m.info, m.first = e.keys.add(rootPath, e.value)
		v.visit(m)
	}
}
