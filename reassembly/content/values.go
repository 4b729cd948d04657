package content

// encoding is how a name or value stands in a body.
type encoding uint8

const (
	encodingNone    encoding = iota
	encodingPercent          // application/x-www-form-urlencoded
	encodingJSON             // within a JSON string
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
		return appendJSONUnescaped(dst, v.octets)
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
	token  jsonToken // jsonString, jsonNumber, jsonTrue or jsonFalse
	cut    bool      // the value may go on beyond what was seen
}

// visitor takes the members of a body in order.
type visitor interface{ visit(m *member) }

// walkJSON visits every scalar member (and scalar element of an array that is a
// member) of a JSON text, noting all keys.
func (e *Extractor) walkJSON(data []byte, v visitor) {
	var paths [maxJSONDepth + 1]uint64
	s := newJSONScanner(data)
	m := member{}
	path := rootPath // of the last key
	named := false   // scalars are its value
	for {
		t, raw := s.next()
		switch t {
		case jsonEnd:
			return
		case jsonObject, jsonArray:
			paths[s.depth] = path
		case jsonClose:
			path, named = paths[s.depth], false
		case jsonKey:
			m.name = value{raw, encodingJSON}
			m.parent, m.depth = paths[s.depth], s.depth
			e.value = m.name.append(e.value[:0])
			path, m.info, m.first = e.keys.add(m.parent, e.value)
			named = true
		case jsonString, jsonNumber, jsonTrue, jsonFalse:
			if !named {
				continue
			}
			m.token, m.value = t, value{raw, encodingNone}
			if t == jsonString {
				m.value.enc = encodingJSON
			}
			v.visit(&m)
			m.first = false
		}
	}
}

// walkForm visits the pairs of a form or query.
func (e *Extractor) walkForm(data []byte, whole bool, v visitor) {
	s := formScanner{data, whole}
	m := member{depth: 1, token: jsonString}
	for {
		name, val, cut, ok := s.next()
		if !ok {
			return
		}
		m.name, m.value, m.cut = value{name, encodingPercent}, value{val, encodingPercent}, cut
		e.value = m.name.append(e.value[:0])
		_, m.info, m.first = e.keys.add(rootPath, e.value)
		v.visit(&m)
	}
}

// walkMultipart visits the parts of a multipart/form-data body.
func (e *Extractor) walkMultipart(data, contentType []byte, whole bool, v visitor) {
	s := newMultipartScanner(data, contentType, whole)
	m := member{depth: 1, token: jsonString}
	for {
		name, val, cut, ok := s.next()
		if !ok {
			return
		}
		m.name, m.value, m.cut = value{name, encodingNone}, value{val, encodingNone}, cut
		_, m.info, m.first = e.keys.add(rootPath, name)
		v.visit(&m)
	}
}
