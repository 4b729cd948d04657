package pull

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"offpath/mitigate"
)

const (
	// remembered is how long what is gone is told after the last consumer would have
	// dropped it by itself: some wait for that.
	remembered = int64(time.Hour / time.Second)
	// maxEnds bounds the earlier ends of one item.
	maxEnds = 8
)

// Item is an address or network on the list, or one that was.
type Item struct {
	Client  netip.Prefix
	ID      mitigate.ID // 0: known from the journal alone
	Number  int64       // its own as long as it is known; higher than those of earlier ones
	Expires int64       // second of the wall clock
	Gone    bool        // to be taken back

	changed uint64    // number of the change that consumers have to hear of
	since   time.Time // when that was
	held    int64     // the last second at which a consumer that was told of it may hold it
	// ends are earlier ends that were told. Some consumers keep an entry's first end
	// whatever later one they are told: to them it is new when that has come.
	ends []int64
}

// list is the items. change is the number of the last change; changes that are made
// together get one.
type list struct {
	items   map[netip.Prefix]*Item
	active  *prefixes
	change  uint64
	changed time.Time
	number  int64
	gone    int
	maxGone int
	lost    uint64 // forgotten before their time, since there were too many
	open    bool   // the number change+1 has been given
	ended   *prefixes
	looked  int64
}

func newList(maxGone int) *list {
	now := time.Now()
	return &list{
		items: make(map[netip.Prefix]*Item), active: newPrefixes(), ended: newPrefixes(), maxGone: maxGone,
		change: 1, changed: now,
		number: now.Unix() * 1e6, // in a float with 53 bits, and higher than before a restart
	}
}

// mark notes that consumers have to hear of an item.
func (l *list) mark(it *Item, now time.Time) {
	it.changed, it.since, l.open = l.change+1, now, true
}

// put sets an item.
func (l *list) put(p netip.Prefix, e *mitigate.Entry, now time.Time) {
	it := l.items[p]
	switch {
	case it == nil:
		l.number++
		it = &Item{Client: p, Number: l.number}
		l.items[p] = it
	case !it.Gone && it.ID == e.ID && it.Expires == e.Expires:
		return
	}
	if it.Gone {
		it.Gone = false
		l.gone--
	}
	if it.Expires > now.Unix() && it.Expires < e.Expires {
		it.ends = withEnd(it.ends, it.Expires)
	}
	it.ID, it.Expires = e.ID, e.Expires
	it.held = max(it.held, e.Expires)
	l.active.add(p)
	l.mark(it, now)
}

// withEnd adds an end. Of too many it drops the one after which another comes soonest.
func withEnd(ends []int64, end int64) []int64 {
	if slices.Contains(ends, end) {
		return ends
	}
	ends = append(ends, end)
	slices.Sort(ends)
	if len(ends) > maxEnds {
		least := 0
		for i := range len(ends) - 1 {
			if ends[i+1]-ends[i] < ends[least+1]-ends[least] {
				least = i
			}
		}
		ends = slices.Delete(ends, least, least+1)
	}
	return ends
}

// drop makes an item gone.
func (l *list) drop(it *Item, now time.Time) {
	if it.Gone {
		return
	}
	it.Gone, it.ends = true, nil
	l.gone++
	l.active.remove(it.Client)
	if !it.Client.IsSingleIP() {
		l.ended.add(it.Client)
	}
	l.mark(it, now)
}

// advance does what the time has come for, at most once a second.
func (l *list) advance(now time.Time) {
	second := now.Unix()
	if second == l.looked {
		return
	}
	l.looked = second
	for p, it := range l.items {
		switch {
		case it.Gone && it.held+remembered <= second:
			delete(l.items, p)
			l.gone--
		case it.Gone:
		case it.Expires <= second:
			l.drop(it, now)
		case len(it.ends) > 0 && it.ends[0] <= second:
			it.ends = slices.DeleteFunc(it.ends, func(end int64) bool { return end <= second })
			l.mark(it, now)
		}
	}
}

// close ends a set of changes that are made together.
func (l *list) close(now time.Time) {
	if len(l.ended.all) > 0 {
		// What was not taken back, since a network covered it, is to be now.
		for _, it := range l.items {
			if it.Gone && l.ended.cover(it.Client) {
				l.mark(it, now)
			}
		}
		l.ended = newPrefixes()
	}
	if l.gone > l.maxGone {
		var gone []*Item
		for _, it := range l.items {
			if it.Gone {
				gone = append(gone, it)
			}
		}
		slices.SortFunc(gone, func(a, b *Item) int { return cmp.Or(cmp.Compare(a.held, b.held), cmp.Compare(a.Number, b.Number)) })
		for _, it := range gone[:l.gone-l.maxGone] {
			delete(l.items, it.Client)
			l.lost++
		}
		l.gone = l.maxGone
	}
	if l.open {
		l.open = false
		l.change++
		l.changed = now
	}
}

// since returns what changed after a change, by number. What is gone is left out while a
// network on the list covers it: taking it back could let in whom that keeps out.
func (l *list) since(change uint64) []Item {
	var out []Item
	for p, it := range l.items {
		if it.changed > change && !(it.Gone && l.active.cover(p)) {
			out = append(out, *it)
		}
	}
	slices.SortFunc(out, func(a, b Item) int { return cmp.Compare(a.Number, b.Number) })
	return out
}
