package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
)

// transfer is a request as detection has annotated it.
func transfer() *reassembly.Transaction {
	tx := &reassembly.Transaction{}
	tx.Request.Method, tx.Request.Path = "POST", "/v1/transfers"
	tx.Annotation = reassembly.Annotation{Endpoint: "POST api.bank.example/v1/transfers", Role: "login", EventOutcome: "failure", Outcome: "rejected"}
	return tx
}

func facts() *Facts {
	tx := transfer()
	return &Facts{Transaction: tx, Endpoint: tx.Annotation.Endpoint, Role: "login", EndpointIs: "api",
		Counts: Counts{Requests: 31, Logins: 30, Failures: 20, Successes: 10, Errors: 5, Accounts: 29, Endpoints: 2, Clients: 7}}
}

func TestConjunctsAreAskedWhereTheyBelong(t *testing.T) {
	for _, c := range []struct {
		text                   string
		place, request, entity bool // whether there is such a part
	}{
		{`true`, true, false, false},
		{`endpoint.role == "login"`, true, false, false},
		{`transaction.http.request.method == "POST"`, false, true, false},
		{`entity.requests > 30`, false, false, true},
		{`endpoint.role == "login" && entity.requests > 30`, true, false, true},
		{`endpoint.role == "login" && (transaction.url.path == "/a" && entity.requests > 30)`, true, true, true},
		{`endpoint.role == "login" || entity.requests > 30`, false, false, true},
		{`endpoint.kind == "api" && endpoint.name.startsWith("POST ") && transaction.http.request.method == endpoint.name && entity.errors > entity.requests / 2`, true, true, true},
		{`["POST", "PUT"].exists(m, m == transaction.http.request.method) && has(transaction.url.query) && entity.accounts > 3`, false, true, true},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := newCondition(c.text)
			require.NoError(t, err)
			assert.Equal(t, []bool{c.place, c.request, c.entity}, []bool{got.place != nil, got.request != nil, got.entity != nil})
			assert.Equal(t, strings.Contains(c.text, "kind"), got.kind)
			assert.Equal(t, strings.Contains(c.text, "accounts"), got.distinct)
		})
	}
}

func TestConditionsOverTransactionEndpointAndEntity(t *testing.T) {
	for text, want := range map[string]bool{
		`endpoint.role == "login" && entity.requests > 30`:                                    true,
		`endpoint.role == "login" && entity.requests > 31`:                                    false,
		`endpoint.role != "login"`:                                                            false,
		`endpoint.role in ["login", "refresh"]`:                                               true,
		`endpoint.name == "POST api.bank.example/v1/transfers" && endpoint.kind == "api"`:     true,
		`transaction.offpath.role == "login" && transaction.event.outcome == "failure"`:       true,
		`transaction.offpath.outcome == "rejected"`:                                           true,
		`transaction.offpath.endpoint == endpoint.name`:                                       true,
		`transaction.url.path.startsWith("/v1/") && transaction.http.request.method != "GET"`: true,
		`["POST", "PUT"].exists(m, m == transaction.http.request.method)`:                     true,
		`has(transaction.url.query)`:                                                          false,
		`!has(transaction.url.query)`:                                                         true,
		`transaction.http.response.status_code >= 400`:                                        false,
		`entity.failures * 3 > entity.logins && entity.successes < 11 && entity.errors == 5`:  true,
		`entity.accounts == 29 && entity.endpoints == 2 && entity.clients == 7`:               true,
		`entity.logins > 100 || endpoint.role == "login"`:                                     true,
	} {
		c, err := newCondition(text)
		require.NoError(t, err, text)
		got := true
		for _, part := range []func(*Facts) (bool, error){c.AtEndpoint, c.Picks, c.Convicts} {
			ok, err := part(facts())
			require.NoError(t, err, text)
			got = got && ok
		}
		assert.Equal(t, want, got, text)
	}
}

func TestMistakesInConditionsAreNamedWithTheirPlaceAndTheMend(t *testing.T) {
	for text, want := range map[string]string{
		`endpoint.rol == "login"`:                             `at character 9: "endpoint.rol" is no name and no function; there is endpoint.name, endpoint.role, endpoint.kind`,
		`entity.request > 30`:                                 `at character 7: "entity.request" is no name and no function; there is entity.requests, entity.logins, entity.failures, entity.successes, entity.errors, entity.accounts, entity.endpoints, entity.clients`,
		`endpoint.role == "logn"`:                             `endpoint.role is never "logn"; it is one of login, refresh, sign_up, password_reset, password_change, second_factor, logout, transfer, payee, checkout, search, health, or "" where it is not known`,
		`endpoint.role in ["login", "logn"]`:                  `endpoint.role is never "logn"; it is one of login, refresh, sign_up, password_reset, password_change, second_factor, logout, transfer, payee, checkout, search, health, or "" where it is not known`,
		`true && "app" == endpoint.kind`:                      `endpoint.kind is never "app"; it is one of api, web, mobile, or "" where it is not known`,
		`http.request.method == "GET"`:                        `at character 1: "http" is no name and no function; there is transaction.http`,
		`transaction.http.reqest.method == "GET"`:             `at character 17: there is no field "reqest" here; ` + "`offpath replay --transactions -` shows which there are",
		`transaction.method == "GET"`:                         `at character 12: there is no field "method" here; there is transaction.http.request.method`,
		`role == login`:                                       `at character 1: "role" is no name and no function; there is transaction.offpath.role`,
		`sudo == 1`:                                           `at character 1: "sudo" is no name and no function; names begin with transaction, endpoint or entity, and text stands in quotes`,
		`entity.requests`:                                     `it says int, not whether the policy is met; compare it with something, as in entity.requests > 30`,
		"true &&\n  entity.requests > \"30\"":                 `at line 2, character 19: found no matching overload for '_>_' applied to '(int, string)'`,
		"true && " + strings.Repeat("true && ", 600) + "true": `it has 4812 octets, more than 4096`,
	} {
		_, err := newCondition(text)
		require.Error(t, err, text)
		assert.Equal(t, want, err.Error(), text)
	}
	for _, broken := range []string{"", "entity.requests >", "(((", `transaction.url.path.matches("(")`, "a\x00b"} {
		_, err := newCondition(broken)
		require.Error(t, err, "%q", broken)
		assert.NotContains(t, err.Error(), "\n")
	}
}

func TestWhatIsNotThereIsNoFailureButWhatCantBeEvaluatedIs(t *testing.T) {
	for _, c := range []struct {
		name, text string
		fails      bool
	}{
		{"a field that is not there", `transaction.url.query == "a"`, false},
		{"no number is divided by 0", `entity.logins / (entity.requests - 31) > 1`, true},
		{"there is no such element", `transaction.offpath.flags[0] == "gap"`, false},
		{"beyond the end of a list", `[1, 2][entity.requests] > 1`, true},
		{"what costs too much", `"` + strings.Repeat("a", 200) + `".split("").all(a, "` + strings.Repeat("a", 200) + `".split("").all(b, a == b && entity.requests > 1))`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			condition, err := newCondition(c.text)
			require.NoError(t, err)
			for _, part := range []func(*Facts) (bool, error){condition.Picks, condition.Convicts} {
				got, err := part(facts())
				if err != nil {
					assert.True(t, c.fails)
					assert.False(t, got)
					return
				}
				if !got {
					assert.False(t, c.fails)
					return
				}
			}
			t.Error("it held")
		})
	}
}

func TestPoliciesOfOnesOwn(t *testing.T) {
	s, err := New([]Statement{
		{Name: "transfers-per-key", When: "endpoint.role == \"login\"\n  && entity.requests > 30", Per: []string{"api_key"}, Action: "rate_limit", Rate: Rate{10, time.Minute}, Mode: "enforce"},
		{Name: Stuffing, Action: "tag"},
		{Name: "found-only", When: `entity.errors > 100`, Per: []string{"client.ip", "endpoint"}, Window: time.Hour},
		{Name: "accounts", When: `entity.clients > 10`, Per: []string{"user"}, Action: "hold"},
	})
	require.NoError(t, err)
	own := s.Own()
	require.Len(t, own, 3)
	assert.Len(t, s.Policies(), len(Predefined())+3)
	p := own[0]
	assert.Equal(t, []any{[]Member{ByAPIKey}, time.Minute, "rate_limit to 10 requests per 1m0s", "enforce", false},
		[]any{p.Per, p.Window, p.Text(), string(p.Mode), p.Account})
	assert.Equal(t, `your own: endpoint.role == "login" && entity.requests > 30, per api_key within 1m0s`, p.About)
	assert.Same(t, p, s.Get("transfers-per-key"))
	assert.Equal(t, []any{[]Member{ByClient, ByEndpoint}, time.Hour, "finding only", "monitor"}, []any{own[1].Per, own[1].Window, own[1].Text(), string(own[1].Mode)})
	assert.True(t, own[2].Account)
	assert.False(t, s.NeedsKind())
}

func TestMistakesInPoliciesOfOnesOwn(t *testing.T) {
	const when = `entity.requests > 30`
	for _, c := range []struct {
		name  string
		state Statement
		want  string
	}{
		{"a condition for a predefined one", Statement{Name: Stuffing, When: when}, `when: credential-stuffing is predefined, and what it is about can't be changed; give a policy of your own another name`},
		{"a window for a predefined one", Statement{Name: Stuffing, Window: time.Minute}, `window: credential-stuffing is predefined, and what it is about can't be changed; give a policy of your own another name`},
		{"a condition that is none", Statement{Name: "a", When: "entity.requests >", Per: []string{"session"}}, `when: at character 18: Syntax error: mismatched input '<EOF>' expecting`},
		{"nothing to count by", Statement{Name: "a", When: when}, `per: it is missing; write what the policy counts by: client.ip, fingerprint, user_agent, ja4, session, api_key, user, endpoint`},
		{"no member", Statement{Name: "a", When: when, Per: []string{"ip"}}, `per: "ip" is none of client.ip, fingerprint, user_agent, ja4, session, api_key, user, endpoint`},
		{"a member twice", Statement{Name: "a", When: when, Per: []string{"session", "session"}}, `per: "session" stands there twice; remove one`},
		{"too many members", Statement{Name: "a", When: when, Per: []string{"session", "ja4", "endpoint", "client.ip"}}, `per: there are 4 members; write 3 at most`},
		{"an account and more", Statement{Name: "a", When: when, Per: []string{"user", "client.ip"}}, `per: an account is held by itself; write user alone`},
		{"a block of an account", Statement{Name: "a", When: when, Per: []string{"user"}, Action: "block"}, `action: "block" needs something that a load balancer can match, and this policy is about accounts; write hold or none`},
		{"a hold of an address", Statement{Name: "a", When: when, Per: []string{"client.ip"}, Action: "hold"}, `action: "hold" is of accounts, and this policy is about requests; write one of block, rate_limit, challenge, deceive, tag, none`},
		{"everybody at an endpoint", Statement{Name: "a", When: when, Per: []string{"endpoint"}, Action: "block"}, `per: endpoint alone would hit everybody there; add a member such as client.ip, or write action: none`},
		{"a limit without a rate", Statement{Name: "a", When: when, Per: []string{"session"}, Action: "rate_limit"}, `rate: it is missing; rate_limit needs one, such as {requests: 10, per: 60s}`},
		{"too long a window", Statement{Name: "a", When: when, Per: []string{"session"}, Window: 25 * time.Hour}, `window: 25h0m0s is out of range; write a duration from 1s to 24h`},
		{"a window of nothing", Statement{Name: "a", When: "true", Per: []string{"session"}, Window: time.Hour}, `window: it has no effect, as the condition says nothing of the entity; remove it or count something, as in entity.requests > 30`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New([]Statement{c.state})
			require.Error(t, err)
			assert.Contains(t, err.Error(), "policy 0: "+c.want)
		})
	}
	var many []Statement
	for i := range MaxOwn + 1 {
		many = append(many, Statement{Name: "a" + strings.Repeat("b", i%60) + strings.Repeat("c", i/60), When: "true", Per: []string{"session"}})
	}
	_, err := New(many)
	assert.ErrorContains(t, err, "is one policy of your own too many; there may be 64")
}

func BenchmarkConditions(b *testing.B) {
	for _, text := range []string{`endpoint.role == "login"`, `transaction.url.path.startsWith("/v1/")`, `entity.requests > 30`} {
		c, err := newCondition(text)
		require.NoError(b, err)
		f := facts()
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, p := range []func(*Facts) (bool, error){c.AtEndpoint, c.Picks, c.Convicts} {
					if _, err := p(f); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func FuzzAConditionIsOneOrOneErrorAndAnswersWithinItsCost(f *testing.F) {
	f.Add(`endpoint.role == "login" && entity.requests > 30`)
	f.Add(`["a"].exists(m, m == transaction.url.path) || transaction.url.path.matches("^/(a|b)+$")`)
	f.Add(`has(transaction.url.query) && cidr("192.0.2.0/24").containsIP(transaction.client.ip)`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := newCondition(text)
		if (c == nil) == (err == nil) {
			t.Fatalf("condition %v, error %v: exactly one expected", c, err)
		}
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("error %q has several lines", err)
			}
			return
		}
		for _, part := range []func(*Facts) (bool, error){c.AtEndpoint, c.Picks, c.Convicts} {
			if holds, err := part(facts()); holds && err != nil {
				t.Fatalf("it holds, and fails: %v", err)
			}
		}
	})
}
