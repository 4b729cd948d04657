package generations

import (
	"cmp"
	"slices"

	"offpath/detect/internal/snapshot"
)

// State writes the map to a snapshot, or reads it from one; value codes a value.
// Where the limit has become lower, the older go, or, of equals, any.
func (g *Map[V]) State(c *snapshot.Codec, value func(*snapshot.Codec, *V)) {
	if c.Reading() {
		g.old.read(c, g.limit, g.seed, value)
		g.young.read(c, g.limit, g.seed, value)
		return
	}
	old, young := slices.Clone(g.old.slots), slices.Clone(g.young.slots)
	c.Later(func(c *snapshot.Codec) {
		write(c, old, value)
		write(c, young, value)
	})
}

func write[V any](c *snapshot.Codec, slots []slot[V], value func(*snapshot.Codec, *V)) {
	slots = slices.DeleteFunc(slots, func(s slot[V]) bool { return s.key() == 0 })
	slices.SortFunc(slots, func(a, b slot[V]) int { return cmp.Compare(a.key(), b.key()) })
	n, last := len(slots), uint64(0)
	c.Count(&n, snapshot.Many)
	for i := range slots {
		key := slots[i].key()
		c.Ascending(&key, last)
		last = key
		value(c, &slots[i].value)
	}
}

func (g *generation[V]) read(c *snapshot.Codec, limit int, seed uint64, value func(*snapshot.Codec, *V)) {
	var n int
	c.Count(&n, snapshot.Many)
	var key uint64
	for range n {
		c.Ascending(&key, key)
		var v V
		if value(c, &v); c.Err() != nil {
			return
		}
		if g.count >= limit {
			c.Drop(1)
			continue
		}
		if g.full() {
			g.grow(limit, seed)
		}
		g.add(key, Mix(seed, key), v)
	}
}
