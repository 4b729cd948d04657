package nginx

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// Kind is the type of this target in the configuration.
const Kind = "nginx"

// DefaultCapacity is the number of rows that the dictionaries of [Setup] have room for,
// whatever they are about.
const DefaultCapacity = 1 << 18

// The script this package gives orders to, and how many dictionaries it has.
const (
	scriptVersion = 1
	shards        = 16
)

// maxBatch is the most octets of an order, maxLines the most rows: half of what nginx keeps
// in memory, and some ten milliseconds of a worker.
const (
	maxBatch = 512 << 10
	maxLines = 4096
)

// Options of a target. Address and Token are needed.
type Options struct {
	Name    string // of the target; default: the address
	Address string // of the endpoint: unix:PATH, tcp:HOST:PORT of loopback, https://HOST:PORT
	// Token reads the endpoint's bearer token, at each order: who changes it restarts nothing.
	Token func() ([]byte, error)
	CA    []byte // with https: who may sign its certificate, in PEM; default: whom the system trusts
	// Timeout is for connecting and for the beginning of an answer, and twice that for an
	// exchange; default 5 s.
	Timeout time.Duration
	// Capacity is the most verdicts; default [DefaultCapacity].
	Capacity int
}

// Target is one nginx.
type Target struct {
	options Options
	client  *client
	mu      sync.Mutex // held while rows are written or compared

	faultsMu sync.Mutex
	faults   uint64
	seen     struct { // at the last look
		start  string
		faults uint64
	}
}

var (
	_ mitigate.Target  = (*Target)(nil)
	_ mitigate.Faulter = (*Target)(nil)
)

// New makes a target; it does not connect.
func New(options Options) (*Target, error) {
	options.Name = cmp.Or(options.Name, options.Address)
	options.Timeout = cmp.Or(options.Timeout, defaultTimeout)
	options.Capacity = cmp.Or(options.Capacity, DefaultCapacity)
	if options.Timeout < 0 || options.Capacity < 0 {
		return nil, fmt.Errorf("nginx target %q: timeout %s or capacity %d is negative", options.Name, options.Timeout, options.Capacity)
	}
	c, err := newClient(&options)
	if err != nil {
		return nil, fmt.Errorf("nginx target %q: %w", options.Name, err)
	}
	return &Target{options: options, client: c}, nil
}

// Name implements [mitigate.Target].
func (t *Target) Name() string { return t.options.Name }

// Kind implements [mitigate.Target].
func (t *Target) Kind() string { return Kind }

// Capacity implements [mitigate.Target].
func (t *Target) Capacity() int { return t.options.Capacity }

// Addresses implements [mitigate.Target]: unless it is a unix socket, the address it was
// last reached at.
func (t *Target) Addresses() []netip.Addr {
	if a := t.client.remote.Load(); a != nil {
		return []netip.Addr{*a}
	}
	return nil
}

// Carries implements [mitigate.Target]: block, tag and rate limits of whole seconds, for a
// client address or network, and for any of an address or IPv6 network of 64 bits, a
// fingerprint, a User-Agent, and a domain or literal endpoint together.
func (t *Target) Carries(e *mitigate.Entry) error {
	_, _, err := t.order(e)
	return err
}

// order is where an entry lies and the row there.
func (t *Target) order(e *mitigate.Entry) (place, string, error) {
	p, reason := locate(e.Subject)
	var row string
	if reason == "" {
		row, reason = encode(e)
	}
	if reason != "" {
		return p, "", &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return p, row, nil
}

func (t *Target) status(ctx context.Context) (status, error) {
	text, err := t.client.ask(ctx, "GET", "/v1/status", "")
	if err != nil {
		return status{}, err
	}
	return parseStatus(text)
}

// Identity implements [mitigate.Target]. It changes when the dictionaries were lost, not at
// a reload.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	before := time.Now()
	s, err := t.status(ctx)
	if err != nil {
		return mitigate.Identity{}, err
	}
	ours := float64(before.UnixMicro()+time.Now().UnixMicro()) / 2e6
	t.count(&s)
	return mitigate.Identity{Process: s.start, Version: s.version, Skew: int64(math.Round(s.clock - ours))}, nil
}

// count adds up faults over the lives of the dictionaries.
func (t *Target) count(s *status) {
	t.faultsMu.Lock()
	defer t.faultsMu.Unlock()
	if s.start != t.seen.start || s.faults < t.seen.faults {
		t.seen.faults = 0
	}
	t.faults += s.faults - t.seen.faults
	t.seen.start, t.seen.faults = s.start, s.faults
}

// Faults implements [mitigate.Faulter].
func (t *Target) Faults() uint64 {
	t.faultsMu.Lock()
	defer t.faultsMu.Unlock()
	return t.faults
}

// Prepared implements [mitigate.Target]. Whether the rules stand in a server, nginx does
// not tell.
func (t *Target) Prepared(ctx context.Context) error {
	s, err := t.status(ctx)
	switch {
	case err != nil:
		return err
	case s.setup != scriptVersion || s.shards != shards:
		return fmt.Errorf("%w: what it has is version %d with %d dictionaries, not %d with %d", ErrNotPrepared, s.setup, s.shards, scriptVersion, shards)
	case !s.readable:
		return fmt.Errorf("%w: its Lua module does not show header fields in their order; take that of Debian 12 or later", ErrNotPrepared)
	}
	return nil
}

// line is one order of an apply.
type line struct {
	text string
	id   mitigate.ID
}

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	lines := make([]line, 0, len(set)+len(remove))
	there := use{}
	for i := range set {
		p, row, err := t.order(&set[i])
		if err != nil {
			return err
		}
		there.add(p.class, set[i].Expires)
		lines = append(lines, line{"+" + p.key + " " + row + "\n", set[i].ID})
	}
	for _, s := range remove {
		if p, reason := locate(s); reason == "" { // else it was never set
			lines = append(lines, line{text: "-" + p.key + "\n"})
		}
	}
	if len(lines) == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	rejections, err := t.write(ctx, there.line(false), lines)
	if err != nil {
		return err
	}
	return t.rejected(rejections)
}

// write gives orders, each batch with the head. The caller holds mu.
func (t *Target) write(ctx context.Context, head string, lines []line) (rejections []mitigate.Rejection, err error) {
	for {
		n, size := 0, len(head)
		for n < len(lines) && n < maxLines && size+len(lines[n].text) <= maxBatch {
			size += len(lines[n].text)
			n++
		}
		var body strings.Builder
		body.Grow(size)
		body.WriteString(head)
		for _, l := range lines[:n] {
			body.WriteString(l.text)
		}
		answer, err := t.client.ask(ctx, "POST", "/v1/apply", body.String())
		if err != nil {
			return rejections, err
		}
		refusals, err := parseApplied(answer, n)
		if err != nil {
			return rejections, err
		}
		for _, r := range refusals {
			rejections = append(rejections, mitigate.Rejection{ID: lines[r.line].id, Answer: r.reason})
		}
		if lines = lines[n:]; len(lines) == 0 {
			return rejections, nil
		}
	}
}

func (t *Target) rejected(rejections []mitigate.Rejection) error {
	if len(rejections) == 0 {
		return nil
	}
	return &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
}

// Sync implements [mitigate.Target]: the dictionaries are listed one after the other.
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	report := mitigate.SyncReport{Compared: true}
	if err := t.Prepared(ctx); err != nil {
		return report, err
	}
	type order struct {
		row string
		id  mitigate.ID
	}
	wanted := make(map[string]order, len(entries))
	there := use{}
	for i := range entries {
		p, row, err := t.order(&entries[i])
		if err != nil {
			return report, err
		}
		wanted[p.key] = order{row, entries[i].ID}
		there.add(p.class, entries[i].Expires)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	var gone, changed []line
	for shard := range shards {
		text, err := t.client.ask(ctx, "GET", fmt.Sprintf("/v1/list?shard=%d", shard), "")
		if err != nil {
			return report, err
		}
		held, err := parseRows(text)
		if err != nil {
			return report, err
		}
		report.Held += len(held)
		for key, row := range held {
			switch want, is := wanted[key]; {
			case !is:
				gone = append(gone, line{text: "-" + key + "\n"})
				report.Removed++
			case want.row == row:
				delete(wanted, key)
			}
		}
	}
	for key, want := range wanted {
		changed = append(changed, line{"+" + key + " " + want.row + "\n", want.id})
		report.Set++
	}
	// Always in the same order, and what goes makes room for what comes.
	byText := func(a, b line) int { return strings.Compare(a.text, b.text) }
	slices.SortFunc(gone, byText)
	slices.SortFunc(changed, byText)
	rejections, err := t.write(ctx, there.line(true), append(gone, changed...))
	if err != nil {
		return report, err
	}
	return report, t.rejected(rejections)
}

// Sweep implements [mitigate.Target].
func (t *Target) Sweep(ctx context.Context) error {
	_, err := t.client.ask(ctx, "POST", "/v1/sweep", "")
	return err
}

// SetAllow implements [mitigate.Target].
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	var body strings.Builder
	for _, p := range allow {
		body.WriteString(networkPlace(p).key + "\n")
	}
	if body.Len() > maxBatch {
		return t.rejected([]mitigate.Rejection{{Answer: fmt.Sprintf("an allow-list of %d networks is too long", len(allow))}})
	}
	return t.short(ctx, "/v1/allow", body.String())
}

// short gives an order that is carried out or refused as a whole.
func (t *Target) short(ctx context.Context, path, body string) error {
	answer, err := t.client.ask(ctx, "POST", path, body)
	if err != nil {
		return err
	}
	if reason, refused := strings.CutPrefix(answer, "refused 0 "); refused {
		reason = strings.TrimSpace(reason)
		return t.rejected([]mitigate.Rejection{{Answer: strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "?")}})
	}
	return nil
}

// modes by the script's numbers.
var modes = [...]detect.Mode{detect.ModeOff, detect.ModeMonitor, detect.ModeEnforce}

// SetMode implements [mitigate.Target]. It does not wait for a bulk load.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	number := slices.Index(modes[:], mode)
	if number < 0 {
		return fmt.Errorf("unknown mode %q", mode)
	}
	body := fmt.Sprint(number)
	if release {
		body += " release"
	}
	return t.short(ctx, "/v1/mode", body)
}

// Mode implements [mitigate.Target].
func (t *Target) Mode(ctx context.Context) (mode detect.Mode, local bool, err error) {
	s, err := t.status(ctx)
	switch {
	case err != nil:
		return "", false, err
	case s.off:
		return detect.ModeOff, true, nil
	case s.mode >= len(modes):
		return "", false, fmt.Errorf("nginx says it is in mode %d", s.mode)
	}
	return modes[s.mode], false, nil
}

// Hits implements [mitigate.Target]: the counters of the last hour.
func (t *Target) Hits(ctx context.Context) ([]mitigate.Hits, error) {
	text, err := t.client.ask(ctx, "GET", "/v1/hits", "")
	if err != nil {
		return nil, err
	}
	return parseHits(text), nil
}
