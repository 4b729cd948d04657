package content

import (
	"bytes"

	"offpath/reassembly"
	"offpath/reassembly/internal/jsonscan"
)

// answer is what the body of a response shows, as views.
type answer struct {
	touched    bool // not the zero value
	code       value
	codeRank   uint8
	tokens     [maxSessionTokens]value
	tokenCount int
}

// Bounds of what counts as error code and as token in a response.
const (
	maxCode      = 40 // octets
	maxCodeDepth = 3  // of the member that holds it
	minIssued    = 4  // octets of a token
)

// reset makes a the zero value, which it is for most responses.
func (a *answer) reset() {
	if a.touched {
		*a = answer{}
	}
}

// wanted implements visitor.
func (a *answer) wanted() class { return classIssued | classCode }

// visit implements visitor.
func (a *answer) visit(m *member) {
	a.touched = true
	class := m.info.class
	if class&classIssued != 0 && m.token == jsonscan.String && !m.cut && isToken(m.value.octets) && a.tokenCount < maxSessionTokens {
		a.tokens[a.tokenCount] = m.value
		a.tokenCount++
		return
	}
	if class&classCode == 0 || m.depth > maxCodeDepth || a.code.octets != nil && a.codeRank <= m.info.rank {
		return
	}
	code := m.value
	if i := bytes.LastIndexByte(code.octets, '/'); i >= 0 && hasPrefixFold(code.octets, "http") {
		code.octets = code.octets[i+1:] // type of RFC 9457 is a URI
	}
	if isErrorCode(code.octets) {
		a.code, a.codeRank = code, m.info.rank
	}
}

// isToken reports whether a string may be a token: not short, without spaces.
func isToken(v []byte) bool {
	return len(v) >= minIssued && bytes.IndexByte(v, ' ') < 0
}

// isErrorCode reports whether v has the form of an error code and can be no
// secret: a word of letters with _ - . : between, in one case or in camel case,
// with at most one run of at most five digits. So no card, account or phone
// number, no one-time code of six digits, no random token.
func isErrorCode(v []byte) bool {
	if !isPlain(v, maxCode) {
		return false
	}
	runs, humps := 0, 0
	for i := 1; i < len(v); i++ {
		switch before, c := v[i-1], v[i]; {
		case isDigit(before) && !isDigit(c):
			runs++
		case 'a' <= before && before <= 'z' && 'A' <= c && c <= 'Z':
			humps++
		}
	}
	if isDigit(v[len(v)-1]) {
		runs++
	}
	return runs <= 1 && 5*humps <= len(v)
}

// issued sets the session tokens of a response, and the names of the cookies
// that it sets.
func (e *Extractor) issued(tx *reassembly.Transaction, f *fields) {
	if f.first(roleSetCookie) != nil {
		e.arena, e.items = e.arena[:0], e.items[:0]
		f.each(roleSetCookie, func(field []byte) {
			if name, _, deleted := setCookie(field); !deleted && len(name) > 0 && len(e.items) < maxCookieNames {
				e.item(name[:min(len(name), maxName)])
			}
		})
		tx.Response.Signature.Cookies = e.list(e.items)
	}
	e.arena, e.items = e.arena[:0], e.items[:0]
	f.each(roleSetCookie, func(field []byte) {
		if name, val, deleted := setCookie(field); !deleted && e.cookies.isSession(name, val) {
			e.addToken(val)
		}
	})
	issued := &tx.Auth.TokenIssued
	*issued = e.answer.tokenCount > 0
	for _, t := range e.answer.tokens[:e.answer.tokenCount] {
		e.value = t.append(e.value[:0])
		e.addToken(e.value)
	}
	if scheme, rest, ok := bytes.Cut(f.first(roleAuthorization), []byte{' '}); ok && isBearer(scheme) {
		rest = trim(rest)
		*issued = *issued || len(rest) > 0
		e.addToken(rest)
	}
	if token := f.first(roleToken); len(token) > 0 {
		*issued = true
		e.addToken(token)
	}
	tx.Auth.SessionIssued = e.list(e.items)
}

// maxCookieNames bounds Signature.Cookies.
const maxCookieNames = 32
