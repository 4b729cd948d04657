package content

import "bytes"

// nextCookie cuts the first pair off a Cookie field (RFC 6265 section 4.2):
// name and value as sent, quotes around the value removed.
func nextCookie(field []byte) (name, value, rest []byte) {
	pair, rest, _ := bytes.Cut(field, []byte{';'})
	name, value, found := bytes.Cut(pair, []byte{'='})
	if !found { // browsers take it for a value without a name
		name, value = nil, name
	}
	return trim(name), unquote(trim(value)), rest
}

// setCookie parses a Set-Cookie field (RFC 6265 section 5.2); deleted says that
// it removes the cookie: an empty value, Max-Age of 0 or less, Expires long past.
func setCookie(field []byte) (name, value []byte, deleted bool) {
	name, value, attributes := nextCookie(field)
	deleted = len(value) == 0
	for len(attributes) > 0 {
		var attr []byte
		attr, attributes, _ = bytes.Cut(attributes, []byte{';'})
		key, v, _ := bytes.Cut(attr, []byte{'='})
		key, v = trim(key), trim(v)
		switch {
		case equalFold(key, "max-age"):
			deleted = deleted || len(v) > 0 && (v[0] == '-' || string(v) == "0")
		case equalFold(key, "expires"):
			deleted = deleted || bytes.Contains(v, []byte("1970"))
		}
	}
	return name, value, deleted
}

// Closed lists of cookies by name, in lower case.
var (
	// notSessionParts and notSessionStarts are of cookies that are no session:
	// against request forgery, of analytics, of load balancers and bot managers.
	notSessionParts  = []string{"csrf", "xsrf", "consent"}
	notSessionStarts = []string{
		"_ga", "_gid", "_gcl", "_gat", "_fb", "_hj", "_pk_", "__utm", "ajs_", "amp_", "mp_", "optimizely", "_uet",
		"_clck", "_clsk", "_scid", "_tt", "_dc_", "__cf", "cf_", "awsalb", "bigip", "incap_ses", "visid_incap", "nlbi_",
		"ak_bmsc", "bm_s", "_abck", "datadome", "reese84", "ts0", "serverid", "srv", "route", "stickounet", "intercom",
	}
	sessionParts = []string{"sess", "token", "auth", "jwt", "login", "ticket", "remember"}
	sessionEnds  = []string{"sid", "_at", "_rt"}
)

// Octets that a cookie needs to be a session's: with such a name, and by its
// entropy alone; distinct ones of the latter.
const (
	minSessionValue  = 8
	minRandomValue   = 22
	minRandomOctets  = 12
	maxSessionTokens = 8 // per list of a transaction
)

// cookieName is what the name of a cookie says of its use.
type cookieName uint8

const (
	cookieUnknown cookieName = iota
	cookieOther              // of a known use that is no session
	cookieSession            // in the list of sessions
)

func cookieNameOf(name []byte) cookieName {
	var buf [maxName]byte
	n := appendLower(buf[:0], name[:min(len(name), maxName)])
	switch {
	case beginsWithAny(n, notSessionStarts) || containsAny(n, notSessionParts):
		return cookieOther
	case containsAny(n, sessionParts) || endsWithAny(n, sessionEnds):
		return cookieSession
	}
	return cookieUnknown
}

// cookieTable remembers what names of cookies say, if they are not longer than shortName.
// It is direct mapped.
type cookieTable [cookieSlots]struct {
	ends ends
	said cookieName
}

const cookieSlots = 1 << 6 // a power of two

func (t *cookieTable) look(name []byte) cookieName {
	if len(name) > shortName {
		return cookieNameOf(name)
	}
	ends := endsOf(name)
	slot := &t[ends.hash()%cookieSlots]
	if slot.ends != ends {
		slot.ends, slot.said = ends, cookieNameOf(name)
	}
	return slot.said
}

// isSession reports whether a cookie looks like a session's: its name is in the list, or
// its value is long and random and its name of no known other use.
func (t *cookieTable) isSession(name, value []byte) bool {
	if len(value) < minSessionValue {
		return false
	}
	said := t.look(name)
	return said == cookieSession || said == cookieUnknown && isRandom(value)
}

func containsAny(n []byte, list []string) bool {
	for _, s := range list {
		if bytes.Contains(n, []byte(s)) {
			return true
		}
	}
	return false
}

// isRandom reports whether v looks like a token: long, without spaces, of
// letters and digits, many of them distinct.
func isRandom(v []byte) bool {
	if len(v) < minRandomValue {
		return false
	}
	var seen [256]bool
	distinct, digits, letters := 0, 0, 0
	for _, c := range v {
		switch {
		case isDigit(c):
			digits++
		case isAlpha(c):
			letters++
		case c <= ' ' || c == ',' || c == '{' || c == '[':
			return false
		}
		if !seen[c] {
			seen[c] = true
			distinct++
		}
	}
	return digits > 0 && letters > 0 && distinct >= minRandomOctets
}
