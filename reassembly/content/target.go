package content

import (
	"bytes"

	"offpath/reassembly"
)

// requestHead sets what request line and header section say.
func (e *Extractor) requestHead(r *reassembly.Request, f *fields) {
	e.setMethod(&r.Method, f.head.Method)
	e.requestTarget(r, f)
	e.headerNames(r, f)
	e.set(&r.UserAgent, f.first(roleUserAgent))
	if referer := f.first(roleReferer); len(referer) > 0 {
		e.target = e.appendRedacted(e.target[:0], referer)
		e.set(&r.Referrer, e.target)
	}
}

// setMethod sets the method; of the usual ones no copy is made.
func (e *Extractor) setMethod(dst *string, method []byte) {
	switch string(method) {
	case "GET":
		*dst = "GET"
	case "POST":
		*dst = "POST"
	default:
		e.set(dst, method)
	}
}

// headerNames sets the field names in wire order, pseudo-header fields of
// HTTP/2 left out.
func (e *Extractor) headerNames(r *reassembly.Request, f *fields) {
	if len(f.shape.lower) > 0 {
		r.Headers = f.shape.lower
		return
	}
	e.arena, e.items = e.arena[:0], e.items[:0]
	for _, f := range f.head.Fields {
		if isHeaderName(f.Name) {
			e.item(f.Name)
		}
	}
	for _, item := range e.items {
		for i, c := range item {
			item[i] = lower(c)
		}
	}
	r.Headers = e.list(e.items)
}

// item adds a copy of b to the items.
func (e *Extractor) item(b []byte) {
	from := len(e.arena)
	e.arena = append(e.arena, b...)
	e.items = append(e.items, e.arena[from:len(e.arena):len(e.arena)])
}

// requestTarget sets Target, Domain, Path and Query from the request-target
// (RFC 9112 section 3.2), in its
//
//	origin-form     /path?query      domain from Host
//	absolute-form   http://host/path domain from the target, which wins over Host
//	authority-form  host:port        CONNECT; no path
//	asterisk-form   *                path *
//
// Path and Query are parts of Target, which splitTarget sets when the text is
// committed.
func (e *Extractor) requestTarget(r *reassembly.Request, f *fields) {
	target, host := f.head.Target, f.first(roleHost)
	connect := string(f.head.Method) == "CONNECT"
	plain, bare, question := e.plainTarget(target)
	e.bareQuery = bare
	if plain {
		e.rest = rest{end: question}
	} else {
		at := bytes.LastIndexByte(target, '@')
		if connect && at >= 0 && !e.hash.cleartext {
			e.target = e.hideTokens(append(e.appendUserInfo(e.target[:0], target[:at]), target[at:]...), 0)
		} else {
			e.target = e.appendRedacted(e.target[:0], target)
		}
		target = e.target
		e.rest = rest{}
		switch {
		case len(target) > 0 && target[0] == '/', string(target) == "*":
		case connect:
			host, e.rest.at = target, len(target)
		default:
			if authority, path, ok := cutAuthority(target); ok {
				if len(authority) > 0 { // http:///path: servers go by Host
					host = authority
				}
				e.rest = rest{at: len(target) - len(path), authoritative: true}
			}
		}
		e.rest.end = len(target)
		if i := bytes.IndexByte(target[e.rest.at:], '?'); i >= 0 {
			e.rest.end = e.rest.at + i
		}
	}
	e.set(&r.Target, target)
	e.setDomain(r, host)
}

// rest is where the path of a request-target begins and ends, and whether an
// authority stands before it.
type rest struct {
	at, end       int
	authoritative bool
}

// splitTarget sets Path and Query from Target.
func (e *Extractor) splitTarget(r *reassembly.Request) {
	r.Path = r.Target[e.rest.at:e.rest.end]
	if e.rest.end < len(r.Target) {
		r.Query = r.Target[e.rest.end+1:]
	}
	if r.Path == "" && e.rest.authoritative {
		r.Path = "/"
	}
}

// setDomain sets Domain from the host, which is that of the request before as
// often as not.
func (e *Extractor) setDomain(r *reassembly.Request, host []byte) {
	if len(host) > 0 && string(e.host.sent) == string(host) {
		r.Domain = e.host.domain
		return
	}
	e.lower = appendLower(e.lower[:0], hostname(host))
	domain, ok := e.strings.get(e.lower)
	if !ok {
		e.text.Set(&r.Domain, e.lower)
		return
	}
	r.Domain = domain
	if len(host) <= maxInterned {
		e.host.sent, e.host.domain = append(e.host.sent[:0], host...), domain
	}
}

// host is a Host as sent and the domain that it says.
type host struct {
	sent   []byte
	domain string
}

// cutAuthority splits an absolute URL behind its authority.
func cutAuthority(url []byte) (authority, rest []byte, ok bool) {
	i := bytes.Index(url, []byte("://"))
	if i <= 0 || !isScheme(url[:i]) {
		return nil, nil, false
	}
	rest = url[i+3:]
	end := bytes.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	return rest[:end], rest[end:], true
}

// isScheme reports whether b is a scheme (RFC 3986 section 3.1).
func isScheme(b []byte) bool {
	for i, c := range b {
		if !isAlpha(c) && (i == 0 || !isDigit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return len(b) > 0
}

// hostname removes user information and port from an authority; an IPv6 literal
// keeps its brackets, as url.domain wants it.
func hostname(authority []byte) []byte {
	host := trim(authority)
	if at := bytes.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	if len(host) > 0 && host[0] == '[' {
		if end := bytes.IndexByte(host, ']'); end >= 0 {
			return host[:end+1]
		}
		return host
	}
	if colon := bytes.IndexByte(host, ':'); colon >= 0 && bytes.LastIndexByte(host, ':') == colon {
		return host[:colon]
	}
	return host
}
