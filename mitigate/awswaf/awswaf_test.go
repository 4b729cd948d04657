package awswaf_test

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/awswaf"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/awswaftest"
	"offpath/mitigate/internal/targettest"
)

const group = "bank"

// rates are what AWS has of them: the last two it does not.
var rates = []detect.Rate{{Requests: 10, Per: 60e9}, {Requests: 100, Per: 300e9}, {Requests: 9, Per: 60e9}, {Requests: 10, Per: 10e9}}

func secret() ([]byte, error) { return []byte("secret"), nil }

func newTarget(t testing.TB, endpoint string, change ...func(*awswaf.Options)) *awswaf.Target {
	t.Helper()
	o := awswaf.Options{
		Name: "aws", Region: "eu-central-1", Group: group, Endpoint: endpoint, Rates: rates, AccessKey: "AKIDEXAMPLE", Secret: secret,
		Pace: time.Millisecond, Look: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	}
	for _, f := range change {
		f(&o)
	}
	target, err := awswaf.New(o)
	require.NoError(t, err)
	return target
}

func serve(t testing.TB, f *awswaftest.Fake) (endpoint string, judge *awswaftest.Judge) {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL, &awswaftest.Judge{API: awswaftest.Client(server.URL), Group: group}
}

func entry(id uint32, client string) mitigate.Entry {
	return mitigate.Entry{
		ID: mitigate.ID(0xabcd<<32 | uint64(id)), Action: detect.ActionBlock,
		Subject: detect.Subject{Client: targettest.Network(client)}, Expires: time.Now().Add(time.Hour).Unix(),
	}
}

func limited(id uint32, client string, rate detect.Rate) mitigate.Entry {
	e := entry(id, client)
	e.Action, e.Rate = detect.ActionRateLimit, rate
	return e
}

func watched(e mitigate.Entry) mitigate.Entry {
	e.Monitor = true
	return e
}

func sync(t testing.TB, target *awswaf.Target, entries ...mitigate.Entry) mitigate.SyncReport {
	t.Helper()
	report, err := target.Sync(t.Context(), entries)
	require.NoError(t, err)
	return report
}

// enforcing is a stand-in with a target in mode enforce that has nothing in force.
func enforcing(t testing.TB, change ...func(*awswaf.Options)) (*awswaftest.Fake, *awswaftest.Judge, *awswaf.Target) {
	t.Helper()
	f := &awswaftest.Fake{}
	endpoint, judge := serve(t, f)
	target := newTarget(t, endpoint, change...)
	sync(t, target)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return f, judge, target
}

// proxies are networks that the tests allow.
var proxies = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}

var passed = awswaftest.Verdict{Status: 200}

func statuses(verdicts []awswaftest.Verdict) (list []int) {
	for _, v := range verdicts {
		list = append(list, v.Status)
	}
	return list
}

// work is what a controller and a target do together at either of the two.
func work(t *testing.T, endpoint string) {
	// Few questions: moto takes some 10 ms for each.
	few := func(o *awswaf.Options) { o.Sets, o.Rates, o.Look = 1, rates[:1], 300*time.Millisecond }
	judge := &awswaftest.Judge{API: awswaftest.Client(endpoint), Group: group}
	folder := t.TempDir()
	start := func() (*controller.Controller, func()) {
		c, stop := targettest.Running(t, controller.Config{
			Targets: []mitigate.Target{newTarget(t, endpoint, few)}, Mode: detect.ModeEnforce, StateDir: folder,
		})
		targettest.Eventually(t, func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == detect.ModeEnforce }, func() string { return c.Targets()[0].LastError })
		return c, stop
	}
	becomes := func(client string, status int) {
		t.Helper()
		targettest.Eventually(t, func() bool { return judge.Ask(t, client).Status == status }, func() string { return fmt.Sprintf("%s is not answered %d", client, status) })
	}
	c, stop := start()
	four, six, network := targettest.Block(1, "203.0.113.7"), targettest.Block(2, "2001:db8::7"), targettest.Block(3, "198.51.100.0/24")
	program := targettest.Block(9, "203.0.113.1")
	program.Subject = detect.Subject{JA4: ja4}
	limit := targettest.Block(4, "203.0.113.9")
	limit.Action, limit.Rate = detect.ActionRateLimit, rates[0]
	for _, v := range []detect.Verdict{four, six, network, limit, program} {
		require.NoError(t, c.Apply(v))
	}
	becomes("203.0.113.7", 403)
	becomes("2001:db8::7", 403)
	becomes("198.51.100.200", 403)
	assert.Equal(t, []int{200, 200, 200}, statuses(judge.AskAll(t, "203.0.113.8", "2001:db8::8", "198.51.101.1")))
	targettest.Eventually(t, func() bool {
		return judge.Requests(t, awswaftest.Request{Client: "192.0.2.1", JA4: ja4})[0] == awswaftest.Verdict{Status: 403, Marker: program.ID}
	}, func() string { return "a program is not refused" })
	becomes("203.0.113.9", 429)
	assert.Equal(t, "60", judge.Ask(t, "203.0.113.9").Retry)

	require.NoError(t, c.SetMode(detect.ModeMonitor, "alice"))
	becomes("203.0.113.7", 200)
	assert.Contains(t, judge.Ask(t, "203.0.113.7").Counted, "offpath-block")
	require.NoError(t, c.Off("alice"))
	targettest.Eventually(t, func() bool { return judge.Ask(t, "203.0.113.7") == passed }, func() string { return "off" })
	require.NoError(t, c.On("alice"))
	require.NoError(t, c.SetMode(detect.ModeEnforce, "alice"))
	becomes("203.0.113.7", 403)
	require.NoError(t, c.Lift(four.ID, "alice"))
	becomes("203.0.113.7", 200)

	// AWS keeps no expiry: the controller takes out what ends, and at its start what ended
	// while there was none.
	soon, meanwhile := targettest.Block(5, "203.0.113.5"), targettest.Block(6, "203.0.113.6")
	soon.Expires = time.Now().Add(1500 * time.Millisecond).UnixNano()
	require.NoError(t, c.Apply(soon))
	becomes("203.0.113.5", 403)
	becomes("203.0.113.5", 200)
	assert.GreaterOrEqual(t, time.Now().UnixNano(), soon.Expires)
	meanwhile.Expires = time.Now().Add(2 * time.Second).UnixNano()
	require.NoError(t, c.Apply(meanwhile))
	becomes("203.0.113.6", 403)
	stop()
	time.Sleep(time.Until(time.Unix(0, meanwhile.Expires).Add(time.Second)))
	assert.Equal(t, 403, judge.Ask(t, "203.0.113.6").Status, "with the controller dead it stays blocked, as the documentation says")
	start()
	becomes("203.0.113.6", 200)
	becomes("2001:db8::7", 403)
}

func TestControllerAndMoto(t *testing.T) {
	t.Parallel()
	work(t, awswaftest.StartMoto(t))
}

func TestControllerAndTheStandIn(t *testing.T) {
	t.Parallel()
	endpoint, _ := serve(t, &awswaftest.Fake{AccessKey: "AKIDEXAMPLE"})
	work(t, endpoint)
}

func TestRefusalsCarryTheMarkerOfTheirRule(t *testing.T) {
	_, judge, target := enforcing(t)
	sync(t, target, entry(1, "203.0.113.7"), entry(2, "203.0.113.8"), limited(3, "203.0.113.9", rates[1]))
	want := awswaftest.Verdict{Status: 403, Marker: target.Marker("block").String()}
	assert.Equal(t, want, judge.Ask(t, "203.0.113.7"))
	assert.Equal(t, want, judge.Ask(t, "203.0.113.8"), "the same for all")
	for range 100 {
		require.Equal(t, 200, judge.Ask(t, "203.0.113.9").Status)
	}
	assert.Equal(t, awswaftest.Verdict{Status: 429, Marker: target.Marker("rate-100-300").String(), Retry: "300"}, judge.Ask(t, "203.0.113.9"))
	id, err := mitigate.ParseID(want.Marker)
	require.NoError(t, err, "a marker is what the sensor takes for one")
	assert.NotEqual(t, id, target.Marker("rate-100-300"))
}

func TestTheMostSpecificEnforcedVerdictApplies(t *testing.T) {
	_, judge, target := enforcing(t)
	network := entry(1, "2001:db8::/48")
	sync(t, target, network, limited(2, "2001:db8:0:1::/64", rates[0]), entry(3, "2001:db8:0:1::5"), watched(entry(4, "2001:db8:0:2::/64")),
		watched(entry(5, "203.0.113.0/24")), watched(limited(6, "203.0.113.5", rates[0])))
	assert.Equal(t, []int{403, 403, 200, 403, 403, 200, 200}, statuses(judge.AskAll(t,
		"2001:db8::1", "2001:db8:0:ffff::1", "2001:db8:0:1::4", "2001:db8:0:1::5", "2001:db8:0:2::1", "203.0.113.5", "2001:db8:1::1")))
	for range 9 {
		assert.Equal(t, 200, judge.Ask(t, "2001:db8:0:1::4").Status)
	}
	assert.Equal(t, 429, judge.Ask(t, "2001:db8:0:1::4").Status, "its own rate, not the network's block")
	assert.Equal(t, awswaftest.Verdict{Status: 200, Counted: " offpath-watch"}, judge.Ask(t, "203.0.113.5"))

	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{entry(0, "2001:db8:0:1::/64").Subject}))
	assert.Equal(t, []int{403, 403}, statuses(judge.AskAll(t, "2001:db8:0:1::4", "2001:db8:0:1::5")), "the network's again")
}

func TestAllowListWins(t *testing.T) {
	f, judge, target := enforcing(t)
	sync(t, target, entry(1, "203.0.113.0/24"), entry(2, "2001:db8::5"))
	allow := []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("203.0.113.8/30"), netip.MustParsePrefix("::/0")}
	require.NoError(t, target.SetAllow(t.Context(), allow))
	assert.Equal(t, []int{403, 200, 200, 200}, statuses(judge.AskAll(t, "203.0.113.6", "203.0.113.7", "203.0.113.11", "2001:db8::5")))
	writes := f.Count("UpdateIPSet")
	require.NoError(t, target.SetAllow(t.Context(), allow))
	assert.Equal(t, writes, f.Count("UpdateIPSet"), "nothing to write")
	require.NoError(t, target.SetAllow(t.Context(), nil))
	assert.Equal(t, []int{403, 403}, statuses(judge.AskAll(t, "203.0.113.7", "2001:db8::5")))
	assert.Error(t, target.SetAllow(t.Context(), make([]netip.Prefix, 1)))
}

func TestTheKillSwitchIsOneUpdateOfTheRulesHoweverLongTheLists(t *testing.T) {
	f, judge, target := enforcing(t)
	var entries []mitigate.Entry
	for i := range uint32(10_000) {
		entries = append(entries, entry(i+1, fmt.Sprintf("203.%d.%d.%d", i>>16, i>>8&255, i&255)))
	}
	began := time.Now()
	report := sync(t, target, entries...)
	t.Logf("10000 verdicts in force after %s, in %d updates", time.Since(began).Round(time.Millisecond), f.Count("UpdateIPSet"))
	assert.Equal(t, mitigate.SyncReport{Compared: true, Set: 10_000}, report)
	assert.Equal(t, 2, f.Count("UpdateIPSet"), "a write of each of the two sets")
	assert.Equal(t, []int{403, 403, 200}, statuses(judge.AskAll(t, "203.0.0.0", "203.0.39.15", "203.0.39.16")))
	sets, groups := f.Count("UpdateIPSet"), f.Count("UpdateRuleGroup")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, passed, judge.Ask(t, "203.0.0.0"))
	assert.Equal(t, []int{sets, groups + 1}, []int{f.Count("UpdateIPSet"), f.Count("UpdateRuleGroup")})
	mode, local, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeOff, mode)
	assert.False(t, local)

	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{entries[7].Subject}))
	assert.Equal(t, sets+1, f.Count("UpdateIPSet"), "a change writes the one set that has it")
	assert.Equal(t, []int{403, 200}, statuses(judge.AskAll(t, "203.0.0.6", "203.0.0.7")))
	assert.Error(t, target.SetMode(t.Context(), "on", false))
}

func TestWhatHasNoRoomIsRejectedAndAllElseIsInForce(t *testing.T) {
	_, judge, target := enforcing(t, func(o *awswaf.Options) { o.Sets = 1 })
	var entries []mitigate.Entry
	for i := range uint32(10_003) {
		e := entry(i+1, fmt.Sprintf("203.%d.%d.%d", i>>16, i>>8&255, i&255))
		e.Expires += int64(i)
		entries = append(entries, e)
	}
	_, err := target.Sync(t.Context(), entries)
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, err, &rejected)
	var ids []mitigate.ID
	for _, r := range rejected.Rejections {
		ids = append(ids, r.ID)
		assert.Contains(t, r.Answer, "full")
	}
	assert.Equal(t, []mitigate.ID{entries[0].ID, entries[1].ID, entries[2].ID}, ids, "those that end first")
	assert.Equal(t, []int{200, 403, 403}, statuses(judge.AskAll(t, "203.0.0.2", "203.0.0.3", "203.0.39.18")))
	assert.Equal(t, 10_000, target.Capacity())
}

func TestTheAllowedPaceIsKept(t *testing.T) {
	f := &awswaftest.Fake{Interval: 50 * time.Millisecond}
	endpoint, judge := serve(t, f)
	// What is throttled is an error with one attempt.
	target := newTarget(t, endpoint, func(o *awswaf.Options) {
		o.Pace, o.Attempts, o.Sets, o.Rates = 300*time.Millisecond, 1, 1, nil
	})
	sync(t, target)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	for i := range uint32(4) {
		require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(i+1, fmt.Sprintf("203.0.113.%d", i+1))}, nil))
	}
	assert.Equal(t, 403, judge.Ask(t, "203.0.113.4").Status)
	hasty := newTarget(t, endpoint, func(o *awswaf.Options) { o.Attempts = 1 })
	_, err := hasty.Sync(t.Context(), nil) // it has more sets to make
	assert.ErrorContains(t, err, "Rate exceeded")
}

func TestThrottlingAndUnavailableEntitiesAreTriedAgain(t *testing.T) {
	f := &awswaftest.Fake{Settles: 30 * time.Millisecond}
	endpoint, judge := serve(t, f)
	var times atomic.Int32
	f.Before = func(operation string) string {
		if strings.HasPrefix(operation, "Update") && times.Add(1)%3 == 1 {
			return "ThrottlingException"
		}
		return ""
	}
	target := newTarget(t, endpoint, func(o *awswaf.Options) { o.Attempts = 10 })
	sync(t, target, entry(1, "203.0.113.1"))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, 403, judge.Ask(t, "203.0.113.1").Status)
	assert.Greater(t, times.Load(), int32(2))
}

func TestSetsThatSomebodyElseWritesAreMended(t *testing.T) {
	f, judge, target := enforcing(t)
	sync(t, target, entry(1, "203.0.113.1"), entry(2, "2001:db8::1"))
	f.Meddle(group+"-block-ipv4-0", "192.0.2.66/32")
	f.Meddle(group+"-watch-ipv6-1", "2001:db8::66/128")
	assert.Equal(t, 403, judge.Ask(t, "192.0.2.66").Status)
	report := sync(t, target, entry(1, "203.0.113.1"), entry(2, "2001:db8::1"))
	assert.Equal(t, mitigate.SyncReport{Held: 4, Compared: true, Removed: 2}, report, "AWS writes IPv6 its own way, which is no difference")
	assert.Equal(t, []int{403, 403, 200}, statuses(judge.AskAll(t, "203.0.113.1", "2001:db8::1", "192.0.2.66")))
	writes := f.Count("UpdateIPSet")
	assert.Equal(t, mitigate.SyncReport{Held: 2, Compared: true}, sync(t, target, entry(1, "203.0.113.1"), entry(2, "2001:db8::1")))
	assert.Equal(t, writes, f.Count("UpdateIPSet"))

	// Between the reading of the lock token and the update.
	var once atomic.Bool
	f.Before = func(operation string) string {
		if operation == "UpdateIPSet" && once.CompareAndSwap(false, true) {
			f.Meddle(group+"-block-ipv4-0", "192.0.2.67/32")
			f.Meddle(group+"-block-ipv4-1", "192.0.2.68/32")
		}
		return ""
	}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(3, "203.0.113.3")}, nil))
	assert.Equal(t, 403, judge.Ask(t, "203.0.113.3").Status)
	sync(t, target, entry(1, "203.0.113.1"))
	assert.Equal(t, []int{403, 200, 200, 200}, statuses(judge.AskAll(t, "203.0.113.1", "203.0.113.3", "192.0.2.67", "192.0.2.68")))
}

func TestWhatWasDeletedIsMadeAnewAndNoticed(t *testing.T) {
	f, judge, target := enforcing(t)
	entries := []mitigate.Entry{entry(1, "203.0.113.1")}
	sync(t, target, entries...)
	before, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "WAFv2", before.Version)
	require.NoError(t, target.Prepared(t.Context()))
	f.Delete(group)
	time.Sleep(2 * time.Millisecond)
	_, _, err = target.Mode(t.Context())
	assert.ErrorIs(t, err, awswaf.ErrNotPrepared)
	after, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, before.Process, after.Process)
	assert.ErrorIs(t, target.Prepared(t.Context()), awswaf.ErrNotPrepared)

	for set := range f.Sets() {
		f.Delete(set)
	}
	time.Sleep(2 * time.Millisecond)
	assert.ErrorIs(t, target.SetMode(t.Context(), detect.ModeEnforce, false), awswaf.ErrNotPrepared)
	sync(t, target, entries...)
	time.Sleep(2 * time.Millisecond)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, 403, judge.Ask(t, "203.0.113.1").Status)

	f.Delete(group + "-block-ipv4-0")
	f.Delete(group + "-block-ipv4-1")
	assert.ErrorContains(t, target.Prepared(t.Context()), "-block-ipv4-")
	assert.Error(t, target.Apply(t.Context(), []mitigate.Entry{entry(2, "203.0.113.2")}, nil))
	sync(t, target, append(entries, entry(2, "203.0.113.2"))...)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, []int{403, 403}, statuses(judge.AskAll(t, "203.0.113.1", "203.0.113.2")))
}

func TestNothingIsTakenOutBeforeItIsKnownWhatThereIsToBe(t *testing.T) {
	_, judge, target := enforcing(t)
	sync(t, target, entry(1, "203.0.113.1"))
	endpoint := judge.API.Options().BaseEndpoint
	fresh := newTarget(t, *endpoint)
	assert.Error(t, fresh.Apply(t.Context(), []mitigate.Entry{entry(2, "203.0.113.2")}, nil))
	require.NoError(t, fresh.Sweep(t.Context()))
	assert.Equal(t, 403, judge.Ask(t, "203.0.113.1").Status)
}

func TestAFailedRemovalOfWhatHasEndedIsTriedAgain(t *testing.T) {
	f, judge, target := enforcing(t, func(o *awswaf.Options) { o.Attempts = 1 })
	e := entry(1, "203.0.113.1")
	e.Expires = time.Now().Unix() + 2 // of which up to one has gone
	sync(t, target, e, entry(2, "203.0.113.2"))
	require.Equal(t, 403, judge.Ask(t, "203.0.113.1").Status)
	f.Before = func(operation string) string {
		if operation == "UpdateIPSet" {
			return "WAFInternalErrorException"
		}
		return ""
	}
	time.Sleep(time.Until(time.Unix(e.Expires, 0)))
	assert.Error(t, target.Sweep(t.Context()))
	f.Before = nil
	require.NoError(t, target.Sweep(t.Context()))
	assert.Equal(t, []int{200, 403}, statuses(judge.AskAll(t, "203.0.113.1", "203.0.113.2")))
}

func TestAGroupThatIsTooSmallForTheRatesIsSaid(t *testing.T) {
	_, judge, _ := enforcing(t)
	var many []detect.Rate
	for i := range 8 {
		many = append(many, detect.Rate{Requests: 10 + i, Per: 60e9})
	}
	target := newTarget(t, *judge.API.Options().BaseEndpoint, func(o *awswaf.Options) { o.Rates, o.Sets = many, 4 })
	err := target.Prepared(t.Context())
	assert.ErrorIs(t, err, awswaf.ErrNotPrepared)
	assert.ErrorContains(t, err, "capacity")
}

func TestUnsupportedIsSaidWithItsReason(t *testing.T) {
	target := newTarget(t, "http://127.0.0.1:1")
	whole := entry(1, "203.0.113.1")
	require.NoError(t, target.Carries(&whole))
	for reason, change := range map[string]func(*mitigate.Entry){
		`no action "tag"`:                func(e *mitigate.Entry) { e.Action = detect.ActionTag },
		`no action "challenge"`:          func(e *mitigate.Entry) { e.Action = detect.ActionChallenge },
		"no limit of 9 requests per 1m0": func(e *mitigate.Entry) { *e = limited(1, "203.0.113.1", rates[2]) },
		"no limit of 10 requests per 10": func(e *mitigate.Entry) { *e = limited(1, "203.0.113.1", rates[3]) },
		"is none of the rates":           func(e *mitigate.Entry) { *e = limited(1, "203.0.113.1", detect.Rate{Requests: 11, Per: 60e9}) },
		"beside addresses and networks":  func(e *mitigate.Entry) { e.Subject.Session = "0123456789abcdef" },
		"names nothing":                  func(e *mitigate.Entry) { e.Subject = detect.Subject{} },
		"::/0 is not":                    func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix("::/0") },
		"::ffff:203.0.113.1/128 is not":  func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix("::ffff:203.0.113.1/128") },
		"expiry 0":                       func(e *mitigate.Entry) { e.Expires = 0 },
	} {
		e := whole
		change(&e)
		err := target.Carries(&e)
		assert.ErrorIs(t, err, mitigate.ErrUnsupported, reason)
		assert.ErrorContains(t, err, reason)
	}
	for _, rate := range rates[:2] {
		e := limited(1, "203.0.113.1", rate)
		assert.NoError(t, target.Carries(&e))
	}
}

func TestOptionsThatCantBeAreRefused(t *testing.T) {
	var many []detect.Rate
	for i := range 9 {
		many = append(many, detect.Rate{Requests: 10 + i, Per: 60e9})
	}
	for name, change := range map[string]func(*awswaf.Options){
		"is no name of a region": func(o *awswaf.Options) { o.Region = "Frankfurt" },
		"is not us-east-1":       func(o *awswaf.Options) { o.CloudFront = true },
		"has no access key":      func(o *awswaf.Options) { o.Secret = nil },
		"is no name of letters":  func(o *awswaf.Options) { o.Group = "a b" },
		"is negative":            func(o *awswaf.Options) { o.Pace = -1 },
		"9 different rates":      func(o *awswaf.Options) { o.Rates = many },
		"IP sets are more than":  func(o *awswaf.Options) { o.Sets = 12 },
	} {
		o := awswaf.Options{Region: "eu-central-1", AccessKey: "a", Secret: secret, Rates: rates}
		change(&o)
		_, err := awswaf.New(o)
		assert.ErrorContains(t, err, name)
	}
}

func TestCredentialsAreAskedForAndTheirFailureIsSaid(t *testing.T) {
	endpoint, _ := serve(t, &awswaftest.Fake{AccessKey: "AKIDEXAMPLE", SessionToken: "session"})
	ask := func(change func(*awswaf.Options)) error {
		_, err := newTarget(t, endpoint, func(o *awswaf.Options) {
			o.SessionToken = func() ([]byte, error) { return []byte("session"), nil }
			change(o)
		}).Identity(t.Context())
		return err
	}
	gone := func() ([]byte, error) { return nil, fmt.Errorf("no such file") }
	assert.NoError(t, ask(func(*awswaf.Options) {}))
	assert.ErrorContains(t, ask(func(o *awswaf.Options) { o.AccessKey = "OTHER" }), "security token")
	assert.ErrorContains(t, ask(func(o *awswaf.Options) { o.SessionToken = nil }), "security token")
	assert.ErrorContains(t, ask(func(o *awswaf.Options) { o.Secret = gone }), "secret: no such file")
	assert.ErrorContains(t, ask(func(o *awswaf.Options) { o.SessionToken = gone }), "session token: no such file")
}

func TestTheSetupSaysLoudlyThatNothingEndsByItself(t *testing.T) {
	text, err := awswaf.Setup{Group: group, CloudFront: true, Rates: rates}.Render()
	require.NoError(t, err)
	var b strings.Builder
	_, err = text.WriteTo(&b)
	require.NoError(t, err)
	for _, part := range []string{"AWS keeps no expiry", "region: us-east-1", "scope: cloudfront", "--scope CLOUDFRONT", "arn:aws:wafv2:us-east-1:ACCOUNT:global/ipset/bank-*", "10 per 60 s 100 per 300 s", "and 18 IP sets"} {
		assert.Contains(t, b.String(), part)
	}
	_, err = awswaf.Setup{Region: "x"}.Render()
	assert.Error(t, err)
	assert.True(t, slices.Contains(strings.Fields(b.String()), "X-Offpath-Refused,"))
}

func TestTenThousandVerdictsThatCameWhileAWSWasOutOfReachAreInForceAfterwards(t *testing.T) {
	const n = 10_000
	var away atomic.Bool
	f := &awswaftest.Fake{Before: func(string) string {
		if away.Load() {
			return "InternalFailure"
		}
		return ""
	}}
	endpoint, judge := serve(t, f)
	target := newTarget(t, endpoint, func(o *awswaf.Options) { o.Attempts = 2 })
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{target}, Mode: detect.ModeEnforce, MaxPerMinute: 2 * n})
	connected := func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == detect.ModeEnforce }
	targettest.Eventually(t, connected, func() string { return c.Targets()[0].LastError })
	away.Store(true)
	targettest.Eventually(t, func() bool { return !c.Targets()[0].Connected }, func() string { return "noticed" })
	of := func(i uint32) detect.Verdict {
		return targettest.Block(i+1, fmt.Sprintf("203.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	for i := range uint32(n) {
		require.NoError(t, c.Apply(of(i)))
	}
	away.Store(false)
	targettest.Eventually(t, func() bool { return c.Targets()[0].InForce == n }, func() string { return c.Targets()[0].LastError })
	assert.Equal(t, []int{403, 403, 200}, statuses(judge.AskAll(t, "203.0.0.0", "203.0.39.15", "203.0.39.16")))
	for i := range uint32(n) {
		if i != 7 {
			require.NoError(t, c.Lift(of(i).ID, "alice"))
		}
	}
	targettest.Eventually(t, func() bool { return len(f.Sets()) == 1 }, func() string { return fmt.Sprint(len(f.Sets()), " sets") })
	targettest.Eventually(t, func() bool {
		return slices.Equal(statuses(judge.AskAll(t, "203.0.0.7", "203.0.0.8", "203.0.39.15")), []int{403, 200, 200})
	}, func() string { return "lifted" })
}
