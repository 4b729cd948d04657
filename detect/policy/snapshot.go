package policy

import (
	"slices"

	"offpath/detect/internal/snapshot"
)

// State writes what was counted to a snapshot, or reads it into a new Table, of
// whatever policy: what is read for one that is none any more is thrown away.
func (t *Table) State(c *snapshot.Codec) {
	if !c.Reading() {
		kept := &Table{limit: t.limit, entities: slices.Clone(t.entities), sketches: slices.Clone(t.sketches), distinct: t.distinct, hand: t.hand}
		c.Later(kept.code)
		return
	}
	t.code(c)
	for i := range t.entities {
		k := t.entities[i].key
		if _, twice := t.index[k]; twice {
			c.Fail("an entity of a policy stands twice")
			return
		}
		t.index[k] = int32(i)
	}
	t.hand %= max(len(t.entities), 1)
}

// code codes all but the index.
func (t *Table) code(c *snapshot.Codec) {
	c.Bool(&t.distinct)
	c.Count(&t.hand, t.limit)
	snapshot.List(c, &t.entities, t.limit, func(e *entity) {
		e.key.State(c)
		snapshot.Int(c, &e.last, &e.said)
		for i := range e.counts {
			n := &e.counts[i]
			snapshot.Uint(c, &n.requests, &n.logins, &n.failures, &n.successes, &n.errors)
		}
		snapshot.Uint(c, &e.strikes)
	})
	if t.distinct {
		if c.Reading() {
			t.sketches = make([]sketches, len(t.entities))
		}
		for i := range t.sketches {
			for _, of := range [...]*[spans]sketch{&t.sketches[i].accounts, &t.sketches[i].endpoints, &t.sketches[i].clients} {
				for j := range of {
					c.Fixed64(&of[j][0], &of[j][1])
				}
			}
		}
	}
}

// State writes a key, or reads it.
func (k *Key) State(c *snapshot.Codec) {
	for i := range k {
		c.Fixed64(&k[i][0], &k[i][1])
	}
}

// MatterState writes what a policy of an operator's own is about, or reads it.
func (p *Policy) MatterState(c *snapshot.Codec) {
	snapshot.String(c, &p.Name, &p.When)
	snapshot.Int(c, &p.Window)
	snapshot.List(c, &p.Per, maxMembers, func(m *Member) { snapshot.String(c, m) })
}
