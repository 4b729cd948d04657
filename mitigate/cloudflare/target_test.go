package cloudflare_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/cloudflare"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/cloudflaretest"
	"offpath/mitigate/internal/targettest"
)

func token() ([]byte, error) { return []byte(cloudflaretest.Token + "\n"), nil }

func newTarget(t testing.TB, address string, change ...func(*cloudflare.Options)) *cloudflare.Target {
	t.Helper()
	o := cloudflare.Options{
		Name: "edge", Account: cloudflaretest.Account, Zones: []string{cloudflaretest.Zone}, Token: token, Address: address,
		Pace: time.Millisecond, Gap: time.Microsecond, Poll: time.Millisecond, Look: time.Millisecond,
	}
	for _, f := range change {
		f(&o)
	}
	target, err := cloudflare.New(o)
	require.NoError(t, err)
	return target
}

// install runs the script that is printed, with an argument if there is one.
func install(address string, arguments ...string) (output string, err error) {
	text, err := cloudflare.Setup{Account: cloudflaretest.Account, Zones: []string{cloudflaretest.Zone, cloudflaretest.Zone2}, Address: address}.Render()
	if err != nil {
		return "", err
	}
	var script bytes.Buffer
	if _, err := text.WriteTo(&script); err != nil {
		return "", err
	}
	c := exec.Command("/bin/sh", append([]string{"-s", "--"}, arguments...)...)
	c.Stdin = &script
	c.Env = append(os.Environ(), "CLOUDFLARE_API_TOKEN="+cloudflaretest.Token)
	out, err := c.CombinedOutput()
	return string(out), err
}

// printed is an API in which the printed script has made what it makes.
var printed = gosync.OnceValue(func() (made struct {
	api    *cloudflaretest.API
	output string
	err    error
}) {
	made.api = &cloudflaretest.API{}
	server := httptest.NewServer(made.api)
	defer server.Close()
	made.output, made.err = install(server.URL + "/client/v4")
	return made
})

// prepare gives an API what the printed script makes.
func prepare(t testing.TB, api *cloudflaretest.API) {
	t.Helper()
	targettest.Program(t, "curl")
	targettest.Program(t, "jq")
	require.NoError(t, printed().err, printed().output)
	api.Copy(printed().api)
}

// start is Cloudflare with what the printed script makes there.
func start(t testing.TB, api *cloudflaretest.API, handler func(http.Handler) http.Handler) *cloudflaretest.Server {
	t.Helper()
	prepare(t, api)
	return cloudflaretest.Start(t, api, handler)
}

// enforcing is a target in mode enforce that has nothing in force.
func enforcing(t testing.TB, api *cloudflaretest.API, change ...func(*cloudflare.Options)) (*cloudflaretest.Server, *cloudflare.Target) {
	t.Helper()
	s := start(t, api, nil)
	target := newTarget(t, s.Address, change...)
	sync(t, target)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return s, target
}

func entry(id uint32, client string) mitigate.Entry {
	return mitigate.Entry{
		ID: mitigate.ID(0xabcd<<32 | uint64(id)), Action: detect.ActionBlock,
		Subject: detect.Subject{Client: targettest.Network(client)}, Expires: time.Now().Add(time.Hour).Unix(),
	}
}

func sync(t testing.TB, target *cloudflare.Target, entries ...mitigate.Entry) mitigate.SyncReport {
	t.Helper()
	report, err := target.Sync(t.Context(), entries)
	require.NoError(t, err)
	return report
}

// refused says of each client whether the edge refuses it.
func refused(s *cloudflaretest.Server, clients ...string) (list []bool) {
	for _, c := range clients {
		_, err := s.Ask(c)
		list = append(list, err != nil)
	}
	return list
}

// comment is that of an entry's item.
func comment(e mitigate.Entry) string {
	return fmt.Sprintf("offpath %s until %s", e.ID, time.Unix(e.Expires, 0).UTC().Format(time.RFC3339))
}

func TestItDoesWhatEveryTargetHasToDo(t *testing.T) {
	t.Parallel()
	traits := targettest.Traits{Networks: true, NoIPv6Addresses: true}
	targettest.Conform(t, traits, func(t testing.TB) *targettest.Balancer {
		s := start(t, &cloudflaretest.API{Quota: 20_000, Takes: 2 * time.Millisecond}, nil)
		return &targettest.Balancer{
			URL: s.URL, Backend: s.Backend, Down: s.Down, Up: s.Up, Deaf: true, Ask: s.Ask,
			Target: func(t testing.TB) mitigate.Target {
				return newTarget(t, s.Address, func(o *cloudflare.Options) { o.Capacity = 10_000 })
			},
		}
	})
}

func TestThePrintedScriptMakesWhatIsNeededOnceAndRefusesNobody(t *testing.T) {
	api := &cloudflaretest.API{}
	s := start(t, api, nil)
	target := newTarget(t, s.Address, func(o *cloudflare.Options) { o.Zones = append(o.Zones, cloudflaretest.Zone2) })
	require.NoError(t, target.Prepared(t.Context()))
	mode, local, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeOff, mode)
	assert.False(t, local)
	api.Put("offpath_block", "203.0.113.7", "")
	assert.Equal(t, []bool{false}, refused(s, "203.0.113.7"))

	before := api.Rules(cloudflaretest.Zone)
	out, err := install(s.Address)
	require.NoError(t, err)
	assert.Contains(t, out, "has the rule")
	assert.Equal(t, before, api.Rules(cloudflaretest.Zone))

	api.DeleteRule(cloudflaretest.Zone, "offpath")
	_, err = install(s.Address)
	require.NoError(t, err)
	require.Error(t, target.SetMode(t.Context(), detect.ModeEnforce, false), "before a comparison")
	sync(t, target)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, []bool{true}, refused(s, "203.0.113.7"))
	out, err = install(s.Address, "off")
	require.NoError(t, err, out)
	assert.Equal(t, []bool{false}, refused(s, "203.0.113.7"), "the alarm of one whose offpath is gone")
	time.Sleep(2 * time.Millisecond)
	mode, local, err = target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeOff, mode)
	assert.True(t, local, "which stands until it is released")
	api.Rule(cloudflaretest.Zone, "offpath", "ref", "another")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	out, err = install(s.Address, "off")
	require.NoError(t, err, out)
	assert.Equal(t, []bool{false}, refused(s, "203.0.113.7"), "also of a rule without its ref")
	api.Rule(cloudflaretest.Zone, "another", "ref", "offpath")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	api.DeleteRule(cloudflaretest.Zone, "offpath")
	out, err = install(s.Address, "off")
	assert.Error(t, err, "one zone has no rule")
	assert.Contains(t, out, "zone "+cloudflaretest.Zone2+": nothing is refused")
	assert.Equal(t, false, api.Rules(cloudflaretest.Zone2)[0]["enabled"])
	_, err = install(s.Address)
	require.NoError(t, err)
	api.ReadOnly = true
	api.DeleteRule(cloudflaretest.Zone, "offpath")
	out, err = install(s.Address)
	assert.Error(t, err)
	assert.Contains(t, out, "Authentication error")
}

func TestWhatTheOperatorHasInListsAndRulesIsNeverTouched(t *testing.T) {
	api := &cloudflaretest.API{}
	s, target := enforcing(t, api)
	api.Put("offpath_block", "198.51.100.1", "a person's")
	api.Put("offpath_block", "198.51.100.2", "")
	api.Put("offpath_block", "198.51.100.3", "offpath of somebody")
	api.Put("offpath_allow", "203.0.113.0/24", "our office")
	narrowed := `(ip.src in $offpath_block and not ip.src in $offpath_allow and http.host eq "127.0.0.1" and http.request.timestamp.sec lt 1000000000)`
	api.Rule(cloudflaretest.Zone, "offpath", "expression", narrowed)
	api.Rule(cloudflaretest.Zone, "offpath", "action_parameters", map[string]any{"response": map[string]any{"status_code": 403., "content": "no", "content_type": "text/plain"}})
	api.Rule(cloudflaretest.Zone, "offpath", "categories", []any{"read-only"})
	rule := func() map[string]any {
		r := api.Rules(cloudflaretest.Zone)[0]
		for _, own := range []string{"enabled", "description", "version", "last_updated", "categories"} {
			delete(r, own)
		}
		return r
	}
	before := rule()
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	same, other := entry(1, "198.51.100.2"), entry(2, "203.0.113.9")
	assert.Equal(t, mitigate.SyncReport{Held: 3, Compared: true, Set: 1}, sync(t, target, same, other))
	require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("192.0.2.7/32")}))
	assert.Equal(t, []bool{true, true, true, false}, refused(s, "198.51.100.1", "198.51.100.2", "198.51.100.3", "203.0.113.9"))
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{same.Subject, other.Subject, entry(3, "198.51.100.1").Subject}))
	require.NoError(t, target.SetAllow(t.Context(), nil))
	sync(t, target)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, map[string]string{"198.51.100.1": "a person's", "198.51.100.2": "", "198.51.100.3": "offpath of somebody"}, api.Items("offpath_block"))
	assert.Equal(t, map[string]string{"203.0.113.0/24": "our office", "192.0.2.0": "offpath settles by this"}, api.Items("offpath_allow"))
	after := rule()
	assert.Regexp(t, `and http.host eq "127.0.0.1" and http.request.timestamp.sec lt [0-9]{10}\)$`, after["expression"])
	delete(before, "expression")
	delete(after, "expression")
	assert.Equal(t, before, after)
}

func TestEnforcementEndsByCloudflaresClockWhenNobodyOrdersItAnyMore(t *testing.T) {
	t.Parallel()
	api := &cloudflaretest.API{}
	s := start(t, api, nil)
	lease := func(o *cloudflare.Options) { o.Lease = 12 * time.Second }
	target := newTarget(t, s.Address, lease)
	sync(t, target, entry(1, "203.0.113.7"))
	order := func() { t.Helper(); require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false)) }
	order()
	began := time.Now()
	assert.Equal(t, []bool{true}, refused(s, "203.0.113.7"))
	for time.Since(began) < 15*time.Second { // longer than one lease
		order()
		require.Equal(t, []bool{true}, refused(s, "203.0.113.7"))
		time.Sleep(100 * time.Millisecond)
	}
	targettest.Eventually(t, func() bool { return !refused(s, "203.0.113.7")[0] }, func() string { return "it goes on" })
	assert.NotEmpty(t, api.Items("offpath_block"), "whoever orders it is gone")
	mode, local, err := newTarget(t, s.Address, lease).Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeOff, mode)
	assert.False(t, local)

	fresh := newTarget(t, s.Address, lease)
	assert.Error(t, fresh.SetMode(t.Context(), detect.ModeEnforce, false), "the list may hold what has ended since")
	assert.Equal(t, []bool{false}, refused(s, "203.0.113.7"))
	sync(t, fresh)
	require.NoError(t, fresh.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, []bool{false}, refused(s, "203.0.113.7"))
}

func TestAnOrderToEnforceThatComesAgainIsWrittenOnlyWhenMuchOfTheTimeHasGone(t *testing.T) {
	api := &cloudflaretest.API{}
	s, target := enforcing(t, api)
	before := api.Count("PATCH", "")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, before, api.Count("PATCH", ""))
	later := newTarget(t, s.Address, func(o *cloudflare.Options) { o.Lease = 4 * time.Hour })
	require.Error(t, later.SetMode(t.Context(), detect.ModeEnforce, false), "before it has compared")
	sync(t, later)
	require.NoError(t, later.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, before+1, api.Count("PATCH", ""), "as if an hour had gone")
}

func TestItemsSayWhichVerdictAndUntilWhen(t *testing.T) {
	api := &cloudflaretest.API{}
	_, target := enforcing(t, api)
	four, network, six := entry(1, "203.0.113.7"), entry(2, "198.51.100.0/24"), entry(3, "2001:db8:1:2::/64")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{four, network, six}, nil))
	assert.Equal(t, map[string]string{"203.0.113.7": comment(four), "198.51.100.0/24": comment(network), "2001:db8:1:2::/64": comment(six)}, api.Items("offpath_block"))
}

func TestARenewalIsWrittenOnlyShortlyBeforeTheEndThatTheItemTells(t *testing.T) {
	api := &cloudflaretest.API{}
	s, target := enforcing(t, api)
	long, soon := entry(1, "203.0.113.1"), entry(2, "203.0.113.2")
	soon.Expires = time.Now().Add(90 * time.Second).Unix()
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{long, soon}, nil))
	changes := func() int { return api.Count("POST", "/items") }
	before := changes()
	longer := long
	longer.Expires += 60
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{longer}, nil))
	assert.Equal(t, before, changes())
	later := soon
	later.Expires += 3600
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{later}, nil))
	assert.Equal(t, before+1, changes())
	assert.Equal(t, map[string]string{"203.0.113.1": comment(long), "203.0.113.2": comment(later)}, api.Items("offpath_block"))
	other := long
	other.ID++
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{other}, nil))
	assert.Equal(t, comment(other), api.Items("offpath_block")["203.0.113.1"], "another verdict")
	assert.Equal(t, []bool{true, true}, refused(s, "203.0.113.1", "203.0.113.2"))
}

func TestAnItemThatWasRenewedIsNotTakenOutAtTheEndThatItTold(t *testing.T) {
	t.Parallel()
	api := &cloudflaretest.API{}
	s := start(t, api, nil)
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{newTarget(t, s.Address)}, Mode: detect.ModeEnforce})
	targettest.Eventually(t, func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == detect.ModeEnforce }, func() string { return c.Targets()[0].LastError })
	v := targettest.Block(1, "203.0.113.7")
	v.Expires = time.Now().Add(6 * time.Second).UnixNano()
	first := v.Expires
	require.NoError(t, c.Apply(v))
	targettest.Eventually(t, func() bool { return refused(s, "203.0.113.7")[0] }, func() string { return c.Targets()[0].LastError })
	v.Expires = first + int64(6*time.Second)
	require.NoError(t, c.Apply(v))
	for time.Now().UnixNano() < first+int64(time.Second) {
		require.Equal(t, []bool{true}, refused(s, "203.0.113.7"))
		time.Sleep(20 * time.Millisecond)
	}
	targettest.Eventually(t, func() bool { return !refused(s, "203.0.113.7")[0] }, func() string { return c.Targets()[0].LastError })
	assert.GreaterOrEqual(t, time.Now().UnixNano(), v.Expires-int64(time.Second))
	targettest.Eventually(t, func() bool { return len(api.Items("offpath_block")) == 0 }, func() string { return "an item is left" })
}

func TestWhereTheRuleOfAZoneIsWrongVerdictsEndInAllOthersAndNoneBegin(t *testing.T) {
	t.Parallel()
	api := &cloudflaretest.API{}
	s := start(t, api, nil)
	target := newTarget(t, s.Address, func(o *cloudflare.Options) { o.Zones = []string{cloudflaretest.Zone, cloudflaretest.Zone2} })
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{target}, Mode: detect.ModeEnforce, CompareInterval: time.Second})
	why := func() string { return c.Targets()[0].LastError }
	targettest.Eventually(t, func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == detect.ModeEnforce }, why)
	ends, lifted, lasts := targettest.Block(1, "203.0.113.1"), targettest.Block(2, "203.0.113.2"), targettest.Block(3, "203.0.113.3")
	ends.Expires = time.Now().Add(10 * time.Second).UnixNano()
	for _, v := range []detect.Verdict{ends, lifted, lasts} {
		require.NoError(t, c.Apply(v))
	}
	clients := []string{"203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"}
	targettest.Eventually(t, func() bool { return slices.Equal([]bool{true, true, true, false}, refused(s, clients...)) }, why)
	api.Rule(cloudflaretest.Zone2, "offpath", "action", "managed_challenge")
	targettest.Eventually(t, func() bool { return !c.Targets()[0].Connected }, why)
	require.NoError(t, c.Apply(targettest.Block(4, "203.0.113.4")))
	require.NoError(t, c.Lift(lifted.ID, "alice"))
	targettest.Eventually(t, func() bool { return slices.Equal([]bool{false, false, true, false}, refused(s, clients...)) }, why)
	api.Rule(cloudflaretest.Zone2, "offpath", "action", "block")
	targettest.Eventually(t, func() bool { return slices.Equal([]bool{false, false, true, true}, refused(s, clients...)) }, why)
}

func TestAnEnforcementIsNotProlongedWhileListsCantBeRead(t *testing.T) {
	api := &cloudflaretest.API{}
	var missing atomic.Bool
	address := behind(t, api, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if missing.Load() && strings.HasSuffix(r.URL.Path, "/items") {
			http.Error(w, `{"success":false,"errors":[{"code":10000,"message":"Authentication error"}],"messages":[],"result":null}`, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	target := newTarget(t, address, func(o *cloudflare.Options) { o.Lease = 6 * time.Second })
	sync(t, target)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	lease := api.Rules(cloudflaretest.Zone)[0]["expression"]
	missing.Store(true)
	_, err := target.Sync(t.Context(), nil)
	require.Error(t, err)
	time.Sleep(2 * time.Second) // a part of the lease after which it would be prolonged
	require.Error(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, lease, api.Rules(cloudflaretest.Zone)[0]["expression"])
	missing.Store(false)
	sync(t, target)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.NotEqual(t, lease, api.Rules(cloudflaretest.Zone)[0]["expression"])
}

func TestBetweenALookAtTheRuleAndItsChangeNothingIsWaitedFor(t *testing.T) {
	api := &cloudflaretest.API{}
	s := start(t, api, nil)
	target := newTarget(t, s.Address, func(o *cloudflare.Options) { o.Gap = time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), targettest.Wait)
	defer cancel()
	require.NoError(t, target.SetMode(ctx, detect.ModeMonitor, false))
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	assert.Error(t, target.SetMode(ctx, detect.ModeMonitor, false), "the next look waits")
}

func TestWithTheControllerDeadWhatIsBlockedStaysAndOneThatStartsEndsWhatHasEnded(t *testing.T) {
	t.Parallel()
	api := &cloudflaretest.API{}
	s := start(t, api, nil)
	run := func(folder string) (*controller.Controller, func()) {
		c, stop := targettest.Running(t, controller.Config{Targets: []mitigate.Target{newTarget(t, s.Address)}, Mode: detect.ModeEnforce, StateDir: folder})
		targettest.Eventually(t, func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == detect.ModeEnforce }, func() string { return c.Targets()[0].LastError })
		return c, stop
	}
	folder := t.TempDir()
	c, stop := run(folder)
	ends, lasts := targettest.Block(1, "203.0.113.1"), targettest.Block(2, "203.0.113.2")
	ends.Expires = time.Now().Add(6 * time.Second).UnixNano()
	require.NoError(t, c.Apply(ends))
	require.NoError(t, c.Apply(lasts))
	targettest.Eventually(t, func() bool { return c.Targets()[0].InForce == 2 }, func() string { return c.Targets()[0].LastError })
	stop()
	time.Sleep(time.Until(time.Unix(0, ends.Expires).Add(time.Second)))
	assert.Equal(t, []bool{true, true}, refused(s, "203.0.113.1", "203.0.113.2"), "as the documentation says")
	_, stop = run(folder)
	targettest.Eventually(t, func() bool { return !refused(s, "203.0.113.1")[0] }, func() string { return "not removed" })
	assert.Equal(t, []bool{true}, refused(s, "203.0.113.2"))
	stop()
	run(t.TempDir())
	targettest.Eventually(t, func() bool { return !refused(s, "203.0.113.2")[0] }, func() string { return "one that lost its state knows what is its own" })
}

func TestTheKillSwitchIsOneChangeOfTheRuleWhateverIsUnderWay(t *testing.T) {
	api := &cloudflaretest.API{}
	s, target := enforcing(t, api)
	sync(t, target, entry(1, "203.0.113.7"))
	require.Equal(t, []bool{true}, refused(s, "203.0.113.7"))
	api.SetTakes(time.Hour) // an operation that does not end
	stuck := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { stuck <- target.Apply(ctx, []mitigate.Entry{entry(2, "203.0.113.8")}, nil) }()
	targettest.Eventually(t, func() bool { return api.Count("GET", "/bulk_operations/") > 1 }, func() string { return "nobody asks about the operation" })
	before := api.Count("PATCH", "")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, []bool{false}, refused(s, "203.0.113.7"))
	assert.Equal(t, before+1, api.Count("PATCH", ""))
	mode, local, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeOff, mode)
	assert.False(t, local)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, before+1, api.Count("PATCH", ""), "what is off is not written again")
	cancel()
	assert.Error(t, <-stuck)
	assert.Error(t, target.SetMode(t.Context(), "on", false))
}

func TestARuleThatLostItsRefIsFoundByItsList(t *testing.T) {
	api := &cloudflaretest.API{}
	s, target := enforcing(t, api)
	sync(t, target, entry(1, "203.0.113.7"))
	api.Rule(cloudflaretest.Zone, "offpath", "ref", "fdb0dd271f3f40b19679cc5d91396024")
	require.NoError(t, target.Prepared(t.Context()))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, []bool{false}, refused(s, "203.0.113.7"))
}

func TestAPersonsOffAtTheRuleStandsUntilReleased(t *testing.T) {
	api := &cloudflaretest.API{}
	s, target := enforcing(t, api)
	sync(t, target, entry(1, "203.0.113.7"))
	mode := func(want detect.Mode, wantLocal bool) {
		t.Helper()
		time.Sleep(2 * time.Millisecond)
		got, local, err := target.Mode(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, wantLocal, local)
	}
	api.Rule(cloudflaretest.Zone, "offpath", "enabled", false)
	mode(detect.ModeOff, true)
	for _, m := range []detect.Mode{detect.ModeEnforce, detect.ModeMonitor, detect.ModeOff} {
		require.NoError(t, target.SetMode(t.Context(), m, false))
		mode(detect.ModeOff, true)
	}
	assert.Equal(t, []bool{false}, refused(s, "203.0.113.7"))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	mode(detect.ModeEnforce, false)
	assert.Equal(t, []bool{true}, refused(s, "203.0.113.7"))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	mode(detect.ModeMonitor, false)
	assert.Equal(t, []bool{false}, refused(s, "203.0.113.7"))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	mode(detect.ModeEnforce, false)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	mode(detect.ModeOff, false)
	api.Rule(cloudflaretest.Zone, "offpath", "enabled", true)
	mode(detect.ModeEnforce, false)
}

func TestZonesHaveOneModeAndThatTheyDifferIsSeen(t *testing.T) {
	api := &cloudflaretest.API{}
	_, target := enforcing(t, api, func(o *cloudflare.Options) { o.Zones = append(o.Zones, cloudflaretest.Zone2) })
	enabled := func() []any {
		return []any{api.Rules(cloudflaretest.Zone)[0]["enabled"], api.Rules(cloudflaretest.Zone2)[0]["enabled"]}
	}
	assert.Equal(t, []any{true, true}, enabled())
	api.Rule(cloudflaretest.Zone2, "offpath", "enabled", false)
	time.Sleep(2 * time.Millisecond)
	mode, local, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Empty(t, mode)
	assert.False(t, local)
	api.DeleteRule(cloudflaretest.Zone2, "offpath")
	assert.ErrorIs(t, target.SetMode(t.Context(), detect.ModeOff, false), cloudflare.ErrNotPrepared)
	assert.Equal(t, false, api.Rules(cloudflaretest.Zone)[0]["enabled"], "the other zone is off all the same")
}

func TestARuleThatIsNotAsPrintedIsNotEnabled(t *testing.T) {
	for name, change := range map[string][2]any{
		"without the allow-list": {"expression", "(ip.src in $offpath_block and http.request.timestamp.sec lt 9999999999)"},
		"of another list":        {"expression", "(ip.src in $offpath_allow and not ip.src in $offpath_allow and http.request.timestamp.sec lt 9999999999)"},
		"that would never end":   {"expression", "(ip.src in $offpath_block and not ip.src in $offpath_allow)"},
		"of another action":      {"action", "managed_challenge"},
	} {
		t.Run(name, func(t *testing.T) {
			api := &cloudflaretest.API{}
			s := start(t, api, nil)
			target := newTarget(t, s.Address)
			sync(t, target)
			api.Rule(cloudflaretest.Zone, "offpath", "expression", "(ip.src in $offpath_block and not ip.src in $offpath_allow and http.request.timestamp.sec lt 9999999999)")
			api.Rule(cloudflaretest.Zone, "offpath", change[0].(string), change[1])
			require.ErrorIs(t, target.SetMode(t.Context(), detect.ModeEnforce, false), cloudflare.ErrNotPrepared)
			require.ErrorIs(t, target.Prepared(t.Context()), cloudflare.ErrNotPrepared)
			_, err := target.Sync(t.Context(), nil)
			require.ErrorIs(t, err, cloudflare.ErrNotPrepared)
			api.Rule(cloudflaretest.Zone, "offpath", "enabled", true)
			_, _, err = target.Mode(t.Context())
			require.ErrorIs(t, err, cloudflare.ErrNotPrepared)
			require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false), "off it can be")
			assert.Equal(t, false, api.Rules(cloudflaretest.Zone)[0]["enabled"])
		})
	}
}

func TestAllowListWinsAndIsHeldAsFarAsListsCan(t *testing.T) {
	api := &cloudflaretest.API{}
	s, target := enforcing(t, api)
	sync(t, target, entry(1, "203.0.113.0/24"), entry(2, "2001:db8:1:2::/64"), entry(3, "2001:db8:1:3::/64"))
	require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{
		netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("2001:db8:1:2::9/128"), netip.MustParsePrefix("10.0.0.0/7"), netip.MustParsePrefix("fe80::/10"),
	}))
	assert.Equal(t, []bool{true, false, false, true}, refused(s, "203.0.113.6", "203.0.113.7", "2001:db8:1:2::9", "2001:db8:1:3::9"))
	items := api.Items("offpath_allow")
	for _, want := range []string{"203.0.113.7", "2001:db8:1:2::/64", "10.0.0.0/8", "11.0.0.0/8", "fe80::/12", "feb0::/12"} {
		assert.Equal(t, "offpath allow", items[want], want)
	}
	assert.Len(t, items, 9, "with the item that settles")
	changes := func() int { return api.Count("POST", "/items") + api.Count("DELETE", "/items") }
	before := changes()
	require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32")}))
	assert.Equal(t, before+1, changes())
	require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32")}))
	assert.Equal(t, before+1, changes(), "nothing to write")
	assert.Equal(t, []bool{true}, refused(s, "2001:db8:1:2::9"))
	require.NoError(t, target.SetAllow(t.Context(), nil))
	assert.Equal(t, []bool{true}, refused(s, "203.0.113.7"))
	assert.Error(t, target.SetAllow(t.Context(), make([]netip.Prefix, 1)))
	assert.ErrorContains(t, target.SetAllow(t.Context(), []netip.Prefix{netip.MustParsePrefix("::/0")}), "4096 items")
	var many []netip.Prefix
	for i := range 1001 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32))
	}
	assert.ErrorContains(t, target.SetAllow(t.Context(), many), "more than 999")
}
