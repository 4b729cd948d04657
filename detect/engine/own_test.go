package engine

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/detect/jsonl"
	"offpath/detect/policy"
	"offpath/reassembly"
)

// ask is a request that is no login.
type ask struct {
	at                                   time.Duration
	client, key, session, program, agent string
	method, path                         string
	status                               int
	refused                              string
}

// ask feeds one request; what is not said of it is a transfer that went well.
func (b *bench) ask(a ask) *reassembly.Transaction {
	b.n++
	client := netip.MustParseAddr(a.client)
	tx := &reassembly.Transaction{
		Start: at(a.at) - 20e6, End: at(a.at), ID: fmt.Sprintf("ask%08d", b.n), CommunityID: fmt.Sprint("1:", b.n), Client: client,
		Source: netip.AddrPortFrom(client, 4000), Destination: netip.MustParseAddrPort("198.51.100.1:80"),
		Fingerprint: a.program, RefusedBy: a.refused, Auth: reassembly.Auth{APIKeyHash: a.key},
	}
	if a.session != "" {
		tx.Auth.Carrier, tx.Auth.SessionPresented = "bearer", []string{a.session}
	}
	tx.Request.Method, tx.Request.Domain, tx.Request.Path, tx.Request.UserAgent = a.method, "api.bank.example", a.path, a.agent
	if a.method == "" {
		tx.Request.Method, tx.Request.Path = "POST", "/v1/transfers"
	}
	tx.Response.Status = a.status
	if a.status == 0 {
		tx.Response.Status = 201
	}
	tx.Response.Signature.Media = "json"
	b.Observe(tx)
	return tx
}

// asks feeds n requests, one each period.
func (b *bench) asks(n int, period time.Duration, a ask) {
	for range n {
		b.ask(a)
		a.at += period
	}
}

const (
	abused  = "00000000000000aa" // an API key
	app     = "00000000000000a1" // the customers' program
	foreign = "00000000000000f1" // nobody else's
	there   = "POST api.bank.example/v1/transfers"
)

// bankers feeds right logins with the customers' program until a time.
func (b *bench) bankers(n int, until time.Duration) {
	for i, y := range customers(3, n, 0, until, 0.05) {
		tx := y.transaction(1<<24 + i)
		tx.Fingerprint = app
		tx.End, tx.Start = b.clock+1e6, b.clock
		if b.clock == 0 {
			tx.End, tx.Start = at(0), at(0)
		}
		b.Observe(tx)
	}
}

// transfers is the policy of the documentation.
func transfers(per ...string) policy.Statement {
	return policy.Statement{
		Name: "transfers", When: `endpoint.role == "transfer" && entity.requests > 30`, Per: per, Window: minute,
		Action: "rate_limit", Rate: policy.Rate{Requests: 10, Per: minute}, Mode: "enforce",
	}
}

func TestAClientThatMeetsAPolicyIsActedAgainst(t *testing.T) {
	b := by(t, transfers("client.ip"))
	b.asks(100, 100*time.Millisecond, ask{client: "81.0.0.1", method: "GET", path: "/v1/accounts"})
	b.asks(30, second, ask{at: 11 * second, client: "81.0.0.1"})
	assert.Empty(t, b.found, "thirty transfers are none too many, and reads do not count")
	b.ask(ask{at: 42 * second, client: "81.0.0.1"})
	b.ask(ask{at: 43 * second, client: "81.0.0.1"})
	require.Len(t, b.found, 1)
	f := b.found[0]
	assert.Equal(t, []any{"alert", "transfers", ""}, []any{f.Kind, f.Rule, f.Technique})
	assert.Equal(t, "81.0.0.1 meets the policy transfers at "+there+": 31 requests within 60 s.", f.Message)
	require.Len(t, b.decided, 1)
	v := b.decided[0]
	assert.Equal(t, detect.Verdict{
		Time: at(42 * second), ID: v.ID, Action: detect.ActionRateLimit, Rate: detect.Rate{Requests: 10, Per: 60e9}, Mode: detect.ModeEnforce,
		Subject: detect.Subject{Client: netip.MustParsePrefix("81.0.0.1/32")}, Expires: at(42*second + 10*minute), Findings: []string{f.ID}, Policy: "transfers",
		Expected: detect.Expected{AttackRequestsPerMinute: 31}, Message: "Limit 81.0.0.1 to 10 requests per 60 s for 10 minutes: it meets the policy transfers.",
	}, *v)
}

func TestSlowRequestsNeverMeetIt(t *testing.T) {
	b := by(t, transfers("client.ip"))
	b.asks(2000, 2*second, ask{client: "81.0.0.1"})
	assert.Empty(t, b.found)
}

func TestWhoIsCountedTogether(t *testing.T) {
	for _, c := range []struct {
		name string
		per  []string
		ask  func(i int) ask
		want detect.Subject // of the verdict; the zero one: none
	}{
		{"an address", []string{"client.ip"}, func(int) ask { return ask{client: "81.0.0.1"} }, detect.Subject{Client: netip.MustParsePrefix("81.0.0.1/32")}},
		{"addresses are different ones", []string{"client.ip"}, func(i int) ask { return ask{client: fmt.Sprint("81.0.0.", i)} }, detect.Subject{}},
		{"a /64", []string{"client.ip"}, func(i int) ask { return ask{client: fmt.Sprint("2001:db8::", i)} }, detect.Subject{Client: netip.MustParsePrefix("2001:db8::/64")}},
		{"a session from anywhere", []string{"session"}, func(i int) ask { return ask{client: fmt.Sprint("81.0.0.", i%8), session: "0000000000000077"} }, detect.Subject{Session: "0000000000000077"}},
		{"no session", []string{"session"}, func(i int) ask { return ask{client: "81.0.0.1"} }, detect.Subject{}},
		{"an address at an endpoint", []string{"client.ip", "endpoint"}, func(int) ask { return ask{client: "81.0.0.1"} },
			detect.Subject{Client: netip.MustParsePrefix("81.0.0.1/32"), Endpoint: there}},
		{"a key at an address", []string{"api_key", "client.ip"}, func(int) ask { return ask{client: "81.0.0.1", key: abused} }, detect.Subject{Client: netip.MustParsePrefix("81.0.0.1/32")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := by(t, transfers(c.per...))
			for i := range 40 {
				a := c.ask(i)
				a.at = time.Duration(i) * second
				b.ask(a)
			}
			if c.want == (detect.Subject{}) {
				assert.Empty(t, b.decided)
				return
			}
			require.Len(t, b.decided, 1)
			assert.Equal(t, c.want, b.decided[0].Subject)
		})
	}
}

func TestAnAbusedKeyIsNamedAndWhatAbusesItActedAgainstIfThatHitsNoCustomers(t *testing.T) {
	for _, c := range []struct {
		name    string
		logins  int
		program string
		want    bool
		why     string
	}{
		{"by a program that no customer has", 8000, foreign, true, ""},
		{"by the customers' own program", 8000, app, false, ` No verdict is made: it would hit about 9\d{5} of a million legitimate logins\.`},
		{"before anything is known of customers", 0, foreign, false, " No verdict is made: how many customers it would hit is not known yet."},
		{"by a program that is not known", 8000, "", false, " No verdict is made: no load balancer can match an API key."},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := by(t, transfers("api_key"))
			b.bankers(c.logins, minute)
			from := time.Duration(b.clock-epoch) + second
			if c.logins == 0 {
				from = second
			}
			for i := range 200 {
				b.ask(ask{at: from + time.Duration(i)*100*time.Millisecond, client: fmt.Sprintf("45.0.%d.%d", i>>8, i&255), key: abused, program: c.program})
			}
			require.Len(t, b.found, 1, "one finding, however often")
			f := b.found[0]
			assert.Contains(t, f.Message, "API key "+abused)
			assert.Contains(t, f.Message, "31 requests within 60 s.")
			if !c.want {
				assert.Regexp(t, c.why+"$", f.Message)
				assert.Empty(t, b.decided)
				assert.Equal(t, uint64(1), b.Stats().VetoPrice)
				return
			}
			require.Len(t, b.decided, 1)
			v := b.decided[0]
			assert.Equal(t, detect.Subject{Endpoint: there, Fingerprint: foreign}, v.Subject)
			assert.Less(t, v.Expected.LegitimateRequestsPerMillion, 100.0)
		})
	}
}

func TestOtherKeysAreOtherEntities(t *testing.T) {
	b := by(t, transfers("api_key"))
	for i := range 200 {
		b.ask(ask{at: time.Duration(i) * 100 * time.Millisecond, client: "45.0.0.1", key: fmt.Sprintf("%016x", 1+i%10)})
	}
	assert.Empty(t, b.found)
}

func TestTheRailsHoldForAnOperatorsOwnPolicies(t *testing.T) {
	allow := netip.MustParsePrefix("81.0.0.0/24")
	for _, c := range []struct {
		name   string
		change func(*Config)
		before func(b *bench)
		found  int
		veto   func(s Stats) uint64
	}{
		{"on the allow-list: a finding", func(c *Config) { c.Allow = []netip.Prefix{allow} }, nil, 1, func(s Stats) uint64 { return s.VetoAllowed }},
		{"a trusted proxy: nothing", func(c *Config) { c.TrustedProxies = []netip.Prefix{allow} }, nil, 0, nil},
		{"too many verdicts: findings", func(c *Config) { c.Verdicts = 1 }, func(b *bench) { b.asks(31, second, ask{client: "82.0.0.1"}) }, 2, func(s Stats) uint64 { return s.VetoCapacity }},
		{"an address that many customers share: a finding", nil, func(b *bench) { b.run(office(1, "81.0.0.1", 40, 0, minute, 0)) }, 1, func(s Stats) uint64 { return s.VetoPrice }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(cfg *Config) {
				cfg.Policies = stated(t, transfers("client.ip"))
				if c.change != nil {
					c.change(cfg)
				}
			})
			if c.before != nil {
				c.before(b)
			}
			b.decided = nil
			b.asks(31, second, ask{at: 5 * minute, client: "81.0.0.1"})
			assert.Len(t, b.found, c.found)
			assert.Empty(t, b.decided)
			if c.veto != nil {
				assert.Equal(t, uint64(1), c.veto(b.Stats()))
			}
		})
	}
}

func TestWhereThereIsNoRoomForVerdictsNobodyIsFoundAgainAndAgain(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Verdicts = 1
		c.Policies = stated(t, policy.Statement{Name: "all", When: "true", Per: []string{"client.ip"}, Action: "tag"})
	})
	for i := range 300 {
		b.ask(ask{at: time.Duration(i) * second, client: fmt.Sprint("81.0.0.", i%3)})
	}
	assert.Len(t, b.found, 3+1, "each once; the first again, as its verdict is renewed")
	assert.Equal(t, uint64(200), b.Stats().VetoCapacity)
	b.ask(ask{at: hour, client: "82.0.0.1"})
	assert.Len(t, b.ids("82.0.0.1/32"), 1, "now there is room")
}

func TestAFindingWithoutAVerdictSaysWhyAsLongAsItGoesOn(t *testing.T) {
	b := by(t, transfers("api_key"))
	b.asks(600, second, ask{client: "45.0.0.1", key: abused})
	require.Greater(t, len(b.found), 2)
	for _, f := range b.found {
		assert.Equal(t, b.found[0].ID, f.ID)
		assert.Contains(t, f.Message, "No verdict is made: no load balancer can match an API key.")
	}
}

func TestPredicatesByOnesOwnPoliciesKeepToTheBudgetTogether(t *testing.T) {
	b := by(t, policy.Statement{Name: "scan", When: `entity.requests > 5`, Per: []string{"fingerprint"}, Action: "block", Mode: "enforce"})
	b.bankers(20000, minute)
	from := time.Duration(b.clock-epoch) + second
	for i := range 30 {
		b.asks(6, 10*time.Millisecond, ask{at: from + time.Duration(i)*second, client: "45.0.0.1", program: fmt.Sprintf("%016x", 100+i)})
	}
	sum := 0.0
	for _, v := range b.Active() {
		sum += v.Expected.LegitimateRequestsPerMillion
	}
	assert.LessOrEqual(t, sum, 100.0)
	assert.Greater(t, len(b.Active()), 2)
	assert.Greater(t, b.Stats().VetoPrice, uint64(2))
	b.Advance(at(from + hour))
	b.asks(6, 10*time.Millisecond, ask{at: from + hour, client: "45.0.0.1", program: "00000000000000ff"})
	assert.Len(t, b.Active(), 1, "what has ended costs nothing any more")
}

func TestAConditionThatCantBeEvaluatedConvictsNobodyAndIsCounted(t *testing.T) {
	b := by(t, policy.Statement{Name: "broken", When: `entity.requests / entity.logins > 3`, Per: []string{"client.ip"}, Action: "block"})
	b.asks(50, second, ask{client: "81.0.0.1"})
	assert.Empty(t, b.found)
	assert.Equal(t, uint64(50), b.Stats().PolicyErrors)
}

func TestADetectorsVerdictAndAPolicysStandBesideEachOther(t *testing.T) {
	b := by(t, policy.Statement{Name: "tries", When: `endpoint.role == "login" && entity.failures >= 2`, Per: []string{"client.ip"}, Action: "tag", Mode: "enforce"})
	b.stuffed()
	actions := map[detect.Action]string{}
	for _, v := range b.decided {
		if v.Subject.Client == netip.MustParsePrefix("45.0.0.0/32") {
			actions[v.Action] = v.Policy
		}
	}
	assert.Equal(t, map[detect.Action]string{detect.ActionTag: "tries", detect.ActionBlock: policy.Stuffing}, actions)
	b.Advance(at(time.Hour))
	assert.Empty(t, b.Active())
}

func TestAccountsThatMeetAPolicyAreHeld(t *testing.T) {
	b := by(t, policy.Statement{Name: "many-clients", When: `endpoint.role == "login" && entity.clients >= 5`, Per: []string{"user"}, Window: hour, Action: "hold", Mode: "enforce"})
	for i := range 8 {
		b.try(try{at: time.Duration(i) * minute, client: fmt.Sprint("81.0.0.", i), account: "shared", password: "p", right: true})
		b.try(try{at: time.Duration(i)*minute + second, client: "82.0.0.1", account: "own", password: "p", right: true})
	}
	for _, v := range b.decided {
		assert.Equal(t, detect.Subject{UserHash: hash16("shared")}, v.Subject)
	}
	assert.Equal(t, detect.ActionHold, b.decided[0].Action)
	assert.Equal(t, at(4*minute), b.decided[0].Time)
	assert.Equal(t, uint64(1), b.Stats().Holds)
}

func TestRefusalsKeepAPolicysVerdictAndALiftPardons(t *testing.T) {
	b := by(t, transfers("client.ip"))
	b.asks(31, second, ask{client: "81.0.0.1"})
	id := b.decided[0].ID
	b.ask(ask{at: 5 * minute, client: "81.0.0.1", refused: id})
	require.Len(t, b.decided, 2)
	assert.Equal(t, []any{id, at(15 * minute)}, []any{b.decided[1].ID, b.decided[1].Expires})
	b.Lifted(id)
	assert.Empty(t, b.Active())
	b.asks(30, second, ask{at: 6 * minute, client: "81.0.0.1"})
	assert.Len(t, b.decided, 2, "it starts anew")
	b.asks(2, second, ask{at: 6*minute + 30*second, client: "81.0.0.1"})
	assert.Len(t, b.decided, 3)
}

func TestTheSecondTimeLastsTwiceAsLong(t *testing.T) {
	b := by(t, transfers("client.ip"))
	b.asks(31, second, ask{client: "81.0.0.1"})
	b.asks(31, second, ask{at: hour, client: "81.0.0.1"})
	require.Len(t, b.decided, 2)
	assert.Equal(t, 20*minute.Nanoseconds(), b.decided[1].Expires-b.decided[1].Time)
	assert.Contains(t, b.decided[1].Message, "It has been acted against once before.")
}

func TestPoliciesChangeWhileRunning(t *testing.T) {
	other := transfers("client.ip")
	other.When = `entity.requests > 1000`
	milder := transfers("client.ip")
	milder.Action, milder.Rate = "tag", policy.Rate{}
	for _, c := range []struct {
		name  string
		after []policy.Statement
		want  []detect.Action // of the lines that follow at once
		soon  int             // verdicts, once one more transfer came
	}{
		{"it is gone", nil, []detect.Action{detect.ActionLift}, 0},
		{"it is about something else", []policy.Statement{other}, []detect.Action{detect.ActionLift}, 0},
		{"it does something else", []policy.Statement{milder}, []detect.Action{detect.ActionTag}, 1},
		{"it is the same", []policy.Statement{transfers("client.ip")}, nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := by(t, transfers("client.ip"))
			b.asks(31, second, ask{client: "81.0.0.1"})
			b.asks(30, second, ask{at: 31 * second, client: "82.0.0.1"})
			b.decided = nil
			b.SetPolicies(stated(t, c.after...))
			var got []detect.Action
			for _, v := range b.decided {
				got = append(got, v.Action)
			}
			assert.Equal(t, c.want, got)
			b.ask(ask{at: 61 * second, client: "82.0.0.1"})
			assert.Len(t, b.decided, len(c.want)+c.soon, "what was counted stays counted where it still counts")
		})
	}
}

func TestAnOwnPolicysVerdictOfAnEarlierRunIsCarriedOn(t *testing.T) {
	first := by(t, transfers("client.ip"))
	first.asks(31, second, ask{client: "81.0.0.1"})
	old := *first.decided[0]
	b := by(t, transfers("client.ip"))
	b.Restore(&old)
	b.Restore(&old)
	assert.Len(t, b.Active(), 1)
	b.asks(40, second, ask{at: 4 * minute, client: "81.0.0.1"})
	require.Len(t, b.decided, 1)
	assert.Equal(t, old.ID, b.decided[0].ID, "the same verdict, renewed")
	b.Lifted(old.ID)
	assert.Empty(t, b.Active())
}

func TestANewEndpointWithARoleFallsUnderItsPoliciesWithoutAnybodysHelp(t *testing.T) {
	logins := policy.Statement{Name: "login-failures", When: `endpoint.role == "login" && entity.failures > 10 && 2 * entity.failures > entity.logins`, Per: []string{"fingerprint", "endpoint"}, Window: 5 * minute, Action: "none"}
	t.Run("a login that shows its credentials, from its first requests on", func(t *testing.T) {
		b := by(t, logins)
		b.bankers(500, minute)
		from := time.Duration(b.clock-epoch) + hour
		for i := range 60 {
			tx := try{at: from + time.Duration(i)*2*second, client: fmt.Sprintf("45.0.0.%d", i), account: fmt.Sprint("v", i), password: "p", status: 401}.transaction(1<<22 + i)
			tx.Request.Path, tx.Fingerprint = "/partner/v9/auth", foreign
			tx.Response.Signature.Keys, tx.Response.Signature.Code = "00000000000000bb", "invalid_credentials"
			b.Observe(tx)
		}
		rules := map[string]bool{}
		for _, f := range b.found {
			rules[f.Rule] = true
			assert.LessOrEqual(t, f.Time-at(from), 2*minute.Nanoseconds())
		}
		assert.True(t, rules["login-failures"], "the operator's own")
		require.NotEmpty(t, b.decided)
		assert.Equal(t, policy.Stuffing, b.decided[0].Policy, "and the predefined one")
		assert.Equal(t, detect.Subject{Endpoint: "POST api.bank.example/partner/v9/auth", Fingerprint: foreign}, b.decided[0].Subject)
	})
	t.Run("a login whose credentials nobody can read, once what follows shows it", func(t *testing.T) {
		b := by(t, logins)
		b.bankers(500, minute)
		from := time.Duration(b.clock-epoch) + hour
		opaque := func(i int, when time.Duration, client string, right bool) {
			y := try{at: when, client: client, account: fmt.Sprint("o", i), password: "p", right: right}
			tx := y.transaction(1<<22 + i)
			tx.Request.Path, tx.Fingerprint = "/mobile/v2/login", foreign
			tx.Auth = reassembly.Auth{SessionIssued: tx.Auth.SessionIssued, TokenIssued: tx.Auth.TokenIssued}
			b.Observe(tx)
			if right {
				b.ask(ask{at: when + second, client: client, session: tx.Auth.SessionIssued[0], method: "GET", path: "/v1/accounts", status: 200})
			}
		}
		for i := range 40 { // customers of the new app
			opaque(i, from+time.Duration(i)*3*second, fmt.Sprintf("81.9.0.%d", i), i%8 != 0)
		}
		for i := range 100 { // and who tries
			opaque(1000+i, from+2*minute+time.Duration(i)*second, fmt.Sprintf("45.0.0.%d", i), false)
		}
		require.NotEmpty(t, b.found)
		f := b.found[0]
		assert.Equal(t, []string{"login-failures", "POST api.bank.example/mobile/v2/login"}, []string{f.Rule, f.Subject.Endpoint})
		assert.LessOrEqual(t, f.Time-at(from), 4*minute.Nanoseconds(), "minutes after its first request")
	})
	t.Run("a transfer, from its first requests on", func(t *testing.T) {
		b := by(t, transfers("client.ip", "endpoint"))
		b.bankers(500, minute)
		from := time.Duration(b.clock-epoch) + hour
		b.asks(40, second, ask{at: from, client: "81.0.0.1", method: "POST", path: "/v2/instant/payments"})
		require.Len(t, b.decided, 1)
		assert.Equal(t, "POST api.bank.example/v2/instant/payments", b.decided[0].Subject.Endpoint)
		assert.Less(t, b.decided[0].Time-at(from), minute.Nanoseconds())
	})
}

func TestTheKindOfAnEndpointIsLearned(t *testing.T) {
	b := by(t, policy.Statement{Name: "mobile", When: `endpoint.kind == "mobile" && entity.requests > 5`, Per: []string{"client.ip"}, Action: "none"})
	b.asks(10, second, ask{client: "81.0.0.1", method: "GET", path: "/v1/web"})
	assert.Empty(t, b.found)
	b.asks(10, second, ask{at: 10 * second, client: "81.0.0.1", method: "GET", path: "/v1/app", agent: "okhttp/4.9"})
	assert.Len(t, b.found, 1)
}

func TestOwnPoliciesMakeTheSameLinesAndTheInputCutAnywhereGivesThoseUpToThere(t *testing.T) {
	run := func(n int) []string {
		b := by(t, transfers("client.ip"), policy.Statement{Name: "accounts", When: `endpoint.role == "login" && entity.accounts > 8`, Per: []string{"client.ip"}, Action: "tag"},
			policy.Statement{Name: "wide", When: `entity.endpoints > 3 || entity.errors > 20`, Per: []string{"session", "endpoint"}, Action: "challenge"})
		for i, y := range mixture(3)[:n] {
			b.try(y)
			b.ask(ask{at: y.at, client: y.client, session: fmt.Sprintf("%016x", i%3), status: 200 + 300*(i%2)})
		}
		var out []string
		for _, f := range b.found {
			out = append(out, string(jsonl.AppendFinding(nil, f)))
		}
		for _, v := range b.decided {
			if v.Time <= at(mixture(3)[n-1].at) {
				out = append(out, string(jsonl.AppendVerdict(nil, v)))
			}
		}
		return out
	}
	all := run(1500)
	assert.NotEmpty(t, all)
	assert.Equal(t, all, run(1500))
	for _, line := range run(700) {
		assert.Contains(t, all, line)
	}
}

func TestWithPoliciesARequestThatNoneIsAboutAllocatesNothing(t *testing.T) {
	e := warm(t)
	e.SetPolicies(stated(t, transfers("client.ip")))
	list := reads(512)
	i := 0
	observe := func() {
		tx := list[i%len(list)]
		i++
		tx.Start, tx.End = e.clock, e.clock+1e6
		e.Observe(tx)
	}
	for range len(list) {
		observe()
	}
	assert.Zero(t, testing.AllocsPerRun(2000, observe))
}
