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
		hold: int64(config.Hold), holdOneWay: int64(config.HoldOneWay),
		clock: math.MinInt64, next: math.MaxInt64,
		index: newIndex(), digests: maphash.MakeSeed(),
	}
	t.lists[listOpen].timeout = int64(config.HalfOpen)
	t.lists[listIdle].timeout = int64(config.Idle)
	t.lists[listClosed].timeout = int64(config.Linger)
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
			t.next = due
			break
		}
		t.clock = max(t.clock, due)
		if expired {
			t.expire(f)
		} else {
			t.fire(f)
		}
	}
	t.clock = max(t.clock, clock)
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

// expire ends a flow that was idle for too long, and forgets one that was
// closed before.
func (t *Table) expire(f *Flow) {
	t.close(f, ReasonExpired)
	t.forget(f)
}

// Close ends all flows: the input has ended.
func (t *Table) Close() {
	for _, id := range []listID{listClosed, listOpen, listIdle} {
		for l := &t.lists[id]; l.oldest != nil; {
			f := l.oldest
			t.close(f, ReasonEndOfInput)
			t.forget(f)
		}
	}
}

// open makes a flow for p, given with its key and the hash of that. If the table
// is full, another one goes.
func (t *Table) open(k *key, hash uint64, p *capture.Packet) *Flow {
	if t.index.flows >= t.config.MaxFlows {
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
	closed, open, idle := &t.lists[listClosed], &t.lists[listOpen], &t.lists[listIdle]
	var f *Flow
	switch {
	case closed.oldest != nil:
		f = closed.oldest
		t.stats.EvictedClosed++
	case open.oldest != nil:
		f = open.oldest
		t.stats.EvictedOpen++
	default:
		f = idle.oldest
		t.stats.EvictedIdle++
	}
	t.close(f, ReasonEvicted)
	t.forget(f)
}

// forget takes a closed flow out of the table.
func (t *Table) forget(f *Flow) {
	t.index.remove(f)
	t.lists[f.in].remove(f)
	t.timers.set(f, 0)
	t.stats.Flows--
	if len(t.spare) < maxSpare {
		t.spare = append(t.spare, f)
	}
}
