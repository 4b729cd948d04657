package nftables

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/nftables/internal/netfilter"
)

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var w work
	for _, s := range remove {
		e := mitigate.Entry{Action: detect.ActionBlock, Subject: s}
		p, _, reason := locate(&e)
		for _, watch := range []bool{false, true} {
			if _, ok := t.held[client{p, watch}]; ok && reason == "" {
				w.drop = append(w.drop, client{p, watch})
			}
		}
	}
	now := time.Now()
	for i := range set {
		p, at, reason := locate(&set[i])
		if reason != "" {
			return &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
		}
		other := client{p, !at.watch}
		if _, ok := t.held[other]; ok {
			w.drop = append(w.drop, other)
		}
		if set[i].Expires > now.Unix() {
			w.put = append(w.put, set[i])
		}
	}
	return t.with(ctx, func(c *netfilter.Conn) error { return t.write(c, w) })
}

// work is what is to be written.
type work struct {
	put  []mitigate.Entry
	drop []client
}

// write carries out orders, in as many transactions as it takes. An element is put as if
// it might be there already: what is added is left alone if it is, so it is deleted in
// between, within the same transaction.
func (t *Target) write(c *netfilter.Conn, w work) error {
	if err := t.extend(c, w.put); err != nil {
		return err
	}
	var rejected []mitigate.Rejection
	for len(w.put)+len(w.drop) > 0 {
		gone := w.drop[:min(len(w.drop), maxBatch)]
		w.drop = w.drop[len(gone):]
		come := w.put[:min(len(w.put), maxBatch-len(gone))]
		w.put = w.put[len(come):]
		if err := t.writeBatch(c, gone, come); errors.Is(err, unix.ENFILE) {
			for i := range come {
				rejected = append(rejected, mitigate.Rejection{ID: come[i].ID, Answer: "the set is full: " + err.Error()})
			}
		} else if err != nil {
			return err
		}
	}
	if len(rejected) > 0 {
		return &mitigate.RejectedError{Target: t.options.Name, Rejections: rejected}
	}
	return nil
}

func (t *Target) writeBatch(c *netfilter.Conn, gone []client, come []mitigate.Entry) error {
	drops, puts := map[place][]netfilter.Element{}, map[place][]netfilter.Element{}
	for _, g := range gone {
		at := placeOf(g.prefix, g.watch)
		drops[at] = append(drops[at], netfilter.Element{Key: g.prefix.Addr().AsSlice()})
	}
	now := time.Now()
	for i := range come {
		p, at, _ := locate(&come[i])
		key := p.Addr().AsSlice()
		drops[at] = append(drops[at], netfilter.Element{Key: key})
		puts[at] = append(puts[at], netfilter.Element{Key: key, Comment: come[i].ID.String(), Left: time.Unix(come[i].Expires, 0).Sub(now)})
	}
	err := t.commit(c, false, func(b *netfilter.Batch) {
		for _, at := range slices.SortedFunc(maps.Keys(drops), compare) {
			b.AddElements(table, at.String(), drops[at])
			b.DropElements(table, at.String(), drops[at])
			b.AddElements(table, at.String(), puts[at])
		}
	})
	if err != nil {
		return err
	}
	for _, g := range gone {
		delete(t.held, g)
	}
	for i := range come {
		t.held[client{come[i].Subject.Client, come[i].Monitor}] = come[i].Expires
	}
	return nil
}

// extend makes the sets that entries need and that are not there.
func (t *Target) extend(c *netfilter.Conn, entries []mitigate.Entry) error {
	wanted := maps.Clone(t.places)
	for i := range entries {
		_, at, _ := locate(&entries[i])
		wanted[at] = true
	}
	if len(wanted) == len(t.places) {
		return nil
	}
	return t.lay(c, wanted, nil)
}

// lay makes the table as it is to be: with these sets of clients and no others of those
// that there are.
func (t *Target) lay(c *netfilter.Conn, wanted map[place]bool, there []string) error {
	rows := 0
	err := t.commit(c, true, func(b *netfilter.Batch) {
		places := slices.SortedFunc(maps.Keys(wanted), compare)
		for _, p := range places {
			b.AddSet(table, netfilter.Set{Name: p.String(), Key: p.key(), Timed: true, Size: uint32(2 * t.options.Capacity)})
		}
		rows = t.rules(b, places)
		if t.handle == 0 {
			return // nothing is left of before
		}
		for _, name := range there {
			if p, ok := parsePlace(name); ok && !wanted[p] {
				b.DropSet(table, name)
			}
		}
	})
	if err != nil {
		return err
	}
	t.places = wanted
	t.writing.Lock()
	defer t.writing.Unlock()
	t.rows = rows
	t.handle, err = c.Table(table)
	return err
}

// Sync implements [mitigate.Target].
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (report mitigate.SyncReport, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wanted := make(map[client]mitigate.Entry, len(entries))
	places := map[place]bool{}
	now := time.Now()
	for i := range entries {
		p, at, reason := locate(&entries[i])
		if reason != "" {
			return report, &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
		}
		if entries[i].Expires > now.Unix() {
			wanted[client{p, at.watch}] = entries[i]
			places[at] = true
		}
	}
	err = t.with(ctx, func(c *netfilter.Conn) error {
		there, err := c.Sets(table)
		if err != nil {
			return err
		}
		t.writing.Lock()
		t.handle, err = c.Table(table)
		t.writing.Unlock()
		if err != nil {
			return err
		}
		if err := t.lay(c, places, there); err != nil {
			return err
		}
		w, err := t.compare(c, wanted, &report)
		if err != nil {
			return err
		}
		return t.write(c, w)
	})
	report.Compared = true
	return report, err
}

// compare finds what has to be written so that the kernel has exactly what is wanted.
func (t *Target) compare(c *netfilter.Conn, wanted map[client]mitigate.Entry, report *mitigate.SyncReport) (w work, err error) {
	t.held = make(map[client]int64, len(wanted))
	right := make(map[client]bool, len(wanted))
	for _, at := range slices.SortedFunc(maps.Keys(t.places), compare) {
		list, err := c.Elements(table, at.String())
		if err != nil {
			return w, err
		}
		report.Held += len(list)
		for i := range list {
			p := at.client(&list[i])
			if !p.IsValid() {
				continue // of a key that can't be
			}
			is := client{p, at.watch}
			e, ok := wanted[is]
			if !ok {
				w.drop = append(w.drop, is)
				report.Removed++
				continue
			}
			off := list[i].Ends.Sub(time.Unix(e.Expires, 0)).Abs()
			if right[is] = list[i].Comment == e.ID.String() && off <= skew; right[is] {
				t.held[is] = e.Expires
			}
		}
	}
	for is, e := range wanted {
		if !right[is] {
			w.put = append(w.put, e)
			report.Set++
		}
	}
	slices.SortFunc(w.put, func(a, b mitigate.Entry) int { return cmp.Compare(a.ID, b.ID) })
	return w, nil
}
