package outcome

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/detect/login"
	"offpath/reassembly"
)

// answer is a login's transaction with the response that change describes.
func answer(status int, change func(*reassembly.Transaction)) *reassembly.Transaction {
	tx := &reassembly.Transaction{Auth: reassembly.Auth{Carrier: "form", PasswordHash: "p", UserHash: "u"}}
	tx.Request.Method, tx.Request.Path = "POST", "/login"
	tx.Response.Status = status
	tx.Response.Signature.Length = reassembly.Unknown
	if change != nil {
		change(tx)
	}
	return tx
}

func location(path string) func(*reassembly.Transaction) {
	return func(tx *reassembly.Transaction) { tx.Response.Signature.Location = path }
}

func code(value string) func(*reassembly.Transaction) {
	return func(tx *reassembly.Transaction) {
		tx.Response.Signature.Media, tx.Response.Signature.Code = "json", value
	}
}

func ofx(codes ...string) func(*reassembly.Transaction) {
	return func(tx *reassembly.Transaction) { tx.OFX = &reassembly.OFX{StatusCodes: codes} }
}

func token(tx *reassembly.Transaction) {
	tx.Response.Signature.Media, tx.Response.Signature.Keys = "json", "k"
	tx.Auth.SessionIssued, tx.Auth.TokenIssued = []string{"t"}, true
}

func cookie(media string) func(*reassembly.Transaction) {
	return func(tx *reassembly.Transaction) {
		tx.Response.Signature.Media = media
		tx.Response.Signature.Cookies = []string{"sid"}
		tx.Auth.SessionIssued = []string{"t"}
	}
}

func both(a, b func(*reassembly.Transaction)) func(*reassembly.Transaction) {
	return func(tx *reassembly.Transaction) { a(tx); b(tx) }
}

func basic(tx *reassembly.Transaction) { tx.Auth.Carrier = "basic" }

func TestTheFirstAnswerIsJudgedByItsPrior(t *testing.T) {
	for _, c := range []struct {
		name string
		tx   *reassembly.Transaction
		want Class
	}{
		{"401", answer(401, nil), Rejected},
		{"401 with an unknown account", answer(401, code("USER_NOT_FOUND")), UnknownUser},
		{"401 whose second factor is missing", answer(401, code("mfa_required")), MFARequired},
		{"401 to an OAuth client, not to its user", answer(401, code("invalid_client")), Unknown},
		{"403", answer(403, nil), Rejected},
		{"403 for a missing proof against forgery", answer(403, code("invalid_csrf_token")), Unknown},
		{"403 to Basic credentials: known, but not allowed", answer(403, basic), Unknown},
		{"422", answer(422, nil), Rejected},
		{"400, which may be about anything", answer(400, nil), Unknown},
		{"400 with RFC 6749's invalid_grant", answer(400, code("invalid_grant")), Rejected},
		{"400 with invalid_request", answer(400, code("invalid_request")), Unknown},
		{"404, where no login may be at all", answer(404, nil), Unknown},
		{"404 that names the account", answer(404, code("unknown_user")), UnknownUser},
		{"423", answer(423, nil), Locked},
		{"429", answer(429, nil), Throttled},
		{"413, not looked at", answer(413, nil), Unknown},
		{"500", answer(500, nil), Outage},
		{"503", answer(503, nil), Outage},
		{"no answer", answer(0, nil), Unknown},
		{"302 back to the login", answer(302, location("/login")), Rejected},
		{"302 back to the login under another name", answer(302, location("/auth/signin")), Rejected},
		{"303 to an error page", answer(303, location("/login/failed")), Rejected},
		{"302 on to the account with a new session", answer(302, both(cookie("none"), location("/account"))), Accepted},
		{"302 on to somewhere, nothing issued", answer(302, location("/home")), Unknown},
		{"302 to the second factor", answer(302, location("/login/otp")), MFARequired},
		{"304 says nothing", answer(304, nil), Unknown},
		{"200 with a token", answer(200, token), Accepted},
		{"204 with a session cookie", answer(204, cookie("none")), Accepted},
		{"200 with a page and a cookie", answer(200, cookie("html")), Unknown},
		{"200 with an error code", answer(200, code("INVALID_CREDENTIALS")), Rejected},
		{"200 with a camelCase error", answer(200, code("wrongPassword")), Rejected},
		{"200 with a lock", answer(200, code("ACCOUNT_LOCKED")), Locked},
		{"200 with Okta's status", answer(200, code("MFA_REQUIRED")), MFARequired},
		{"200 with false, which may stand under anything", answer(200, code("false")), Unknown},
		{"200 with an HTTP status in the body", answer(200, code("401")), Rejected},
		{"200 to Basic credentials", answer(200, basic), Accepted},
		{"OFX sign-on accepted", answer(200, ofx("0", "0")), Accepted},
		{"OFX sign-on invalid", answer(200, ofx("15500")), Rejected},
		{"OFX locked out", answer(200, ofx("15502")), Locked},
		{"OFX general error", answer(200, ofx("2000")), Unknown},
		{"too many attempts", answer(400, code("TOO_MANY_ATTEMPTS_TRY_LATER")), Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Model
			assert.Equal(t, c.want.String(), m.Judge(c.tx).Class.String())
		})
	}
}

func TestTheAnswerWhoseSessionIsUsedIsTheSuccess(t *testing.T) {
	var m Model
	page := answer(200, cookie("html"))
	again := answer(200, func(tx *reassembly.Transaction) { tx.Response.Signature.Media = "html" })
	assert.Equal(t, Unknown, m.Judge(page).Class, "a page with a cookie is not told at first")
	assert.Equal(t, Unknown, m.Judge(again).Class, "nor is one without")
	for client := range uint64(3) {
		a := m.Judge(page)
		assert.True(t, a.Learnable)
		m.Used(a.Cluster, 100+client, false)
	}
	assert.Equal(t, Accepted, m.Judge(page).Class)
	assert.Equal(t, Rejected, m.Judge(again).Class, "what issues nothing beside it is the failure")
	assert.Equal(t, login.SelectiveIssue|login.TwoModes, m.Learned())
}

func TestACookieThatEverybodyGetsTeachesNothing(t *testing.T) {
	var m Model
	for client := range uint64(50) {
		m.Used(m.Judge(answer(200, cookie("html"))).Cluster, client, false)
	}
	assert.Equal(t, Unknown, m.Judge(answer(200, cookie("html"))).Class)
	assert.Zero(t, m.Learned()&login.SelectiveIssue)
}

func TestOneClientCannotTeachAlone(t *testing.T) {
	var m Model
	m.Judge(answer(200, nil))
	page := answer(200, cookie("html"))
	for range 100 {
		m.Used(m.Judge(page).Cluster, 7, false)
	}
	assert.Equal(t, Unknown, m.Judge(page).Class)
}

func TestNobodyCanTeachThatA401IsASuccess(t *testing.T) {
	var m Model
	rejected := answer(401, cookie("json"))
	for client := range uint64(100) {
		a := m.Judge(rejected)
		assert.False(t, a.Learnable)
		m.Used(a.Cluster, client, true)
	}
	assert.Equal(t, Rejected, m.Judge(rejected).Class)
}

func TestARedirectOnwardIsTheSuccessWhereAnotherLeadsBack(t *testing.T) {
	var m Model
	onward := answer(302, location("/home"))
	assert.Equal(t, Unknown, m.Judge(onward).Class)
	m.Judge(answer(302, location("/login")))
	m.Judge(answer(302, location("/login")))
	assert.Equal(t, Accepted, m.Judge(onward).Class)
}

func TestClustersAreBounded(t *testing.T) {
	var m Model
	frequent := answer(200, token)
	for range 10 {
		m.Judge(frequent)
	}
	for i := range 10 * MaxClusters {
		m.Judge(answer(302, location(string(rune('a'+i%26))+string(rune('a'+i/26)))))
	}
	assert.Len(t, m.clusters, MaxClusters)
	serial := m.clusters[0].serial
	assert.Equal(t, serial, m.Judge(frequent).Cluster, "the frequent one is kept")
}

func TestEventOutcomeSaysWhetherThePasswordWasRight(t *testing.T) {
	want := map[Class]string{
		Unknown: "unknown", Accepted: "success", Rejected: "failure", UnknownUser: "failure", Locked: "failure",
		MFARequired: "success", Throttled: "unknown", Outage: "unknown",
	}
	for c := range Class(Classes) {
		assert.Equal(t, want[c], c.Event(), c.String())
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(200, "/a", "invalid_user", "json", true, "15500")
	f.Fuzz(func(t *testing.T, status int, path, value, media string, issues bool, sonrs string) {
		var m Model
		tx := answer(status, func(tx *reassembly.Transaction) {
			tx.Response.Signature.Location, tx.Response.Signature.Code, tx.Response.Signature.Media = path, value, media
			if issues {
				tx.Auth.SessionIssued = []string{"s"}
			}
			if sonrs != "" {
				tx.OFX = &reassembly.OFX{StatusCodes: []string{sonrs}}
			}
		})
		a := m.Judge(tx)
		assert.Less(t, int(a.Class), Classes)
		if a.Class.Event() != "unknown" {
			assert.GreaterOrEqual(t, max(a.LogOdds, -a.LogOdds), told, "what is not certain is unknown")
		}
		assert.Equal(t, a.Class, m.Judge(tx).Class, "an answer alone teaches nothing")
	})
}
