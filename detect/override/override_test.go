package override

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/outcome"
	"offpath/reassembly"
)

func transaction(path string, status int) *reassembly.Transaction {
	tx := new(reassembly.Transaction)
	tx.Request.Method, tx.Request.Path, tx.Response.Status = "POST", path, status
	return tx
}

func TestTheFirstStatementThatSaysSomethingDecides(t *testing.T) {
	s, err := New([]Statement{
		{When: `url.path == "/enter" && http.response.status_code == 204`, Outcome: "rejected"},
		{When: `url.path == "/enter"`, Role: "login", Outcome: "accepted"},
		{When: `url.path.startsWith("/e")`, Role: "none"},
		{When: `url.path == "/strange"`, Outcome: "unknown"},
	})
	require.NoError(t, err)
	for _, c := range []struct {
		path   string
		status int
		want   Opinion
	}{
		{"/enter", 204, Opinion{"login", outcome.Rejected, true}},
		{"/enter", 200, Opinion{"login", outcome.Accepted, true}},
		{"/else", 200, Opinion{"none", outcome.Unknown, false}},
		{"/strange", 200, Opinion{"", outcome.Unknown, true}},
		{"/other", 200, Opinion{}},
	} {
		assert.Equal(t, c.want, s.Of(transaction(c.path, c.status)), "%s %d", c.path, c.status)
	}
	assert.Equal(t, Opinion{}, (*Set)(nil).Of(transaction("/enter", 200)))
}

func TestAConditionThatCostsTooMuchDoesNotHoldAndIsCounted(t *testing.T) {
	s, err := New([]Statement{{When: `offpath.request.headers.exists(a, offpath.request.headers.exists(b, a + "x" == b))`, Role: "none"}})
	require.NoError(t, err)
	tx := transaction("/", 200)
	tx.Request.Headers = []string{"a", "ax"}
	assert.Equal(t, "none", s.Of(tx).Role)
	assert.Zero(t, s.TooDear())
	for i := range 256 {
		tx.Request.Headers = append([]string{fmt.Sprint("h", i)}, tx.Request.Headers...)
	}
	assert.Equal(t, Opinion{}, s.Of(tx))
	assert.Equal(t, uint64(1), s.TooDear())
}

func TestAMistakeIsNamedWithItsMend(t *testing.T) {
	for _, c := range []struct {
		name      string
		statement Statement
		key, text string
	}{
		{"no condition", Statement{Role: "login"}, "when", `it is missing; write which requests are meant, such as 'url.path == "/enter"'`},
		{"a condition that is none", Statement{When: "url.pth == 1", Role: "login"}, "when", "there is no field"},
		{"nothing said", Statement{When: "true"}, "role", "there is neither a role nor an outcome; write one of login, "},
		{"an unknown role", Statement{When: "true", Role: "entry"}, "role", `"entry" is none of login, `},
		{"an unknown outcome", Statement{When: "true", Outcome: "success"}, "outcome", `"success" is none of accepted, rejected, unknown_user, locked, mfa_required, outage, unknown`},
		{"an outcome of no login", Statement{When: "true", Role: "logout", Outcome: "accepted"}, "outcome", "only logins have one; leave it away, or the role"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New([]Statement{{When: "true", Role: "login"}, c.statement})
			var mistake *Error
			require.ErrorAs(t, err, &mistake)
			assert.Equal(t, 1, mistake.Index)
			assert.Equal(t, c.key, mistake.Key)
			assert.Contains(t, mistake.Text, c.text)
		})
	}
}
