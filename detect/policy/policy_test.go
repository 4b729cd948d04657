package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
)

func TestWithoutStatementsThePredefinedPoliciesAreInForce(t *testing.T) {
	s, err := New(nil)
	require.NoError(t, err)
	assert.Equal(t, Predefined(), s.Policies())
	for _, p := range s.Policies() {
		assert.Same(t, p, s.Get(p.Name))
		assert.NotEmpty(t, p.About)
		assert.Regexp(t, `^OAT-0\d\d `, p.Threat)
	}
	assert.Nil(t, s.Get("no-such"))
}

func TestAStatementChangesWhatItMentions(t *testing.T) {
	for _, c := range []struct {
		name  string
		state Statement
		want  func(p *Policy)
	}{
		{"nothing but the name", Statement{Name: Stuffing}, func(*Policy) {}},
		{"the mode", Statement{Name: Stuffing, Mode: "monitor"}, func(p *Policy) { p.Mode = detect.ModeMonitor }},
		{"another action", Statement{Name: Cracking, Action: "challenge"}, func(p *Policy) { p.Action = detect.ActionChallenge }},
		{"a rate", Statement{Name: Stuffing, Action: "rate_limit", Rate: Rate{Requests: 10, Per: time.Minute}}, func(p *Policy) {
			p.Action, p.Rate = detect.ActionRateLimit, detect.Rate{Requests: 10, Per: 60e9}
		}},
		{"no action", Statement{Name: Takeover, Action: "none"}, func(p *Policy) { p.Action = ActionNone }},
		{"how long", Statement{Name: Spraying, TTL: time.Hour, TTLMax: 2 * time.Hour}, func(p *Policy) { p.TTL, p.MaxTTL = time.Hour, 2*time.Hour }},
		{"how long at most, less than what is predefined", Statement{Name: Takeover, TTLMax: time.Hour}, func(p *Policy) { p.TTL, p.MaxTTL = time.Hour, time.Hour }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := New([]Statement{c.state})
			require.NoError(t, err)
			want := Predefined()
			for _, p := range want {
				if p.Name == c.state.Name {
					c.want(p)
				}
			}
			assert.Equal(t, want, s.Policies())
		})
	}
}

func TestMistakesNameTheStatementTheKeyAndTheMend(t *testing.T) {
	good := Statement{Name: Stuffing, Mode: "monitor"}
	for _, c := range []struct {
		name  string
		state Statement
		want  string
	}{
		{"no name", Statement{}, `policy 1: name: "" is no name of a policy; write lower-case letters, digits and '-'`},
		{"capitals", Statement{Name: "Stuffing"}, `policy 1: name: "Stuffing" is no name of a policy; write lower-case letters, digits and '-'`},
		{"the same twice", good, `policy 1: name: "credential-stuffing" is the name of another policy already; state each once`},
		{"no such policy", Statement{Name: "carding"}, `policy 1: when: it is missing; "carding" is none of the predefined policies, which are credential-stuffing, credential-cracking, password-spraying, account-takeover, and one of your own needs a condition, such as 'endpoint.role == "login" && entity.failures > 30'`},
		{"no mode", Statement{Name: Cracking, Mode: "off"}, `policy 1: mode: "off" is neither monitor nor enforce`},
		{"no action", Statement{Name: Cracking, Action: "ban"}, `policy 1: action: "ban" is none of block, rate_limit, challenge, deceive, tag, none`},
		{"accounts can only be held", Statement{Name: Takeover, Action: "block"}, `policy 1: action: "block" needs something that a load balancer can match, and this policy is about accounts; write hold or none`},
		{"requests can't be held", Statement{Name: Cracking, Action: "hold"}, `policy 1: action: "hold" is of accounts, and this policy is about requests; write one of block, rate_limit, challenge, deceive, tag, none`},
		{"a limit without a rate", Statement{Name: Cracking, Action: "rate_limit"}, `policy 1: rate: it is missing; rate_limit needs one, such as {requests: 10, per: 60s}`},
		{"a rate without a limit", Statement{Name: Cracking, Rate: Rate{1, time.Second}}, `policy 1: rate: it has no effect without action: rate_limit; remove it or write that action`},
		{"no requests", Statement{Name: Cracking, Action: "rate_limit", Rate: Rate{Per: time.Second}}, `policy 1: rate: requests: 0 is out of range; write a number from 1 to 2147483647`},
		{"no whole seconds", Statement{Name: Cracking, Action: "rate_limit", Rate: Rate{1, 1500 * time.Millisecond}}, `policy 1: rate: per: 1.5s is out of range; write whole seconds from 1s to 24h`},
		{"too short", Statement{Name: Cracking, TTL: time.Millisecond}, `policy 1: ttl: 1ms is out of range; write a duration from 1s to 24h0m0s`},
		{"too long", Statement{Name: Cracking, TTLMax: 25 * time.Hour}, `policy 1: ttl_max: 25h0m0s is out of range; write a duration from 1s to 24h0m0s`},
		{"longer than the longest", Statement{Name: Cracking, TTL: time.Hour, TTLMax: time.Minute}, `policy 1: ttl: 1h0m0s is longer than ttl_max, 1m0s`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New([]Statement{good, c.state})
			assert.EqualError(t, err, c.want)
			var mistake *Error
			assert.ErrorAs(t, err, &mistake)
		})
	}
}

func TestLifetimesAreThePolicysOrThoseForAll(t *testing.T) {
	for _, c := range []struct {
		name                 string
		ttl, longest         time.Duration
		wantTTL, wantLongest time.Duration
	}{
		{"none of its own", 0, 0, 10 * time.Minute, 24 * time.Hour},
		{"a first one of its own", time.Hour, 0, time.Hour, 24 * time.Hour},
		{"a longest shorter than the first of all", 0, time.Minute, time.Minute, time.Minute},
		{"both", time.Minute, time.Hour, time.Minute, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			ttl, longest := (&Policy{TTL: c.ttl, MaxTTL: c.longest}).Lifetimes(10*time.Minute, 24*time.Hour)
			assert.Equal(t, []time.Duration{c.wantTTL, c.wantLongest}, []time.Duration{ttl, longest})
		})
	}
	ttl, longest := (&Policy{TTL: time.Hour}).Lifetimes(time.Minute, 10*time.Minute)
	assert.Equal(t, []time.Duration{time.Hour, time.Hour}, []time.Duration{ttl, longest}, "its own wins over the longest of all")
}
