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
// remembered.
type Map[V any] struct {
	young, old generation[V]
	limit      int
}

// New makes a Map.
func New[V any](limit int) *Map[V] {
	seed := rand.Uint64()
	return &Map[V]{young: generation[V]{seed: seed}, old: generation[V]{seed: seed}, limit: limit}
}

// Get finds what was put for a key.
func (g *Map[V]) Get(key uint64) (V, bool) {
	if v := g.Find(key); v != nil {
		return *v, true
	}
	var none V
	return none, false
}

// Find is Get with the value in its place, to be changed there, until the next
// call; nil: unknown.
func (g *Map[V]) Find(key uint64) *V {
	if v := g.young.find(key); v != nil {
		return v
	}
	v := g.old.find(key)
	if v == nil {
		return nil
	}
	return g.add(key, *v)
}

// Put remembers a value for a key.
func (g *Map[V]) Put(key uint64, v V) {
	if known := g.young.find(key); known != nil {
		*known = v
		return
	}
	g.add(key, v)
}

// add puts a key that the younger table lacks.
func (g *Map[V]) add(key uint64, v V) *V {
	if g.young.count >= g.limit {
		g.young, g.old = g.old, g.young
		g.young.clear()
	}
	return g.young.add(key, v, g.limit)
}

// generation is a hash table with linear probing, at most two thirds full,
// seeded at random against keys chosen to collide. What it holds doesn't
// depend on the seed. The key 0 is taken for 1.
type generation[V any] struct {
	seed  uint64
	slots []slot[V]
	count int
}

// slot is a key, 0 if it is free, and its value beside it: a look seldom costs
// more than one cache line.
type slot[V any] struct {
	half  [2]uint32 // of the key; as one number it would be padded
	value V
}

func (s *slot[V]) key() uint64 { return uint64(s.half[0])<<32 | uint64(s.half[1]) }

func (s *slot[V]) set(key uint64, v V) {
	s.half, s.value = [2]uint32{uint32(key >> 32), uint32(key)}, v
}

// firstKeys is how many keys a generation has room for at first.
const firstKeys = 64

// slot finds the slot of a key, or the free one for it.
func (g *generation[V]) slot(key uint64) *slot[V] {
	home, _ := bits.Mul64(Mix(g.seed, key), uint64(len(g.slots)))
	for i := int(home); ; {
		s := &g.slots[i]
		if k := s.key(); k == 0 || k == key {
			return s
		}
		if i++; i == len(g.slots) {
			i = 0
		}
	}
}

func (g *generation[V]) find(key uint64) *V {
	if g.count == 0 {
		return nil
	}
	if s := g.slot(max(key, 1)); s.key() != 0 {
		return &s.value
	}
	return nil
}

// add puts a key that is not there, where at most limit will ever be.
func (g *generation[V]) add(key uint64, v V, limit int) *V {
	if g.count+1 > len(g.slots)/3*2 {
		g.grow(min(max(2*g.count, firstKeys), limit))
	}
	s := g.slot(max(key, 1))
	s.set(max(key, 1), v)
	g.count++
	return &s.value
}

// grow makes room for n keys.
func (g *generation[V]) grow(n int) {
	slots := g.slots
	g.slots = make([]slot[V], (n+1)/2*3)
	for i := range slots {
		if key := slots[i].key(); key != 0 {
			*g.slot(key) = slots[i]
		}
	}
}

func (g *generation[V]) clear() {
	clear(g.slots)
	g.count = 0
}

// Mix folds a number into a hash (the finaliser of SplitMix64).
func Mix(h, n uint64) uint64 {
	h = (h ^ n) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
