package engine

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/detect/policy"
)

// stated makes policies of statements.
func stated(t *testing.T, statements ...policy.Statement) *policy.Set {
	t.Helper()
	s, err := policy.New(statements)
	require.NoError(t, err)
	return s
}

// by makes an engine in the mode enforce with policies.
func by(t *testing.T, statements ...policy.Statement) *bench {
	return newBench(t, func(c *Config) { c.Mode, c.Policies = detect.ModeEnforce, stated(t, statements...) })
}

// stuffed feeds a client that tries stolen passwords among customers.
func (b *bench) stuffed() {
	b.run(customers(1, 200, 0, minute, 0.08), attack{seed: 1, addresses: 1, length: minute, period: 2 * second}.tries())
}

func TestThePolicySaysWhatIsDoneAboutAStuffer(t *testing.T) {
	for _, c := range []struct {
		name    string
		state   policy.Statement
		action  detect.Action
		mode    detect.Mode
		lasts   time.Duration
		message string
	}{
		{"as predefined", policy.Statement{Name: policy.Stuffing}, detect.ActionBlock, detect.ModeEnforce, 10 * minute,
			"Block 45.0.0.0 for 10 minutes: stolen passwords are tried out from there (OAT-008 Credential Stuffing)."},
		{"monitored", policy.Statement{Name: policy.Stuffing, Mode: "monitor"}, detect.ActionBlock, detect.ModeMonitor, 10 * minute,
			"Block 45.0.0.0 for 10 minutes: stolen passwords are tried out from there (OAT-008 Credential Stuffing)."},
		{"limited", policy.Statement{Name: policy.Stuffing, Action: "rate_limit", Rate: policy.Rate{Requests: 1, Per: minute}}, detect.ActionRateLimit, detect.ModeEnforce, 10 * minute,
			"Limit 45.0.0.0 to 1 request per 60 s for 10 minutes: stolen passwords are tried out from there (OAT-008 Credential Stuffing)."},
		{"tagged for an hour", policy.Statement{Name: policy.Stuffing, Action: "tag", TTL: hour}, detect.ActionTag, detect.ModeEnforce, hour,
			"Tag 45.0.0.0 for 60 minutes: stolen passwords are tried out from there (OAT-008 Credential Stuffing)."},
		{"deceived", policy.Statement{Name: policy.Stuffing, Action: "deceive"}, detect.ActionDeceive, detect.ModeEnforce, 10 * minute,
			"Deceive 45.0.0.0 for 10 minutes: stolen passwords are tried out from there (OAT-008 Credential Stuffing)."},
		{"challenged", policy.Statement{Name: policy.Stuffing, Action: "challenge"}, detect.ActionChallenge, detect.ModeEnforce, 10 * minute,
			"Challenge 45.0.0.0 for 10 minutes: stolen passwords are tried out from there (OAT-008 Credential Stuffing)."},
		{"another policy is another matter", policy.Statement{Name: policy.Cracking, Action: "none"}, detect.ActionBlock, detect.ModeEnforce, 10 * minute,
			"Block 45.0.0.0 for 10 minutes: stolen passwords are tried out from there (OAT-008 Credential Stuffing)."},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := by(t, c.state)
			b.stuffed()
			require.Len(t, b.ids("45.0.0.0/32"), 1)
			v := b.decided[0]
			assert.Equal(t, c.action, v.Action)
			assert.Equal(t, c.mode, v.Mode)
			assert.Equal(t, c.lasts.Nanoseconds(), v.Expires-v.Time)
			assert.Equal(t, c.message, v.Message)
			assert.Equal(t, policy.Stuffing, v.Policy)
			assert.Equal(t, c.action == detect.ActionRateLimit, v.Rate != detect.Rate{})
		})
	}
}

func TestAPolicyWithoutAnActionMakesOneFindingAndNoVerdict(t *testing.T) {
	b := by(t, policy.Statement{Name: policy.Stuffing, Action: "none"})
	b.stuffed()
	ids := map[string]bool{}
	for _, f := range b.found {
		ids[f.ID] = true
	}
	assert.Len(t, ids, 1, "it is not found again and again")
	assert.Empty(t, b.decided)
	assert.Empty(t, b.Active())
	s := b.Stats()
	assert.Equal(t, uint64(1), s.VetoPolicy)
	assert.Zero(t, s.Verdicts)
	assert.Zero(t, s.ActiveVerdicts)
}

func TestThePoliciesOfCampaignsAndOfTheirAccounts(t *testing.T) {
	b := by(t, policy.Statement{Name: policy.Stuffing, Action: "tag", Mode: "monitor"}, policy.Statement{Name: policy.Takeover, TTL: hour})
	b.day(b.rotation(hour, 20*minute, 120, "00000000000000f1"))
	tags, holds := 0, 0
	for _, v := range b.decided {
		switch {
		case v.Subject.UserHash != "":
			holds++
			assert.Equal(t, []any{policy.Takeover, detect.ActionHold, detect.ModeEnforce, hour.Nanoseconds()}, []any{v.Policy, v.Action, v.Mode, v.Expires - v.Time})
		case v.Subject.Fingerprint != "":
			tags++
			assert.Equal(t, []any{policy.Stuffing, detect.ActionTag, detect.ModeMonitor}, []any{v.Policy, v.Action, v.Mode})
		}
	}
	assert.Greater(t, tags, 0)
	assert.Greater(t, holds, 15)

	b = by(t, policy.Statement{Name: policy.Stuffing, Action: "none"}, policy.Statement{Name: policy.Takeover, Action: "none"})
	b.day(b.rotation(hour, 20*minute, 120, "00000000000000f1"))
	assert.Empty(t, b.decided)
	assert.NotEmpty(t, b.found)
}

func TestWhatAPredicateDoesNotStopCountsAgainstItsAddresses(t *testing.T) {
	for action, want := range map[string]bool{"block": false, "tag": true} {
		t.Run(action, func(t *testing.T) {
			b := by(t, policy.Statement{Name: policy.Stuffing, Action: action})
			attack := b.rotation(hour, 20*minute, 120, "00000000000000f1")
			for i, tx := range attack {
				tx.Client = attack[i%20].Client
			}
			b.day(attack)
			addresses := false
			for _, v := range b.decided {
				addresses = addresses || addressAlone(v.Subject)
			}
			assert.Equal(t, want, addresses)
		})
	}
}

func TestChangedPoliciesReachWhatIsInForce(t *testing.T) {
	limit := policy.Statement{Name: policy.Stuffing, Action: "rate_limit", Rate: policy.Rate{Requests: 10, Per: minute}}
	for _, c := range []struct {
		name   string
		before []policy.Statement
		after  []policy.Statement
		want   []detect.Action // of the lines that follow
		mode   detect.Mode
		active int
	}{
		{"nothing has changed", nil, nil, nil, "", 1},
		{"another policy has changed", nil, []policy.Statement{{Name: policy.Cracking, Action: "tag"}}, nil, "", 1},
		{"another action", nil, []policy.Statement{limit}, []detect.Action{detect.ActionRateLimit}, detect.ModeEnforce, 1},
		{"another mode", nil, []policy.Statement{{Name: policy.Stuffing, Mode: "monitor"}}, []detect.Action{detect.ActionBlock}, detect.ModeMonitor, 1},
		{"both", []policy.Statement{limit}, []policy.Statement{{Name: policy.Stuffing, Mode: "monitor"}}, []detect.Action{detect.ActionBlock}, detect.ModeMonitor, 1},
		{"no action any more", nil, []policy.Statement{{Name: policy.Stuffing, Action: "none"}}, []detect.Action{detect.ActionLift}, detect.ModeEnforce, 0},
		{"an action where there was none", []policy.Statement{{Name: policy.Stuffing, Action: "none"}}, nil, nil, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := by(t, c.before...)
			b.stuffed()
			operators := detect.Verdict{ID: "00000001000000ab", Time: at(0), Expires: at(hour), Action: detect.ActionBlock, Mode: detect.ModeEnforce,
				Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.1/32")}}
			b.Watch(&operators)
			b.decided = nil
			b.SetPolicies(stated(t, c.after...))
			var got []detect.Action
			for _, v := range b.decided {
				got = append(got, v.Action)
				assert.Equal(t, c.mode, v.Mode)
				assert.Equal(t, "45.0.0.0/32", v.Subject.Client.String())
				assert.Equal(t, v.Action == detect.ActionRateLimit, v.Rate != detect.Rate{})
			}
			assert.Equal(t, c.want, got)
			assert.Len(t, b.Active(), c.active)
			s := b.Stats()
			assert.Equal(t, s.Verdicts+s.Restored, s.Expired+s.Lifted+uint64(s.ActiveVerdicts))
		})
	}
	t.Run("and what goes on is convicted anew where there was no action", func(t *testing.T) {
		b := by(t, policy.Statement{Name: policy.Stuffing, Action: "none"})
		b.stuffed()
		b.SetPolicies(stated(t))
		for k := range 20 {
			b.try(try{at: minute + time.Duration(k)*second, client: "45.0.0.0", account: fmt.Sprint("next", k), password: "p"})
		}
		require.NotEmpty(t, b.decided)
		assert.Equal(t, detect.ActionBlock, b.decided[0].Action)
	})
}

func TestVerdictsOfAnEarlierRunAreAsTheirPolicyIsNow(t *testing.T) {
	old := detect.Verdict{ID: "00000001000000aa", Time: at(0), Expires: at(hour), Action: detect.ActionBlock, Mode: detect.ModeEnforce,
		Subject: detect.Subject{Client: netip.MustParsePrefix("45.0.0.1/32")}}
	for _, c := range []struct {
		name, policy string
		state        []policy.Statement
		want         detect.Action // of the line that is written; "": none
		mode         detect.Mode
	}{
		{"by the same policy", policy.Stuffing, nil, "", ""},
		{"by no policy, from before there were any", "", nil, "", ""},
		{"its policy is monitored now", policy.Cracking, []policy.Statement{{Name: policy.Cracking, Mode: "monitor"}}, detect.ActionBlock, detect.ModeMonitor},
		{"its policy tags now", policy.Stuffing, []policy.Statement{{Name: policy.Stuffing, Action: "tag"}}, detect.ActionTag, detect.ModeEnforce},
		{"its policy does nothing now", policy.Stuffing, []policy.Statement{{Name: policy.Stuffing, Action: "none"}}, detect.ActionLift, detect.ModeEnforce},
		{"its policy is no more", "my-own", nil, detect.ActionLift, detect.ModeEnforce},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := by(t, c.state...)
			v := old
			v.Policy = c.policy
			b.Restore(&v)
			if c.want == "" {
				assert.Empty(t, b.decided)
				return
			}
			require.Len(t, b.decided, 1)
			assert.Equal(t, []any{old.ID, c.want, c.mode}, []any{b.decided[0].ID, b.decided[0].Action, b.decided[0].Mode})
		})
	}
}
