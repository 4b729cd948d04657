package pull

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"offpath/mitigate"
)

const (
	// MaxConsumers is how many are known at once.
	MaxConsumers = 1024
	// maxAbsence is after how long a consumer that came regularly is forgotten.
	maxAbsence = 24 * time.Hour
	// unknownInterval is assumed of one that asked once; graceInterval is the delay that
	// an interval may have beyond three of itself.
	unknownInterval = 100 * time.Second
	graceInterval   = 5 * time.Second
)

// Asks is what a consumer asks for. [Board.Serve] gives the first part of it to handlers.
type Asks struct {
	Program string // its User-Agent
	Source  string // address that it comes from; "" at a unix socket
	holder  string // which key it came with
	via     *connection

	Filter    string // whatever else leads to an answer of its own
	Addresses bool
	Networks  bool
	Family    int // 4, 6; 0: both
	// Every says that it asks about each client by itself, and so is never behind.
	Every bool
	// Part says that this request only goes on with an earlier one.
	Part bool
}

// Name is PROGRAM@SOURCE, of plain letters.
func (a *Asks) Name() string { return plain(a.Program) + "@" + cmp.Or(a.Source, "unix") }

// plain is what a User-Agent begins with, up to its version, in letters that need no
// quoting anywhere.
func plain(program string) string {
	program, _, _ = strings.Cut(program, "/")
	const longest = 48
	program = strings.Map(func(r rune) rune {
		if (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') && r != '-' && r != '_' && r != '.' {
			return '_'
		}
		return r
	}, program[:min(len(program), longest)])
	return cmp.Or(program, "unknown")
}

// consumer is one who fetches.
type consumer struct {
	asks    Asks
	last    time.Time
	gaps    [4]time.Duration // between its latest requests
	fetches uint64
	// fetched is the last change in the last answer that was sent whole, before that of
	// the one before it.
	fetched, before uint64
	// proved is the last change in an answer that it is known to have read to the end, for
	// it asked again on the same connection. Who has never done so is told again what was
	// new in the latest unproved answers, of which earlier has the changes, the latest
	// first.
	proved  uint64
	proves  bool
	earlier [unproved]uint64
	room    int // how many items it took at most, the newest first; 0: all
	refused uint64
}

// unproved is how many answers in a row may be lost on their way to a consumer that uses a
// connection once, and nothing with them.
const unproved = 12

// took notes an answer that was sent whole. Who lost one with everything asks for
// everything again.
func (c *consumer) took(answer *Answer) {
	copy(c.earlier[1:], c.earlier[:])
	c.earlier[0] = c.fetched
	if answer.all {
		for i := range c.earlier {
			c.earlier[i] = answer.Change
		}
	}
	c.before, c.fetched = c.fetched, answer.Change
}

// since is the change after which everything is to be told: again, what came in an answer
// that may have been lost though it was sent whole.
func (c *consumer) since() uint64 {
	if c.proves {
		return min(c.before, c.proved)
	}
	return min(c.before, c.earlier[unproved-1])
}

// connection remembers what was answered on it last.
type connection struct {
	mu     sync.Mutex
	key    string
	change uint64
}

// answered notes an answer that was sent whole.
func (v *connection) answered(key string, change uint64) {
	if v == nil {
		return
	}
	v.mu.Lock()
	v.key, v.change = key, change
	v.mu.Unlock()
}

// proves notes that the consumer asks again on a connection: it has read what was answered
// there before. The lock is held.
func (b *Board) proves(v *connection) {
	if v == nil {
		return
	}
	v.mu.Lock()
	key, change := v.key, v.change
	v.key = ""
	v.mu.Unlock()
	if c := b.consumers[key]; c != nil {
		c.proves, c.proved = true, max(c.proved, change)
	}
}

func (c *consumer) interval() time.Duration { return slices.Max(c.gaps[:]) }

func (c *consumer) late(now time.Time) bool {
	return now.Sub(c.last) > 3*cmp.Or(c.interval(), unknownInterval)+graceInterval
}

// absent says whether it is to be forgotten. One that asked once only, such as a person
// who had a look, is none that has to have what is published.
func (c *consumer) absent(now time.Time) bool {
	return c.fetches < 2 && c.late(now) || now.Sub(c.last) > maxAbsence
}

// key tells consumers apart: two programs at one address have two states, as have two keys.
func (a *Asks) key() string { return a.Name() + " " + a.holder + " " + a.Filter }

// seen notes a request and returns its consumer. The lock is held.
func (b *Board) seen(a *Asks, now time.Time) *consumer {
	b.proves(a.via)
	key := a.key()
	c := b.consumers[key]
	if c == nil {
		b.forget(now)
		if len(b.consumers) >= MaxConsumers {
			var oldest string
			for k, c := range b.consumers {
				if o := b.consumers[oldest]; o == nil || c.last.Before(o.last) || c.last.Equal(o.last) && k < oldest {
					oldest = k
				}
			}
			delete(b.consumers, oldest)
			b.forgotten++
		}
		c = &consumer{last: now}
		b.consumers[key] = c
	} else if !a.Part {
		copy(c.gaps[1:], c.gaps[:])
		c.gaps[0] = min(now.Sub(c.last), maxAbsence)
	}
	c.asks = *a
	if !a.Part {
		c.last = now
	}
	return c
}

func (b *Board) forget(now time.Time) {
	for k, c := range b.consumers {
		if c.absent(now) {
			delete(b.consumers, k)
			if c.fetches > 1 {
				b.forgotten++
			}
		}
	}
}

// lacks says whether a consumer has not got what it should have of an item; the lock is
// held.
func (b *Board) lacks(c *consumer, it *Item) bool {
	switch {
	case c.asks.Every:
		return false
	case it.changed > c.fetched:
		return true
	case it.Gone:
		return false
	case c.asks.Family != 0 && it.Client.Addr().Is4() != (c.asks.Family == 4):
		return true
	case it.Client.IsSingleIP() && !c.asks.Addresses, !it.Client.IsSingleIP() && !c.asks.Networks:
		return true
	}
	return c.room > 0 && b.rank(it) >= c.room
}

// rank is how many items on the list are newer; the lock is held.
func (b *Board) rank(it *Item) int {
	if b.rankedAt != b.list.change {
		b.ranked = b.ranked[:0]
		for _, it := range b.list.items {
			if !it.Gone {
				b.ranked = append(b.ranked, it.Number)
			}
		}
		slices.Sort(b.ranked)
		b.rankedAt = b.list.change
	}
	i, _ := slices.BinarySearch(b.ranked, it.Number)
	return len(b.ranked) - 1 - i
}

// group is one program at one address, with all that it fetches: one list of IPv4 and one
// of IPv6, for one.
type group struct {
	name    string
	members []*consumer // those that are not late; all if all are
	late    bool
}

// groups are the consumers by name; the lock is held.
func (b *Board) groups(now time.Time) []group {
	b.forget(now)
	keys := make([]string, 0, len(b.consumers))
	for k := range b.consumers {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var all []group
	of := ""
	for _, k := range keys {
		c := b.consumers[k]
		holder := c.asks.Name() + " " + c.asks.holder
		if of != holder {
			of = holder
			all = append(all, group{name: c.asks.Name(), late: true})
		}
		g := &all[len(all)-1]
		late := c.late(now)
		if g.late && !late {
			g.late, g.members = false, nil
		}
		if g.late == late {
			g.members = append(g.members, c)
		}
	}
	same := map[string]int{}
	for i := range all {
		name := all[i].name
		if same[name]++; same[name] > 1 { // with another key
			all[i].name = fmt.Sprintf("%s#%d", name, same[name])
		}
	}
	return all
}

// groupLacks says whether a group has not got what it should have of an item: what is on the
// list by any, what is gone by all of its ways to fetch.
func (b *Board) groupLacks(g *group, it *Item) bool {
	lacks := func(c *consumer) bool { return b.lacks(c, it) }
	if it.Gone {
		return slices.ContainsFunc(g.members, lacks)
	}
	return !slices.ContainsFunc(g.members, func(c *consumer) bool { return !lacks(c) })
}

// Fetching implements [mitigate.Publisher].
func (b *Board) Fetching() mitigate.Fetching {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	groups := b.groups(now)
	f := mitigate.Fetching{Forgotten: b.forgotten, Denied: b.denied.Load()}
	behind := make([]int, len(groups))
	for _, it := range b.list.items {
		lacking := len(groups) == 0 && !it.Gone
		for i := range groups {
			if b.groupLacks(&groups[i], it) {
				behind[i]++
				lacking = true
			}
		}
		if lacking && !it.Gone {
			f.Behind++
		}
		if lacking {
			f.Oldest = max(f.Oldest, now.Sub(it.since))
		}
	}
	for i, g := range groups {
		c := mitigate.Consumer{Name: g.name, Late: g.late, Behind: behind[i]}
		for _, m := range g.members {
			if m.last.After(c.Last) {
				c.Last = m.last
			}
			c.Interval = max(c.Interval, m.interval())
			c.Fetches += m.fetches
			c.Refused += m.refused
		}
		f.Consumers = append(f.Consumers, c)
	}
	return f
}

// Unfetched implements [mitigate.Publisher].
func (b *Board) Unfetched(id mitigate.ID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	it := b.list.items[b.byID[id]]
	if it == nil || it.Gone {
		return "" // there is nothing to fetch of what is only watched, or in no mode that enforces
	}
	groups, lacking := b.groups(time.Now()), 0
	if len(groups) == 0 {
		return "published; nobody fetches it"
	}
	for i := range groups {
		if b.groupLacks(&groups[i], it) {
			lacking++
		}
	}
	if lacking == 0 {
		return ""
	}
	return fmt.Sprintf("published; %d of %d consumers have not fetched it", lacking, len(groups))
}
