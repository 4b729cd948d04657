package endpoint

import (
	"net/netip"

	"offpath/reassembly"
)

// Config configures a [Learner]. The zero value is the documented default of
// every field.
type Config struct {
	// Endpoints bounds what is remembered, literal paths not yet known to be
	// values among it; 0: 16384.
	Endpoints int
	// Hosts bounds the hosts; 0: 1024.
	Hosts int
	// Reserved says of a segment that it is no value, whatever its siblings are:
	// the words of a login. nil: of none.
	Reserved func(segment string) bool
	// Merged is told of each endpoint that turns out to be another, whose name
	// is its from then on. nil: nobody is told.
	Merged func(from, into *Endpoint)
}

// Limits of a Learner beside its Config.
const (
	maxStrays  = 4096 // keys that were never answered well
	maxMerged  = 8192 // keys of endpoints that turned out to be others
	maxAliases = 8    // names of former endpoints that an endpoint keeps
)

// Endpoint is one endpoint of an API. It stays valid when it is merged or
// forgotten, but is then no longer returned.
type Endpoint struct {
	// Name is METHOD host/path/{template}#operation. It never changes.
	Name string
	// Aliases are names that it had before it was known to be a template, the
	// first few; AliasesMore counts the others.
	Aliases     []string
	AliasesMore uint64

	key, method, operation string

	at, was *node     // at is nil of a stray and what is gone
	place   int       // in the Learner's list
	into    *Endpoint // what it turned out to be
	count   uint64    // requests, those answered 404 or not at all aside
	last    int64     // event time, ns
	good    uint64    // of count: answered 2xx or 3xx
	client  netip.Addr
	several bool // clients
	page    bool // some answer is a page
	empty   bool // some answer has no body
	pinned  pin
	shapes  shapes
}

// pin is how firmly an endpoint stands.
type pin uint8

const (
	pinNone   pin = iota
	pinShown      // requests look like those of a login
	pinProven     // a login has succeeded
)

// Stats are the books of a Learner. All are counts since its start, but for the
// gauges, which say what is held now.
type Stats struct {
	Merged     uint64 // endpoints that turned out to be values of a template
	Templates  uint64 // parameters that were learned, not shown by a shape
	Collapsed  uint64 // of them: for want of room among siblings
	Unadmitted uint64 // requests for what was never answered but by 404 or silence
	Forgotten  uint64 // endpoints given up for want of room
	Crowded    uint64 // of them: for want of room among siblings
	Unhosted   uint64 // hosts given up for want of room
	Dropped    uint64 // aliases that no longer lead anywhere

	Endpoints, Hosts, Nodes int // gauges
}

// Learner learns the endpoints of all hosts. Use [New].
type Learner struct {
	cfg    Config
	byKey  map[string]*Endpoint
	hosts  map[string]*host
	order  []*host // for the clock
	list   []*Endpoint
	hand   int // of the clock over hosts
	turn   int // of the clock over endpoints
	stray  ring
	merged ring
	recent recent
	stats  Stats

	key      []byte   // scratch
	segments []string // scratch
	features []feature
	shared   []feature
	looked   uint64 // features and children looked at: the work that learning is
	kids     []kid
}

// New makes a Learner.
func New(cfg Config) *Learner {
	if cfg.Endpoints == 0 {
		cfg.Endpoints = 1 << 14
	}
	if cfg.Hosts == 0 {
		cfg.Hosts = 1 << 10
	}
	if cfg.Reserved == nil {
		cfg.Reserved = func(string) bool { return false }
	}
	if cfg.Merged == nil {
		cfg.Merged = func(_, _ *Endpoint) {}
	}
	return &Learner{
		cfg: cfg, byKey: make(map[string]*Endpoint), hosts: make(map[string]*host),
		stray: ring{limit: maxStrays}, merged: ring{limit: maxMerged}, recent: newRecent(),
	}
}

// Locate is the endpoint of a request, which it learns from. What was never
// answered but by 404 has its own name, and teaches nothing.
func (l *Learner) Locate(tx *reassembly.Transaction) *Endpoint {
	r := &tx.Request
	l.key = appendKey(l.key[:0], r.Method, r.Domain, r.Path, tx.Operation)
	found, known := l.byKey[string(l.key)]
	switch {
	case !known:
		if found = l.recent.get(l.key); found == nil || !found.takes(tx) {
			return l.locate(tx)
		}
	case found.into != nil:
		if found = found.target(); found.at == nil || !found.takes(tx) {
			return l.locate(tx)
		}
	case found.at == nil && answered(tx):
		return l.locate(tx)
	}
	return l.observe(found, tx)
}

// answered reports whether a response shows that there is something. A load
// balancer that refuses a request shows nothing.
func answered(tx *reassembly.Transaction) bool {
	return tx.Response.Status != 0 && tx.Response.Status != 404 && tx.RefusedBy == ""
}

// target is what an endpoint turned out to be, in the end.
func (e *Endpoint) target() *Endpoint {
	for e.into != nil {
		if e.into.into != nil {
			e.into = e.into.into
		}
		e = e.into
	}
	return e
}

// observe counts a request of an endpoint, and looks at what is due.
func (l *Learner) observe(e *Endpoint, tx *reassembly.Transaction) *Endpoint {
	e.last = tx.End
	if !answered(tx) || e.at == nil {
		l.stats.Unadmitted++
		return e
	}
	e.count++
	if !e.several && tx.Client != e.client {
		if e.client.IsValid() {
			e.several = true
		} else {
			e.client = tx.Client
		}
	}
	if status := tx.Response.Status; status < 400 {
		e.good++
		if status >= 200 && status < 300 {
			e.learn(tx, l)
		}
	}
	due := false
	for n := e.at; n != nil; n = n.parent {
		n.count++
		due = due || n.count >= n.next
	}
	if !due {
		return e
	}
	for n := e.at; n != nil && e.into == nil; n = n.parent {
		if n.count >= n.next {
			l.evaluate(n, false)
		}
	}
	return e.target()
}

// locate finds the endpoint of a request by its path, or makes it.
func (l *Learner) locate(tx *reassembly.Transaction) *Endpoint {
	method := clip(tx.Request.Method, maxMethod)
	rest := string(l.key[len(method)+1:])
	host, path := rest[:hostEnd(tx, rest)], rest[hostEnd(tx, rest):]
	operation := clip(tx.Operation, maxOperation)
	if operation != "" {
		path = path[:len(path)-len(operation)-1]
	}
	if path == "" || path[0] != '/' { // the asterisk form
		return l.strayed(tx, method, host, nil, path, operation)
	}
	segments := l.segments[:0]
	for p := path[1:]; p != ""; {
		end := 0
		for end < len(p) && p[end] != '/' {
			end++
		}
		segment := p[:end]
		p = p[min(end+1, len(p)):]
		n := stem(segment)
		own := segment[:n]
		if own != parameter && named(own) {
			own = parameter
		}
		segments = append(segments, own)
		if n < len(segment) {
			segments = append(segments, segment[n:])
		}
	}
	l.segments = segments
	w := walk{method: method, operation: operation, segments: segments, tx: tx}
	if root := l.hosts[host]; root != nil {
		if e := w.find(&root.root, 0, false); e != nil {
			l.recent.put(l.key, e)
			return l.observe(e, tx)
		}
	}
	if !answered(tx) {
		return l.strayed(tx, method, host, segments, "", operation)
	}
	e := l.insert(&w, host)
	return l.observe(e, tx)
}

// hostEnd is where the host ends in a key without its method.
func hostEnd(tx *reassembly.Transaction, rest string) int {
	host := tx.Request.Domain
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1]
	}
	return min(len(clip(host, maxHost)), len(rest))
}

// strayed is the endpoint of a request that shows of none.
func (l *Learner) strayed(tx *reassembly.Transaction, method, host string, segments []string, path, operation string) *Endpoint {
	l.stats.Unadmitted++
	if e := l.byKey[string(l.key)]; e != nil && e.into == nil {
		e.last = tx.End
		return e
	}
	e := &Endpoint{key: string(l.key), method: method, operation: operation, last: tx.End}
	e.Name = name(method, host, segments, path, operation)
	l.keep(&l.stray, e)
	return e
}

// name composes an endpoint's name.
func name(method, host string, segments []string, path, operation string) string {
	b := make([]byte, 0, 128)
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, host...)
	if path != "" {
		b = append(b, path...)
	} else {
		b = appendPath(b, segments)
	}
	if operation != "" {
		b = append(b, '#')
		b = append(b, operation...)
	}
	return string(b)
}

// Pin makes an endpoint stand firm: it is never taken for a value of a
// template, and last to be forgotten. Where proven is false, only a few of a
// node's children can be held so, since requests alone show what they like.
func (l *Learner) Pin(e *Endpoint, proven bool) {
	p := pinShown
	if proven {
		p = pinProven
	}
	if e.at == nil || e.pinned >= p {
		return
	}
	e.pinned = p
	for n := e.at; n != nil; n = n.parent {
		n.pinned = max(n.pinned, p)
	}
}

// Stats returns the books as they stand.
func (l *Learner) Stats() Stats {
	s := l.stats
	s.Endpoints, s.Hosts = len(l.list), len(l.order)
	return s
}

// Endpoints are those known now, in the order in which they were found.
func (l *Learner) Endpoints() []*Endpoint {
	return append([]*Endpoint(nil), l.list...)
}
