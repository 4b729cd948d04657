package gobgp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// errHalted is of a load that the kill switch ended.
var errHalted = fmt.Errorf("%w: the mode was changed meanwhile", mitigate.ErrIncomplete)

// errNobody says that routes would reach nobody.
var errNobody = errors.New("no neighbour of gobgpd is connected: routers hear of no verdict")

// Identity implements [mitigate.Target]. The first to ask leaves a mark with gobgpd, which is
// lost with it.
func (t *Target) Identity(ctx context.Context) (id mitigate.Identity, err error) {
	ctx, cancel := t.within(ctx)
	defer cancel()
	asn, err := t.readASN(ctx)
	if err != nil {
		return id, err
	}
	n, err := t.readNeighbors(ctx)
	if err != nil {
		return id, err
	}
	if n.connected == 0 {
		return id, errNobody
	}
	sets, err := t.readSets(ctx)
	if err != nil {
		return id, err
	}
	life := sets[lifeSet]
	if len(life) == 0 {
		life = []string{newLife()}
		if err := t.writeSet(ctx, false, lifeSet, life[0]); err != nil {
			return id, err
		}
	}
	return mitigate.Identity{Process: fmt.Sprintf("AS%d %s", asn, strings.Join(life, " ")), Version: "GoBGP 3"}, nil
}

// Prepared implements [mitigate.Target].
func (t *Target) Prepared(ctx context.Context) error {
	ctx, cancel := t.within(ctx)
	defer cancel()
	if _, err := t.readASN(ctx); err != nil {
		return err
	}
	n, err := t.readNeighbors(ctx)
	switch {
	case err != nil:
		return err
	case n.graceful != "":
		return fmt.Errorf("gobgpd has graceful restart with neighbour %s, which would keep blocks when offpath and gobgpd are gone: take graceful-restart out of its configuration", n.graceful)
	case n.server != "":
		return fmt.Errorf("neighbour %s is a route server's client, and hears of no route of gobgpd's own: take route-server out of its configuration", n.server)
	case n.connected == 0:
		return errNobody
	}
	for _, f := range t.families() {
		if !n.takes[f] {
			return fmt.Errorf("no connected neighbour takes %s: add the afi-safi there and in gobgpd's configuration, or leave out that family", f)
		}
	}
	return nil
}

// load learns what gobgpd holds, if that is not known; anew says that it may have changed.
// mu is held.
func (t *Target) load(ctx context.Context, anew bool) error {
	if t.loaded && !anew {
		return nil
	}
	t.loaded = false
	asn, err := t.readASN(ctx)
	if err != nil {
		return err
	}
	announced, err := t.readRoutes(ctx, asn)
	if err != nil {
		return err
	}
	t.asn, t.announced, t.loaded = asn, announced, true
	if t.entries == nil { // of an offpath before
		t.entries = map[netip.Prefix]mitigate.Entry{}
		for _, r := range announced {
			if p := r.rule.client; p.IsValid() {
				t.entries[p] = mitigate.Entry{ID: r.id, Action: detect.ActionBlock, Subject: detect.Subject{Client: p}, Expires: r.expires}
			}
		}
	}
	return nil
}

// wanted are the routes that are to be there, and why some entries have none. mu is held.
func (t *Target) wanted(n *neighbors) (map[rule]verdict, []mitigate.Rejection) {
	routes := map[rule]verdict{}
	if t.mode != detect.ModeEnforce {
		return routes, nil
	}
	var rejected []mitigate.Rejection
	now := time.Now().Unix()
	entries := make([]mitigate.Entry, 0, len(t.entries))
	for _, e := range t.entries {
		if !e.Monitor && e.Expires > now {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b mitigate.Entry) int { return cmp.Compare(a.ID, b.ID) })
	for _, e := range entries {
		rules := t.rules(e.Subject.Client)
		if why := t.obstacle(n, e.Subject.Client, rules, len(routes)); why != "" {
			rejected = append(rejected, mitigate.Rejection{ID: e.ID, Answer: why})
			continue
		}
		for _, r := range rules {
			routes[r] = verdict{e.ID, e.Expires}
		}
	}
	return routes, rejected
}

// obstacle is what keeps a client from being blocked; there are so many routes already.
func (t *Target) obstacle(n *neighbors, client netip.Prefix, rules []rule, there int) string {
	for _, p := range t.held {
		if p.Overlaps(client) {
			return fmt.Sprintf("%s overlaps %s, which is allowed", client, p)
		}
	}
	for _, a := range n.addresses {
		if client.Contains(a) {
			return fmt.Sprintf("%s covers %s, of a neighbour of gobgpd or a next hop", client, a)
		}
	}
	for _, r := range rules {
		if !n.takes[r.family()] {
			return fmt.Sprintf("no connected neighbour takes %s", r.family())
		}
	}
	if there+len(rules) > t.options.Capacity {
		return fmt.Sprintf("there is room for %d routes", t.options.Capacity)
	}
	return ""
}

// settle makes gobgpd hold what is wanted; mu is held and all is loaded. What is not wanted
// goes first. The mode is asked anew, since another offpath may have changed it.
func (t *Target) settle(ctx context.Context) (put, gone int, rejected []mitigate.Rejection, err error) {
	sets, err := t.readSets(ctx)
	if err != nil {
		return 0, 0, nil, err
	}
	t.mode, _ = t.readMode(sets)
	var n neighbors
	if t.mode == detect.ModeEnforce {
		if n, err = t.readNeighbors(ctx); err != nil {
			return 0, 0, nil, err
		}
		if n.connected == 0 {
			return 0, 0, nil, errNobody
		}
		n.addresses = append(n.addresses, t.options.NextHops...)
	}
	wanted, rejected := t.wanted(&n)
	var drop, add []route
	for key, r := range t.announced {
		if _, ok := wanted[key]; !ok {
			drop = append(drop, r)
		}
	}
	for r, v := range wanted {
		if t.announced[r].verdict != v {
			add = append(add, newRoute(t.asn, r, t.nextHop(r.client.Addr().Is6()), v))
		}
	}
	if err := t.withdraw(ctx, drop); err != nil {
		return 0, 0, rejected, err
	}
	slices.SortFunc(add, func(a, b route) int { return cmp.Compare(a.id, b.id) })
	if len(add) > 0 {
		halted := false
		err = t.announce(ctx, false, add, func() bool {
			halted = t.halt.Load() > 0
			return !halted
		})
		if err == nil && halted {
			err = errHalted
		}
		if err != nil {
			t.loaded = false
			return 0, len(drop), rejected, err
		}
	}
	for _, r := range add {
		t.announced[r.rule] = r
	}
	return len(add), len(drop), rejected, nil
}

// withdraw takes routes out; mu is held.
func (t *Target) withdraw(ctx context.Context, drop []route) error {
	if len(drop) == 0 {
		return nil
	}
	if err := t.announce(ctx, true, drop, func() bool { return true }); err != nil {
		t.loaded = false
		return err
	}
	for _, r := range drop {
		delete(t.announced, r.rule)
	}
	return nil
}

// change is one order: what is known is changed, and then gobgpd.
func (t *Target) change(ctx context.Context, anew bool, f func()) (report mitigate.SyncReport, rejected []mitigate.Rejection, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.load(ctx, anew); err != nil {
		return report, nil, err
	}
	report.Held = len(t.announced)
	f()
	report.Set, report.Removed, rejected, err = t.settle(ctx)
	report.Compared = err == nil
	return report, rejected, err
}

// rejection is the error of those among entries that were rejected.
func (t *Target) rejection(entries []mitigate.Entry, rejected []mitigate.Rejection) error {
	of := map[mitigate.ID]bool{}
	for i := range entries {
		of[entries[i].ID] = true
	}
	rejected = slices.DeleteFunc(rejected, func(r mitigate.Rejection) bool { return !of[r.ID] })
	if len(rejected) == 0 {
		return nil
	}
	return &mitigate.RejectedError{Target: t.options.Name, Rejections: rejected}
}

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	for i := range set {
		if err := t.Carries(&set[i]); err != nil {
			return err
		}
	}
	_, rejected, err := t.change(ctx, false, func() {
		for _, s := range remove {
			if s == (detect.Subject{Client: s.Client}) {
				delete(t.entries, s.Client)
			}
		}
		for i := range set {
			t.entries[set[i].Subject.Client] = set[i]
		}
	})
	if err != nil {
		return err
	}
	return t.rejection(set, rejected)
}

// Sync implements [mitigate.Target].
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	for i := range entries {
		if err := t.Carries(&entries[i]); err != nil {
			return mitigate.SyncReport{}, err
		}
	}
	report, rejected, err := t.change(ctx, true, func() {
		t.entries = make(map[netip.Prefix]mitigate.Entry, len(entries))
		for i := range entries {
			t.entries[entries[i].Subject.Client] = entries[i]
		}
	})
	if err != nil {
		return report, err
	}
	return report, t.rejection(entries, rejected)
}

// Sweep implements [mitigate.Target]: what has expired is withdrawn.
func (t *Target) Sweep(ctx context.Context) error {
	_, _, err := t.change(ctx, false, func() {
		now := time.Now().Unix()
		for p, e := range t.entries {
			if e.Expires <= now {
				delete(t.entries, p)
			}
		}
	})
	return err
}

// SetAllow implements [mitigate.Target]: routes that overlap are withdrawn.
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	_, _, err := t.change(ctx, false, func() {
		t.held = nil
		for _, p := range allow {
			t.held = append(t.held, p.Masked())
		}
	})
	return err
}

// SetMode implements [mitigate.Target].
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	resume := func() {}
	if mode != detect.ModeEnforce {
		t.halt.Add(1)
		resume = sync.OnceFunc(func() { t.halt.Add(-1) })
	}
	defer resume()
	sets, err := t.readSets(ctx)
	if err != nil {
		return err
	}
	value := ""
	for v, m := range modes {
		if m == mode {
			value = v
		}
	}
	_, there := sets[t.modeSet()]
	if old, local := t.readMode(sets); old != mode || local || len(sets[t.modeSet()]) > 1 {
		if err := t.writeSet(ctx, there, t.modeSet(), value); err != nil {
			return err
		}
	}
	if _, off := sets[offSet]; off && release {
		if err := t.writeSet(ctx, true, offSet, ""); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	resume()
	// What a load before was halted over is not known.
	if err := t.load(ctx, false); err != nil {
		return err
	}
	_, _, _, err = t.settle(ctx)
	if errors.Is(err, errNobody) {
		return nil // there will be another look when somebody is
	}
	return err
}

// Mode implements [mitigate.Target]. If somebody else has changed it, it is carried out.
func (t *Target) Mode(ctx context.Context) (detect.Mode, bool, error) {
	limited, cancel := t.within(ctx)
	defer cancel()
	sets, err := t.readSets(limited)
	if err != nil {
		return "", false, err
	}
	mode, local := t.readMode(sets)
	if !t.mu.TryLock() {
		return mode, local, nil // who writes asks for the mode, too
	}
	defer t.mu.Unlock()
	if t.loaded && (mode != t.mode || mode != detect.ModeEnforce && len(t.announced) > 0) {
		if _, _, _, err := t.settle(limited); err != nil && !errors.Is(err, errNobody) {
			return "", false, err
		}
	}
	return mode, local, nil
}
