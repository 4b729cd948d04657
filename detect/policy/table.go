package policy

import (
	"cmp"
	"math"
	"math/bits"
	"time"

	"offpath/detect/internal/generations"
)

const (
	// parts is into how many parts a window is cut: what is older is forgotten a
	// part at a time, so that at least 7/8 of the window counts and at most all.
	parts = 8
	// spans is the same of what counts different things: at least 3/4 count.
	spans = 4
	// looks is how many entities the hand looks at.
	looks = 8
	// strikesLast is how long those who had a verdict are kept before others, ns: as
	// long as a verdict lasts at most.
	strikesLast = int64(24 * time.Hour)
)

// Key names an entity: of each of its members 128 bits, which are the value itself
// (an address, a keyed hash) or a hash that can't be made to collide.
type Key [maxMembers][2]uint64

// Table counts what the entities of one policy do within its window, in event time.
// It belongs to one goroutine. It is bounded: when it is full the hand of a clock
// looks at the next few entities: one without a verdict of late makes room before one
// with, then the one of the fewest requests within the window, then the one seen the
// longest ago, so that invented names push out each other. What it holds depends on the calls alone.
//
// How many different accounts, endpoints and clients there were is estimated by
// linear counting in 128 bits: to about 5 % at 100, and never above [MostDistinct].
type Table struct {
	width     int64 // of a part, ns
	limit     int
	index     map[Key]int32
	entities  []entity
	sketches  []sketches // of the entities, where the condition asks for them
	distinct  bool
	hand      int
	evictions uint64
}

// entity is what is counted of one. Numbers of parts are their time by width.
type entity struct {
	key     Key
	last    int64 // number of the latest part that counts
	counts  [parts]tally
	said    int64 // event time at which it was found without a verdict for want of room
	strikes uint8 // verdicts so far
}

// tally is the counts of a part.
type tally struct{ requests, logins, failures, successes, errors uint32 }

// sketches are the different things of an entity, by span of two parts.
type sketches struct{ accounts, endpoints, clients [spans]sketch }

type sketch [2]uint64

// MostDistinct is what the estimates of different things end at.
var MostDistinct = int64(128*math.Log(128/0.5) + 0.5)

// NewTable makes the Table of a policy of an operator's own, for at most limit
// entities.
func NewTable(p *Policy, limit int) *Table {
	return &Table{
		width: max(int64(p.Window/parts), int64(time.Millisecond)), limit: limit,
		index: make(map[Key]int32), distinct: p.Condition != nil && p.Condition.distinct,
	}
}

// Seen is what is counted of a request.
type Seen struct {
	Login, Failure, Success, Error bool
	Account, Endpoint, Client      uint64 // as numbers; 0: unknown
}

// Count adds a request of an entity at an event time (ns since the epoch), and
// returns what the entity did within the window. Calls come in the order of time.
func (t *Table) Count(k Key, time int64, s *Seen) Counts {
	i := t.get(k, time/t.width)
	e := &t.entities[i]
	part := time / t.width
	n := &e.counts[part%parts]
	n.requests++
	n.logins += one(s.Login)
	n.failures += one(s.Failure)
	n.successes += one(s.Success)
	n.errors += one(s.Error)
	var c Counts
	for i := range e.counts {
		n := &e.counts[i]
		c.Requests += int64(n.requests)
		c.Logins += int64(n.logins)
		c.Failures += int64(n.failures)
		c.Successes += int64(n.successes)
		c.Errors += int64(n.errors)
	}
	if t.distinct {
		d, span := &t.sketches[i], part/(parts/spans)%spans
		c.Accounts = add(&d.accounts, span, s.Account)
		c.Endpoints = add(&d.endpoints, span, s.Endpoint)
		c.Clients = add(&d.clients, span, s.Client)
	}
	return c
}

func one(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// get finds an entity or makes it, and brings it to a part.
func (t *Table) get(k Key, part int64) int32 {
	i, ok := t.index[k]
	if !ok {
		i = t.room(part)
		t.entities[i] = entity{key: k, last: part}
		t.index[k] = i
		if t.distinct {
			t.sketches[i] = sketches{}
		}
		return i
	}
	e := &t.entities[i]
	for passed := min(part-e.last, parts); passed > 0; passed-- {
		e.counts[(part-passed+1)%parts] = tally{}
	}
	const per = parts / spans
	if t.distinct {
		d := &t.sketches[i]
		for passed := min(part/per-e.last/per, spans); passed > 0; passed-- {
			span := (part/per - passed + 1) % spans
			d.accounts[span], d.endpoints[span], d.clients[span] = sketch{}, sketch{}, sketch{}
		}
	}
	e.last = max(e.last, part)
	return i
}

// standing is what speaks for keeping an entity, the weightiest first. When it was
// seen says least: in a long window all were seen in the same part of it.
type standing struct {
	struck   bool
	requests uint64 // within the window
	last     int64
}

func (t *Table) standing(e *entity, part int64) standing {
	s := standing{struck: e.strikes > 0 && part-e.last <= strikesLast/t.width, last: e.last}
	for i := range int64(parts) {
		if part-e.last+i < parts {
			s.requests += uint64(e.counts[(e.last-i+parts)%parts].requests)
		}
	}
	return s
}

func (s standing) compare(o standing) int {
	switch {
	case s.struck != o.struck && o.struck:
		return -1
	case s.struck != o.struck:
		return 1
	}
	return cmp.Or(cmp.Compare(s.requests, o.requests), cmp.Compare(s.last, o.last))
}

// room is a free place, or that of the entity which makes room at a part.
func (t *Table) room(part int64) int32 {
	if len(t.entities) < t.limit {
		t.entities = append(t.entities, entity{})
		if t.distinct {
			t.sketches = append(t.sketches, sketches{})
		}
		return int32(len(t.entities) - 1)
	}
	var victim int
	var least standing
	for n := range looks {
		t.hand = (t.hand + 1) % len(t.entities)
		if s := t.standing(&t.entities[t.hand], part); n == 0 || s.compare(least) < 0 {
			victim, least = t.hand, s
		}
	}
	delete(t.index, t.entities[victim].key)
	t.evictions++
	return int32(victim)
}

// Strike says that an entity gets a verdict, and how many it had before.
func (t *Table) Strike(k Key) (before int) {
	i, ok := t.index[k]
	if !ok {
		return 0
	}
	e := &t.entities[i]
	before = int(e.strikes)
	e.strikes = max(e.strikes, min(e.strikes+1, 32))
	return before
}

// sayAgain is after how long an entity is found again for which there is no room for
// a verdict, ns.
const sayAgain = int64(10 * time.Minute)

// Say reports whether an entity for whose verdict there is no room is to be found,
// at an event time: not again and again.
func (t *Table) Say(k Key, time int64) bool {
	i, ok := t.index[k]
	if !ok || t.entities[i].said != 0 && time < t.entities[i].said+sayAgain {
		return false
	}
	t.entities[i].said = time
	return true
}

// Pardon lets an entity start anew.
func (t *Table) Pardon(k Key) {
	i, ok := t.index[k]
	if !ok {
		return
	}
	t.entities[i] = entity{key: k, last: t.entities[i].last}
	if t.distinct {
		t.sketches[i] = sketches{}
	}
}

// Distinct reports whether it counts different things.
func (t *Table) Distinct() bool { return t.distinct }

// Len is how many entities there are; Evictions how many were forgotten for want of
// room.
func (t *Table) Len() int          { return len(t.entities) }
func (t *Table) Evictions() uint64 { return t.evictions }

// add counts a number (0: none) in a span, and estimates how many different ones
// there are in all spans.
func add(of *[spans]sketch, span int64, n uint64) int64 {
	if n != 0 {
		bit := generations.Mix(0, n) & 127
		of[span][bit>>6] |= 1 << (bit & 63)
	}
	var all sketch
	for i := range of {
		all[0] |= of[i][0]
		all[1] |= of[i][1]
	}
	free := 128 - bits.OnesCount64(all[0]) - bits.OnesCount64(all[1])
	return int64(128*math.Log(128/max(float64(free), 0.5)) + 0.5)
}
