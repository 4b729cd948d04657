package fingerprint

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"offpath/reassembly/message"
)

// Setting is a parameter of an HTTP/2 SETTINGS frame (RFC 9113 section 6.5).
type Setting struct {
	ID    uint16
	Value uint32
}

// Connection is what a client's connection shows beside the header fields.
type Connection struct {
	Version  string    // HTTP version: "0.9", "1.0", "1.1", "2"
	Settings []Setting // HTTP/2: of the client's first SETTINGS frame, in its order; nil if not known
	Window   uint32    // HTTP/2: increment of its first WINDOW_UPDATE of the connection; 0 if not known
	JA4      string    // "" if not known
}

// size is the length of a fingerprint in hex digits.
const size = 16

// Sum returns the fingerprint of a canonical string.
func Sum(canonical []byte) string {
	text := sum(canonical)
	return string(text[:])
}

func sum(canonical []byte) (text [size]byte) {
	digest := sha256.Sum256(canonical)
	hex.Encode(text[:], digest[:size/2])
	return text
}

// Core returns the core fingerprint of a request's header fields, in wire order.
// Pseudo-header fields may be among them.
func (n *Names) Core(fields []message.Field) string { return Sum(n.AppendCore(nil, fields)) }

// Loose is Core without order.
func (n *Names) Loose(fields []message.Field) string { return Sum(n.AppendLoose(nil, fields)) }

// Wire returns the wire fingerprint.
func (n *Names) Wire(fields []message.Field, c *Connection) string {
	return Sum(n.AppendWire(nil, fields, c))
}

// AppendCore appends the canonical string of the core.
func (n *Names) AppendCore(b []byte, fields []message.Field) []byte {
	l := n.lay(fields)
	return l.values(l.names(append(b, "core 1\n"...)))
}

// AppendLoose appends the canonical string of the loose fingerprint.
func (n *Names) AppendLoose(b []byte, fields []message.Field) []byte {
	l := n.lay(fields)
	return l.values(l.sorted(append(b, "loose 1\n"...)))
}

// AppendWire appends the canonical string of the wire fingerprint.
func (n *Names) AppendWire(b []byte, fields []message.Field, c *Connection) []byte {
	l := n.lay(fields)
	b = l.values(l.names(append(b, "wire 1\n"...)))
	b = l.compact(append(b, '\n'), accept)
	b = l.compact(append(b, '\n'), te)
	b = append(b, '\n')
	for _, i := range l.first[:l.n] {
		b = append(b, casing(fields[i].Name))
	}
	b = append(append(b, '\n'), c.Version...)
	b = append(b, '\n')
	if c.Version == "2" {
		b = c.append(b, fields)
	}
	return append(append(b, '\n'), c.JA4...)
}

// append appends the line of HTTP/2.
func (c *Connection) append(b []byte, fields []message.Field) []byte {
	for i := range fields {
		if name := fields[i].Name; len(name) > 1 && name[0] == ':' {
			b = append(b, name[1])
		}
	}
	b = append(b, ';')
	for i, s := range c.Settings {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(s.ID), 10)
		b = strconv.AppendUint(append(b, ':'), uint64(s.Value), 10)
	}
	b = append(b, ';')
	if c.Window > 0 {
		b = strconv.AppendUint(b, uint64(c.Window), 10)
	}
	return b
}

// layout is where the fields that count stand.
type layout struct {
	fields  []message.Field
	kinds   *Names
	order   [counted]field // those of the second line, as they stand
	first   [counted]int   // the index of each
	n       int            // how many there are
	present [kinds]bool
}

func (n *Names) lay(list []message.Field) *layout {
	l := &layout{fields: list, kinds: n}
	for i := range list {
		kind, ok := n.kind(list[i].Name)
		if !ok || l.present[kind] {
			continue
		}
		l.present[kind] = true
		if kind < counted {
			l.order[l.n], l.first[l.n] = kind, i
			l.n++
		}
	}
	return l
}

// names appends the second line in wire order.
func (l *layout) names(b []byte) []byte {
	for i, kind := range l.order[:l.n] {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, fieldNames[kind]...)
	}
	return append(b, '\n')
}

// sorted appends the second line in the order of the list.
func (l *layout) sorted(b []byte) []byte {
	begin := len(b)
	for kind := range counted {
		if !l.present[kind] {
			continue
		}
		if len(b) > begin {
			b = append(b, ',')
		}
		b = append(b, fieldNames[kind]...)
	}
	return append(b, '\n')
}

// values appends the four lines of values.
func (l *layout) values(b []byte) []byte {
	b = append(l.compact(b, acceptEncoding), '\n')
	b = append(l.compact(b, acceptCharset), '\n')
	b = append(appendHabits(b, l.value(acceptLanguage)), '\n')
	return appendMasked(b, l.value(userAgent))
}

// value returns the values of a field, joined by "," if there are several.
func (l *layout) value(kind field) []byte {
	if !l.present[kind] {
		return nil
	}
	var value []byte
	found := false
	for i := range l.fields {
		if !message.EqualFold(l.fields[i].Name, fieldNames[kind]) {
			continue
		}
		if !found {
			value, found = l.fields[i].Value, true
			continue
		}
		value = append(append(value[:len(value):len(value)], ','), l.fields[i].Value...)
	}
	return value
}

// compact appends the value of a field, lowered and without SP and HTAB.
func (l *layout) compact(b []byte, kind field) []byte {
	for _, c := range l.value(kind) {
		switch {
		case c == ' ' || c == '\t':
		case 'A' <= c && c <= 'Z':
			b = append(b, c|0x20)
		default:
			b = append(b, c)
		}
	}
	return b
}
