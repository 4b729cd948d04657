package f5bigip_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/f5bigip"
	"offpath/mitigate/internal/f5bigiptest"
	"offpath/mitigate/internal/targettest"
)

// These tests look at what clients are answered by the iRule as it is printed; see
// f5bigiptest for what stands in for a BIG-IP.

// proxied is a setup whose proxy names clients, so that a test can come from any address.
var proxied = f5bigip.Setup{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")}}

func newTarget(t testing.TB, address string, change ...func(*f5bigip.Options)) *f5bigip.Target {
	t.Helper()
	o := f5bigip.Options{
		Name: "lb1", Address: address, User: f5bigiptest.User,
		Password: func() ([]byte, error) { return []byte(f5bigiptest.Password), nil },
	}
	for _, f := range change {
		f(&o)
	}
	target, err := f5bigip.New(o)
	require.NoError(t, err)
	return target
}

func balancer(s *f5bigiptest.Server) *targettest.Balancer {
	return &targettest.Balancer{
		URL: s.URL, Backend: s.Backend, Down: s.Down, Up: s.Up, Reload: s.API.RestartREST,
		Target: func(t testing.TB) mitigate.Target { return newTarget(t, s.Address) },
	}
}

func TestItDoesWhatEveryTargetHasToDo(t *testing.T) {
	traits := targettest.Traits{
		Rates:    []time.Duration{time.Second, 10 * time.Second, 7 * time.Minute},
		Networks: true, Expires: true, Tags: true,
	}
	targettest.Conform(t, traits, func(t testing.TB) *targettest.Balancer {
		s := f5bigiptest.Start(t, proxied)
		t.Cleanup(func() { assert.Empty(t, s.Logs(), "errors of the iRule") })
		return balancer(s)
	})
}

// enforcing is a fresh load balancer in mode enforce.
func enforcing(t testing.TB) (*f5bigiptest.Server, *targettest.Balancer, *f5bigip.Target) {
	t.Helper()
	s := f5bigiptest.Start(t, proxied)
	target := newTarget(t, s.Address)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	t.Cleanup(func() { assert.Empty(t, s.Logs(), "errors of the iRule") })
	return s, balancer(s), target
}

// entry is a block of an address or network for an hour.
func entry(id uint32, client string) mitigate.Entry {
	return mitigate.Entry{
		ID: mitigate.ID(0xabcd<<32 | uint64(id)), Action: detect.ActionBlock,
		Subject: detect.Subject{Client: targettest.Network(client)}, Expires: time.Now().Add(time.Hour).Unix(),
	}
}

func apply(t testing.TB, target *f5bigip.Target, set ...mitigate.Entry) {
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
	for i, tt := range []struct{ verdict, client string }{
		{"198.51.100.7", "198.51.100.7"},
		{"198.51.100.8", "::ffff:198.51.100.8"},
		{"198.51.100.9", "::FFFF:c633:6409"},
		{"198.51.100.10", "198.51.100.10"},
		{"2001:db8::1", "2001:0DB8:0:0:0:0:0:1"},
		{"::1", "::1"},
	} {
		e := entry(uint32(i+1), tt.verdict)
		apply(t, target, e)
		assert.Equal(t, refused(403, e), get(t, b, tt.client), "%s is %s", tt.verdict, tt.client)
	}
	assert.Equal(t, passed, get(t, b, "198.51.100.1"))
}

func TestClientIsReadPastTrustedProxiesOnly(t *testing.T) {
	_, b, target := enforcing(t)
	apply(t, target, entry(1, "198.51.100.7"), entry(2, "2001:db8::7"))
	for _, tt := range []struct {
		name    string
		from    string
		headers []string
		status  int
	}{
		{"named by a trusted proxy", targettest.Proxy, []string{"X-Forwarded-For", "198.51.100.7"}, 403},
		{"with a port", targettest.Proxy, []string{"X-Forwarded-For", "198.51.100.7:1234"}, 403},
		{"in brackets", targettest.Proxy, []string{"X-Forwarded-For", "[2001:db8::7]:1234"}, 403},
		{"the nearest name counts", targettest.Proxy, []string{"X-Forwarded-For", "198.51.100.7, 192.0.2.1"}, 200},
		{"a chain of trusted proxies is looked past", targettest.Proxy, []string{"X-Forwarded-For", "192.0.2.1, 198.51.100.7, 127.0.0.9, 127.0.0.8"}, 403},
		{"several fields are one list", targettest.Proxy, []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-For", "198.51.100.7"}, 403},
		{"who is no proxy is not believed", targettest.Attacker, []string{"X-Forwarded-For", "198.51.100.7"}, 200},
		{"a name that is no address names nobody", targettest.Proxy, []string{"X-Forwarded-For", "198.51.100.7, unknown"}, 200},
		{"nor does one that looks like it", targettest.Proxy, []string{"X-Forwarded-For", "198.51.100.7, 999.1.1.1"}, 200},
		{"nor code", targettest.Proxy, []string{"X-Forwarded-For", `[HTTP::respond 500] $x "{ \`}, 200},
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
	limit.Action, limit.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 60e9}
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
	assert.Equal(t, targettest.Answer{Status: 200, Tag: tag.ID.String()}, get(t, b, "203.0.113.5", "X-Offpath-Verdict", "a", "X-Offpath-Verdict", "b"))

	network.Monitor = true
	apply(t, target, network)
	assert.Equal(t, targettest.Answer{Status: 200, Tag: watched.ID.String()}, get(t, b, "198.51.100.9"), "both only watch")
	assert.Equal(t, targettest.Answer{Status: 200, Tag: network.ID.String()}, get(t, b, "198.51.100.10"))
}

func TestOfNetworksThatOverlapOneStandsAndTheOtherIsRejected(t *testing.T) {
	_, b, target := enforcing(t)
	wide, narrow := entry(1, "198.51.100.0/24"), entry(2, "198.51.100.128/25")
	err := target.Apply(t.Context(), []mitigate.Entry{wide, narrow}, nil)
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, narrow.ID, rejected.Rejections[0].ID)
	assert.Equal(t, refused(403, wide), get(t, b, "198.51.100.200"))
}

func TestAllowListsWinAndTheOperatorsOwnIsNotTouched(t *testing.T) {
	s, b, target := enforcing(t)
	s.API.Set("offpath_allow_own", map[string]string{"203.0.113.99/32": ""})
	apply(t, target, entry(1, "198.51.100.7"), entry(2, "203.0.113.0/24"), entry(3, "2001:db8::5"))
	assert.Equal(t, passed, get(t, b, "203.0.113.99"))
	assert.Equal(t, 403, get(t, b, "198.51.100.7").Status)
	allow := []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2001:db8::/32")}
	require.NoError(t, target.SetAllow(t.Context(), allow))
	assert.Equal(t, passed, get(t, b, "198.51.100.7"))
	assert.Equal(t, passed, get(t, b, "2001:db8::5"))
	require.NoError(t, target.SetAllow(t.Context(), nil))
	assert.Equal(t, 403, get(t, b, "198.51.100.7").Status)
	assert.Equal(t, passed, get(t, b, "203.0.113.99"))
	assert.Error(t, target.SetAllow(t.Context(), make([]netip.Prefix, 1)))
}

func TestModeDecidesAndAPersonsOffStandsUntilReleasedAlsoOverAReboot(t *testing.T) {
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
	s.API.Reboot()
	mode(detect.ModeOff, false)
	assert.Equal(t, passed, get(t, b, targettest.Attacker))
	_, err := target.Sync(t.Context(), []mitigate.Entry{e})
	require.NoError(t, err)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	assert.Equal(t, targettest.Answer{Status: 200, Tag: e.ID.String()}, get(t, b, targettest.Attacker))

	s.API.Set("offpath_off", map[string]string{"off": ""})
	mode(detect.ModeOff, true)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, passed, get(t, b, targettest.Attacker), "it stands")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	mode(detect.ModeEnforce, false)
	assert.Equal(t, refused(403, e), get(t, b, targettest.Attacker), "released")
	s.API.Set("offpath_mode", nil)
	mode(detect.ModeOff, false)
	assert.Equal(t, passed, get(t, b, targettest.Attacker), "no mode means off")
	assert.Error(t, target.SetMode(t.Context(), "on", false))
	s.API.RefuseSave = true
	assert.ErrorContains(t, target.SetMode(t.Context(), detect.ModeOff, false), "in force, and not saved")
	mode(detect.ModeOff, false)
}

func TestRecordsThatAreNoneOfOursDoNothingAndGo(t *testing.T) {
	s, b, target := enforcing(t)
	s.API.Set("offpath_addresses", map[string]string{
		"127.1.2.3/32": "e:block:x:1", "127.1.2.4/32": "", "127.1.2.5/32": "e:block", "127.1.2.6/32": "e:[exit]:99999999999:1 {",
	})
	for _, client := range []string{targettest.Attacker, targettest.Customer, "127.1.2.5"} {
		assert.Equal(t, 200, get(t, b, client).Status)
	}
	report, err := target.Sync(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 4, Compared: true, Removed: 4}, report)
	assert.Empty(t, s.API.Records("offpath_addresses"))
}

func TestAnOlderConfigurationIsAnotherLife(t *testing.T) {
	s, _, target := enforcing(t)
	name := func() string {
		t.Helper()
		i, err := target.Identity(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "17.1.1", i.Version)
		assert.InDelta(t, 0, i.Skew, 2)
		return i.Process
	}
	first := name()
	apply(t, target, entry(1, "198.51.100.7"))
	assert.Equal(t, first, name(), "its own changes are none")
	s.API.RestartREST()
	assert.Equal(t, first, name(), "the REST daemon is not the data plane")
	s.API.Reboot()
	second := name()
	assert.NotEqual(t, first, second)
	assert.Equal(t, second, name())
	_, err := target.Sync(t.Context(), []mitigate.Entry{entry(1, "198.51.100.7")})
	require.NoError(t, err)
	assert.Equal(t, second, name())
}

func TestWhatEndsFirstGivesWayWhenThereIsNoRoom(t *testing.T) {
	s := f5bigiptest.Start(t, proxied)
	target := newTarget(t, s.Address, func(o *f5bigip.Options) { o.Capacity = 2 })
	var set []mitigate.Entry
	for i := range 3 {
		e := entry(uint32(i+1), fmt.Sprintf("198.51.100.%d", i))
		e.Expires += int64(i)
		set = append(set, e)
	}
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, target.Apply(t.Context(), set, nil), &rejected)
	assert.Equal(t, []mitigate.Rejection{{ID: set[0].ID, Answer: "there is room for 2 verdicts"}}, rejected.Rejections)
	assert.Len(t, s.API.Records("offpath_addresses"), 2)
}

func TestSweepRemovesWhatHasEnded(t *testing.T) {
	s, _, target := enforcing(t)
	e := entry(1, "198.51.100.7")
	e.Expires = time.Now().Unix() - 1
	apply(t, target, e, entry(2, "198.51.100.8"))
	require.NoError(t, target.Sweep(t.Context()))
	require.Eventually(t, func() bool { return target.Sweep(t.Context()) == nil && len(s.API.Records("offpath_addresses")) == 1 }, targettest.Wait, 10*time.Millisecond)
}
