package endpoint

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// ring is a bounded list of endpoints that are known by their keys only; the
// oldest makes room.
type ring struct {
	limit int
	list  []*Endpoint
	next  int
}

// keep remembers an endpoint's key in a ring.
func (l *Learner) keep(r *ring, e *Endpoint) {
	l.byKey[e.key] = e
	if len(r.list) < r.limit {
		r.list = append(r.list, e)
		return
	}
	if old := r.list[r.next]; l.byKey[old.key] == old {
		delete(l.byKey, old.key)
		l.stats.Dropped++
	}
	r.list[r.next] = e
	r.next = (r.next + 1) % r.limit
}

// recent spares the walk for paths with values that were seen lately. It never
// changes what is found. Its hash has no seed: what is spared depends on the
// requests alone.
type recent struct {
	slots []slot
	epoch uint32
}

type slot struct {
	key   []byte
	sum   uint64 // of the key, where that is not known since it was in a snapshot; else 0
	found *Endpoint
	epoch uint32
}

const maxRecent = 1 << 12

func newRecent() recent {
	return recent{slots: make([]slot, maxRecent), epoch: 1}
}

func (r *recent) get(key []byte) *Endpoint {
	s := r.slot(key)
	switch {
	case s.epoch != r.epoch:
	case s.sum == 0 && string(s.key) == string(key):
		return s.found
	case s.sum != 0 && s.sum == sumOf(key):
		s.key, s.sum = append(s.key[:0], key...), 0
		return s.found
	}
	return nil
}

// sumOf stands for a key in a snapshot: paths hold customers' names.
func sumOf(key []byte) uint64 {
	sum := sha256.Sum256(key)
	return max(binary.LittleEndian.Uint64(sum[:]), 1)
}

func (r *recent) put(key []byte, e *Endpoint) {
	s := r.slot(key)
	s.key, s.sum, s.found, s.epoch = append(s.key[:0], key...), 0, e, r.epoch
}

func (r *recent) slot(key []byte) *slot { return &r.slots[xxhash.Sum64(key)%maxRecent] }

// clear is called whenever a path may lead elsewhere.
func (r *recent) clear() { r.epoch++ }

// host finds or makes a host. Of the next few in turn, the one whose paths are
// known longest, and that has no login, makes room.
func (l *Learner) host(name string, now int64) *host {
	if h := l.hosts[name]; h != nil {
		h.last = now
		return h
	}
	h := &host{name: name, shapes: make(map[uint64]*spread), last: now, reserved: l.cfg.Reserved}
	h.root.host, h.root.next = h, never
	l.hosts[name] = h
	l.stats.Nodes++
	if len(l.order) < l.cfg.Hosts {
		l.order = append(l.order, h)
		return h
	}
	least := l.longest()
	l.unhost(least)
	l.order[least] = h
	return h
}

// longest is the place of the host that makes room.
func (l *Learner) longest() int {
	least := -1
	for range looks {
		l.hand = (l.hand + 1) % len(l.order)
		if o := l.order[l.hand]; least < 0 || o.less(l.order[least]) {
			least = l.hand
		}
	}
	return least
}

// unhost forgets a host and all its paths.
func (l *Learner) unhost(place int) {
	old := l.order[place]
	l.prune(&old.root)
	delete(l.hosts, old.name)
	l.stats.Nodes--
	l.stats.Unhosted++
}

// looks is how many hosts, or endpoints, are compared when one must go.
const looks = 8

func (h *host) less(o *host) bool {
	if h.root.pinned != o.root.pinned {
		return h.root.pinned < o.root.pinned
	}
	if a, b := h.root.count >= proven, o.root.count >= proven; a != b {
		return b
	}
	return h.last < o.last
}

// makeRoom makes room for an endpoint.
func (l *Learner) makeRoom() {
	if len(l.list) < l.cfg.Endpoints {
		return
	}
	var least *Endpoint
	for range looks {
		l.turn = (l.turn + 1) % len(l.list)
		if e := l.list[l.turn]; least == nil || e.less(least) {
			least = e
		}
	}
	l.forget(least)
	l.trim(least.was)
}

func (e *Endpoint) less(o *Endpoint) bool {
	if e.pinned != o.pinned {
		return e.pinned < o.pinned
	}
	if a, b := e.count >= proven, o.count >= proven; a != b {
		return b
	}
	return e.last < o.last
}

// forget takes an endpoint out of the trie and the list.
func (l *Learner) forget(e *Endpoint) {
	l.remove(e)
	if l.byKey[e.key] == e {
		delete(l.byKey, e.key)
	}
	l.stats.Forgotten++
}

// remove takes an endpoint out of the trie and the list, not its key.
func (l *Learner) remove(e *Endpoint) {
	for i, o := range e.at.ends {
		if o == e {
			e.at.ends = append(e.at.ends[:i], e.at.ends[i+1:]...)
			break
		}
	}
	e.was, e.at = e.at, nil
	last := l.list[len(l.list)-1]
	l.list[e.place], last.place = last, e.place
	l.list[len(l.list)-1] = nil
	l.list = l.list[:len(l.list)-1]
	l.recent.clear()
}

// trim takes nodes that lead nowhere out of the trie, from the leaf up.
func (l *Learner) trim(n *node) {
	for n.parent != nil && len(n.ends) == 0 && len(n.children) == 0 && n.param == nil {
		up := n.parent
		if up.param == n {
			up.param, up.open, up.values = nil, false, nil
		} else {
			up.remove(n)
		}
		l.stats.Nodes--
		n = up
	}
}

// prune forgets all that is below a node, and it.
func (l *Learner) prune(n *node) {
	for len(n.ends) > 0 {
		l.forget(n.ends[len(n.ends)-1])
	}
	for _, c := range n.children {
		l.prune(c)
		l.stats.Nodes--
	}
	if n.param != nil {
		l.prune(n.param)
		l.stats.Nodes--
	}
	n.children, n.index, n.param = nil, nil, nil
}

// room makes room for a child of a node: where there are too many that were
// seen a few times only, they are values, or the first of them is forgotten.
func (l *Learner) room(n *node) {
	guesses, limit := n.guesses(), maxUnproven
	if guesses >= limit && n.count >= n.forced {
		if n.shaped = l.shaped(n); !n.shaped || guesses >= maxShaped {
			l.evaluate(n, true)
			guesses = n.guesses()
		}
		n.forced = n.count + maxUnproven
	}
	if n.shaped {
		limit = maxShaped
	}
	if guesses < limit && len(n.children) < maxChildren {
		return
	}
	var least *node
	for _, c := range n.children {
		if least == nil || c.pinned < least.pinned || c.pinned == least.pinned && c.count < least.count {
			least = c
		}
	}
	l.prune(least)
	n.remove(least)
	l.stats.Nodes--
	l.stats.Crowded++
}

// guesses is how many children were seen a few times only.
func (n *node) guesses() int {
	sum := 0
	for _, c := range n.children {
		if c.count < proven {
			sum++
		}
	}
	return sum
}

// shaped reports whether most children that were seen a few times only have
// answers of their own.
func (l *Learner) shaped(n *node) bool {
	l.kids, l.features = l.kids[:0], l.features[:0]
	for _, c := range n.children {
		if c.count < proven {
			l.describe(c, int32(len(l.kids)))
			l.kids = append(l.kids, kid{node: c, asked: true})
		}
	}
	sortFeatures(l.features)
	return l.disagree()
}
