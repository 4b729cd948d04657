package sitemap

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"offpath/detect/sitemap/specification"
)

// The kinds of difference between what is seen and what is specified.
const (
	Shadow   = "shadow"   // seen, not specified
	Zombie   = "zombie"   // specified as deprecated, or a version before the specified one, and still used
	Drifted  = "drifted"  // seen in ways that are not specified
	Orphaned = "orphaned" // specified, not seen
)

// Difference is one between an endpoint and its operation.
type Difference struct {
	Kind      string
	Endpoint  string // its name; "" of one that is orphaned
	Operation string // METHOD /path/{template} of the specification; "" of a shadow
	Line      int    // of the operation in the specification; 0: none
	Why       []string
	Requests  uint64
	Last      int64 // ns since the epoch; 0: never seen
}

// Comparison is what differs between a Map and a specification.
type Comparison struct {
	Title, Version string
	Since, Until   int64        // ns since the epoch: what was seen, from the first request to the last; 0: nothing
	Differences    []Difference // by kind, then by endpoint and operation
	Specified      int          // operations
	Seen           int          // endpoints that were compared
	Matching       int          // of them, those without a difference
	// Elsewhere are endpoints at hosts that the specification does not name,
	// Refused those that are not specified and answered nobody but with an error:
	// neither is a difference.
	Elsewhere, Refused int
	// AnyHost says that no host that the specification names was seen, so that
	// hosts were left out of account.
	AnyHost bool
}

// Of counts the differences of a kind.
func (c *Comparison) Of(kind string) (n int) {
	for i := range c.Differences {
		if c.Differences[i].Kind == kind {
			n++
		}
	}
	return n
}

// comparer compares one Map with one specification.
type comparer struct {
	Comparison
	spec     *specification.Spec
	routes   *routes
	used     []bool           // operations that were seen
	named    map[string]bool  // hosts of the specification
	hostless bool             // it has operations at any host
	versions map[int][]string // of the specification, by their place in paths
}

// Compare says how the endpoints differ from a specification. Parameters are
// compared by their place, not their names; of overlapping templates the one
// with more literal segments holds, if it has the method; HEAD of what has a GET
// and OPTIONS are taken to be specified.
func (m *Map) Compare(s *specification.Spec) *Comparison {
	c := &comparer{spec: s, routes: routesOf(s), used: make([]bool, len(s.Operations))}
	c.Title, c.Version, c.Specified, c.Since, c.Until = s.Title, s.Version, s.Count(), m.since, m.until
	endpoints := m.Endpoints()
	c.hosts(endpoints)
	for _, e := range endpoints {
		c.endpoint(e)
	}
	c.orphans(endpoints)
	slices.SortStableFunc(c.Differences, func(a, b Difference) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Endpoint, b.Endpoint), strings.Compare(a.Operation, b.Operation))
	})
	return &c.Comparison
}

// hosts notes which hosts the specification names, and whether any was seen.
func (c *comparer) hosts(endpoints []*Endpoint) {
	c.named = map[string]bool{}
	for i := range c.spec.Operations {
		for _, host := range c.spec.Operations[i].Hosts {
			c.named[host] = true
		}
		c.hostless = c.hostless || len(c.spec.Operations[i].Hosts) == 0
	}
	c.AnyHost = len(c.named) > 0 && !slices.ContainsFunc(endpoints, func(e *Endpoint) bool { return c.named[strings.ToLower(e.Host)] })
}

// at reports whether an operation is one of a host.
func (c *comparer) at(o *specification.Operation, host string) bool {
	return c.AnyHost || len(o.Hosts) == 0 || slices.Contains(o.Hosts, strings.ToLower(host))
}

// elsewhere reports whether an endpoint is at a host that is none of the
// specification's.
func (c *comparer) elsewhere(e *Endpoint) bool {
	return !c.AnyHost && !c.hostless && !c.named[strings.ToLower(e.Host)]
}

func (c *comparer) endpoint(e *Endpoint) {
	if e.Path == "" {
		return
	}
	path := segments(e.Path)
	best, other := -1, -1
	c.routes.find(path, func(operations []int) bool {
		for _, i := range operations {
			o := &c.spec.Operations[i]
			if !c.at(o, e.Host) {
				continue
			}
			if other < 0 {
				other = i
			}
			if best < 0 && o.Method == e.Method {
				best = i
			}
		}
		return best < 0
	})
	if best < 0 && other < 0 {
		switch {
		case c.elsewhere(e):
			c.Elsewhere++
		case !e.answered():
			c.Refused++
		default:
			c.Seen++
			c.unspecified(e, path)
		}
		return
	}
	if best < 0 {
		if e.Method == "OPTIONS" || e.Method == "HEAD" && c.has(path, e.Host, "GET") {
			return
		}
		if !e.answered() {
			c.Refused++
			return
		}
		c.Seen++
		c.add(Drifted, e, other, []string{"the method " + e.Method + " is not specified"})
		return
	}
	c.Seen++
	c.used[best] = true
	o := &c.spec.Operations[best]
	drift := drift(e, o)
	if o.Deprecated {
		c.add(Zombie, e, best, []string{"it is specified as deprecated"})
	}
	if len(drift) > 0 {
		c.add(Drifted, e, best, drift)
	}
	if !o.Deprecated && len(drift) == 0 {
		c.Matching++
	}
}

// has reports whether a path is specified with a method.
func (c *comparer) has(path []string, host, method string) bool {
	return !c.routes.find(path, func(operations []int) bool {
		return !slices.ContainsFunc(operations, func(i int) bool {
			o := &c.spec.Operations[i]
			return o.Method == method && c.at(o, host)
		})
	})
}

func (c *comparer) add(kind string, e *Endpoint, operation int, why []string) {
	d := Difference{Kind: kind, Endpoint: e.Name, Why: why, Requests: e.Requests, Last: e.Last}
	if operation >= 0 {
		o := &c.spec.Operations[operation]
		d.Operation, d.Line = o.Name(), o.Line
	}
	c.Differences = append(c.Differences, d)
}

// answered reports whether anybody was answered without an error: else it may
// not be there, and somebody looks for what is.
func (e *Endpoint) answered() bool {
	for i := range e.Statuses {
		if status := e.Statuses[i].Key; status >= 100 && status < 400 {
			return true
		}
	}
	return false
}

// isVersion matches a segment such as v2.
var isVersion = regexp.MustCompile(`^v([0-9]{1,4})(\.[0-9]+)*$`)

// unspecified is an endpoint without an operation: of an earlier version, or a
// shadow.
func (c *comparer) unspecified(e *Endpoint, path []string) {
	for i, segment := range path {
		seen := isVersion.FindStringSubmatch(segment)
		if seen == nil {
			continue
		}
		for _, version := range c.specifiedVersions(i) {
			later := slices.Clone(path)
			later[i] = version
			if newer(version, segment) && c.has(later, e.Host, e.Method) {
				c.add(Zombie, e, -1, []string{fmt.Sprintf("it is of version %s, the specification of %s", segment, version)})
				return
			}
		}
	}
	c.add(Shadow, e, -1, []string{"it is not specified"})
}

// newer compares versions such as v2.1 number by number.
func newer(a, b string) bool {
	x, y := strings.Split(a[1:], "."), strings.Split(b[1:], ".")
	for i := range min(len(x), len(y)) {
		m, _ := strconv.Atoi(x[i]) // digits, or too many to matter
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return m > n
		}
	}
	return len(x) > len(y)
}

// specifiedVersions are the versions that stand at a place of specified paths.
func (c *comparer) specifiedVersions(at int) []string {
	if c.versions == nil {
		c.versions = map[int][]string{}
		for i := range c.spec.Operations {
			for at, segment := range segments(c.spec.Operations[i].Path) {
				if isVersion.MatchString(segment) && !slices.Contains(c.versions[at], segment) && len(c.versions[at]) < maxKept {
					c.versions[at] = append(c.versions[at], segment)
				}
			}
		}
	}
	return c.versions[at]
}

// drift is what of an endpoint its operation does not specify.
func drift(e *Endpoint, o *specification.Operation) (why []string) {
	var statuses []string
	for _, status := range e.Statuses.Sorted() {
		if len(o.Statuses) > 0 && !specifiedStatus(o.Statuses, status.Key) {
			statuses = append(statuses, fmt.Sprintf("%d (%d seen)", status.Key, status.N))
		}
	}
	why = say(why, "status", "statuses", statuses)
	why = say(why, "request media type", "request media types", unknownMedia(e.RequestMedia, o.RequestMedia))
	why = say(why, "response media type", "response media types", unknownMedia(e.Media, o.Media))
	if o.Carriers == nil || slices.Contains(o.Carriers, "") {
		return why // what more is sent along is nobody's harm
	}
	var carriers []string
	for _, carrier := range e.Granted.Sorted() {
		switch carrier.Key {
		case "", "basic", "bearer", "cookie", "api_key":
			if !slices.Contains(o.Carriers, carrier.Key) {
				carriers = append(carriers, fmt.Sprintf("%s (%d answered with success)", cmp.Or(carrier.Key, "none"), carrier.N))
			}
		default: // an account and a password in the body, beside which nothing else is noted
		}
	}
	return say(why, "authentication", "authentications", carriers)
}

func say(why []string, one, many string, list []string) []string {
	switch len(list) {
	case 0:
		return why
	case 1:
		return append(why, "not specified: "+one+" "+list[0])
	}
	return append(why, "not specified: "+many+" "+strings.Join(list, ", "))
}

func specifiedStatus(list []string, status int) bool {
	text := strconv.Itoa(status)
	return slices.ContainsFunc(list, func(s string) bool { return s == text || s == text[:1]+"XX" || s == "DEFAULT" })
}

// unknownMedia are media types that were seen and are not specified; none where
// no media types are.
func unknownMedia(seen Counts[string], specified []string) (list []string) {
	if len(specified) == 0 {
		return nil
	}
	for _, of := range seen.Sorted() {
		media := strings.ToLower(of.Key)
		main, _, _ := strings.Cut(media, "/")
		if media != "" && !slices.ContainsFunc(specified, func(s string) bool { return s == media || s == main+"/*" || s == "*/*" }) {
			list = append(list, fmt.Sprintf("%s (%d seen)", of.Key, of.N))
		}
	}
	return list
}

// orphans are the operations that were not seen. Of one whose place a learned
// template may have swallowed that is said.
func (c *comparer) orphans(endpoints []*Endpoint) {
	templates := &routes{}
	for i, e := range endpoints {
		if strings.Contains(e.Path, "{") {
			templates.add(segments(e.Path), i)
		}
	}
	known := make([]bool, c.Specified+1) // seen at one of its places, or said already
	for i, used := range c.used {
		known[c.spec.Operations[i].Number] = known[c.spec.Operations[i].Number] || used
	}
	for i := range c.spec.Operations {
		o := &c.spec.Operations[i]
		if known[o.Number] || o.Method == "OPTIONS" || o.Method == "HEAD" {
			continue
		}
		known[o.Number] = true
		why := "it was not seen"
		templates.find(segments(o.Path), func(list []int) bool {
			for _, at := range list {
				if e := endpoints[at]; e.Method == o.Method && c.at(o, e.Host) {
					why += "; if it was, it is counted in " + e.Name
					return false
				}
			}
			return true
		})
		if o.Deprecated {
			why += "; it is deprecated"
		}
		c.Differences = append(c.Differences, Difference{Kind: Orphaned, Operation: o.Name(), Line: o.Line, Why: []string{why}})
	}
}
