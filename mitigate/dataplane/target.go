package dataplane

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/haproxy"
)

// Kind is the type of this target in the configuration.
const Kind = "haproxy_dataplane"

// Defaults of [Options].
const (
	DefaultMapDir  = "/etc/haproxy/maps"
	DefaultTimeout = 10 * time.Second
	// DefaultCapacity keeps what HAProxy 2.6 to 2.8 search line by line, to change or
	// delete one, at some milliseconds.
	DefaultCapacity    = 20_000
	DefaultMaxNetworks = 4096
)

// ErrNotPrepared says that the load balancer lacks a map or table: its configuration does
// not hold what `offpath target-config` prints.
var ErrNotPrepared = errors.New("load balancer is not prepared: add what `offpath target-config` prints to its configuration")

// Options of a target. Address, User and Password are needed.
type Options struct {
	Name    string // of the target; default: the address
	Address string // of the API: https://HOST:PORT, or http:// on loopback
	// User and Password are for HTTP's basic authentication. Password is asked at each
	// request, so it may change.
	User     string
	Password func() ([]byte, error)
	// CA is a PEM file with the certificates that may vouch for the API; empty: those that
	// the system trusts.
	CA string
	// Version of the API, 2 or 3; 0: the one that answers.
	Version int
	// MapDir is the API's folder of maps as haproxy.cfg names it, here and in [Setup];
	// default [DefaultMapDir].
	MapDir string
	// Deceives says that [Setup] had a Deception.
	Deceives bool
	Timeout  time.Duration // of each request; default [DefaultTimeout]
	// Capacity is the most verdicts. Default [DefaultCapacity].
	Capacity int
	// MaxNetworks is the most verdicts on networks: their map is written anew at each
	// change. Default [DefaultMaxNetworks].
	MaxNetworks int
}

// Target is one HAProxy behind its Data Plane API.
type Target struct {
	options Options
	client  *client

	// mu is held while verdicts are written.
	mu sync.Mutex
	// allowMu is held while the allow-list is written.
	allowMu sync.Mutex

	lifeMu sync.Mutex
	life   process   // of HAProxy, as last seen
	began  time.Time // when that started
}

var _ mitigate.Target = (*Target)(nil)

// New makes a target; it does not connect.
func New(o Options) (*Target, error) {
	o.Name = cmp.Or(o.Name, o.Address)
	o.MapDir = strings.TrimRight(cmp.Or(o.MapDir, DefaultMapDir), "/")
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Capacity = cmp.Or(o.Capacity, DefaultCapacity)
	o.MaxNetworks = cmp.Or(o.MaxNetworks, DefaultMaxNetworks)
	switch {
	case o.Timeout < 0 || o.Capacity < 0 || o.MaxNetworks < 0:
		return nil, fmt.Errorf("data plane api timeout %s, capacity %d or networks %d is negative", o.Timeout, o.Capacity, o.MaxNetworks)
	case o.Version != 0 && o.Version != version2 && o.Version != version3:
		return nil, fmt.Errorf("data plane api version %d is neither 2 nor 3", o.Version)
	case !PlainPath(o.MapDir):
		return nil, fmt.Errorf("data plane api map folder %q is not an absolute path of plain letters", o.MapDir)
	case !PlainName(o.User) || o.Password == nil:
		return nil, fmt.Errorf("data plane api target %q: it needs a user of plain letters, not %q, and a password", o.Name, o.User)
	}
	c, err := newClient(&o)
	if err != nil {
		return nil, fmt.Errorf("data plane api target %q: %w", o.Name, err)
	}
	return &Target{options: o, client: c}, nil
}

// PlainPath says whether a path is absolute and has nothing that HAProxy or its API take
// for syntax.
func PlainPath(path string) bool {
	return strings.HasPrefix(path, "/") && plain(path)
}

// PlainName says whether a name of a user has nothing that HAProxy takes for syntax.
func PlainName(name string) bool { return plain(name) && !strings.Contains(name, "/") }

// plain says whether a word has nothing that haproxy.cfg takes for syntax.
func plain(word string) bool {
	return word != "" && strings.IndexFunc(word, func(c rune) bool {
		return (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("._/-", c)
	}) < 0
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

// Carries implements [mitigate.Target]: as [haproxy.Target.Carries], sessions aside.
func (t *Target) Carries(e *mitigate.Entry) error {
	_, _, err := t.place(e)
	return err
}

// place says where an entry lies: under a key, or of a network.
type place struct {
	key     string
	shapes  shapes // of a predicate
	network netip.Prefix
}

func (t *Target) place(e *mitigate.Entry) (p place, v haproxy.Value, err error) {
	var reason string
	switch e.Action {
	case detect.ActionBlock, detect.ActionTag, detect.ActionRateLimit:
		v, reason = haproxy.ValueOf(e)
	case detect.ActionDeceive:
		if v, reason = haproxy.ValueOf(e); reason == "" && !t.options.Deceives {
			reason = "it is told no answer that deceives: set deceive_status, and have its configuration printed anew"
		}
	default:
		reason = fmt.Sprintf("it has no action %q", e.Action)
	}
	if reason == "" {
		p, reason = locate(e.Subject)
	}
	if reason != "" {
		return p, v, &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	if p.shapes.set != 0 {
		p.shapes.expires = v.Expires()
	}
	return p, v, nil
}

func locate(s detect.Subject) (p place, reason string) {
	key, shape, network, reason := haproxy.KeyOf(s)
	p = place{key: key, network: network}
	if shape != 0 {
		p.shapes.set = 1 << shape
	}
	return p, reason
}

// Identity implements [mitigate.Target]: HAProxy's pid and when it started. The API tells
// whole seconds of uptime, so a start is another only if it differs by more than these do.
// The clock is that of the API's host, where HAProxy is, too.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	answer, _, err := t.client.info(ctx)
	if err != nil {
		return mitigate.Identity{}, err
	}
	p, err := parseInfo(answer)
	if err != nil {
		return mitigate.Identity{}, err
	}
	t.lifeMu.Lock()
	defer t.lifeMu.Unlock()
	began := time.Now().Add(-time.Duration(min(p.uptime, maxUptime)) * time.Second)
	if p.pid != t.life.pid || p.uptime < t.life.uptime || began.Sub(t.began).Abs() > 5*time.Second {
		t.began = began
	}
	t.life = p
	return mitigate.Identity{
		Process: strconv.FormatInt(p.pid, 10) + "/" + strconv.FormatInt(t.began.Unix(), 10),
		Version: p.name,
		Skew:    int64(t.client.skew().Round(time.Second) / time.Second),
	}, nil
}

// maxUptime is more than any process has, s.
const maxUptime = 100 * 365 * 24 * 3600

// Prepared implements [mitigate.Target]: the maps, by their paths, and the tables with the
// version. Whether the rules stand in a frontend, HAProxy does not tell.
func (t *Target) Prepared(ctx context.Context) error {
	version, err := t.client.versionOf(ctx)
	if err != nil {
		return err
	}
	answer, err := t.client.get(ctx, runtimePath(version)+"maps?include_unmanaged=true")
	if err != nil {
		return t.client.prepared(ctx, err)
	}
	files, err := parseNames(answer, "file")
	if err != nil {
		return err
	}
	for _, name := range []string{verdictMap, networkMap, allowMap, allowLiveMap, modeMap} {
		path := mapFile(t.options.MapDir, name)
		if slices.Contains(files, path) {
			continue
		}
		for _, other := range files {
			if strings.HasSuffix(other, mapFile("", name)) {
				return fmt.Errorf("%w: no map %s, but %s: map_dir is to be the API's folder of maps, and the one that is meant there", ErrNotPrepared, path, other)
			}
		}
		return fmt.Errorf("%w: no map %s", ErrNotPrepared, path)
	}
	if answer, err = t.client.get(ctx, runtimePath(version)+"stick_tables"); err != nil {
		return t.client.prepared(ctx, err)
	}
	tables, err := parseNames(answer, "name")
	if err != nil {
		return err
	}
	needed := []string{haproxy.HitTable, setupTable}
	if t.options.Deceives {
		needed = append(needed, haproxy.DeceptionTable)
	}
	for _, name := range needed {
		if !slices.Contains(tables, name) {
			return fmt.Errorf("%w: no table %s", ErrNotPrepared, name)
		}
	}
	return nil
}

// parseNames reads a list of objects, of each the member that names it.
func parseNames(answer []byte, member string) (names []string, err error) {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, fmt.Errorf("data plane api: answer is no JSON list: %w", err)
	}
	for _, object := range list {
		var name string
		if json.Unmarshal(object[member], &name) == nil && name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// prepared explains an answer that something is not there: HAProxy lacks a map or table, or
// the API can't reach HAProxy, of which it says the same. To an addition it answers 400, with
// HAProxy's own words.
func (c *client) prepared(ctx context.Context, err error) error {
	unknown := refusedWith(err, http.StatusBadRequest) && strings.Contains(err.Error(), "Unknown map identifier")
	if !unknown && !refusedWith(err, http.StatusNotFound) {
		return err
	}
	answer, _, infoErr := c.info(ctx)
	if infoErr == nil {
		_, infoErr = parseInfo(answer)
	}
	if infoErr == nil {
		infoErr = ErrNotPrepared
	}
	return fmt.Errorf("%w: %w", infoErr, err)
}

// Hits implements [mitigate.Target]: the counters of verdicts that were hit in the last
// minute or two.
func (t *Target) Hits(ctx context.Context) ([]mitigate.Hits, error) {
	version, err := t.client.versionOf(ctx)
	if err != nil {
		return nil, err
	}
	query := "filter=" + url.QueryEscape("http_req_rate gt 0") // the API puts "data." before it
	path := runtimePath(version) + "stick_tables/" + haproxy.HitTable + "/entries?" + query
	if version == version2 {
		path = runtimePath(version) + "stick_table_entries?process=1&stick_table=" + haproxy.HitTable + "&" + query
	}
	answer, err := t.client.get(ctx, path)
	if err != nil {
		return nil, t.client.prepared(ctx, err)
	}
	return parseHits(answer)
}

// parseHits reads rows of the table of hits; what is none is left out.
func parseHits(answer []byte) (hits []mitigate.Hits, err error) {
	var rows []struct {
		Key   string
		Count int64 `json:"http_req_cnt"`
	}
	if err := json.Unmarshal(answer, &rows); err != nil {
		return nil, fmt.Errorf("data plane api: table is no JSON list of entries: %w", err)
	}
	at := make(map[mitigate.ID]int)
	for _, row := range rows {
		id, refused, ok := haproxy.HitOf(row.Key)
		if !ok || row.Count < 0 {
			continue
		}
		i, ok := at[id]
		if !ok {
			i = len(hits)
			at[id] = i
			hits = append(hits, mitigate.Hits{ID: id})
		}
		if refused {
			hits[i].Refused += uint64(row.Count)
		} else {
			hits[i].Passed += uint64(row.Count)
		}
	}
	return hits, nil
}
