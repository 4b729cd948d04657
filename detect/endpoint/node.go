package endpoint

import "offpath/reassembly"

// host is the trie of one host's paths.
type host struct {
	name   string
	root   node
	shapes map[uint64]*spread
	last   int64 // event time of its last new path

	reserved func(segment string) bool
}

// node is a segment of a path.
type node struct {
	host     *host
	parent   *node
	segment  string // parameter, or as sent
	hash     uint64 // of segment
	param    *node
	children []*node          // literal, in order of appearance
	index    map[string]*node // of children, when there are many
	ends     []*Endpoint      // of the path that ends here
	count    uint64           // requests here and below
	next     uint64           // count at which the children are looked at again
	forced   uint64           // count at which they may be merged for want of room again
	merges   uint64           // how often children were merged
	open     bool             // values without a shape are the parameter's
	shaped   bool             // most that were seen a few times only have answers of their own
	looked   uint64           // count when the children were looked at last
	reserved bool
	pinned   pin
	values   *values // of an open node
}

// never is a count that is not reached.
const never = 1<<64 - 1

// Limits of a node.
const (
	proven      = 8    // requests that make a child more than a guess
	maxUnproven = 64   // children seen less often than that, together or each with answers like no other's
	maxShaped   = 256  // children seen less often, each with answers of its own
	maxChildren = 1024 // children
	maxReserved = 16   // children kept for their words
	maxEnds     = 512  // methods and operations of one path
	manyIndexed = 8    // children from which on there is an index
	maxSteps    = 128  // nodes visited to find one endpoint
	maxDepth    = 2*maxSegments + 2
)

func (n *node) child(segment string) *node {
	if n.index != nil {
		return n.index[segment]
	}
	for _, c := range n.children {
		if c.segment == segment {
			return c
		}
	}
	return nil
}

func (n *node) add(c *node) {
	n.children = append(n.children, c)
	switch {
	case n.index != nil:
		n.index[c.segment] = c
	case len(n.children) > manyIndexed:
		n.index = make(map[string]*node, 2*manyIndexed)
		for _, c := range n.children {
			n.index[c.segment] = c
		}
	}
}

func (n *node) remove(c *node) {
	for i := range n.children {
		if n.children[i] == c {
			n.children = append(n.children[:i], n.children[i+1:]...)
			break
		}
	}
	delete(n.index, c.segment)
}

func (n *node) end(method, operation string) *Endpoint {
	for _, e := range n.ends {
		if e.method == method && e.operation == operation {
			return e
		}
	}
	return nil
}

// values remembers the last values of an open node, by their hashes.
type values struct {
	list [64]uint64
	next int
}

func (n *node) took(segment string) {
	if n.values == nil {
		n.values = &values{}
	}
	if n.taken(segment) {
		return
	}
	n.values.list[n.values.next] = hashOf(segment)
	n.values.next = (n.values.next + 1) % len(n.values.list)
}

func (n *node) taken(segment string) bool {
	if n.values == nil {
		return false
	}
	h := hashOf(segment)
	for _, v := range n.values.list {
		if v == h {
			return true
		}
	}
	return false
}

// walk is a request on its way through the trie.
type walk struct {
	method, operation string
	segments          []string
	tx                *reassembly.Transaction
	steps             int
}

// find is the endpoint of a path: where a literal segment and a parameter both
// lead to one, the literal's. What comes by a value must look like the
// endpoint's other answers.
func (w *walk) find(n *node, i int, valued bool) *Endpoint {
	if w.steps++; w.steps > maxSteps {
		return nil
	}
	if i == len(w.segments) {
		e := n.end(w.method, w.operation)
		if e != nil && valued && !e.takes(w.tx) {
			return nil
		}
		return e
	}
	segment := w.segments[i]
	if segment == parameter {
		if n.param == nil {
			return nil
		}
		return w.find(n.param, i+1, valued)
	}
	if c := n.child(segment); c != nil {
		if e := w.find(c, i+1, valued); e != nil {
			return e
		}
	}
	if n.param != nil && n.open && !n.host.reserved(segment) {
		if e := w.find(n.param, i+1, true); e != nil {
			n.took(segment)
			return e
		}
	}
	return nil
}

// insert makes an endpoint.
func (l *Learner) insert(w *walk, hostName string) *Endpoint {
	l.makeRoom()
	n := &l.host(hostName, w.tx.End).root
	for i, segment := range w.segments {
		switch {
		case segment == parameter:
			if n.param == nil {
				n.param = l.node(n, parameter)
			}
			n = n.param
		case n.child(segment) != nil:
			n = n.child(segment)
		case n.open && n.taken(segment) && !(i == len(w.segments)-1 && n.param.end(w.method, w.operation) != nil):
			n = n.param
		default:
			was := n.merges
			l.room(n)
			if n.merges != was && !l.cfg.Reserved(segment) { // its siblings were merged: it is one of them
				n.took(segment)
				n = n.param
			} else {
				n = l.literal(n, segment)
			}
		}
	}
	return l.endpoint(n, w.method, w.operation)
}

// literal makes a child.
func (l *Learner) literal(n *node, segment string) *node {
	c := l.node(n, segment)
	if l.cfg.Reserved(segment) {
		same := 0
		for _, other := range n.children {
			if other.reserved {
				same++
			}
		}
		c.reserved = same < maxReserved
	}
	n.add(c)
	n.next = min(n.next, max(n.count, n.looked)+uint64(len(n.children)/4))
	return c
}

func (l *Learner) node(parent *node, segment string) *node {
	l.stats.Nodes++
	return &node{host: parent.host, parent: parent, segment: segment, hash: hashOf(segment), next: never}
}

// endpoint finds or makes the end of a path.
func (l *Learner) endpoint(n *node, method, operation string) *Endpoint {
	if e := n.end(method, operation); e != nil {
		return e
	}
	if len(n.ends) >= maxEnds {
		least := n.ends[0]
		for _, e := range n.ends {
			if e.less(least) {
				least = e
			}
		}
		l.forget(least)
	}
	var buf [maxDepth]string
	segments := n.path(buf[:])
	e := &Endpoint{method: method, operation: operation, at: n, Name: name(method, n.host.name, segments, "", operation)}
	e.key = keyOf(method, n.host.name, segments, operation)
	l.byKey[e.key] = e
	n.ends = append(n.ends, e)
	e.place = len(l.list)
	l.list = append(l.list, e)
	l.recent.clear()
	return e
}

func keyOf(method, host string, segments []string, operation string) string {
	b := append(append(append(make([]byte, 0, 128), method...), ' '), host...)
	for _, s := range segments {
		b = append(appendSlash(b, s), s...)
	}
	if len(segments) == 0 {
		b = append(b, '/')
	}
	if operation != "" {
		b = append(append(b, '#'), operation...)
	}
	return string(b)
}

// path is the segments from the root to a node, in buf.
func (n *node) path(buf []string) []string {
	at := len(buf)
	for ; n.parent != nil && at > 0; n = n.parent {
		at--
		buf[at] = n.segment
	}
	return buf[at:]
}
