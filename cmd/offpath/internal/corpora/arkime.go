package corpora

import (
	"slices"
	"strings"
)

// arkimeSession is what Arkime says of a connection: sets over all of its
// messages.
type arkimeSession struct {
	Src, Dst     string
	Sport, Dport int
	HTTP         arkimeHTTP
	TLS          *struct{ JA3, JA4 []string }
}

type arkimeHTTP struct {
	Method, Host, URI, UserAgent, SHA256 []string
	Status                               []int          `json:"statuscode"`
	Counts                               map[string]int `json:"method_counts"`
	RequestHeader, ResponseHeader        []string
	Magic                                []string `json:"bodyMagic"`
}

// join takes in another session of the same addresses and ports.
func (h *arkimeHTTP) join(o *arkimeHTTP) {
	h.Method, h.Host, h.URI = append(h.Method, o.Method...), append(h.Host, o.Host...), append(h.URI, o.URI...)
	h.UserAgent, h.SHA256, h.Magic = append(h.UserAgent, o.UserAgent...), append(h.SHA256, o.SHA256...), append(h.Magic, o.Magic...)
	h.Status = append(h.Status, o.Status...)
	h.RequestHeader, h.ResponseHeader = append(h.RequestHeader, o.RequestHeader...), append(h.ResponseHeader, o.ResponseHeader...)
	for method, n := range o.Counts {
		if h.Counts == nil {
			h.Counts = map[string]int{}
		}
		h.Counts[method] += n
	}
}

// judgeArkime compares sets of what the messages of a connection have.
func judgeArkime(c *Case, r *Reading) (d Differences, err error) {
	var expected struct{ Sessions []arkimeSession }
	if err := c.expect(&expected); err != nil {
		return nil, err
	}
	lines, hellos := byTuple(r.Transactions), byTuple(r.Hellos)
	connections := map[tuple]*arkimeHTTP{}
	for _, s := range expected.Sessions {
		key := tuple{address(s.Src), address(s.Dst), s.Sport, s.Dport}
		if len(s.HTTP.Method) > 0 {
			if connections[key] == nil {
				connections[key] = &arkimeHTTP{}
			}
			connections[key].join(&s.HTTP)
		}
		if s.TLS == nil {
			continue
		}
		var ja3, ja4 []string
		for _, t := range either(hellos, key) {
			ja3 = append(ja3, t.TLS.Client.JA3)
			ja4 = append(ja4, strings.ToLower(t.TLS.Client.JA4))
		}
		for _, want := range s.TLS.JA4 {
			if !slices.Contains(ja4, strings.ToLower(want)) {
				d.add("%s: JA4 is %v instead of %s", key, ja4, want)
			}
		}
		for _, want := range s.TLS.JA3 {
			if len(ja3) > 0 && ja3[0] != "" && !slices.Contains(ja3, want) {
				d.add("%s: JA3 is %v instead of %s", key, ja3, want)
			}
		}
	}
	for key, http := range connections {
		d.arkimeHTTP(http, key, either(lines, key))
		delete(lines, key)
		delete(lines, key.reversed())
	}
	for _, list := range lines {
		for _, t := range list {
			d.add("request unexpected: %s", t)
		}
	}
	return d, nil
}

func (d *Differences) arkimeHTTP(want *arkimeHTTP, key tuple, list []*Transaction) {
	if len(list) == 0 {
		d.add("no request on %s, which has %v %v", key, want.Method, want.URI)
		return
	}
	var methods, hosts, uris, agents, hashes, request, response []string
	counts := map[string]int{}
	var statuses []int
	for _, t := range list {
		methods = append(methods, t.HTTP.Request.Method)
		counts[t.HTTP.Request.Method]++
		hosts = append(hosts, t.URL.Domain)
		host := field(t.Offpath.Request.Fields, "host")
		uris = append(uris, host+t.URL.Original, t.URL.Domain+t.URL.Original, t.URL.Original)
		agents = append(agents, t.UserAgent.Original)
		hashes = append(hashes, t.hashes()...)
		statuses = append(append(statuses, t.HTTP.Response.Status), t.Offpath.Informational...)
		for _, f := range t.Offpath.Request.Fields {
			request = append(request, strings.ToLower(f[0]))
		}
		for _, f := range t.Offpath.Response.Fields {
			response = append(response, strings.ToLower(f[0]))
		}
	}
	// The preface of HTTP/2 is no request to us.
	real := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "PRI" || s == "*" })
	}
	pseudo := func(list []string) []string {
		return slices.DeleteFunc(list, func(s string) bool { return strings.HasPrefix(s, ":") })
	}
	d.sameSet(key.String()+": method", real(want.Method), methods)
	for method, n := range want.Counts {
		if method != "PRI" && counts[method] != n {
			d.add("%s: %d %s instead of %d", key, counts[method], method, n)
		}
	}
	subset := func(what string, all, got []string) {
		for _, w := range all {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.EqualFold(g, w) }) {
				d.add("%s: %s %q is not among %q", key, what, w, set(got))
			}
		}
	}
	for _, h := range want.Host {
		if !slices.Contains(hosts, h) && !slices.Contains(hosts, withoutPort(h)) {
			d.add("%s: host %q is not among %q", key, h, set(hosts))
		}
	}
	var trimmed []string
	for _, u := range real(want.URI) {
		trimmed = append(trimmed, strings.TrimSuffix(strings.TrimPrefix(u, "//"), "?"))
	}
	for i := range uris {
		uris[i] = strings.TrimSuffix(strings.TrimPrefix(uris[i], "//"), "?")
	}
	subset("URI", trimmed, uris)
	subset("User-Agent", want.UserAgent, agents)
	if !slices.Contains(want.Magic, "application/x-gzip") { // then it hashes what is compressed
		subset("body", want.SHA256, hashes)
	}
	d.sameSet(key.String()+": request header", want.RequestHeader, pseudo(request))
	if want.ResponseHeader != nil {
		d.sameSet(key.String()+": response header", want.ResponseHeader, pseudo(response))
	}
	for _, status := range want.Status {
		if !slices.Contains(statuses, status) {
			d.add("%s: status %d is not among %v", key, status, statuses)
		}
	}
}
