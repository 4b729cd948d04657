package controller

import (
	"context"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// readHits reads the target's counters and hands on what is new.
func (w *worker) readHits(ctx context.Context) {
	var read []mitigate.Hits
	err := w.attempt(ctx, func(ctx context.Context) (err error) {
		read, err = w.target.Hits(ctx)
		return err
	})
	if err != nil {
		return
	}
	hits := w.countHits(read, time.Now())
	if len(hits) == 0 || w.controller.config.OnHits == nil {
		return
	}
	w.controller.hitsMu.Lock()
	defer w.controller.hitsMu.Unlock()
	w.controller.config.OnHits(hits)
}

// countHits brings counters that may begin anew at any time to differences, for
// active verdicts.
func (w *worker) countHits(read []mitigate.Hits, now time.Time) []detect.Hits {
	w.controller.mu.Lock()
	defer w.controller.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	active := w.controller.desired.byID
	for id := range w.hits {
		if active[id] == nil {
			delete(w.hits, id)
		}
	}
	var hits []detect.Hits
	for _, h := range read {
		if active[h.ID] == nil {
			continue
		}
		count := w.hits[h.ID]
		if count == nil {
			count = new(hitCount)
			w.hits[h.ID] = count
		}
		refused := difference(h.Refused, &count.last.Refused)
		passed := difference(h.Passed, &count.last.Passed)
		count.total.Refused += refused
		count.total.Passed += passed
		if refused+passed > 0 {
			hits = append(hits, detect.Hits{
				Verdict: h.ID.String(),
				Target:  w.target.Name(),
				Time:    now.UnixNano(),
				Refused: refused,
				Passed:  passed,
			})
		}
	}
	return hits
}

// difference is what a counter counted since it was last read; one that is
// smaller than before began anew. One that is 0 was not among those lately hit,
// which says nothing of it.
func difference(now uint64, last *uint64) uint64 {
	before := *last
	if now == 0 {
		return 0
	}
	*last = now
	if now < before {
		return now
	}
	return now - before
}
