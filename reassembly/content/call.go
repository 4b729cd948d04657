package content

import (
	"bytes"
)

// Bounds of what counts as the name of an operation.
const (
	maxCalls     = 8   // of a batch; further ones are left out
	maxCallName  = 64  // octets of a name
	maxOperation = 128 // octets of the operation; names that don't fit are left out
)

// Ranks of classCall: what a member of that class is.
const (
	callDocument  uint8 = iota // GraphQL: query
	callOperation              // GraphQL: operationName
	callHash                   // GraphQL: extensions.persistedQuery.sha256Hash
	callMethod                 // JSON-RPC: method
	callVersion                // JSON-RPC: jsonrpc
)

// callNames in the order of the ranks.
var callNames = []string{"query", "operationname", "sha256hash", "method", "jsonrpc"}

// call is what a request says of the operation that it calls, as views.
type call struct {
	named     [callMethod + 1][maxCalls]value // by rank
	count     [callMethod + 1]int
	versioned bool // there was a jsonrpc
}

// take takes a member of classCall.
func (c *call) take(m *member) {
	rank := m.info.rank
	switch top := m.parent == rootPath; {
	case m.cut, top == (rank == callHash): // the hash stands deeper
		return
	case rank == callVersion:
		c.versioned = true
	case c.count[rank] < maxCalls:
		c.named[rank][c.count[rank]] = m.value
		c.count[rank]++
	}
}

func (c *call) reset() { c.count, c.versioned = [callMethod + 1]int{}, false }

// any reports whether the request may say what it calls.
func (c *call) any() bool { return c.count != [callMethod + 1]int{} }

func (c *call) of(rank uint8) []value { return c.named[rank][:c.count[rank]] }

// readCall reads the operation from the members of a query or of a JSON body: in
// this order the operationName of GraphQL, the name in its documents, the hash of
// a persisted one, the method of JSON-RPC. Those of a batch stand in order, each
// once, with commas between. Arguments within documents are shown to credentials.
func (e *Extractor) readCall(from *credentials, data []byte) {
	c := from.call
	for _, document := range c.of(callDocument) {
		name := e.walkDocument(document, from)
		if c.count[callOperation] == 0 {
			e.addOperation(name)
		}
	}
	for _, name := range c.of(callOperation) {
		e.value = name.append(e.value[:0])
		e.addOperation(e.value)
	}
	if len(e.operation) == 0 && c.count[callDocument] == 0 {
		for _, hash := range c.of(callHash) {
			if name := hash.octets; len(name) == 64 && isHex(name) {
				e.appendOperation(name[:16])
			}
		}
	}
	if len(e.operation) == 0 && (c.versioned || c.count[callMethod] > 0 && bytes.Contains(data, []byte(`"params"`))) {
		for _, method := range c.of(callMethod) {
			e.value = method.append(e.value[:0])
			e.addOperation(e.value)
		}
	}
}

// addOperation adds a name to the operation, if it may be one.
func (e *Extractor) addOperation(name []byte) {
	if isOperation(name) {
		e.appendOperation(name)
	}
}

// appendOperation adds a name to the operation, unless it is there or doesn't
// fit.
func (e *Extractor) appendOperation(name []byte) {
	if len(e.operation)+1+len(name) > maxOperation {
		return
	}
	for rest := e.operation; len(rest) > 0; {
		var other []byte
		if other, rest, _ = bytes.Cut(rest, []byte{','}); bytes.Equal(other, name) {
			return
		}
	}
	if len(e.operation) > 0 {
		e.operation = append(e.operation, ',')
	}
	e.operation = append(e.operation, name...)
}

// isOperation reports whether a name may be an operation's: a word of a
// restricted alphabet with few digits, so nothing that names somebody.
func isOperation(name []byte) bool {
	for len(name) > 0 {
		part, rest, more := bytes.Cut(name, []byte{'/'})
		if !isPlain(part, maxCallName) {
			return false
		}
		if name = rest; !more {
			return true
		}
	}
	return false
}

func isHex(b []byte) bool {
	for _, c := range b {
		if !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// readXMLCall reads the operation of a SOAP or XML-RPC request: the last part of
// the action, in the SOAPAction field (SOAP 1.1 section 6.1.1) or the parameter
// of the media type (SOAP 1.2 part 2 section 6.5), or else the first element in
// the body; the methodName.
func (e *Extractor) readXMLCall(f *fields) {
	x := &e.xml
	if x.soap {
		action, _ := f.head.Get("soapaction")
		if action = unquote(action); len(action) == 0 {
			action = unquote(parameter(f.first(roleContentType), "action"))
		}
		if action = action[bytes.LastIndexAny(action, "/#:?")+1:]; isOperation(action) {
			e.appendOperation(action)
			return
		}
	}
	e.addOperation(x.operation)
}
