package sitemap

import (
	"math"

	"offpath/detect/internal/snapshot"
)

// State writes the map to a snapshot, most of it later, from a copy; or reads it from
// one, into a map that is new. What there is no room for is forgotten.
func (m *Map) State(c *snapshot.Codec) {
	c.Section("site map")
	if c.Reading() {
		m.state(c)
		return
	}
	c.Later(m.Copy().state)
}

func (m *Map) state(c *snapshot.Codec) {
	snapshot.Int(c, &m.since, &m.until)
	snapshot.Uint(c, &m.lost, &m.forgotten)
	snapshot.List(c, &m.list, snapshot.Many, func(e **Endpoint) {
		if c.Reading() {
			*e = new(Endpoint)
		}
		(*e).state(c)
	})
	c.Count(&m.hand, snapshot.Many)
	if !c.Reading() {
		return
	}
	for i, e := range m.list {
		if _, twice := m.byName[e.Name]; twice {
			c.Fail("an endpoint stands twice")
			return
		}
		m.byName[e.Name] = i
	}
	for len(m.list) > m.limit {
		m.remove(m.victim(math.MaxInt64))
		m.forgotten++
		c.Drop(1)
	}
	m.hand %= max(len(m.list), 1)
}

func (e *Endpoint) state(c *snapshot.Codec) {
	name := e.Name
	snapshot.String(c, &name)
	if c.Reading() {
		*e = *newEndpoint(name)
	}
	snapshot.List(c, &e.Aliases, maxKept, func(s *string) { snapshot.String(c, s) })
	snapshot.Uint(c, &e.Requests, &e.Unanswered, &e.Looked, &e.Pages, &e.Data, &e.Calls)
	snapshot.Int(c, &e.First, &e.Last)
	for _, q := range []*Quantiles{&e.Latency, &e.Received, &e.Sent} {
		q.state(c)
	}
	e.Clients.State(c)
	e.Statuses.state(c, func(key *int) { snapshot.Int(c, key) })
	for _, counts := range []*Counts[string]{&e.Media, &e.RequestMedia, &e.Carriers, &e.Granted, &e.Roles} {
		counts.state(c, func(key *string) {
			if snapshot.String(c, key); len(*key) > maxText {
				c.Fail("a text of %d octets is counted", len(*key))
			}
		})
	}
	snapshot.Map(c, &e.Sensitive, snapshot.Many, func(name *string, n *uint64) {
		snapshot.String(c, name)
		snapshot.Uint(c, n)
	})
}

// state codes the histogram by its doublings.
func (q *Quantiles) state(c *snapshot.Codec) {
	const doublings = 64
	from := q.from >> subBits
	c.Count(&from, doublings)
	snapshot.List(c, &q.counts, (doublings-from)<<subBits, func(n *uint64) { snapshot.Uint(c, n) })
	if !c.Reading() {
		return
	}
	if len(q.counts)&(1<<subBits-1) != 0 {
		c.Fail("a histogram of %d buckets", len(q.counts))
		q.counts = nil
	}
	q.from = from << subBits
	for _, n := range q.counts {
		q.n += n
	}
}
