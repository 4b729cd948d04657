package endpoint

import (
	"cmp"
	"slices"
)

// feature is something that a child of a node shows: an end at or below it.
type feature struct {
	end   uint64 // method, operation, and the path from the child
	shape uint64 // of its answers: one of the following, or a hash
	kid   int32
	exact bool // no segment of the path is left open
}

const (
	shapeFailing  = iota // none that was no error
	shapeNode            // no end, but a literal segment on the way to one
	shapeUnknown         // without keys
	shapeEmpty           // no body
	shapePage            // HTML
	shapeEnvelope        // that of many endpoints
	shapeTelling         // from here on
)

func sortFeatures(list []feature) {
	slices.SortFunc(list, func(a, b feature) int {
		return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.shape, b.shape), cmp.Compare(a.kid, b.kid))
	})
}

// way leads from a child to what is below it, as hashes: with all its segments,
// with any literal in the place of one of them, and in the places of all.
// Children whose own children are values have no end in common otherwise.
type way struct {
	exact, any uint64
	one        [maxBelow]uint64
	literal    [maxBelow]bool // there is a literal, or a parameter that takes such, in this place
	depth      int
}

func (w *way) down(n *node) way {
	to := *w
	literal := n.segment != parameter || n.parent.open
	for i := range w.depth {
		to.one[i] = step(w.one[i], n.hash)
	}
	to.exact, to.any = step(w.exact, n.hash), step(w.any, n.hash)
	if literal {
		to.any, to.one[w.depth] = step(w.any, wild), step(w.exact, wild)
	}
	to.literal[w.depth] = literal
	to.depth++
	return to
}

// wild stands for the hash of any literal segment.
const wild = 0x9ddfea08eb382d69

func step(h, next uint64) uint64 { return (h ^ next) * 0x9e3779b97f4a7c15 }

// each calls f with each of the different hashes.
func (w *way) each(f func(path uint64)) {
	f(w.exact)
	literals := 0
	for i := range w.depth {
		if w.literal[i] {
			f(w.one[i])
			literals++
		}
	}
	if literals > 1 {
		f(w.any)
	}
}

// describe appends the features of a child. Of many it takes those with the
// least hashes, so that of children with many in common it takes the same.
func (l *Learner) describe(n *node, kid int32) {
	from := len(l.features)
	l.visit(n, kid, &way{}, from+maxVisited)
	if own := l.features[from:]; len(own) > maxFeatures {
		slices.SortFunc(own, func(a, b feature) int { return cmp.Compare(a.end, b.end) })
		l.features = l.features[:from+maxFeatures]
	}
}

func (l *Learner) visit(n *node, kid int32, w *way, limit int) {
	for _, e := range n.ends {
		end := step(hashOf(e.method), hashOf(e.operation))
		add := func(shape uint64) {
			w.each(func(path uint64) {
				if len(l.features) < limit {
					l.features = append(l.features, feature{step(path, end), shape, kid, path == w.exact})
				}
			})
		}
		for i := range e.shapes.list[:e.shapes.n] {
			shape := e.shapes.list[i].hash
			if n.host.envelope(shape) {
				shape = shapeEnvelope
			}
			add(max(shape, shapeEnvelope))
		}
		if e.shapes.n > 0 {
			continue
		}
		switch {
		case e.good == 0:
			add(shapeFailing)
		case e.empty:
			add(shapeEmpty)
		case e.page:
			add(shapePage)
		default:
			add(shapeUnknown)
		}
	}
	if w.depth == maxBelow {
		return
	}
	if n.param != nil && len(l.features) < limit {
		to := w.down(n.param)
		l.visit(n.param, kid, &to, limit)
	}
	for _, c := range n.children {
		if len(l.features) >= limit {
			return
		}
		to := w.down(c)
		if version(c.segment) {
			l.visit(c, kid, &to, limit)
			continue
		}
		l.features = append(l.features, feature{^to.exact, shapeNode, kid, true})
		if w.depth > 0 && w.literal[0] {
			l.features = append(l.features, feature{^to.one[0], shapeNode, kid, false})
		}
		l.visit(c, kid, &to, limit)
	}
}

// runs calls f with each run of features that key does not tell apart.
func runs(list []feature, same func(a, b feature) bool, f func(run []feature)) {
	for i := 0; i < len(list); {
		j := i + 1
		for j < len(list) && same(list[i], list[j]) {
			j++
		}
		f(list[i:j])
		i = j
	}
}

// kidsOf is how many children a run of features is of, which is sorted by them.
func kidsOf(run []feature) int {
	n := 0
	for i := range run {
		if i == 0 || run[i].kid != run[i-1].kid {
			n++
		}
	}
	return n
}

func sameEnd(a, b feature) bool   { return a.end == b.end }
func sameShape(a, b feature) bool { return a.end == b.end && a.shape == b.shape }
