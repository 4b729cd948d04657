package nginxplus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"offpath/mitigate"
)

// Sync implements [mitigate.Target].
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	report := mitigate.SyncReport{Compared: true}
	if err := t.Prepared(ctx); err != nil {
		return report, err
	}
	addresses := make(map[netip.Prefix]record)
	networks := make(map[netip.Prefix]record)
	for i := range entries {
		client, r, err := t.place(&entries[i])
		switch {
		case err != nil:
			return report, err
		case client.IsSingleIP():
			addresses[client] = r
		default:
			networks[client] = r
		}
	}
	rejections, err := t.syncAddresses(ctx, addresses, &report)
	if err != nil {
		return report, err
	}
	rejected, err := t.syncNetworks(ctx, networks, &report)
	if err != nil {
		return report, err
	}
	return report, t.rejected(append(rejections, rejected...))
}

func (t *Target) syncAddresses(ctx context.Context, wanted map[netip.Prefix]record, report *mitigate.SyncReport) ([]mitigate.Rejection, error) {
	zone, err := t.client.zone(ctx, addressZone)
	if err != nil {
		return nil, err
	}
	var rows, gone []write
	empty := len(zone) == 0
	maps.DeleteFunc(zone, func(_, value string) bool { return value == tombstone })
	report.Held += len(zone)
	now := time.Now()
	for _, p := range inOrder(wanted) {
		key := p.Addr().String()
		if zone[key] != wanted[p].String() {
			rows = append(rows, wanted[p].write(key, now))
		}
		delete(zone, key)
	}
	for _, key := range slices.Sorted(maps.Keys(zone)) {
		gone = append(gone, write{key: key})
	}
	report.Set += len(rows)
	report.Removed += len(gone)
	// What goes makes room for what comes.
	if err := t.end(ctx, addressZone, gone); err != nil {
		return nil, err
	}
	return t.put(ctx, addressZone, rows, empty && len(rows) > 1)
}

func (t *Target) syncNetworks(ctx context.Context, wanted map[netip.Prefix]record, report *mitigate.SyncReport) ([]mitigate.Rejection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.networks = nil
	zone, err := t.client.zone(ctx, networkZone)
	if err != nil {
		return nil, err
	}
	held, others := networksOf(zone)
	report.Held += len(held) + len(others)
	report.Removed += len(others)
	slices.SortFunc(others, func(a, b write) int { return cmp.Compare(a.key, b.key) })
	if err := t.end(ctx, networkZone, others); err != nil {
		return nil, err
	}
	set, removed, rejections, err := t.writeNetworks(ctx, held, wanted, time.Now())
	report.Set += set
	report.Removed += removed
	return rejections, err
}

// bound takes out what there is no room for: what only watches and what ends first.
func (t *Target) bound(networks map[netip.Prefix]record) (left []mitigate.Rejection) {
	over := len(networks) - t.options.MaxNetworks
	if over <= 0 {
		return nil
	}
	order := inOrder(networks)
	slices.SortStableFunc(order, func(a, b netip.Prefix) int {
		ra, rb := networks[a], networks[b]
		if ra.enforced != rb.enforced {
			if rb.enforced {
				return -1
			}
			return 1
		}
		return cmp.Compare(ra.expires, rb.expires)
	})
	for _, p := range order[:over] {
		left = append(left, mitigate.Rejection{ID: networks[p].id, Answer: fmt.Sprintf("there is room for %d networks", t.options.MaxNetworks)})
		delete(networks, p)
	}
	return left
}

// inOrder are the networks of a map, always in the same order.
func inOrder(records map[netip.Prefix]record) []netip.Prefix {
	return slices.SortedFunc(maps.Keys(records), comparePrefixes)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
