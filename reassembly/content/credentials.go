package content

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"

	"offpath/reassembly"
	"offpath/reassembly/internal/jsonscan"
)

// credentials are what one part of a request (its query, its body) shows, as
// views.
type credentials struct {
	touched        bool // not the zero value
	user           value
	userName       value
	userRank       uint8
	userWeak       bool
	userParent     uint64
	password       value
	passwordName   value
	passwordFields int
	passwordParent uint64
	morePasswords  uint64 // of the values beside password that differ from it; 0: none
	grant          value
	apiKey         value
	tokens         [maxSessionTokens]value
	tokenCount     int
	call           *call
}

// reset makes c the zero value but for its call, which it is for most requests.
func (c *credentials) reset() {
	if c.touched {
		call := c.call
		call.reset()
		*c = credentials{}
		c.call = call
	}
}

// wanted implements visitor.
func (c *credentials) wanted() class {
	return classPassword | classAccount | classWeak | classGrant | classSession | classAPIKey | classCall
}

// visit implements visitor.
func (c *credentials) visit(m *member) {
	if m.info.class&c.wanted() == 0 || m.token != jsonscan.String && m.token != jsonscan.Number {
		return
	}
	c.touched = true
	empty := len(m.value.octets) == 0 || m.cut
	switch class := m.info.class; {
	case class&classCall != 0:
		c.call.take(m)
	case class&classPassword != 0:
		if m.first {
			if c.passwordFields == 0 {
				c.passwordName, c.passwordParent = m.name, m.parent
			}
			c.passwordFields++
		}
		if !empty {
			c.addPassword(m.value)
		}
	case empty:
	case class&(classAccount|classWeak) != 0:
		if c.user.octets == nil || m.info.rank < c.userRank {
			c.user, c.userName, c.userRank = m.value, m.name, m.info.rank
			c.userWeak, c.userParent = class&classWeak != 0, m.parent
		}
	case class&classGrant != 0:
		c.grant = m.value
	case class&classSession != 0:
		if c.tokenCount < maxSessionTokens {
			c.tokens[c.tokenCount] = m.value
			c.tokenCount++
		}
	case class&classAPIKey != 0:
		c.apiKey = m.value
	}
}

// addPassword takes the value of a field that looks like a password. Which of
// several a server reads is not known: one that never changes must not hide the
// one that does.
func (c *credentials) addPassword(v value) {
	switch {
	case c.password.octets == nil:
		c.password = v
	case !bytes.Equal(v.octets, c.password.octets):
		c.morePasswords = mix64(c.morePasswords ^ fnv64(v.octets))
	}
}

// namesAccount reports whether there is a login in it: a password, or the grant
// that takes one (RFC 6749 section 4.3).
func (c *credentials) namesAccount() bool {
	return c.passwordFields > 0 || string(c.grant.octets) == "password"
}

// auth sets what a request shows of credentials. Account and password are those
// of the body, or else of the query, or else of Basic.
func (e *Extractor) auth(tx *reassembly.Transaction, f *fields, bodyCarrier string) {
	a := &tx.Auth
	body, query := &e.body, &e.query
	switch {
	case body.namesAccount():
		e.account(a, body, bodyCarrier)
	case query.namesAccount():
		e.account(a, query, "query")
	}
	grant := body.grant
	if len(grant.octets) == 0 {
		grant = query.grant
	}
	if e.value = grant.append(e.value[:0]); isPlain(e.value, maxGrant) {
		e.set(&a.GrantType, e.value)
	}
	scheme, rest, _ := bytes.Cut(f.first(roleAuthorization), []byte{' '})
	rest = trim(rest)
	if equalFold(scheme, "basic") && a.Carrier == "" && (len(grant.octets) == 0 || string(grant.octets) == "client_credentials") {
		// With another grant Basic is the client's (RFC 6749 section 2.3.1).
		e.basic(a, rest)
	}
	session := e.presented(a, scheme, rest, f)
	apiKey := e.apiKey(a, scheme, rest, f)
	switch {
	case a.Carrier != "":
	case session != "":
		a.Carrier = session
	case apiKey:
		a.Carrier = "api_key"
	}
}

func (e *Extractor) account(a *reassembly.Auth, c *credentials, carrier string) {
	a.Carrier = carrier
	a.PasswordFields = c.passwordFields
	e.setName(&a.PasswordField, c.passwordName)
	e.setPassword(a, c)
	if c.userWeak && c.userParent != c.passwordParent {
		return // the name or id of something else
	}
	e.setName(&a.UserField, c.userName)
	e.setHash(&a.UserHash, KindAccount, c.user)
}

// setPassword sets the password's hash: where there are several passwords, of
// all of them.
func (e *Extractor) setPassword(a *reassembly.Auth, c *credentials) {
	if c.morePasswords == 0 || e.hash.cleartext {
		e.setHash(&a.PasswordHash, KindPassword, c.password)
		return
	}
	e.value = c.password.append(e.value[:0])
	e.value = binary.BigEndian.AppendUint64(append(e.value, 0), c.morePasswords)
	e.hex = e.hash.append(e.hex[:0], KindPassword, e.value)
	e.set(&a.PasswordHash, e.hex)
}

// basic sets account and password of the Basic scheme (RFC 7617).
func (e *Extractor) basic(a *reassembly.Auth, credentials []byte) {
	decoded := e.decodeBase64(credentials)
	user, password, ok := bytes.Cut(decoded, []byte{':'})
	if !ok {
		return
	}
	a.Carrier = "basic"
	e.setHash(&a.UserHash, KindAccount, value{octets: user})
	e.setHash(&a.PasswordHash, KindPassword, value{octets: password})
}

// decodeBase64 decodes either alphabet, padded or not; nil if it is none. The
// result is valid until the next use of e.decoded.
func (e *Extractor) decodeBase64(b []byte) []byte {
	b = bytes.TrimRight(b, "=")
	e.decoded = append(e.decoded[:0], b...)
	for i, c := range e.decoded {
		switch c {
		case '-':
			e.decoded[i] = '+'
		case '_':
			e.decoded[i] = '/'
		}
	}
	n, err := base64.RawStdEncoding.Decode(e.decoded, e.decoded)
	if err != nil {
		return nil
	}
	return e.decoded[:n]
}

// presented sets the session tokens of a request and returns their carrier.
func (e *Extractor) presented(a *reassembly.Auth, scheme, rest []byte, f *fields) (carrier string) {
	e.arena, e.items = e.arena[:0], e.items[:0]
	if isBearer(scheme) {
		if alone := f.first(roleToken) == nil && f.first(roleCookie) == nil && e.query.tokenCount+e.body.tokenCount == 0; alone {
			if a.SessionPresented = e.hash.list(rest); a.SessionPresented != nil {
				return "bearer"
			}
		}
		e.addToken(rest)
	}
	e.addToken(f.first(roleToken))
	for _, c := range [...]*credentials{&e.query, &e.body} {
		for _, t := range c.tokens[:c.tokenCount] {
			e.value = t.append(e.value[:0])
			e.addToken(e.value)
		}
	}
	if len(e.items) > 0 {
		carrier = "bearer"
	}
	var alone []byte // a cookie, if it is the only token
	f.each(roleCookie, func(field []byte) {
		for len(field) > 0 {
			var name, val []byte
			if name, val, field = nextCookie(field); !e.cookies.isSession(name, val) {
				continue
			}
			if alone == nil && len(e.items) == 0 {
				alone = val
				continue
			}
			e.addToken(alone)
			e.addToken(val)
			alone = nil
		}
	})
	if alone != nil {
		if a.SessionPresented = e.hash.list(alone); a.SessionPresented != nil {
			return "cookie"
		}
		e.addToken(alone)
	}
	if carrier == "" && len(e.items) > 0 {
		carrier = "cookie"
	}
	a.SessionPresented = e.list(e.items)
	return carrier
}

// isBearer reports whether a scheme carries a token as it is (RFC 6750, and the
// ways it is misspelt).
func isBearer(scheme []byte) bool {
	return equalFold(scheme, "bearer") || equalFold(scheme, "token") || equalFold(scheme, "jwt")
}

// addToken adds the hash of a session token to the items, at most
// maxSessionTokens, each once.
func (e *Extractor) addToken(token []byte) {
	if len(token) == 0 || len(e.items) == maxSessionTokens {
		return
	}
	from := len(e.arena)
	e.arena = e.hash.append(e.arena, KindToken, token)
	item := e.arena[from:len(e.arena):len(e.arena)]
	for _, other := range e.items {
		if string(other) == string(item) {
			return
		}
	}
	e.items = append(e.items, item)
}

// apiKey sets the API key; false if there is none.
func (e *Extractor) apiKey(a *reassembly.Auth, scheme, rest []byte, f *fields) bool {
	key := value{octets: f.first(roleAPIKey)}
	switch {
	case len(key.octets) > 0:
	case equalFold(scheme, "apikey") || equalFold(scheme, "api-key"):
		key = value{octets: rest}
	case len(e.query.apiKey.octets) > 0:
		key = e.query.apiKey
	default:
		key = e.body.apiKey
	}
	e.setHash(&a.APIKeyHash, KindAPIKey, key)
	return len(key.octets) > 0
}

// setHash sets the keyed hash of a value.
func (e *Extractor) setHash(dst *string, k Kind, v value) {
	if len(v.octets) == 0 {
		return
	}
	e.value = v.append(e.value[:0])
	e.hex = e.hash.append(e.hex[:0], k, e.value)
	e.set(dst, e.hex)
}

// setName sets the name of a field.
func (e *Extractor) setName(dst *string, name value) {
	e.value = name.append(e.value[:0])
	e.set(dst, e.value[:min(len(e.value), maxName)])
}

// maxGrant is the most octets of a grant_type: they are words or URNs.
const maxGrant = 80

// isPlain reports whether v is a word of at most limit octets from a restricted
// alphabet, no more than five digits among them: nothing that names somebody.
func isPlain(v []byte, limit int) bool {
	if len(v) == 0 || len(v) > limit {
		return false
	}
	digits := 0
	for _, c := range v {
		switch {
		case isDigit(c):
			digits++
		case !isAlpha(c) && c != '_' && c != '-' && c != '.' && c != ':':
			return false
		}
	}
	return digits <= 5
}
