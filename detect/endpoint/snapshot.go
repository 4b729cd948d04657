package endpoint

import (
	"offpath/detect/internal/snapshot"
)

// State writes what was learned to a snapshot, or reads it into a new Learner.
// What finds no room there is forgotten as ever.
func (l *Learner) State(c *snapshot.Codec) {
	c.Section("endpoint names")
	c.Count(&l.stats.Nodes, snapshot.Many)
	snapshot.List(c, &l.list, snapshot.Many, func(e **Endpoint) { l.endpointState(c, e) })
	for i, e := range l.list {
		e.place = i
	}
	snapshot.List(c, &l.order, snapshot.Many, func(h **host) { l.hostState(c, h) })
	for _, e := range l.list {
		if e.at == nil {
			c.Fail("an endpoint is nowhere")
			return
		}
	}
	l.ringState(c, &l.stray)
	l.ringState(c, &l.merged)
	c.Count(&l.hand, snapshot.Many)
	c.Count(&l.turn, snapshot.Many)
	l.recentState(c)
	if c.Reading() && c.Err() == nil {
		l.fit(c)
	}
}

// fit forgets what there is no room for.
func (l *Learner) fit(c *snapshot.Codec) {
	for len(l.order) > l.cfg.Hosts {
		i := l.longest()
		l.unhost(i)
		last := len(l.order) - 1
		l.order[i], l.order = l.order[last], l.order[:last]
		c.Drop(1)
	}
	for len(l.list) > l.cfg.Endpoints {
		l.makeRoom()
		c.Drop(1)
	}
	l.hand %= max(len(l.order), 1)
	l.turn %= max(len(l.list), 1)
}

// endpointState codes an endpoint and whether it is found by its key. What it
// turned out to be is a place in the list; -1: what is gone.
func (l *Learner) endpointState(c *snapshot.Codec, e **Endpoint) {
	if c.Reading() {
		*e = new(Endpoint)
	}
	(*e).state(c)
	known := l.byKey[(*e).key] == *e
	if c.Bool(&known); known {
		l.byKey[(*e).key] = *e
	}
}

func (e *Endpoint) state(c *snapshot.Codec) {
	snapshot.String(c, &e.Name, &e.key, &e.method, &e.operation)
	snapshot.List(c, &e.Aliases, maxAliases, func(alias *string) { snapshot.String(c, alias) })
	snapshot.Uint(c, &e.AliasesMore, &e.count, &e.good)
	snapshot.Int(c, &e.last)
	c.Addr(&e.client)
	c.Bool(&e.several, &e.page, &e.empty, &e.shapes.loose)
	snapshot.Uint(c, &e.pinned)
	snapshot.Uint(c, &e.shapes.n)
	if e.shapes.n > maxShapes {
		c.Fail("an endpoint has %d shapes", e.shapes.n)
		e.shapes.n = 0
	}
	for i := range e.shapes.list[:e.shapes.n] {
		s := &e.shapes.list[i]
		snapshot.String(c, &s.keys)
		c.Fixed64(&s.hash)
	}
}

func (l *Learner) hostState(c *snapshot.Codec, h **host) {
	if c.Reading() {
		*h = &host{reserved: l.cfg.Reserved}
	}
	o := *h
	snapshot.String(c, &o.name)
	snapshot.Int(c, &o.last)
	snapshot.Map(c, &o.shapes, maxSpread, func(shape *uint64, s **spread) {
		if c.Reading() {
			*s = new(spread)
		}
		c.Fixed64(shape)
		snapshot.Uint(c, &(*s).n)
		if (*s).n > envelopeSpread {
			c.Fail("a shape is in %d places", (*s).n)
			(*s).n = 0
		}
		for i := range (*s).n {
			c.Fixed64(&(*s).nouns[i], &(*s).lasts[i])
			snapshot.Uint(c, &(*s).depths[i])
		}
	})
	if c.Reading() {
		if l.hosts[o.name] != nil {
			c.Fail("a host stands twice")
			return
		}
		l.hosts[o.name] = o
		o.root.host = o
	}
	l.nodeState(c, &o.root, 0)
}

// nodeState codes a node and all below.
func (l *Learner) nodeState(c *snapshot.Codec, n *node, depth int) {
	if depth > maxDepth {
		c.Fail("a path has more than %d segments", maxDepth)
		return
	}
	snapshot.Uint(c, &n.count, &n.next, &n.forced, &n.merges, &n.looked)
	c.Bool(&n.open, &n.shaped, &n.reserved)
	snapshot.Uint(c, &n.pinned)
	l.endsState(c, n)
	valued := n.values != nil
	if c.Bool(&valued); valued {
		if c.Reading() {
			n.values = new(values)
		}
		for i := range n.values.list {
			c.Fixed64(&n.values.list[i])
		}
		c.Count(&n.values.next, len(n.values.list)-1)
	}
	has := n.param != nil
	if c.Bool(&has); has {
		if c.Reading() {
			n.param = &node{host: n.host, parent: n, segment: parameter, hash: hashOf(parameter)}
		}
		l.nodeState(c, n.param, depth+1)
	}
	if n.open && n.param == nil {
		c.Fail("a path is open to values, and has none")
		n.open = false
	}
	children := n.children
	if c.Reading() {
		n.children = nil
	}
	snapshot.List(c, &children, maxChildren, func(child **node) {
		if c.Reading() {
			*child = &node{host: n.host, parent: n}
		}
		snapshot.String(c, &(*child).segment)
		if (*child).segment == "" || c.Reading() && n.child((*child).segment) != nil {
			c.Fail("a path has a segment that it can't have")
			return
		}
		l.nodeState(c, *child, depth+1)
		if c.Reading() {
			(*child).hash = hashOf((*child).segment)
			n.add(*child)
		}
	})
}

// endsState codes which endpoints end at a node.
func (l *Learner) endsState(c *snapshot.Codec, n *node) {
	snapshot.List(c, &n.ends, maxEnds, func(e **Endpoint) {
		place := -1
		if !c.Reading() {
			place = (*e).place
		}
		c.Index(&place, len(l.list))
		if !c.Reading() {
			return
		}
		if place < 0 || l.list[place].at != nil {
			c.Fail("a path ends at what is none of its endpoints")
			*e = new(Endpoint)
			return
		}
		*e = l.list[place]
		(*e).at = n
	})
}

// ringState codes the endpoints that are known by their keys only.
func (l *Learner) ringState(c *snapshot.Codec, r *ring) {
	snapshot.List(c, &r.list, r.limit, func(e **Endpoint) {
		l.endpointState(c, e)
		turned := (*e).into != nil
		if c.Bool(&turned); !turned {
			return
		}
		place := -1
		if !c.Reading() {
			if into := (*e).target(); into.at != nil {
				place = into.place
			}
		}
		if c.Index(&place, len(l.list)); !c.Reading() {
			return
		}
		if (*e).into = new(Endpoint); place >= 0 {
			(*e).into = l.list[place]
		}
	})
	c.Count(&r.next, r.limit-1)
	if r.next != 0 && len(r.list) < r.limit {
		c.Fail("a ring that is not full goes round")
	}
}

// recentState codes which paths were seen lately, by their sums: who is not looked
// for is not noted among the last values of a path either.
func (l *Learner) recentState(c *snapshot.Codec) {
	type entry struct {
		slot, place int
		sum         uint64
	}
	var held []entry
	for i := range l.recent.slots {
		s := &l.recent.slots[i]
		if s.epoch != l.recent.epoch || s.found.at == nil {
			continue
		}
		e := entry{i, s.found.place, s.sum}
		if e.sum == 0 {
			e.sum = sumOf(s.key)
		}
		held = append(held, e)
	}
	snapshot.List(c, &held, maxRecent, func(e *entry) {
		c.Index(&e.slot, maxRecent)
		c.Fixed64(&e.sum)
		if c.Index(&e.place, len(l.list)); !c.Reading() {
			return
		}
		if e.place < 0 || e.slot < 0 {
			c.Fail("a path leads nowhere")
			return
		}
		l.recent.slots[e.slot] = slot{sum: max(e.sum, 1), found: l.list[e.place], epoch: l.recent.epoch}
	})
}
