package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/override"
	"offpath/reassembly"
)

func TestWhatAnOperatorKnowsBetterWins(t *testing.T) {
	overrides, err := override.New([]override.Statement{
		{When: `url.path == "/enter"`, Role: "login"},
		{When: `url.path == "/enter" && http.response.status_code == 202`, Outcome: "rejected"},
		{When: `url.path == "/v1/login" && url.domain == "demo.bank.example"`, Role: "none"},
		{When: `url.path == "/v1/login" && http.response.status_code == 200`, Outcome: "mfa_required"},
	})
	require.NoError(t, err)
	b := newBench(t, func(c *Config) { c.Overrides = overrides })
	n := 0
	see := func(change func(*reassembly.Transaction)) reassembly.Annotation {
		n++
		tx := try{at: time.Duration(n) * second, client: "81.0.0.1", account: "a", password: "p", right: true}.transaction(n)
		change(tx)
		b.Observe(tx)
		return tx.Annotation
	}
	opaque := func(status int) func(*reassembly.Transaction) {
		return func(tx *reassembly.Transaction) {
			tx.Request.Path, tx.Auth, tx.Response.Status, tx.Response.Signature = "/enter", reassembly.Auth{}, status, reassembly.Signature{Media: "none"}
		}
	}
	for _, c := range []struct {
		name          string
		change        func(*reassembly.Transaction)
		role, outcome string
	}{
		{"a login that shows nothing of one", opaque(202), "login", "rejected"},
		{"its other outcomes are still learned", opaque(401), "login", "rejected"},
		{"a login that is not to count", func(tx *reassembly.Transaction) { tx.Request.Domain = "demo.bank.example" }, "", ""},
		{"an outcome alone", func(*reassembly.Transaction) {}, "login", "mfa_required"},
		{"a refused login has the role too", func(tx *reassembly.Transaction) { opaque(403)(tx); tx.RefusedBy = "0000000100000001" }, "login", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := see(c.change)
			assert.Equal(t, c.role, got.Role)
			assert.Equal(t, c.outcome, got.Outcome)
		})
	}
	b.SetOverrides(nil)
	assert.Equal(t, "accepted", see(func(*reassembly.Transaction) {}).Outcome)
}
