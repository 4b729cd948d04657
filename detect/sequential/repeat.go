package sequential

// generations is a bounded map that forgets by age: two maps, of which the
// older is dropped when the younger is full. What is read moves to the younger
// one. Between limit and twice limit keys are remembered.
type generations[V any] struct {
	young, old map[uint64]V
	limit      int
}

func newGenerations[V any](limit int) *generations[V] {
	return &generations[V]{young: make(map[uint64]V), limit: limit}
}

func (g *generations[V]) get(key uint64) (V, bool) {
	if v, ok := g.young[key]; ok {
		return v, true
	}
	v, ok := g.old[key]
	if ok {
		g.put(key, v)
	}
	return v, ok
}

func (g *generations[V]) put(key uint64, v V) {
	if _, ok := g.young[key]; !ok && len(g.young) >= g.limit {
		g.young, g.old = g.old, g.young
		if g.young == nil {
			g.young = make(map[uint64]V)
		}
		clear(g.young)
	}
	g.young[key] = v
}

// mix folds a number into a hash (the finaliser of SplitMix64).
func mix(h, n uint64) uint64 {
	h = (h ^ n) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
