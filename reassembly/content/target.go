package content

import (
	"bytes"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

// requestHead sets what request line and header section say.
func (e *Extractor) requestHead(r *reassembly.Request, head *message.Head, f *fields) {
	e.set(&r.Method, head.Method)
	e.requestTarget(r, head, f.host)
	e.headerNames(r, head)
	e.setLower(&r.MIMEType, mediaType(f.contentType))
	e.set(&r.UserAgent, f.userAgent)
	if len(f.referer) > 0 {
		e.target = e.appendRedacted(e.target[:0], f.referer)
		e.set(&r.Referrer, e.target)
	}
}

// headerNames sets the field names in wire order, pseudo-header fields of
// HTTP/2 left out.
func (e *Extractor) headerNames(r *reassembly.Request, head *message.Head) {
	e.arena, e.items = e.arena[:0], e.items[:0]
	for _, f := range head.Fields {
		if len(f.Name) > 0 && f.Name[0] != ':' {
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
func (e *Extractor) requestTarget(r *reassembly.Request, head *message.Head, host []byte) {
	connect := string(head.Method) == "CONNECT"
	at := bytes.LastIndexByte(head.Target, '@')
	if connect && at >= 0 && !e.hash.cleartext {
		e.target = append(e.appendUserInfo(e.target[:0], head.Target[:at]), head.Target[at:]...)
	} else {
		e.target = e.appendRedacted(e.target[:0], head.Target)
	}
	target := e.target
	e.set(&r.Target, target)
	switch {
	case len(target) > 0 && target[0] == '/', string(target) == "*":
	case connect:
		host, target = target, nil
	default:
		if authority, rest, ok := cutAuthority(target); ok {
			host, target = authority, rest
			if len(rest) == 0 || rest[0] == '?' {
				e.set(&r.Path, []byte{'/'})
			}
		}
	}
	e.setLower(&r.Domain, hostname(host))
	path, query, _ := bytes.Cut(target, []byte{'?'})
	e.set(&r.Path, path)
	e.set(&r.Query, query)
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

// mediaType returns the media type of a Content-Type without its parameters.
func mediaType(v []byte) []byte {
	if i := bytes.IndexByte(v, ';'); i >= 0 {
		v = v[:i]
	}
	return trim(v)
}
