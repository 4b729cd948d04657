package controller

import (
	"cmp"
	"container/heap"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// item is one active verdict.
type item struct {
	verdict detect.Verdict
	who     string
	since   time.Time
	entry   mitigate.Entry

	byExpiry, byImportance int // positions in the heaps
}

// strictness orders actions: on one subject the strictest that a target can carry is in
// force there.
func strictness(a detect.Action) int {
	switch a {
	case detect.ActionBlock:
		return 6
	case detect.ActionDeceive:
		return 5
	case detect.ActionChallenge:
		return 4
	case detect.ActionHold:
		return 3
	case detect.ActionRateLimit:
		return 2
	case detect.ActionTag:
		return 1
	}
	return 0
}

// compareImportance orders verdicts by who goes first where there is no room
// for all: an operator's, those that act before those that only tag, the holds of
// accounts (an attacker can make others by the thousand, but these only with a right
// password), the stricter, those expected to hit more, the later. The id makes it total.
func compareImportance(a, b *item) int {
	acts := func(it *item) int {
		if it.entry.Monitor {
			return 0
		}
		return 1
	}
	operator := func(it *item) int {
		if it.who != "" {
			return 1
		}
		return 0
	}
	hold := func(it *item) int {
		if it.entry.Action == detect.ActionHold {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(operator(a), operator(b)),
		cmp.Compare(acts(a), acts(b)),
		cmp.Compare(hold(a), hold(b)),
		cmp.Compare(strictness(a.entry.Action), strictness(b.entry.Action)),
		cmp.Compare(a.verdict.Expected.AttackRequestsPerMinute, b.verdict.Expected.AttackRequestsPerMinute),
		cmp.Compare(a.verdict.Time, b.verdict.Time),
		cmp.Compare(a.entry.ID, b.entry.ID),
	)
}

// compareForce orders verdicts on one subject: the greatest is in force.
func compareForce(a, b *item) int {
	return cmp.Or(compareStrict(a, b), cmp.Compare(a.entry.Expires, b.entry.Expires), cmp.Compare(a.entry.ID, b.entry.ID))
}

func compareStrict(a, b *item) int {
	rank := func(it *item) int {
		r := strictness(it.entry.Action)
		if !it.entry.Monitor {
			r += 10
		}
		return r
	}
	return cmp.Compare(rank(a), rank(b))
}

// desired is the set of active verdicts. It is not for concurrent use.
type desired struct {
	byID       map[mitigate.ID]*item
	bySubject  map[detect.Subject][]*item // the one in force first
	broad      map[detect.Subject]bool    // the subjects that are not one address alone
	expiry     itemHeap                   // the first to expire at the root
	importance itemHeap                   // the least important at the root
	harm       int64                      // of all together, see sharedHarm
}

func newDesired() *desired {
	return &desired{
		byID:      make(map[mitigate.ID]*item),
		bySubject: make(map[detect.Subject][]*item),
		broad:     make(map[detect.Subject]bool),
		expiry: itemHeap{
			less:     func(a, b *item) bool { return a.entry.Expires < b.entry.Expires },
			position: func(it *item) *int { return &it.byExpiry },
		},
		importance: itemHeap{
			less:     func(a, b *item) bool { return compareImportance(a, b) < 0 },
			position: func(it *item) *int { return &it.byImportance },
		},
	}
}

// put adds an item, in place of one with the same id.
func (d *desired) put(it *item) {
	if old := d.byID[it.entry.ID]; old != nil {
		d.remove(old)
	}
	d.byID[it.entry.ID] = it
	d.harm += sharedHarm(it)
	heap.Push(&d.expiry, it)
	heap.Push(&d.importance, it)
	group := append(d.bySubject[it.entry.Subject], it)
	for i := len(group) - 1; i > 0 && compareForce(group[i], group[i-1]) > 0; i-- {
		group[i], group[i-1] = group[i-1], group[i]
	}
	d.bySubject[it.entry.Subject] = group
	if !it.entry.OneAddress() {
		d.broad[it.entry.Subject] = true
	}
}

func (d *desired) remove(it *item) {
	delete(d.byID, it.entry.ID)
	d.harm -= sharedHarm(it)
	heap.Remove(&d.expiry, it.byExpiry)
	heap.Remove(&d.importance, it.byImportance)
	group := d.bySubject[it.entry.Subject]
	for i := range group {
		if group[i] == it {
			group = append(group[:i:i], group[i+1:]...)
			break
		}
	}
	if len(group) == 0 {
		delete(d.bySubject, it.entry.Subject)
		delete(d.broad, it.entry.Subject)
		return
	}
	d.bySubject[it.entry.Subject] = group
}

// itemHeap is a heap whose items know their positions.
type itemHeap struct {
	items    []*item
	less     func(a, b *item) bool
	position func(*item) *int
}

func (h *itemHeap) Len() int           { return len(h.items) }
func (h *itemHeap) Less(i, j int) bool { return h.less(h.items[i], h.items[j]) }
func (h *itemHeap) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.position(h.items[i]), *h.position(h.items[j]) = i, j
}
func (h *itemHeap) Push(x any) {
	it := x.(*item)
	*h.position(it) = len(h.items)
	h.items = append(h.items, it)
}
func (h *itemHeap) Pop() any {
	last := len(h.items) - 1
	it := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	return it
}

// root is the first item, nil if there is none.
func (h *itemHeap) root() *item {
	if len(h.items) == 0 {
		return nil
	}
	return h.items[0]
}
