package sequential

import (
	"slices"

	"offpath/detect/internal/snapshot"
)

// State writes what the detector knows to a snapshot, or reads it into a new
// one. The strata are their owner's to keep.
func (d *Detector) State(c *snapshot.Codec) {
	c.Section("sequential tests")
	d.dossiers.state(c)
	d.entities.state(c)
	snapshot.MapFunc(c, &d.pardoned, snapshot.Many, compareKeys, func(k *key, at *uint32) {
		k.state(c)
		snapshot.Uint(c, at)
	})
	d.counted.State(c, func(c *snapshot.Codec, at *uint32) { snapshot.Uint(c, at) })
	d.tries.State(c, func(c *snapshot.Codec, n *uint16) { snapshot.Uint(c, n) })
	d.site.state(c)
	c.Float64(&d.good)
	snapshot.Uint(c, &d.goodAt)
}

func (k *key) state(c *snapshot.Codec) {
	c.Octets(k.address[:])
	c.Bool(&k.network)
}

func compareKeys(a, b key) int {
	if n := slices.Compare(a.address[:], b.address[:]); n != 0 {
		return n
	}
	switch {
	case a.network == b.network:
		return 0
	case b.network:
		return -1
	}
	return 1
}

// state codes the entities by their places, from which the hand of the clock
// goes on. If there is less room than there was, they make room for each other.
func (t *table) state(c *snapshot.Codec) {
	c.Count(&t.hand, snapshot.Many)
	if !c.Reading() {
		chunks, rest := make([][]entity, len(t.chunks)), t.count
		for i := range t.chunks {
			chunks[i] = slices.Clone(t.chunks[i][:min(rest, chunkSize)])
			rest -= len(chunks[i])
		}
		c.Later(func(c *snapshot.Codec) {
			n := 0
			for _, chunk := range chunks {
				n += len(chunk)
			}
			c.Count(&n, placeMask)
			for _, chunk := range chunks {
				for i := range chunk {
					chunk[i].state(c)
				}
			}
		})
		return
	}
	t.hand %= t.limit
	before := t.evictions
	var n int
	c.Count(&n, placeMask)
	for range n {
		var e entity
		e.state(c)
		if c.Err() == nil && t.find(e.key()) != nil {
			c.Fail("an entity stands twice")
		}
		if c.Err() != nil {
			return
		}
		*t.get(e.key(), e.last, nil) = e
	}
	c.Drop(int(t.evictions - before))
}

func (e *entity) state(c *snapshot.Codec) {
	c.Octets(e.address[:])
	c.Bool(&e.network, &e.pinned, &e.noted)
	snapshot.Uint(c, &e.strikes)
	c.Float32(&e.score, &e.good, &e.bad, &e.accounts)
	snapshot.Uint(c, &e.last, &e.struck, &e.own[0], &e.own[1])
}

// state codes the dossiers by their places, and which are free: the next to
// be opened takes the last of these.
func (s *dossiers) state(c *snapshot.Codec) {
	c.Count(&s.hand, s.limit)
	snapshot.List(c, &s.list, s.limit, func(d *dossier) { d.state(c) })
	snapshot.List(c, &s.free, s.limit, func(i *int32) {
		at := int(*i)
		c.Count(&at, s.limit)
		*i = int32(at)
	})
	if !c.Reading() {
		return
	}
	free := make(map[int32]bool, len(s.free))
	for _, i := range s.free {
		if int(i) >= len(s.list) || free[i] {
			c.Fail("a free dossier is none")
			return
		}
		free[i] = true
	}
	for i := range s.list {
		if owner := s.list[i].owner; !free[int32(i)] {
			if s.find(owner) != nil {
				c.Fail("an entity has two dossiers")
				return
			}
			s.byOwner[owner] = int32(i)
		}
	}
	s.hand %= max(len(s.list), 1)
}

func (d *dossier) state(c *snapshot.Codec) {
	d.owner.state(c)
	c.Count(&d.attempts, snapshot.Many)
	c.Count(&d.failures, snapshot.Many)
	c.Count(&d.successes, snapshot.Many)
	c.Float64(&d.failed, &d.succeeded, &d.baseline)
	snapshot.Int(c, &d.first, &d.last)
	c.Count(&d.next, snapshot.Many)
	for i := range min(d.next, maxEvents) {
		snapshot.String(c, &d.events[i])
		snapshot.Int(c, &d.times[i])
	}
}

func (r *rate) state(c *snapshot.Codec) { c.Float64(&r.failures, &r.outcomes) }

// State writes a stratum to a snapshot, or reads it from one.
func (s *Stratum) State(c *snapshot.Codec) {
	s.learned.state(c)
	c.Float64(&s.reference)
	snapshot.Uint(c, &s.anchored)
	c.Bool(&s.accepted)
	for i := range s.failing {
		c.Addr(&s.failing[i])
	}
	for i := range s.guard.vouched {
		snapshot.Uint(c, &s.guard.vouched[i].at)
		c.Bool(&s.guard.vouched[i].failed)
	}
	snapshot.Uint(c, &s.guard.next)
	if n := uint8(len(s.guard.vouched)); s.guard.next >= n {
		c.Fail("a guard's %dth of %d", s.guard.next, n)
		s.guard.next = 0
	}
}
