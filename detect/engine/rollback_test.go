package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/detect/policy"
)

// neighbours feeds right logins of so many accounts from the neighbourhood 66.6.6.0/24,
// each from an address of its own.
func (b *bench) neighbours(n int, from time.Duration) {
	for i := range n {
		b.Observe(try{at: from + time.Duration(i)*time.Minute, client: fmt.Sprintf("66.6.6.%d", i+1), account: fmt.Sprint("neighbour", i), password: "own", right: true}.transaction(b.n))
		b.n++
	}
}

// convicted has the address 66.6.6.200 convicted, and returns its verdict.
func (b *bench) convicted(at time.Duration) *detect.Verdict {
	b.t.Helper()
	for i := range 40 {
		b.Observe(try{at: at + time.Duration(i)*second, client: "66.6.6.200", account: fmt.Sprint("victim", i), password: "stolen"}.transaction(b.n))
		b.n++
	}
	i := slices.IndexFunc(b.decided, func(v *detect.Verdict) bool { return v.Subject.Client.String() == "66.6.6.200/32" })
	require.GreaterOrEqual(b.t, i, 0, "convicted")
	return b.decided[i]
}

// refuse feeds a login that the load balancer refused for a verdict.
func (b *bench) refuse(v *detect.Verdict, at time.Duration, account string) {
	b.Observe(try{at: at, client: "66.6.6.200", account: account, password: "own", refused: v.ID}.transaction(b.n))
	b.n++
}

func rolledBack(b *bench) (found []*detect.Finding) {
	for _, f := range b.found {
		if f.Rule == RollBackRule {
			found = append(found, f)
		}
	}
	return found
}

const day = 24 * time.Hour

func TestAVerdictThatRefusesCustomersIsTakenBack(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Mode = detect.ModeEnforce })
	b.neighbours(6, 0)
	b.run(customers(7, 200, minute, 2*day, 0.05))
	v := b.convicted(2*day + minute)
	for i := range 20 {
		b.refuse(v, 2*day+3*minute+time.Duration(i)*second, fmt.Sprint("another", i))
	}
	for i := range 4 {
		require.Empty(t, rolledBack(b), "a few may be chance")
		b.refuse(v, 2*day+4*minute+time.Duration(i)*second, fmt.Sprint("neighbour", i))
		b.refuse(v, 2*day+4*minute+time.Duration(i)*second, fmt.Sprint("neighbour", i)) // who tries again is one
	}
	b.refuse(v, 2*day+5*minute, "neighbour4")
	b.refuse(v, 2*day+5*minute, "neighbour5")
	found := rolledBack(b)
	require.Len(t, found, 1)
	assert.Equal(t, v.Subject, found[0].Subject)
	assert.Regexp(t, `^Verdict `+v.ID+` about .*66\.6\.6\.200.* keeps customers out: of some 2\d accounts whose logins it refused some [56] had logged in from there on an earlier day\. It is taken back\.$`, found[0].Message)
	last := b.decided[len(b.decided)-1]
	assert.Equal(t, v.ID, last.ID)
	assert.Equal(t, detect.ActionLift, last.Action)

	b.decided = nil
	for i := range 200 {
		b.Observe(try{at: 2*day + 6*minute + time.Duration(i)*second, client: "66.6.6.200", account: fmt.Sprint("more", i), password: "stolen"}.transaction(b.n))
		b.n++
	}
	assert.Empty(t, b.decided, "it is not acted against again at once")
	assert.Len(t, rolledBack(b), 1)
}

// burst feeds an attack of one program with a new address for each attempt, beside
// customers whose logins are right.
func (b *bench) burst(from time.Duration, n int) *detect.Verdict {
	b.t.Helper()
	for i := range n {
		tx := try{at: from + time.Duration(i)*second/2, client: fmt.Sprintf("45.%d.%d.9", i>>8, i&255), account: fmt.Sprint("listed", i), password: "stolen"}.transaction(b.n)
		tx.Fingerprint = foreign
		b.Observe(tx)
		b.n++
	}
	i := slices.IndexFunc(b.decided, func(v *detect.Verdict) bool { return v.Subject.Fingerprint == foreign })
	require.GreaterOrEqual(b.t, i, 0, "a predicate")
	return b.decided[i]
}

func TestAPredicateAfterWhichCustomersGoMissingIsTakenBack(t *testing.T) {
	logins := func(b *bench, from, length time.Duration, perMinute int) {
		for i := range int(length.Minutes()) * perMinute {
			tx := try{at: from + time.Duration(i)*time.Minute/time.Duration(perMinute), client: fmt.Sprintf("81.%d.%d.1", i>>8&255, i&255), account: fmt.Sprint("customer", i), password: "own", right: true}.transaction(b.n)
			tx.Fingerprint = app
			b.Observe(tx)
			b.n++
		}
	}
	for _, tt := range []struct {
		name   string
		mode   detect.Mode
		after  int // right logins a minute, once the predicate is in force
		missed bool
	}{
		{"none come any more", detect.ModeEnforce, 0, true},
		{"as many as ever", detect.ModeEnforce, 20, false},
		{"the verdict is only watched, and something else is wrong", detect.ModeMonitor, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.Mode = tt.mode })
			logins(b, 0, 4*time.Hour, 20)
			v := b.burst(4*time.Hour, 240)
			logins(b, 4*time.Hour+2*minute, 8*time.Minute, tt.after)
			b.burst(4*time.Hour+10*minute+second, 2)
			found := rolledBack(b)
			if !tt.missed {
				assert.Empty(t, found)
				return
			}
			require.NotEmpty(t, found)
			assert.Equal(t, v.Subject, found[0].Subject)
			assert.Regexp(t, `since it is in force only \d+ logins were right within 5 minutes at POST api\.bank\.example/v1/login, where about \d+ usually are, and few fail`, found[0].Message)
			assert.Equal(t, detect.ActionLift, b.decided[slices.IndexFunc(b.decided, func(d *detect.Verdict) bool { return d.ID == v.ID && d.Action == detect.ActionLift })].Action)
		})
	}
}

func TestAnAttackersFewAccountsTakeNoVerdictBack(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Mode = detect.ModeEnforce })
	b.neighbours(8, 0)
	b.run(customers(7, 200, minute, 2*day, 0.05))
	v := b.convicted(2*day + minute)
	for i := range 400 {
		b.refuse(v, 2*day+3*minute+time.Duration(i)*second, fmt.Sprint("another", i))
	}
	for i := range 8 {
		b.refuse(v, 2*day+12*minute+time.Duration(i)*second, fmt.Sprint("neighbour", i))
	}
	assert.Empty(t, rolledBack(b))
}

func TestWhoLoggedInTodayAloneIsNoCustomerYet(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Mode = detect.ModeEnforce })
	b.run(customers(7, 200, minute, 2*day, 0.05))
	b.neighbours(8, 2*day-20*minute) // hits, as far as anybody can tell
	v := b.convicted(2*day + minute)
	for i := range 8 {
		b.refuse(v, 2*day+4*minute+time.Duration(i)*second, fmt.Sprint("neighbour", i))
	}
	assert.Empty(t, rolledBack(b))
}

func TestAVerdictByAnOperatorsOwnPolicyStands(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Mode = detect.ModeEnforce
		c.Policies = stated(t, policy.Statement{
			Name: "logins", When: `endpoint.role == "login" && entity.requests > 30`, Per: []string{"client.ip"}, Window: minute,
			Action: "rate_limit", Rate: policy.Rate{Requests: 10, Per: minute}, Mode: "enforce",
		})
	})
	b.neighbours(6, 0)
	b.run(customers(7, 200, minute, 2*day, 0.05))
	for i := range 40 {
		b.Observe(try{at: 2*day + minute + time.Duration(i)*second, client: "66.6.6.200", account: fmt.Sprint("victim", i), password: "stolen"}.transaction(b.n))
		b.n++
	}
	i := slices.IndexFunc(b.decided, func(v *detect.Verdict) bool { return v.Policy == "logins" })
	require.GreaterOrEqual(t, i, 0)
	v := b.decided[i]
	for i := range 6 {
		b.refuse(v, 2*day+4*minute+time.Duration(i)*second, fmt.Sprint("neighbour", i))
	}
	found := rolledBack(b)
	require.Len(t, found, 1)
	assert.Contains(t, found[0].Message, "It is by an operator's own policy, and stands.")
	assert.False(t, slices.ContainsFunc(b.decided, func(d *detect.Verdict) bool { return d.ID == v.ID && d.Action == detect.ActionLift }))
}

func TestAnOperatorsVerdictIsSaidToHitCustomersAndStands(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Mode = detect.ModeEnforce })
	b.neighbours(6, 0)
	b.run(customers(7, 200, minute, 2*day, 0.05))
	v := &detect.Verdict{
		Time: b.clock, ID: "00000001000000aa", Action: detect.ActionBlock, Mode: detect.ModeEnforce, Expires: b.clock + int64(time.Hour),
		Subject: detect.Subject{Client: netip.MustParsePrefix("66.6.6.200/32")},
	}
	b.Watch(v)
	for i := range 6 {
		b.refuse(v, 2*day+4*minute+time.Duration(i)*second, fmt.Sprint("neighbour", i))
	}
	found := rolledBack(b)
	require.Len(t, found, 1)
	assert.Contains(t, found[0].Message, "It is an operator's, and stands.")
	assert.Empty(t, b.decided)
}
