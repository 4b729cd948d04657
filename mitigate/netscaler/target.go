package netscaler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/life"
	"offpath/mitigate/internal/turn"
)

// Kind is the type of this target in the configuration.
const Kind = "netscaler"

// Defaults of [Options].
const (
	DefaultTimeout  = 30 * time.Second
	DefaultCapacity = 20_000
)

// The objects, as the configuration that Setup prints names them.
const (
	verdictMap = "offpath_verdicts"
	modeMap    = "offpath_mode"
	offMap     = "offpath_off"
	lifeMap    = "offpath_life"
	allow4     = "offpath_allow4"
	allow6     = "offpath_allow6"
)

const (
	modeKey = "mode"
	lifeKey = "change"
	// lifted is the value of a key whose verdict ended before its time: many are written by
	// one order, while each that is unbound takes one of its own.
	lifted = "-"
	// maxUnbound is how many keys one sweep unbinds.
	maxUnbound = 500
)

// Options of a target. Address, User and Password are needed.
type Options struct {
	Name    string // of the target; default: the address
	Address string // of NITRO: https://HOST or https://HOST:PORT
	// User may bind and unbind string maps and data sets, and save the configuration.
	// Password is asked at each login, so it may change.
	User     string
	Password func() ([]byte, error)
	// CA is a PEM file with the certificates that may vouch for the API; empty: those that
	// the system trusts.
	CA      string
	Timeout time.Duration // of each request; default [DefaultTimeout]
	// Capacity is the most verdicts; default [DefaultCapacity].
	Capacity int
}

// Target is one NetScaler, or a pair that synchronises by itself.
type Target struct {
	options Options
	client  *client

	ordered atomic.Pointer[detect.Mode] // the last mode that was
	unsaved atomic.Bool                 // mode or allow-list

	// writer is whoever writes verdicts; it guards the image of them.
	writer turn.Turn
	held   map[string]record // by key; nil: not known
	dead   map[string]bool   // keys with another value
	life   life.Life
}

var _ mitigate.Target = (*Target)(nil)

// New makes a target; it does not connect.
func New(o Options) (*Target, error) {
	o.Name = cmp.Or(o.Name, o.Address)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Capacity = cmp.Or(o.Capacity, DefaultCapacity)
	if o.Timeout < 0 || o.Capacity < 0 {
		return nil, fmt.Errorf("netscaler timeout %s or capacity %d is negative", o.Timeout, o.Capacity)
	}
	if o.User == "" || o.Password == nil {
		return nil, fmt.Errorf("netscaler target %q: it has no user or no password", o.Name)
	}
	if problem := CheckAddress(o.Address); problem != "" {
		return nil, fmt.Errorf("netscaler target %q: address %q %s", o.Name, o.Address, problem)
	}
	return &Target{options: o, client: newClient(&o), writer: turn.New()}, nil
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

func (t *Target) place(e *mitigate.Entry) (string, record, error) {
	key, r, reason := encode(e)
	if reason != "" {
		return "", r, &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return key, r, nil
}

// Identity implements [mitigate.Target]: it names what the NetScaler holds, by the number of
// the last change. Its clock is the one that NITRO dates answers by.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	writes := t.life.Writes()
	rows, err := t.client.list(ctx, mapBinding, lifeMap)
	if err != nil {
		return mitigate.Identity{}, err
	}
	const longest = 40
	number := valueOf(rows, lifeKey)
	return mitigate.Identity{Process: t.life.Seen(number[:min(longest, len(number))], writes), Skew: t.client.skew.Load()}, nil
}

func valueOf(rows []binding, key string) string {
	for _, r := range rows {
		if r.Key == key {
			return r.Value
		}
	}
	return ""
}

// Prepared implements [mitigate.Target]: the string maps, the data sets and the policy
// labels. Whether a virtual server invokes these is not asked: it may stand where this user
// can't look.
func (t *Target) Prepared(ctx context.Context) error {
	for _, name := range objects() {
		answer, err := t.client.do(ctx, "GET", name, nil)
		if err != nil {
			return prepared(err)
		}
		if name == "policystringmap/"+verdictMap {
			if err := checkMark(answer); err != nil {
				return err
			}
		}
	}
	return nil
}

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	changes := make(map[string]record, len(set))
	for i := range set {
		key, r, err := t.place(&set[i])
		if err != nil {
			return err
		}
		changes[key] = r
	}
	if err := t.writer.Take(ctx); err != nil {
		return err
	}
	defer t.writer.End()
	if t.held == nil {
		if err := t.read(ctx); err != nil {
			return err
		}
	}
	wanted := maps.Clone(t.held)
	for _, s := range remove {
		if key, reason := locate(s); reason == "" { // else it was never set
			delete(wanted, key)
		}
	}
	maps.Copy(wanted, changes)
	_, _, err := t.write(ctx, wanted)
	return err
}

// read reads the verdicts that are there. The caller is the writer.
func (t *Target) read(ctx context.Context) error {
	t.held = nil
	rows, err := t.client.list(ctx, mapBinding, verdictMap)
	if err != nil {
		return err
	}
	held, dead := make(map[string]record, len(rows)), make(map[string]bool)
	for _, row := range rows {
		if r, ok := parseRecord(row.Value); ok {
			held[row.Key] = r
		} else {
			dead[row.Key] = true
		}
	}
	t.held, t.dead = held, dead
	return nil
}

// write brings the string map from what is held to what is wanted, and says how many keys it
// set and lifted. The caller is the writer.
func (t *Target) write(ctx context.Context, wanted map[string]record) (set, removed int, err error) {
	t.bury()
	held, dead := t.held, t.dead
	t.held = nil // until it is written, what is there is not known
	now := t.now()
	maps.DeleteFunc(wanted, func(_ string, r record) bool { return r.expires <= now })
	chosen, rejections := fit(wanted, t.options.Capacity)
	var rows []binding
	for key, r := range chosen {
		if before, ok := held[key]; !ok || before != r {
			rows = append(rows, binding{Name: verdictMap, Key: key, Value: r.String()})
			delete(dead, key)
			set++
		}
	}
	for key := range held {
		if _, stays := chosen[key]; !stays {
			rows = append(rows, binding{Name: verdictMap, Key: key, Value: lifted})
			dead[key] = true
			removed++
		}
	}
	if len(rows) > 0 {
		number := t.life.Next()
		err := t.client.bind(ctx, mapBinding, append(rows, binding{Name: lifeMap, Key: lifeKey, Value: number}))
		t.life.Ended(number, err == nil)
		if err != nil {
			return 0, 0, err
		}
	}
	t.held = chosen
	if err := t.makeRoom(ctx); err != nil {
		return 0, 0, err
	}
	if len(rejections) > 0 {
		return set, removed, &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
	}
	return set, removed, nil
}

// Sync implements [mitigate.Target].
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	report := mitigate.SyncReport{Compared: true}
	wanted := make(map[string]record, len(entries))
	for i := range entries {
		key, r, err := t.place(&entries[i])
		if err != nil {
			return report, err
		}
		wanted[key] = r
	}
	if err := t.Prepared(ctx); err != nil {
		return report, err
	}
	if err := t.writer.Take(ctx); err != nil {
		return report, err
	}
	defer t.writer.End()
	if err := t.read(ctx); err != nil {
		return report, err
	}
	report.Held = len(t.held)
	if err := t.makeRoom(ctx); err != nil { // or there may be none to write
		return report, err
	}
	var err error
	report.Set, report.Removed, err = t.write(ctx, wanted)
	return report, err
}

// Sweep implements [mitigate.Target]: it unbinds what no longer acts, some at a time, and
// others may write in between.
func (t *Target) Sweep(ctx context.Context) error {
	if err := t.writer.Take(ctx); err != nil {
		return err
	}
	var over []string
	if t.held != nil { // else the comparison that follows does it
		t.bury()
		over = slices.Collect(maps.Keys(t.dead))
	}
	t.writer.End()
	for _, key := range over[:min(maxUnbound, len(over))] {
		if err := t.writer.Take(ctx); err != nil {
			return err
		}
		err := t.unbind(ctx, key)
		t.writer.End()
		if err != nil {
			return err
		}
	}
	return nil
}

// now is the NetScaler's, s.
func (t *Target) now() int64 { return time.Now().Unix() + t.client.skew.Load() }

// bury counts what has ended among what no longer acts. The caller is the writer.
func (t *Target) bury() {
	now := t.now()
	for key, r := range t.held {
		if r.expires <= now {
			delete(t.held, key)
			t.dead[key] = true
		}
	}
}

// makeRoom unbinds what no longer acts as far as there is more of it than there may be
// verdicts: lifting takes one order for many keys and unbinding one for each, so it is put off,
// but not for ever. The caller is the writer.
func (t *Target) makeRoom(ctx context.Context) error {
	for key := range t.dead {
		if len(t.dead) <= t.options.Capacity {
			break
		}
		if err := t.unbind(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// unbind takes out a key, unless it has come to act again. The caller is the writer.
func (t *Target) unbind(ctx context.Context, key string) error {
	if t.held == nil || !t.dead[key] {
		return nil
	}
	if err := t.client.unbind(ctx, mapBinding, verdictMap, "key", key); err != nil {
		t.held = nil
		return err
	}
	delete(t.dead, key)
	return nil
}

// Hits implements [mitigate.Target]: it counts none.
func (t *Target) Hits(context.Context) ([]mitigate.Hits, error) { return nil, nil }
