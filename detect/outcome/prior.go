package outcome

import (
	"strconv"
	"strings"

	"offpath/detect/login"
	"offpath/reassembly"
)

// prior is what a kind of answer means before anything has been learned.
type prior struct {
	odds     float64 // log-odds that the password was right
	hint     Class   // of which kind the success or failure is, once it is told
	fixed    bool    // not open to learning
	redirect bool    // 3xx
	back     bool    // a redirect back to the login, or to an error page
}

func (p prior) class(odds float64) Class {
	switch {
	case odds >= told && p.hint == MFARequired:
		return MFARequired
	case odds >= told:
		return Accepted
	case odds > -told:
		return Unknown
	case p.hint == UnknownUser || p.hint == Locked:
		return p.hint
	}
	return Rejected
}

// priorOf states the priors, as log-odds of success.
//
//	401                                   -4    fixed (RFC 9110 section 15.5.2)
//	403, 422                              -2.5
//	400, 409                              -2    unless the body's code says more
//	404                                   -1    no such user, or no such page
//	423                                   -4    locked, fixed (RFC 4918 section 11.3)
//	405 406 408 411 413 414 415 431 …      0    the request was not looked at, fixed
//	3xx back to the login, or to an error -3
//	3xx elsewhere                         +1.5, with a session issued +3.5
//	2xx with a token that is no cookie    +3
//	2xx with a session cookie             +2.5 without a body, +0.5 with a page (which may set one in any case), else +1.5
//	2xx to Basic credentials              +3
//	2xx without a session                 -0.5
//	code of the body                      -3 … +1.5, see readCode
func priorOf(tx *reassembly.Transaction) prior {
	r := &tx.Response
	if tx.OFX != nil {
		if p, ok := ofxPrior(tx); ok {
			return p
		}
	}
	code, hint, looked := readCode(r.Signature.Code)
	if !looked {
		return prior{fixed: true}
	}
	p := prior{hint: hint}
	switch status := r.Status; {
	case hint == MFARequired: // whatever the status: Auth0 says 403, Okta 200
		p.odds = 2.5
	case status == 401:
		p.odds, p.fixed = -4, true
	case status == 423:
		p.odds, p.hint, p.fixed = -4, Locked, true
	case status == 403 && tx.Auth.Carrier == "basic":
		p.fixed = true // authenticated, but not allowed
	case status == 403, status == 422:
		p.odds = -2.5 + min(code, 0)
	case status == 400, status == 409:
		p.odds = -2 + min(code, 0)
	case status == 404 && tx.Auth.Carrier == "basic":
		p.fixed = true
	case status == 404:
		p.odds = -1 + min(code, 0)
		if p.hint == Unknown {
			p.hint = UnknownUser
		}
	case status >= 400:
		p.fixed = true
	case status >= 300:
		p.redirect = true
		p.redirectOdds(tx)
	case status >= 200:
		p.odds = okOdds(tx) + code
	default:
		p.fixed = true
	}
	return p
}

func (p *prior) redirectOdds(tx *reassembly.Transaction) {
	location := tx.Response.Signature.Location
	kind := login.PathKind(location)
	switch {
	case tx.Response.Status == 304 || location == "":
		p.fixed = true
	case kind == login.KindOneTime:
		p.odds, p.hint = 2.5, MFARequired
	case kind == login.KindLogin, kind == login.KindError, samePath(location, tx.Request.Path):
		p.odds, p.back = -3, true
	case len(tx.Auth.SessionIssued) > 0:
		p.odds = 3.5
	default:
		p.odds = 1.5
	}
}

func samePath(a, b string) bool {
	a, _, _ = strings.Cut(a, ";")
	b, _, _ = strings.Cut(b, ";")
	return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/")
}

func okOdds(tx *reassembly.Transaction) float64 {
	media := tx.Response.Signature.Media
	switch {
	case tx.Auth.Carrier == "basic":
		return 3
	case len(tx.Auth.SessionIssued) == 0:
		return -0.5
	case tx.Auth.TokenIssued:
		return 3
	case media == "html" || media == "text":
		return 0.5
	case media == "json" || media == "xml":
		return 1.5
	}
	return 2.5
}

// readCode reads an error-code-like value: words in any spelling, or an HTTP
// status. A value that speaks for and against, or for nothing known, says
// nothing: true may stand under "error" as well as under "success". looked
// says whether the password was looked at: a request refused for its form, its
// frequency, or a missing proof against forgery says nothing about it.
func readCode(code string) (odds float64, hint Class, looked bool) {
	if code == "" || len(code) > 128 {
		return 0, Unknown, true
	}
	if n, err := strconv.Atoi(code); err == nil {
		switch {
		case n == 0 || n == 200:
			return 1.5, Unknown, true
		case n == 423:
			return -3, Locked, true
		case n == 401 || n == 403:
			return -3, Unknown, true
		case n == 429, n >= 500 && n < 600:
			return 0, Unknown, false
		}
		return -1, Unknown, true
	}
	has := codeWords(code)
	switch {
	case has&wordRequest != 0:
		return 0, Unknown, false
	case has&wordLocked != 0:
		return -3, Locked, true
	case has&wordFactor != 0 && has&wordBad != 0:
		return 0, Unknown, false // of the second factor
	case has&wordFactor != 0:
		return 2.5, MFARequired, true
	case has&wordPassword != 0 && has&(wordBad|wordAbsent) != 0:
		return -3, Unknown, true
	case has&wordUser != 0 && has&(wordBad|wordAbsent) != 0:
		return -3, UnknownUser, true
	case has&wordAbsent != 0:
		return -1, Unknown, true
	case has&wordBad != 0 && has&wordGood != 0:
		return 0, Unknown, true
	case has&wordBad != 0:
		return -3, Unknown, true
	case has&wordGood != 0:
		return 1.5, Unknown, true
	}
	return 0, Unknown, true
}

// wordSet is the meanings found among the words of a code.
type wordSet uint16

const (
	wordGood wordSet = 1 << iota
	wordBad
	wordAbsent
	wordUser
	wordPassword
	wordLocked
	wordFactor
	wordRequest // about the request, not about the password
)

var codeMeanings = map[string]wordSet{
	"ok": wordGood, "success": wordGood, "successful": wordGood, "succeeded": wordGood, "authenticated": wordGood,
	"invalid": wordBad, "incorrect": wordBad, "wrong": wordBad, "bad": wordBad, "fail": wordBad, "failed": wordBad,
	"failure": wordBad, "denied": wordBad, "unauthorized": wordBad, "unauthorised": wordBad, "unauthenticated": wordBad,
	"mismatch": wordBad, "rejected": wordBad, "error": wordBad, "unsuccessful": wordBad,
	"unknown": wordAbsent, "nonexistent": wordAbsent, "unregistered": wordAbsent | wordUser, "notfound": wordAbsent, "found": wordAbsent, "exist": wordAbsent,
	"such": wordAbsent,
	"user": wordUser, "username": wordUser, "account": wordUser, "email": wordUser, "customer": wordUser, "member": wordUser,
	"password": wordPassword, "passwd": wordPassword, "pin": wordPassword, "credential": wordPassword, "credentials": wordPassword,
	"grant":  wordPassword,
	"locked": wordLocked, "lockout": wordLocked, "lock": wordLocked, "blocked": wordLocked, "suspended": wordLocked, "disabled": wordLocked,
	"mfa": wordFactor, "otp": wordFactor, "totp": wordFactor, "2fa": wordFactor, "factor": wordFactor, "multifactor": wordFactor,
	"challenge": wordFactor, "stepup": wordFactor, "tan": wordFactor,
	"request": wordRequest, "client": wordRequest, "validation": wordRequest, "csrf": wordRequest, "xsrf": wordRequest,
	"captcha": wordRequest, "recaptcha": wordRequest, "parameter": wordRequest, "format": wordRequest, "json": wordRequest,
	"many": wordRequest, "rate": wordRequest, "limit": wordRequest, "throttled": wordRequest, "token": wordRequest, "maintenance": wordRequest,
	"unavailable": wordRequest, "timeout": wordRequest, "internal": wordRequest, "server": wordRequest,
}

func codeWords(code string) wordSet {
	var set wordSet
	for _, word := range login.Words(code) {
		set |= codeMeanings[word]
	}
	return set
}

// ofxSignOn is the status code of the sign-on, the first in an OFX response
// (OFX 1.0.2 section 2.5.1).
func ofxSignOn(tx *reassembly.Transaction) string {
	if len(tx.OFX.StatusCodes) == 0 {
		return ""
	}
	return tx.OFX.StatusCodes[0]
}

// ofxPrior reads the sign-on's status code, which HTTP's 200 hides.
func ofxPrior(tx *reassembly.Transaction) (prior, bool) {
	switch ofxSignOn(tx) {
	case "0", "15000": // success; the password must be changed, but was right
		return prior{odds: 4, fixed: true}, true
	case "3000": // user credentials are correct, a further factor is needed
		return prior{odds: 4, hint: MFARequired, fixed: true}, true
	case "15500": // sign-on invalid
		return prior{odds: -4, fixed: true}, true
	case "15502": // locked out
		return prior{odds: -4, hint: Locked, fixed: true}, true
	case "":
		return prior{}, false
	}
	return prior{fixed: true}, true // of the message, not of the sign-on
}
