package tcp

import (
	"hash/maphash"
	"math"

	"offpath/capture"
)

// Table is the flows of one shard. It belongs to one worker.
type Table struct {
	// What every packet needs stands together.
	clock    int64
	next     int64 // no timer is due before it
	stats    *Stats
	consumer Consumer
	index    index
	digests  maphash.Seed
	segment  Segment // scratch

	config           Config
	budget           *Budget
	hold, holdOneWay int64 // ns
	linger           int64 // ns

	serial  uint32
	lists   [lists]list
	timers  timers
	spare   []*Flow // closed flows to be used again
	renewal renewal // of the packet at hand
}

// maxSpare bounds Table.spare.
const maxSpare = 64

// New returns a Table. The budget is shared with the consumer, the stats with
// the tables of the same worker.
func New(config Config, consumer Consumer, budget *Budget, stats *Stats) (*Table, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	t := &Table{
		config: config, consumer: consumer, budget: budget, stats: stats,
		hold: int64(config.Hold), holdOneWay: int64(config.HoldOneWay), linger: int64(config.Linger),
		clock: math.MinInt64, next: math.MaxInt64,
		index: newIndex(), digests: maphash.MakeSeed(),
	}
	t.lists[listOpen].timeout = int64(config.HalfOpen)
	t.lists[listIdle].timeout = int64(config.Idle)
	return t, nil
}

// Clock is the event time that the table has reached.
func (t *Table) Clock() int64 { return t.clock }

// Next is an event time before which no timer is due.
func (t *Table) Next() int64 { return t.next }

// Advance moves the clock; timers that are due by then fire, each at its time.
func (t *Table) Advance(clock int64) {
	for t.next <= clock {
		f, due, expired := t.earliest()
		if f == nil || due > clock {
			t.next = min(due, t.forgetUntil(clock))
			break
		}
		t.clock = max(t.clock, due)
		if expired {
			t.remove(f, ReasonExpired)
		} else {
			t.fire(f)
		}
	}
	t.clock = max(t.clock, clock)
}

// forgetUntil forgets the closed flows whose time is over, and returns when that
// of the next one is.
func (t *Table) forgetUntil(clock int64) int64 {
	for {
		r := t.index.closed.oldest()
		switch {
		case r == nil:
			return math.MaxInt64
		case r.closed+t.linger > clock:
			return r.closed + t.linger
		}
		t.forgetOldest()
	}
}

func (t *Table) forgetOldest() {
	t.index.forgetOldest()
	t.stats.Flows--
}

// earliest returns the flow whose time comes first, math.MaxInt64 and nil if
// there is none, and whether it is the time of its expiry.
func (t *Table) earliest() (first *Flow, due int64, expired bool) {
	due = math.MaxInt64
	if len(t.timers) > 0 {
		first, due = t.timers[0], t.timers[0].due
	}
	for i := range t.lists {
		if f := t.lists[i].oldest; f != nil && f.listed+t.lists[i].timeout < due {
			first, due, expired = f, f.listed+t.lists[i].timeout, true
		}
	}
	return first, due, expired
}

// Close ends all flows: the input has ended.
func (t *Table) Close() {
	for t.index.closed.oldest() != nil {
		t.forgetOldest()
	}
	for _, id := range []listID{listOpen, listIdle} {
		for l := &t.lists[id]; l.oldest != nil; {
			t.remove(l.oldest, ReasonEndOfInput)
		}
	}
}

// open makes a flow for p, given with its key and the hash of that. If the table
// is full, another one goes.
func (t *Table) open(k *key, hash uint32, p *capture.Packet) *Flow {
	if t.index.taken >= t.config.MaxFlows {
		t.evict()
	}
	var f *Flow
	if n := len(t.spare); n > 0 {
		f, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		f = new(Flow)
	}
	t.serial++
	*f = Flow{key: *k, serial: t.serial, timer: -1, client: -1, wrapping: p.Wrapping}
	t.index.add(hash, f)
	t.stats.Flows++
	t.stats.FlowsOpened++
	t.place(f, listOpen)
	return f
}

// evict makes room for a flow: the least valuable one goes.
func (t *Table) evict() {
	open, idle := &t.lists[listOpen], &t.lists[listIdle]
	switch {
	case t.index.closed.oldest() != nil:
		t.forgetOldest()
		t.stats.EvictedClosed++
	case open.oldest != nil:
		t.stats.EvictedOpen++
		t.remove(open.oldest, ReasonEvicted)
	default:
		t.stats.EvictedIdle++
		t.remove(idle.oldest, ReasonEvicted)
	}
}

// remove ends a flow, and forgets it at once.
func (t *Table) remove(f *Flow, why Reason) {
	t.end(f, why)
	t.index.removeFlow(f)
	t.stats.Flows--
	t.recycle(f)
}

// recycle takes a flow to be used again, that of the next packet at the earliest.
func (t *Table) recycle(f *Flow) {
	if len(t.spare) < maxSpare {
		t.spare = append(t.spare, f)
	}
}
