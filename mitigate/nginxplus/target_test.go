package nginxplus_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxplustest"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginxplus"
)

// These tests look at what clients are answered by an open-source NGINX that has the
// printed rules; see nginxplustest for what in it stands for NGINX Plus.

func rate(requests int, per time.Duration) detect.Rate {
	return detect.Rate{Requests: requests, Per: int64(per)}
}

// proxied is a setup whose proxy names clients, so that a test can come from any address.
var proxied = nginxplus.Setup{
	TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")},
	Rates:          []detect.Rate{rate(3, time.Minute), rate(1, time.Second), rate(1, 10*time.Second), rate(1, time.Minute), rate(1, 24*time.Hour)},
}

func newTarget(t testing.TB, address string, change ...func(*nginxplus.Options)) *nginxplus.Target {
	t.Helper()
	o := nginxplus.Options{Name: "lb1", Address: address, Rates: proxied.Rates}
	for _, f := range change {
		f(&o)
	}
	target, err := nginxplus.New(o)
	require.NoError(t, err)
	return target
}

func balancer(t testing.TB, s *nginxplustest.Server) *targettest.Balancer {
	return &targettest.Balancer{
		URL: s.URL, Backend: s.Backend, Down: s.Down, Up: s.Up, Reload: s.Reload,
		Target: func(t testing.TB) mitigate.Target { return newTarget(t, s.Address) },
	}
}

func TestItDoesWhatEveryTargetHasToDo(t *testing.T) {
	traits := targettest.Traits{
		Rates:    []time.Duration{time.Second, 10 * time.Second, time.Minute},
		Networks: true, Expires: true, Tags: true,
	}
	targettest.Conform(t, traits, func(t testing.TB) *targettest.Balancer {
		return balancer(t, nginxplustest.Start(t, proxied))
	})
}

// enforcing is a fresh load balancer in mode enforce.
func enforcing(t testing.TB) (*nginxplustest.Server, *targettest.Balancer, *nginxplus.Target) {
	t.Helper()
	s := nginxplustest.Start(t, proxied)
	target := newTarget(t, s.Address)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return s, balancer(t, s), target
}

// entry is a block of an address or network for an hour.
func entry(id uint32, client string) mitigate.Entry {
	return mitigate.Entry{
		ID: mitigate.ID(0xabcd<<32 | uint64(id)), Action: detect.ActionBlock,
		Subject: detect.Subject{Client: targettest.Network(client)}, Expires: time.Now().Add(time.Hour).Unix(),
	}
}

func apply(t testing.TB, target *nginxplus.Target, set ...mitigate.Entry) {
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
		{"::2:3", "::2:3"},
		{"fe80::1", "fe80::1"},
	}
	for i, tt := range tests {
		e := entry(uint32(i+1), tt.verdict)
		apply(t, target, e)
		assert.Equal(t, refused(403, e), get(t, b, tt.client), "%s is %s", tt.verdict, tt.client)
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
		{"several fields are one list", targettest.Proxy, []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-For", "198.51.100.7"}, 403},
		{"who is no proxy is not believed", targettest.Attacker, []string{"X-Forwarded-For", "198.51.100.7"}, 200},
		{"a name that is no address names nobody", targettest.Proxy, []string{"X-Forwarded-For", "unknown"}, 200},
		{"no header", targettest.Proxy, nil, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.status, targettest.Get(t, tt.from, b.URL+"/", tt.headers...).Status)
		})
	}
}

func TestTheMostSpecificEnforcedVerdictWinsAndNoneThatWatchesHidesIt(t *testing.T) {
	_, b, target := enforcing(t)
	network, address := entry(1, "198.51.100.0/24"), entry(2, "198.51.100.7")
	limit, watched := entry(3, "198.51.100.8"), entry(4, "198.51.100.9")
	limit.Action, limit.Rate = detect.ActionRateLimit, rate(1, time.Minute)
	watched.Monitor = true
	tag := entry(5, "203.0.113.5")
	tag.Action = detect.ActionTag
	apply(t, target, network, address, limit, watched, tag)
	assert.Equal(t, refused(403, address), get(t, b, "198.51.100.7"))
	assert.Equal(t, targettest.Answer{Status: 200, Tag: limit.ID.String()}, get(t, b, "198.51.100.8"))
	limited := refused(429, limit)
	limited.Retry = "60"
	assert.Equal(t, limited, get(t, b, "198.51.100.8"))
	assert.Equal(t, refused(403, network), get(t, b, "198.51.100.9"), "the address's only watches")
	assert.Equal(t, targettest.Answer{Status: 200, Tag: tag.ID.String()}, get(t, b, "203.0.113.5"))

	network.Monitor = true
	apply(t, target, network)
	assert.Equal(t, targettest.Answer{Status: 200, Tag: watched.ID.String()}, get(t, b, "198.51.100.9"), "both only watch")
	assert.Equal(t, targettest.Answer{Status: 200, Tag: network.ID.String()}, get(t, b, "198.51.100.10"))
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
	assert.Equal(t, targettest.Answer{Status: 200, Tag: limit.ID.String()}, ask(targettest.Customer))
	assert.Equal(t, refused(429, limit), ask(targettest.Customer))
	assert.Equal(t, passed, ask("127.1.2.9"))
}

func TestAllowListsWinAndTheOperatorsOwnIsNotTouched(t *testing.T) {
	s, b, target := enforcing(t)
	apply(t, target, entry(1, "198.51.100.7"), entry(2, "203.0.113.0/24"), entry(3, "2001:db8::5"))
	assert.Equal(t, passed, get(t, b, "203.0.113.99"), "the operator's own file")
	assert.Equal(t, 403, get(t, b, "198.51.100.7").Status)
	allow := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/28"), netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2001:db8::/32")}
	require.NoError(t, target.SetAllow(t.Context(), allow))
	assert.Equal(t, passed, get(t, b, "198.51.100.7"))
	assert.Equal(t, passed, get(t, b, "2001:db8::5"))
	require.NoError(t, target.SetAllow(t.Context(), allow[1:2]))
	assert.Equal(t, map[string]string{"198.51.100.7": "1"}, s.API.Records("offpath_allow"))
	assert.Equal(t, passed, get(t, b, "198.51.100.7"))
	assert.Equal(t, 403, get(t, b, "2001:db8::5").Status)
	require.NoError(t, target.SetAllow(t.Context(), nil))
	assert.Equal(t, 403, get(t, b, "198.51.100.7").Status)
	assert.Equal(t, passed, get(t, b, "203.0.113.99"))
	assert.Error(t, target.SetAllow(t.Context(), make([]netip.Prefix, 1)))
}

func TestModeDecidesAndAPersonsOffStandsUntilReleased(t *testing.T) {
	s, b, target := enforcing(t)
	e := entry(1, targettest.Attacker)
	apply(t, target, e)
	mode := func(want detect.Mode, local bool) {
		t.Helper()
		got, isLocal, err := target.Mode(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, local, isLocal)
	}
	mode(detect.ModeEnforce, false)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	mode(detect.ModeOff, false)
	assert.Equal(t, passed, get(t, b, targettest.Attacker))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	mode(detect.ModeMonitor, false)
	assert.Equal(t, targettest.Answer{Status: 200, Tag: e.ID.String()}, get(t, b, targettest.Attacker))

	order(t, s.Address, "POST", "offpath_mode", `{"off":"1"}`, 201)
	mode(detect.ModeOff, true)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, passed, get(t, b, targettest.Attacker), "it stands")
	s.Down()
	s.Up()
	mode(detect.ModeOff, true)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	mode(detect.ModeEnforce, false)
	_, err := target.Sync(t.Context(), []mitigate.Entry{e})
	require.NoError(t, err)
	assert.Equal(t, refused(403, e), get(t, b, targettest.Attacker), "released")
	order(t, s.Address, "PATCH", "offpath_mode", `{"mode":null}`, 204)
	mode(detect.ModeOff, false)
	assert.Equal(t, passed, get(t, b, targettest.Attacker), "no mode means off")
	assert.Error(t, target.SetMode(t.Context(), "on", false))
}
