package engine

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
)

// visit is one read of a path by a client of its own.
func visit(e *Engine, i int, path, keys string) string {
	tx := reads(i + 1)[i]
	tx.Start, tx.End = e.clock, e.clock+1e6
	tx.Request.Path = path
	tx.Response.Signature = reassembly.Signature{Media: "json", Keys: keys, Length: 8}
	e.Observe(tx)
	return tx.Annotation.Endpoint
}

func TestEndpointsAreNamedByWhatWasLearned(t *testing.T) {
	e, err := New(Config{}, nothing{})
	require.NoError(t, err)
	assert.Equal(t, "GET api.bank.example/v1/payees/mara", visit(e, 0, "/v1/payees/mara", "payee"))
	for i, who := range []string{"boro", "kim", "mara"} {
		visit(e, i, "/v1/payees/"+who, "payee")
	}
	assert.Equal(t, "GET api.bank.example/v1/payees/{payeeId}", visit(e, 5, "/v1/payees/mara", "payee"))
	assert.Equal(t, 1, e.Stats().Endpoints, "places of values are one place")
}

// What is known of a login outlives that its path turns out to hold a value.
func TestAMergeKeepsWhatIsKnownOfALogin(t *testing.T) {
	e, err := New(Config{}, nothing{})
	require.NoError(t, err)
	n := 0
	login := func(tenant string, account int) *reassembly.Transaction {
		n++
		tx := try{client: fmt.Sprintf("81.0.%d.%d", n>>8, n&255), account: fmt.Sprint(account), password: "p", right: true}.transaction(n)
		tx.Request.Path = "/tenants/" + tenant + "/login"
		tx.Response.Signature.Media, tx.Response.Signature.Keys = "json", "token"
		tx.Start, tx.End = e.clock, e.clock+1e6
		e.Observe(tx)
		return tx
	}
	for i := range 5 {
		login("acme", i)
	}
	assert.Equal(t, "POST api.bank.example/tenants/acme/login", e.Logins()[0].Endpoint)
	for i := range 4 {
		for _, tenant := range []string{"globex", "initech", "acme"} {
			login(tenant, i)
		}
	}
	logins := e.Logins()
	require.Len(t, logins, 1)
	assert.Equal(t, "POST api.bank.example/tenants/{tenantId}/login", logins[0].Endpoint)
	assert.EqualValues(t, 17, logins[0].Attempts)
	tx := login("umbrella", 1)
	assert.Equal(t, "POST api.bank.example/tenants/{tenantId}/login", tx.Annotation.Endpoint)
	assert.Equal(t, "accepted", tx.Annotation.Outcome)
}

func TestAScanDoesNotRenameALogin(t *testing.T) {
	e, err := New(Config{Endpoints: 64}, nothing{})
	require.NoError(t, err)
	var name string
	for i := range 20000 {
		if i%1000 < 2 {
			tx := try{client: "81.1.1.1", account: "a", password: "p", right: i > 500}.transaction(i)
			tx.Start, tx.End = e.clock, e.clock+1e6
			e.Observe(tx)
			if name == "" {
				name = tx.Annotation.Endpoint
			}
			assert.Equal(t, name, tx.Annotation.Endpoint)
		}
		scan := try{client: fmt.Sprintf("82.0.%d.%d", i>>8, i&255), account: fmt.Sprint(i), password: "p"}.transaction(i)
		scan.Request.Path = fmt.Sprintf("/v1/x%dq", i)
		scan.Start, scan.End = e.clock, e.clock+1e6
		e.Observe(scan)
	}
	stats := e.Stats()
	assert.LessOrEqual(t, stats.Endpoints, 64)
}
