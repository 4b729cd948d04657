package message

import (
	"hash/maphash"
	"math"
)

// Shape is what heads have in common that name the same fields, spelled and
// ordered alike, whatever the values. A program sends few shapes, so a parser
// that knows the last one knows where to look in the next head, and what was
// worked out for a shape need not be worked out again. A Shape never changes.
type Shape struct {
	Slot   int     // its place in the Shapes, below ShapeSlots
	Names  []byte  // every name as sent, each with a colon behind it
	Sizes  []uint8 // octets of each in Names, the colon among them
	Marked []uint8 // indices of the fields that Shapes.Mark picked
}

// Bounds of Shapes: their number, the octets of the names of one, and its
// fields. What is larger has no Shape.
const (
	ShapeSlots     = 1 << 8
	maxShapeNames  = 2 << 10
	maxShapeFields = math.MaxUint8
)

// Shapes remembers shapes that were seen more than once. It is direct mapped: a
// shape that comes twice in a row in its slot takes the slot over. It belongs to
// one goroutine; the Shapes that it gives out may be kept.
type Shapes struct {
	// Mark picks the fields that Shape.Marked lists; nil picks none.
	Mark func(name []byte) bool

	seed  maphash.Seed
	slots []shapeSlot
	names []byte // of the head at hand
}

type shapeSlot struct {
	last  uint64 // hash of the last shape that missed
	shape *Shape
}

// NewShapes returns an empty table.
func NewShapes(mark func(name []byte) bool) *Shapes {
	return &Shapes{Mark: mark, seed: maphash.MakeSeed(), slots: make([]shapeSlot, ShapeSlots)}
}

// At returns the shape in a slot; nil if there is none.
func (t *Shapes) At(slot int) *Shape { return t.slots[slot].shape }

// Find returns the shape of a head's fields; nil if it is not remembered.
func (t *Shapes) Find(fields []Field) *Shape {
	if len(fields) > maxShapeFields {
		return nil
	}
	names := t.names[:0]
	for i := range fields {
		name := fields[i].Name
		if len(name) >= math.MaxUint8 || len(names) > maxShapeNames {
			return nil
		}
		names = append(append(names, name...), ':')
	}
	t.names = names
	h := maphash.Bytes(t.seed, names)
	i := int(h % ShapeSlots)
	slot := &t.slots[i]
	switch {
	case slot.shape != nil && slot.shape.is(names, fields):
		return slot.shape
	case slot.last == h:
		slot.shape = t.learn(i, names, fields)
		return slot.shape
	}
	slot.last = h
	return nil
}

func (t *Shapes) learn(slot int, names []byte, fields []Field) *Shape {
	s := &Shape{Slot: slot, Names: append([]byte(nil), names...), Sizes: make([]uint8, len(fields))}
	for i := range fields {
		s.Sizes[i] = uint8(len(fields[i].Name) + 1)
		if t.Mark != nil && t.Mark(fields[i].Name) {
			s.Marked = append(s.Marked, uint8(i))
		}
	}
	return s
}

// is reports whether fields with these names have the shape: a name may hold a
// colon (HTTP/2's pseudo-header fields), so the sizes count too.
func (s *Shape) is(names []byte, fields []Field) bool {
	if string(s.Names) != string(names) || len(s.Sizes) != len(fields) {
		return false
	}
	for i := range fields {
		if int(s.Sizes[i]) != len(fields[i].Name)+1 {
			return false
		}
	}
	return true
}
