package nginxfile_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginxfile"
)

// These tests look at what clients are answered by Debian's nginx, without any module.

func rate(requests int, per time.Duration) detect.Rate {
	return detect.Rate{Requests: requests, Per: int64(per)}
}

// proxied is a setup whose proxy names clients, so that a test can come from any address.
var proxied = nginxfile.Setup{
	TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")},
	Rates:          []detect.Rate{rate(3, time.Minute), rate(1, time.Second), rate(1, 10*time.Second), rate(1, time.Minute)},
}

func newTarget(t testing.TB, s *nginxtest.Plain, change ...func(*nginxfile.Options)) *nginxfile.Target {
	t.Helper()
	o := nginxfile.Options{
		Name: "lb1", Address: s.Address, Dir: s.Folder, PIDFile: s.PIDFile, Program: s.Program,
		Rates: proxied.Rates, Interval: nginxfile.MinInterval,
	}
	for _, f := range change {
		f(&o)
	}
	target, err := nginxfile.New(o)
	require.NoError(t, err)
	return target
}

func balancer(s *nginxtest.Plain) *targettest.Balancer {
	return &targettest.Balancer{
		URL: s.URL, Backend: s.Backend, Down: s.Down, Up: s.Up, Reload: s.Reload,
		Target: func(t testing.TB) mitigate.Target { return newTarget(t, s) },
	}
}

func TestItDoesWhatEveryTargetHasToDo(t *testing.T) {
	traits := targettest.Traits{
		Rates:    []time.Duration{time.Second, 10 * time.Second, time.Minute},
		Networks: true, Expires: true, Tags: true,
	}
	targettest.Conform(t, traits, func(t testing.TB) *targettest.Balancer {
		return balancer(nginxtest.StartPlain(t, proxied))
	})
}

// enforcing is a fresh load balancer in mode enforce.
func enforcing(t testing.TB, change ...func(*nginxfile.Options)) (*nginxtest.Plain, *targettest.Balancer, *nginxfile.Target) {
	t.Helper()
	s := nginxtest.StartPlain(t, proxied)
	target := newTarget(t, s, change...)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return s, balancer(s), target
}

// entry is a block of an address or network for an hour.
func entry(id uint32, client string) mitigate.Entry {
	return mitigate.Entry{
		ID: mitigate.ID(0xabcd<<32 | uint64(id)), Action: detect.ActionBlock,
		Subject: detect.Subject{Client: targettest.Network(client)}, Expires: time.Now().Add(time.Hour).Unix(),
	}
}

func apply(t testing.TB, target *nginxfile.Target, set ...mitigate.Entry) {
	t.Helper()
	require.NoError(t, target.Apply(t.Context(), set, nil))
}

// get asks without the time it took.
func get(t testing.TB, b *targettest.Balancer, client string, headers ...string) targettest.Answer {
	t.Helper()
	a := b.Get(t, client, headers...)
	a.Elapsed = 0
	return a
}

var passed = targettest.Answer{Status: 200}

func refused(status int, e mitigate.Entry) targettest.Answer {
	return targettest.Answer{Status: status, Marker: e.ID.String()}
}

func tagged(e mitigate.Entry) targettest.Answer {
	return targettest.Answer{Status: 200, Tag: e.ID.String()}
}

func TestAddressesMatchHoweverTheyAreWritten(t *testing.T) {
	_, b, target := enforcing(t)
	tests := []struct{ verdict, client string }{
		{"198.51.100.7", "198.51.100.7"},
		{"198.51.100.8", "::ffff:198.51.100.8"},
		{"198.51.100.9", "::ffff:c633:6409"},
		{"2001:db8::1", "2001:0DB8:0:0:0:0:0:1"},
		{"2001:db8:0:0:1::1", "2001:db8:0:0:1:0:0:1"},
		{"::1", "::1"},
		{"::102:304", "::1.2.3.4"},
		{"fe80::1", "fe80::1"},
	}
	var all []mitigate.Entry
	for i, tt := range tests {
		all = append(all, entry(uint32(i+1), tt.verdict))
	}
	apply(t, target, all...)
	for i, tt := range tests {
		assert.Equal(t, refused(403, all[i]), get(t, b, tt.client), "%s is %s", tt.verdict, tt.client)
	}
	assert.Equal(t, passed, get(t, b, "198.51.100.1"))
}

func TestClientIsReadPastTrustedProxiesOnly(t *testing.T) {
	_, b, target := enforcing(t)
	apply(t, target, entry(1, "198.51.100.7"))
	for _, tt := range []struct {
		name    string
		from    string
		headers []string
		status  int
	}{
		{"named by a trusted proxy", targettest.Proxy, []string{"X-Forwarded-For", "198.51.100.7"}, 403},
		{"the nearest name counts", targettest.Proxy, []string{"X-Forwarded-For", "198.51.100.7, 192.0.2.1"}, 200},
		{"a chain of trusted proxies is looked past", targettest.Proxy, []string{"X-Forwarded-For", "192.0.2.1, 198.51.100.7, 127.0.0.9, 127.0.0.8"}, 403},
		{"who is no proxy is not believed", targettest.Attacker, []string{"X-Forwarded-For", "198.51.100.7"}, 200},
		{"a name that is no address names nobody", targettest.Proxy, []string{"X-Forwarded-For", "unknown"}, 200},
		{"no header", targettest.Proxy, nil, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.status, targettest.Get(t, tt.from, b.URL+"/", tt.headers...).Status)
		})
	}
}

func TestTheNarrowestEnforcedVerdictWinsAndNoneThatWatchesHidesIt(t *testing.T) {
	_, b, target := enforcing(t)
	network, address := entry(1, "198.51.100.0/24"), entry(2, "198.51.100.7")
	limit, watched := entry(3, "198.51.100.8"), entry(4, "198.51.100.9")
	limit.Action, limit.Rate = detect.ActionRateLimit, rate(1, time.Minute)
	watched.Monitor = true
	tag := entry(5, "203.0.113.0/28")
	tag.Action = detect.ActionTag
	inner := entry(6, "203.0.113.5")
	inner.Monitor = true
	apply(t, target, network, address, limit, watched, tag, inner)
	assert.Equal(t, refused(403, address), get(t, b, "198.51.100.7"))
	assert.Equal(t, tagged(limit), get(t, b, "198.51.100.8"))
	limited := refused(429, limit)
	limited.Retry = "60"
	assert.Equal(t, limited, get(t, b, "198.51.100.8"))
	assert.Equal(t, refused(403, network), get(t, b, "198.51.100.9"), "the address's only watches")
	assert.Equal(t, tagged(tag), get(t, b, "203.0.113.5"))

	network.Monitor = true
	apply(t, target, network)
	assert.Equal(t, tagged(watched), get(t, b, "198.51.100.9"), "both only watch")
	assert.Equal(t, tagged(network), get(t, b, "198.51.100.10"))
}

func TestNetworksLieInOneAnotherUpToFourDeep(t *testing.T) {
	_, b, target := enforcing(t)
	var all []mitigate.Entry
	for i, network := range []string{"2001:db8::/32", "2001:db8:1::/48", "2001:db8:1:2::/64", "2001:db8:1:2::3", "2001:db8:1:2:4::/80", "2001:db8:1:2:4::5"} {
		e := entry(uint32(i+1), network)
		e.Monitor = i == 3
		all = append(all, e)
	}
	err := target.Apply(t.Context(), all, nil)
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, err, &rejected)
	require.Len(t, rejected.Rejections, 1, "the fifth")
	assert.Equal(t, all[5].ID, rejected.Rejections[0].ID)
	assert.Contains(t, rejected.Rejections[0].Answer, "2001:db8:1:2:4::5/128 lies in 4 networks")
	for client, e := range map[string]mitigate.Entry{
		"2001:db8:9::1": all[0], "2001:db8:1:9::1": all[1], "2001:db8:1:2::9": all[2], "2001:db8:1:2::3": all[2],
		"2001:db8:1:2:4::1": all[4], "2001:db8:1:2:4::5": all[4],
	} {
		assert.Equal(t, refused(403, e), get(t, b, client), client)
	}
	var gone []detect.Subject
	for _, e := range all[:3] {
		gone = append(gone, e.Subject)
	}
	require.NoError(t, target.Apply(t.Context(), nil, gone))
	assert.Equal(t, passed, get(t, b, "2001:db8:9::1"))
	assert.Equal(t, tagged(all[3]), get(t, b, "2001:db8:1:2::3"))
	assert.Equal(t, refused(403, all[4]), get(t, b, "2001:db8:1:2:4::5"))
}

func TestAVerdictEndsAtItsSecondByNginxsOwnClockAndThoseAroundItGoOn(t *testing.T) {
	_, b, target := enforcing(t)
	now := time.Now().Unix()
	wide, middle, narrow := entry(1, "198.51.100.0/24"), entry(2, "198.51.100.0/28"), entry(3, "198.51.100.7")
	wide.Expires, middle.Expires, narrow.Expires = now+7, now+3, now+5
	over := entry(4, "198.51.100.9")
	over.Expires = now
	apply(t, target, wide, middle, narrow, over)
	for {
		before := time.Now().Unix()
		a := get(t, b, "198.51.100.7")
		if time.Now().Unix() != before {
			continue // which second it was is not known
		}
		switch {
		case before < narrow.Expires:
			require.Equal(t, refused(403, narrow), a)
		case before < wide.Expires:
			require.Equal(t, refused(403, wide), a, "the middle one has ended")
		default:
			require.Equal(t, passed, a)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestRateIsEachAddressesOwnAlsoOfANetwork(t *testing.T) {
	_, b, target := enforcing(t)
	e := entry(1, "198.51.100.0/24")
	e.Action, e.Rate = detect.ActionRateLimit, rate(3, time.Minute)
	apply(t, target, e)
	for _, client := range []string{"198.51.100.1", "198.51.100.2"} {
		for range 3 {
			assert.Equal(t, 200, get(t, b, client).Status)
		}
		assert.Equal(t, 429, get(t, b, client).Status)
	}
	apply(t, target, entry(2, "192.0.2.1"))
	assert.Equal(t, 429, get(t, b, "198.51.100.1").Status, "a reload gives nobody new requests")
}

func TestALocationWithLinesOfItsOwnIsProtectedWithPartFour(t *testing.T) {
	_, b, target := enforcing(t)
	block, limit := entry(1, targettest.Attacker), entry(2, targettest.Customer)
	limit.Action, limit.Rate = detect.ActionRateLimit, rate(1, time.Minute)
	apply(t, target, block, limit)
	ask := func(client string) targettest.Answer {
		a := targettest.Get(t, client, b.URL+"/own/page", "X-Offpath-Verdict", "forged")
		a.Elapsed, a.Retry = 0, ""
		return a
	}
	assert.Equal(t, refused(403, block), ask(targettest.Attacker))
	assert.Equal(t, tagged(limit), ask(targettest.Customer))
	assert.Equal(t, refused(429, limit), ask(targettest.Customer))
	assert.Equal(t, passed, ask("127.1.2.9"))
}

func TestAllowListsWinAndTheOperatorsOwnIsNotTouched(t *testing.T) {
	s, b, target := enforcing(t)
	s.Configure(strings.Replace(s.Config(), "# 192.0.2.0/24 1;", "203.0.113.99 1;", 1))
	apply(t, target, entry(1, "198.51.100.7"), entry(2, "203.0.113.0/24"), entry(3, "2001:db8::5"))
	assert.Equal(t, passed, get(t, b, "203.0.113.99"), "the operator's own")
	assert.Equal(t, 403, get(t, b, "198.51.100.7").Status)
	allow := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/28"), netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2001:db8::/32")}
	require.NoError(t, target.SetAllow(t.Context(), allow))
	assert.Equal(t, passed, get(t, b, "198.51.100.7"))
	assert.Equal(t, passed, get(t, b, "2001:db8::5"))
	require.NoError(t, target.SetAllow(t.Context(), allow[1:2]))
	assert.Equal(t, passed, get(t, b, "198.51.100.7"))
	assert.Equal(t, 403, get(t, b, "2001:db8::5").Status)
	require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}))
	assert.Equal(t, passed, get(t, b, "203.0.113.1"), "everybody")
	assert.Equal(t, passed, get(t, b, "2001:db8::5"))
	require.NoError(t, target.SetAllow(t.Context(), nil))
	assert.Equal(t, 403, get(t, b, "198.51.100.7").Status)
	assert.Equal(t, passed, get(t, b, "203.0.113.99"))
	assert.Error(t, target.SetAllow(t.Context(), make([]netip.Prefix, 1)))
	assert.NotContains(t, s.Log(), "[warn]")
}

func mode(t *testing.T, target *nginxfile.Target, want detect.Mode, local bool) {
	t.Helper()
	got, isLocal, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, local, isLocal)
}

func TestModeDecidesAndAPersonsOffStandsUntilReleased(t *testing.T) {
	s, b, target := enforcing(t)
	e := entry(1, targettest.Attacker)
	apply(t, target, e)
	mode(t, target, detect.ModeEnforce, false)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	mode(t, target, detect.ModeOff, false)
	assert.Equal(t, passed, get(t, b, targettest.Attacker))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	mode(t, target, detect.ModeMonitor, false)
	assert.Equal(t, tagged(e), get(t, b, targettest.Attacker))

	require.NoError(t, os.WriteFile(filepath.Join(s.Folder, "off"), nil, 0o600))
	mode(t, target, detect.ModeOff, true)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, passed, get(t, b, targettest.Attacker), "it stands")
	s.Down()
	s.Up()
	mode(t, target, detect.ModeOff, true)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	mode(t, target, detect.ModeEnforce, false)
	assert.Equal(t, refused(403, e), get(t, b, targettest.Attacker), "released")
	require.NoError(t, os.Remove(filepath.Join(s.Folder, "enforce")))
	mode(t, target, detect.ModeOff, false)
	assert.Equal(t, passed, get(t, b, targettest.Attacker), "no mode means off")
	assert.Error(t, target.SetMode(t.Context(), "on", false))
}

func TestAModeThatWorkersCantSeeIsNotSaidToBeSet(t *testing.T) {
	s, _, target := enforcing(t)
	if os.Geteuid() != 0 {
		t.Skip("the workers are the same user")
	}
	require.NoError(t, os.Chmod(s.Folder, 0o700))
	assert.ErrorContains(t, target.SetMode(t.Context(), detect.ModeMonitor, false), "its workers have to be able to enter "+s.Folder)
}

func TestTheKillSwitchNeedsNoReloadAndNoRightConfiguration(t *testing.T) {
	s, b, target := enforcing(t)
	var all []mitigate.Entry
	for i := range uint32(10_000) {
		all = append(all, entry(i+1, fmt.Sprintf("127.3.%d.%d", i>>8, i&255)))
	}
	apply(t, target, all...)
	assert.Equal(t, refused(403, all[9_999]), get(t, b, "127.3.39.15"))
	s.Configure("this is no configuration")
	began := time.Now()
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	t.Logf("off after %s", time.Since(began))
	for i := 0; i < len(all); i += 1111 {
		assert.Equal(t, passed, get(t, b, all[i].Subject.Client.Addr().String()))
	}
}

func TestTheKillSwitchDoesNotWaitForACacheOfFilesThatTheOperatorHas(t *testing.T) {
	s, b, target := enforcing(t)
	s.Configure(strings.Replace(s.Config(), "access_log off;", "access_log off;\nopen_file_cache max=100 inactive=60s;\nopen_file_cache_valid 60s;\nopen_file_cache_errors on;", 1))
	s.Reload()
	e := entry(1, targettest.Attacker)
	apply(t, target, e)
	for range 2 {
		for range 5 {
			assert.Equal(t, refused(403, e), get(t, b, targettest.Attacker))
		}
		require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
		for range 5 {
			assert.Equal(t, passed, get(t, b, targettest.Attacker))
		}
		require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	}
}

func TestNoRequestIsLostByReloadsAndAnOrderIsInForceWhenItIsSaid(t *testing.T) {
	_, b, target := enforcing(t)
	var stop atomic.Bool
	var asked atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for !stop.Load() {
				a, err := targettest.TryGet(targettest.Customer, b.URL+"/")
				asked.Add(1)
				if !assert.NoError(t, err) || !assert.Equal(t, 200, a.Status) {
					return
				}
			}
		})
	}
	for i := range uint32(8) {
		client := fmt.Sprintf("127.3.0.%d", i+1)
		e := entry(i+1, client)
		apply(t, target, e)
		for range 10 {
			assert.Equal(t, refused(403, e), get(t, b, client))
		}
		require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{e.Subject}))
		for range 10 {
			assert.Equal(t, passed, get(t, b, client))
		}
	}
	stop.Store(true)
	clients.Wait()
	t.Logf("%d requests of customers during 16 reloads", asked.Load())
}

func TestReloadsKeepTheirDistanceAndNothingChangedIsNone(t *testing.T) {
	s, b, target := enforcing(t, func(o *nginxfile.Options) { o.Interval = 2 * time.Second })
	reloads := func() int { return strings.Count(s.Log(), "(SIGHUP) received") }
	s.Configure(strings.Replace(s.Config(), "/error.log;", "/error.log notice;", 1))
	s.Reload()
	before := reloads()
	one, two := entry(1, targettest.Attacker), entry(2, targettest.Customer)
	apply(t, target, one)
	began := time.Now()
	apply(t, target, one)
	require.NoError(t, target.SetAllow(t.Context(), nil))
	_, err := target.Sync(t.Context(), []mitigate.Entry{one})
	require.NoError(t, err)
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{two.Subject}))
	require.NoError(t, target.Sweep(t.Context()))
	assert.Equal(t, before+1, reloads(), "what is repeated changes nothing")

	apply(t, target, two)
	assert.GreaterOrEqual(t, time.Since(began), 1500*time.Millisecond)
	assert.Equal(t, before+2, reloads())
	assert.Equal(t, refused(403, two), get(t, b, targettest.Customer))

	again := newTarget(t, s)
	report, err := again.Sync(t.Context(), []mitigate.Entry{one, two})
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 2, Compared: true}, report)
	assert.Equal(t, before+2, reloads(), "nor does an offpath that starts")
}
