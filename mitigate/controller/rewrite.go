package controller

import (
	"context"
	"slices"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// isBeyond says that more is wanted than the target can compare, and that there is room
// for it.
func (w *worker) isBeyond(r mitigate.Rewriter) bool {
	w.controller.mu.Lock()
	defer w.controller.mu.Unlock()
	wanted := len(w.controller.desired.bySubject)
	return wanted > r.Comparable() && wanted <= w.target.Capacity()
}

// rewrite is the full comparison of a target that can't compare as much as is wanted. It
// looks at none of the many, so that neither what is new nor anybody else waits for it:
// they become the backlog.
func (w *worker) rewrite(ctx context.Context, r mitigate.Rewriter) {
	broad, backlog, since := w.split()
	limited, cancel := context.WithTimeout(ctx, w.controller.config.OrderTimeout)
	defer cancel()
	err := w.putAllow(limited)
	var report mitigate.SyncReport
	if err == nil {
		report, err = r.Rewrite(limited, broad)
	}
	if err != nil && !isRejection(err) {
		w.undo(since)
		if ctx.Err() == nil {
			w.fail(err)
		}
		return
	}
	w.mu.Lock()
	w.applied = make(map[detect.Subject]mitigate.Entry, len(broad))
	for _, e := range broad {
		w.applied[e.Subject] = e
	}
	w.backlog, w.unlisted = backlog, true
	w.reject(err)
	w.mu.Unlock()
	w.keepNews(since)
	w.synced(report, len(backlog))
}

// split makes the entries that are not about one address alone, and the ids of all. It
// takes over all changes noted so far.
func (w *worker) split() (broad []mitigate.Entry, ids []mitigate.ID, since map[detect.Subject]time.Time) {
	w.controller.mu.Lock()
	defer w.controller.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	since, w.dirty = w.dirty, make(map[detect.Subject]time.Time)
	w.overflow, w.full = false, false
	clear(w.unsupported)
	clear(w.rejected)
	desired := w.controller.desired
	now := time.Now().Unix()
	for s := range desired.broad {
		if it := w.inForce(desired.bySubject[s], now, nil); it != nil {
			broad = append(broad, it.entry)
		}
	}
	ids = make([]mitigate.ID, len(desired.expiry.items))
	for i, it := range desired.expiry.items {
		ids[i] = it.entry.ID
	}
	return broad, ids, since
}

// keepNews leaves of the changes noted before a rewrite those that the backlog does not
// bring, and those that are so young that they go before it.
func (w *worker) keepNews(since map[detect.Subject]time.Time) {
	old := time.Now().Add(-fullInterval)
	subjects := make([]detect.Subject, 0, len(since))
	for s := range since {
		subjects = append(subjects, s)
	}
	for part := range slices.Chunk(subjects, maxDelta) { // nobody is to wait for all of them
		w.controller.mu.Lock()
		w.mu.Lock()
		for _, s := range part {
			at := since[s]
			if _, wanted := w.controller.desired.bySubject[s]; wanted && at.Before(old) {
				continue
			}
			if later, ok := w.dirty[s]; !ok || at.Before(later) {
				w.dirty[s] = at
			}
		}
		w.mu.Unlock()
		w.controller.mu.Unlock()
	}
}
