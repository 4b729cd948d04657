package engine

import (
	"offpath/detect"
	"offpath/detect/internal/snapshot"
)

// sightLasts is how long after a refusal was seen the mirror counts as showing
// refusals, ns.
const sightLasts = 60e9

// showsWithin is how long a refusal takes at most from a load balancer's counter to
// here by way of the mirror, ns.
const showsWithin = 1e9

// mostLag is by how much detection's clock may lag behind the time of a reading, ns:
// more is a clock that is wrong.
const mostLag = 60e9

// maxHits bounds what waits: a tenth of a million verdicts read eight times a second.
const maxHits = 1 << 20

// hit is what a load balancer has counted, which the mirror may still show.
type hit struct {
	verdict string
	refused uint64
	at      int64 // event time at which it was read
}

// Hits takes what load balancers counted: refusals keep a verdict alive as
// refusals seen on the mirror do. Counts of a verdict whose refusals are seen say
// nothing new; so they wait until these would have been. Those beyond a million that
// wait count at once.
func (e *Engine) Hits(hits []detect.Hits) {
	for _, h := range hits {
		if h.Refused == 0 || e.verdicts.byID[h.Verdict] == nil {
			continue
		}
		if len(e.hits) >= maxHits {
			e.takeHit()
		}
		// Where detection lags behind the load balancer, so does what the mirror shows.
		at := min(max(e.clock, h.Time), e.clock+mostLag)
		e.hits = append(e.hits, hit{h.Verdict, h.Refused, at})
	}
}

// takeHits takes those that have waited.
func (e *Engine) takeHits() {
	for len(e.hits) > 0 && e.clock-e.hits[0].at >= showsWithin {
		e.takeHit()
	}
}

func (e *Engine) takeHit() {
	h := e.hits[0]
	if e.hits = e.hits[1:]; len(e.hits) == 0 {
		e.hits = nil
	}
	a := e.verdicts.byID[h.verdict]
	if a == nil || a.marked != 0 && e.clock-a.marked < sightLasts {
		return
	}
	e.refusals(a, h.refused)
}

func (h *hit) state(c *snapshot.Codec) {
	snapshot.String(c, &h.verdict)
	snapshot.Uint(c, &h.refused)
	snapshot.Int(c, &h.at)
}
