package snapshot

import (
	"cmp"
	"maps"
	"slices"
)

// Map codes a map of at most limit entries, in the order of its keys. Of nil
// and of an empty one it reads an empty one.
func Map[K cmp.Ordered, V any](c *Codec, m *map[K]V, limit int, entry func(*K, *V)) {
	MapFunc(c, m, limit, cmp.Compare[K], entry)
}

// MapFunc is the same with an order that is given.
func MapFunc[K comparable, V any](c *Codec, m *map[K]V, limit int, compare func(a, b K) int, entry func(*K, *V)) {
	n := len(*m)
	c.Count(&n, limit)
	if c.in == nil {
		for _, k := range slices.SortedFunc(maps.Keys(*m), compare) {
			v := (*m)[k]
			entry(&k, &v)
		}
		return
	}
	*m = make(map[K]V, min(n, eager))
	for range n {
		var k K
		var v V
		if entry(&k, &v); c.err != nil {
			return
		}
		if _, twice := (*m)[k]; twice {
			c.Fail("a key stands twice")
			return
		}
		(*m)[k] = v
	}
}

// Ascending codes a number that is above the one before it, given as last; the
// first is above 0.
func (c *Codec) Ascending(v *uint64, last uint64) {
	step := *v - last
	Uint(c, &step)
	if c.in == nil {
		return
	}
	if *v = last + step; *v <= last {
		c.Fail("keys are out of order")
	}
}
