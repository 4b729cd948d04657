// Package sitemap gathers what is seen of each endpoint (how often, with what
// statuses, how fast and how large, by how many clients, under what
// authentication, in what role, with what classes of sensitive data) and writes
// it as a description in OpenAPI 3.1.
//
// A [Map] belongs to one goroutine. It holds at most the number of endpoints
// that it was made for; of each, some kilobytes: quantiles come of a histogram
// with a relative error of 1/64 ([Quantiles]), clients of a HyperLogLog with one
// of 3 %, both of which can be added up. What finds no room is
// counted. The clock is event time.
//
// Values are never kept: no account, token, query or body.
package sitemap

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"offpath/detect/internal/distinct"
	"offpath/reassembly"
)

// Limits of a Map.
const (
	DefaultEndpoints = 4096
	maxKept          = 16 // statuses, media types, roles of an endpoint; former names that it lists
)

// Map is what is known of all endpoints. Use [New].
type Map struct {
	limit  int
	byName map[string]*Endpoint
	lost   uint64
}

// Endpoint is what is known of one.
type Endpoint struct {
	Name               string // METHOD host/path/{template}#operation
	Host, Path         string
	Method, Operation  string
	Aliases            []string // former names, the first few
	Requests           uint64
	Unanswered         uint64
	First, Last        int64 // ns since the epoch
	Latency            Quantiles
	Received, Sent     Quantiles        // octets of request and response bodies
	Clients            distinct.Counter // addresses; of IPv6, /64 networks
	Statuses           map[int]uint64
	Media              map[string]uint64 // of responses
	RequestMedia       map[string]uint64
	Carriers           map[string]uint64 // of credentials and sessions; "" is none
	Granted            map[string]uint64 // of them, those of requests answered with 200 to 299
	Roles              map[string]uint64
	Looked             uint64            // requests in which sensitive data was looked for
	Sensitive          map[string]uint64 // of them, those with a class of it at a place: request.body.card
	Pages, Data, Calls uint64            // answers that are HTML; that are JSON, XML or OFX; requests of a mobile app's software
}

// New makes a Map of at most limit endpoints; 0: [DefaultEndpoints].
func New(limit int) *Map {
	return &Map{limit: cmp.Or(limit, DefaultEndpoints), byName: make(map[string]*Endpoint)}
}

// Observe takes an annotated request into account, under the name that its
// endpoint has now.
func (m *Map) Observe(tx *reassembly.Transaction) {
	name := tx.Annotation.Endpoint
	e := m.byName[name]
	if e == nil {
		if e = m.add(name, tx); e == nil {
			return
		}
	}
	e.observe(tx)
}

func (m *Map) add(name string, tx *reassembly.Transaction) *Endpoint {
	if tx.Response.Status == 404 || tx.Response.Status == 0 {
		return nil // nothing is known to be there
	}
	if len(m.byName) >= m.limit {
		m.lost++
		return nil
	}
	e := newEndpoint(name)
	m.byName[e.Name] = e
	return e
}

func newEndpoint(name string) *Endpoint {
	e := &Endpoint{Name: strings.Clone(name)}
	rest := ""
	e.Method, rest, _ = strings.Cut(e.Name, " ")
	rest, e.Operation, _ = strings.Cut(rest, "#")
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		e.Host, e.Path = rest[:slash], rest[slash:]
	} else {
		e.Host = rest
	}
	return e
}

func (e *Endpoint) observe(tx *reassembly.Transaction) {
	if e.Requests == 0 || tx.Start < e.First {
		e.First = tx.Start
	}
	e.Last = max(e.Last, tx.Start)
	e.Requests++
	if tx.Client.IsValid() {
		e.Clients.AddAddress(tx.Client)
	}
	count(&e.Carriers, carrier(tx), 1)
	if tx.Annotation.Role != "" {
		count(&e.Roles, tx.Annotation.Role, 1)
	}
	if tx.Request.BodyBytes > 0 {
		count(&e.RequestMedia, tx.Request.MIMEType, 1)
	}
	if tx.Sensitive != 0 {
		e.sensitive(tx.Sensitive)
	}
	e.Received.Add(tx.Request.BodyBytes)
	if Mobile(tx.Request.UserAgent) {
		e.Calls++
	}
	if tx.Response.Status == 0 {
		e.Unanswered++
		return
	}
	count(&e.Statuses, tx.Response.Status, 1)
	count(&e.Media, tx.Response.MIMEType, 1)
	if tx.Response.Status >= 200 && tx.Response.Status <= 299 {
		count(&e.Granted, carrier(tx), 1)
	}
	e.Latency.Add(tx.Duration)
	e.Sent.Add(tx.Response.BodyBytes)
	page, data := Serves(tx)
	e.Pages += page
	e.Data += data
}

// Serves counts an answer as a page, as data or as neither.
func Serves(tx *reassembly.Transaction) (page, data uint64) {
	switch tx.Response.Signature.Media {
	case "html":
		return 1, 0
	case "json", "xml", "ofx":
		return 0, 1
	}
	return 0, 0
}

// sensitive counts classes of sensitive data; their names are a closed list.
func (e *Endpoint) sensitive(s reassembly.Sensitive) {
	e.Looked++
	for name := range s.All() {
		if e.Sensitive == nil {
			e.Sensitive = make(map[string]uint64)
		}
		e.Sensitive[name]++
	}
}

// carrier is what carries a request's credentials or session.
func carrier(tx *reassembly.Transaction) string {
	if tx.Auth.Carrier == "" && tx.Auth.APIKeyHash != "" {
		return "api_key"
	}
	return tx.Auth.Carrier
}

// Mobile reports whether a User-Agent is that of a mobile application's HTTP
// library.
func Mobile(agent string) bool {
	for _, name := range [...]string{"okhttp/", "CFNetwork/", "Dart/", "Dalvik/", "Alamofire/"} {
		if strings.Contains(agent, name) {
			return true
		}
	}
	return false
}

// count adds to one of a bounded number of counters.
func count[K comparable](counters *map[K]uint64, key K, n uint64) {
	if *counters == nil {
		*counters = make(map[K]uint64)
	}
	if _, known := (*counters)[key]; known || len(*counters) < maxKept {
		(*counters)[key] += n
	}
}

// Renamed says that an endpoint turned out to be another, whose name is its
// from now on.
func (m *Map) Renamed(from, into string) {
	old := m.byName[from]
	if old == nil {
		return
	}
	delete(m.byName, from)
	to := m.byName[into]
	if to == nil {
		to = newEndpoint(into)
		m.byName[into] = to
	}
	to.Merge(old)
	for _, name := range append([]string{from}, old.Aliases...) {
		if len(to.Aliases) < maxKept {
			to.Aliases = append(to.Aliases, name)
		}
	}
}

// Merge adds what is known of another endpoint, its names aside.
func (e *Endpoint) Merge(o *Endpoint) {
	if e.Requests == 0 || o.Requests > 0 && o.First < e.First {
		e.First = o.First
	}
	e.Last = max(e.Last, o.Last)
	e.Requests += o.Requests
	e.Unanswered += o.Unanswered
	e.Pages, e.Data, e.Calls = e.Pages+o.Pages, e.Data+o.Data, e.Calls+o.Calls
	e.Latency.Merge(&o.Latency)
	e.Received.Merge(&o.Received)
	e.Sent.Merge(&o.Sent)
	e.Clients.Merge(&o.Clients)
	merge(&e.Statuses, o.Statuses)
	merge(&e.Media, o.Media)
	merge(&e.RequestMedia, o.RequestMedia)
	merge(&e.Carriers, o.Carriers)
	merge(&e.Granted, o.Granted)
	merge(&e.Roles, o.Roles)
	e.Looked += o.Looked
	for name, n := range o.Sensitive {
		if e.Sensitive == nil {
			e.Sensitive = make(map[string]uint64)
		}
		e.Sensitive[name] += n
	}
}

// merge adds counters in the order of their keys, since there may not be room
// for all.
func merge[K cmp.Ordered](to *map[K]uint64, from map[K]uint64) {
	for _, key := range slices.Sorted(maps.Keys(from)) {
		count(to, key, from[key])
	}
}

// Kind is what an endpoint serves: mobile (an API, mostly to apps), api, web, or
// "" where it is not known.
func (e *Endpoint) Kind() string { return Kind(e.Requests, e.Calls, e.Pages, e.Data) }

// Kind is what an endpoint serves that had so many requests, of them calls of mobile
// software, and answered with so many pages and data.
func Kind(requests, calls, pages, data uint64) string {
	switch {
	case data > pages && 2*calls > requests:
		return "mobile"
	case data > pages:
		return "api"
	case pages > 0:
		return "web"
	}
	return ""
}

// Endpoints are those known, in the order of their names.
func (m *Map) Endpoints() []*Endpoint {
	list := make([]*Endpoint, 0, len(m.byName))
	for _, name := range slices.Sorted(maps.Keys(m.byName)) {
		list = append(list, m.byName[name])
	}
	return list
}

// Lost is how many requests of endpoints found no room.
func (m *Map) Lost() uint64 { return m.lost }
