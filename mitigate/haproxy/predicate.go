package haproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/predicate"
)

// shape is a kind of row that HAProxy can find in Lua alone, as a bit of the row "shapes".
type shape uint64

// sessionShape is of rows about sessions; a [predicate.Shape] has the bit of its number,
// which is none of 0.
const sessionShape shape = 1 << 0

// predicateRow finds the row of a subject that is more than an address or a network, and
// its shape. The row's key is a hash of the subject's text: a key has at most 72 octets.
func predicateRow(s detect.Subject) (key string, of shape, reason string) {
	text, members, reason := predicate.Of(s, addressText)
	if reason != "" {
		return "", 0, reason
	}
	sum := sha256.Sum256([]byte(text))
	return "p:" + hex.EncodeToString(sum[:]), 1 << members, ""
}

// sessionRow finds the row of a session, which is known by the keyed hash of its token.
func sessionRow(s detect.Subject) (key, reason string) {
	switch {
	case s != detect.Subject{Session: s.Session}:
		return "", "it matches a session alone"
	case len(s.Session) != 16 || strings.Trim(s.Session, "0123456789abcdef") != "":
		return "", fmt.Sprintf("%q is no session's hash of 16 hex digits in lower case", s.Session)
	}
	return "s:" + s.Session, ""
}

// shapes are the shapes in force at HAProxy, as its row of that name tells
// offpath.lua: which there are, and until when any is.
type shapes struct {
	set     shape
	expires uint32
}

// with are the shapes with a further entry of shape of.
func (s shapes) with(of shape, expires uint32) shapes {
	return s.and(shapes{of, expires})
}

// and are both together.
func (s shapes) and(other shapes) shapes {
	return shapes{s.set | other.set, max(s.expires, other.expires)}
}

// row is how they lie in the verdict table: the first 32 in the action, the others
// in the limit. It has an id so that it is swept when the last has expired; without
// shapes it is to go.
func (s shapes) row() row {
	if s.set == 0 {
		return row{key: shapesKey}
	}
	return row{shapesKey, record{code: uint32(s.set), limit: uint32(s.set >> 32), expires: s.expires, id: shapesID}}
}

// shapesID is no verdict's: ids are drawn, and one that has two halves of 1 is not
// worth a thought.
const shapesID mitigate.ID = 1<<32 | 1
