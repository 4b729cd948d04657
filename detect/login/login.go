// Package login tells login requests from others, without configuration: a sum
// of log-odds over what a request shows (a password, an account, words in its
// path, its OAuth grant) and over what has been learned of its endpoint (that
// some answers issue a session, and that it is used next).
//
// A request with credentials is judged from the first one on, also where only
// failures are seen. An endpoint whose credentials are opaque (an encrypted
// body) is recognised by what follows alone, once that is plain.
//
// The package holds no state: an [Evidence] is a set of bits, which the caller
// keeps per endpoint.
package login

import (
	"math/bits"

	"offpath/detect"
	"offpath/reassembly"
)

// Evidence is a set of things that speak for or against a login.
type Evidence uint16

// The evidence, first of the request itself, then of its endpoint.
const (
	Password         Evidence = 1 << iota // a password-like field
	Basic                                 // Basic credentials (RFC 7617)
	Account                               // an account-like field
	PathWord                              // a login word in the path or operation
	PasswordGrant                         // grant_type=password (RFC 6749 section 4.3)
	NoSession                             // sent without a session
	OtherGrant                            // another grant_type: no password is tried
	SeveralPasswords                      // two or more password fields: sign-up or change
	OtherPath                             // words of sign-up, reset, second factor, logout, refresh
	PageRequest                           // a safe method (RFC 9110 section 9.2.1) without credentials
	Bearer                                // sent under a bearer token: a confirmation inside a session
	SelectiveIssue                        // some answers of the endpoint issue a session, others don't
	TwoModes                              // its answers come in two or more shapes, each repeatedly
	IssuedUsed                            // the session it issued is what the client used next

	endOfEvidence
)

// learned is the evidence that belongs to the endpoint.
const learned = SelectiveIssue | TwoModes | IssuedUsed

// credentials is the evidence that the request carries an account's secret.
const credentials = Password | Basic

// What belongs to another role outweighs all the rest together: a sign-up, too,
// has a password and issues a session that is used next.
var weights = [...]detect.Term{
	{Name: "password field", Value: 4},
	{Name: "basic credentials", Value: 3},
	{Name: "account field", Value: 1.5},
	{Name: "login word in path", Value: 2},
	{Name: "password grant", Value: 3},
	{Name: "sent without a session", Value: 1},
	{Name: "other grant", Value: -16},
	{Name: "several password fields", Value: -16},
	{Name: "word of another role in path", Value: -16},
	{Name: "page request", Value: -4},
	{Name: "sent under a bearer token", Value: -2},
	{Name: "only some answers issue a session", Value: 3},
	{Name: "answers of two kinds", Value: 1.5},
	{Name: "issued session used next", Value: 4},
}

// Thresholds of the sum.
const (
	Threshold = 4.0 // with credentials
	// OpaqueThreshold is for requests without recognised credentials. It can't
	// be reached without a session that only some answers issue and that is
	// used next.
	OpaqueThreshold = 8.0
)

// FromRequest is the evidence that a request itself shows; kind is
// [PathKind] of its path, or of its operation where that says more.
func FromRequest(tx *reassembly.Transaction, kind Kind) Evidence {
	var e Evidence
	auth := &tx.Auth
	switch {
	case auth.Carrier == "basic":
		e |= Basic
	case auth.PasswordHash != "" || auth.PasswordField != "":
		e |= Password
	}
	if auth.UserHash != "" || auth.UserField != "" {
		e |= Account
	}
	switch kind {
	case KindNone, KindError, KindSearch, KindHealth:
	case KindLogin, KindToken:
		e |= PathWord
	default:
		e |= OtherPath
	}
	// What a login ignores must not disguise it: another grant beside a password
	// field, a second password field at a path that says login.
	switch {
	case auth.GrantType == "":
	case auth.GrantType == "password":
		e |= PasswordGrant
	case e&Password == 0:
		e |= OtherGrant
	}
	if auth.PasswordFields >= 2 && kind != KindLogin {
		e |= SeveralPasswords
	}
	if len(auth.SessionPresented) == 0 {
		e |= NoSession
	} else if auth.Carrier == "bearer" || auth.Carrier != "basic" && hasAuthorization(tx) {
		e |= Bearer
	}
	if e&credentials == 0 && safe(tx.Request.Method) {
		e |= PageRequest
	}
	return e
}

func hasAuthorization(tx *reassembly.Transaction) bool {
	for _, name := range tx.Request.Headers {
		if name == "authorization" {
			return true
		}
	}
	return false
}

func safe(method string) bool {
	return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE"
}

// Learned is the part of the evidence that belongs to the endpoint.
func (e Evidence) Learned() Evidence { return e & learned }

// Credentials reports whether the request carries an account's secret.
func (e Evidence) Credentials() bool { return e&credentials != 0 }

// Score is the sum of the log-odds.
func (e Evidence) Score() float64 {
	var sum float64
	for rest := e & (endOfEvidence - 1); rest != 0; rest &= rest - 1 {
		sum += weights[bits.TrailingZeros16(uint16(rest))].Value
	}
	return sum
}

// Terms are the addends of the Score.
func (e Evidence) Terms() []detect.Term {
	var terms []detect.Term
	for rest := e & (endOfEvidence - 1); rest != 0; rest &= rest - 1 {
		terms = append(terms, weights[bits.TrailingZeros16(uint16(rest))])
	}
	return terms
}

// Login reports whether a request with this evidence is a login.
func (e Evidence) Login() bool {
	if e.Credentials() {
		return e.Score() >= Threshold
	}
	return e&SelectiveIssue != 0 && e&IssuedUsed != 0 && e&PageRequest == 0 && e.Score() >= OpaqueThreshold
}

// The roles of requests that this package knows.
const (
	RoleLogin   = "login"
	RoleRefresh = "refresh"
	RoleSignUp  = "sign_up"
	RoleReset   = "password_reset"
	RoleChange  = "password_change"
	RoleOneTime = "second_factor"
	RoleLogout  = "logout"

	RoleTransfer = "transfer" // moves money
	RolePayee    = "payee"    // makes somebody known to whom money may be sent
	RoleCheckout = "checkout" // buys something
	RoleSearch   = "search"
	RoleHealth   = "health" // asks whether the application is well
)

// Roles lists them.
var Roles = []string{RoleLogin, RoleRefresh, RoleSignUp, RoleReset, RoleChange, RoleOneTime, RoleLogout, RoleTransfer, RolePayee, RoleCheckout, RoleSearch, RoleHealth}

// Role names what a request with this evidence does; "" where it is none of
// this package's roles.
func Role(tx *reassembly.Transaction, e Evidence, kind Kind) string {
	switch {
	case e.Login():
		return RoleLogin
	case tx.Auth.GrantType == "refresh_token":
		return RoleRefresh
	case e&PageRequest != 0 && kind == KindSearch:
		return RoleSearch
	case e&PageRequest != 0 && kind == KindHealth:
		return RoleHealth
	case e&PageRequest != 0:
		return ""
	case e&SeveralPasswords != 0:
		if e&NoSession == 0 {
			return RoleChange
		}
		if kind == KindReset {
			return RoleReset
		}
		return RoleSignUp
	}
	switch kind {
	case KindRefresh:
		return RoleRefresh
	case KindSignUp:
		return RoleSignUp
	case KindReset:
		return RoleReset
	case KindOneTime:
		return RoleOneTime
	case KindLogout:
		return RoleLogout
	case KindTransfer:
		return RoleTransfer
	case KindPayee:
		return RolePayee
	case KindCheckout:
		return RoleCheckout
	case KindSearch:
		return RoleSearch
	case KindHealth:
		return RoleHealth
	}
	return ""
}
