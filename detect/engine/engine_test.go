package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/detect/login"
	"offpath/reassembly"
)

const second, minute, hour = time.Second, time.Minute, time.Hour

func onlyAttackers(t *testing.T, b *bench) {
	t.Helper()
	for _, s := range b.blocked() {
		assert.True(t, strings.HasPrefix(s, "45."), "a customer was blocked: %s", s)
	}
}

func TestAStuffingBurstIsBlockedWithinSecondsAndNoCustomerWithIt(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			b := newBench(t)
			a := attack{seed: seed, addresses: 40, from: 20 * second, ramp: 30 * second, length: minute, period: 1200 * time.Millisecond, right: 0.03}
			b.run(customers(seed, 3000, 0, 90*second, 0.08), office(seed, "82.0.0.1", 300, 0, 90*second, 0.08), a.tries())
			require.NotEmpty(t, b.decided)
			assert.Less(t, b.decided[0].Time, at(30*second), "the first verdict")
			onlyAttackers(t, b)
			assert.GreaterOrEqual(t, b.under(a), 38, "attackers' addresses, by themselves or by their network")
		})
	}
}

func TestNinetyPerCentAttackFromTheFirstSecond(t *testing.T) {
	b := newBench(t)
	a := attack{seed: 1, addresses: 300, ramp: 30 * second, length: 2 * minute, period: 2 * second, right: 0.02}
	b.run(customers(1, 1500, 0, 2*minute, 0.08), a.tries())
	onlyAttackers(t, b)
	assert.GreaterOrEqual(t, b.under(a), 297)
}

func TestNobodyIsBlockedInOrdinaryLife(t *testing.T) {
	var list []try
	storm := func(client, password string, every, length time.Duration) {
		for when := time.Duration(0); when < length; when += every {
			list = append(list, try{at: when, client: client, account: "one", password: password})
		}
	}
	for _, c := range []struct {
		name  string
		tries func() [][]try
	}{
		{"a day of a company with 5000 users behind one address", func() [][]try {
			return [][]try{office(1, "82.0.0.1", 5000, 0, 10*hour, 0.08), office(2, "82.0.0.1", 5000, 3*hour, 10*hour, 0.08)}
		}},
		{"a company whose people fail every third time", func() [][]try {
			return [][]try{office(1, "82.0.0.1", 5000, 0, 10*hour, 0.33)}
		}},
		{"a company that comes to work at once", func() [][]try { return [][]try{office(3, "82.0.0.1", 1000, 0, 20*second, 0.08)} }},
		{"somebody who has forgotten the password", func() [][]try {
			list = nil
			for k := range 20 {
				list = append(list, try{at: time.Duration(k) * 20 * second, client: "83.0.0.1", account: "one", password: fmt.Sprint(k)})
			}
			return [][]try{list, customers(1, 500, 0, 10*minute, 0.08)}
		}},
		{"a family of three that has forgotten every password", func() [][]try {
			list = nil
			for k := range 24 {
				list = append(list, try{at: time.Duration(k) * 20 * second, client: "83.0.0.1", account: fmt.Sprint(k % 3), password: fmt.Sprint(k)})
			}
			return [][]try{list, customers(1, 500, 0, 10*minute, 0.08)}
		}},
		{"an app that repeats a stale password for hours", func() [][]try {
			list = nil
			storm("83.0.0.1", "stale", 5*second, 6*hour)
			return [][]try{list}
		}},
		{"a password manager that repeats at once", func() [][]try {
			list = nil
			storm("83.0.0.1", "old", 100*time.Millisecond, 5*second)
			return [][]try{list, customers(1, 500, 0, minute, 0.08)}
		}},
		{"a site where half of all logins fail", func() [][]try {
			return [][]try{customers(4, 4000, 0, hour, 0.5), office(4, "82.0.0.1", 400, 0, hour, 0.5)}
		}},
		{"an outage that answers 503 to everybody", func() [][]try {
			down := office(5, "82.0.0.1", 500, 2*minute, 10*minute, 1)
			for i := range down {
				down[i].status, down[i].right = 503, false
			}
			return [][]try{office(5, "82.0.0.1", 100, 0, minute, 0.08), down}
		}},
		{"an outage from the first second, answered with 401", func() [][]try {
			down := append(office(6, "82.0.0.1", 500, 0, 10*minute, 0), customers(6, 500, 0, 10*minute, 0)...)
			for i := range down {
				down[i].right = false
			}
			return [][]try{down}
		}},
		{"an outage answered with 401 after an ordinary hour", func() [][]try {
			up := append(office(7, "82.0.0.1", 2000, 0, hour, 0.08), office(8, "82.0.0.2", 2000, 0, hour, 0.08)...)
			down := append(office(9, "82.0.0.1", 2000, hour, 10*minute, 0), office(10, "82.0.0.2", 2000, hour, 10*minute, 0)...)
			for i := range down {
				down[i].right = false
			}
			return [][]try{up, customers(7, 3000, 0, hour, 0.08), down}
		}},
		{"429 and 403 of the bank's own making are not held against anybody twice", func() [][]try {
			list = nil
			for k := range 200 {
				list = append(list, try{at: time.Duration(k) * second, client: "83.0.0.1", account: fmt.Sprint(k), password: "p", status: 429})
			}
			return [][]try{list}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t).run(c.tries()...)
			assert.Empty(t, b.blocked())
			assert.Empty(t, slices.DeleteFunc(b.found, func(f *detect.Finding) bool { return f.Rule == OutageRule }))
		})
	}
}

func TestAnOutageIsReportedAsOne(t *testing.T) {
	for name, status := range map[string]int{"answered with 401": 0, "answered with 503": 503} {
		t.Run(name, func(t *testing.T) {
			down := customers(9, 600, hour, 10*minute, 0)
			for i := range down {
				down[i].right, down[i].status = false, status
			}
			b := newBench(t).run(customers(7, 3000, 0, hour, 0.08), down)
			require.Len(t, b.found, 1)
			assert.Equal(t, OutageRule, b.found[0].Rule)
			assert.Equal(t, "POST api.bank.example/v1/login", b.found[0].Subject.Endpoint)
			e := b.found[0].Evidence
			assert.Less(t, e.Statistic, e.Threshold, "right logins in a window")
			assert.InEpsilon(t, e.Baseline/2, e.Threshold, 0.01, "half of what is usual")
			assert.Empty(t, b.decided)
		})
	}
}

func TestSixAccountsInARowConvictWhereEightPerCentFail(t *testing.T) {
	b := newBench(t)
	b.try(try{at: 0, client: "81.0.0.1", account: "c", password: "p", right: true})
	for k := range 6 {
		assert.Empty(t, b.decided, "after %d failures", k)
		b.try(try{at: time.Duration(k+1) * second, client: "45.0.0.1", account: fmt.Sprint(k), password: "p"})
	}
	require.Len(t, b.decided, 1)
	require.Len(t, b.found, 1)

	v, f := b.decided[0], b.found[0]
	assert.Equal(t, at(6*second), v.Time, "the end of the last transaction that decided it")
	assert.Equal(t, detect.ActionBlock, v.Action)
	assert.Equal(t, netip.MustParsePrefix("45.0.0.1/32"), v.Subject.Client)
	assert.Equal(t, v.Time+10*minute.Nanoseconds(), v.Expires)
	assert.Equal(t, detect.ModeMonitor, v.Mode)
	assert.Equal(t, []string{f.ID}, v.Findings)
	assert.Regexp(t, "^[0-9a-f]{16}$", v.ID)
	assert.NotEqual(t, v.ID, f.ID)
	assert.InDelta(t, 72, v.Expected.AttackRequestsPerMinute, 1, "six in five seconds")
	assert.Zero(t, v.Expected.LegitimateRequestsPerMillion)
	assert.Equal(t, "Block 45.0.0.1 for 10 minutes: stolen passwords are tried out from there (OAT-008 Credential Stuffing).", v.Message)

	assert.Equal(t, v.Time, f.Time)
	assert.Equal(t, at(second), f.WindowStart)
	assert.Equal(t, "OAT-008 Credential Stuffing", f.Technique)
	assert.InDelta(t, 13.8, f.Evidence.Threshold, 0.01)
	assert.InDelta(t, 0.08, f.Evidence.Baseline, 0.005)
	assert.GreaterOrEqual(t, f.Evidence.Statistic, f.Evidence.Threshold)
	assert.Len(t, f.Evidence.Events, 6)
	var sum float64
	for _, term := range f.Evidence.Terms {
		sum += term.Value
	}
	assert.InDelta(t, f.Evidence.Statistic, sum, 0.001, "the terms add up")
	assert.Equal(t, "45.0.0.1 tried 6 logins to 6 different accounts within 5 s, of which 6 failed; "+
		"of honest logins at POST api.bank.example/v1/login about 8 % fail.", f.Message)
}

func TestCrackingOneAccountIsConvictedLater(t *testing.T) {
	b := newBench(t)
	b.try(try{at: 0, client: "81.0.0.1", account: "c", password: "p", right: true})
	for k := range 60 {
		b.try(try{at: time.Duration(k+1) * second, client: "45.0.0.1", account: "admin", password: fmt.Sprint(k)})
		if k < 29 {
			assert.Empty(t, b.decided, "after %d passwords", k+1)
		}
	}
	require.NotEmpty(t, b.found)
	assert.Equal(t, "OAT-007 Credential Cracking", b.found[0].Technique)
	assert.Equal(t, []string{"45.0.0.1/32"}, b.blocked())
}

func TestAnAttackersOwnAccountDoesNotBuyFreedom(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 500, 0, minute, 0.08))
	for k := range 60 {
		when := time.Duration(60+k) * second
		b.try(try{at: when, client: "45.0.0.1", account: "own", password: "right", right: true})
		b.try(try{at: when, client: "45.0.0.1", account: fmt.Sprint(k), password: "leaked"})
	}
	assert.Equal(t, []string{"45.0.0.1/32"}, b.blocked())
}

func TestAllowListedClientsAreFoundButNeverActedAgainst(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Allow = []netip.Prefix{netip.MustParsePrefix("45.0.0.0/16")} })
	a := attack{seed: 1, addresses: 3, length: 5 * minute, period: second}
	b.run(customers(1, 500, 0, minute, 0.08), a.tries())
	assert.Empty(t, b.decided)
	ids := make(map[string]bool)
	for _, f := range b.found {
		ids[f.ID] = true
	}
	assert.Len(t, ids, 3, "one finding each, updated")
	assert.EqualValues(t, 3, b.Stats().VetoAllowed)
}

func TestAnAllowListThatGrowsEndsVerdicts(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 100, 0, minute, 0.08), attack{seed: 1, addresses: 2, length: minute, period: second}.tries())
	require.Len(t, b.blocked(), 2)
	b.SetAllow([]netip.Prefix{netip.MustParsePrefix("45.0.0.1/32")})
	last := b.decided[len(b.decided)-1]
	assert.Equal(t, detect.ActionLift, last.Action)
	assert.Equal(t, "45.0.0.1/32", last.Subject.Client.String())
	assert.Equal(t, b.ids("45.0.0.1/32"), []string{last.ID})
	assert.Len(t, b.Active(), 1)
}

func TestAProxyWithoutItsHeaderIsNeverActedAgainst(t *testing.T) {
	b := newBench(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	for k := range 50 {
		tx := b.try(try{at: time.Duration(k) * second, client: "10.0.0.1", account: fmt.Sprint(k), password: "p"})
		assert.Equal(t, "failure", tx.Annotation.EventOutcome)
	}
	assert.Empty(t, b.found)
	assert.EqualValues(t, 50, b.Stats().NoClient)
}

func TestSixtyFourIsBlockedWhenSeveralOfItsAddressesFail(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 100, 0, minute, 0.08))
	for k := range 8 {
		b.try(try{at: minute + time.Duration(k)*second, client: fmt.Sprintf("2001:db8:1:2::%d", k+1), account: fmt.Sprint(k), password: "p"})
	}
	assert.Equal(t, []string{"2001:db8:1:2::/64"}, b.blocked())
}

func TestOneAddressOfASixtyFourIsBlockedAlone(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 100, 0, minute, 0.08))
	for k := range 8 {
		b.try(try{at: minute + time.Duration(k)*second, client: "2001:db8:1:2::1", account: fmt.Sprint(k), password: "p"})
	}
	assert.Equal(t, []string{"2001:db8:1:2::1/128"}, b.blocked())
}

func TestTenMinutesOfAttackDoNotFlap(t *testing.T) {
	a := attack{seed: 1, addresses: 40, from: 20 * second, ramp: 30 * second, length: 25 * minute, period: 1200 * time.Millisecond, right: 0.03}
	for _, c := range []struct {
		name  string
		front bool
		hits  time.Duration
	}{
		{"refusals seen in front of the load balancer", true, 0},
		{"hit counters behind it", false, 10 * second},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			made, refused := b.enforced(c.front, 200*time.Millisecond, c.hits, customers(1, 5000, 0, 25*minute, 0.08), a.tries())
			onlyAttackers(t, b)
			assert.Len(t, b.blocked(), 40)
			for _, s := range b.blocked() {
				assert.Len(t, b.ids(s), 1, "one verdict each, renewed: %s", s)
			}
			assert.Zero(t, b.Stats().Expired)
			assert.Less(t, made-refused, 5000*3/2+40*12)
			lines := make(map[string]int)
			for _, v := range b.decided {
				lines[v.ID]++
				assert.LessOrEqual(t, v.Expires-v.Time, detect.MaxLifetime)
			}
			for id, n := range lines {
				assert.LessOrEqual(t, n, 1+25/2, "a renewal for each quarter of the lifetime at most: %s", id)
				assert.Greater(t, n, 5)
			}
		})
	}
}

func TestInMonitorModeFailuresRenew(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 500, 0, minute, 0.08), attack{seed: 2, addresses: 1, from: minute, length: 30 * minute, period: 2 * second}.tries())
	ids := b.ids("45.0.0.0/32")
	assert.Len(t, ids, 1)
	assert.Greater(t, b.Stats().Renewals, uint64(8))
	assert.Len(t, b.found, len(b.decided), "each renewal by failures updates its finding")
}

func TestAVerdictThatNobodyAsksForEnds(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 100, 0, minute, 0.08), attack{seed: 1, addresses: 1, from: minute, length: 20 * second, period: second}.tries())
	require.Len(t, b.Active(), 1)
	lines := len(b.decided)
	b.Advance(at(30 * minute))
	assert.Empty(t, b.Active())
	assert.Len(t, b.decided, lines, "its end needs no line")
	assert.EqualValues(t, 1, b.Stats().Expired)
}

func TestEachFurtherConvictionLastsTwiceAsLongUpToADay(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 100, 0, minute, 0.08))
	var lasted []time.Duration
	when := hour
	for k := 0; len(lasted) < 10; k++ {
		before := len(b.decided)
		b.try(try{at: when, client: "45.0.0.0", account: fmt.Sprint(k), password: "p"})
		when += second
		if len(b.decided) > before {
			v := b.decided[len(b.decided)-1]
			lasted = append(lasted, time.Duration(v.Expires-v.Time))
			when = time.Duration(v.Expires-epoch) + minute
		}
	}
	assert.Equal(t, []time.Duration{
		10 * minute, 20 * minute, 40 * minute, 80 * minute, 160 * minute, 320 * minute, 640 * minute, 1280 * minute, 24 * hour, 24 * hour,
	}, lasted)
}

func TestAfterItsVerdictASubjectIsNotConvictedByOneFailure(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 100, 0, minute, 0.08), attack{seed: 1, addresses: 1, from: minute, length: 20 * second, period: second}.tries())
	b.try(try{at: hour, client: "45.0.0.0", account: "new", password: "p"})
	b.try(try{at: hour + second, client: "45.0.0.0", account: "new", password: "right", right: true})
	assert.Len(t, b.ids("45.0.0.0/32"), 1)
}

func TestRefusalsConvictNobody(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 100, 0, minute, 0.08))
	for k := range 100 {
		tx := b.try(try{at: minute + time.Duration(k)*second, client: "83.0.0.1", account: fmt.Sprint(k), password: "p", refused: "0123456789abcdef"})
		assert.Equal(t, "unknown", tx.Annotation.EventOutcome)
		assert.Empty(t, tx.Annotation.Outcome)
		assert.Equal(t, "login", tx.Annotation.Role)
	}
	assert.Empty(t, b.found)
	assert.EqualValues(t, 100, b.Stats().RefusedStale)
}

func TestWhatALoadBalancerDeceivesWithTeachesNothing(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 100, 0, minute, 0.08))
	before := b.Stats()
	for k := range 300 {
		tx := try{at: minute + time.Duration(k)*second, client: "83.0.0.1", account: fmt.Sprint(k), password: "p", right: true}.transaction(10_000 + k)
		tx.RefusedBy = "0123456789abcdef"
		b.Observe(tx)
		assert.Equal(t, "unknown", tx.Annotation.EventOutcome)
		assert.Empty(t, tx.Annotation.Outcome)
	}
	assert.Empty(t, b.found)
	after := b.Stats()
	assert.Equal(t, before.Logins, after.Logins)
	assert.EqualValues(t, 300, after.Refused)
}

func TestALiftedCustomerIsNotConvictedAgain(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 100, 0, minute, 0.08))
	for k := range 6 {
		b.try(try{at: minute + time.Duration(k)*second, client: "83.0.0.1", account: fmt.Sprint(k), password: "p"})
	}
	require.Len(t, b.decided, 1)
	id := b.decided[0].ID
	for k := range 20 {
		b.try(try{at: 2*minute + time.Duration(k)*second, client: "83.0.0.1", account: "mine", password: "right", refused: id})
	}
	b.Lifted(id)
	b.Lifted(id)
	b.Lifted("unknown")
	lines := len(b.decided)
	for k := range 20 { // refusals still on their way, then ordinary life
		b.try(try{at: 3*minute + time.Duration(k)*time.Millisecond, client: "83.0.0.1", account: "mine", password: "right", refused: id})
	}
	b.try(try{at: 4 * minute, client: "83.0.0.1", account: "mine", password: "typo"})
	b.try(try{at: 5 * minute, client: "83.0.0.1", account: "mine", password: "right", right: true})
	for k := range 6 {
		b.try(try{at: 6*minute + time.Duration(k)*second, client: "83.0.0.1", account: fmt.Sprint(k), password: "p"})
	}
	assert.Len(t, b.decided, lines)
	assert.EqualValues(t, 1, b.Stats().Lifted)
	assert.Empty(t, b.Enforcements())
}

func TestLiftingOneAddressDoesNotLeaveItsNetworkSuspect(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 100, 0, minute, 0.08))
	for k := range 6 {
		b.try(try{at: minute + time.Duration(k)*second, client: "2001:db8::1", account: fmt.Sprint(k), password: "p"})
	}
	require.Len(t, b.decided, 1)
	b.Lifted(b.decided[0].ID)
	b.try(try{at: 2 * minute, client: "2001:db8::2", account: "x", password: "p"})
	b.try(try{at: 2*minute + second, client: "2001:db8::3", account: "y", password: "p"})
	assert.Len(t, b.decided, 1)
}

func TestTheWitnessSeesRefusals(t *testing.T) {
	b := newBench(t)
	a := attack{seed: 1, addresses: 1, from: minute, length: minute, period: second}
	b.enforced(true, 3*second, 0, customers(1, 100, 0, minute, 0.08), a.tries())
	list := b.Enforcements()
	require.Len(t, list, 1)
	assert.Equal(t, b.decided[0].ID, list[0].Verdict)
	assert.Equal(t, detect.WireRefused, list[0].State)
	assert.NotZero(t, list[0].Refused)
	assert.NotZero(t, list[0].Answered, "until the verdict arrived")
	assert.GreaterOrEqual(t, list[0].FirstRefused, b.decided[0].Time+3e9)
}

func TestHitsRenewAVerdictWhoseRefusalsAreNotSeen(t *testing.T) {
	for _, c := range []struct {
		name string
		hits uint64
		want uint64 // renewals
	}{
		{"hits renew", 100, 1},
		{"none do not", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.run(customers(1, 100, 0, minute, 0.08))
			for k := range 6 {
				b.try(try{at: minute + time.Duration(k)*second, client: "45.0.0.1", account: fmt.Sprint(k), password: "p"})
			}
			require.Len(t, b.decided, 1)
			b.Advance(at(6 * minute))
			b.Hits([]detect.Hits{{Verdict: b.decided[0].ID, Refused: c.hits}, {Verdict: "unknown", Refused: 1}})
			assert.Zero(t, b.Stats().Renewals, "the mirror may still show them")
			b.Advance(at(6*minute + second))
			assert.Equal(t, c.want, b.Stats().Renewals)
			if c.want > 0 {
				v := b.decided[1]
				assert.Equal(t, b.decided[0].ID, v.ID)
				assert.Equal(t, at(6*minute+second), v.Time)
				assert.Equal(t, at(16*minute+second), v.Expires)
				assert.InDelta(t, 20, v.Expected.AttackRequestsPerMinute, 1, "100 in five minutes")
			}
		})
	}
}

func TestASessionCountsAsUsedOnlyByTheClientThatGotIt(t *testing.T) {
	use := func(change func(*reassembly.Transaction)) bool {
		b := newBench(t)
		tx := try{at: second, client: "81.0.0.1", account: "a", right: true}.transaction(1)
		b.Observe(tx)
		next := &reassembly.Transaction{End: tx.End + 1e8, Client: tx.Client, Source: tx.Source}
		next.Request.Method, next.Request.Path = "GET", "/v1/accounts"
		next.Response.Status = 200
		next.Auth = reassembly.Auth{Carrier: "bearer", SessionPresented: tx.Auth.SessionIssued}
		change(next)
		b.Observe(next)
		list := b.Logins()
		require.Len(t, list, 1)
		return b.places.byName[list[0].Endpoint].learned&login.IssuedUsed != 0
	}
	assert.True(t, use(func(*reassembly.Transaction) {}))
	assert.False(t, use(func(tx *reassembly.Transaction) { tx.Client = netip.MustParseAddr("81.0.0.2") }), "another client")
	assert.False(t, use(func(tx *reassembly.Transaction) { tx.Response.Status = 401 }), "it was not accepted")
	assert.False(t, use(func(tx *reassembly.Transaction) { tx.Request.Path = "/login" }), "the login page is open to all")
	assert.False(t, use(func(tx *reassembly.Transaction) { tx.Auth.SessionPresented = []string{hash16("another")} }), "another session")
}

func TestAnOperatorsVerdictIsFollowedButNotRenewed(t *testing.T) {
	b := newBench(t)
	b.Advance(at(0))
	v := &detect.Verdict{ID: "00000001000000aa", Time: at(0), Expires: at(10 * minute), Action: detect.ActionBlock, Mode: detect.ModeMonitor}
	v.Subject.Client = netip.MustParsePrefix("83.0.0.0/24")
	b.Watch(v)
	for k := range 9 {
		b.try(try{at: time.Duration(k+1) * minute, client: "83.0.0.1", account: "a", password: "p", refused: v.ID})
	}
	list := b.Enforcements()
	require.Len(t, list, 1)
	assert.EqualValues(t, 9, list[0].Refused)
	assert.Empty(t, b.decided)
	assert.Zero(t, b.Stats().RefusedStale)
	b.Advance(at(11 * minute))
	assert.Empty(t, b.Enforcements())
}

func TestBothLegsCountOnce(t *testing.T) {
	proxy := netip.MustParseAddr("10.0.0.1")
	b := newBench(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.PrefixFrom(proxy, 32)} })
	single := newBench(t)
	tries := merge(customers(1, 500, 0, minute, 0.08), attack{seed: 1, addresses: 3, from: minute, length: minute, period: second, right: 0.03}.tries())
	for i, y := range tries {
		tx := y.transaction(i)
		single.Observe(tx)
		back := y.transaction(i)
		back.Source = netip.AddrPortFrom(proxy, back.Source.Port())
		back.CommunityID += "b"
		back.Start, back.End = back.Start+1e6, back.End-1e6
		b.Observe(back)
		front := y.transaction(i)
		front.ID += "f"
		b.Observe(front)
		require.Equal(t, back.Annotation, front.Annotation)
	}
	assert.EqualValues(t, len(tries), b.Stats().SecondLegs)
	assert.Equal(t, single.Stats().Logins, b.Stats().Logins)
	assert.Equal(t, single.blocked(), b.blocked())
}

func TestTransactionsFarBehindTheClockAreCounted(t *testing.T) {
	b := newBench(t)
	b.try(try{at: hour, client: "81.0.0.1", account: "a", right: true})
	b.try(try{at: hour - minute, client: "81.0.0.2", account: "b", right: true})
	assert.Zero(t, b.Stats().Late, "inputs that are merged differ by as much")
	b.try(try{at: hour - minute - second, client: "81.0.0.3", account: "c", right: true})
	assert.EqualValues(t, 1, b.Stats().Late)
	assert.EqualValues(t, 3, b.Stats().Transactions, "and observed all the same")
}

func TestAnnotationsFollowTheFirstRequest(t *testing.T) {
	b := newBench(t)
	tx := b.try(try{at: second, client: "81.0.0.1", account: "a", password: "p"})
	assert.Equal(t, reassembly.Annotation{EventOutcome: "failure", Outcome: "rejected", Endpoint: "POST api.bank.example/v1/login", Role: "login"}, tx.Annotation)
	tx = b.try(try{at: 2 * second, client: "81.0.0.1", account: "a", password: "q", right: true})
	assert.Equal(t, reassembly.Annotation{EventOutcome: "success", Outcome: "accepted", Endpoint: "POST api.bank.example/v1/login", Role: "login"}, tx.Annotation)
	tx = b.try(try{at: 3 * second, client: "81.0.0.1", account: "a", password: "q", status: 503})
	assert.Equal(t, "outage", tx.Annotation.Outcome)
	assert.Equal(t, "unknown", tx.Annotation.EventOutcome)
	tx = b.try(try{at: 4 * second, client: "81.0.0.1", account: "a", password: "q", web: true})
	assert.Equal(t, "rejected", tx.Annotation.Outcome)
	tx = b.try(try{at: 5 * second, client: "81.0.0.1", account: "a", password: "q", web: true, right: true})
	assert.Equal(t, "accepted", tx.Annotation.Outcome)

	list := b.Logins()
	require.Len(t, list, 2)
	assert.Equal(t, "POST api.bank.example/login", list[0].Endpoint)
	assert.GreaterOrEqual(t, list[0].Score, 4.0)
}

func TestALoginWhoseCredentialsAreOpaqueIsLearnedFromWhatFollows(t *testing.T) {
	b := newBench(t)
	opaque := func(when time.Duration, client string, right bool) *reassembly.Transaction {
		b.n++
		tx := try{at: when, client: client, right: right}.transaction(b.n)
		tx.Auth = reassembly.Auth{SessionIssued: tx.Auth.SessionIssued, TokenIssued: tx.Auth.TokenIssued}
		b.Observe(tx)
		if right {
			use := &reassembly.Transaction{Start: tx.End, End: tx.End + 1e8, ID: "use", Client: tx.Client, Source: tx.Source}
			use.Request.Method, use.Request.Path = "GET", "/v1/accounts"
			use.Response.Status = 200
			use.Auth = reassembly.Auth{Carrier: "bearer", SessionPresented: tx.Auth.SessionIssued}
			b.Observe(use)
		}
		return tx
	}
	assert.Empty(t, opaque(second, "81.0.0.1", true).Annotation.Role)
	opaque(2*second, "81.0.0.2", false)
	tx := opaque(3*second, "81.0.0.3", true)
	assert.Equal(t, "login", tx.Annotation.Role)
	assert.Equal(t, "accepted", tx.Annotation.Outcome)
	for k := range 100 { // what can't be told apart is counted once
		opaque(minute+time.Duration(k)*second, "81.0.0.9", false)
	}
	assert.Empty(t, b.found)
}

func TestSentencesHoldNothingThatATerminalObeys(t *testing.T) {
	b := newBench(t)
	for k := range 6 {
		b.n++
		tx := try{at: time.Duration(k) * second, client: "45.0.0.1", account: fmt.Sprint(k), password: "p"}.transaction(b.n)
		tx.Request.Path = "/login/\x1b[2J\r\n\xffé\u202e"
		b.Observe(tx)
	}
	require.Len(t, b.found, 1)
	assert.Contains(t, b.found[0].Message, `of honest logins at "POST api.bank.example/login/\x1b[2J\r\n\xffé\u202e" about 8 % fail.`)
}
