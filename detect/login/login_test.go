package login

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly"
)

func TestPathKindReadsThePathFromItsEnd(t *testing.T) {
	for path, want := range map[string]Kind{
		"/login":                         KindLogin,
		"/api/v1/login":                  KindLogin,
		"/users/sign_in":                 KindLogin,
		"/accounts:signInWithPassword":   KindLogin,
		"/j_security_check":              KindLogin,
		"/wp-login.php":                  KindLogin,
		"/login/password":                KindLogin,
		"/verifyPassword":                KindLogin,
		"/connect/token":                 KindToken,
		"/OAuth2/token":                  KindToken,
		"/api/sessions":                  KindToken,
		"/authn":                         KindToken,
		"/login;jsessionid=1":            KindLogin,
		"/token/refresh":                 KindRefresh,
		"/refresh-token":                 KindRefresh,
		"/users/sign_up":                 KindSignUp,
		"/auth/register":                 KindSignUp,
		"/login/forgot":                  KindReset,
		"/account/change-password":       KindReset,
		"/login/verify":                  KindOneTime,
		"/auth/mfa/challenge":            KindOneTime,
		"/session/logout":                KindLogout,
		"/login/error":                   KindError,
		"/loginFailed":                   KindError,
		"/accounts/17/statement":         KindNone,
		"/blogging/insight":              KindNone,
		"/":                              KindNone,
		"":                               KindNone,
		"/mfa/login":                     KindLogin,
		"/login/accounts":                KindLogin,
		"/authenticationcontext/nothing": KindNone,
		"/login/logout/..":               KindLogin,
		"/login/./logout/%2e.;x/":        KindLogin,
		"/login/../logout":               KindLogout,
		"/../../login":                   KindLogin,
	} {
		assert.Equal(t, want, PathKind(path), path)
	}
}

// request is a POST with what the sensor found in it.
func request(auth reassembly.Auth, headers ...string) *reassembly.Transaction {
	tx := &reassembly.Transaction{Auth: auth}
	tx.Request.Method = "POST"
	tx.Request.Headers = headers
	return tx
}

func TestRolesOfRequests(t *testing.T) {
	form := reassembly.Auth{Carrier: "form", UserField: "username", PasswordField: "password", PasswordFields: 1, UserHash: "u", PasswordHash: "p"}
	with := func(change func(*reassembly.Auth)) reassembly.Auth {
		a := form
		change(&a)
		return a
	}
	session := []string{"s"}
	for _, c := range []struct {
		name    string
		tx      *reassembly.Transaction
		kind    Kind
		learned Evidence
		want    string
	}{
		{"a form with account and password, by the first request", request(form), KindNone, 0, RoleLogin},
		{"the same under an anonymous session cookie", request(with(func(a *reassembly.Auth) { a.SessionPresented = session }), "cookie"), KindLogin, 0, RoleLogin},
		{"under an app's own bearer token", request(with(func(a *reassembly.Auth) { a.SessionPresented = session }), "authorization"), KindLogin, 0, RoleLogin},
		{"an OFX sign-on, whatever message sets follow it", request(reassembly.Auth{Carrier: "ofx", UserField: "USERID", PasswordField: "USERPASS", PasswordFields: 1, UserHash: "u", PasswordHash: "p"}), KindNone, 0, RoleLogin},
		{"an OFX sign-on with a session cookie", request(reassembly.Auth{Carrier: "ofx", UserField: "USERID", PasswordField: "USERPASS", PasswordFields: 1, UserHash: "u", PasswordHash: "p", SessionPresented: session}), KindNone, 0, RoleLogin},
		{"an anonymous OFX request for a profile", request(reassembly.Auth{}), KindNone, 0, ""},
		{"a payment confirmed by the password", request(reassembly.Auth{Carrier: "json", PasswordField: "pin", PasswordFields: 1, PasswordHash: "p", SessionPresented: session}, "authorization"), KindNone, 0, ""},
		{"a password alone, the account being in the session", request(reassembly.Auth{Carrier: "form", PasswordField: "password", PasswordFields: 1, PasswordHash: "p"}), KindNone, 0, RoleLogin},
		{"Basic credentials", request(reassembly.Auth{Carrier: "basic", UserHash: "u", PasswordHash: "p"}), KindNone, 0, RoleLogin},
		{"the OAuth password grant", request(with(func(a *reassembly.Auth) { a.GrantType = "password" })), KindToken, 0, RoleLogin},
		{"client credentials are a machine's", request(reassembly.Auth{Carrier: "basic", UserHash: "u", PasswordHash: "p", GrantType: "client_credentials"}), KindToken, 0, ""},
		{"a refresh is no login, whatever has been learned", request(reassembly.Auth{GrantType: "refresh_token"}), KindToken, learned, RoleRefresh},
		{"a sign-up has the password twice", request(with(func(a *reassembly.Auth) { a.PasswordFields = 2 })), KindNone, learned, RoleSignUp},
		{"a login that asks for a password and a PIN", request(with(func(a *reassembly.Auth) { a.PasswordFields = 2 })), KindLogin, 0, RoleLogin},
		{"a password beside a grant that takes none", request(with(func(a *reassembly.Auth) { a.GrantType = "refresh_token" })), KindToken, 0, RoleLogin},
		{"a sign-up that asks once and logs the new customer in", request(form), KindSignUp, learned, RoleSignUp},
		{"a change of password", request(with(func(a *reassembly.Auth) { a.PasswordFields = 3; a.SessionPresented = session }), "cookie"), KindNone, 0, RoleChange},
		{"a reset", request(reassembly.Auth{UserHash: "u"}), KindReset, 0, RoleReset},
		{"a second factor", request(reassembly.Auth{Carrier: "json", UserHash: "u", PasswordField: "code", PasswordFields: 1}), KindOneTime, learned, RoleOneTime},
		{"opaque credentials, before anything is known", request(reassembly.Auth{}), KindLogin, 0, ""},
		{"opaque credentials, once some answers issue what is used next", request(reassembly.Auth{}), KindLogin, SelectiveIssue | IssuedUsed, RoleLogin},
		{"an anonymous session that everybody gets is no login", request(reassembly.Auth{}), KindToken, IssuedUsed, ""},
		{"a search", request(reassembly.Auth{}), KindNone, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, Role(c.tx, FromRequest(c.tx, c.kind)|c.learned, c.kind))
		})
	}
}

func TestWhatHasNothingToDoWithALogin(t *testing.T) {
	for path, want := range map[string]Kind{
		"/v1/transfers": KindTransfer, "/v1/accounts/17/transfers/": KindTransfer, "/pay;v=1": KindTransfer, "/api/createPayment": KindTransfer, "Bank.Transfer": KindTransfer, "/wire-transfer": KindTransfer,
		"/v1/transfers/17": KindNone, "/payments/methods": KindNone, "/v1/accounts": KindNone, "getPayments": KindNone, "/transfer-history": KindNone, "/transferred": KindNone, "": KindNone, "/": KindNone,
		"/v1/payees": KindPayee, "addBeneficiary": KindPayee, "/beneficiaries/list": KindNone, "listRecipients": KindNone,
		"/cart/checkout": KindCheckout, "/purchase": KindCheckout, "/purchase-history": KindNone,
		"/search": KindSearch, "/api/products/search": KindSearch, "/search-suggestions": KindSearch, "/payment-search": KindNone,
		"/healthz": KindHealth, "/actuator/health": KindHealth, "/health-check": KindHealth, "/ping": KindHealth, "/idp/startSSO.ping": KindNone,
	} {
		assert.Equal(t, want, Purpose(path), path)
	}
	tx := request(reassembly.Auth{SessionPresented: []string{"s"}})
	role := func(kind Kind) string { return Role(tx, FromRequest(tx, kind), kind) }
	for kind, want := range map[Kind]string{KindTransfer: RoleTransfer, KindPayee: RolePayee, KindCheckout: RoleCheckout, KindSearch: RoleSearch, KindHealth: RoleHealth} {
		tx.Request.Method = "POST"
		assert.Equal(t, want, role(kind))
		tx.Request.Method = "GET"
		if changes(kind) {
			want = "" // a list of them
		}
		assert.Equal(t, want, role(kind))
	}
	asked := request(reassembly.Auth{Carrier: "json", UserField: "user", PasswordField: "password", PasswordFields: 1, SessionPresented: []string{"s"}})
	assert.Equal(t, RoleTransfer, Role(asked, FromRequest(asked, KindTransfer), KindTransfer), "one that asks for the password again")
}

func TestTheLoginPageIsNoLogin(t *testing.T) {
	tx := request(reassembly.Auth{})
	tx.Request.Method = "GET"
	assert.Empty(t, Role(tx, FromRequest(tx, KindLogin)|learned, KindLogin))
}

func TestTermsAddUpToTheScore(t *testing.T) {
	for e := Evidence(0); e < endOfEvidence; e++ {
		var sum float64
		for _, term := range e.Terms() {
			sum += term.Value
		}
		assert.Equal(t, sum, e.Score())
	}
	assert.Len(t, weights, 14)
	assert.Equal(t, Evidence(1)<<len(weights), endOfEvidence)
}

func FuzzPathKind(f *testing.F) {
	f.Add("/a/signInWithPassword;x=1//")
	f.Fuzz(func(t *testing.T, path string) {
		assert.LessOrEqual(t, PathKind(path), KindError)
	})
}
