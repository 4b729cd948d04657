package content

import (
	"bytes"

	"offpath/reassembly/internal/markup"
)

// maxElements bounds the depth of an XML body; deeper is not looked at, nor what
// comes after.
const maxElements = 64

// element is one that is open.
type element struct {
	name   []byte // as sent
	path   uint64
	info   nameInfo
	first  bool // its path was seen for the first time
	filled bool // something is in it
	digest bool // a password that is not sent itself (WS-Security UsernameToken profile section 3.1)
}

// xmlWalk is a walk through an XML body. Elements and attributes are its keys
// and members; namespace prefixes are taken as they are, as programs don't vary
// them, and declarations of namespaces left out.
//
// Two dialects are known: SOAP, whose envelope doesn't count for depth, and
// XML-RPC, whose members are named by an element of their own.
type xmlWalk struct {
	open  [maxElements + 1]element // the first is the document
	depth int
	hull  int // elements that don't count for depth

	soap, rpc bool
	operation []byte // SOAP: the element in the body; XML-RPC: the method
	member    []byte // XML-RPC: the name of the member at hand, as sent
	memberAt  int    // its depth
}

func (x *xmlWalk) reset() {
	x.open[0] = element{path: rootPath}
	x.depth, x.hull = 0, 1
	x.soap, x.rpc, x.operation, x.member = false, false, nil, nil
}

// is reports whether the element at a depth has a local name.
func (x *xmlWalk) is(depth int, local string) bool {
	return depth > 0 && string(markup.Local(x.open[depth].name)) == local
}

// walkXML visits the elements and attributes of an XML text that hold text.
func (e *Extractor) walkXML(data []byte, whole bool, v visitor) {
	x := &e.xml
	x.reset()
	s := markup.New(data)
	for {
		switch t, raw := s.Next(); t {
		case markup.End:
			return
		case markup.Open:
			if x.depth == maxElements {
				return
			}
			e.openElement(&s, raw, v)
		case markup.Text:
			e.elementText(raw, s.Cut() && !whole, v)
		case markup.Close:
			e.closeElement(raw, v)
		}
	}
}

func (e *Extractor) openElement(s *markup.Scanner, name []byte, v visitor) {
	x := &e.xml
	parent := &x.open[x.depth]
	parent.filled = true
	x.depth++
	el := &x.open[x.depth]
	*el = element{name: name}
	el.path, el.info, el.first = e.keys.add(parent.path, name)
	x.recognise(el)
	for rest := s.Attributes(); len(rest) > 0; {
		var attribute, val []byte
		if attribute, val, rest = markup.NextAttribute(rest); len(attribute) == 0 {
			break
		}
		if bytes.HasPrefix(attribute, []byte("xmlns")) {
			continue
		}
		if el.info.class&classPassword != 0 && bytes.HasSuffix(val, []byte("#PasswordDigest")) {
			el.digest = true
		}
		_, info, first := e.keys.add(el.path, attribute)
		e.showElement(attribute, info, first, el.path, x.depth+1, val, false, v)
	}
	if s.Empty() {
		e.leaveElement(v)
	}
}

// recognise takes note of what an element means in SOAP (1.1 and 1.2) and
// XML-RPC.
func (x *xmlWalk) recognise(el *element) {
	local := string(markup.Local(el.name))
	switch {
	case x.depth == 1:
		x.soap = local == "Envelope"
		x.rpc = local == "methodCall" || local == "methodResponse"
	case x.soap && x.depth == 3 && x.is(2, "Body"):
		x.hull = 3
		if x.operation == nil {
			x.operation = markup.Local(el.name)
		}
	case x.soap && local == "Value" && x.is(3, "Fault"):
		switch { // the more particular code is the better one
		case x.is(x.depth-1, "Subcode"):
			el.info = names["errorcode"]
		case x.is(x.depth-1, "Code"):
			el.info = names["faultcode"]
		}
	}
}

// elementText takes text of the element that is open.
func (e *Extractor) elementText(raw []byte, cut bool, v visitor) {
	x := &e.xml
	if x.depth == 0 {
		return
	}
	el := &x.open[x.depth]
	el.filled = true
	switch {
	case !x.rpc:
	case x.is(x.depth, "methodName") && x.depth == 2:
		x.operation = raw
	case x.is(x.depth, "name") && x.is(x.depth-1, "member"):
		x.member, x.memberAt = raw, x.depth-1
		return
	case x.member != nil && (x.is(x.depth, "value") || x.is(x.depth-1, "value")):
		e.value = markup.AppendText(e.value[:0], x.member)
		parent := x.open[x.memberAt].path
		_, info, first := e.keys.add(parent, e.value)
		e.showElement(x.member, info, first, parent, x.memberAt, raw, cut, v)
		return
	}
	if x.soap && el.info.class&classCode != 0 && isPlain(raw, maxCode) {
		raw = markup.Local(raw) // the code of a fault is a qualified name
	}
	e.showElement(el.name, el.info, el.first, x.open[x.depth-1].path, x.depth, raw, cut || el.digest, v)
	el.first = false
}

// showElement has v visit an element or attribute whose name says what it wants.
func (e *Extractor) showElement(name []byte, info nameInfo, first bool, parent uint64, depth int, raw []byte, cut bool, v visitor) {
	if info.class&v.wanted() == 0 {
		return
	}
	m := e.topMember()
	m.name, m.info, m.first, m.parent, m.depth, m.cut = value{name, encodingNone}, info, first, parent, max(1, depth-e.xml.hull), cut
	m.value = markupValue(raw)
	v.visit(m)
}

// markupValue is the value of a text between tags or of an attribute.
func markupValue(raw []byte) value {
	if markup.IsPlain(raw) {
		return value{raw, encodingNone}
	}
	return value{raw, encodingMarkup}
}

// closeElement closes the innermost element of a name; without one nothing
// happens.
func (e *Extractor) closeElement(name []byte, v visitor) {
	x := &e.xml
	at := x.depth
	for at > 0 && !bytes.Equal(x.open[at].name, name) {
		at--
	}
	for at > 0 && x.depth >= at {
		e.leaveElement(v)
	}
}

// leaveElement leaves the innermost element. One with nothing in it is empty
// text.
func (e *Extractor) leaveElement(v visitor) {
	x := &e.xml
	el := &x.open[x.depth]
	if !el.filled {
		e.showElement(el.name, el.info, el.first, x.open[x.depth-1].path, x.depth, nil, false, v)
	}
	x.depth--
	if x.member != nil && x.depth < x.memberAt {
		x.member = nil
	}
}
