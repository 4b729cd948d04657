package f5bigip

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"time"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/life"
	"offpath/mitigate/internal/predicate"
	"offpath/mitigate/internal/turn"
)

// Kind is the type of this target in the configuration.
const Kind = "f5_bigip"

// Defaults of [Options].
const (
	DefaultPartition = "Common"
	DefaultTimeout   = 30 * time.Second
	DefaultCapacity  = 20_000
)

// The objects, as the configuration that Setup prints names them.
const (
	addressGroup  = "offpath_addresses"
	networkGroup  = "offpath_networks"
	allowGroup    = "offpath_allow"
	ownAllowGroup = "offpath_allow_own"
	modeGroup     = "offpath_mode"
	offGroup      = "offpath_off"
	lifeGroup     = "offpath_life"
	ruleName      = "offpath"
)

// grace is how long a verdict stays in its data group after its end by our clock, which the
// BIG-IP's may be behind.
const grace = time.Minute

// Options of a target. Address, User and Password are needed.
type Options struct {
	Name    string // of the target; default: the address
	Address string // of iControl REST: https://HOST or https://HOST:PORT
	// User may log in over iControl REST, and change data groups and save the
	// configuration. Password is asked at each login, so it may change.
	User     string
	Password func() ([]byte, error)
	// CA is a PEM file with the certificates that may vouch for the API; empty: those that
	// the system trusts.
	CA string
	// Partition holds the data groups and the iRule; default [DefaultPartition].
	Partition string
	Timeout   time.Duration // of each request; default [DefaultTimeout]
	// Capacity is the most verdicts; default [DefaultCapacity]: some 2 MB for each
	// change.
	Capacity int
}

// Target is one BIG-IP, or a cluster that synchronises by itself.
type Target struct {
	options Options
	client  *client

	// writer is whoever writes verdicts; it guards the image of them.
	writer turn.Turn
	held   map[netip.Prefix]record // nil: not known
	life   life.Life
}

var _ mitigate.Target = (*Target)(nil)

// New makes a target; it does not connect.
func New(o Options) (*Target, error) {
	o.Name = cmp.Or(o.Name, o.Address)
	o.Partition = cmp.Or(o.Partition, DefaultPartition)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Capacity = cmp.Or(o.Capacity, DefaultCapacity)
	if o.Timeout < 0 || o.Capacity < 0 {
		return nil, fmt.Errorf("f5 bigip timeout %s or capacity %d is negative", o.Timeout, o.Capacity)
	}
	if o.User == "" || o.Password == nil {
		return nil, fmt.Errorf("f5 bigip target %q: it has no user or no password", o.Name)
	}
	if !PlainName(o.Partition) {
		return nil, fmt.Errorf("f5 bigip target %q: %q is no name of a partition", o.Name, o.Partition)
	}
	c, err := newClient(&o)
	if err != nil {
		return nil, fmt.Errorf("f5 bigip target %q: %w", o.Name, err)
	}
	return &Target{options: o, client: c, writer: turn.New()}, nil
}

// Name implements [mitigate.Target].
func (t *Target) Name() string { return t.options.Name }

// Kind implements [mitigate.Target].
func (t *Target) Kind() string { return Kind }

// Capacity implements [mitigate.Target].
func (t *Target) Capacity() int { return t.options.Capacity }

// Addresses implements [mitigate.Target]: the API's, where it is configured by one.
func (t *Target) Addresses() []netip.Addr {
	if a, ok := t.client.server.Addr(); ok {
		return []netip.Addr{a}
	}
	return nil
}

// Carries implements [mitigate.Target].
func (t *Target) Carries(e *mitigate.Entry) error {
	_, _, err := t.place(e)
	return err
}

func (t *Target) place(e *mitigate.Entry) (netip.Prefix, record, error) {
	r, reason := encode(e)
	var client netip.Prefix
	if reason == "" {
		client, reason = predicate.Client(e.Subject)
	}
	if reason != "" {
		return client, r, &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return client, r, nil
}

// group is the path of a data group.
func (t *Target) group(name string) string {
	return "/mgmt/tm/ltm/data-group/internal/~" + t.options.Partition + "~" + name
}

// read reads a data group.
func (t *Target) read(ctx context.Context, name, kind string) (group, error) {
	answer, err := t.client.do(ctx, http.MethodGet, t.group(name), "", nil)
	if err != nil {
		return group{}, prepared(err)
	}
	g, err := parseGroup(answer)
	if err == nil && g.Type != kind {
		err = fmt.Errorf("%w: data group %s is of type %s, not %s", ErrNotPrepared, name, g.Type, kind)
	}
	return g, err
}

// prepared marks an error of a load balancer that lacks an object.
func prepared(err error) error {
	if refusedWith(err, http.StatusNotFound) {
		return fmt.Errorf("%w: %w", ErrNotPrepared, err)
	}
	return err
}

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	changes := make(map[netip.Prefix]record, len(set))
	for i := range set {
		client, r, err := t.place(&set[i])
		if err != nil {
			return err
		}
		changes[client] = r
	}
	if err := t.writer.Take(ctx); err != nil {
		return err
	}
	defer t.writer.End()
	held, others := t.held, 0
	if held == nil {
		var err error
		if held, others, err = t.list(ctx); err != nil {
			return err
		}
	}
	wanted := make(map[netip.Prefix]record, len(held)+len(changes))
	over := time.Now().Add(-grace).Unix()
	for p, r := range held {
		if r.expires > over {
			wanted[p] = r
		}
	}
	for _, s := range remove {
		if client, reason := predicate.Client(s); reason == "" { // else it was never set
			delete(wanted, client)
		}
	}
	maps.Copy(wanted, changes)
	_, _, err := t.write(ctx, held, wanted, others > 0)
	return err
}

// list reads the verdicts that are there, and how many records are none.
func (t *Target) list(ctx context.Context) (held map[netip.Prefix]record, others int, err error) {
	held = make(map[netip.Prefix]record)
	for _, name := range []string{addressGroup, networkGroup} {
		g, err := t.read(ctx, name, typeIP)
		if err != nil {
			return nil, 0, err
		}
		others += recordsOf(g, name == addressGroup, held)
	}
	return held, others, nil
}

// write brings the data groups from held to wanted, and says how many records it set
// and removed; with all, also where they are alike. The caller is the writer.
func (t *Target) write(ctx context.Context, held, wanted map[netip.Prefix]record, all bool) (set, removed int, err error) {
	t.held = nil // until it is written, what is there is not known
	chosen, rejections := fit(wanted, t.options.Capacity)
	var addresses, networks bool
	differs := func(p netip.Prefix) {
		if p.IsSingleIP() {
			addresses = true
		} else {
			networks = true
		}
	}
	for p := range held {
		if _, stays := chosen[p]; !stays {
			removed++
			differs(p)
		}
	}
	for p, r := range chosen {
		if held[p] != r {
			set++
			differs(p)
		}
	}
	var changes []change
	if addresses || all {
		changes = append(changes, change{t.group(addressGroup), rowsOf(chosen, true)})
	}
	if networks || all {
		changes = append(changes, change{t.group(networkGroup), rowsOf(chosen, false)})
	}
	if len(changes) > 0 {
		number := t.life.Next()
		changes = append(changes, change{t.group(lifeGroup), []row{{lifeKey, number}}})
		err := t.client.transact(ctx, changes)
		t.life.Ended(number, err == nil)
		if err != nil {
			return 0, 0, prepared(err)
		}
	}
	t.held = chosen
	if len(rejections) > 0 {
		return set, removed, &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
	}
	return set, removed, nil
}

// Sync implements [mitigate.Target].
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	report := mitigate.SyncReport{Compared: true}
	wanted := make(map[netip.Prefix]record, len(entries))
	for i := range entries {
		client, r, err := t.place(&entries[i])
		if err != nil {
			return report, err
		}
		wanted[client] = r
	}
	if err := t.Prepared(ctx); err != nil {
		return report, err
	}
	if err := t.writer.Take(ctx); err != nil {
		return report, err
	}
	defer t.writer.End()
	t.held = nil
	held, others, err := t.list(ctx)
	if err != nil {
		return report, err
	}
	report.Held = len(held) + others
	set, removed, err := t.write(ctx, held, wanted, others > 0)
	report.Set, report.Removed = set, removed+others
	return report, err
}

// Sweep implements [mitigate.Target].
func (t *Target) Sweep(ctx context.Context) error {
	if err := t.writer.Take(ctx); err != nil {
		return err
	}
	defer t.writer.End()
	if t.held == nil {
		return nil // the comparison that follows does it
	}
	now := time.Now().Unix() + t.client.skew.Load()
	live := maps.Clone(t.held)
	maps.DeleteFunc(live, func(_ netip.Prefix, r record) bool { return r.expires <= now })
	if len(live) == len(t.held) {
		return nil
	}
	_, _, err := t.write(ctx, t.held, live, false)
	return err
}

// Hits implements [mitigate.Target]: it counts none.
func (t *Target) Hits(context.Context) ([]mitigate.Hits, error) { return nil, nil }
