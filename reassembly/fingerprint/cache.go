package fingerprint

import (
	"encoding/binary"
	"hash/maphash"
	"math"

	"offpath/reassembly/message"
)

// Prints are the fingerprints of a request.
type Prints struct {
	Core, Loose, Wire string
}

// Bounds of a Cache: at most cacheSlots * (maxKey + 200) octets, 2.4 MiB, its
// languages, and its shapes.
const (
	cacheSlots = 2 << 10
	cacheWays  = 2
	maxKey     = 1 << 10 // octets; what has a longer key is worked out every time

	languageSlots = 64
	maxLanguages  = 62 // octets of a value in a slot
)

// Cache remembers the fingerprints of requests by the shape of the head and the
// values that count. An entry has two slots to choose from: a free one, or, if it
// comes twice in a row, the one that was used longer ago. A flood of values seen
// once displaces nothing. What comes twice in one head, or is long, is worked out
// every time. It belongs to one worker.
type Cache struct {
	names     Names
	seed      maphash.Seed
	shapes    []shape
	sets      []cacheSet
	languages [languageSlots]languageSlot
	key       []byte // of the head at hand
	scratch   []byte // a canonical string
	worked    Prints // the last that were worked out
}

type cacheSet struct {
	last  uint64 // hash of the last head that missed
	older uint8  // the way that was used longer ago
	ways  [cacheWays]entry
}

type entry struct {
	hash   uint64
	shape  *message.Shape
	key    string
	prints Prints
}

// languageSlot is the last value of accept-language of its length and beginning.
type languageSlot struct {
	value  [maxLanguages]byte
	size   uint8
	habits habits
}

// shape is what a message.Shape says of the fields that count.
type shape struct {
	of    *message.Shape
	uses  []use
	again bool // one of them comes more than once
}

// use is a field whose value counts.
type use struct {
	index uint8
	kind  field
}

// valued are the fields whose values count.
var valued = [kinds]bool{accept: true, acceptCharset: true, acceptEncoding: true, acceptLanguage: true, userAgent: true, te: true}

// NewCache returns an empty Cache of fingerprints that are made of the names.
func NewCache(names Names) *Cache {
	return &Cache{
		names:  names,
		seed:   maphash.MakeSeed(),
		shapes: make([]shape, message.ShapeSlots),
		sets:   make([]cacheSet, cacheSlots/cacheWays),
		key:    make([]byte, 0, maxKey),
	}
}

// Get returns the fingerprints of a request, valid until the next call; ja4 as in
// Names.Wire.
func (c *Cache) Get(head *message.Head, ja4 string) *Prints {
	if head.Shape == nil || len(head.Shape.Sizes) != len(head.Fields) {
		return c.work(head, ja4)
	}
	s := &c.shapes[head.Shape.Slot]
	if s.of != head.Shape {
		c.learn(s, head)
	}
	if s.again || !c.setKey(s, head, ja4) {
		return c.work(head, ja4)
	}
	h := maphash.Bytes(c.seed, c.key)
	set := &c.sets[h%(cacheSlots/cacheWays)]
	for way := range set.ways {
		if e := &set.ways[way]; e.hash == h && e.shape == s.of && e.key == string(c.key) {
			set.older = uint8(1 - way)
			return &e.prints
		}
	}
	prints := c.work(head, ja4)
	if e := &set.ways[set.older]; e.shape == nil || set.last == h {
		*e = entry{h, s.of, string(c.key), *prints}
		set.older = 1 - set.older
	} else {
		set.last = h
	}
	return prints
}

// learn finds the fields of a head that count.
func (c *Cache) learn(s *shape, head *message.Head) {
	*s = shape{of: head.Shape, uses: s.uses[:0]}
	var seen [kinds]bool
	for i := range head.Fields {
		kind, ok := c.names.kind(head.Fields[i].Name)
		if !ok || !valued[kind] {
			continue
		}
		s.again = s.again || seen[kind]
		seen[kind] = true
		s.uses = append(s.uses, use{uint8(i), kind})
	}
}

// setKey makes the key of all that decides beside the shape; false if it is too
// long. Values and JA4 have their lengths before them. Of accept-language its habits stand
// there, so that users share entries; of the version its last octet.
func (c *Cache) setKey(s *shape, head *message.Head, ja4 string) bool {
	k := append(c.key[:0], byte(head.Shape.Slot), head.Version[len(head.Version)-1], byte(len(ja4)))
	for _, u := range s.uses {
		value := head.Fields[u.index].Value
		if u.kind == acceptLanguage {
			k = append(k, byte(c.habitsOf(value)))
			continue
		}
		if len(value) > math.MaxUint8 {
			return false
		}
		k = append(k, byte(len(value)))
		k = append(k, value...)
	}
	if head.Settings != nil || head.Window != 0 {
		k = binary.LittleEndian.AppendUint32(k, head.Window)
		for i := range head.Settings {
			if set := &head.Settings[i]; !isGrease(set.ID) {
				k = binary.LittleEndian.AppendUint16(k, set.ID)
				k = binary.LittleEndian.AppendUint32(k, set.Value)
			}
		}
	}
	if ja4 != "" {
		k = append(k, ja4...)
	}
	c.key = k
	return len(k) <= maxKey
}

// habitsOf is the function of that name, remembered for the usual values.
func (c *Cache) habitsOf(value []byte) habits {
	if len(value) == 0 || len(value) > maxLanguages {
		return habitsOf(value[:min(len(value), maxValue)])
	}
	slot := &c.languages[(len(value)+5*int(value[0]))%languageSlots]
	if int(slot.size) != len(value) || string(slot.value[:len(value)]) != string(value) {
		slot.size = uint8(copy(slot.value[:], value))
		slot.habits = habitsOf(value)
	}
	return slot.habits
}

// work works the fingerprints out.
func (c *Cache) work(head *message.Head, ja4 string) *Prints {
	l := c.names.lay(head.Fields)
	var digits [3 * size]byte
	c.scratch = l.core(c.scratch[:0])
	core := sum(c.scratch)
	c.scratch = l.loose(c.scratch[:0])
	loose := sum(c.scratch)
	c.scratch = l.wire(c.scratch[:0], head, ja4)
	wire := sum(c.scratch)
	copy(digits[:], core[:])
	copy(digits[size:], loose[:])
	copy(digits[2*size:], wire[:])
	text := string(digits[:])
	c.worked = Prints{text[:size], text[size : 2*size], text[2*size:]}
	return &c.worked
}
