package fingerprint

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"offpath/reassembly/message"
)

// size is the length of a fingerprint in hex digits.
const size = 16

// maxValue is how many octets of a field's values count.
const maxValue = 512

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

// Wire returns the wire fingerprint of a request, by its header fields, its
// Version, Settings and Window, and the JA4 of the connection's ClientHello; ""
// if none is known.
func (n *Names) Wire(head *message.Head, ja4 string) string {
	return Sum(n.AppendWire(nil, head, ja4))
}

// AppendCore appends the canonical string of the core.
func (n *Names) AppendCore(b []byte, fields []message.Field) []byte {
	l := n.lay(fields)
	return l.core(b)
}

// AppendLoose appends the canonical string of the loose fingerprint.
func (n *Names) AppendLoose(b []byte, fields []message.Field) []byte {
	l := n.lay(fields)
	return l.loose(b)
}

// AppendWire appends the canonical string of the wire fingerprint.
func (n *Names) AppendWire(b []byte, head *message.Head, ja4 string) []byte {
	l := n.lay(head.Fields)
	return l.wire(b, head, ja4)
}

// layout is where the fields that count stand.
type layout struct {
	fields  []message.Field
	order   [counted]field // those of the second line, as they stand
	first   [counted]int   // the index of each
	n       int            // how many there are
	present [kinds]bool
	again   bool // one of them comes more than once
}

func (n *Names) lay(list []message.Field) layout {
	l := layout{fields: list}
	for i := range list {
		kind, ok := n.kind(list[i].Name)
		if !ok {
			continue
		}
		if l.present[kind] {
			l.again = true
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

func (l *layout) core(b []byte) []byte {
	return l.values(l.names(append(b, "core 1\n"...)))
}

func (l *layout) loose(b []byte) []byte {
	return l.values(l.sorted(append(b, "loose 1\n"...)))
}

func (l *layout) wire(b []byte, head *message.Head, ja4 string) []byte {
	b = l.values(l.names(append(b, "wire 1\n"...)))
	b = l.compact(append(b, '\n'), accept)
	b = l.compact(append(b, '\n'), te)
	b = append(b, '\n')
	for _, i := range l.first[:l.n] {
		b = append(b, casing(l.fields[i].Name))
	}
	b = append(append(b, '\n'), head.Version...)
	b = append(b, '\n')
	if head.Version == "2" {
		b = appendOpening(b, head)
	}
	return append(append(b, '\n'), ja4...)
}

// appendOpening appends the line of HTTP/2.
func appendOpening(b []byte, head *message.Head) []byte {
	for i := range head.Fields {
		if name := head.Fields[i].Name; len(name) > 1 && name[0] == ':' {
			b = append(b, name[1])
		}
	}
	b = append(b, ';')
	begin := len(b)
	for _, s := range head.Settings {
		if isGrease(s.ID) {
			continue
		}
		if len(b) > begin {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(s.ID), 10)
		b = strconv.AppendUint(append(b, ':'), uint64(s.Value), 10)
	}
	b = append(b, ';')
	if head.Window > 0 {
		b = strconv.AppendUint(b, uint64(head.Window), 10)
	}
	return b
}

// isGrease reports whether a setting means nothing, and is drawn by lot for every
// connection (draft-bishop-httpbis-grease).
func isGrease(id uint16) bool { return id&0x0f0f == 0x0a0a }

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
	b = append(habitsOf(l.value(acceptLanguage)).append(b), '\n')
	return appendMasked(b, l.value(userAgent))
}

// value returns what counts of a field's values, joined by "," if there are several.
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
		if len(value) >= maxValue {
			break
		}
		value = append(append(value[:len(value):len(value)], ','), l.fields[i].Value...)
	}
	return value[:min(len(value), maxValue)]
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
