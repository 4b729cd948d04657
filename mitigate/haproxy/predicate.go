package haproxy

import (
	"crypto/sha256"
	"encoding/hex"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/predicate"
)

// predicateRow finds the row of a subject that is more than an address or a network, and
// its shape. The row's key is a hash of the subject's text: a key has at most 72 octets.
func predicateRow(s detect.Subject) (key string, of predicate.Shape, reason string) {
	text, of, reason := predicate.Of(s, addressText)
	if reason != "" {
		return "", 0, reason
	}
	sum := sha256.Sum256([]byte(text))
	return "p:" + hex.EncodeToString(sum[:]), of, ""
}

// shapes are the shapes in force at HAProxy, as its row of that name tells
// offpath.lua: which there are, and until when any is.
type shapes struct {
	set     uint64
	expires uint32
}

// with are the shapes with a further entry of shape of.
func (s shapes) with(of predicate.Shape, expires uint32) shapes {
	return s.and(shapes{1 << of, expires})
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
