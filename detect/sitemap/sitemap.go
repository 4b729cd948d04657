// Package sitemap gathers what is seen of each endpoint (how often, with what
// statuses, how fast and how large, by how many clients, under what
// authentication, in what role, with what classes of sensitive data) and writes
// it as a description in OpenAPI 3.1.
//
// A [Map] belongs to one goroutine; a copy of it can go to another ([Map.Copy]), and
// costs next to nothing until what stands in both is changed. It
// holds at most the number of endpoints that it was made for; of each, some
// kilobytes: quantiles come of a histogram with a relative error of 1/64
// ([Quantiles]), clients of a HyperLogLog with one of 3 %, both of which can be added
// up. Where there is no room for a new endpoint, one that nobody has asked for in a
// day is forgotten for it, and where there is none, it is not taken in; both are
// counted. The clock is event time. It is part of a snapshot of detection's state.
//
// Values are never kept: no account, token, query or body.
package sitemap

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"offpath/detect/internal/distinct"
	"offpath/reassembly"
)

// Limits of a Map.
const (
	DefaultEndpoints = 4096
	idle             = 24 * time.Hour // after which an endpoint makes room
	looks            = 8              // how many are looked at for one that makes room
)

// Map is what is known of all endpoints. Use [New].
type Map struct {
	limit        int
	byName       map[string]int // place in list
	list         []*Endpoint
	hand         int    // goes round, for one that makes room
	copies       uint64 // made so far
	since, until int64  // ns since the epoch: from the first start of a request to the last end; 0: none
	lost         uint64
	forgotten    uint64
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
	Statuses           Counts[int]
	Media              Counts[string] // of responses
	RequestMedia       Counts[string]
	Carriers           Counts[string] // of credentials and sessions; "" is none
	Granted            Counts[string] // of them, those of requests answered with 200 to 299
	Roles              Counts[string]
	Looked             uint64            // requests in which sensitive data was looked for
	Sensitive          map[string]uint64 // of them, those with a class of it at a place: request.body.card
	Pages, Data, Calls uint64            // answers that are HTML; that are JSON, XML or OFX; requests of a mobile app's software

	copies uint64 // of the map, when this was made: what is older stands in a copy, too
}

// New makes a Map of at most limit endpoints; 0: [DefaultEndpoints].
func New(limit int) *Map {
	return &Map{limit: cmp.Or(limit, DefaultEndpoints), byName: make(map[string]int)}
}

// Empty is a Map with the same room and nothing in it; of nil one with the least.
func (m *Map) Empty() *Map {
	if m == nil {
		return New(1)
	}
	return New(m.limit)
}

// Observe takes an annotated request into account, under the name that its
// endpoint has now.
func (m *Map) Observe(tx *reassembly.Transaction) {
	if m.since == 0 || tx.Start < m.since { // requests come in the order of their ends
		m.since = tx.Start
	}
	m.until = max(m.until, tx.End)
	if e := m.get(tx.Annotation.Endpoint); e != nil {
		e.observe(tx)
	} else if e := m.admit(tx); e != nil {
		e.observe(tx)
	}
}

// get is an endpoint that may be changed; nil if it is not known.
func (m *Map) get(name string) *Endpoint {
	i, known := m.byName[name]
	if !known {
		return nil
	}
	e := m.list[i]
	if e.copies != m.copies {
		e = e.copy()
		e.copies, m.list[i] = m.copies, e
	}
	return e
}

// admit takes an endpoint in, if it is known to be there and finds room.
func (m *Map) admit(tx *reassembly.Transaction) *Endpoint {
	if tx.Response.Status == 404 || tx.Response.Status == 0 {
		return nil
	}
	if len(m.list) >= m.limit {
		old := m.victim(tx.Start - idle.Nanoseconds())
		if old == nil {
			m.lost++
			return nil
		}
		m.remove(old)
		m.forgotten++
	}
	return m.add(tx.Annotation.Endpoint)
}

// victim is, of the next few endpoints that nobody has asked for after a time, the one
// that was asked for the least; nil if all were.
func (m *Map) victim(after int64) (found *Endpoint) {
	for range min(looks, len(m.list)) {
		m.hand = (m.hand + 1) % len(m.list)
		if e := m.list[m.hand]; e.Last <= after && (found == nil || e.Requests < found.Requests) {
			found = e
		}
	}
	return found
}

func (m *Map) add(name string) *Endpoint {
	e := newEndpoint(name)
	e.copies, m.byName[e.Name] = m.copies, len(m.list)
	m.list = append(m.list, e)
	return e
}

func (m *Map) remove(e *Endpoint) {
	i, end := m.byName[e.Name], len(m.list)-1
	m.list[i], m.byName[m.list[end].Name] = m.list[end], i
	m.list[end] = nil
	m.list = m.list[:end]
	delete(m.byName, e.Name)
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
	carrier := carrier(tx)
	e.Carriers.add(carrier, 1, text)
	if tx.Annotation.Role != "" {
		e.Roles.add(tx.Annotation.Role, 1, text)
	}
	if tx.Request.BodyBytes > 0 {
		e.RequestMedia.add(tx.Request.MIMEType, 1, text)
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
	e.Statuses.add(tx.Response.Status, 1, number)
	e.Media.add(tx.Response.MIMEType, 1, text)
	if tx.Response.Status >= 200 && tx.Response.Status <= 299 {
		e.Granted.add(carrier, 1, text)
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
	for slash := strings.IndexByte(agent, '/'); slash >= 0; slash = strings.IndexByte(agent, '/') {
		name := agent[:slash]
		for _, library := range [...]string{"okhttp", "CFNetwork", "Dart", "Dalvik", "Alamofire"} {
			if strings.HasSuffix(name, library) {
				return true
			}
		}
		agent = agent[slash+1:]
	}
	return false
}

// Renamed says that an endpoint turned out to be another, whose name is its
// from now on.
func (m *Map) Renamed(from, into string) {
	at, known := m.byName[from]
	if !known {
		return
	}
	old := m.list[at]
	m.remove(old)
	to := m.get(into)
	if to == nil {
		to = m.add(into)
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
	return slices.SortedFunc(slices.Values(m.list), func(a, b *Endpoint) int { return strings.Compare(a.Name, b.Name) })
}

// Lost is how many requests of endpoints found no room, Forgotten how many endpoints
// made room for others.
func (m *Map) Lost() uint64      { return m.lost }
func (m *Map) Forgotten() uint64 { return m.forgotten }

// Len is how many endpoints there are.
func (m *Map) Len() int { return len(m.list) }
