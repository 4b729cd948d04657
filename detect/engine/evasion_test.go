package engine

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly"
)

// burst is a stuffing attack of a minute from forty addresses, which begins
// after a minute.
var burst = attack{seed: 1, addresses: 40, from: minute, length: minute, period: second, right: 0.03}

func TestWhoMakesTheLoginFailWithServerErrorsIsBlockedAllTheSame(t *testing.T) {
	b := newBench(t)
	var list []try
	for i, y := range burst.tries() {
		list = append(list, y)
		for k := range 3 { // a body that the application chokes on
			list = append(list, try{at: y.at, client: y.client, account: "x", password: fmt.Sprint(i, k), status: 500})
		}
	}
	b.run(customers(1, 3000, 0, 2*minute, 0.08), list)
	onlyAttackers(t, b)
	assert.Equal(t, 40, b.under(burst))
}

func TestOneAccountUnderManySpellingsOfItsPasswordBuysNoFreedom(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 500, 0, minute, 0.08))
	for k := range 60 { // an application that reads the first eight letters alone
		when := minute + time.Duration(k)*second
		b.try(try{at: when, client: "45.0.0.1", account: "own", password: fmt.Sprint("passw0rd", k), right: true})
		b.try(try{at: when, client: "45.0.0.1", account: fmt.Sprint(k), password: "leaked"})
	}
	assert.Equal(t, []string{"45.0.0.1/32"}, b.blocked())
}

// page is a request for a page, under a session or none.
func (b *bench) page(when time.Duration, client, path string, status int, carrier, location string, session ...string) {
	b.n++
	tx := &reassembly.Transaction{Start: at(when) - 20e6, End: at(when), ID: fmt.Sprint("page", b.n), CommunityID: fmt.Sprint("1:", b.n)}
	tx.Client = netip.MustParseAddr(client)
	tx.Source = netip.AddrPortFrom(tx.Client, 40000)
	tx.Request.Method, tx.Request.Domain, tx.Request.Path = "GET", "api.bank.example", path
	tx.Response.Status, tx.Response.Signature.Location = status, location
	if len(session) > 0 {
		tx.Auth = reassembly.Auth{Carrier: carrier, SessionPresented: session}
	}
	b.Observe(tx)
}

// plain is an attempt at a login that answers 200 with a page, and sets a
// cookie where the client brought none, whether the password was right or not.
func (b *bench) plain(when time.Duration, client, account string, right, fresh bool) *reassembly.Transaction {
	b.n++
	tx := try{at: when, client: client, account: account, password: "p"}.transaction(b.n)
	tx.Response.Status, tx.Response.Signature = 200, reassembly.Signature{Media: "html", Keys: "", Length: 9}
	if right {
		tx.Response.Signature.Length = 14
	}
	if fresh {
		tx.Response.Signature.Cookies = []string{"PHPSESSID"}
		tx.Auth.SessionIssued = []string{hash16(fmt.Sprint("fresh", b.n))}
	} else {
		tx.Auth.SessionPresented = []string{hash16("before" + client)}
	}
	b.Observe(tx)
	return tx
}

func TestACookieThatOpensNothingTeachesNothing(t *testing.T) {
	for _, carrier := range []string{"cookie", "bearer"} {
		t.Run(carrier, func(t *testing.T) {
			b := newBench(t)
			b.plain(second, "81.0.0.1", "a", false, false)
			for k := range 5 { // failures, whose cookie then goes along with a style sheet
				client := fmt.Sprintf("81.0.1.%d", k)
				tx := b.plain(time.Duration(k+2)*second, client, "b", false, true)
				b.page(time.Duration(k+2)*second+1e8, client, "/css/site.css", 200, carrier, "", tx.Auth.SessionIssued...)
			}
			assert.NotEqual(t, "success", b.plain(minute, "81.0.2.1", "c", false, true).Annotation.EventOutcome)
			assert.NotEqual(t, "failure", b.plain(minute+second, "81.0.2.2", "d", true, false).Annotation.EventOutcome,
				"the answer to the right password sets no cookie where there is one")
		})
	}
}

func TestACookieThatOpensWhatIsClosedWithoutOneIsTheSuccess(t *testing.T) {
	b := newBench(t)
	b.plain(second, "81.0.0.1", "a", false, false)
	b.page(second, "81.0.0.7", "/account", 302, "", "/login")
	for k := range 3 {
		client := fmt.Sprintf("81.0.1.%d", k)
		tx := b.plain(time.Duration(k+2)*second, client, "b", true, true)
		b.page(time.Duration(k+2)*second+1e8, client, "/account", 200, "cookie", "", tx.Auth.SessionIssued...)
	}
	assert.Equal(t, "success", b.plain(minute, "81.0.2.1", "c", true, true).Annotation.EventOutcome)
}

func TestADisguiseOfTheRequestDoesNotHideALogin(t *testing.T) {
	for _, c := range []struct {
		name     string
		disguise func(tx *reassembly.Transaction)
	}{
		{"a second password field, as of a sign-up", func(tx *reassembly.Transaction) { tx.Auth.PasswordFields = 2 }},
		{"the grant of a refresh beside the password", func(tx *reassembly.Transaction) { tx.Auth.GrantType = "refresh_token" }},
		{"a bearer token that nobody issued", func(tx *reassembly.Transaction) {
			tx.Auth.SessionPresented = []string{hash16("made up")}
			tx.Request.Headers = []string{"authorization"}
		}},
		{"dot segments behind another word", func(tx *reassembly.Transaction) { tx.Request.Path = "/v1/login/logout/.." }},
		{"dot segments in percent coding", func(tx *reassembly.Transaction) { tx.Request.Path = "/v1/login/logout/%2E%2e/." }},
		{"empty segments", func(tx *reassembly.Transaction) { tx.Request.Path = "//v1//login/" }},
		{"another spelling of the host", func(tx *reassembly.Transaction) { tx.Request.Domain = "API.bank.example." }},
		{"a body so long that the credentials are not read", func(tx *reassembly.Transaction) {
			tx.Auth = reassembly.Auth{}
			tx.Request.BodyBytes = 20 << 10
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			for i, y := range customers(1, 500, 0, minute, 0.08) {
				tx := b.try(y)
				if len(tx.Auth.SessionIssued) > 0 && i < 20 {
					b.page(y.at+1e8, y.client, "/v1/accounts", 200, "bearer", "", tx.Auth.SessionIssued...)
				}
			}
			for k := range 20 {
				b.n++
				tx := try{at: minute + time.Duration(k)*second, client: "45.0.0.1", account: fmt.Sprint(k), password: "leaked"}.transaction(b.n)
				c.disguise(tx)
				b.Observe(tx)
				assert.Equal(t, "login", tx.Annotation.Role)
				assert.Equal(t, "POST api.bank.example/v1/login", tx.Annotation.Endpoint)
			}
			assert.Equal(t, []string{"45.0.0.1/32"}, b.blocked())
		})
	}
}
