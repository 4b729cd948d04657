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
	if v := g.young.find(key); v != nil {
		return *v, true
	}
	v := g.old.find(key)
	if v == nil {
		var none V
		return none, false
	}
	g.Put(key, *v)
	return *v, true
}

// Put remembers a value for a key.
func (g *Map[V]) Put(key uint64, v V) {
	if known := g.young.find(key); known != nil {
		*known = v
		return
	}
	if g.young.count >= g.limit {
		g.young, g.old = g.old, g.young
		g.young.clear()
	}
	g.young.add(key, v, g.limit)
}

// generation is a hash table with linear probing, at most two thirds full,
// seeded at random against keys chosen to collide. What it holds doesn't
// depend on the seed. The key 0 is taken for 1.
type generation[V any] struct {
	seed   uint64
	keys   []uint64 // 0: free
	values []V
	count  int
}

// firstKeys is how many keys a generation has room for at first.
const firstKeys = 64

// slot finds the slot of a key, or the free one for it.
func (g *generation[V]) slot(key uint64) int {
	home, _ := bits.Mul64(Mix(g.seed, key), uint64(len(g.keys)))
	slot := int(home)
	for g.keys[slot] != 0 && g.keys[slot] != key {
		if slot++; slot == len(g.keys) {
			slot = 0
		}
	}
	return slot
}

func (g *generation[V]) find(key uint64) *V {
	if g.count == 0 {
		return nil
	}
	if slot := g.slot(max(key, 1)); g.keys[slot] != 0 {
		return &g.values[slot]
	}
	return nil
}

// add puts a key that is not there, where at most limit will ever be.
func (g *generation[V]) add(key uint64, v V, limit int) {
	if g.count+1 > len(g.keys)/3*2 {
		g.grow(min(max(2*g.count, firstKeys), limit))
	}
	slot := g.slot(max(key, 1))
	g.keys[slot], g.values[slot] = max(key, 1), v
	g.count++
}

// grow makes room for n keys.
func (g *generation[V]) grow(n int) {
	keys, values := g.keys, g.values
	size := (n + 1) / 2 * 3
	g.keys, g.values = make([]uint64, size), make([]V, size)
	for i, key := range keys {
		if key != 0 {
			slot := g.slot(key)
			g.keys[slot], g.values[slot] = key, values[i]
		}
	}
}

func (g *generation[V]) clear() {
	clear(g.keys)
	g.count = 0
}

// Mix folds a number into a hash (the finaliser of SplitMix64).
func Mix(h, n uint64) uint64 {
	h = (h ^ n) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
