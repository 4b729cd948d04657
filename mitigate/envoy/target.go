package envoy

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/predicate"
)

// Kind is the type of this target in the configuration.
const Kind = "envoy"

// DefaultCapacity is the most verdicts: Envoy takes the whole list anew at each change.
const DefaultCapacity = 100_000

// MaxPredicates is the most of them that are more than an address or network: they are read
// by each worker of Envoy.
const MaxPredicates = 4096

//go:embed setup/offpath.lua
var scriptText string

// Options of a target. Address is needed; beyond a unix socket also Token or Certificate.
type Options struct {
	Name    string // default: the address
	Address string // to listen at: unix:PATH or tcp:ADDRESS:PORT
	// Token reads what Envoys have to show, at each stream; nil: nothing.
	Token func() ([]byte, error)
	// Certificate and CA are PEM files: what is shown to Envoys, and who may vouch for
	// them (none: Envoys need no certificate). Key reads the certificate's key, in PEM.
	Certificate, CA string
	Key             func() ([]byte, error)
	// IgnoreHeaders don't count in fingerprints.
	IgnoreHeaders []string
	// Capacity is the most verdicts; default [DefaultCapacity].
	Capacity int
}

// Target is all Envoys that connect.
type Target struct {
	options Options
	at      listenAddress
	fleet   *fleet
	hits    hits
	serves  atomic.Bool // it was run

	// updating is held while the list changes and is sent: one update at a time. The
	// mode waits for none of it.
	updating sync.Mutex

	mu      sync.Mutex // guards what follows
	synced  bool       // the controller has said what there is to be
	entries map[detect.Subject]mitigate.Entry
	tiers   []string // rates that Envoys count by
	allow   []netip.Prefix
	mode    detect.Mode // "": not said yet
}

var (
	_ mitigate.Target = (*Target)(nil)
	_ mitigate.Runner = (*Target)(nil)
)

// New makes a target; it does not listen before [Target.Run].
func New(options Options) (*Target, error) {
	options.Name = cmp.Or(options.Name, options.Address)
	options.Capacity = cmp.Or(options.Capacity, DefaultCapacity)
	if problem := CheckAddress(options.Address, options.Certificate != "", options.Token != nil); problem != "" {
		return nil, fmt.Errorf("envoy target %q: address %q %s", options.Name, options.Address, problem)
	}
	at, _ := parseAddress(options.Address)
	switch {
	case options.Capacity < 0:
		return nil, fmt.Errorf("envoy target %q: capacity %d is negative", options.Name, options.Capacity)
	case (options.Certificate != "") != (options.Key != nil):
		return nil, fmt.Errorf("envoy target %q: a certificate needs its key, and a key its certificate", options.Name)
	case options.Certificate != "" && options.CA == "" && options.Token == nil:
		return nil, fmt.Errorf("envoy target %q: neither a ca nor a token says who is let in", options.Name)
	}
	for _, name := range options.IgnoreHeaders {
		if !isFieldName(name) {
			return nil, fmt.Errorf("envoy target %q: %q is no name of a header field", options.Name, name)
		}
	}
	life := strconv.FormatInt(time.Now().UnixNano(), 36)
	return &Target{options: options, at: at, fleet: newFleet(life), entries: make(map[detect.Subject]mitigate.Entry)}, nil
}

func isFieldName(name string) bool {
	for i := range len(name) {
		c := name[i] | 0x20
		if !('a' <= c && c <= 'z' || '0' <= name[i] && name[i] <= '9' || name[i] == '-' || name[i] == '_') {
			return false
		}
	}
	return name != ""
}

// Name implements [mitigate.Target].
func (t *Target) Name() string { return t.options.Name }

// Kind implements [mitigate.Target].
func (t *Target) Kind() string { return Kind }

// Capacity implements [mitigate.Target].
func (t *Target) Capacity() int { return t.options.Capacity }

// Addresses implements [mitigate.Target]: those that Envoys connect from.
func (t *Target) Addresses() []netip.Addr {
	_, _, addresses := t.fleet.who()
	return addresses
}

// Carries implements [mitigate.Target]: block, tag and rate limits of whole seconds, for a
// client address or network, and for any of an address, a fingerprint, a User-Agent, and a domain or
// literal endpoint together.
func (t *Target) Carries(e *mitigate.Entry) error {
	_, reason := locate(e.Subject)
	if reason == "" {
		_, _, reason = encode(e)
	}
	if reason != "" {
		return &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return nil
}

// Identity implements [mitigate.Target]. It changes when an Envoy connects or goes. Clocks
// of Envoys are not known.
func (t *Target) Identity(context.Context) (mitigate.Identity, error) {
	process, version, _ := t.fleet.who()
	switch {
	case process == "" && !t.serves.Load():
		return mitigate.Identity{}, mitigate.ErrConnectsItself
	case process == "":
		return mitigate.Identity{}, ErrNoEnvoy
	}
	return mitigate.Identity{Process: process, Version: version}, nil
}

// Prepared implements [mitigate.Target]. Where in its chain of filters an Envoy has those of
// offpath, it does not tell.
func (t *Target) Prepared(context.Context) error { return t.fleet.missing() }

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	t.updating.Lock()
	defer t.updating.Unlock()
	t.mu.Lock()
	if !t.synced {
		t.mu.Unlock()
		return errUnknown
	}
	wanted := maps.Clone(t.entries)
	t.mu.Unlock()
	for _, s := range remove {
		delete(wanted, s)
	}
	for i := range set {
		if err := t.Carries(&set[i]); err != nil {
			return err
		}
		wanted[set[i].Subject] = set[i]
	}
	return t.update(ctx, wanted, set)
}

// Sync implements [mitigate.Target]: what Envoys hold is what they were last sent and took.
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	t.updating.Lock()
	defer t.updating.Unlock()
	wanted := make(map[detect.Subject]mitigate.Entry, len(entries))
	for i := range entries {
		if err := t.Carries(&entries[i]); err != nil {
			return mitigate.SyncReport{}, err
		}
		wanted[entries[i].Subject] = entries[i]
	}
	t.mu.Lock()
	report := mitigate.SyncReport{Compared: t.synced, Held: len(t.entries)}
	for s, e := range t.entries {
		if _, is := wanted[s]; !is {
			report.Removed++
		} else if wanted[s] != e {
			report.Set++
		}
	}
	for s := range wanted {
		if _, is := t.entries[s]; !is {
			report.Set++
		}
	}
	t.synced = true
	t.mu.Unlock()
	ids := make(map[mitigate.ID]bool, len(entries))
	for i := range entries {
		ids[entries[i].ID] = true
	}
	t.hits.keep(ids)
	return report, t.update(ctx, wanted, entries)
}

// update has Envoys take what is wanted. Entries of fresh for which there is no room are
// rejected. The caller holds updating.
func (t *Target) update(ctx context.Context, wanted map[detect.Subject]mitigate.Entry, fresh []mitigate.Entry) error {
	rejected := limit(wanted, fresh)
	t.mu.Lock()
	t.entries = wanted
	list, used := rowsOf(wanted, t.allow)
	// Rates that are used no more go when another comes: each change has Envoy count
	// from the start.
	if slices.ContainsFunc(used, func(tier string) bool { return !slices.Contains(t.tiers, tier) }) {
		t.tiers = used
	}
	tiers := t.tiers
	t.mu.Unlock()

	filter, err := buildList(list)
	if err != nil {
		return fmt.Errorf("make %s: %w", names[verdicts], err)
	}
	var versions [kinds]uint64
	for k, message := range map[kind]proto.Message{rates: buildRates(tiers), verdicts: filter} {
		body, err := wrapped(k, message)
		if err != nil {
			return err
		}
		versions[k] = t.fleet.publish(k, body)
	}
	if versions[script], err = t.publishScript(); err != nil {
		return err
	}
	// All are published before any is waited for: no Envoy waits for another.
	if err := t.fleet.await(ctx, versions); err != nil {
		return err
	}
	if len(rejected) > 0 {
		return &mitigate.RejectedError{Target: t.options.Name, Rejections: rejected}
	}
	return nil
}

// publishScript publishes the script as mode and predicates have it be: not before both are
// known, but for off, which needs no predicates. It returns the latest version, 0 for none.
func (t *Target) publishScript() (version uint64, err error) {
	t.mu.Lock() // to the end: a later mode is a later version
	defer t.mu.Unlock()
	if t.mode == "" || !t.synced && t.mode != detect.ModeOff {
		return 0, nil
	}
	body, err := wrapped(script, buildScript(t.mode, predicatesOf(t.entries), t.options.IgnoreHeaders))
	if err != nil {
		return 0, err
	}
	return t.fleet.publish(script, body), nil
}

// limit takes entries of fresh for which there is no room out of what is wanted, the last
// first.
func limit(wanted map[detect.Subject]mitigate.Entry, fresh []mitigate.Entry) (rejected []mitigate.Rejection) {
	news := make(map[detect.Subject]bool, len(fresh))
	for i := range fresh {
		news[fresh[i].Subject] = true
	}
	predicates, tiers := 0, make(map[string]bool)
	// room notes an entry, and reports whether there is room for it.
	room := func(e *mitigate.Entry) (problem string) {
		p, _ := locate(e.Subject)
		_, tier, _ := encode(e)
		switch {
		case p.key != "" && predicates >= MaxPredicates:
			return fmt.Sprintf("there is room for %d verdicts about programs, endpoints and domains", MaxPredicates)
		case tier != "" && !tiers[tier] && len(tiers) >= MaxRates:
			return fmt.Sprintf("there is room for %d different rates", MaxRates)
		}
		if p.key != "" {
			predicates++
		}
		if tier != "" {
			tiers[tier] = true
		}
		return ""
	}
	for s, e := range wanted {
		if !news[s] {
			room(&e)
		}
	}
	for i := range fresh {
		if problem := room(&fresh[i]); problem != "" {
			delete(wanted, fresh[i].Subject)
			rejected = append(rejected, mitigate.Rejection{ID: fresh[i].ID, Answer: problem})
		}
	}
	return rejected
}

// rowsOf are the networks of entries and of the allow-list, and the rates in use.
func rowsOf(entries map[detect.Subject]mitigate.Entry, allow []netip.Prefix) (list []networkRow, tiers []string) {
	list = make([]networkRow, 0, len(entries)+len(allow))
	for _, p := range allow {
		list = append(list, networkRow{p.Masked(), allowed})
	}
	there := make(map[string]bool)
	for _, e := range entries {
		p, _ := locate(e.Subject)
		row, tier, _ := encode(&e)
		if tier != "" {
			there[tier] = true
		}
		if p.key == "" {
			list = append(list, networkRow{p.network, row})
		}
	}
	return list, slices.Sorted(maps.Keys(there))
}

// predicatesOf are the rows of the script by their keys.
func predicatesOf(entries map[detect.Subject]mitigate.Entry) map[string]predicateRow {
	rows := make(map[string]predicateRow)
	for s, e := range entries {
		if predicate.PlainClient(s) {
			continue
		}
		p, _ := locate(s)
		row, _, _ := encode(&e)
		rows[p.key] = predicateRow{p.shape, row}
	}
	return rows
}

// Sweep implements [mitigate.Target].
func (t *Target) Sweep(ctx context.Context) error {
	t.updating.Lock()
	defer t.updating.Unlock()
	now := time.Now().Unix()
	t.mu.Lock()
	if !t.synced {
		t.mu.Unlock()
		return nil
	}
	left := maps.Clone(t.entries)
	t.mu.Unlock()
	before := len(left)
	maps.DeleteFunc(left, func(_ detect.Subject, e mitigate.Entry) bool { return e.Expires <= now })
	if len(left) == before {
		return nil
	}
	return t.update(ctx, left, nil)
}

// SetAllow implements [mitigate.Target].
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	t.updating.Lock()
	defer t.updating.Unlock()
	t.mu.Lock()
	same := slices.Equal(t.allow, allow)
	t.allow = slices.Clone(allow)
	synced, wanted := t.synced, maps.Clone(t.entries)
	t.mu.Unlock()
	if same || !synced {
		return nil // it goes with the list
	}
	return t.update(ctx, wanted, nil)
}

// SetMode implements [mitigate.Target]: a script of some kilobytes, and off without
// predicates. It waits for no list.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, _ bool) error {
	if !slices.Contains(modes[:], mode) {
		return fmt.Errorf("unknown mode %q", mode)
	}
	t.mu.Lock()
	t.mode = mode
	t.mu.Unlock()
	version, err := t.publishScript()
	if err != nil {
		return err
	}
	if version == 0 {
		return errUnknown
	}
	return t.fleet.await(ctx, [kinds]uint64{script: version})
}

// Mode implements [mitigate.Target]: the one that every Envoy has taken; "" if none was
// ordered yet. An Envoy knows no off of its own.
func (t *Target) Mode(context.Context) (mode detect.Mode, local bool, err error) {
	t.mu.Lock()
	mode = t.mode
	t.mu.Unlock()
	version := t.fleet.latest(script)
	if mode == "" || version == 0 {
		return "", false, nil
	}
	pending, _, err := t.fleet.pending([kinds]uint64{script: version})
	if err = errors.Join(err, pending); err != nil {
		return "", false, err
	}
	return mode, false, nil
}

// Hits implements [mitigate.Target]: since this began, as far as Envoys log.
func (t *Target) Hits(context.Context) ([]mitigate.Hits, error) { return t.hits.list(), nil }
