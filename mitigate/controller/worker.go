package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// maxDelta is the most orders of one delta, and maxAgain the most of it that are not
// new but written again: what a lift may have to wait for.
const maxDelta, maxAgain = 4096, 1024

// fullInterval is the least time between two choices of what a target that has
// no room for all is to hold.
const fullInterval = time.Second

// worker makes one target agree with the desired state. Three goroutines work for
// it: run, keepMode and keepHouse. Only run touches the fields marked as its own without
// the lock.
type worker struct {
	controller *Controller
	target     mitigate.Target

	wake   chan struct{} // verdicts changed
	wakeup chan struct{} // the mode changed

	mu sync.Mutex
	// dirty are the subjects whose desired state changed, and when that began.
	dirty map[detect.Subject]time.Time
	// applied is what the target has confirmed.
	applied map[detect.Subject]mitigate.Entry
	// backlog are the verdicts that a full comparison left to be written again, whatever
	// the target holds of them; they wait for what is new.
	backlog []mitigate.ID
	// unlisted says that the target may hold what is not in applied.
	unlisted bool
	// unsupported and rejected say why a verdict is not in force here.
	unsupported map[mitigate.ID]string
	rejected    map[mitigate.ID]string
	// full says that there is no room for all: each delta chooses anew.
	// overflow says that more changed than dirty may hold, which a full
	// comparison makes good.
	full     bool
	overflow bool
	allow    bool // the allow-list changed
	hits     map[mitigate.ID]*hitCount
	state    Target // what status shows, the counts of the tables above aside

	// run's own: the target's process at the last full comparison, and when a
	// second one is due after a connect or restart (zero: done).
	process string
	settled time.Time
}

// hitCount follows the counters of one verdict.
type hitCount struct {
	last  mitigate.Hits // as last read
	total mitigate.Hits // over all lives of the counters
}

func newWorker(c *Controller, t mitigate.Target) *worker {
	return &worker{
		controller:  c,
		target:      t,
		wake:        make(chan struct{}, 1),
		wakeup:      make(chan struct{}, 1),
		dirty:       make(map[detect.Subject]time.Time),
		applied:     make(map[detect.Subject]mitigate.Entry),
		unsupported: make(map[mitigate.ID]string),
		rejected:    make(map[mitigate.ID]string),
		hits:        make(map[mitigate.ID]*hitCount),
		state:       Target{Name: t.Name(), Kind: t.Kind(), Since: time.Now()},
	}
}

// touch notes that the desired state of a subject changed.
func (w *worker) touch(s detect.Subject) {
	w.mu.Lock()
	if _, ok := w.dirty[s]; !ok {
		if len(w.dirty) < w.controller.config.MaxVerdicts {
			w.dirty[s] = time.Now()
		} else {
			w.overflow = true
		}
	}
	w.mu.Unlock()
	poke(w.wake)
}

func (w *worker) touchAllow() {
	w.mu.Lock()
	w.allow = true
	w.mu.Unlock()
	poke(w.wake)
}

func (w *worker) wakeKeeper() { poke(w.wakeup) }

// poke wakes whoever waits on c; one poke is as good as many.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run reconciles verdicts and allow-list until the context ends.
func (w *worker) run(ctx context.Context) {
	config := &w.controller.config
	poll := time.NewTicker(config.PollInterval)
	defer poll.Stop()
	compare := time.NewTicker(config.CompareInterval)
	defer compare.Stop()

	w.look(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			if w.connected() {
				w.delta(ctx)
				// What comes in meanwhile goes with the next delta.
				select {
				case <-ctx.Done():
					return
				case <-time.After(config.Coalesce):
				}
			}
		case <-poll.C:
			w.look(ctx)
			if !w.connected() {
				continue
			}
			if !w.settled.IsZero() && time.Now().After(w.settled) {
				w.settled = time.Time{}
				w.sync(ctx)
			}
			w.delta(ctx) // what an earlier one had to put off
		case <-compare.C:
			if w.connected() {
				w.sync(ctx)
			}
		}
	}
}

// keepHouse reads hits and removes what has expired until the context ends: with many
// verdicts that takes seconds, for which no new one is to wait.
func (w *worker) keepHouse(ctx context.Context) {
	hits := time.NewTicker(w.controller.config.HitsInterval)
	defer hits.Stop()
	sweep := time.NewTicker(w.controller.config.SweepInterval)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hits.C:
			if w.connected() {
				w.readHits(ctx)
			}
		case <-sweep.C:
			if w.connected() {
				w.attempt(ctx, w.target.Sweep)
			}
		}
	}
}

// serve runs a target's own work, again after a failure, until the context ends.
func (w *worker) serve(ctx context.Context, r mitigate.Runner) {
	for ctx.Err() == nil {
		if err := r.Run(ctx); err != nil && ctx.Err() == nil {
			w.fail(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.controller.config.PollInterval):
		}
	}
}

func (w *worker) connected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.Connected
}

// look asks the target who it is. After a failure, and when it is not who it
// was, everything is compared.
func (w *worker) look(ctx context.Context) {
	var id mitigate.Identity
	err := w.order(ctx, func(ctx context.Context) (err error) {
		id, err = w.target.Identity(ctx)
		return err
	})
	if err != nil {
		return
	}
	w.mu.Lock()
	w.state.Identity = id
	connected := w.state.Connected
	restarted := w.process != "" && w.process != id.Process
	if restarted {
		w.state.Restarts++
		w.setConnected(false) // until everything is put back
	}
	w.mu.Unlock()
	if restarted {
		w.record("restarted", "", id.Process)
		w.wakeKeeper()
	}
	if !connected || restarted {
		w.process = id.Process
		w.settled = time.Now().Add(w.controller.config.Settle)
		w.sync(ctx)
	}
}

// order runs one exchange with the target within the timeout. If it fails,
// the target counts as disconnected until a full comparison succeeds.
func (w *worker) order(ctx context.Context, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, w.controller.config.OrderTimeout)
	defer cancel()
	err := f(limited)
	if err == nil || ctx.Err() != nil || isRejection(err) {
		return err
	}
	w.fail(err)
	return err
}

// attempt is order for what enforcement does not depend on: a failure is shown
// and the target stays connected.
func (w *worker) attempt(ctx context.Context, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, w.controller.config.OrderTimeout)
	defer cancel()
	err := f(limited)
	if err != nil && ctx.Err() == nil {
		w.mu.Lock()
		w.state.Errors++
		w.state.LastError = err.Error()
		w.mu.Unlock()
	}
	return err
}

func isRejection(err error) bool {
	var rejected *mitigate.RejectedError
	return errors.As(err, &rejected)
}

func (w *worker) fail(err error) {
	w.mu.Lock()
	w.state.Errors++
	news := w.state.Connected || w.state.Errors == 1
	w.state.LastError = err.Error()
	w.setConnected(false)
	state := w.state
	w.mu.Unlock()
	if news {
		w.record("disconnected", "", err.Error())
		w.tell(state)
	}
}

// tell says that the target was reached or is out of reach.
func (w *worker) tell(state Target) {
	if told := w.controller.config.OnTarget; told != nil {
		if _, ok := w.target.(mitigate.Publisher); ok {
			state = w.status() // it may be that nobody fetches
		}
		told(state)
	}
}

// setConnected needs the lock.
func (w *worker) setConnected(connected bool) {
	if w.state.Connected != connected {
		w.state.Connected = connected
		w.state.Since = time.Now()
	}
}

func (w *worker) record(what, verdict, detail string) {
	w.controller.record(AuditEntry{Who: whoController, What: what, Verdict: verdict, Target: w.target.Name(), Detail: detail})
}

// inForce is the verdict that this target is to hold of those on one subject: the
// strictest that it can carry. Those that it can't are noted; told, where there is one,
// hears of those that are news. Both locks are held.
func (w *worker) inForce(group []*item, now int64, told func(it *item, why string)) *item {
	for _, it := range group {
		if it.entry.Expires <= now {
			continue
		}
		err := w.target.Carries(&it.entry)
		if err == nil {
			return it
		}
		if _, known := w.unsupported[it.entry.ID]; !known && told != nil {
			told(it, err.Error())
		}
		w.unsupported[it.entry.ID] = err.Error()
	}
	return nil
}

// choose makes the entries that this target is to hold: per subject the verdict
// in force, the most important first as far as there is room. It takes over all
// changes noted so far.
func (w *worker) choose() (entries []mitigate.Entry, since map[detect.Subject]time.Time) {
	w.controller.mu.Lock()
	defer w.controller.mu.Unlock()
	items := make([]*item, 0, len(w.controller.desired.bySubject))
	now := time.Now().Unix()
	w.mu.Lock()
	defer w.mu.Unlock()
	since, w.dirty = w.dirty, make(map[detect.Subject]time.Time)
	w.overflow = false
	clear(w.unsupported)
	clear(w.rejected)
	for _, group := range w.controller.desired.bySubject {
		if it := w.inForce(group, now, nil); it != nil {
			items = append(items, it)
		}
	}
	w.full = len(items) > w.target.Capacity()
	if w.full {
		slices.SortFunc(items, func(a, b *item) int { return compareImportance(b, a) })
		for _, it := range items[w.target.Capacity():] {
			w.rejected[it.entry.ID] = fmt.Sprintf("the target has room for %d verdicts", w.target.Capacity())
		}
		items = items[:w.target.Capacity()]
	}
	entries = make([]mitigate.Entry, len(items))
	for i, it := range items {
		entries[i] = it.entry
	}
	return entries, since
}

// sync is the full comparison.
func (w *worker) sync(ctx context.Context) {
	if r, ok := w.target.(mitigate.Rewriter); ok && w.isBeyond(r) {
		w.rewrite(ctx, r)
		return
	}
	began := time.Now()
	entries, since := w.choose()
	var report mitigate.SyncReport
	// A full load takes its time.
	timeout := w.controller.config.OrderTimeout * time.Duration(1+len(entries)/100_000)
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := w.putAllow(limited)
	if err == nil {
		report, err = w.target.Sync(limited, entries)
	}
	if (err == nil || isRejection(err)) && !report.Compared {
		// What it holds was not listed: take out what is known to be there.
		if gone := w.gone(entries); len(gone) > 0 {
			if applyErr := w.target.Apply(limited, nil, gone); applyErr != nil && !isRejection(applyErr) {
				err = applyErr
			}
		}
	}
	w.mu.Lock()
	written := report.Compared
	full := w.full
	w.mu.Unlock()
	if err == nil && !written && full { // each delta chooses anew: there is no later
		err, written = w.write(limited, entries), true
	}
	if err != nil && !isRejection(err) {
		w.undo(since)
		if ctx.Err() == nil {
			w.fail(err)
		}
		return
	}

	w.mu.Lock()
	w.applied = make(map[detect.Subject]mitigate.Entry, len(entries))
	w.backlog, w.unlisted = nil, !report.Compared
	for _, e := range entries {
		if written {
			w.applied[e.Subject] = e
		} else {
			w.backlog = append(w.backlog, e.ID)
		}
	}
	if !written { // what has just changed goes first
		maps.DeleteFunc(since, func(_ detect.Subject, at time.Time) bool { return at.Before(began.Add(-fullInterval)) })
		maps.Copy(w.dirty, since)
		since = nil
	}
	w.reject(err)
	w.confirm(since)
	w.mu.Unlock()
	w.synced(report, len(entries))
}

// putAllow hands the allow-list over.
func (w *worker) putAllow(ctx context.Context) error {
	w.mu.Lock()
	w.allow = false
	w.mu.Unlock()
	return w.target.SetAllow(ctx, w.controller.allowList())
}

// synced ends a full comparison that succeeded.
func (w *worker) synced(report mitigate.SyncReport, wanted int) {
	w.mu.Lock()
	steady := w.state.Connected
	w.setConnected(true)
	w.state.LastError = ""
	w.state.LastSync = time.Now()
	w.state.Syncs++
	if steady && report.Compared {
		w.state.Drift += uint64(report.Set + report.Removed)
	}
	state := w.state
	w.mu.Unlock()
	if !steady {
		what := fmt.Sprintf("%d in force, %d set, %d removed", wanted, report.Set, report.Removed)
		if !report.Compared {
			what = fmt.Sprintf("%d to be written", wanted)
		}
		w.record("connected", "", what)
		w.tell(state)
	} else if report.Set+report.Removed > 0 && report.Compared {
		w.record("synced", "", fmt.Sprintf("%d set, %d removed", report.Set, report.Removed))
	}
	w.wakeKeeper() // it may be that only now the target takes a mode
}

// write puts entries in force, whatever the target holds of them.
func (w *worker) write(ctx context.Context, entries []mitigate.Entry) error {
	all := &mitigate.RejectedError{Target: w.target.Name()}
	for part := range slices.Chunk(entries, maxDelta) {
		err := w.target.Apply(ctx, part, nil)
		var rejected *mitigate.RejectedError
		switch {
		case errors.As(err, &rejected):
			all.Rejections = append(all.Rejections, rejected.Rejections...)
		case err != nil:
			return err
		}
	}
	if len(all.Rejections) > 0 {
		return all
	}
	return nil
}

// gone are the subjects that the target has confirmed and that are not among
// the entries.
func (w *worker) gone(entries []mitigate.Entry) []detect.Subject {
	wanted := make(map[detect.Subject]bool, len(entries))
	for i := range entries {
		wanted[entries[i].Subject] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var gone []detect.Subject
	for s := range w.applied {
		if !wanted[s] {
			gone = append(gone, s)
		}
	}
	return gone
}

// undo puts changes back that could not be sent.
func (w *worker) undo(since map[detect.Subject]time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s, t := range since {
		if later, ok := w.dirty[s]; !ok || t.Before(later) {
			w.dirty[s] = t
		}
	}
}

// reject notes what the target refused; it needs the lock.
func (w *worker) reject(err error) {
	var rejected *mitigate.RejectedError
	if !errors.As(err, &rejected) {
		return
	}
	w.state.Errors++
	refused := make(map[mitigate.ID]bool)
	for i, r := range rejected.Rejections {
		refused[r.ID] = true
		w.rejected[r.ID] = r.Answer
		if i < 10 {
			w.record("rejected", r.ID.String(), r.Answer)
		}
	}
	maps.DeleteFunc(w.applied, func(_ detect.Subject, e mitigate.Entry) bool { return refused[e.ID] })
}

// confirm measures how long changes took; it needs the lock.
func (w *worker) confirm(since map[detect.Subject]time.Time) {
	now := time.Now()
	var last time.Duration
	for _, t := range since {
		last = max(last, now.Sub(t))
	}
	if len(since) > 0 {
		w.state.LastLatency = last
		w.state.MaxLatency = max(w.state.MaxLatency, last)
	}
}

// delta sends what changed.
func (w *worker) delta(ctx context.Context) {
	w.mu.Lock()
	allow, full, synced := w.allow, w.full || w.overflow, w.state.LastSync
	w.allow = false
	w.mu.Unlock()
	if allow {
		list := w.controller.allowList()
		if err := w.order(ctx, func(ctx context.Context) error { return w.target.SetAllow(ctx, list) }); err != nil {
			w.touchAllow()
			return
		}
	}
	for ctx.Err() == nil {
		d := w.changes(maxDelta)
		if len(d.since) == 0 {
			return
		}
		if full || d.full {
			w.undo(d.since)
			if time.Since(synced) >= fullInterval {
				w.sync(ctx)
			}
			return
		}
		if !w.send(ctx, d) {
			return
		}
	}
}

// change is a delta.
type change struct {
	set    []mitigate.Entry
	remove []detect.Subject
	since  map[detect.Subject]time.Time
	full   bool // there is no room for all
}

// changes takes up to limit subjects that changed and compares what they should
// be with what the target holds.
func (w *worker) changes(limit int) change {
	w.controller.mu.Lock()
	defer w.controller.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now().Unix()
	n := min(limit, len(w.dirty)+min(maxAgain, len(w.backlog)))
	d := change{set: make([]mitigate.Entry, 0, n), since: make(map[detect.Subject]time.Time, n)}
	room := w.target.Capacity() - len(w.applied)
	var gone []detect.Subject
	take := func(s detect.Subject, since time.Time) {
		d.since[s] = since
		held, holds := w.applied[s]
		it := w.inForce(w.controller.desired.bySubject[s], now, func(it *item, why string) { w.record("unsupported", it.verdict.ID, why) })
		switch {
		case it != nil && (!holds || held != it.entry):
			d.set = append(d.set, it.entry)
			if !holds {
				room--
			}
		case it == nil && holds && held.Expires <= now:
			delete(w.applied, s) // it has ended by the target's clock
			room++
			gone = append(gone, s)
		case it == nil && holds:
			d.remove = append(d.remove, s)
			room++
			gone = append(gone, s)
		case it == nil && w.unlisted:
			d.remove = append(d.remove, s)
		}
	}
	for s, since := range w.dirty {
		if len(d.since) >= limit {
			break
		}
		delete(w.dirty, s)
		take(s, since)
	}
	for again := 0; again < maxAgain && len(d.since) < limit && len(w.backlog) > 0; {
		last := len(w.backlog) - 1
		it := w.controller.desired.byID[w.backlog[last]]
		w.backlog = w.backlog[:last]
		if it == nil {
			continue
		}
		if _, taken := d.since[it.entry.Subject]; !taken {
			take(it.entry.Subject, time.Now())
			again++
		}
	}
	w.again(gone)
	d.full = room < 0
	return d
}

// again has verdicts that the target refused written once more, since others have gone: those
// that lie within one of these or around it, and as many more as there may now be room for.
// Where there is no room for all, each delta chooses anew. Both locks are held.
func (w *worker) again(gone []detect.Subject) {
	if len(gone) == 0 || w.full {
		return
	}
	// Of very many some are looked at; a full comparison tries all.
	looks, near := maxDelta, gone[:min(64, len(gone))]
	room := len(gone)
	for id := range w.rejected {
		if looks--; looks < 0 || len(w.backlog) >= maxAgain {
			return
		}
		it := w.controller.desired.byID[id]
		if it == nil {
			continue
		}
		client := it.entry.Subject.Client
		if !slices.ContainsFunc(near, func(s detect.Subject) bool { return client.Overlaps(s.Client) }) {
			if room == 0 {
				continue
			}
			room--
		}
		w.backlog = append(w.backlog, id)
	}
}

// send brings a delta to the target and says whether it arrived.
func (w *worker) send(ctx context.Context, d change) bool {
	if len(d.set)+len(d.remove) == 0 {
		return true
	}
	// Always in the same order, for whoever reads what was sent.
	slices.SortFunc(d.set, func(a, b mitigate.Entry) int { return cmp.Compare(a.ID, b.ID) })
	err := w.order(ctx, func(ctx context.Context) error { return w.target.Apply(ctx, d.set, d.remove) })
	if err != nil && !isRejection(err) {
		w.undo(d.since)
		return false
	}
	w.mu.Lock()
	fresh := make([]mitigate.ID, 0, len(d.set))
	for _, e := range d.set {
		if held, ok := w.applied[e.Subject]; !ok || held.ID != e.ID {
			fresh = append(fresh, e.ID)
		}
		w.applied[e.Subject] = e
		delete(w.rejected, e.ID)
	}
	for _, s := range d.remove {
		delete(w.applied, s)
	}
	w.reject(err)
	w.confirm(d.since)
	latency := w.state.LastLatency
	w.mu.Unlock()
	if err == nil {
		what := "in_force"
		if _, ok := w.target.(mitigate.Publisher); ok {
			what = "published"
		}
		for _, id := range fresh {
			w.record(what, id.String(), "after "+latency.Round(time.Microsecond).String())
		}
	}
	return true
}

// allowList is the allow-list as targets are to hold it.
func (c *Controller) allowList() []netip.Prefix {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.rails.allow)
}

// status is the target's state now.
func (w *worker) status() Target {
	wanted, _ := w.controller.wantedMode(w.target.Name())
	publisher, publishes := w.target.(mitigate.Publisher)
	var fetching mitigate.Fetching
	if publishes {
		fetching = publisher.Fetching()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state
	if f, ok := w.target.(mitigate.Faulter); ok {
		s.Faults = f.Faults()
	}
	s.Wanted = wanted
	s.InForce = len(w.applied)
	s.Pending = len(w.dirty) + len(w.backlog)
	s.Unsupported = len(w.unsupported)
	s.Rejected = len(w.rejected)
	now, seen := time.Now(), 0
	for _, t := range w.dirty {
		s.Lag = max(s.Lag, now.Sub(t))
		if seen++; seen >= maxDelta { // of very many some tell as well, and nobody waits
			break
		}
	}
	if publishes {
		s.Fetching = &fetching
		behind := min(fetching.Behind, s.InForce)
		s.InForce -= behind
		s.Pending += behind
		s.Lag = max(s.Lag, fetching.Oldest)
		if s.Connected && fetching.Current() == 0 {
			s.Connected, s.LastError = false, "nobody fetches from it"
		}
	}
	return s
}

// verdictState is what became of a verdict here, one of a group on the same subject.
func (w *worker) verdictState(it *item, group []*item) TargetVerdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := TargetVerdict{Target: w.target.Name(), State: StatePending}
	unsupported, isUnsupported := w.unsupported[it.entry.ID]
	rejected, isRejected := w.rejected[it.entry.ID]
	shadowed := false
	for _, stricter := range group[:slices.Index(group, it)] {
		_, cant := w.unsupported[stricter.entry.ID]
		shadowed = shadowed || !cant
	}
	switch held := w.applied[it.entry.Subject]; {
	case shadowed:
		v.State = StateShadowed
	case isUnsupported:
		v.State, v.Detail = StateUnsupported, unsupported
	case isRejected:
		v.State, v.Detail = StateRejected, rejected
	case held == it.entry:
		v.State = StateInForce
	case held.ID == it.entry.ID && sameOrder(held, it.entry):
		v.State = StateInForce // its later end is on its way
	}
	if p, ok := w.target.(mitigate.Publisher); ok && v.State == StateInForce {
		if why := p.Unfetched(it.entry.ID); why != "" {
			v.State, v.Detail = StatePending, why
		}
	}
	if h := w.hits[it.entry.ID]; h != nil {
		v.Refused, v.Passed = h.total.Refused, h.total.Passed
	}
	return v
}
