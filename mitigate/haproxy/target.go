package haproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// Kind is the type of this target in the configuration.
const Kind = "haproxy"

// Defaults of [Options].
const (
	DefaultMapDir       = "/etc/haproxy/offpath"
	DefaultTimeout      = 5 * time.Second
	DefaultCapacity     = 1_000_000
	DefaultMaxNetworks  = 4096
	DefaultCompareLimit = 200_000
)

// maxWrites is how many rows a full comparison writes at most, which takes about a
// second: meanwhile nothing else is written.
const maxWrites = 50_000

// maxCompareLimit keeps a dump, of some 130 octets a row, below maxAnswer.
const maxCompareLimit = 400_000

// ErrNotPrepared says that the load balancer lacks a table or map: its
// configuration does not hold what `offpath target-config` prints.
var ErrNotPrepared = errors.New("load balancer is not prepared: add what `offpath target-config` prints to its configuration")

// Options of a target. Only Address is needed.
type Options struct {
	Name    string // of the target; default: the address
	Address string // unix:/PATH or tcp:HOST:PORT of a stats socket of level admin, or master:/PATH of the master's
	// MapDir is the folder of the map files as haproxy.cfg names it, here and
	// in [Setup]; default [DefaultMapDir].
	MapDir string
	// Deceives says that [Setup] had a Deception.
	Deceives bool
	// SessionKey is that of [Setup]; empty: verdicts about sessions can't be carried.
	SessionKey []byte
	// Timeout is for connecting and for each read and write; default
	// [DefaultTimeout].
	Timeout time.Duration
	// Capacity is the most verdicts on exact subjects: less than the size of
	// the table in the configuration. Default [DefaultCapacity].
	Capacity int
	// MaxNetworks is the most verdicts on networks: the map is written anew
	// at each change. Default [DefaultMaxNetworks].
	MaxNetworks int
	// CompareLimit is the most rows that a full comparison lists one by one:
	// a dump of 100,000 takes about a second of one HAProxy thread. Beyond it
	// rows are to be written again unseen, and unwanted ones end by their expiry.
	// Default [DefaultCompareLimit], at most 400,000.
	CompareLimit int
}

func (o *Options) setDefaults() {
	o.Name = cmp.Or(o.Name, o.Address)
	o.MapDir = strings.TrimRight(cmp.Or(o.MapDir, DefaultMapDir), "/")
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Capacity = cmp.Or(o.Capacity, DefaultCapacity)
	o.MaxNetworks = cmp.Or(o.MaxNetworks, DefaultMaxNetworks)
	o.CompareLimit = cmp.Or(o.CompareLimit, DefaultCompareLimit)
}

func (o *Options) validate() error {
	switch {
	case !plain(o.MapDir) || !strings.HasPrefix(o.MapDir, "/"):
		return fmt.Errorf("haproxy map folder %q is not an absolute path of plain letters", o.MapDir)
	case o.Timeout < 0:
		return fmt.Errorf("haproxy timeout %s is negative", o.Timeout)
	case o.CompareLimit > maxCompareLimit:
		return fmt.Errorf("haproxy compare limit %d is more than %d", o.CompareLimit, maxCompareLimit)
	case o.Capacity < 0 || o.MaxNetworks < 0 || o.CompareLimit < 0:
		return fmt.Errorf("haproxy capacity %d, networks %d or compare limit %d is negative", o.Capacity, o.MaxNetworks, o.CompareLimit)
	}
	return nil
}

// Target is one HAProxy.
type Target struct {
	options Options
	client  *client
	bufsize atomic.Int64 // of HAProxy; 0: not yet asked

	// mu is held while the network map is written, and guards the image of it.
	mu       sync.Mutex
	networks map[netip.Prefix]record // nil: not known

	// shapesMu is held while predicates are written, and guards which shapes of them
	// there are.
	shapesMu sync.Mutex
	shapes   shapes
}

var (
	_ mitigate.Target   = (*Target)(nil)
	_ mitigate.Rewriter = (*Target)(nil)
)

// New makes a target; it does not connect.
func New(options Options) (*Target, error) {
	options.setDefaults()
	if err := options.validate(); err != nil {
		return nil, err
	}
	c, err := newClient(options.Address, options.Timeout)
	if err != nil {
		return nil, fmt.Errorf("haproxy target %q: %w", options.Name, err)
	}
	return &Target{options: options, client: c}, nil
}

// Name implements [mitigate.Target].
func (t *Target) Name() string { return t.options.Name }

// Kind implements [mitigate.Target].
func (t *Target) Kind() string { return Kind }

// Capacity implements [mitigate.Target].
func (t *Target) Capacity() int { return t.options.Capacity }

// Addresses implements [mitigate.Target]: with a TCP socket the address it was
// last reached at.
func (t *Target) Addresses() []netip.Addr {
	if a := t.client.remote.Load(); a != nil {
		return []netip.Addr{*a}
	}
	return nil
}

// Carries implements [mitigate.Target]: block, tag, rate limits and, where it is set up,
// deception, for a client address or network, for a session, and for any of an address or IPv6 network of 64 bits, a
// fingerprint, a User-Agent, and a domain or literal endpoint together.
func (t *Target) Carries(e *mitigate.Entry) error {
	_, _, err := t.place(e)
	return err
}

func (t *Target) place(e *mitigate.Entry) (place, record, error) {
	r, reason := encode(e)
	if reason == "" && e.Action == detect.ActionDeceive && !t.options.Deceives {
		reason = "it is told no answer that deceives: set deceive_status, and have its configuration printed anew"
	}
	var p place
	if reason == "" && e.Subject.Session != "" && len(t.options.SessionKey) == 0 {
		reason = "it does not compute session hashes: set sessions, and have its configuration printed anew"
	}
	if reason == "" {
		p, reason = locate(e.Subject)
	}
	if reason != "" {
		return p, r, &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return p, r, nil
}

// Identity implements [mitigate.Target]: pid and start time.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	text, err := t.client.ask(ctx, "show", "info")
	if err != nil {
		return mitigate.Identity{}, err
	}
	info := parseInfo(text)
	start, startErr := strconv.ParseInt(info["Start_time_sec"], 10, 64)
	uptime, uptimeErr := strconv.ParseInt(info["Uptime_sec"], 10, 64)
	if info["Pid"] == "" || startErr != nil || uptimeErr != nil {
		return mitigate.Identity{}, fmt.Errorf("haproxy at %s says nothing of its pid and start: is it a stats socket?", t.options.Address)
	}
	return mitigate.Identity{
		Process: info["Pid"] + "/" + info["Start_time_sec"],
		Version: info["Version"],
		Skew:    start + uptime - time.Now().Unix(),
	}, nil
}

// sizes are the most octets of a batch and of a payload: less than half of
// HAProxy's buffer.
func (t *Target) sizes(ctx context.Context) (batch, payload int, err error) {
	size := int(t.bufsize.Load())
	if size == 0 {
		text, err := t.client.ask(ctx, "show", "pools")
		if err != nil {
			return 0, 0, err
		}
		if size = parseBufsize(text); size < 1024 {
			return 0, 0, fmt.Errorf("haproxy at %s has buffers of %d octets", t.options.Address, size)
		}
		t.bufsize.Store(int64(size))
	}
	return min(maxBatch, size*7/16), min(maxPayload, size/4), nil
}

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	var rows, predicates []row
	var networks []networkChange
	image := shapes{}
	for i := range set {
		p, r, err := t.place(&set[i])
		switch {
		case err != nil:
			return err
		case p.key == "":
			networks = append(networks, networkChange{p.network, r})
		case p.shape != 0:
			predicates = append(predicates, row{p.key, r})
			image = image.with(p.shape, r.expires)
		default:
			rows = append(rows, row{p.key, r})
		}
	}
	for _, s := range remove {
		p, reason := locate(s)
		switch {
		case reason != "": // never set
		case p.key == "":
			networks = append(networks, networkChange{prefix: p.network})
		default:
			rows = append(rows, row{key: p.key})
		}
	}
	rejections, err := t.writeRows(ctx, rows)
	if err != nil {
		return err
	}
	rejected, err := t.writePredicates(ctx, predicates, image)
	if err != nil {
		return err
	}
	rejections = append(rejections, rejected...)
	if len(networks) > 0 {
		if rejected, err = t.changeNetworks(ctx, networks); err != nil {
			return err
		}
		rejections = append(rejections, rejected...)
	}
	return t.rejected(rejections)
}

// writePredicates writes rows of predicates, and before them the row that says which
// shapes there are: always, since somebody may have cleared it.
func (t *Target) writePredicates(ctx context.Context, rows []row, of shapes) ([]mitigate.Rejection, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	t.shapesMu.Lock()
	defer t.shapesMu.Unlock()
	t.shapes = t.shapes.and(of)
	if rejected, err := t.writeShapes(ctx, rows); err != nil || len(rejected) > 0 {
		return rejected, err
	}
	return t.writeRows(ctx, rows)
}

// writeShapes writes the row of shapes. Where it is refused, predicates would do
// nothing and count as refused too. The caller holds shapesMu.
func (t *Target) writeShapes(ctx context.Context, predicates []row) ([]mitigate.Rejection, error) {
	refused, err := t.writeRows(ctx, []row{t.shapes.row()})
	if err != nil {
		return nil, err
	}
	if len(refused) > 0 {
		rejected := make([]mitigate.Rejection, len(predicates))
		for i, r := range predicates {
			rejected[i] = mitigate.Rejection{ID: r.record.id, Answer: refused[0].Answer}
		}
		return rejected, nil
	}
	return nil, nil
}

func (t *Target) rejected(rejections []mitigate.Rejection) error {
	if len(rejections) == 0 {
		return nil
	}
	return &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
}

// row is what a row of the verdict table is to be; without an id it is to go.
type row struct {
	key    string
	record record
}

func (t *Target) writeRows(ctx context.Context, rows []row) ([]mitigate.Rejection, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	batch, _, err := t.sizes(ctx)
	if err != nil {
		return nil, err
	}
	refusals, err := t.client.bulk(ctx, batch, len(rows), func(i int) (string, error) {
		if rows[i].record.id == 0 {
			return clearOrder(rows[i].key)
		}
		return setOrder(rows[i].key, rows[i].record)
	})
	if err != nil {
		return nil, err
	}
	rejections := make([]mitigate.Rejection, len(refusals))
	for i, r := range refusals {
		if notPrepared(r.answer) {
			return nil, fmt.Errorf("%w: %s", ErrNotPrepared, r.answer)
		}
		rejections[i] = mitigate.Rejection{ID: rows[r.index].record.id, Answer: r.answer}
	}
	return rejections, nil
}

// notPrepared recognises HAProxy's words for a table, data type or map that
// its configuration lacks.
func notPrepared(answer string) bool {
	for _, words := range []string{"No such table", "Data type not stored", "Unknown map identifier", "Unknown data type"} {
		if strings.Contains(answer, words) {
			return true
		}
	}
	return false
}

// prepared marks an error of a load balancer that lacks a table or map.
func prepared(err error) error {
	if err != nil && notPrepared(err.Error()) {
		return fmt.Errorf("%w: %w", ErrNotPrepared, err)
	}
	return err
}

// Sync implements [mitigate.Target].
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	t.bufsize.Store(0) // another process may have another configuration
	var report mitigate.SyncReport
	if err := t.Prepared(ctx); err != nil {
		return report, err
	}

	used, err := t.rowsUsed(ctx)
	if err != nil {
		return report, err
	}
	report.Held, report.Compared = used, used <= t.options.CompareLimit
	rows := make(map[string]record)
	networks := make(map[netip.Prefix]record)
	var predicates []row
	t.shapesMu.Lock()
	defer t.shapesMu.Unlock()
	t.shapes = shapes{}
	for i := range entries {
		p, r, err := t.place(&entries[i])
		switch {
		case err != nil:
			return report, err
		case p.key == "":
			networks[p.network] = r
			continue
		case p.shape != 0:
			t.shapes = t.shapes.with(p.shape, r.expires)
			predicates = append(predicates, row{p.key, r})
		}
		if report.Compared {
			rows[p.key] = r
		}
	}

	var gone, changed []row
	if report.Compared {
		if gone, changed, err = t.compareRows(ctx, rows, &report); err != nil {
			return report, err
		}
	}
	if len(changed) > maxWrites {
		report.Compared, report.Set, changed = false, 0, nil
	}
	// What goes makes room for what comes.
	rejections, err := t.writeRows(ctx, gone)
	if err != nil {
		return report, err
	}
	refused, err := t.writeShapes(ctx, predicates)
	if err != nil {
		return report, err
	}
	rejections = append(rejections, refused...)
	if len(refused) > 0 {
		changed = slices.DeleteFunc(changed, func(r row) bool { return slices.ContainsFunc(predicates, func(p row) bool { return p.key == r.key }) })
	}
	if refused, err = t.writeRows(ctx, changed); err != nil {
		return report, err
	}
	rejections = append(rejections, refused...)
	rejected, err := t.syncNetworks(ctx, networks, &report)
	if err != nil {
		return report, err
	}
	return report, t.rejected(append(rejections, rejected...))
}

// Comparable implements [mitigate.Rewriter].
func (t *Target) Comparable() int { return t.options.CompareLimit }

// Rewrite implements [mitigate.Rewriter]: networks are compared, predicates written, as
// the table that has them can't be listed.
func (t *Target) Rewrite(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	t.bufsize.Store(0) // another process may have another configuration
	var report mitigate.SyncReport
	if err := t.Prepared(ctx); err != nil {
		return report, err
	}
	networks := make(map[netip.Prefix]record)
	var predicates []row
	image := shapes{}
	for i := range entries {
		p, r, err := t.place(&entries[i])
		switch {
		case err != nil:
			return report, err
		case p.shape != 0:
			predicates = append(predicates, row{p.key, r})
			image = image.with(p.shape, r.expires)
		case p.key == "":
			networks[p.network] = r
		}
	}
	t.shapesMu.Lock()
	defer t.shapesMu.Unlock()
	t.shapes = image
	rejections, err := t.writeShapes(ctx, predicates)
	if err != nil {
		return report, err
	}
	if len(rejections) == 0 {
		if rejections, err = t.writeRows(ctx, predicates); err != nil {
			return report, err
		}
	}
	rejected, err := t.syncNetworks(ctx, networks, &report)
	if err != nil {
		return report, err
	}
	return report, t.rejected(append(rejections, rejected...))
}

// compareRows finds the rows that have to go and those that have to be written, so
// that the table holds exactly the wanted ones.
func (t *Target) compareRows(ctx context.Context, wanted map[string]record, report *mitigate.SyncReport) (gone, changed []row, err error) {
	dump, err := t.client.ask(ctx, "show", "table", verdictTable)
	if err != nil {
		return nil, nil, err
	}
	equal := make(map[string]bool, len(wanted))
	for line := range strings.Lines(dump) {
		found, ok := parseTableRow(strings.TrimSuffix(line, "\n"))
		if !ok || slices.Contains(ownKeys, found.key) || !plain(found.key) {
			continue
		}
		switch r, want := wanted[found.key]; {
		case !want:
			gone = append(gone, row{key: found.key})
			report.Removed++
		case r == recordOfRow(found):
			equal[found.key] = true
		}
	}
	for key, r := range wanted {
		if !equal[key] {
			changed = append(changed, row{key, r})
			report.Set++
		}
	}
	return gone, changed, nil
}

// ownKeys are rows that are no verdicts.
var ownKeys = []string{modeKey, offKey, shapesKey}

// rowsUsed counts the rows of the verdict table without listing them.
func (t *Target) rowsUsed(ctx context.Context) (int, error) {
	list, err := t.client.ask(ctx, "show", "table")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(list) {
		head, ok := parseTableHead(strings.TrimSuffix(line, "\n"))
		if ok && head.name == verdictTable {
			return head.used, nil
		}
	}
	return 0, fmt.Errorf("%w: no table %s", ErrNotPrepared, verdictTable)
}

// Sweep implements [mitigate.Target]. Rows without an id (mode and off) stay. A line of the
// network map names one wider network that outlasts it; of several the widest may be hidden
// until the map is written anew here.
func (t *Target) Sweep(ctx context.Context) error {
	// A minute's grace, for clocks that differ: an expired row does nothing.
	before := strconv.FormatInt(time.Now().Unix()-60, 10)
	_, err := t.client.ask(ctx, "clear", "table", verdictTable, "data.conn_cnt", "gt", "0", "data.gpc0", "lt", before)
	if err != nil {
		return prepared(err)
	}
	_, err = t.changeNetworks(ctx, nil)
	return err
}

// Hits implements [mitigate.Target]: the counters of verdicts that were hit in
// the last minute or two.
func (t *Target) Hits(ctx context.Context) ([]mitigate.Hits, error) {
	dump, err := t.client.ask(ctx, "show", "table", hitTable, "data.http_req_rate", "gt", "0")
	if err != nil {
		return nil, prepared(err)
	}
	at := make(map[mitigate.ID]int)
	var hits []mitigate.Hits
	for line := range strings.Lines(dump) {
		found, ok := parseTableRow(strings.TrimSuffix(line, "\n"))
		if !ok {
			continue
		}
		id, refused, ok := HitOf(found.key)
		if !ok {
			continue
		}
		i, ok := at[id]
		if !ok {
			i = len(hits)
			at[id] = i
			hits = append(hits, mitigate.Hits{ID: id})
		}
		if n := found.data["http_req_cnt"]; refused {
			hits[i].Refused += n
		} else {
			hits[i].Passed += n
		}
	}
	return hits, nil
}
