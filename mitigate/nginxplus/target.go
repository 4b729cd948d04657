package nginxplus

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/limitreq"
	"offpath/mitigate/internal/predicate"
)

// Kind is the type of this target in the configuration.
const Kind = "nginx_plus"

// Defaults of [Options].
const (
	DefaultTimeout     = 5 * time.Second
	DefaultCapacity    = 100_000
	DefaultMaxNetworks = 1024
)

// The zones, as the configuration that Setup prints names them.
const (
	addressZone = "offpath_addresses"
	networkZone = "offpath_networks"
	allowZone   = "offpath_allow"
	modeZone    = "offpath_mode"
	// setupZone tells by its name of which version the configuration is: raised when its
	// rules change in what they do with what is written here.
	setupZone = "offpath_setup_1"
	// ratePrefix is what zones of limit_req begin with.
	ratePrefix = "offpath_rate_"
)

// Options of a target. Only Address is needed.
type Options struct {
	Name    string // of the target; default: the address
	Address string // of the API: http://HOST:PORT or https://HOST:PORT
	// User and Password are for HTTP's basic authentication; without a user none is sent.
	// Password is asked at each request, so it may change.
	User     string
	Password func() ([]byte, error)
	// CA is a PEM file with the certificates that may vouch for the API; empty: those that
	// the system trusts.
	CA string
	// Rates are what verdicts may limit to: each is a zone of the configuration that
	// Setup prints. Those that NGINX has no form for are left out.
	Rates   []detect.Rate
	Timeout time.Duration // of each request; default [DefaultTimeout]
	// Capacity is the most verdicts: what the zones have room for. Default
	// [DefaultCapacity], with which one has some 670 octets of the zone that Setup prints.
	Capacity int
	// MaxNetworks is the most verdicts on networks. Default [DefaultMaxNetworks].
	MaxNetworks int
}

// Target is one NGINX Plus.
type Target struct {
	options Options
	client  *client
	tiers   []limitreq.Tier

	// mu is held while networks are written, and guards the image of them.
	mu       sync.Mutex
	networks map[netip.Prefix]record // nil: not known
	// allowMu is held while the allow-list is written.
	allowMu sync.Mutex
}

var _ mitigate.Target = (*Target)(nil)

// New makes a target; it does not connect.
func New(o Options) (*Target, error) {
	o.Name = cmp.Or(o.Name, o.Address)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Capacity = cmp.Or(o.Capacity, DefaultCapacity)
	o.MaxNetworks = cmp.Or(o.MaxNetworks, DefaultMaxNetworks)
	if o.Timeout < 0 || o.Capacity < 0 || o.MaxNetworks < 0 {
		return nil, fmt.Errorf("nginx plus timeout %s, capacity %d or networks %d is negative", o.Timeout, o.Capacity, o.MaxNetworks)
	}
	if (o.User == "") != (o.Password == nil) {
		return nil, fmt.Errorf("nginx plus target %q: user and password work only together", o.Name)
	}
	tiers, err := limitreq.All(o.Rates)
	if err != nil {
		return nil, fmt.Errorf("nginx plus target %q: %w", o.Name, err)
	}
	c, err := newClient(&o)
	if err != nil {
		return nil, fmt.Errorf("nginx plus target %q: %w", o.Name, err)
	}
	return &Target{options: o, client: c, tiers: tiers}, nil
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
	r, reason := t.encode(e)
	var client netip.Prefix
	if reason == "" {
		client, reason = predicate.Client(e.Subject)
	}
	if reason != "" {
		return client, r, &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return client, r, nil
}

// Identity implements [mitigate.Target]: the master's pid, and when it last read its
// configuration, since a container's pid is always 1.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	answer, err := t.client.do(ctx, http.MethodGet, "/nginx", nil)
	if err != nil {
		return mitigate.Identity{}, prepared(err)
	}
	return parseIdentity(answer, time.Now())
}

func parseIdentity(answer []byte, now time.Time) (mitigate.Identity, error) {
	var info struct {
		Version, Build string
		Generation     int64
		Load           string    `json:"load_timestamp"`
		Time           time.Time `json:"timestamp"`
		PPID           int64     `json:"ppid"`
	}
	if err := json.Unmarshal(answer, &info); err != nil || info.PPID == 0 || info.Time.IsZero() {
		return mitigate.Identity{}, fmt.Errorf("nginx plus: it says nothing of its process and time: is it the API of NGINX Plus?")
	}
	const longest = 64
	version := info.Version + " " + info.Build
	return mitigate.Identity{
		Process: fmt.Sprintf("%d/%d/%s", info.PPID, info.Generation, info.Load[:min(longest, len(info.Load))]),
		Version: version[:min(longest, len(version))],
		Skew:    int64(info.Time.Sub(now).Round(time.Second) / time.Second),
	}, nil
}

// Prepared implements [mitigate.Target]: the zones, by their names. Whether the rules
// stand in a server or location, NGINX does not tell.
func (t *Target) Prepared(ctx context.Context) error {
	for _, zone := range []string{addressZone, networkZone, allowZone, modeZone, setupZone} {
		_, err := t.client.do(ctx, http.MethodGet, "/http/keyvals/"+zone+"?key=offpath", nil)
		if err != nil && !refusedWith(err, codeNoKey) {
			return prepared(err)
		}
	}
	for _, tier := range t.tiers {
		if _, err := t.client.do(ctx, http.MethodGet, "/http/limit_reqs/"+ratePrefix+tier.Name(), nil); err != nil {
			return prepared(err)
		}
	}
	return nil
}

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	now := time.Now()
	var rows, gone []write
	networks := make(map[netip.Prefix]record) // without an id: to go
	for _, s := range remove {
		client, reason := predicate.Client(s)
		switch {
		case reason != "": // never set
		case client.IsSingleIP():
			gone = append(gone, write{key: client.Addr().String()})
		default:
			networks[client] = record{}
		}
	}
	for i := range set {
		client, r, err := t.place(&set[i])
		switch {
		case err != nil:
			return err
		case !client.IsSingleIP():
			networks[client] = r
		default:
			rows = append(rows, r.write(client.Addr().String(), now))
		}
	}
	if err := t.end(ctx, addressZone, gone); err != nil {
		return err
	}
	rejections, err := t.put(ctx, addressZone, rows, len(rows) > connections)
	if err != nil {
		return err
	}
	rejected, err := t.changeNetworks(ctx, networks, now)
	if err != nil {
		return err
	}
	return t.rejected(append(rejections, rejected...))
}

func (t *Target) rejected(rejections []mitigate.Rejection) error {
	if len(rejections) == 0 {
		return nil
	}
	return &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
}

// put writes records; maybeEmpty says that it is worth a trial to write all at once,
// which NGINX takes into an empty zone alone.
func (t *Target) put(ctx context.Context, zone string, rows []write, maybeEmpty bool) ([]mitigate.Rejection, error) {
	if maybeEmpty {
		n, err := t.client.fill(ctx, zone, rows)
		if err != nil {
			return nil, err
		}
		rows = rows[n:]
	}
	return t.client.each(ctx, rows, func(ctx context.Context, w write) error { return t.client.put(ctx, zone, w) })
}

// end takes records out: they say nothing from now on, and are gone after a second.
func (t *Target) end(ctx context.Context, zone string, rows []write) error {
	value := (&write{value: tombstone, expire: tombstoneLife}).field()
	rejections, err := t.client.each(ctx, rows, func(ctx context.Context, w write) error { return t.client.change(ctx, zone, w.key, value) })
	if err == nil && len(rejections) > 0 {
		// What can't be taken out is no verdict that was rejected: the comparison tries again.
		err = fmt.Errorf("take %d records out of %s: %s", len(rejections), zone, rejections[0].Answer)
	}
	return err
}

// changeNetworks brings changes into the zone of networks.
func (t *Target) changeNetworks(ctx context.Context, changes map[netip.Prefix]record, now time.Time) ([]mitigate.Rejection, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	held := t.networks
	if held == nil {
		zone, err := t.client.zone(ctx, networkZone)
		if err != nil {
			return nil, err
		}
		held, _ = networksOf(zone)
	}
	wanted := make(map[netip.Prefix]record, len(held)+len(changes))
	for p, r := range held {
		if r.remaining(now) > 0 {
			wanted[p] = r
		}
	}
	for p, r := range changes {
		if r.id == 0 {
			delete(wanted, p)
		} else {
			wanted[p] = r
		}
	}
	_, _, rejections, err := t.writeNetworks(ctx, held, wanted, now)
	return rejections, err
}

// networksOf are the records of a zone, and the keys of what is none: tombstones aside.
func networksOf(zone map[string]string) (records map[netip.Prefix]record, others []write) {
	records = make(map[netip.Prefix]record, len(zone))
	for key, value := range zone {
		p, err := netip.ParsePrefix(key)
		r, ok := parseRecord(value)
		switch {
		case err == nil && ok && p.String() == key:
			records[p] = r
		case value != tombstone:
			others = append(others, write{key: key})
		}
	}
	return records, others
}

// writeNetworks brings the zone of networks from held to wanted, and says how many records
// it set and removed. The caller holds mu.
func (t *Target) writeNetworks(ctx context.Context, held, wanted map[netip.Prefix]record, now time.Time) (set, removed int, _ []mitigate.Rejection, err error) {
	t.networks = nil // until it is written whole, what is there is not known
	chosen, rejections := choose(wanted)
	rejections = append(rejections, t.bound(chosen)...)
	var rows, gone []write
	for _, p := range inOrder(held) {
		if _, stays := chosen[p]; !stays {
			gone = append(gone, write{key: p.String()})
		}
	}
	for _, p := range inOrder(chosen) {
		if held[p] != chosen[p] {
			rows = append(rows, chosen[p].write(p.String(), now))
		}
	}
	// What goes first, since it may overlap what comes.
	if err := t.end(ctx, networkZone, gone); err != nil {
		return 0, 0, nil, err
	}
	refused, err := t.put(ctx, networkZone, rows, false)
	if err != nil {
		return 0, 0, nil, err
	}
	if len(refused) == 0 {
		t.networks = chosen
	}
	return len(rows), len(gone), append(rejections, refused...), nil
}

// Sweep implements [mitigate.Target]: NGINX does it by itself.
func (t *Target) Sweep(context.Context) error { return nil }

// Hits implements [mitigate.Target]: NGINX Plus counts nothing per record.
func (t *Target) Hits(context.Context) ([]mitigate.Hits, error) { return nil, nil }
