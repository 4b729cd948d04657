package nginxfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/limitreq"
	"offpath/mitigate/internal/predicate"
	"offpath/mitigate/internal/turn"
)

// Kind is the type of this target in the configuration.
const Kind = "nginx_file"

// Defaults of [Options] and [Setup].
const (
	DefaultAddress       = "tcp:127.0.0.1:9181"
	DefaultDir           = "/etc/nginx/offpath"
	DefaultPIDFile       = "/run/nginx.pid"
	DefaultProgram       = "/usr/sbin/nginx"
	DefaultInterval      = 5 * time.Second
	DefaultTimeout       = 5 * time.Second
	DefaultReloadTimeout = 20 * time.Second
	DefaultCapacity      = 100_000
)

// MinInterval and MaxInterval bound the least time between two reloads: each leaves
// workers behind, and an order, which has to be carried out in time, waits for it.
const MinInterval, MaxInterval = 100 * time.Millisecond, 10 * time.Second

// maxCapacity keeps the file within [maxFile].
const maxCapacity = 200_000

// maxAllow is the most networks of the allow-list.
const maxAllow = 4096

// errChanged says that somebody else wrote the list: a full comparison puts that right.
var errChanged = errors.New("the list of nginx was changed by somebody else")

// Options of a target. The zero value suits Debian's nginx.
type Options struct {
	Name    string // of the target; default: the address
	Address string // of the printed server: tcp:ADDRESS:PORT or unix:PATH; default [DefaultAddress]
	Dir     string // the folder that is written to; default [DefaultDir]
	PIDFile string // of nginx's master; default [DefaultPIDFile]
	Program string // nginx itself, which tries each list; default [DefaultProgram]
	// Interval is the least time between two reloads; default [DefaultInterval].
	Interval time.Duration
	// Rates are what verdicts may limit to: each is a zone of the printed configuration.
	// Those that NGINX has no form for are left out.
	Rates         []detect.Rate
	Timeout       time.Duration // of each question; default [DefaultTimeout]
	ReloadTimeout time.Duration // of a reload; default [DefaultReloadTimeout]
	Capacity      int           // the most verdicts; default [DefaultCapacity]
}

// Target is one nginx.
type Target struct {
	options Options
	client  *http.Client
	tiers   []limitreq.Tier

	// turn is of whoever writes the list; it guards what follows.
	turn     turn.Turn
	known    *list     // in force, as far as is known; nil: not known
	wanted   *list     // the last that was to be
	unsure   bool      // a reload was ordered that may still be to come
	reloaded time.Time // the last time
	lost     int       // how often nginx was found with another list
}

var _ mitigate.Target = (*Target)(nil)

// New makes a target; it does not reach out to nginx.
func New(o Options) (*Target, error) {
	o.Address = cmp.Or(o.Address, DefaultAddress)
	o.Name = cmp.Or(o.Name, o.Address)
	o.Dir = cmp.Or(o.Dir, DefaultDir)
	o.PIDFile = cmp.Or(o.PIDFile, DefaultPIDFile)
	o.Program = cmp.Or(o.Program, DefaultProgram)
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.ReloadTimeout = cmp.Or(o.ReloadTimeout, DefaultReloadTimeout)
	o.Capacity = cmp.Or(o.Capacity, DefaultCapacity)
	for _, path := range []string{o.Dir, o.PIDFile, o.Program} {
		if !PlainPath(path) {
			return nil, fmt.Errorf("nginx file target %q: %q is not an absolute path of plain letters", o.Name, path)
		}
	}
	o.Dir = filepath.Clean(o.Dir)
	switch {
	case o.Interval < MinInterval || o.Interval > MaxInterval:
		return nil, fmt.Errorf("nginx file target %q: %s between reloads is not within %s and %s", o.Name, o.Interval, MinInterval, MaxInterval)
	case o.Timeout < 0 || o.ReloadTimeout < 0:
		return nil, fmt.Errorf("nginx file target %q: timeout %s or %s is negative", o.Name, o.Timeout, o.ReloadTimeout)
	case o.Capacity < 0 || o.Capacity > maxCapacity:
		return nil, fmt.Errorf("nginx file target %q: capacity %d is not within 1 and %d", o.Name, o.Capacity, maxCapacity)
	}
	network, where, problem := parseAddress(o.Address)
	if problem != "" {
		return nil, fmt.Errorf("nginx file target %q: address %q %s", o.Name, o.Address, problem)
	}
	tiers, err := limitreq.All(o.Rates)
	if err != nil {
		return nil, fmt.Errorf("nginx file target %q: %w", o.Name, err)
	}
	return &Target{options: o, client: newClient(network, where), tiers: tiers, turn: turn.New()}, nil
}

// Name implements [mitigate.Target].
func (t *Target) Name() string { return t.options.Name }

// Kind implements [mitigate.Target].
func (t *Target) Kind() string { return Kind }

// Capacity implements [mitigate.Target].
func (t *Target) Capacity() int { return t.options.Capacity }

// Addresses implements [mitigate.Target]: those of this host are not known to it.
func (t *Target) Addresses() []netip.Addr { return nil }

// Carries implements [mitigate.Target].
func (t *Target) Carries(e *mitigate.Entry) error {
	_, _, err := t.place(e)
	return err
}

// Identity implements [mitigate.Target]: the master's pid and start, and how often nginx
// was found with another list than it was given.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	m, err := t.findMaster()
	if err != nil {
		return mitigate.Identity{}, err
	}
	s, err := t.ask(ctx)
	if err != nil {
		return mitigate.Identity{}, err
	}
	// A worker that has ended meanwhile says nothing.
	if worker, err := statOf(s.worker); err == nil && worker.parent != m.pid {
		return mitigate.Identity{}, fmt.Errorf("%s is answered by another nginx (worker %d) than that of %s (master %d)", t.options.Address, s.worker, t.options.PIDFile, m.pid)
	}
	if t.turn.Try() { // else it is being written
		if t.known != nil && t.known.generation != s.generation {
			t.lost++
			t.known = nil
		}
		t.turn.End()
	}
	return mitigate.Identity{
		Process: fmt.Sprintf("%s/%d", m, t.lost),
		Version: s.version,
		Skew:    int64(time.Until(s.time).Round(time.Second) / time.Second),
	}, nil
}

// Prepared implements [mitigate.Target]: what is needed to ask, write, try and reload.
// Whether the rules stand in a server or location, nginx does not tell.
func (t *Target) Prepared(ctx context.Context) error {
	if _, err := t.Identity(ctx); err != nil {
		return err
	}
	if err := unix.Access(t.options.Dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write to %s: %w", t.options.Dir, err)
	}
	if _, err := exec.LookPath(t.options.Program); err != nil {
		return fmt.Errorf("find nginx's program: %w", err)
	}
	m, err := t.findMaster()
	if err != nil {
		return err
	}
	return m.signal(0)
}

// base is the list that a change starts from: what is in force, or else the file, or else
// what was wanted last.
func (t *Target) base() (list, error) {
	if t.known != nil {
		generation, err := t.fileGeneration()
		if err == nil && generation != t.known.generation {
			t.known, err = nil, errChanged
		}
		if err != nil {
			return list{}, err
		}
		return *t.known, nil
	}
	l, err := t.readList()
	if l.generation == "" && t.wanted != nil {
		l = t.wanted.with(t.wanted.held, t.wanted.allow)
	}
	return l, err
}

// change puts a list in force unless it is.
func (t *Target) change(ctx context.Context, from, to list) error {
	if !t.unsure && from.generation != "" && from.same(to, time.Now()) {
		s, err := t.ask(ctx)
		if err != nil {
			return err
		}
		if s.generation == from.generation {
			t.known, t.wanted = &from, &from
			return nil
		}
	}
	return t.put(ctx, to)
}

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	if err := t.turn.Take(ctx); err != nil {
		return err
	}
	defer t.turn.End()
	base, err := t.base()
	if err != nil {
		return err
	}
	held := base.live(time.Now())
	for _, s := range remove {
		if client, reason := predicate.Client(s); reason == "" {
			delete(held, client)
		}
	}
	for i := range set {
		client, r, err := t.place(&set[i])
		if err != nil {
			return err
		}
		held[client] = r
	}
	rejections := t.bound(held)
	if err := t.change(ctx, base, base.with(held, base.allow)); err != nil {
		return err
	}
	return t.rejected(rejections)
}

// Sync implements [mitigate.Target].
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	report := mitigate.SyncReport{Compared: true}
	if err := t.Prepared(ctx); err != nil {
		return report, err
	}
	if err := t.turn.Take(ctx); err != nil {
		return report, err
	}
	defer t.turn.End()
	file, err := t.readList()
	if err != nil {
		return report, err
	}
	if t.known != nil && t.known.generation != file.generation {
		t.known = nil
	}
	base, err := t.base()
	if err != nil {
		return report, err
	}
	held := make(map[netip.Prefix]record, len(entries))
	for i := range entries {
		client, r, err := t.place(&entries[i])
		if err != nil {
			return report, err
		}
		held[client] = r
	}
	rejections := t.bound(held)
	now := time.Now()
	old := file.live(now)
	report.Held = len(old)
	for p, r := range held {
		if r.expires > now.Unix() && old[p] != r {
			report.Set++
		}
	}
	for p := range old {
		if _, stays := held[p]; !stays {
			report.Removed++
		}
	}
	if err := t.change(ctx, base, base.with(held, base.allow)); err != nil {
		return report, err
	}
	return report, t.rejected(rejections)
}

// bound takes out what there is no room for.
func (t *Target) bound(held map[netip.Prefix]record) []mitigate.Rejection {
	left := shallow(held)
	if over := len(held) - t.options.Capacity; over > 0 {
		order := inOrder(held)
		slices.SortStableFunc(order, func(a, b netip.Prefix) int { return cmp.Compare(held[a].expires, held[b].expires) })
		for _, p := range order[:over] {
			left = append(left, mitigate.Rejection{ID: held[p].id, Answer: fmt.Sprintf("there is room for %d verdicts", t.options.Capacity)})
			delete(held, p)
		}
	}
	return left
}

func (t *Target) rejected(rejections []mitigate.Rejection) error {
	if len(rejections) == 0 {
		return nil
	}
	return &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
}

// SetAllow implements [mitigate.Target].
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	if len(allow) > maxAllow {
		return fmt.Errorf("allow-list of %d networks is longer than %d", len(allow), maxAllow)
	}
	networks := make([]netip.Prefix, len(allow))
	for i, p := range allow {
		if !p.IsValid() {
			return errors.New("allow-list holds an invalid network")
		}
		networks[i] = p.Masked()
	}
	slices.SortFunc(networks, comparePrefixes)
	networks = slices.Compact(networks)
	if err := t.turn.Take(ctx); err != nil {
		return err
	}
	defer t.turn.End()
	base, err := t.base()
	if err != nil {
		return err
	}
	return t.change(ctx, base, base.with(base.held, networks))
}

// Sweep implements [mitigate.Target]: nginx heeds what has ended no more, which is left
// out at the next change.
func (t *Target) Sweep(context.Context) error { return nil }

// Hits implements [mitigate.Target]: nginx counts nothing per verdict.
func (t *Target) Hits(context.Context) ([]mitigate.Hits, error) { return nil, nil }

// PlainPath says whether a path is absolute and has nothing that nginx takes for syntax.
func PlainPath(path string) bool { return filepath.IsAbs(path) && plain(path) }

// plain says whether a word has nothing that nginx takes for syntax.
func plain(word string) bool {
	for _, c := range word {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '.' && c != '_' && c != '/' && c != '-' {
			return false
		}
	}
	return word != ""
}
