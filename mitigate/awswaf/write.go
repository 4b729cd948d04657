package awswaf

import (
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

// Apply implements [mitigate.Target]. When it returns, AWS has taken the change; that all
// of AWS judges by it takes longer.
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	if err := t.writer.Take(ctx); err != nil {
		return err
	}
	defer t.writer.End()
	if t.entries == nil {
		return errNotCompared
	}
	places := make([]placed, len(set))
	for i := range set {
		var err error
		if places[i], err = t.place(&set[i]); err != nil {
			return err
		}
	}
	for _, s := range remove {
		if isPredicate(s) {
			delete(t.predicates, s)
		} else {
			delete(t.entries, s.Client.Masked())
		}
	}
	for _, p := range places {
		t.take(p)
	}
	return t.write(ctx)
}

// take has an entry belong to what there is to be. The caller is the writer.
func (t *Target) take(p placed) {
	if p.network.IsValid() {
		t.entries[p.network] = p.class
	} else {
		t.predicates[p.predicate.subject] = p.predicate
	}
}

// write brings the sets to what the entries say. The caller is the writer.
func (t *Target) write(ctx context.Context) error {
	t.stale = true
	poke(t.changed)
	sets, err := t.ensure(ctx)
	if err != nil {
		return err
	}
	now := time.Now().Unix()
	contents, rejections := t.contents(now)
	for _, n := range t.setNames() {
		held, known := t.held[n.name]
		if n.allow || known && slices.Equal(held, contents[n.name]) {
			continue
		}
		delete(t.held, n.name)
		if err := t.client.writeSet(ctx, sets[n.name], contents[n.name]); err != nil {
			if isMissing(err) {
				t.forget()
			}
			return err
		}
		t.held[n.name] = contents[n.name]
	}
	left, err := t.writePredicates(ctx, now)
	if err != nil {
		return err
	}
	t.stale = false
	t.rejectPredicates(left)
	if rejections = append(rejections, left...); len(rejections) == 0 {
		return nil
	}
	maps.DeleteFunc(t.entries, func(_ netip.Prefix, c classed) bool {
		return slices.ContainsFunc(rejections, func(r mitigate.Rejection) bool { return r.ID == c.id })
	})
	return &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Sync implements [mitigate.Target]. It counts networks, of which a verdict may have
// several.
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	report := mitigate.SyncReport{Compared: true}
	if err := t.writer.Take(ctx); err != nil {
		return report, err
	}
	defer t.writer.End()
	t.entries, t.held = nil, make(map[string][]netip.Prefix)
	t.forget()
	places := make([]placed, len(entries))
	for i := range entries {
		var err error
		if places[i], err = t.place(&entries[i]); err != nil {
			return report, err
		}
	}
	sets, err := t.ensure(ctx)
	if err != nil {
		return report, err
	}
	t.entries, t.predicates = make(map[netip.Prefix]classed, len(places)), make(map[detect.Subject]predicate)
	for _, p := range places {
		t.take(p)
	}
	now := time.Now().Unix()
	contents, _ := t.contents(now)
	for _, n := range t.setNames() {
		if n.allow {
			continue
		}
		held, _, err := t.client.readSet(ctx, sets[n.name])
		if err != nil {
			t.entries = nil
			return report, err
		}
		t.held[n.name] = held
		report.Held += len(held)
		report.Set += missing(contents[n.name], held)
		report.Removed += missing(held, contents[n.name])
	}
	if err := t.comparePredicates(ctx, now, &report); err != nil {
		t.entries = nil
		return report, err
	}
	err = t.write(ctx)
	var rejected *mitigate.RejectedError
	if err != nil && !errors.As(err, &rejected) {
		t.entries = nil
	}
	return report, err
}

// missing counts the networks of a that b lacks; both are in order.
func missing(a, b []netip.Prefix) (n int) {
	for _, p := range a {
		if _, found := slices.BinarySearchFunc(b, p, comparePrefixes); !found {
			n++
		}
	}
	return n
}

// Sweep implements [mitigate.Target].
func (t *Target) Sweep(ctx context.Context) error {
	if err := t.writer.Take(ctx); err != nil {
		return err
	}
	defer t.writer.End()
	return t.expire(ctx)
}

// expire takes out what has ended. The caller is the writer.
func (t *Target) expire(ctx context.Context) error {
	now := time.Now().Unix()
	before := len(t.entries) + len(t.predicates)
	maps.DeleteFunc(t.entries, func(_ netip.Prefix, c classed) bool { return c.expires <= now })
	maps.DeleteFunc(t.predicates, func(_ detect.Subject, p predicate) bool { return p.expires <= now })
	if t.entries == nil || len(t.entries)+len(t.predicates) == before && !t.stale {
		return nil
	}
	return t.write(ctx)
}

// Run implements [mitigate.Runner]: it takes verdicts out when they end, which AWS does not.
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
			if err := t.Sweep(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// nextEnd is when the next verdict ends; zero: none does.
func (t *Target) nextEnd(ctx context.Context) (time.Time, error) {
	if err := t.writer.Take(ctx); err != nil {
		return time.Time{}, err
	}
	defer t.writer.End()
	var first int64
	for _, c := range t.entries {
		if first == 0 || c.expires < first {
			first = c.expires
		}
	}
	for _, p := range t.predicates {
		if first == 0 || p.expires < first {
			first = p.expires
		}
	}
	if first == 0 {
		return time.Time{}, nil
	}
	return time.Unix(first, 0), nil
}

// SetAllow implements [mitigate.Target].
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	sets, err := t.ensure(ctx)
	if err != nil {
		return err
	}
	for _, f := range families {
		var networks []netip.Prefix
		for _, p := range allow {
			switch {
			case !p.IsValid():
				return fmt.Errorf("allow-list holds an invalid network")
			case p.Addr().Is4() != f.is4:
			case p.Bits() == 0: // AWS takes all but that
				lower, upper := halves(p.Masked())
				networks = append(networks, lower, upper)
			default:
				networks = append(networks, p.Masked())
			}
		}
		slices.SortFunc(networks, comparePrefixes)
		networks = slices.Compact(networks)
		if len(networks) > setSize {
			return fmt.Errorf("allow-list of %d networks is longer than %d", len(networks), setSize)
		}
		s := sets[t.allowName(f)]
		held, _, err := t.client.readSet(ctx, s)
		if err == nil && !slices.Equal(held, networks) {
			err = t.client.writeSet(ctx, s, networks)
		}
		if err != nil {
			if isMissing(err) {
				t.forget()
			}
			return err
		}
	}
	return nil
}
