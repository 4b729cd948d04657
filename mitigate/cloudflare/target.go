package cloudflare

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/pacer"
	"offpath/mitigate/internal/turn"
)

// Kind is the type of this target in the configuration.
const Kind = "cloudflare"

// Defaults of [Options].
const (
	DefaultAddress  = "https://api.cloudflare.com/client/v4"
	DefaultCapacity = 9000
	DefaultPace     = 2 * time.Second
	DefaultGap      = 300 * time.Millisecond
	DefaultPoll     = 500 * time.Millisecond
	DefaultLook     = 10 * time.Second
	DefaultLease    = 3 * time.Hour
	DefaultTimeout  = 10 * time.Second
)

const (
	// MaxZones is how many zones one target has at most: each look and each mode takes
	// requests of its own there.
	MaxZones = 20
	// maxAllow is the most items of the allow-list, beside that which settles.
	maxAllow = 999
	// MaxCapacity is the most verdicts: more can't be compared at the pace that Cloudflare's
	// API bears in the time that a comparison has.
	MaxCapacity = 20_000
)

// Options of a target. Account, Zones and Token are needed.
type Options struct {
	Name    string   // of the target; default the account
	Account string   // id of the account, whose lists are written
	Zones   []string // ids of the zones that have the rule
	// Token is asked at each request, so it may change.
	Token    func() ([]byte, error)
	Address  string // URL of the API; default [DefaultAddress]
	Capacity int    // most verdicts; default [DefaultCapacity]: an account has 10,000 items, of which others are the allow-list's

	Pace    time.Duration // least time between two changes of lists; default [DefaultPace]
	Gap     time.Duration // least time between two requests but those of the mode; default [DefaultGap]
	Poll    time.Duration // first pause between two looks at an operation; it grows; default [DefaultPoll]
	Look    time.Duration // how long what Cloudflare said of lists and rules is believed; default [DefaultLook]
	Lease   time.Duration // how long the rule refuses clients after the last order to enforce, of which the controller gives one an hour; default [DefaultLease]
	Timeout time.Duration // of one request; default [DefaultTimeout]
}

var hexID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// PlainID says whether a text is an id as accounts and zones have it.
func PlainID(id string) bool { return hexID.MatchString(id) }

// Target is the lists of one account, whose only writer it is, and the rule in zones.
type Target struct {
	options Options
	client  *client

	compared atomic.Bool // the last time that it was tried

	looks   sync.Mutex // guards what follows
	lists   map[string]string
	listsAt time.Time // when they were read; zero: not lately
	mode    detect.Mode
	local   bool
	modeAt  time.Time

	writer  turn.Turn               // of whoever writes lists; it guards what follows
	entries map[netip.Prefix]record // nil: not known what there is to be
	held    map[netip.Prefix]held   // nil: not known what the list holds
	ready   bool                    // entries are all that is wanted, and no rule was wrong when they came
	others  map[netip.Prefix]bool   // of the list, not offpath's
	pending string                  // an operation that may not have ended; "": none is known
	unsure  bool                    // there may be one that is not known
	changes pacer.Pacer             // of lists
	changed chan struct{}           // entries changed, so their next end may have
}

var (
	_ mitigate.Target = (*Target)(nil)
	_ mitigate.Runner = (*Target)(nil)
)

// New makes a target; it does not connect.
func New(o Options) (*Target, error) {
	o.Name = cmp.Or(o.Name, o.Account)
	o.Address = cmp.Or(o.Address, DefaultAddress)
	o.Capacity = cmp.Or(o.Capacity, DefaultCapacity)
	o.Pace = cmp.Or(o.Pace, DefaultPace)
	o.Gap = cmp.Or(o.Gap, DefaultGap)
	o.Poll = cmp.Or(o.Poll, DefaultPoll)
	o.Look = cmp.Or(o.Look, DefaultLook)
	o.Lease = cmp.Or(o.Lease, DefaultLease)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Zones = slices.Clone(o.Zones)
	wrong := func(format string, a ...any) (*Target, error) {
		return nil, fmt.Errorf("cloudflare target %q: "+format, append([]any{o.Name}, a...)...)
	}
	if !PlainID(o.Account) {
		return wrong("account %q is no id of 32 hex digits", o.Account)
	}
	if len(o.Zones) == 0 || len(o.Zones) > MaxZones {
		return wrong("%d zones are not 1 to %d", len(o.Zones), MaxZones)
	}
	for i, zone := range o.Zones {
		if !PlainID(zone) || slices.Contains(o.Zones[:i], zone) {
			return wrong("zone %q is no id of 32 hex digits, or there twice", zone)
		}
	}
	if problem := CheckAddress(o.Address); problem != "" {
		return wrong("address %q %s", o.Address, problem)
	}
	if o.Token == nil {
		return wrong("it has no token")
	}
	if o.Capacity < 1 || o.Capacity > MaxCapacity {
		return wrong("capacity %d is not 1 to %d", o.Capacity, MaxCapacity)
	}
	if o.Pace < 0 || o.Gap < 0 || o.Poll < 0 || o.Look < 0 || o.Lease < 0 || o.Timeout < 0 {
		return wrong("a time is negative")
	}
	t := &Target{options: o, client: newClient(&o), writer: turn.New(), changed: make(chan struct{}, 1), unsure: true}
	t.changes.Interval = o.Pace
	return t, nil
}

// Name implements [mitigate.Target].
func (t *Target) Name() string { return t.options.Name }

// Kind implements [mitigate.Target].
func (t *Target) Kind() string { return Kind }

// Capacity implements [mitigate.Target].
func (t *Target) Capacity() int { return t.options.Capacity }

// Addresses implements [mitigate.Target]: none that a client could have.
func (t *Target) Addresses() []netip.Addr { return nil }

// Carries implements [mitigate.Target].
func (t *Target) Carries(e *mitigate.Entry) error {
	_, _, err := t.place(e)
	return err
}

func (t *Target) place(e *mitigate.Entry) (netip.Prefix, record, error) {
	client, r, reason := place(e)
	if reason != "" {
		return client, r, &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return client, r, nil
}

// Identity implements [mitigate.Target]: the ids that Cloudflare gave the lists. Its clock
// does not matter: it ends nothing.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	lists, err := t.findLists(ctx)
	if err != nil {
		return mitigate.Identity{}, err
	}
	return mitigate.Identity{
		Process: cmp.Or(lists[blockList], "no list") + "," + cmp.Or(lists[allowList], "no list"),
		Version: "API v4",
	}, nil
}

// findLists are the ids of the account's lists, as Cloudflare said lately.
func (t *Target) findLists(ctx context.Context) (map[string]string, error) {
	t.looks.Lock()
	lists, at := t.lists, t.listsAt
	t.looks.Unlock()
	if time.Since(at) < t.options.Look {
		return lists, nil
	}
	lists, err := t.client.listIDs(ctx)
	if err != nil {
		return nil, err
	}
	t.looks.Lock()
	t.lists, t.listsAt = lists, time.Now()
	t.looks.Unlock()
	return lists, nil
}

// list is the id of a list.
func (t *Target) list(ctx context.Context, name string) (string, error) {
	lists, err := t.findLists(ctx)
	if err != nil {
		return "", err
	}
	if lists[name] == "" {
		return "", fmt.Errorf("%w: the account has no list %s of kind ip", ErrNotPrepared, name)
	}
	return lists[name], nil
}

// forgetLists has the lists looked up anew, since one may be gone.
func (t *Target) forgetLists() {
	t.looks.Lock()
	t.listsAt = time.Time{}
	t.looks.Unlock()
}

// Prepared implements [mitigate.Target].
func (t *Target) Prepared(ctx context.Context) error {
	for _, name := range []string{blockList, allowList} {
		if _, err := t.list(ctx, name); err != nil {
			return err
		}
	}
	return t.eachZone(func(_ int, zone string) error {
		r, err := t.client.findRule(ctx, zone, false)
		if err != nil {
			return err
		}
		if problem := r.problem(); problem != "" {
			return fmt.Errorf("%w: the rule of zone %s %s", ErrNotPrepared, zone, problem)
		}
		return nil
	})
}

// Hits implements [mitigate.Target]: Cloudflare counts by rule, not by item of a list.
func (t *Target) Hits(context.Context) ([]mitigate.Hits, error) { return nil, nil }
