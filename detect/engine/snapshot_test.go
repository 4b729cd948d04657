package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/detect/internal/snapshot"
	"offpath/detect/jsonl"
	"offpath/detect/policy"
	"offpath/detect/sitemap"
	"offpath/reassembly"
)

const keyID = "the site's key"

// saved is an engine's snapshot.
func saved(tb testing.TB, e *Engine) []byte {
	var b bytes.Buffer
	_, err := e.Snapshot(Origin{Key: keyID}).WriteTo(&b)
	require.NoError(tb, err)
	return b.Bytes()
}

// life is a little of everything that an engine remembers, in the order of
// time: two days of customers who use what they are given, behind a load
// balancer and before it; one attack with a program of its own, one with the
// customers', a sprayed password, clients that try many accounts; an outage.
func life() []*reassembly.Transaction {
	rng := rand.New(rand.NewPCG(7, 7))
	var list []*reassembly.Transaction
	put := func(tx *reassembly.Transaction) *reassembly.Transaction {
		tx.ID = fmt.Sprintf("tx%08d", len(list))
		list = append(list, tx)
		return tx
	}
	page := func(after *reassembly.Transaction, wait time.Duration, path string, session ...string) *reassembly.Transaction {
		tx := &reassembly.Transaction{Start: after.End + wait.Nanoseconds(), CommunityID: after.CommunityID, Source: after.Source, Client: after.Client, Fingerprint: after.Fingerprint}
		tx.End = tx.Start + 5e6
		tx.Request.Method, tx.Request.Domain, tx.Request.Path = "GET", after.Request.Domain, path
		tx.Response.Status, tx.Response.Signature.Media, tx.Response.Signature.Keys = 200, "json", "00000000000000cc"
		if len(session) > 0 {
			tx.Auth = reassembly.Auth{Carrier: "bearer", SessionPresented: session}
		} else if strings.HasPrefix(path, "/v1/accounts") {
			tx.Response.Status = 401
		}
		return put(tx)
	}
	customer := func(y try) {
		tx := y.transaction(len(list))
		tx.Fingerprint, tx.Request.UserAgent = "00000000000000a1", fmt.Sprint("App/", rng.IntN(3))
		switch rng.IntN(12) {
		case 0:
			page(tx, -3*time.Second, fmt.Sprintf("/v1/accounts/%d", rng.IntN(1e6)))
		case 1, 2, 3, 4, 5, 6:
			page(tx, -3*time.Second, "/v1/config")
		}
		put(tx)
		if rng.IntN(4) == 0 { // seen in front of the load balancer, too
			front := *tx
			front.Source = netip.MustParseAddrPort("10.0.0.1:4711")
			front.Start, front.End = tx.Start-1e6, tx.End+1e6
			put(&front)
		}
		if tx.Response.Status == 200 && rng.IntN(3) > 0 {
			page(tx, time.Second, fmt.Sprintf("/v1/accounts/%d/transactions", rng.IntN(1e6)), tx.Auth.SessionIssued...)
			page(tx, 2*time.Second, "/v1/users/"+[]string{"alice", "bob", "carol"}[rng.IntN(3)]+"/settings", tx.Auth.SessionIssued...)
			page(tx, 2*time.Second, fmt.Sprint("/v1/orders/q", rng.IntN(40), "x"), tx.Auth.SessionIssued...)
		}
	}
	for seed := range uint64(2) { // the same people on both days
		for _, y := range merge(customers(5, 6000, 0, 24*hour, 0.08), office(5, "82.0.0.1", 300, 8*hour, 9*hour, 0.1)) {
			y.at += time.Duration(seed) * 24 * hour
			customer(y)
		}
	}
	attempt := func(y try, program string) {
		tx := y.transaction(len(list))
		tx.Fingerprint, tx.Request.UserAgent = program, "App/1"
		put(tx)
	}
	for _, tx := range (*bench)(nil).rotation(26*hour, 20*minute, 60, "") {
		tx.Fingerprint, tx.Request.UserAgent, tx.JA4 = "00000000000000f1", "Tool", "t13d1516h2_8daaf6152771_02713d6af862"
		put(tx)
	}
	for i := range 2500 { // as like customers as can be
		attempt(try{at: 36*hour + time.Duration(i)*4*second, client: fmt.Sprintf("%d.%d.7.%d", 90+i%50, i>>8, i&255), account: fmt.Sprint("sold", i), password: fmt.Sprint("bought", i), right: i%50 == 0}, "00000000000000a1")
	}
	for i := range 200 {
		attempt(try{at: 40*hour + time.Duration(i)*30*second, client: fmt.Sprintf("%d.%d.9.9", 100+i%50, i), account: fmt.Sprint("customer", i), password: "Summer2026!"}, "00000000000000a1")
	}
	for _, y := range mixture(4) {
		if y.at += 20 * hour; !strings.HasPrefix(y.client, "81.") {
			put(y.transaction(len(list)))
		}
	}
	for i := range 400 {
		attempt(try{at: 44*hour + time.Duration(i)*2*second, client: fmt.Sprintf("81.0.%d.%d", i>>8, i&255), account: fmt.Sprint("customer", i), password: "x", status: 503}, "00000000000000a1")
	}
	slices.SortStableFunc(list, func(a, b *reassembly.Transaction) int { return int(a.End - b.End) })
	return list
}

func ownPolicies(t *testing.T, window time.Duration) *policy.Set {
	set, err := policy.New([]policy.Statement{
		{Name: "tries", When: `endpoint.role == "login" && entity.failures >= 2`, Per: []string{"client.ip"}, Window: window, Action: "tag"},
		{Name: "readers", When: `endpoint.kind == "api" && entity.endpoints > 1 && entity.requests > 4`, Per: []string{"client.ip", "fingerprint"}, Window: window, Action: "block"},
	})
	require.NoError(t, err)
	return set
}

// restarts is a run over transactions that may be restarted.
type restarts struct {
	*bench
	cfg   Config
	lines []string
	found int
	made  int
}

func newRestarts(t *testing.T, change ...func(*Config)) *restarts {
	r := &restarts{bench: newBench(t, change...)}
	r.cfg = r.bench.cfg
	return r
}

// restart goes on with another engine.
func (r *restarts) restart(octets []byte) {
	if r.cfg.Map != nil {
		r.cfg.Map = r.cfg.Map.Empty()
	}
	e, resumed, err := Resume(r.cfg, r.recorder, bytes.NewReader(octets), keyID)
	require.NoError(r.t, err)
	assert.Equal(r.t, r.clock, resumed.Time)
	assert.Zero(r.t, resumed.Dropped)
	r.Engine = e
}

// observe feeds the n-th transaction. Now and then a load balancer refuses an
// attacker by the latest verdict, an operator decides, and lifts.
func (r *restarts) observe(n int, tx *reassembly.Transaction) {
	copied := *tx
	if last := len(r.decided) - 1; last >= 0 && n%40 == 0 && tx.Request.UserAgent == "Tool" {
		copied.RefusedBy, copied.Response.Status, copied.Auth.SessionIssued = r.decided[0].ID, 403, nil
	}
	r.Observe(&copied)
	r.lines = append(r.lines, fmt.Sprint(n, copied.Annotation))
	if n%997 == 0 {
		r.Watch(&detect.Verdict{ID: fmt.Sprintf("%016x", 1<<32|n), Time: tx.End, Action: detect.ActionBlock, Mode: detect.ModeMonitor,
			Subject: detect.Subject{Client: netip.PrefixFrom(tx.Client, tx.Client.BitLen())}, Expires: tx.End + hour.Nanoseconds()})
	}
	if n%5003 == 0 && len(r.decided) > 0 {
		r.Lifted(r.decided[len(r.decided)-1].ID)
	}
	if n%101 == 0 && len(r.decided) > 0 {
		r.Hits([]detect.Hits{{Verdict: r.decided[len(r.decided)-1].ID, Refused: 3}})
	}
	for ; r.found < len(r.bench.found); r.found++ {
		r.lines = append(r.lines, string(jsonl.AppendFinding(nil, r.bench.found[r.found])))
	}
	for ; r.made < len(r.decided); r.made++ {
		r.lines = append(r.lines, string(jsonl.AppendVerdict(nil, r.decided[r.made])))
	}
}

func TestARestartAnywhereChangesNothing(t *testing.T) {
	all := life()
	for _, c := range []struct {
		name   string
		change func(*Config)
	}{
		{"with the defaults", func(*Config) {}},
		{"with accounts listed", func(c *Config) { c.Accounts = 500 }},
		{"with policies of the operator's own", func(c *Config) { c.Policies = ownPolicies(t, hour) }},
		{"with a map", func(c *Config) { c.Map = sitemap.New(0) }},
		{"with a map that is full", func(c *Config) { c.Map, c.Endpoints = sitemap.New(5), 64 }},
		{"with all tables full", func(c *Config) {
			c.Entities, c.Cells, c.Endpoints, c.Verdicts, c.Accounts = 500, 64, 64, 32, 100
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole, cut := newRestarts(t, c.change), newRestarts(t, c.change)
			rng := rand.New(rand.NewPCG(3, 3))
			next, times := 0, 0
			for n, tx := range all {
				whole.observe(n, tx)
				cut.observe(n, tx)
				if n < next && n != len(all)-1 {
					continue
				}
				next = n + 1 + rng.IntN(5000)
				if times++; times%3 == 0 {
					next = n + 1 // twice in a row
				}
				want, got := saved(t, whole.Engine), saved(t, cut.Engine)
				require.True(t, bytes.Equal(want, got), "after %d transactions: %s", n, firstDifference(whole.Engine, cut.Engine))
				cut.restart(got)
				require.Equal(t, whole.lines, cut.lines, "after %d transactions", n)
				whole.lines, cut.lines = nil, nil
			}
			assert.Equal(t, whole.Enforcements(), cut.Enforcements())
			if whole.cfg.Map != nil {
				want, err := whole.Map().JSON(nil)
				require.NoError(t, err)
				got, err := cut.Map().JSON(nil)
				require.NoError(t, err)
				assert.Equal(t, string(want), string(got))
				assert.Greater(t, whole.Stats().Mapped, 4)
			}
			s := whole.Stats()
			assert.Greater(t, times, 20)
			assert.NotZero(t, s.Campaigns)
			assert.NotZero(t, s.Verdicts)
			assert.Equal(t, whole.cfg.Policies != nil, s.PolicyEntities > 0)
			assert.NotZero(t, s.SecondLegs)
			assert.NotZero(t, s.Refused)
			if c.name == "with the defaults" {
				rules := map[string]bool{}
				for _, f := range whole.bench.found {
					rules[f.Rule+" "+f.Technique] = true
					rules[fmt.Sprint("unmarked ", f.Campaign != nil && f.Subject == detect.Subject{Endpoint: f.Subject.Endpoint} && f.Technique != "OAT-007 Credential Cracking")] = true
				}
				for _, want := range []string{Rule + " OAT-008 Credential Stuffing", CampaignRule + " OAT-008 Credential Stuffing", CampaignRule + " OAT-007 Credential Cracking", "unmarked true"} {
					assert.Contains(t, rules, want, "the stream shows what there is to remember")
				}
				assert.NotZero(t, s.Holds)
				assert.NotZero(t, s.Names.Templates)
				assert.NotZero(t, s.Names.Merged)
			}
		})
	}
}

// small is the engine of a bank with little room, in the middle of an attack.
func small(t testing.TB) (*restarts, []*reassembly.Transaction) {
	r := &restarts{cfg: Config{Entities: 64, Cells: 64, Endpoints: 64, Verdicts: 32, Accounts: 32, Map: sitemap.New(0)}}
	r.bench = &bench{recorder: new(recorder)}
	var err error
	r.Engine, err = New(r.cfg, r.recorder)
	require.NoError(t, err)
	all := life()
	after := func(d time.Duration) int {
		return slices.IndexFunc(all, func(tx *reassembly.Transaction) bool { return tx.End > at(d) })
	}
	begin, end := after(24*hour), after(26*hour+10*minute)
	for n, tx := range all[begin:end] {
		r.observe(n, tx)
	}
	require.NotZero(t, r.Stats().OpenCampaigns)
	require.NotZero(t, r.Stats().ActiveVerdicts)
	return r, all[end : end+100]
}

func TestASnapshotThatDoesNotFitIsOneError(t *testing.T) {
	r, _ := small(t)
	octets := saved(t, r.Engine)
	for _, c := range []struct {
		name   string
		octets []byte
		key    string
		want   error
	}{
		{"of another key", octets, "another key", ErrKey},
		{"of another version", slices.Replace(bytes.Clone(octets), 14, 15, 0xff), keyID, ErrVersion},
		{"cut short", octets[:len(octets)-100], keyID, ErrDamaged},
		{"with a bit turned", slices.Replace(bytes.Clone(octets), 5000, 5001, octets[5000]^8), keyID, ErrDamaged},
		{"empty", nil, keyID, ErrDamaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Resume(r.cfg, nothing{}, bytes.NewReader(c.octets), c.key)
			assert.ErrorIs(t, err, c.want)
		})
	}
}

// forged is a snapshot with other content and checksums that are right.
func forged(t testing.TB, octets []byte, change func([]byte)) []byte {
	const head, frame = 18, 8
	var content []byte
	for rest := octets[head:]; len(rest) > frame; {
		n := int(binary.LittleEndian.Uint32(rest))
		content = append(content, rest[frame:frame+n]...)
		rest = rest[frame+n:]
	}
	change(content)
	c := snapshot.Writer()
	c.Octets(content)
	var b bytes.Buffer
	_, err := c.WriteTo(&b)
	require.NoError(t, err)
	return b.Bytes()
}

// survives resumes from anything, and goes on if that is possible.
func survives(cfg Config, octets []byte, next []*reassembly.Transaction) bool {
	e, _, err := Resume(cfg, nothing{}, bytes.NewReader(octets), keyID)
	if err != nil {
		return false
	}
	for _, tx := range next {
		copied := *tx
		e.Observe(&copied)
	}
	e.Snapshot(Origin{Key: keyID}).WriteTo(io.Discard)
	return true
}

func TestAForgedSnapshotNeverStopsTheEngine(t *testing.T) {
	r, next := small(t)
	octets := saved(t, r.Engine)
	require.True(t, survives(r.cfg, forged(t, octets, func([]byte) {}), next))
	resumed, rng := 0, rand.New(rand.NewPCG(9, 9))
	for range 500 {
		if survives(r.cfg, forged(t, octets, func(b []byte) {
			for range 1 + rng.IntN(3) {
				i := rng.IntN(len(b))
				b[i] = [...]byte{0, 1, 0x7f, 0x80, 0xff, b[i] + 1, b[i] - 1, byte(rng.Uint32())}[rng.IntN(8)]
			}
		}), next) {
			resumed++
		}
	}
	assert.NotZero(t, resumed)
}

func FuzzResume(f *testing.F) {
	r, next := small(f)
	octets := saved(f, r.Engine)
	f.Add(uint32(100), []byte{0xff})
	f.Add(uint32(30_000), []byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, at uint32, with []byte) {
		survives(r.cfg, forged(t, octets, func(b []byte) { copy(b[int(at)%len(b):], with) }), next)
	})
}

func TestLowerLimitsForgetAsEverAndCountIt(t *testing.T) {
	r := newRestarts(t)
	all := life()
	for n, tx := range all[:len(all)/2] {
		r.observe(n, tx)
	}
	was := r.Stats()
	cfg := Config{Entities: 100, Cells: 64, Endpoints: 64, Verdicts: 8}
	octets := saved(t, r.Engine)
	e, resumed, err := Resume(cfg, r.recorder, bytes.NewReader(octets), keyID)
	require.NoError(t, err)
	s := e.Stats()
	assert.Equal(t, 100, s.Entities)
	assert.Equal(t, was.Entities-100, int(s.EntityEvictions))
	assert.Less(t, s.Cells, 65)
	assert.Equal(t, was.ActiveVerdicts, s.ActiveVerdicts, "load balancers hold these")
	assert.Greater(t, resumed.Dropped, s.EntityEvictions, "and more")
	assert.Contains(t, fmt.Sprint(e.Logins()), "POST api.bank.example/v1/login ")
	for _, tx := range all[len(all)/2:][:5000] {
		e.Observe(tx)
	}
}

func TestAChangedConfigurationIsHonouredFromTheFirst(t *testing.T) {
	b, id := convicted(t)
	octets := saved(t, b.Engine)
	out := new(recorder)
	e, _, err := Resume(Config{Mode: detect.ModeEnforce}, out, bytes.NewReader(octets), keyID)
	require.NoError(t, err)
	e.Settle(0)
	require.Len(t, out.decided, 1)
	assert.Equal(t, id, out.decided[0].ID, "the same verdict")
	assert.Equal(t, detect.ModeEnforce, out.decided[0].Mode)
	assert.Len(t, e.Active(), 1)

	out = new(recorder)
	e, _, err = Resume(Config{Allow: []netip.Prefix{netip.MustParsePrefix("45.0.0.0/8")}}, out, bytes.NewReader(octets), keyID)
	require.NoError(t, err)
	e.Settle(0)
	require.Len(t, out.decided, 1)
	assert.Equal(t, detect.ActionLift, out.decided[0].Action)
	assert.Empty(t, e.Active())
}

func TestWhatWasLiftedSinceASnapshotDoesNotComeBack(t *testing.T) {
	b, id := convicted(t)
	octets := saved(t, b.Engine)
	out := new(recorder)
	e, _, err := Resume(Config{Mode: detect.ModeEnforce}, out, bytes.NewReader(octets), keyID)
	require.NoError(t, err)
	assert.Empty(t, out.decided, "nothing is written before it is known what became of it")
	e.Ended(func(verdict string) bool { return verdict == id })
	e.Settle(0)
	assert.Empty(t, out.decided)
	assert.Empty(t, e.Active())

	allowed := new(recorder)
	e, _, err = Resume(Config{Mode: detect.ModeEnforce, Allow: []netip.Prefix{netip.MustParsePrefix("45.0.0.0/8")}}, allowed, bytes.NewReader(octets), keyID)
	require.NoError(t, err)
	e.Settle(0)
	require.Len(t, allowed.decided, 1, "not first enforced and then lifted")
	assert.Equal(t, detect.ActionLift, allowed.decided[0].Action)

	late := new(recorder)
	e, _, err = Resume(Config{Mode: detect.ModeEnforce}, late, bytes.NewReader(octets), keyID)
	require.NoError(t, err)
	e.Settle(math.MaxInt64)
	assert.Empty(t, late.decided, "it has run out while the engine did not run")
	assert.Empty(t, e.Active())
}

func TestAPolicyThatIsAboutSomethingElseNowBeginsAnew(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Policies = ownPolicies(t, hour) })
	b.run(customers(1, 300, 0, 10*minute, 0.3))
	require.NotZero(t, b.Stats().PolicyEntities)
	require.NotEmpty(t, b.Active())
	for window, kept := range map[time.Duration]bool{hour: true, 2 * hour: false} {
		out := new(recorder)
		e, _, err := Resume(Config{Policies: ownPolicies(t, window)}, out, bytes.NewReader(saved(t, b.Engine)), keyID)
		require.NoError(t, err)
		e.Settle(0)
		assert.Equal(t, kept, e.Stats().PolicyEntities > 0)
		assert.Equal(t, kept, len(e.Active()) > 0)
		assert.Equal(t, kept, len(out.decided) == 0, "what it stood for is lifted")
	}
	out := new(recorder)
	e, _, err := Resume(Config{}, out, bytes.NewReader(saved(t, b.Engine)), keyID)
	require.NoError(t, err, "without them")
	e.Settle(0)
	assert.Empty(t, e.Active())
}

// The books are no part of the state: a process begins them anew.
func TestBooksBeginAnew(t *testing.T) {
	b, _ := convicted(t)
	e, _, err := Resume(Config{}, b.recorder, bytes.NewReader(saved(t, b.Engine)), keyID)
	require.NoError(t, err)
	e.Settle(0)
	s := e.Stats()
	assert.Zero(t, s.Transactions)
	assert.Zero(t, s.Verdicts)
	assert.Equal(t, 1, s.ActiveVerdicts)
}

func TestAMapThatIsNoLongerWantedOrWasNotThereBeginsAnew(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Map = sitemap.New(0) })
	b.run(customers(1, 300, 0, 10*minute, 0.3))
	octets := saved(t, b.Engine)
	require.NotZero(t, b.Stats().Mapped)
	without, _, err := Resume(Config{}, b.recorder, bytes.NewReader(octets), keyID)
	require.NoError(t, err)
	assert.Nil(t, without.Map())
	assert.Zero(t, without.Stats().Mapped)
	m := sitemap.New(0)
	again, _, err := Resume(Config{Map: m}, b.recorder, bytes.NewReader(saved(t, without)), keyID)
	require.NoError(t, err)
	assert.Zero(t, again.Stats().Mapped)

	_, _, err = Resume(Config{Map: m}, b.recorder, bytes.NewReader(octets[:len(octets)-9]), keyID)
	require.ErrorIs(t, err, ErrDamaged)
	assert.Zero(t, m.Len(), "damage does not reach the map")

	small, resumed, err := Resume(Config{Map: sitemap.New(1)}, b.recorder, bytes.NewReader(octets), keyID)
	require.NoError(t, err)
	assert.Equal(t, 1, small.Stats().Mapped)
	assert.EqualValues(t, b.Stats().Mapped-1, resumed.Dropped)
}

// firstDifference names the part of the state in which two engines differ.
func firstDifference(a, b *Engine) string {
	for i, part := range []func(*Engine, *snapshot.Codec){
		func(e *Engine, c *snapshot.Codec) { e.places.learner.State(c) },
		func(e *Engine, c *snapshot.Codec) { e.places.state(c) },
		func(e *Engine, c *snapshot.Codec) { e.sessions.state(c, e.places) },
		func(e *Engine, c *snapshot.Codec) { e.sequential.State(c) },
		func(e *Engine, c *snapshot.Codec) { e.witness.State(c) },
		func(e *Engine, c *snapshot.Codec) { e.legs.State(c) },
	} {
		var octets [2]bytes.Buffer
		for j, e := range []*Engine{a, b} {
			c := snapshot.Writer()
			part(e, c)
			c.WriteTo(&octets[j])
		}
		if !bytes.Equal(octets[0].Bytes(), octets[1].Bytes()) {
			return [...]string{"endpoint names", "endpoints", "sessions", "sequential tests", "witness", "legs"}[i]
		}
	}
	return "campaigns, verdicts or the clock"
}
