package sitemap

import (
	"maps"
	"slices"
)

// Copy is the map as it is now, to be read by another goroutine. The two share the
// endpoints; the map makes one of its own of each before it changes it.
func (m *Map) Copy() *Map {
	m.copies++
	to := *m
	to.list, to.byName = slices.Clone(m.list), nil
	return &to
}

func (e *Endpoint) copy() *Endpoint {
	to := *e
	to.Aliases = slices.Clone(e.Aliases)
	to.Latency, to.Received, to.Sent = e.Latency.copy(), e.Received.copy(), e.Sent.copy()
	to.Clients = e.Clients.Copy()
	to.Statuses = slices.Clone(e.Statuses)
	to.Media, to.RequestMedia = slices.Clone(e.Media), slices.Clone(e.RequestMedia)
	to.Carriers, to.Granted, to.Roles = slices.Clone(e.Carriers), slices.Clone(e.Granted), slices.Clone(e.Roles)
	to.Sensitive = maps.Clone(e.Sensitive)
	return &to
}

func (q *Quantiles) copy() Quantiles { return Quantiles{q.from, slices.Clone(q.counts), q.n} }
