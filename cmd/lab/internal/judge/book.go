package judge

import (
	"net/netip"

	"offpath/detect"
)

// latency is how long after its decision a verdict is in force at the load
// balancers, ns of event time.
const latency = 1e9

// entry is a verdict as the load balancers know it.
type entry struct {
	id      string
	verdict detect.Verdict
	from    int64 // decided; in force latency later
	until   int64 // expires, or was lifted
	// following is how many of the attacker's logins it matched within a minute
	// after it came into force.
	following int
	counts    map[netip.Addr]*window // with rate_limit
}

// window counts the requests of a client in a period.
type window struct {
	begin int64
	n     int
}

// book is all verdicts, those in force to be found by what they match.
type book struct {
	byID  map[string]*entry
	index index[*entry]
	all   []*entry
	ended []*entry // to be taken out of the index
}

func newBook() *book { return &book{byID: make(map[string]*entry)} }

// enforces reports whether an action keeps a request from the application.
func enforces(a detect.Action) bool {
	switch a {
	case detect.ActionBlock, detect.ActionRateLimit, detect.ActionChallenge, detect.ActionDeceive:
		return true
	}
	return false
}

// apply takes a line about a verdict.
func (b *book) apply(v *detect.Verdict) {
	e := b.byID[v.ID]
	if v.Action == detect.ActionLift {
		if e != nil {
			e.until = min(e.until, v.Time)
			b.forget(e)
		}
		return
	}
	if !enforces(v.Action) {
		return
	}
	if e != nil && v.Time < e.until && canonical(v.Subject) == canonical(e.verdict.Subject) {
		e.verdict, e.until = *v, v.Expires
		return
	}
	if e != nil { // of another subject, or in force anew
		e.until = min(e.until, v.Time)
		b.forget(e)
	}
	e = &entry{id: v.ID, verdict: *v, from: v.Time, until: v.Expires}
	b.byID[v.ID] = e
	b.all = append(b.all, e)
	b.index.add(v.Subject, e)
}

// forget ends an entry. It stays to be found until purge: requests that were
// made before its end may not have been judged.
func (b *book) forget(e *entry) {
	b.ended = append(b.ended, e)
	if b.byID[e.id] == e {
		delete(b.byID, e.id)
	}
}

// purge says that all requests that ended before now are judged.
func (b *book) purge() {
	for _, e := range b.ended {
		b.index.remove(e.verdict.Subject, func(o *entry) bool { return o == e })
	}
	b.ended = b.ended[:0]
}

// match calls f with the entries in force for a request that began at a time.
func (b *book) match(r *features, start int64, f func(*entry) (enough bool)) {
	if len(b.all) == 0 {
		return
	}
	b.index.each(r, func(e *entry) bool {
		return start >= e.from+latency && start < e.until && f(e)
	})
}

// stops reports whether an entry that matches keeps this request from the
// application.
func (e *entry) stops(client netip.Addr, start int64) bool {
	if e.verdict.Action != detect.ActionRateLimit {
		return true
	}
	if e.counts == nil {
		e.counts = make(map[netip.Addr]*window)
	}
	w := e.counts[client]
	if w == nil {
		w = new(window)
		e.counts[client] = w
	}
	if per := max(e.verdict.Rate.Per, 1); start >= w.begin+per || w.n == 0 {
		w.begin, w.n = start, 0
	}
	w.n++
	return w.n > e.verdict.Rate.Requests
}
