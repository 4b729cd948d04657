package dataplane

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
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/disjoint"
)

// maxSingles is the most entries that are written one by one; of more the map is written
// anew, which has the API and HAProxy list it twice.
const maxSingles = 100

// grace is how long a verdict that is over stays, for clocks that differ, s: it does
// nothing.
const grace = 60

// changes are what is to be done to the map of verdicts.
type changes struct {
	set    map[string]string
	gone   []string
	shapes shapes // of the predicates in set
}

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	verdicts := changes{set: make(map[string]string)}
	networks := make(map[netip.Prefix]haproxy.Value) // without an id: to go
	for _, s := range remove {
		p, reason := locate(s)
		switch {
		case reason != "": // never set
		case p.key == "":
			networks[p.network] = haproxy.Value{}
		default:
			verdicts.gone = append(verdicts.gone, p.key)
		}
	}
	for i := range set {
		p, v, err := t.place(&set[i])
		switch {
		case err != nil:
			return err
		case p.key == "":
			networks[p.network] = v
		default:
			verdicts.set[p.key] = v.String()
			verdicts.shapes = verdicts.shapes.and(p.shapes)
		}
	}
	verdicts.gone = slices.DeleteFunc(verdicts.gone, func(key string) bool { return verdicts.set[key] != "" })
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.changeVerdicts(ctx, verdicts); err != nil {
		return err
	}
	rejections, err := t.changeNetworks(ctx, networks)
	if err != nil {
		return err
	}
	return t.rejected(rejections)
}

func (t *Target) rejected(rejections []mitigate.Rejection) error {
	if len(rejections) == 0 {
		return nil
	}
	return &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
}

// changeVerdicts brings changes into the map of verdicts. The caller holds mu.
func (t *Target) changeVerdicts(ctx context.Context, c changes) error {
	if len(c.set)+len(c.gone) == 0 {
		return nil
	}
	if c.shapes.set == 0 && len(c.set)+len(c.gone) <= maxSingles {
		return t.writeSingles(ctx, c)
	}
	h, err := t.client.list(ctx, verdictMap)
	if err != nil {
		return err
	}
	if c.shapes.set != 0 {
		l := parseShapes(h.lines[shapesKey]).and(c.shapes).line()
		c.set[l.Key] = l.Value
	}
	if len(c.set)+len(c.gone) <= maxSingles && !h.doubled {
		return t.writeSingles(ctx, c)
	}
	wanted := h.lines
	now := time.Now().Unix()
	maps.DeleteFunc(wanted, func(_, value string) bool { return over(value, now) })
	for _, key := range c.gone {
		delete(wanted, key)
	}
	maps.Copy(wanted, c.set)
	return t.client.replace(ctx, verdictMap, linesOf(wanted), padText)
}

// over says that a line's verdict has ended, and its grace too. The line of the shapes has
// no verdict.
func over(value string, now int64) bool {
	v, ok := haproxy.ParseValue(value)
	return ok && v.Expires()+grace < now
}

// writeSingles writes some lines one by one, and then has the file follow. The caller
// holds mu.
func (t *Target) writeSingles(ctx context.Context, c changes) error {
	missing := make([]bool, len(c.gone))
	indexes := make([]int, len(c.gone))
	for i := range indexes {
		indexes[i] = i
	}
	// What goes makes room for what comes.
	err := each(ctx, t.client, indexes, func(ctx context.Context, i int) (err error) {
		missing[i], err = t.client.drop(ctx, verdictMap, c.gone[i], "")
		return err
	})
	if err != nil {
		return t.client.prepared(ctx, err)
	}
	if shapes, there := c.set[shapesKey]; there { // before the predicates that have them
		if err := t.client.put(ctx, verdictMap, line{shapesKey, shapes}, "", true); err != nil {
			return t.client.prepared(ctx, err)
		}
	}
	rows := slices.DeleteFunc(linesOf(c.set), func(l line) bool { return l.Key == shapesKey })
	err = each(ctx, t.client, rows, func(ctx context.Context, l line) error { return t.client.put(ctx, verdictMap, l, "", false) })
	if err != nil {
		return t.client.prepared(ctx, err)
	}
	if err := t.client.follow(ctx, verdictMap, syncText); err != nil {
		return err
	}
	if !slices.Contains(missing, true) {
		return nil
	}
	// The API says of what it can't reach, too, that it is not there.
	h, err := t.client.list(ctx, verdictMap)
	if err != nil {
		return err
	}
	for i, key := range c.gone {
		if _, there := h.lines[key]; there && missing[i] {
			return fmt.Errorf("data plane api: %s was to go from map %s and is there", key, verdictMap)
		}
	}
	return nil
}

// changeNetworks brings changes into the map of networks. The caller holds mu.
func (t *Target) changeNetworks(ctx context.Context, change map[netip.Prefix]haproxy.Value) ([]mitigate.Rejection, error) {
	if len(change) == 0 {
		return nil, nil
	}
	h, err := t.client.list(ctx, networkMap)
	if err != nil {
		return nil, err
	}
	wanted := networksOf(h)
	now := time.Now().Unix()
	maps.DeleteFunc(wanted, func(_ netip.Prefix, v haproxy.Value) bool { return v.Expires() <= now })
	for p, v := range change {
		if v.ID() == 0 {
			delete(wanted, p)
		} else {
			wanted[p] = v
		}
	}
	rejections := t.choose(wanted)
	return rejections, t.writeNetworks(ctx, h, wanted)
}

// networksOf are the networks of a map; what is no record of ours is left out, and so
// removed by the next writing.
func networksOf(h held) map[netip.Prefix]haproxy.Value {
	networks := make(map[netip.Prefix]haproxy.Value, len(h.lines))
	for key, value := range h.lines {
		p, err := netip.ParsePrefix(key)
		v, ok := haproxy.ParseValue(value)
		if err == nil && ok {
			networks[p] = v
		}
	}
	return networks
}

// choose takes out networks of those that overlap, and those there is no room for: what
// only watches and what ends first.
func (t *Target) choose(networks map[netip.Prefix]haproxy.Value) (left []mitigate.Rejection) {
	reject := func(p netip.Prefix, format string, arguments ...any) {
		left = append(left, mitigate.Rejection{ID: networks[p].ID(), Answer: fmt.Sprintf(format, arguments...)})
		delete(networks, p)
	}
	_, overlapping := disjoint.Choose(networks, haproxy.Value.Enforced)
	for _, o := range overlapping {
		reject(o.Network, "%s overlaps %s, which is in force: HAProxy would heed the narrower alone, also when that is over", o.Network, o.Other)
	}
	if over := len(networks) - t.options.MaxNetworks; over > 0 {
		order := slices.SortedFunc(maps.Keys(networks), func(a, b netip.Prefix) int {
			va, vb := networks[a], networks[b]
			if va.Enforced() != vb.Enforced() {
				if vb.Enforced() {
					return -1
				}
				return 1
			}
			return cmp.Or(cmp.Compare(va.Expires(), vb.Expires()), a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
		})
		for _, p := range order[:over] {
			reject(p, "there is room for %d networks", t.options.MaxNetworks)
		}
	}
	return left
}

// writeNetworks makes the map of networks anew if it is another. The caller holds mu.
func (t *Target) writeNetworks(ctx context.Context, h held, wanted map[netip.Prefix]haproxy.Value) error {
	lines := make(map[string]string, len(wanted))
	for p, v := range wanted {
		lines[p.String()] = v.String()
	}
	if h.holds(lines) {
		return t.client.follow(ctx, networkMap, syncAddress)
	}
	return t.client.replace(ctx, networkMap, linesOf(lines), padAddress)
}

// Sync implements [mitigate.Target].
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	report := mitigate.SyncReport{Compared: true}
	verdicts := make(map[string]string, len(entries))
	networks := make(map[netip.Prefix]haproxy.Value)
	var shapes shapes
	for i := range entries {
		p, v, err := t.place(&entries[i])
		switch {
		case err != nil:
			return report, err
		case p.key == "":
			networks[p.network] = v
		default:
			verdicts[p.key] = v.String()
			shapes = shapes.and(p.shapes)
		}
	}
	if err := t.Prepared(ctx); err != nil {
		return report, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.syncVerdicts(ctx, verdicts, shapes, &report); err != nil {
		return report, err
	}
	rejections, err := t.syncNetworks(ctx, networks, &report)
	if err != nil {
		return report, err
	}
	return report, t.rejected(rejections)
}

// compare counts what there is, what is to be set and what to be removed.
func (h held) compare(wanted map[string]string, report *mitigate.SyncReport) {
	for key := range h.lines {
		if key == shapesKey {
			continue
		}
		report.Held++
		if _, stays := wanted[key]; !stays {
			report.Removed++
		}
	}
	for key, value := range wanted {
		if h.lines[key] != value {
			report.Set++
		}
	}
}

// syncVerdicts makes the map of verdicts hold exactly what is wanted. The caller holds mu.
func (t *Target) syncVerdicts(ctx context.Context, wanted map[string]string, shapes shapes, report *mitigate.SyncReport) error {
	h, err := t.client.list(ctx, verdictMap)
	if err != nil {
		return err
	}
	h.compare(wanted, report)
	if shapes.set != 0 {
		l := shapes.line()
		wanted[l.Key] = l.Value
	}
	c := changes{set: make(map[string]string)}
	for key, value := range wanted {
		if h.lines[key] != value {
			c.set[key] = value
		}
	}
	for key := range h.lines {
		if _, stays := wanted[key]; !stays {
			c.gone = append(c.gone, key)
		}
	}
	switch n := len(c.set) + len(c.gone); {
	case n > maxSingles || h.doubled || slices.ContainsFunc(c.gone, unaddressable):
		return t.client.replace(ctx, verdictMap, linesOf(wanted), padText)
	case n > 0:
		slices.Sort(c.gone)
		return t.writeSingles(ctx, c)
	}
	return t.client.follow(ctx, verdictMap, syncText)
}

// unaddressable says that a key is none of offpath's, and so may be one that the API does
// not take in a path.
func unaddressable(key string) bool {
	for _, c := range []byte(key) {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != ':' && c != '.' {
			return true
		}
	}
	return key == "" || key == "." || key == ".."
}

// syncNetworks makes the map of networks hold exactly what is wanted. The caller holds mu.
func (t *Target) syncNetworks(ctx context.Context, wanted map[netip.Prefix]haproxy.Value, report *mitigate.SyncReport) ([]mitigate.Rejection, error) {
	h, err := t.client.list(ctx, networkMap)
	if err != nil {
		return nil, err
	}
	rejections := t.choose(wanted)
	lines := make(map[string]string, len(wanted))
	for p, v := range wanted {
		lines[p.String()] = v.String()
	}
	h.compare(lines, report)
	return rejections, t.writeNetworks(ctx, h, wanted)
}

// Sweep implements [mitigate.Target]: what is over goes from the maps. HAProxy heeds it no
// more already.
func (t *Target) Sweep(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, err := t.client.list(ctx, verdictMap)
	if err != nil {
		return err
	}
	now := time.Now().Unix()
	var c changes
	for _, l := range linesOf(h.lines) {
		if over(l.Value, now) && !unaddressable(l.Key) {
			c.gone = append(c.gone, l.Key)
		}
	}
	errs := t.changeVerdicts(ctx, c)
	if h, err = t.client.list(ctx, networkMap); err != nil {
		return errors.Join(errs, err)
	}
	networks := networksOf(h)
	ended := maps.Clone(networks)
	maps.DeleteFunc(networks, func(_ netip.Prefix, v haproxy.Value) bool { return v.Expires()+grace < now })
	if len(ended) == len(networks) {
		return errs
	}
	return errors.Join(errs, t.writeNetworks(ctx, h, networks))
}
