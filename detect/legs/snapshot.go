package legs

import (
	"offpath/detect/internal/snapshot"
)

// State writes the requests that wait to a snapshot, or reads them into a new
// Matcher.
func (m *Matcher) State(c *snapshot.Codec) {
	c.Section("legs")
	snapshot.Uint(c, &m.next)
	snapshot.Int(c, &m.forwarded)
	c.Bool(&m.any)
	if !c.Reading() {
		ring := append([]waiting(nil), m.ring...)
		c.Later(func(c *snapshot.Codec) { stateOf(c, &ring) })
		return
	}
	stateOf(c, &m.ring)
	if uint64(len(m.ring)) != min(m.next, Capacity) {
		c.Fail("%d of %d requests wait", len(m.ring), m.next)
		return
	}
	for serial := m.next - uint64(len(m.ring)); serial < m.next; serial++ {
		m.link(serial)
	}
}

func stateOf(c *snapshot.Codec, ring *[]waiting) {
	snapshot.List(c, ring, Capacity, func(w *waiting) {
		c.Fixed64(&w.key)
		snapshot.Int(c, &w.start, &w.end)
		c.Addr(&w.source)
		c.Bool(&w.forwarded, &w.matched)
		a := &w.annotation
		snapshot.String(c, &a.EventOutcome, &a.Outcome, &a.Endpoint, &a.Role)
	})
}
