// Package message holds an HTTP message as a parser hands it on: views into
// the parser's buffers, whatever the HTTP version. They are valid until the
// parser is fed again; whoever keeps octets copies them.
package message

// Field is one header field line: name and value as sent, the value without
// leading and trailing white space (RFC 9110 section 5.5).
type Field struct{ Name, Value []byte }

// Head is the start line and the header section of one message.
type Head struct {
	Version string // "0.9", "1.0", "1.1", "2"
	Method  []byte // requests
	Target  []byte // requests: request-target as sent
	Status  int    // responses: 100 to 999
	Fields  []Field
	Shape   *Shape // of Fields; nil if none is known
	Partial bool   // Fields are not all that there were

	// HTTP/2 requests: how the client has opened the connection.
	Settings []Setting // of its first SETTINGS frame, in its order; nil if not known
	Window   uint32    // increment of its first WINDOW_UPDATE of the connection; 0 if not known
}

// Setting is a parameter of a SETTINGS frame (RFC 9113 section 6.5).
type Setting struct {
	ID    uint16
	Value uint32
}

// Get returns the first value of the field whose lower-case name is given,
// and whether there is one.
func (h *Head) Get(lower string) ([]byte, bool) {
	for i := range h.Fields {
		if EqualFold(h.Fields[i].Name, lower) {
			return h.Fields[i].Value, true
		}
	}
	return nil, false
}

// EqualFold reports whether name equals lower, an ASCII string in lower case,
// without regard to ASCII case.
func EqualFold(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range name {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Body is what was kept of a message's body: transfer coding removed, content
// coding as sent.
type Body struct {
	Prefix []byte // the first octets, up to the parser's limit and to the first gap
	Bytes  int64  // octets on the wire, transfer coding removed, gaps included where their size is known
	Whole  bool   // Prefix is all of it
}
