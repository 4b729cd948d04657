package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/reassembly"
)

// rotation is an attack that uses each of its addresses once, with one program.
func (b *bench) rotation(from, length time.Duration, perMinute int, program string) []*reassembly.Transaction {
	rng := rand.New(rand.NewPCG(11, 11))
	var list []*reassembly.Transaction
	n := int(length.Minutes() * float64(perMinute))
	for i := range n {
		y := try{
			at:     from + time.Duration(i)*length/time.Duration(n),
			client: fmt.Sprintf("%d.%d.%d.%d", 20+rng.IntN(40), rng.IntN(256), rng.IntN(256), rng.IntN(256)), account: fmt.Sprint("victim", i),
			password: fmt.Sprint("leaked", i), right: i%100 == 99,
		}
		tx := y.transaction(1<<20 + i)
		tx.Fingerprint = program
		list = append(list, tx)
	}
	return list
}

// day feeds customers' logins, each after a request of another kind, and then
// an attack among them.
func (b *bench) day(attack []*reassembly.Transaction) { b.dayBehind(attack, b.Observe) }

// dayBehind gives the attack to somebody else, who may refuse it.
func (b *bench) dayBehind(attack []*reassembly.Transaction, observe func(*reassembly.Transaction)) {
	i := 0
	for _, y := range merge(customers(5, 12000, 0, 2*hour, 0.08)) {
		for ; i < len(attack) && attack[i].End < at(y.at); i++ {
			observe(attack[i])
		}
		b.n++
		tx := y.transaction(b.n)
		tx.Fingerprint = "00000000000000a1"
		visit := *tx
		visit.Auth, visit.Request.Method, visit.Request.Path, visit.Response.Status = reassembly.Auth{}, "GET", "/v1/config", 200
		visit.Response.Signature.Code = ""
		visit.ID = tx.ID + "v"
		b.Observe(&visit)
		b.Observe(tx)
	}
	for ; i < len(attack); i++ {
		observe(attack[i])
	}
}

func TestARotationIsACampaignWithAPredicate(t *testing.T) {
	b := newBench(t)
	const tool = "00000000000000f1"
	b.day(b.rotation(hour, 20*minute, 120, tool))
	b.Advance(at(3 * hour))

	require.NotEmpty(t, b.decided)
	v := b.decided[0]
	assert.Equal(t, detect.Subject{Fingerprint: tool, Endpoint: "POST api.bank.example/v1/login"}, v.Subject)
	assert.Equal(t, detect.ActionBlock, v.Action)
	assert.Less(t, v.Time, at(hour+minute), "the first verdict")
	assert.LessOrEqual(t, v.Expected.LegitimateRequestsPerMillion, 100.0)
	assert.Greater(t, v.Expected.AttackRequestsPerMinute, 0.0)
	for _, w := range b.decided[1:] {
		assert.True(t, w.ID == v.ID || w.Action == detect.ActionHold, "%s: one predicate, renewed, and accounts: %v", w.Message, w.Subject)
	}

	first, last := b.found[0], b.found[len(b.found)-1]
	assert.Equal(t, v.Findings, []string{first.ID})
	assert.Equal(t, "open", first.Campaign.State)
	assert.Equal(t, first.ID, last.ID)
	assert.Equal(t, "closed", last.Campaign.State)
	assert.InDelta(t, 2400, last.Campaign.Attempts, 50)
	assert.InEpsilon(t, 2400, last.Campaign.Accounts, 0.1)
	assert.InEpsilon(t, 24, last.Campaign.AccountsHit, 0.1)
	quiet := last.Time - at(hour+20*minute-second) - 30*minute.Nanoseconds()
	assert.True(t, quiet >= 0 && quiet < 5e9, "half an hour after its last wrong attempt, by the next transaction: %d ns", quiet)
	assert.Contains(t, last.Message, "fingerprint "+tool)
	for _, line := range []*detect.Finding{first, last} {
		assert.NotContains(t, line.Message, "about 1 a", "what is not known is not said")
		assert.LessOrEqual(t, line.Campaign.Accounts, line.Campaign.Attempts)
		assert.LessOrEqual(t, line.Campaign.Addresses, line.Campaign.Attempts)
	}
	assert.Regexp(t, `^Stolen passwords are tried out: \d+ logins within \d+ s\. They come from clients with fingerprint `+tool+`: when this was noticed, `, first.Message)
	assert.Regexp(t, `^Stolen passwords are tried out: \d+ logins to about \d+ accounts from about \d+ addresses within 20 minutes\. `, last.Message)
}

func TestAPredicateIsLiftedWhenItsCampaignIsOver(t *testing.T) {
	const tool = "00000000000000f1"
	attack := func(b *bench) []*reassembly.Transaction { return b.rotation(hour, 20*minute, 120, tool) }
	// The last line about the predicate at a time, if it has not ended.
	inForce := func(b *bench, time int64) *detect.Verdict {
		for i := len(b.decided) - 1; i >= 0; i-- {
			if v := b.decided[i]; v.Subject.Fingerprint == tool && v.Time < time-1e9 {
				if v.Action == detect.ActionLift || v.Expires <= time {
					return nil
				}
				return v
			}
		}
		return nil
	}
	for _, c := range []struct {
		name    string
		enforce func(b *bench, tx *reassembly.Transaction, v *detect.Verdict)
		lifted  bool
	}{
		{"nothing is enforced", func(b *bench, tx *reassembly.Transaction, _ *detect.Verdict) { b.Observe(tx) }, true},
		{"refusals are seen", func(b *bench, tx *reassembly.Transaction, v *detect.Verdict) {
			tx.RefusedBy, tx.Response.Status, tx.Auth.SessionIssued = v.ID, 403, nil
			b.Observe(tx)
		}, true},
		{"refusals are counted by the load balancer", func(b *bench, _ *reassembly.Transaction, v *detect.Verdict) {
			b.Hits([]detect.Hits{{Verdict: v.ID, Target: "lb1", Refused: 1}})
		}, true},
		{"refusals leave no trace", func(*bench, *reassembly.Transaction, *detect.Verdict) {}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(cfg *Config) { cfg.TTL = 2 * time.Hour })
			b.dayBehind(attack(b), func(tx *reassembly.Transaction) {
				if v := inForce(b, tx.End); v != nil {
					c.enforce(b, tx, v)
					return
				}
				b.Observe(tx)
			})
			var lines []*detect.Verdict
			for _, v := range b.decided {
				if v.Subject.Fingerprint == tool {
					lines = append(lines, v)
				}
			}
			require.NotEmpty(t, lines)
			last := lines[len(lines)-1]
			if !c.lifted {
				assert.Equal(t, detect.ActionBlock, last.Action, "it runs to its end")
				return
			}
			assert.Equal(t, detect.ActionLift, last.Action)
			assert.Equal(t, lines[0].ID, last.ID)
			assert.InDelta(t, at(hour+50*minute), last.Time, 10e9, "half an hour after the last attempt")
			for _, v := range lines[:len(lines)-1] {
				assert.Equal(t, detect.ActionBlock, v.Action, "not while it goes on")
			}
			assert.Equal(t, "closed", b.found[len(b.found)-1].Campaign.State)
		})
	}
}

func TestHowACampaignStandsIsWrittenWhileItGoesOn(t *testing.T) {
	b := newBench(t)
	spray := b.rotation(hour, 50*minute, 60, "00000000000000f1")
	for i, tx := range spray { // one password, with as many programs
		tx.Auth.PasswordHash, tx.Fingerprint = hash16("Summer2026"), hash16(fmt.Sprint("program", i))
	}
	b.day(spray)
	var last *detect.Finding
	for _, f := range b.found {
		if f.Rule != CampaignRule {
			continue
		}
		if last != nil {
			assert.LessOrEqual(t, f.Time-last.Time, (10*minute + 10*second).Nanoseconds())
			assert.Greater(t, f.Campaign.Attempts, last.Campaign.Attempts)
		}
		if f.Time > at(hour+50*minute) {
			break
		}
		last = f
	}
	require.NotNil(t, last)
	assert.InDelta(t, at(hour+45*minute), last.Time, 10*60e9)
	assert.Greater(t, last.Campaign.Attempts, 2000)
}

func TestACampaignIsClosedByATransactionAndByNoClockThatRunsOn(t *testing.T) {
	b := newBench(t)
	b.day(b.rotation(hour+45*minute, 5*minute, 120, "00000000000000f1"))
	state := func() string { return b.found[len(b.found)-1].Campaign.State }
	require.Equal(t, "open", state())
	b.Advance(at(3 * hour))
	assert.Equal(t, "open", state(), "a capture that ends here lacks the line")
	next := at(3*hour + minute)
	b.Observe(&reassembly.Transaction{ID: "next", Start: next, End: next})
	assert.Equal(t, "closed", state())
	assert.Equal(t, next, b.found[len(b.found)-1].Time)
}

func TestAccountsOfWhichACampaignHadThePasswordAreHeld(t *testing.T) {
	b := newBench(t)
	attack := b.rotation(hour, 20*minute, 120, "00000000000000f1")
	b.day(attack)
	held := map[string]bool{}
	for _, v := range b.decided {
		if v.Action == detect.ActionHold {
			held[v.Subject.UserHash] = true
		}
	}
	for _, tx := range attack {
		if tx.Response.Status == 200 {
			assert.True(t, held[tx.Auth.UserHash], "account of %s", tx.ID)
			delete(held, tx.Auth.UserHash)
		}
	}
	assert.Empty(t, held, "customers")
}

func TestWhereNoLoadBalancerCarriesThePredicateAddressesAreActedAgainstToo(t *testing.T) {
	onlyAddresses := func(c *Config) {
		c.Carried = func(v *detect.Verdict) bool { return v.Subject == detect.Subject{Client: v.Subject.Client} }
	}
	for _, c := range []struct {
		name   string
		change []func(*Config)
		want   bool
	}{{"carried", nil, false}, {"not carried", []func(*Config){onlyAddresses}, true}} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.change...)
			attack := b.rotation(hour, 20*minute, 120, "00000000000000f1")
			for i, tx := range attack { // from few addresses this time
				tx.Client = attack[i%20].Client
			}
			b.day(attack)
			addresses := false
			for _, v := range b.decided {
				addresses = addresses || addressAlone(v.Subject)
			}
			assert.Equal(t, c.want, addresses)
		})
	}
}

func TestTheSameCampaignGivesTheSameLines(t *testing.T) {
	run := func() *bench {
		b := newBench(t)
		b.day(b.rotation(hour, 20*minute, 120, "00000000000000f1"))
		b.Advance(at(3 * hour))
		return b
	}
	a, b := run(), run()
	assert.Equal(t, a.decided, b.decided)
	assert.Equal(t, a.found, b.found)
}

func TestAccountsThatACampaignTouchedAreListed(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Accounts = 5000 })
	attack := b.rotation(hour, 20*minute, 120, "00000000000000f1")
	b.day(attack)
	list, lost := b.Accounts()
	assert.Zero(t, lost)
	assert.InDelta(t, len(attack), len(list), 30, "all but those of before the first verdict")
	hits := map[string]bool{}
	for i, a := range list {
		assert.Equal(t, b.found[0].ID, a.Campaign)
		assert.True(t, i == 0 || list[i-1].UserHash < a.UserHash, "by name")
		assert.LessOrEqual(t, a.First, a.Last)
		if a.Hit {
			hits[a.UserHash] = true
		}
	}
	for _, tx := range attack {
		assert.Equal(t, tx.Response.Status == 200, hits[tx.Auth.UserHash], tx.ID)
	}

	b = newBench(t, func(c *Config) { c.Accounts = 100 })
	b.day(attack)
	list, lost = b.Accounts()
	assert.Len(t, list, 100)
	assert.InDelta(t, len(attack)-100, int(lost), 60)

	b = newBench(t)
	b.day(attack)
	list, _ = b.Accounts()
	assert.Empty(t, list, "nobody asked")
}

func TestAColdStartAmidAnAttackDoesNotBlockItsAddressesAtOnce(t *testing.T) {
	for program, want := range map[string]time.Duration{"00000000000000f1": 2 * minute, "": 0} {
		b := newBench(t)
		b.try(try{at: 0, client: "81.0.0.1", account: "customer", password: "own", right: true})
		for i := range 600 { // the addresses are many people's
			y := try{at: time.Duration(i) * second / 2, client: fmt.Sprintf("%d.0.0.%d", 20+i%20, i%20), account: fmt.Sprint("victim", i), password: fmt.Sprint("leaked", i)}
			tx := y.transaction(1<<20 + i)
			tx.Fingerprint = program
			b.Observe(tx)
		}
		require.NotEmpty(t, b.decided, "program %q", program)
		assert.GreaterOrEqual(t, b.decided[0].Time, at(want))
		assert.Less(t, b.decided[0].Time, at(want+2*minute))
	}
}
