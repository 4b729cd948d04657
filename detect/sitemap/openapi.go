package sitemap

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is one of JSON; its keys are written in their order.
type object = map[string]any

// methods are those that a path item has (OpenAPI 3.1.0 section 4.8.9).
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// template is a path in which braces stand around the names of parameters only,
// each of which is there once, and everything is as in a URI.
func template(path string) (string, []string) {
	var b strings.Builder
	var names []string
	for path != "" {
		if end := strings.IndexByte(path, '}'); path[0] == '{' && end > 1 && parameterName(path[1:end]) && !slices.Contains(names, path[1:end]) {
			names = append(names, path[1:end])
			b.WriteString(path[:end+1])
			path = path[end+1:]
			continue
		}
		switch c := path[0]; {
		case c <= ' ' || c >= 0x7f || strings.IndexByte(`{}"<>\^`+"`|?#", c) >= 0:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
		path = path[1:]
	}
	return b.String(), names
}

func parameterName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func parameters(names []string) []any {
	var list []any
	for _, name := range names {
		list = append(list, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	return list
}

// operation describes what endpoints of one path and method have in common.
func operation(list []*Endpoint) object {
	all := inCommon(list)
	var hosts []string
	var each []any
	for _, e := range list {
		if !slices.Contains(hosts, e.Host) {
			hosts = append(hosts, e.Host)
		}
		each = append(each, e.facts())
	}
	o := object{"responses": all.responses(), "x-offpath-endpoints": each}
	var servers []any
	for _, host := range hosts {
		servers = append(servers, object{"url": "https://" + url.PathEscape(host)})
	}
	o["servers"] = servers
	if content := content(all.RequestMedia); content != nil && methodHasBody(list[0].Method) {
		o["requestBody"] = object{"content": content}
	}
	if security := all.security(object{}); len(security) > 0 {
		o["security"] = security
	}
	return o
}

// inCommon is what an operation says of its endpoints all together.
func inCommon(list []*Endpoint) *Endpoint {
	all := &Endpoint{}
	for _, e := range list {
		all.Requests += e.Requests
		merge(&all.Statuses, e.Statuses)
		merge(&all.Media, e.Media)
		merge(&all.RequestMedia, e.RequestMedia)
		merge(&all.Carriers, e.Carriers)
	}
	return all
}

func methodHasBody(method string) bool {
	return method != "GET" && method != "HEAD" && method != "TRACE"
}

func (e *Endpoint) responses() object {
	responses := object{}
	for _, of := range e.Statuses {
		status := of.Key
		if status < 100 || status > 599 {
			continue
		}
		response := object{"description": strconv.FormatUint(of.N, 10) + " seen"}
		if status >= 200 && status < 300 && status != 204 {
			if content := content(e.Media); content != nil {
				response["content"] = content
			}
		}
		responses[strconv.Itoa(status)] = response
	}
	if len(responses) == 0 {
		responses["default"] = object{"description": "none seen"}
	}
	return responses
}

// content describes bodies by their media types only.
func content(media Counts[string]) object {
	o := object{}
	for _, of := range media {
		if main, sub, ok := strings.Cut(of.Key, "/"); ok && token(main) && token(sub) {
			o[of.Key] = object{}
		}
	}
	if len(o) == 0 {
		return nil
	}
	return o
}

// token reports whether all of s may stand in a media type (RFC 6838 section 4.2).
func token(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && strings.IndexByte("!#$&-^_.+", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// security names the schemes that more than a tenth of the requests came under,
// each an alternative, and adds them to those of the document.
func (e *Endpoint) security(schemes object) []any {
	var list []any
	for _, of := range e.Carriers.Sorted() {
		c := of.Key
		var scheme object
		switch c {
		case "basic", "bearer":
			scheme = object{"type": "http", "scheme": c}
		case "cookie":
			scheme = object{"type": "apiKey", "in": "cookie", "name": "session", "description": "the name of the cookie is not kept"}
		case "api_key":
			scheme = object{"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the name of the field is not kept"}
		}
		if scheme != nil && 10*of.N > e.Requests {
			schemes[c] = scheme
			list = append(list, object{c: []any{}})
		}
	}
	return list
}

// facts are the numbers of one endpoint.
func (e *Endpoint) facts() object {
	o := object{
		"name": strings.ToValidUTF8(e.Name, "\ufffd"), "requests": e.Requests, "unanswered": e.Unanswered, "clients": e.Clients.Count(),
		"first_seen": at(e.First), "last_seen": at(e.Last),
		"statuses": counts(e.Statuses), "authentication": counts(e.Carriers),
	}
	if span := e.Last - e.First; span > 0 {
		o["requests_per_second"] = float64(int64(float64(e.Requests)/(float64(span)/1e9)*1e3)) / 1e3
	}
	for name, q := range map[string]*Quantiles{"latency_ns": &e.Latency, "request_bytes": &e.Received, "response_bytes": &e.Sent} {
		if q.Count() > 0 {
			o[name] = object{"p50": q.At(0.5), "p95": q.At(0.95), "p99": q.At(0.99)}
		}
	}
	if kind := e.Kind(); kind != "" {
		o["kind"] = kind
	}
	if e.Looked > 0 {
		classes := object{}
		for name, n := range e.Sensitive {
			classes[name] = n
		}
		o["sensitive"], o["sensitive_looked"] = classes, e.Looked
	}
	if len(e.Roles) > 0 {
		o["roles"] = counts(e.Roles) // how many requests were taken for it is the evidence
	}
	if len(e.Aliases) > 0 {
		var names []any
		for _, name := range e.Aliases {
			names = append(names, strings.ToValidUTF8(name, "\ufffd"))
		}
		o["aliases"] = names
	}
	return o
}

func at(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// object is a comparison as the document has it.
func (c *Comparison) object() object {
	o := object{
		"title": c.Title, "version": c.Version, "specified": c.Specified, "seen": c.Seen, "matching": c.Matching,
		"elsewhere": c.Elsewhere, "refused": c.Refused, "any_host": c.AnyHost,
	}
	for _, kind := range []string{Shadow, Zombie, Drifted, Orphaned} {
		list := []any{}
		for i := range c.Differences {
			if d := &c.Differences[i]; d.Kind == kind {
				list = append(list, d.object())
			}
		}
		o[kind] = list
	}
	if c.Since != 0 {
		o["since"], o["until"] = at(c.Since), at(c.Until)
	}
	return o
}

func (d *Difference) object() object {
	var why []any
	for _, text := range d.Why {
		why = append(why, strings.ToValidUTF8(text, "\ufffd"))
	}
	o := object{"why": why}
	if d.Endpoint != "" {
		o["endpoint"], o["requests"], o["last_seen"] = strings.ToValidUTF8(d.Endpoint, "\ufffd"), d.Requests, at(d.Last)
	}
	if d.Operation != "" {
		o["operation"], o["line"] = strings.ToValidUTF8(d.Operation, "\ufffd"), d.Line
	}
	return o
}

// counts are how often each was seen, by its text; "" is none.
func counts[K cmp.Ordered](list Counts[K]) object {
	o := object{}
	for _, of := range list {
		o[strings.ToValidUTF8(cmp.Or(fmt.Sprint(of.Key), "none"), "\ufffd")] = of.N
	}
	return o
}
