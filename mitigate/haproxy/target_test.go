package haproxy_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
	"offpath/mitigate/internal/targettest"
)

// proxied is a setup in which 127.0.0.0/24 are proxies that name the client,
// so that a test can come from any address; 127.1.0.0/16 are clients.
var proxied = haproxy.Setup{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")}}

const (
	proxy  = "127.0.0.1"
	client = "127.1.2.3"
	other  = "127.1.2.4"
)

var passed = targettest.Answer{Status: 200}

func newTarget(t testing.TB, address string, s *haproxytest.Server, change ...func(*haproxy.Options)) *haproxy.Target {
	t.Helper()
	options := haproxy.Options{Name: "lb1", Address: address, MapDir: s.MapDir}
	for _, f := range change {
		f(&options)
	}
	target, err := haproxy.New(options)
	require.NoError(t, err)
	return target
}

// enforcing is a fresh HAProxy in the mode enforce.
func enforcing(t testing.TB) (*haproxytest.Server, *haproxy.Target) {
	t.Helper()
	s := haproxytest.Start(t, proxied)
	target := newTarget(t, s.Socket, s)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return s, target
}

// entry is a block of an address or network for an hour.
func entry(client string) mitigate.Entry {
	return mitigate.Entry{
		ID:      0xfedcba9876543210,
		Action:  detect.ActionBlock,
		Subject: subject(client),
		Expires: time.Now().Add(time.Hour).Unix(),
	}
}

func subject(client string) detect.Subject {
	if !strings.Contains(client, "/") {
		a := netip.MustParseAddr(client)
		return detect.Subject{Client: netip.PrefixFrom(a, a.BitLen())}
	}
	return detect.Subject{Client: netip.MustParsePrefix(client)}
}

func refused(status int, e mitigate.Entry) targettest.Answer {
	return targettest.Answer{Status: status, Marker: e.ID.String()}
}

// get asks without the time it took.
func get(s *haproxytest.Server, from, path string, headers ...string) targettest.Answer {
	a := s.Get(from, path, headers...)
	a.Elapsed = 0
	return a
}

// getVia asks through a trusted proxy that names the client.
func getVia(s *haproxytest.Server, client string) targettest.Answer {
	return get(s, proxy, "/", "X-Forwarded-For", client)
}

func TestBlockedAddressGets403WithTheVerdictsIDAndOthersAreServed(t *testing.T) {
	for _, via := range []string{"unix", "tcp"} {
		t.Run(via, func(t *testing.T) {
			s := haproxytest.Start(t, proxied)
			address := s.Socket
			if via == "tcp" {
				address = s.TCP
			}
			target := newTarget(t, address, s)
			require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
			e := entry(client)
			require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))

			assert.Equal(t, refused(403, e), get(s, client, "/"))
			assert.Equal(t, passed, get(s, other, "/"))

			require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{e.Subject}))
			assert.Equal(t, passed, get(s, client, "/"), "after the lift")
		})
	}
}

func TestRateLimitLetsTheGrantedRequestsThroughThenAnswers429(t *testing.T) {
	s, target := enforcing(t)
	tests := []struct {
		name  string
		rate  detect.Rate
		grant int
		retry string
	}{
		{"per minute", detect.Rate{Requests: 3, Per: 60e9}, 3, "60"},
		{"per ten seconds", detect.Rate{Requests: 2, Per: 10e9}, 2, "10"},
		{"a period between two tiers takes the shorter tier", detect.Rate{Requests: 9, Per: 30e9}, 3, "10"},
		{"less than one per minute becomes one", detect.Rate{Requests: 1, Per: 3600e9}, 1, "60"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from := fmt.Sprintf("127.1.9.%d", i+1)
			e := entry(from)
			e.ID += mitigate.ID(i)
			e.Action, e.Rate = detect.ActionRateLimit, tt.rate
			require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
			for range tt.grant {
				a := get(s, from, "/")
				assert.Equal(t, 200, a.Status)
				assert.Equal(t, e.ID.String(), a.Tag)
			}
			want := refused(429, e)
			want.Retry = tt.retry
			assert.Equal(t, want, get(s, from, "/"))
			assert.Equal(t, passed, get(s, other, "/"))
		})
	}
}

func TestRateLimitOfANetworkCountsEachAddressByItself(t *testing.T) {
	s, target := enforcing(t)
	e := entry("127.1.2.0/24")
	e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 60e9}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	for _, from := range []string{client, other} {
		assert.Equal(t, 200, get(s, from, "/").Status)
		assert.Equal(t, 429, get(s, from, "/").Status)
	}
}

func TestAddressesMatchHoweverTheyAreWritten(t *testing.T) {
	s, target := enforcing(t)
	tests := []struct{ verdict, client string }{
		{"198.51.100.7", "198.51.100.7"},
		{"198.51.100.8", "::ffff:198.51.100.8"},
		{"198.51.100.9", "::ffff:c633:6409"},
		{"2001:db8::1", "2001:0DB8:0:0:0:0:0:1"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"2001:db8:0:0:1::1", "2001:db8:0:0:1:0:0:1"},
		{"::1", "::1"},
		{"::102:304", "::1.2.3.4"},
		{"::2:3", "::2:3"},
		{"::ffff:0:102:304", "::ffff:0:102:304"},
		{"fe80::1", "fe80::1"},
	}
	for i, tt := range tests {
		t.Run(tt.verdict+" is "+tt.client, func(t *testing.T) {
			e := entry(tt.verdict)
			e.ID += mitigate.ID(i)
			require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
			assert.Equal(t, refused(403, e), getVia(s, tt.client))
		})
	}
	assert.Equal(t, passed, getVia(s, "198.51.100.1"))
}

func TestNetworksAreRefusedWholeAndNothingBeside(t *testing.T) {
	s, target := enforcing(t)
	v4, v6 := entry("198.51.100.0/25"), entry("2001:db8:1:2::/64")
	v6.ID++
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{v4, v6}, nil))
	assert.Equal(t, refused(403, v4), getVia(s, "198.51.100.127"))
	assert.Equal(t, passed, getVia(s, "198.51.100.128"))
	assert.Equal(t, refused(403, v6), getVia(s, "2001:db8:1:2:ffff::1"))
	assert.Equal(t, passed, getVia(s, "2001:db8:1:3::1"))

	longer := v4
	longer.Expires += 60
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{longer}, []detect.Subject{v6.Subject}))
	assert.Equal(t, refused(403, v4), getVia(s, "198.51.100.1"), "renewed")
	assert.Equal(t, passed, getVia(s, "2001:db8:1:2::1"), "lifted")
}

func TestANetworkWatchedWithinOneThatIsRefusedIsRefused(t *testing.T) {
	s, target := enforcing(t)
	wide, narrow := entry("203.0.113.0/24"), entry("203.0.113.64/26")
	narrow.ID, narrow.Monitor = wide.ID+1, true
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{wide, narrow}, nil))
	ask := func(from string) targettest.Answer { return get(s, proxy, "/", "X-Forwarded-For", from) }
	assert.Equal(t, refused(403, wide), ask("203.0.113.1"))
	assert.Equal(t, refused(403, wide), ask("203.0.113.65"))
	report, err := target.Sync(t.Context(), []mitigate.Entry{wide, narrow})
	require.NoError(t, err)
	assert.Zero(t, report.Set+report.Removed)
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{wide.Subject}))
	assert.Equal(t, passed, ask("203.0.113.1"))
	assert.Equal(t, targettest.Answer{Status: 200, Tag: narrow.ID.String()}, ask("203.0.113.65"))
}

func TestANetworkThatIsOverHidesNoWiderOne(t *testing.T) {
	s, target := enforcing(t)
	wide, narrow := entry("203.0.113.0/24"), entry("203.0.113.64/26")
	narrow.ID, narrow.Expires = wide.ID+1, time.Now().Unix()+6
	set := []mitigate.Entry{wide, narrow}
	require.NoError(t, target.Apply(t.Context(), set, nil))
	report, err := target.Sync(t.Context(), set)
	require.NoError(t, err)
	assert.Zero(t, report.Set+report.Removed)
	ask := func(from string) targettest.Answer { return get(s, proxy, "/", "X-Forwarded-For", from) }
	targettest.Eventually(t, func() bool { return ask("203.0.113.65") == refused(403, wide) }, func() string { return "it is refused by the wider" })
	assert.GreaterOrEqual(t, time.Now().Unix(), narrow.Expires)
}

func TestOfThreeNestedNetworksTheWidestIsHiddenNoLongerThanToTheNextSweep(t *testing.T) {
	s, target := enforcing(t)
	wide, middle, narrow := entry("203.0.0.0/16"), entry("203.0.113.0/24"), entry("203.0.113.64/26")
	middle.ID, narrow.ID = wide.ID+1, wide.ID+2
	narrow.Expires, middle.Expires = time.Now().Unix()+2, time.Now().Unix()+3
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{wide, middle, narrow}, nil))
	time.Sleep(time.Until(time.Unix(middle.Expires+1, 0)))
	require.NoError(t, target.Sweep(t.Context()))
	assert.Equal(t, refused(403, wide), get(s, proxy, "/", "X-Forwarded-For", "203.0.113.65"))
}

func TestAllowListsWin(t *testing.T) {
	s := haproxytest.New(t, proxied)
	require.NoError(t, os.WriteFile(s.MapDir+"/allow.map", []byte("203.0.113.0/24 1\n"), 0o600))
	s.Up()
	target := newTarget(t, s.Socket, s)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	set := []mitigate.Entry{entry("198.51.100.0/24"), entry("198.51.100.7"), entry("203.0.113.5"), entry("2001:db8::5")}
	require.NoError(t, target.Apply(t.Context(), set, nil))
	require.Equal(t, 403, getVia(s, "198.51.100.7").Status)

	allow := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/28"), netip.MustParsePrefix("2001:db8::/32")}
	require.NoError(t, target.SetAllow(t.Context(), allow))
	assert.Equal(t, passed, getVia(s, "198.51.100.7"), "over an address")
	assert.Equal(t, passed, getVia(s, "198.51.100.8"), "over a network")
	assert.Equal(t, passed, getVia(s, "2001:db8::5"))
	assert.Equal(t, passed, getVia(s, "203.0.113.5"), "the operator's own file")
	assert.Equal(t, 403, getVia(s, "198.51.100.99").Status)

	require.NoError(t, target.SetAllow(t.Context(), nil))
	assert.Equal(t, 403, getVia(s, "198.51.100.7").Status)
	assert.Equal(t, passed, getVia(s, "203.0.113.5"), "is not touched")
}

// A row ends 24 days after it was last written; here it is seconds.
func TestAnOffByHandLastsAsLongAsItIsLookedAt(t *testing.T) {
	s := haproxytest.New(t, proxied)
	config := strings.Replace(s.Config(), " expire 24d ", " expire 3s ", 1)
	require.NotEqual(t, s.Config(), config)
	s.Configure(config)
	s.Up()
	target := newTarget(t, s.Socket, s)
	off := func() bool {
		_, local, err := target.Mode(t.Context())
		require.NoError(t, err)
		return local
	}
	require.Empty(t, s.Command("set table offpath_verdicts key off data.gpt0 1"))
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		require.True(t, off())
	}
	time.Sleep(5 * time.Second)
	assert.False(t, off(), "without looks it ends, as here all rows do")
}

func TestModeDecidesWhatIsDone(t *testing.T) {
	s := haproxytest.Start(t, proxied)
	target := newTarget(t, s.Socket, s)
	e := entry(client)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	tagged := targettest.Answer{Status: 200, Tag: e.ID.String()}

	mode := func(want detect.Mode, local bool) {
		t.Helper()
		got, isLocal, err := target.Mode(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, local, isLocal)
	}
	mode(detect.ModeOff, false)
	assert.Equal(t, passed, get(s, client, "/"), "without a mode")

	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	mode(detect.ModeMonitor, false)
	assert.Equal(t, tagged, get(s, client, "/"))
	assert.Equal(t, passed, get(s, other, "/", "X-Offpath-Verdict", "forged"), "only the rules tag")

	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	mode(detect.ModeEnforce, false)
	assert.Equal(t, refused(403, e), get(s, client, "/"))

	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	mode(detect.ModeOff, false)
	assert.Equal(t, passed, get(s, client, "/"))

	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	require.Empty(t, s.Command("set table offpath_verdicts key off data.gpt0 1"))
	mode(detect.ModeOff, true)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	require.NoError(t, target.Sweep(t.Context()))
	_, err := target.Sync(t.Context(), []mitigate.Entry{e})
	require.NoError(t, err)
	assert.Equal(t, passed, get(s, client, "/"), "a person's off at the load balancer stands")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	assert.Equal(t, refused(403, e), get(s, client, "/"), "released")

	assert.Error(t, target.SetMode(t.Context(), "on", false))
}

func TestMonitorEntryTagsWhereOthersAreEnforced(t *testing.T) {
	s, target := enforcing(t)
	e := entry(client)
	e.Monitor = true
	tag := entry(other)
	tag.ID++
	tag.Action = detect.ActionTag
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e, tag}, nil))
	assert.Equal(t, targettest.Answer{Status: 200, Tag: e.ID.String()}, get(s, client, "/"))
	assert.Equal(t, targettest.Answer{Status: 200, Tag: tag.ID.String()}, get(s, other, "/"))
}

func TestEntriesEndByTheLoadBalancersOwnClock(t *testing.T) {
	s, target := enforcing(t)
	row, network := entry(client), entry("198.51.100.0/24")
	row.Expires = time.Now().Unix() + 2
	network.Expires = row.Expires
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{row, network}, nil))
	require.Equal(t, 403, get(s, client, "/").Status)
	require.Equal(t, 403, getVia(s, "198.51.100.1").Status)
	require.Eventually(t, func() bool { return get(s, client, "/").Status == 200 }, 5*time.Second, 20*time.Millisecond)
	assert.GreaterOrEqual(t, time.Now().Unix(), row.Expires)
	assert.Equal(t, passed, getVia(s, "198.51.100.1"))
}

func TestReloadKeepsVerdictsAndModeAndIsNoticed(t *testing.T) {
	t.Parallel()
	s, target := enforcing(t)
	e := entry(client)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	before, err := target.Identity(t.Context())
	require.NoError(t, err)
	s.Reload()
	assert.Eventually(t, func() bool { return get(s, client, "/") == refused(403, e) }, 5*time.Second, 20*time.Millisecond)
	after, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, before.Process, after.Process)
	assert.InDelta(t, 0, after.Skew, 2)
	assert.NotEmpty(t, after.Version)
}

func TestSyncMendsWhateverTheLoadBalancerHolds(t *testing.T) {
	s, target := enforcing(t)
	missing, wrong, extra, same := entry("127.1.0.1"), entry("127.1.0.2"), entry("127.1.0.3"), entry("127.1.0.4")
	network, extraNetwork := entry("198.51.100.0/24"), entry("203.0.113.0/24")
	other := wrong
	other.Expires -= 100
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{other, extra, same, extraNetwork}, nil))

	fresh := newTarget(t, s.Socket, s)
	wanted := []mitigate.Entry{missing, wrong, same, network}
	report, err := fresh.Sync(t.Context(), wanted)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 4 + 1, Compared: true, Set: 3, Removed: 2}, report)
	report, err = fresh.Sync(t.Context(), wanted)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 4 + 1, Compared: true}, report, "nothing left to mend")
	assert.Equal(t, 403, get(s, "127.1.0.1", "/").Status)
	assert.Equal(t, passed, get(s, "127.1.0.3", "/"))
	assert.Equal(t, 403, getVia(s, "198.51.100.1").Status)
	assert.Equal(t, passed, getVia(s, "203.0.113.1"))

	t.Run("beyond the limit all are left to be written again", func(t *testing.T) {
		few := newTarget(t, s.Socket, s, func(o *haproxy.Options) { o.CompareLimit = 1 })
		report, err := few.Sync(t.Context(), wanted)
		require.NoError(t, err)
		assert.Equal(t, mitigate.SyncReport{Held: 4 + 1}, report)
	})
}

func TestRewriteMendsAllButAddresses(t *testing.T) {
	s, target := enforcing(t)
	address, network, extraNetwork := entry("127.1.0.1"), entry("198.51.100.0/24"), entry("203.0.113.0/24")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{address, extraNetwork}, nil))
	program := entry("127.1.0.2")
	program.Subject.UserAgent = "curl"

	fresh := newTarget(t, s.Socket, s)
	report, err := fresh.Rewrite(t.Context(), []mitigate.Entry{network, program})
	require.NoError(t, err)
	assert.False(t, report.Compared)
	assert.Equal(t, 403, get(s, "127.1.0.1", "/").Status, "an address stays")
	assert.Equal(t, 403, getVia(s, "198.51.100.1").Status)
	assert.Equal(t, passed, getVia(s, "203.0.113.1"))
	assert.Equal(t, 403, get(s, "127.1.0.2", "/", "User-Agent", "curl").Status)
	assert.Equal(t, passed, get(s, "127.1.0.2", "/", "User-Agent", "other"))

	_, err = fresh.Rewrite(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, passed, getVia(s, "198.51.100.1"))
}

func TestSweepRemovesWhatHasExpiredAndNothingElse(t *testing.T) {
	s, target := enforcing(t)
	old, live := entry("127.1.0.1"), entry("127.1.0.2")
	old.Expires = time.Now().Unix() - 3600
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{old, live}, nil))
	require.NoError(t, target.Sweep(t.Context()))
	rows := s.Command("show table offpath_verdicts")
	assert.NotContains(t, rows, "127.1.0.1")
	assert.Contains(t, rows, "127.1.0.2")
	assert.Contains(t, rows, "key=mode")
}

func TestHitsCountRefusedAndPassedPerVerdict(t *testing.T) {
	s, target := enforcing(t)
	block, limit := entry(client), entry("198.51.100.0/24")
	limit.ID++
	limit.Action, limit.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 60e9}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{block, limit}, nil))
	for range 3 {
		get(s, client, "/")
		getVia(s, "198.51.100.1")
	}
	hits, err := target.Hits(t.Context())
	require.NoError(t, err)
	assert.ElementsMatch(t, []mitigate.Hits{
		{ID: block.ID, Refused: 3},
		{ID: limit.ID, Refused: 2, Passed: 1},
	}, hits)
}

func TestClientIsReadPastTrustedProxiesOnly(t *testing.T) {
	s, target := enforcing(t)
	e := entry("198.51.100.7")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	tests := []struct {
		name    string
		from    string
		headers []string
		status  int
	}{
		{"named by a trusted proxy", proxy, []string{"X-Forwarded-For", "198.51.100.7"}, 403},
		{"the nearest name counts", proxy, []string{"X-Forwarded-For", "198.51.100.7, 192.0.2.1"}, 200},
		{"a chain of trusted proxies is looked past", proxy, []string{"X-Forwarded-For", "192.0.2.1, 198.51.100.7, 127.0.0.9, 127.0.0.8"}, 403},
		{"several fields are one list", proxy, []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-For", "198.51.100.7"}, 403},
		{"who is no proxy is not believed", client, []string{"X-Forwarded-For", "198.51.100.7"}, 200},
		{"a name that is no address names nobody", proxy, []string{"X-Forwarded-For", "unknown"}, 200},
		{"no header", proxy, nil, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.status, get(s, tt.from, "/", tt.headers...).Status)
		})
	}
}

func TestUnsupportedIsSaidAndNotSent(t *testing.T) {
	s := haproxytest.New(t, proxied)
	target := newTarget(t, s.Socket, s)
	now := time.Now().Unix()
	tests := []struct {
		name   string
		change func(*mitigate.Entry)
	}{
		{"challenge", func(e *mitigate.Entry) { e.Action = detect.ActionChallenge }},
		{"deceive", func(e *mitigate.Entry) { e.Action = detect.ActionDeceive }},
		{"hold", func(e *mitigate.Entry) { e.Action = detect.ActionHold }},
		{"JA4", func(e *mitigate.Entry) { e.Subject.JA4 = "j" }},
		{"session", func(e *mitigate.Entry) { e.Subject.Session = "s" }},
		{"account", func(e *mitigate.Entry) { e.Subject.UserHash = "u" }},
		{"nothing", func(e *mitigate.Entry) { e.Subject = detect.Subject{} }},
		{"an endpoint and a domain", func(e *mitigate.Entry) { e.Subject.Endpoint, e.Subject.Domain = "GET bank.example/", "bank.example" }},
		{"a user agent longer than HAProxy keeps", func(e *mitigate.Entry) { e.Subject.UserAgent = strings.Repeat("u", 5000) }},
		{"template", func(e *mitigate.Entry) { e.Subject.Endpoint = "GET bank.example/a/{id}" }},
		{"operation", func(e *mitigate.Entry) { e.Subject.Endpoint = "POST bank.example/graphql#login" }},
		{"an endpoint that no request is named", func(e *mitigate.Entry) { e.Subject.Endpoint = "GET bank.example/login/" }},
		{"an endpoint with a dot segment", func(e *mitigate.Entry) { e.Subject.Endpoint = "GET bank.example/../login" }},
		{"an endpoint with parameters", func(e *mitigate.Entry) { e.Subject.Endpoint = "GET bank.example/login;x" }},
		{"an endpoint with a letter encoded", func(e *mitigate.Entry) { e.Subject.Endpoint = "GET bank.example/%6Cogin" }},
		{"an endpoint with a port", func(e *mitigate.Entry) { e.Subject.Endpoint = "GET bank.example:443/login" }},
		{"an endpoint deeper than those with a name", func(e *mitigate.Entry) { e.Subject.Endpoint = "GET a" + strings.Repeat("/x", 17) }},
		{"a domain with a port", func(e *mitigate.Entry) { e.Subject.Domain = "bank.example:443" }},
		{"what is no fingerprint", func(e *mitigate.Entry) { e.Subject.Fingerprint = "0123456789ABCDEF" }},
		{"a user agent of two lines", func(e *mitigate.Entry) { e.Subject.UserAgent = "a\nb" }},
		{"endpoint of a network", func(e *mitigate.Entry) { e.Subject = subject("198.51.100.0/24"); e.Subject.Endpoint = "GET a/" }},
		{"rate of nothing", func(e *mitigate.Entry) { e.Action = detect.ActionRateLimit }},
		{"rate per millisecond", func(e *mitigate.Entry) {
			e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 1e6}
		}},
		{"id with an empty half", func(e *mitigate.Entry) { e.ID = 7 }},
		{"expiry after 2106", func(e *mitigate.Entry) { e.Expires = now << 4 }},
		{"no expiry", func(e *mitigate.Entry) { e.Expires = 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := entry(client)
			require.NoError(t, target.Carries(&e))
			tt.change(&e)
			err := target.Carries(&e)
			require.ErrorIs(t, err, mitigate.ErrUnsupported)
			assert.Contains(t, err.Error(), "lb1")
			assert.ErrorIs(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil), mitigate.ErrUnsupported, "HAProxy is down, so nothing was sent")
		})
	}
}

func TestHostileSubjectsCanNotGiveOrders(t *testing.T) {
	s, target := enforcing(t)
	victim := entry(other)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{victim}, nil))
	for _, path := range []string{
		"/;clear table offpath_verdicts",
		"/\nclear table offpath_verdicts\n",
		"/\\;clear\ttable\toffpath_verdicts",
		"/<<\n\nset table offpath_verdicts key mode data.gpt0 0\n",
		strings.Repeat("/x", 20_000),
	} {
		e := entry(client)
		e.Subject.Endpoint = "GET bank.example" + path
		if target.Carries(&e) == nil {
			require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
		}
		assert.Equal(t, refused(403, victim), get(s, other, "/"), "%.40q", path)
	}
}

func TestLoadBalancerWithoutTheTablesSaysWhatIsMissing(t *testing.T) {
	for name, address := range map[string]string{"stats socket": "", "master": "master:"} {
		t.Run(name, func(t *testing.T) {
			s := haproxytest.NewBare(t, haproxy.Setup{Address: address})
			s.Up()
			target := newTarget(t, s.Socket, s)
			assert.ErrorIs(t, target.Prepared(t.Context()), haproxy.ErrNotPrepared)
			_, err := target.Sync(t.Context(), nil)
			assert.ErrorIs(t, err, haproxy.ErrNotPrepared)
			assert.ErrorIs(t, target.Apply(t.Context(), []mitigate.Entry{entry(client)}, nil), haproxy.ErrNotPrepared)
			assert.ErrorIs(t, target.Apply(t.Context(), []mitigate.Entry{entry("198.51.100.0/24")}, nil), haproxy.ErrNotPrepared)
			assert.ErrorIs(t, target.SetMode(t.Context(), detect.ModeEnforce, false), haproxy.ErrNotPrepared)
			assert.ErrorIs(t, target.SetAllow(t.Context(), nil), haproxy.ErrNotPrepared)
			assert.ErrorIs(t, target.Sweep(t.Context()), haproxy.ErrNotPrepared)
			_, err = target.Hits(t.Context())
			assert.ErrorIs(t, err, haproxy.ErrNotPrepared)
			_, _, err = target.Mode(t.Context())
			assert.ErrorIs(t, err, haproxy.ErrNotPrepared)
		})
	}
}

func TestWhatIsMissingAtTheLoadBalancerIsNamed(t *testing.T) {
	s := haproxytest.New(t, proxied)
	whole := s.Config()
	s.Up()
	require.NoError(t, newTarget(t, s.Socket, s).Prepared(t.Context()))
	elsewhere := newTarget(t, s.Socket, s, func(o *haproxy.Options) { o.MapDir = "/srv/maps" })
	err := elsewhere.Prepared(t.Context())
	require.ErrorIs(t, err, haproxy.ErrNotPrepared)
	assert.ErrorContains(t, err, "no map /srv/maps/networks.map, but "+s.MapDir+"/networks.map")
	_, err = elsewhere.Sync(t.Context(), nil)
	assert.ErrorIs(t, err, haproxy.ErrNotPrepared, "nothing is written half")
	s.Down()

	for _, c := range []struct{ name, old, now, want string }{
		{"a table", "offpath_rate_10s", "other_rate", "no table offpath_rate_10s"},
		{"keys of another type", "stick-table type string len 20", "stick-table type integer", "table offpath_hits has keys of type integer"},
		{"a map", "/allow-live.map", "/allow.map", "no map " + s.MapDir + "/allow-live.map"},
		{"the lines of another version", "offpath_setup_4", "offpath_setup_0", "another version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Contains(t, whole, c.old)
			s.Configure(strings.ReplaceAll(whole, c.old, c.now))
			s.Up()
			defer s.Down()
			err := newTarget(t, s.Socket, s).Prepared(t.Context())
			require.ErrorIs(t, err, haproxy.ErrNotPrepared)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

// crowded is an HAProxy whose table has room for a hundred rows, after two hundred
// entries were sent to it.
func crowded(t *testing.T) (s *haproxytest.Server, target *haproxy.Target, set []mitigate.Entry, rejected *mitigate.RejectedError) {
	t.Helper()
	setup := proxied
	setup.TableSize = "100"
	s = haproxytest.Start(t, setup)
	target = newTarget(t, s.Socket, s)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	for i := range 200 {
		e := entry(fmt.Sprintf("127.1.7.%d", i+1))
		e.ID = mitigate.ID(1<<32 + i + 1)
		set = append(set, e)
	}
	require.ErrorAs(t, target.Apply(t.Context(), set, nil), &rejected)
	return s, target, set, rejected
}

func TestFullTableRefusesNewRowsAndTheKillSwitchStillWorks(t *testing.T) {
	s, target, set, rejected := crowded(t)
	assert.GreaterOrEqual(t, len(rejected.Rejections), 100)
	assert.NotZero(t, rejected.Rejections[0].ID)

	accepted := map[mitigate.ID]bool{}
	for _, e := range set {
		accepted[e.ID] = true
	}
	for _, r := range rejected.Rejections {
		delete(accepted, r.ID)
	}
	for i, e := range set[:5] {
		want := 200
		if accepted[e.ID] {
			want = 403
		}
		assert.Equal(t, want, get(s, fmt.Sprintf("127.1.7.%d", i+1), "/").Status)
	}
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, 200, get(s, "127.1.7.1", "/").Status)
}

func TestMapOfNetworksIsBounded(t *testing.T) {
	s, _ := enforcing(t)
	target := newTarget(t, s.Socket, s, func(o *haproxy.Options) { o.MaxNetworks = 2 })
	var set []mitigate.Entry
	for i := range 3 {
		e := entry(fmt.Sprintf("198.51.%d.0/24", i))
		e.ID += mitigate.ID(i)
		e.Expires += int64(i)
		set = append(set, e)
	}
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, target.Apply(t.Context(), set, nil), &rejected)
	assert.Len(t, rejected.Rejections, 1)
	assert.Equal(t, set[2].ID, rejected.Rejections[0].ID)

	_, err := target.Sync(t.Context(), set)
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, set[0].ID, rejected.Rejections[0].ID, "the first to expire stays out")
}

func TestThousandsOfNetworksStayBelowTheBufferThatKillsHAProxy(t *testing.T) {
	s, target := enforcing(t)
	set := make([]mitigate.Entry, 0, haproxy.DefaultMaxNetworks)
	for i := range cap(set) {
		e := entry(fmt.Sprintf("2001:db8:%x:%x::/64", i>>4, i))
		e.ID += mitigate.ID(i)
		set = append(set, e)
	}
	began := time.Now()
	require.NoError(t, target.Apply(t.Context(), set, nil))
	t.Logf("%d networks written in %s", len(set), time.Since(began).Round(time.Millisecond))
	assert.Equal(t, 403, getVia(s, "2001:db8:0:1::9").Status)
	assert.Equal(t, 403, getVia(s, fmt.Sprintf("2001:db8:%x:%x::9", 4095>>4, 4095)).Status)
	assert.Equal(t, passed, getVia(s, "2001:db8:ffff::9"))
}

func TestManyVerdictsLoadWhileRequestsAreAnswered(t *testing.T) {
	const n = 50_000
	s, target := enforcing(t)
	set := make([]mitigate.Entry, n)
	for i := range set {
		set[i] = entry(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		set[i].ID = mitigate.ID(7<<32 + i + 1)
	}
	type load struct {
		report mitigate.SyncReport
		err    error
		took   time.Duration
	}
	loaded := make(chan load, 1)
	go func() {
		began := time.Now()
		report, err := target.Sync(context.Background(), set)
		loaded <- load{report, err, time.Since(began)}
	}()
	var slowest time.Duration
	requests := 0
	for {
		a := s.Get(other, "/")
		require.Equal(t, 200, a.Status)
		requests++
		slowest = max(slowest, a.Elapsed)
		select {
		case l := <-loaded:
			require.NoError(t, l.err)
			assert.Equal(t, n, l.report.Set)
			t.Logf("%d verdicts in %s: %.0f a second; %d requests meanwhile, the slowest %s",
				n, l.took.Round(time.Millisecond), n/l.took.Seconds(), requests, slowest)
			assert.Equal(t, refused(403, set[n-1]), getVia(s, "10.0.195.79"))
			began := time.Now()
			report, err := target.Sync(t.Context(), set)
			require.NoError(t, err)
			assert.Equal(t, 0, report.Set+report.Removed)
			t.Logf("full comparison of %d: %s, compared one by one: %v", n, time.Since(began).Round(time.Millisecond), report.Compared)
			return
		default:
		}
	}
}
