package content

import (
	"encoding/binary"
	"math/bits"
)

// nameSlots is the size of a nameTable, a power of two.
const nameSlots = 1 << 10

// shortName is how many octets of a name its ends hold.
const shortName = 16

// nameTable remembers what names say, so that a name that comes again is
// neither hashed nor classified. It is direct mapped. A name longer than
// shortName costs memory only when it is seen a second time in a row in its
// slot.
type nameTable struct{ slots []nameSlot }

type nameSlot struct {
	ends ends
	long string // the name, if it is longer than shortName and was seen twice
	said said
}

// said is what a name says.
type said struct {
	info nameInfo
	hash uint64 // of the name, as it enters key paths
}

// ends are length, first and last octets of a name: all of one that is not
// longer than shortName.
type ends struct {
	first, last uint64
	size        int
}

func endsOf(b []byte) ends {
	n := len(b)
	switch {
	case n >= 8:
		return ends{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:]), n}
	case n >= 4:
		return ends{uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[n-4:])), n}
	case n > 0:
		return ends{uint64(b[0])<<16 | uint64(b[n/2])<<8 | uint64(b[n-1]), 0, n}
	}
	return ends{first: 1} // not the zero value: that is an empty slot
}

// hash spreads ends over 64 bits. Whoever makes two names that share one gains
// a slot that is never hit.
func (e ends) hash() uint64 {
	high, low := bits.Mul64(e.first^0x9e3779b97f4a7c15, e.last^uint64(e.size)^0xe7037ed1a0b428db)
	return high ^ low
}

// look returns what a name, already percent-decoded or unescaped, says; ends are
// its ends.
func (t *nameTable) look(name []byte, ends ends) said {
	slot := &t.slots[ends.hash()%nameSlots]
	again := slot.ends == ends
	if again && (len(name) <= shortName || slot.long == string(name)) {
		return slot.said
	}
	s := said{info: classify(name)}
	if !isData(name) {
		s.hash = fnv64(name)
	}
	slot.ends, slot.said, slot.long = ends, s, ""
	if again && len(name) <= maxName {
		slot.long = string(name)
	}
	return s
}
