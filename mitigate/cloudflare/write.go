package cloudflare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

const (
	// renewAhead is how long before the end that an item's comment tells the item of a
	// verdict that lasts longer is written anew. Until then a renewal costs nothing.
	renewAhead = 2 * time.Minute
	// maxSearches is how many items are searched for one by one, rather than listed.
	maxSearches = 4
	// minPart is the least that what Cloudflare refuses is tried in.
	minPart = 64
	// sweepTime is how long others wait for what is done without an order.
	sweepTime = 30 * time.Second
	// maxFailures is how many such parts in turn fail before the rest is given up.
	maxFailures = 2
)

// What offpath has in the allow-list: networks that are allowed, and an item of no meaning
// that is written in order to see that nothing is under way.
const (
	allowComment  = "offpath allow"
	settleComment = "offpath settles by this"
	settleAddress = "192.0.2.0" // RFC 5737: no client's
)

// errNotCompared says that what the list holds, or is to hold, is not known.
var errNotCompared = errors.New("cloudflare: nothing can be changed before a full comparison")

// change has Cloudflare change a list, and waits until it has done so. The caller is the
// writer.
func (t *Target) change(ctx context.Context, begin func(ctx context.Context) (operation string, err error)) error {
	if err := t.changes.Wait(ctx); err != nil {
		return err
	}
	operation, err := begin(ctx)
	if err != nil {
		var refused *refusal
		var throttled *throttledError
		if isMissing(err) {
			t.forgetLists()
		}
		// What has no answer may have been begun.
		t.unsure = t.unsure || !errors.As(err, &refused) && !errors.As(err, &throttled)
		return err
	}
	t.pending = operation
	return t.finish(ctx)
}

// finish waits for the pending operation.
func (t *Target) finish(ctx context.Context) error {
	err := t.client.await(ctx, t.pending, t.options.Poll)
	if err == nil || hasFailed(err) || isMissing(err) { // it may be known for a while only
		t.pending = ""
	}
	return err
}

// settle returns when no operation of offpath's, of this process or one before, is under
// way: one that ends after a list was read would change it unseen. Cloudflare takes one
// operation of an account at a time and does not list them; so when one more has ended,
// all have.
func (t *Target) settle(ctx context.Context) error {
	if t.pending != "" {
		if err := t.finish(ctx); t.pending != "" {
			return err
		}
	}
	if !t.unsure {
		return nil
	}
	list, err := t.list(ctx, allowList)
	if err != nil {
		return err
	}
	err = t.change(ctx, func(ctx context.Context) (string, error) {
		return t.client.add(ctx, list, []newItem{{settleAddress, settleComment}})
	})
	if err != nil {
		return err
	}
	t.unsure = false
	return nil
}

// read reads the list of verdicts. The caller is the writer.
func (t *Target) read(ctx context.Context, list string) error {
	t.held = nil
	items, err := t.client.items(ctx, list, "")
	if err != nil {
		if isMissing(err) {
			t.forgetLists()
		}
		return err
	}
	t.held, t.others = holdings(items)
	return nil
}

// Apply implements [mitigate.Target]. When it returns, Cloudflare has taken the change;
// that all its data centres judge by it takes some seconds more.
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	if err := t.writer.Take(ctx); err != nil {
		return err
	}
	defer t.writer.End()
	if !t.ready || t.held == nil {
		return errNotCompared
	}
	come := make(map[netip.Prefix]record, len(set))
	for i := range set {
		client, r, err := t.place(&set[i])
		if err != nil {
			return err
		}
		come[client] = r
	}
	for _, s := range remove {
		if s == (detect.Subject{Client: s.Client}) { // else it was never set
			delete(t.entries, s.Client.Masked())
		}
	}
	maps.Copy(t.entries, come)
	list, err := t.list(ctx, blockList)
	if err != nil {
		return err
	}
	return t.write(ctx, list)
}

// Sync implements [mitigate.Target].
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	report := mitigate.SyncReport{Compared: true}
	if err := t.writer.Take(ctx); err != nil {
		return report, err
	}
	defer t.writer.End()
	t.entries, t.held, t.ready = nil, nil, false
	// An enforcement is not prolonged while nobody knows what ought to be enforced.
	defer func() { t.compared.Store(t.held != nil) }()
	wanted := make(map[netip.Prefix]record, len(entries))
	for i := range entries {
		client, r, err := t.place(&entries[i])
		if err != nil {
			return report, err
		}
		wanted[client] = r
	}
	unprepared := t.Prepared(ctx)
	list, err := t.list(ctx, blockList)
	if err != nil {
		return report, err
	}
	if err := t.settle(ctx); err != nil {
		return report, err
	}
	if err := t.read(ctx, list); err != nil {
		return report, err
	}
	report.Held = len(t.held) + len(t.others)
	if unprepared != nil {
		// Where a rule is wrong nothing new is refused, but in other zones what ends has to end.
		maps.DeleteFunc(wanted, func(p netip.Prefix, _ record) bool { _, ok := t.held[p]; return !ok })
	}
	for p, r := range wanted {
		if h, ok := t.held[p]; (!ok || h.id != r.id) && !t.others[p] {
			report.Set++
		}
	}
	for p := range t.held {
		if _, ok := wanted[p]; !ok {
			report.Removed++
		}
	}
	t.entries, t.ready = wanted, unprepared == nil
	if err := t.write(ctx, list); err != nil {
		return report, cmp.Or(unprepared, err)
	}
	return report, unprepared
}

// write brings the list to what the entries say. When it fails, the list is no longer
// known. The caller is the writer.
func (t *Target) write(ctx context.Context, list string) error {
	poke(t.changed)
	rejections := t.fit()
	const tries = 2 // what failed may have been done in part
	for try := range tries {
		left, stale, err := t.pass(ctx, list)
		rejections = append(rejections, left...)
		for _, r := range left {
			maps.DeleteFunc(t.entries, func(_ netip.Prefix, e record) bool { return e.id == r.ID })
		}
		if err == nil && len(left)+len(stale) > 0 && try < tries-1 {
			if err = t.read(ctx, list); err == nil {
				continue
			}
		}
		if err != nil {
			t.held = nil
			return err
		}
		rejections = append(rejections, stale...)
		break
	}
	if len(rejections) > 0 {
		return &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
	}
	return nil
}

// fit leaves out what has ended, and what there is no room for: those that end first.
func (t *Target) fit() (left []mitigate.Rejection) {
	now := time.Now().Unix()
	maps.DeleteFunc(t.entries, func(_ netip.Prefix, r record) bool { return r.expires <= now })
	over := len(t.entries) - t.options.Capacity
	if over <= 0 {
		return nil
	}
	order := slices.SortedFunc(maps.Keys(t.entries), func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(t.entries[a].expires, t.entries[b].expires), comparePrefixes(a, b))
	})
	for _, p := range order[:over] {
		left = append(left, mitigate.Rejection{ID: t.entries[p].id, Answer: fmt.Sprintf("there is room for %d verdicts", t.options.Capacity)})
		delete(t.entries, p)
	}
	return left
}

// pass removes and adds what the list has too much and too little of, by what is known.
// Rejections are what Cloudflare refuses; of those that are stale another verdict on the
// network stands, and stays.
func (t *Target) pass(ctx context.Context, list string) (left, stale []mitigate.Rejection, err error) {
	var gone, renewed, come []netip.Prefix
	for p := range t.held {
		if _, ok := t.entries[p]; !ok {
			gone = append(gone, p)
		}
	}
	ahead := time.Now().Add(renewAhead).Unix()
	for p, r := range t.entries {
		switch h, ok := t.held[p]; {
		case ok && (h.id != r.id || h.expires < r.expires && h.expires <= ahead):
			renewed = append(renewed, p)
		case !ok && !t.others[p]: // else it stands there, and is somebody else's
			come = append(come, p)
		}
	}
	slices.SortFunc(gone, comparePrefixes)
	slices.SortFunc(renewed, comparePrefixes)
	// Where there is no room for all, what ends first is left out.
	slices.SortFunc(come, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(t.entries[b].expires, t.entries[a].expires), comparePrefixes(a, b))
	})
	if err := t.takeOut(ctx, list, gone); err != nil {
		return nil, nil, err
	}
	if stale, err = t.renew(ctx, list, renewed); err != nil {
		return nil, nil, err
	}
	failures := 0
	for part := range slices.Chunk(come, maxChange) {
		more, err := t.putIn(ctx, list, part, &failures)
		if err != nil {
			return nil, nil, err
		}
		left = append(left, more...)
	}
	return left, stale, nil
}

// takeOut removes items.
func (t *Target) takeOut(ctx context.Context, list string, gone []netip.Prefix) error {
	if err := t.identify(ctx, list, gone); err != nil {
		return err
	}
	var ids []string
	for _, p := range gone {
		if h, ok := t.held[p]; ok { // else it is gone already
			ids = append(ids, h.item)
		}
	}
	for part := range slices.Chunk(ids, maxChange) {
		err := t.change(ctx, func(ctx context.Context) (string, error) { return t.client.remove(ctx, list, part) })
		if err != nil {
			return err
		}
	}
	for _, p := range gone {
		delete(t.held, p)
	}
	return nil
}

// identify finds the ids of items, which Cloudflare does not tell when it adds them.
func (t *Target) identify(ctx context.Context, list string, networks []netip.Prefix) error {
	var unknown []netip.Prefix
	for _, p := range networks {
		if t.held[p].item == "" {
			unknown = append(unknown, p)
		}
	}
	if len(unknown) > maxSearches {
		return t.read(ctx, list)
	}
	for _, p := range unknown {
		items, err := t.client.items(ctx, list, formatNetwork(p))
		if err != nil {
			return err
		}
		found, _ := holdings(items)
		h, ok := found[p]
		if !ok { // gone, or written in another way
			return t.read(ctx, list)
		}
		t.held[p] = h
	}
	return nil
}

// renew writes anew the comments of items that stand, apart from what is new: what there is
// no room for is no reason to end what is in force. A comment matters to who comes after this
// process alone; so if Cloudflare refuses one, the item stays, and the next comparison tries it
// again.
func (t *Target) renew(ctx context.Context, list string, renewed []netip.Prefix) (stale []mitigate.Rejection, err error) {
	for part := range slices.Chunk(renewed, maxChange) {
		err := t.change(ctx, func(ctx context.Context) (string, error) { return t.client.add(ctx, list, t.items(part)) })
		if err != nil && !isRefused(err) {
			return nil, err
		}
		for _, p := range part {
			h, r := t.held[p], t.entries[p]
			switch {
			case err == nil:
				h = held{record: r}
			case h.id != r.id:
				stale = append(stale, mitigate.Rejection{ID: r.id, Answer: err.Error()})
			}
			h.expires = r.expires
			t.held[p] = h
		}
	}
	return stale, nil
}

// items are entries as they are written.
func (t *Target) items(networks []netip.Prefix) []newItem {
	items := make([]newItem, len(networks))
	for i, p := range networks {
		items[i] = newItem{formatNetwork(p), t.entries[p].String()}
	}
	return items
}

// putIn adds items, in parts where Cloudflare refuses them together: it takes all of a
// request or nothing, and says of nothing why. That one item too many is no reason to
// leave out others.
func (t *Target) putIn(ctx context.Context, list string, come []netip.Prefix, failures *int) (left []mitigate.Rejection, err error) {
	reject := func(answer string) []mitigate.Rejection {
		for _, p := range come {
			left = append(left, mitigate.Rejection{ID: t.entries[p].id, Answer: answer})
		}
		return left
	}
	if *failures >= maxFailures {
		return reject("Cloudflare refused others of the same order"), nil
	}
	err = t.change(ctx, func(ctx context.Context) (string, error) { return t.client.add(ctx, list, t.items(come)) })
	switch {
	case err == nil:
		*failures = 0
		for _, p := range come {
			t.held[p] = held{record: t.entries[p]}
		}
		return nil, nil
	case !isRefused(err):
		return nil, err
	case len(come) <= minPart:
		*failures++
		return reject(err.Error()), nil
	}
	for _, part := range [][]netip.Prefix{come[:len(come)/2], come[len(come)/2:]} {
		more, err := t.putIn(ctx, list, part, failures)
		if err != nil {
			return nil, err
		}
		left = append(left, more...)
	}
	return left, nil
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Sweep implements [mitigate.Target].
func (t *Target) Sweep(ctx context.Context) error {
	if err := t.writer.Take(ctx); err != nil {
		return err
	}
	defer t.writer.End()
	if t.entries == nil || t.held == nil {
		return nil // the comparison that follows does it
	}
	list, err := t.list(ctx, blockList)
	if err != nil {
		return err
	}
	return t.write(ctx, list)
}

// Run implements [mitigate.Runner]: it takes verdicts out when they end, which Cloudflare
// does not.
func (t *Target) Run(ctx context.Context) error {
	for {
		end, err := t.nextEnd(ctx)
		if err != nil {
			return nil // the context has ended
		}
		var timer <-chan time.Time
		if !end.IsZero() {
			timer = time.After(time.Until(end))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.changed:
		case <-timer:
			limited, cancel := context.WithTimeout(ctx, sweepTime)
			err := t.Sweep(limited)
			cancel()
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// nextEnd is when there is next something to do without an order; zero: never.
func (t *Target) nextEnd(ctx context.Context) (time.Time, error) {
	if err := t.writer.Take(ctx); err != nil {
		return time.Time{}, err
	}
	defer t.writer.End()
	if t.held == nil {
		return time.Time{}, nil // all is compared first
	}
	var first int64
	for p, r := range t.entries {
		end := r.expires
		if h, ok := t.held[p]; ok && h.expires < r.expires {
			end = min(end, h.expires-int64(renewAhead/time.Second))
		}
		if first == 0 || end < first {
			first = end
		}
	}
	if first == 0 {
		return time.Time{}, nil
	}
	return time.Unix(first, 0), nil
}

// SetAllow implements [mitigate.Target]. Items of the list that are not offpath's stay.
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	wanted, err := allowed(allow)
	if err != nil {
		return err
	}
	if err := t.writer.Take(ctx); err != nil {
		return err
	}
	defer t.writer.End()
	list, err := t.list(ctx, allowList)
	if err != nil {
		return err
	}
	if err := t.settle(ctx); err != nil {
		return err
	}
	items, err := t.client.items(ctx, list, "")
	if err != nil {
		if isMissing(err) {
			t.forgetLists()
		}
		return err
	}
	var ids []string
	for _, it := range items {
		p, ok := parseNetwork(it.IP)
		switch {
		case ok && wanted[p]:
			delete(wanted, p)
		case ok && it.Comment == allowComment:
			ids = append(ids, it.ID)
		}
	}
	if len(wanted) > 0 {
		var come []newItem
		for _, p := range slices.SortedFunc(maps.Keys(wanted), comparePrefixes) {
			come = append(come, newItem{formatNetwork(p), allowComment})
		}
		err := t.change(ctx, func(ctx context.Context) (string, error) { return t.client.add(ctx, list, come) })
		if err != nil {
			return err
		}
	}
	if len(ids) > 0 {
		return t.change(ctx, func(ctx context.Context) (string, error) { return t.client.remove(ctx, list, ids) })
	}
	return nil
}
