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
	Marked []Mark  // the fields that Shapes.Mark picked
}

// Mark is a field that is picked for what it is.
type Mark struct {
	Index uint8
	Kind  uint8 // what Shapes.Mark says of its name
}

// Bounds of Shapes: their number, the octets of the names of one, and its
// fields. What is larger has no Shape.
const (
	ShapeSlots     = 1 << 8
	maxShapeNames  = 2 << 10
	maxShapeFields = math.MaxUint8
)

// Shapes remembers shapes. A shape has shapeWays slots to choose from: a free one,
// or, if it comes a second time, that of the one that was found the longest ago. It
// belongs to one goroutine; the Shapes that it gives out may be kept.
type Shapes struct {
	// Mark says of a name what kind of field Shape.Marked is to list it as; 0: it
	// is not to. Without Mark none are.
	Mark func(name []byte) uint8

	seed  maphash.Seed
	slots []shapeSlot
	clock uint64 // counts what was found
	names []byte // of the head at hand
}

type shapeSlot struct {
	missed uint64 // hash of a shape that was not found, and looked for here
	found  uint64 // clock when the shape was found last
	shape  *Shape
}

// shapeWays is in how many slots a shape may be.
const shapeWays = 4

// NewShapes returns an empty table.
func NewShapes(mark func(name []byte) uint8) *Shapes {
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
	first := int(h%(ShapeSlots/shapeWays)) * shapeWays
	ways := t.slots[first : first+shapeWays]
	t.clock++
	oldest := 0
	for i := range ways {
		if s := ways[i].shape; s != nil && s.is(names, fields) {
			ways[i].found = t.clock
			return s
		}
		if ways[i].found < ways[oldest].found {
			oldest = i
		}
	}
	if missed := &ways[h>>32%shapeWays].missed; ways[oldest].shape != nil && *missed != h {
		*missed = h
		return nil
	}
	ways[oldest].shape, ways[oldest].found = t.learn(first+oldest, names, fields), t.clock
	return ways[oldest].shape
}

func (t *Shapes) learn(slot int, names []byte, fields []Field) *Shape {
	s := &Shape{Slot: slot, Names: append([]byte(nil), names...), Sizes: make([]uint8, len(fields))}
	for i := range fields {
		s.Sizes[i] = uint8(len(fields[i].Name) + 1)
		if t.Mark == nil {
			continue
		}
		if kind := t.Mark(fields[i].Name); kind != 0 {
			s.Marked = append(s.Marked, Mark{uint8(i), kind})
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
