package endpoint

import "slices"

// kid is a child of a node that is looked at.
type kid struct {
	node    *node
	param   bool // is the parameter
	member  bool // taken for a value
	clash   bool // some answer is unlike the members'
	telling bool // some answer is like a member's
	common  bool // some end is a member's too
	asked   bool // may be a member
	same    int  // different answers that another child has at the same ends
	other   int  // ends at which none is
	held    pin  // a login lies below
}

// Evidence that children are values, from facts about 2,628 public APIs: the
// fan-out of literal segments is 18 at most in 99 % of nodes.
const (
	minAlike     = 3  // children with the same telling answers
	minAlikeTop  = 6  // the same where no noun stands before them: at the root, behind a version
	minTwins     = 4  // different answers that two children have in common
	minSingles   = 8  // children without, if new ones keep coming
	manyPlain    = 12 // children without, none beside them has any, and no pages
	manySiblings = 24 // children without, in any case
	singleShare  = 50 // the mass of children seen once is 1/50 or more (Good and Turing)
	exceptTimes  = 8  // a child this many times as frequent as the median
	exceptShare  = 33 // and 1/33 of all or more is no value
	maxExcepted  = 11
	maxVersions  = 24   // more that look like versions are none
	workShare    = 64   // features of a node that are looked at for each of its requests
	maxBelow     = 7    // how far below a child ends are looked for
	maxFeatures  = 64   // of a child
	maxVisited   = 1024 // of which these are taken
)

// evaluate looks whether children of a node are values of a parameter, and
// merges them. For want of room (force) less will do.
func (l *Learner) evaluate(n *node, force bool) {
	n.next, n.looked = never, n.count
	l.kids = l.kids[:0]
	shown, like, visits, versions := 0, 0, 0, 0
	for _, c := range n.children {
		if version(c.segment) {
			versions++
		}
	}
	for _, c := range n.children {
		k := kid{node: c, held: c.pinned}
		if k.held == pinShown {
			if shown++; shown > maxExcepted {
				k.held = pinNone
			}
		}
		if !c.reserved && (versions > maxVersions || !version(c.segment)) && (k.held == pinNone || !c.login()) {
			if n.param != nil && (n.open || strange(c.segment)) && (k.held == pinNone || n.param.pinned == pinProven) {
				var m match
				m.compare(c, n.param)
				visits += m.visits
				k.member = !m.clash && (m.alike || m.common && c.count < proven && k.held == pinNone)
			}
			if k.member {
				like++
			}
			l.kids = append(l.kids, k)
		}
	}
	l.looked += uint64(visits)
	if like > 0 {
		l.join(n, l.members())
		l.settle(n)
		return
	}
	if len(l.kids) == 0 {
		return
	}
	n.next = n.count + n.count/8 + 8 + uint64(visits/workShare)
	if len(l.kids) < 2 && !n.open {
		return
	}
	if n.open {
		l.kids = append(l.kids, kid{node: n.param, param: true, member: true, held: n.param.pinned})
	}
	l.features = l.features[:0]
	for i := range l.kids {
		l.describe(l.kids[i].node, int32(i))
	}
	work := uint64(len(l.features) + len(l.kids))
	l.looked += work
	n.looked += work / workShare
	n.next += work / workShare
	sortFeatures(l.features)
	l.twins()
	if l.alike(n); l.contradicted() {
		for i := range l.kids {
			l.kids[i].member = l.kids[i].param
		}
	}
	l.likeMembers()
	l.siblings(n, force)
	if l.merge(n, force) {
		l.settle(n)
	}
}

// settle looks at what a merge has brought together.
func (l *Learner) settle(n *node) {
	if n.next == 0 {
		l.evaluate(n, false)
	}
	for i := 0; i < len(n.children); i++ {
		if n.children[i].next == 0 {
			l.settle(n.children[i])
		}
	}
	if n.param != nil && n.param.next == 0 {
		l.settle(n.param)
	}
}

// alike finds children whose answers at the same end have the same keys, and
// are most of those whose answers have any. Beside a parameter that is known to
// take words, two will do.
func (l *Learner) alike(n *node) {
	least := minAlike
	if n.open {
		least--
	} else if n.top() {
		least = minAlikeTop
	}
	runs(l.features, sameEnd, func(run []feature) {
		total := 0
		last := int32(-1)
		for _, f := range run {
			if f.shape >= shapeTelling && f.kid != last {
				total++
				last = f.kid
			}
		}
		runs(run, sameShape, func(run []feature) {
			need := least
			if !run[0].exact {
				need += 2
			}
			if k := kidsOf(run); run[0].shape < shapeTelling || k < need || 2*k < total {
				return
			}
			logins := 0 // may be counted twice, which does no harm
			for _, f := range run {
				if l.kids[f.kid].held == pinProven {
					logins++
				}
			}
			for _, f := range run {
				k := &l.kids[f.kid]
				if k.held == pinNone || k.held == pinProven && logins >= minAlike {
					k.member = true
				}
			}
		})
	})
}

// top reports whether no noun stands before a node's children: at the root and
// behind a version, where values are rare.
func (n *node) top() bool {
	return n.parent == nil || n.segment != parameter && noun(n.segment) == ""
}

// twins finds children that are alike at many ends, be they only two: a format or
// a region, with a whole API below each. A collection has an answer of its own
// for the list and one for what is in it, which other collections may share: so
// that different answers are counted.
func (l *Learner) twins() {
	for i := range l.kids {
		l.kids[i].same, l.kids[i].other = 0, 0
	}
	l.shared = l.shared[:0]
	runs(l.features, sameShape, func(run []feature) {
		if run[0].shape < shapeTelling || !run[0].exact {
			return
		}
		if kidsOf(run) < 2 {
			for _, f := range run {
				l.kids[f.kid].other++
			}
			return
		}
		for _, f := range run {
			l.shared = append(l.shared, feature{shape: f.shape, kid: f.kid})
		}
	})
	sortFeatures(l.shared)
	for i, f := range l.shared {
		if i == 0 || f != l.shared[i-1] {
			l.kids[f.kid].same++
		}
	}
	for i := range l.kids {
		if k := &l.kids[i]; k.same >= minTwins && k.same > k.other && k.held == pinNone {
			k.member = true
		}
	}
}

// contradicted reports whether the answers of most members differ at other ends
// than those by which they are alike.
func (l *Learner) contradicted() bool {
	agree, differ := 0, 0
	runs(l.features, sameEnd, func(run []feature) {
		if !run[0].exact {
			return
		}
		all, most := 0, 0
		runs(run, sameShape, func(run []feature) {
			if run[0].shape < shapeTelling {
				return
			}
			n := 0
			for _, f := range run {
				if l.kids[f.kid].member {
					n++
				}
			}
			all += n
			most = max(most, n)
		})
		switch {
		case all < 2:
		case 2*most > all:
			agree += most
		default:
			differ += all
		}
	})
	return differ > 2 && differ >= agree
}

// login reports whether the path of a node is itself a login's.
func (n *node) login() bool {
	for _, e := range n.ends {
		if e.pinned != pinNone {
			return true
		}
	}
	return false
}

// likeMembers adds children that are like the members in all that can be told: one of
// their answers is like a member's, or they have shown little, all of it at ends
// that members have.
func (l *Learner) likeMembers() {
	if !slices.ContainsFunc(l.kids, func(k kid) bool { return k.member }) {
		return
	}
	runs(l.features, sameEnd, func(run []feature) {
		members, known := false, false
		for _, f := range run {
			member := l.kids[f.kid].member
			members = members || member
			known = known || member && f.shape >= shapeEmpty
		}
		runs(run, sameShape, func(same []feature) {
			shared := false
			for _, f := range same {
				shared = shared || l.kids[f.kid].member
			}
			for _, f := range same {
				k := &l.kids[f.kid]
				switch {
				case shared && f.shape >= shapeTelling:
					k.telling = true
				case !shared && known && f.exact && f.shape >= shapeEmpty:
					k.clash = true
				}
				k.common = k.common || members && f.shape != shapeNode
			}
		})
	})
	for i := range l.kids {
		k := &l.kids[i]
		if k.member || k.clash || k.held != pinNone {
			continue
		}
		k.member = k.telling || k.common && k.node.count < proven
	}
}

// siblings finds children that cannot be told apart by their answers, if there
// are so many, or so many new ones, that they must be values.
func (l *Learner) siblings(n *node, force bool) {
	many, few, plain := manySiblings, minSingles, manyPlain
	if n.top() {
		many, few, plain = 4*manySiblings, 4*manySiblings, 4*manySiblings
	}
	runs(l.features, sameEnd, func(run []feature) {
		k, singles, total, pages := 0, 0, uint64(0), 0
		for i := range l.kids {
			l.kids[i].asked = false
		}
		for _, f := range run {
			kid := &l.kids[f.kid]
			switch {
			case kid.asked, kid.held != pinNone, f.shape == shapeFailing:
				continue
			case force && kid.node.count >= proven, !force && f.shape >= shapeTelling:
				continue
			}
			kid.asked = true
			k++
			total += kid.node.count
			if kid.node.count == 1 {
				singles++
			}
			if f.shape == shapePage {
				pages++
			}
		}
		apart := 0 // answers like no other's at the same end
		runs(run, sameShape, func(run []feature) {
			if run[0].shape >= shapeTelling && kidsOf(run) == 1 && !l.kids[run[0].kid].member {
				apart++
			}
		})
		fresh := singles >= 2 && uint64(singles)*singleShare >= total && 2*pages < k
		if k <= many && (k < few || !fresh) && (k < plain || 2*pages >= k || apart > 0) && (!force || k < manySiblings) || !force && (2*apart >= k || l.disagree()) {
			return
		}
		for i := range l.kids {
			l.kids[i].member = l.kids[i].member || l.kids[i].asked
		}
	})
}

// disagree reports whether of the children asked those whose answers tell
// something have, in most places, answers like no other's, more often than not.
// In some places any two may have the same.
func (l *Learner) disagree() bool {
	for i := range l.kids {
		l.kids[i].same, l.kids[i].other = 0, 0
	}
	runs(l.features, sameShape, func(run []feature) {
		if run[0].shape < shapeTelling {
			return
		}
		n := 0
		for _, f := range run {
			if l.kids[f.kid].asked || l.kids[f.kid].member {
				n++
			}
		}
		for _, f := range run {
			if k := &l.kids[f.kid]; n >= 2 {
				k.same++
			} else {
				k.other++
			}
		}
	})
	alone, agreed := 0, 0
	for i := range l.kids {
		switch k := &l.kids[i]; {
		case !k.asked || k.same+k.other == 0:
		case k.same >= k.other:
			agreed++
		default:
			alone++
		}
	}
	return alone >= 2 && alone >= agreed
}
