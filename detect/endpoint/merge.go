package endpoint

import "slices"

// merge makes the members of l.kids values of the node's parameter, but for
// those that stand out by their frequency, and unless one client alone has made
// them. It reports whether there are any.
func (l *Learner) merge(n *node, force bool) bool {
	members := l.members()
	total := uint64(0)
	for _, c := range members {
		total += c.count
	}
	if total < 2 || !severalClients(members) {
		return false
	}
	members = common(members, total)
	if !n.open && slices.ContainsFunc(members, func(c *node) bool { return !strange(c.segment) }) {
		n.open = true
		l.stats.Templates++
		if force {
			l.stats.Collapsed++
		}
	}
	l.join(n, members)
	return true
}

// join makes children values of the node's parameter.
func (l *Learner) join(n *node, members []*node) {
	if n.param == nil {
		n.param = l.node(n, parameter)
	}
	n.merges++
	for _, c := range members {
		n.took(c.segment)
		n.remove(c)
		l.graft(n.param, c)
	}
	l.recent.clear()
	n.next = 0
}

// members are the children taken for values.
func (l *Learner) members() []*node {
	var list []*node
	for i := range l.kids {
		if k := &l.kids[i]; k.member && !k.param {
			list = append(list, k.node)
		}
	}
	return list
}

// common are children without those far more frequent than the others.
func common(list []*node, total uint64) []*node {
	if len(list) < minSingles {
		return list
	}
	counts := make([]uint64, len(list))
	for i, c := range list {
		counts[i] = c.count
	}
	slices.Sort(counts)
	median, excepted := counts[len(counts)/2], 0
	return slices.DeleteFunc(list, func(c *node) bool {
		out := c.count >= exceptTimes*median && c.count*exceptShare >= total && excepted < maxExcepted
		if out {
			excepted++
		}
		return out
	})
}

// severalClients reports whether more than one client was answered below nodes.
func severalClients(list []*node) bool {
	var first *Endpoint
	var visit func(n *node) bool
	visit = func(n *node) bool {
		for _, e := range n.ends {
			if e.several || first != nil && e.client != first.client {
				return true
			}
			if e.client.IsValid() {
				first = e
			}
		}
		return n.param != nil && visit(n.param) || slices.ContainsFunc(n.children, visit)
	}
	return slices.ContainsFunc(list, visit)
}

// graft makes all that is below src part of dst, which stands for it.
func (l *Learner) graft(dst, src *node) {
	l.stats.Nodes--
	dst.count += src.count
	dst.next = 0
	dst.open = dst.open || src.open
	dst.pinned = max(dst.pinned, src.pinned)
	if src.values != nil && dst.values == nil {
		dst.values = src.values
	}
	for len(src.ends) > 0 {
		l.become(src.ends[0], dst)
	}
	for _, c := range src.children {
		to := dst.child(c.segment)
		if to == nil {
			to = l.node(dst, c.segment)
			to.reserved = c.reserved
			dst.add(to)
		}
		l.graft(to, c)
	}
	if src.param != nil {
		if dst.param == nil {
			dst.param = l.node(dst, parameter)
		}
		l.graft(dst.param, src.param)
	}
}

// become makes an endpoint one that ends at a node, under another name.
func (l *Learner) become(e *Endpoint, n *node) {
	l.remove(e)
	to := l.endpoint(n, e.method, e.operation)
	to.count += e.count
	to.good += e.good
	to.last = max(to.last, e.last)
	to.several = to.several || e.several || to.client.IsValid() && to.client != e.client
	if !to.client.IsValid() {
		to.client = e.client
	}
	to.page, to.empty = to.page || e.page, to.empty || e.empty
	to.pinned = max(to.pinned, e.pinned)
	to.shapes.loose = to.shapes.loose || e.shapes.loose
	for _, s := range e.shapes.list[:e.shapes.n] {
		to.shapes.add(s.keys, s.hash)
	}
	for _, alias := range append([]string{e.Name}, e.Aliases...) {
		if len(to.Aliases) < maxAliases {
			to.Aliases = append(to.Aliases, alias)
		} else {
			to.AliasesMore++
		}
	}
	to.AliasesMore += e.AliasesMore
	e.into = to
	l.keep(&l.merged, e)
	l.stats.Merged++
	l.cfg.Merged(e, to)
}
