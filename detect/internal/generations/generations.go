// Package generations holds a bounded map that forgets by age, and the hash
// that detectors fold their keys with.
//
// A Map belongs to one goroutine. What it holds depends on the sequence of
// calls alone, not on the random seed of its tables.
package generations

import (
	"math/bits"
	"math/rand/v2"
)

// Map is two tables, of which the older is emptied when the younger is full.
// What is read moves to the younger one. Between limit and twice limit keys are
// remembered. Tables are seeded at random against keys chosen to collide; what they
// hold doesn't depend on the seed. The key 0 is taken for 1.
type Map[V any] struct {
	young, old generation[V]
	seed       uint64
	limit      int
}

// New makes a Map.
func New[V any](limit int) *Map[V] { return &Map[V]{seed: rand.Uint64(), limit: limit} }

// Get finds what was put for a key.
func (g *Map[V]) Get(key uint64) (V, bool) {
	if v := g.Find(key); v != nil {
		return *v, true
	}
	var none V
	return none, false
}

// Peek is Get that leaves the key as old as it is.
func (g *Map[V]) Peek(key uint64) (v V, known bool) {
	key = max(key, 1)
	hash := Mix(g.seed, key)
	at := g.young.find(key, hash)
	if at == nil {
		at = g.old.find(key, hash)
	}
	if at == nil {
		return v, false
	}
	return *at, true
}

// Find is Get with the value in its place, to be changed there, until the next
// call; nil: unknown.
func (g *Map[V]) Find(key uint64) *V {
	key = max(key, 1)
	hash := Mix(g.seed, key)
	if v := g.young.find(key, hash); v != nil {
		return v
	}
	v := g.old.find(key, hash)
	if v == nil {
		return nil
	}
	return g.add(key, hash, *v)
}

// Touch has the processor fetch what looking a key up will read, and returns some of it.
// Of several maps one after the other, what they wait for memory overlaps; looked up in
// turn, each would wait by itself.
func (g *Map[V]) Touch(key uint64) uint32 {
	if len(g.young.tags) == 0 {
		return 0
	}
	home, _ := bits.Mul64(Mix(g.seed, max(key, 1)), uint64(len(g.young.tags)))
	return uint32(g.young.tags[home]) + g.young.slots[home].half[0]
}

// At is Find where a key that is unknown gets the zero value.
func (g *Map[V]) At(key uint64) (v *V, known bool) {
	key = max(key, 1)
	hash := Mix(g.seed, key)
	if v = g.young.find(key, hash); v != nil {
		return v, true
	}
	var value V
	if v = g.old.find(key, hash); v != nil {
		value = *v
	}
	return g.add(key, hash, value), v != nil
}

// Put remembers a value for a key.
func (g *Map[V]) Put(key uint64, v V) {
	key = max(key, 1)
	hash := Mix(g.seed, key)
	if known := g.young.find(key, hash); known != nil {
		*known = v
		return
	}
	g.add(key, hash, v)
}

// add puts a key that the younger table lacks.
func (g *Map[V]) add(key, hash uint64, v V) *V {
	if g.young.count >= g.limit {
		g.young, g.old = g.old, g.young
		g.young.clear()
	}
	if g.young.full() {
		g.young.grow(g.limit, g.seed)
	}
	return g.young.add(key, hash, v)
}

// generation is a hash table with linear probing, at most two thirds full.
type generation[V any] struct {
	slots []slot[V]
	tags  []uint8 // of the slots: eight bits of the key's hash, 0 if it is free
	count int
}

// slot is a key and its value beside it. Which slots a key is not in, their tags say
// mostly, sixty-four to a cache line: most keys that an attack brings are new.
type slot[V any] struct {
	half  [2]uint32 // of the key; as one number it would be padded; 0 if it is free
	value V
}

func (s *slot[V]) key() uint64 { return uint64(s.half[0])<<32 | uint64(s.half[1]) }

func (s *slot[V]) set(key uint64, v V) {
	s.half, s.value = [2]uint32{uint32(key >> 32), uint32(key)}, v
}

// firstKeys is how many keys a generation has room for at first.
const firstKeys = 64

// tagOf is of a hash, from other bits than its home.
func tagOf(hash uint64) uint8 { return max(uint8(hash), 1) }

// place finds the slot of a key, or the free one for it.
func (g *generation[V]) place(key, hash uint64) (at int, known bool) {
	home, _ := bits.Mul64(hash, uint64(len(g.tags)))
	tag := tagOf(hash)
	for at = int(home); ; {
		switch g.tags[at] {
		case 0:
			return at, false
		case tag:
			if g.slots[at].key() == key {
				return at, true
			}
		}
		if at++; at == len(g.tags) {
			at = 0
		}
	}
}

func (g *generation[V]) find(key, hash uint64) *V {
	if g.count == 0 {
		return nil
	}
	if at, known := g.place(key, hash); known {
		return &g.slots[at].value
	}
	return nil
}

func (g *generation[V]) full() bool { return g.count+1 > len(g.slots)/3*2 }

// add puts a key that is not there; the table is not full.
func (g *generation[V]) add(key, hash uint64, v V) *V {
	at, _ := g.place(key, hash)
	g.tags[at] = tagOf(hash)
	g.slots[at].set(key, v)
	g.count++
	return &g.slots[at].value
}

// grow makes room for twice as many keys, at most limit.
func (g *generation[V]) grow(limit int, seed uint64) {
	slots := g.slots
	n := min(max(2*g.count, firstKeys), limit)
	g.slots = make([]slot[V], (n+1)/2*3)
	g.tags = make([]uint8, len(g.slots))
	for i := range slots {
		if key := slots[i].key(); key != 0 {
			hash := Mix(seed, key)
			at, _ := g.place(key, hash)
			g.tags[at], g.slots[at] = tagOf(hash), slots[i]
		}
	}
}

func (g *generation[V]) clear() {
	clear(g.slots)
	clear(g.tags)
	g.count = 0
}

// Mix folds a number into a hash (the finaliser of SplitMix64).
func Mix(h, n uint64) uint64 {
	h = (h ^ n) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
