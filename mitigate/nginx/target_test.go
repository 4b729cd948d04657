package nginx_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginx"
)

const (
	proxy  = targettest.Proxy
	client = targettest.Attacker
	other  = targettest.Customer
)

// proxied is a setup in which 127.0.0.0/24 are proxies that name the client.
var proxied = nginx.Setup{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24"), netip.MustParsePrefix("2001:db8:ffff::/48")}}

var passed = targettest.Answer{Status: 200}

// enforcing is a fresh nginx in the mode enforce.
func enforcing(t testing.TB, options ...nginxtest.Options) (*nginxtest.Server, *nginx.Target) {
	t.Helper()
	s := nginxtest.Start(t, proxied, append(options, nginxtest.Options{})[0])
	target := s.Target(t)
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

func subject(client string) detect.Subject { return detect.Subject{Client: targettest.Network(client)} }

func refused(status int, e mitigate.Entry) targettest.Answer {
	return targettest.Answer{Status: status, Marker: e.ID.String()}
}

// get asks without the time it took.
func get(s *nginxtest.Server, from, path string, headers ...string) targettest.Answer {
	a := s.Get(from, path, headers...)
	a.Elapsed = 0
	return a
}

// via asks through a trusted proxy that names the client.
func via(s *nginxtest.Server, client string) targettest.Answer {
	return get(s, proxy, "/", "X-Forwarded-For", client)
}

func TestAnEndpointIsReachedInEachOfItsWays(t *testing.T) {
	for _, endpoint := range []string{"unix", "tcp", "https"} {
		t.Run(endpoint, func(t *testing.T) {
			s, target := enforcing(t, nginxtest.Options{Endpoint: endpoint})
			e := entry(client)
			require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
			assert.Equal(t, refused(403, e), get(s, client, "/"))
			assert.Equal(t, endpoint != "unix", len(target.Addresses()) == 1)
			if endpoint == "https" {
				stranger := s.Target(t, func(o *nginx.Options) { o.CA = nil })
				_, err := stranger.Identity(t.Context())
				assert.ErrorContains(t, err, "certificate")
			}
		})
	}
}

func TestClientsAreThoseThatTheSensorSees(t *testing.T) {
	s, target := enforcing(t)
	tests := []struct{ name, verdict, header string }{
		{"IPv4", "198.51.100.7", "198.51.100.7"},
		{"IPv4 with a port", "198.51.100.7", "198.51.100.7:1234"},
		{"IPv4 in quotes", "198.51.100.7", `"198.51.100.7"`},
		{"IPv4-mapped", "198.51.100.8", "::ffff:198.51.100.8"},
		{"IPv4-mapped in hex digits", "198.51.100.9", "::FFFF:c633:6409"},
		{"IPv6 at length", "2001:db8::1", "2001:0DB8:0:0:0:0:0:1"},
		{"IPv6 in full", "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"IPv6 with brackets and port", "2001:db8::1", "[2001:db8::1]:443"},
		{"IPv6 with a zone", "fe80::1", "fe80::1%eth0"},
		{"IPv6 that ends in IPv4", "::102:304", "::1.2.3.4"},
		{"IPv6 that ends in zeros", "2001:db8:7::", "2001:db8:7::"},
		{"one zero left out", "1:2:3:4:5:6:0:8", "1:2:3:4:5:6::8"},
		{"the last of a list", "198.51.100.7", "192.0.2.1, 198.51.100.7"},
		{"past further trusted proxies", "198.51.100.7", "192.0.2.1, 198.51.100.7 ,127.0.0.9:80,, 2001:db8:ffff::1"},
		{"behind an opening quote of the client's", "198.51.100.7", `"192.0.2.1, 198.51.100.7, 127.0.0.9`},
		{"a proxy that says unknown is the last thing known", "127.0.0.9", "192.0.2.1, unknown, 127.0.0.9"},
		{"as is one that writes too large a number", "127.0.0.9", "198.51.100.256, 127.0.0.9"},
		{"or a leading zero", "127.0.0.9", "198.51.100.07, 127.0.0.9"},
		{"or nine groups", "127.0.0.9", "1:2:3:4:5:6:7:8:9, 127.0.0.9"},
		{"or two gaps", "127.0.0.9", "1::2::3, 127.0.0.9"},
		{"or a gap of nothing", "127.0.0.9", "1:2:3:4::5:6:7:8, 127.0.0.9"},
		{"or IPv4 in the middle", "127.0.0.9", "::1.2.3.4:5, 127.0.0.9"},
		{"or half a bracket", "127.0.0.9", "[::1, 127.0.0.9"},
		{"or nowhere", "127.0.0.9", "::, 127.0.0.9"},
		{"or a multicast group", "127.0.0.9", "ff02::1, 127.0.0.9"},
		{"without a name it is the proxy", "127.0.0.1", ""},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := entry(tt.verdict)
			e.ID += mitigate.ID(i)
			require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
			assert.Equal(t, refused(403, e), via(s, tt.header))
			require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{e.Subject}))
			assert.Equal(t, passed, via(s, tt.header))
		})
	}
	e := entry("198.51.100.7")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	assert.Equal(t, passed, get(s, client, "/", "X-Forwarded-For", "198.51.100.7"), "nobody else is believed")
	assert.Equal(t, 403, raw(t, s, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.7\r\nX-Forwarded-For: 127.0.0.9\r\n"), "two fields are one list")
}

func TestNetworksOfAnyLengthAreRefusedWholeAndNothingBeside(t *testing.T) {
	s, target := enforcing(t)
	for i, tt := range []struct{ network, in, beside string }{
		{"198.51.100.0/25", "198.51.100.127", "198.51.100.128"},
		{"198.51.100.128/26", "198.51.100.191", "198.51.100.192"},
		{"198.51.100.206/31", "198.51.100.207", "198.51.100.208"},
		{"203.0.113.0/24", "203.0.113.255", "203.0.114.0"},
		{"10.128.0.0/9", "10.255.1.1", "10.127.255.255"},
		{"2001:db8:1::/48", "2001:db8:1:ffff::1", "2001:db8:2::1"},
		{"2001:db8:5:8000::/49", "2001:db8:5:8001::1", "2001:db8:5:7fff::1"},
		{"2001:db8:6:2::/64", "2001:db8:6:2:ffff::1", "2001:db8:6:3::1"},
		{"2001:db8:7::8/127", "2001:db8:7::9", "2001:db8:7::a"},
	} {
		e := entry(tt.network)
		e.ID += mitigate.ID(i)
		require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
		assert.Equal(t, refused(403, e), via(s, tt.in), tt.network)
		assert.Equal(t, passed, via(s, tt.beside), tt.network)
	}
	inner, outer := entry("203.0.113.64/26"), entry("203.0.113.0/24")
	inner.ID, inner.Monitor = 1<<32+1, true
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{inner, outer}, nil))
	assert.Equal(t, refused(403, outer), via(s, "203.0.113.65"), "one that only watches hides no wider one")
	inner.Monitor = false
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{inner}, nil))
	assert.Equal(t, refused(403, inner), via(s, "203.0.113.65"), "the longest is named")
}

func TestARateHasAnyWholeNumberOfSeconds(t *testing.T) {
	s, target := enforcing(t)
	for i, tt := range []struct {
		requests, seconds int
	}{{3, 60}, {2, 7}, {5, 3600}, {1, 86400}} {
		from := fmt.Sprintf("127.1.9.%d", i+1)
		e := entry(from)
		e.ID += mitigate.ID(i)
		e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: tt.requests, Per: int64(tt.seconds) * 1e9}
		require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
		var statuses []int
		for range tt.requests {
			statuses = append(statuses, get(s, from, "/").Status)
		}
		assert.Equal(t, slices.Repeat([]int{200}, tt.requests), statuses, "%v", tt)
		want := refused(429, e)
		want.Retry = fmt.Sprint(tt.seconds)
		assert.Equal(t, want, get(s, from, "/"), "%v", tt)
	}
	e := entry("127.1.8.0/24")
	e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 60e9}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	for _, from := range []string{"127.1.8.1", "127.1.8.2"} {
		assert.Equal(t, 200, get(s, from, "/").Status, "each address of a network has its own")
		assert.Equal(t, 429, get(s, from, "/").Status)
	}
}

func TestARateThatIsNotKeptToLetsTheClientBackOnceItSlowsDown(t *testing.T) {
	t.Parallel()
	s, target := enforcing(t)
	e := entry(client)
	e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 2, Per: 2e9}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	targettest.Eventually(t, func() bool { return get(s, client, "/").Status == 429 }, func() string { return "refused" })
	time.Sleep(4200 * time.Millisecond) // two periods without a request
	assert.Equal(t, 200, get(s, client, "/").Status)
}

func TestModeDecidesWhatIsDone(t *testing.T) {
	s := nginxtest.Start(t, proxied, nginxtest.Options{})
	target := s.Target(t)
	e := entry(client)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	mode := func(want detect.Mode, local bool) {
		t.Helper()
		got, isLocal, err := target.Mode(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, local, isLocal)
	}
	mode(detect.ModeOff, false)
	assert.Equal(t, passed, get(s, client, "/"), "without a mode")
	assert.Equal(t, passed, get(s, other, "/", "X-Offpath-Verdict", "forged"), "what a client forged goes also when off")

	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	mode(detect.ModeMonitor, false)
	assert.Equal(t, targettest.Answer{Status: 200, Tag: e.ID.String()}, get(s, client, "/", "X-Offpath-Verdict", "forged"))

	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, refused(403, e), get(s, client, "/"))
	order(t, s, "POST", "/v1/off", 200)
	mode(detect.ModeOff, true)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	_, err := target.Sync(t.Context(), []mitigate.Entry{e})
	require.NoError(t, err)
	assert.Equal(t, passed, get(s, client, "/"), "a person's off at the load balancer stands")
	s.Reload()
	assert.Equal(t, passed, get(s, client, "/"), "through a reload")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	mode(detect.ModeEnforce, false)
	assert.Equal(t, refused(403, e), get(s, client, "/"), "released")
	order(t, s, "POST", "/v1/off", 200)
	order(t, s, "POST", "/v1/release", 200)
	mode(detect.ModeEnforce, false)
	assert.Error(t, target.SetMode(t.Context(), "on", false))
}

// order gives an order as a person would, with the token.
func order(t *testing.T, s *nginxtest.Server, method, path string, want int) {
	t.Helper()
	ask(t, s, method, path, "Bearer "+nginxtest.Token, "", want)
}

func TestTheAllowListIsReplacedAsAWhole(t *testing.T) {
	s, target := enforcing(t)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry("198.51.100.0/24"), entry("2001:db8::5")}, nil))
	allow := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/28"), netip.MustParsePrefix("2001:db8::/32")}
	require.NoError(t, target.SetAllow(t.Context(), allow))
	assert.Equal(t, passed, via(s, "198.51.100.7"))
	assert.Equal(t, passed, via(s, "2001:db8::5"))
	assert.Equal(t, 403, via(s, "198.51.100.99").Status)
	require.NoError(t, target.SetAllow(t.Context(), allow[1:]))
	assert.Equal(t, 403, via(s, "198.51.100.7").Status)
	require.NoError(t, target.SetAllow(t.Context(), nil))
	assert.Equal(t, 403, via(s, "2001:db8::5").Status)

	many := make([]netip.Prefix, 20_000)
	for i := range many {
		many[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
	}
	require.NoError(t, target.SetAllow(t.Context(), append(many, allow...)))
	assert.Equal(t, passed, via(s, "198.51.100.7"), "among many")
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, target.SetAllow(t.Context(), slices.Repeat(many, 3)), &rejected, "more than there is room for")
	assert.Equal(t, passed, via(s, "198.51.100.7"), "the one before stays")
}

func TestHitsAreCountedForEachVerdict(t *testing.T) {
	s, target := enforcing(t)
	e, watched := entry(client), entry(other)
	watched.ID, watched.Monitor = 1<<32+7, true
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e, watched}, nil))
	for range 3 {
		get(s, client, "/")
	}
	get(s, other, "/")
	get(s, "127.1.2.9", "/")
	hits, err := target.Hits(t.Context())
	require.NoError(t, err)
	assert.ElementsMatch(t, []mitigate.Hits{{ID: e.ID, Refused: 3}, {ID: watched.ID, Passed: 1}}, hits)
}

func TestIdentityOutlivesAReloadAndChangesWhenTheDictionariesAreLost(t *testing.T) {
	s, target := enforcing(t)
	e := entry(client)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	first, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.Zero(t, first.Skew)
	assert.Regexp(t, `^1\.\d+\.\d+$`, first.Version)
	s.Reload()
	again, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, first.Process, again.Process)
	assert.Equal(t, refused(403, e), get(s, client, "/"))

	s.Configure(strings.Replace(s.Config(), "offpath_verdicts_7 6m", "offpath_verdicts_7 7m", 1))
	s.Reload()
	resized, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, first.Process, resized.Process, "one dictionary was made anew")
	assert.Equal(t, passed, get(s, client, "/"))

	s.Down()
	_, err = target.Identity(t.Context())
	assert.Error(t, err)
	s.Up()
	restarted, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, resized.Process, restarted.Process)
	mode, _, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeOff, mode)
}

func TestSyncMendsWhateverNginxHolds(t *testing.T) {
	s, target := enforcing(t)
	missing, wrong, extra, same := entry("127.1.0.1"), entry("127.1.0.2"), entry("127.1.0.3"), entry("127.1.0.4")
	network, program := entry("198.51.100.0/24"), entry(client)
	program.Subject = detect.Subject{Domain: "a.example"}
	before := wrong
	before.Expires -= 100
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{before, extra, same}, nil))

	wanted := []mitigate.Entry{missing, wrong, same, network, program}
	fresh := s.Target(t)
	report, err := fresh.Sync(t.Context(), wanted)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 3, Compared: true, Set: 4, Removed: 1}, report)
	report, err = fresh.Sync(t.Context(), wanted)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 5, Compared: true}, report, "nothing left to mend")
	assert.Equal(t, 403, get(s, "127.1.0.1", "/").Status)
	assert.Equal(t, passed, get(s, "127.1.0.3", "/"))
	assert.Equal(t, 403, via(s, "198.51.100.1").Status)
	assert.Equal(t, 403, get(s, other, "/", "Host", "a.example").Status)
	_, err = fresh.Sync(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, passed, get(s, "127.1.0.1", "/"))
}

func TestWhatHasNoRoomIsRefusedAndNothingMakesRoomForIt(t *testing.T) {
	s := nginxtest.New(t, proxied, nginxtest.Options{})
	s.Configure(strings.ReplaceAll(s.Config(), " 6m;", " 12k;"))
	s.Up()
	target := s.Target(t)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	first := entry(client)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{first}, nil))
	filling := make([]mitigate.Entry, 2000)
	for i := range filling {
		filling[i] = entry(fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
		filling[i].ID = mitigate.ID(1<<32 + i + 1)
	}
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, target.Apply(t.Context(), filling, nil), &rejected)
	assert.Greater(t, len(rejected.Rejections), 500)
	assert.Less(t, len(rejected.Rejections), 1900)
	assert.Equal(t, "no memory", rejected.Rejections[0].Answer)
	assert.Equal(t, refused(403, first), get(s, client, "/"))
	for _, e := range filling[:200] {
		isRejected := slices.ContainsFunc(rejected.Rejections, func(r mitigate.Rejection) bool { return r.ID == e.ID })
		assert.Equal(t, isRejected, via(s, e.Subject.Client.Addr().String()).Status == 200, "%v", e.Subject)
	}
	first.Expires += 60
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{first}, nil), "what is there can always be renewed")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, passed, get(s, client, "/"), "and all can be turned off")

	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	_, err := target.Sync(t.Context(), []mitigate.Entry{first, filling[1999]})
	require.NoError(t, err, "what goes makes room for what comes")
	assert.Equal(t, 403, via(s, filling[1999].Subject.Client.Addr().String()).Status)
}

func TestTheDictionariesHaveRoomForAllThatATargetTakes(t *testing.T) {
	if testing.Short() {
		t.Skip("a quarter of a million verdicts: not with -short")
	}
	s, target := enforcing(t)
	set := make([]mitigate.Entry, target.Capacity()) // of the longest kind
	for i := range set {
		set[i] = entry("2001:db8::1")
		set[i].ID = mitigate.ID(1<<32 + i + 1)
		set[i].Subject.Client = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}), 128)
	}
	report, err := target.Sync(t.Context(), set)
	require.NoError(t, err)
	assert.Equal(t, len(set), report.Set)
	assert.Equal(t, refused(403, set[len(set)-1]), via(s, set[len(set)-1].Subject.Client.Addr().String()))
	report, err = target.Sync(t.Context(), set)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: len(set), Compared: true}, report)
}

func TestSweepGivesTheRoomOfWhatHasExpiredBack(t *testing.T) {
	t.Parallel()
	s := nginxtest.New(t, proxied, nginxtest.Options{})
	s.Configure(strings.ReplaceAll(s.Config(), " 6m;", " 12k;"))
	s.Up()
	target := s.Target(t)
	batch := func(net int, expires time.Duration) []mitigate.Entry {
		set := make([]mitigate.Entry, 2000)
		for i := range set {
			set[i] = entry(fmt.Sprintf("10.%d.%d.%d", net, i>>8, i&255))
			set[i].Expires = time.Now().Add(expires).Unix()
		}
		return set
	}
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, target.Apply(t.Context(), batch(1, 2*time.Second), nil), &rejected)
	full := len(rejected.Rejections)
	time.Sleep(3200 * time.Millisecond)
	require.NoError(t, target.Sweep(t.Context()))
	require.ErrorAs(t, target.Apply(t.Context(), batch(2, time.Hour), nil), &rejected)
	assert.InDelta(t, full, len(rejected.Rejections), 50)
}

func TestExpiredOrdersAndOrdersForUnknownSubjectsDoNothing(t *testing.T) {
	s, target := enforcing(t)
	past := entry(client)
	past.Expires = time.Now().Unix() - 10
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(client)}, nil))
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{past}, []detect.Subject{subject(other), {JA4: "x"}}))
	assert.Equal(t, passed, get(s, client, "/"))
	require.NoError(t, target.Apply(t.Context(), nil, nil))
}

func TestWhatNginxCannotCarryIsSaid(t *testing.T) {
	target, err := nginx.New(nginx.Options{Address: "tcp:127.0.0.1:1", Token: nginxtest.Secret("x")})
	require.NoError(t, err)
	for _, tt := range []struct {
		name   string
		change func(e *mitigate.Entry)
		reason string
	}{
		{"JA4", func(e *mitigate.Entry) { e.Subject.JA4 = "t13d" }, "JA4"},
		{"a session", func(e *mitigate.Entry) { e.Subject.Session = "x" }, "session"},
		{"an account", func(e *mitigate.Entry) { e.Subject.UserHash = "x" }, "account"},
		{"nothing", func(e *mitigate.Entry) { e.Subject = detect.Subject{} }, "names nothing"},
		{"an IPv4-mapped address", func(e *mitigate.Entry) { e.Subject = subject("::ffff:1.2.3.4") }, "as seen on the wire"},
		{"a network beside a program", func(e *mitigate.Entry) {
			e.Subject = subject("192.0.2.0/24")
			e.Subject.Fingerprint = "0123456789abcdef"
		}, "single addresses"},
		{"a template", func(e *mitigate.Entry) { e.Subject = detect.Subject{Endpoint: "GET a.example/{id}"} }, "literal path"},
		{"an action", func(e *mitigate.Entry) { e.Action = detect.ActionHold }, `"hold"`},
		{"a rate of half a second", func(e *mitigate.Entry) {
			e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 5e8}
		}, "whole seconds"},
		{"a rate of 1.5 s", func(e *mitigate.Entry) {
			e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 15e8}
		}, "whole seconds"},
		{"a rate of two days", func(e *mitigate.Entry) {
			e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 172800e9}
		}, "whole seconds"},
		{"a rate of none", func(e *mitigate.Entry) { e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Per: 1e9} }, "rate of 0"},
		{"no expiry", func(e *mitigate.Entry) { e.Expires = 0 }, "expiry 0"},
	} {
		e := entry(client)
		tt.change(&e)
		err := target.Carries(&e)
		assert.ErrorIs(t, err, mitigate.ErrUnsupported, tt.name)
		assert.ErrorContains(t, err, tt.reason, tt.name)
	}
	e := entry(client)
	assert.NoError(t, target.Carries(&e))
}

func TestARefusalIsTheWholeAnswer(t *testing.T) {
	s, target := enforcing(t, nginxtest.Options{Extra: `
    error_page 403 =200 /friendly;
    location = /friendly { return 200 "friendly"; }
    location = /moved { return 301 /; }
    location /fallback { try_files /none /index; }
    location = /index { proxy_pass http://bank; }
`})
	e := entry(client)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	for _, path := range []string{"/", "/friendly", "/moved", "/fallback"} {
		assert.Equal(t, refused(403, e), get(s, client, path), path)
	}
	response, err := http.Get(s.URL + "/fallback")
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, 200, response.StatusCode)

	limited := entry(other)
	limited.ID, limited.Action, limited.Rate = 1<<32+2, detect.ActionRateLimit, detect.Rate{Requests: 2, Per: 3600e9}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{limited}, nil))
	assert.Equal(t, 200, get(s, other, "/fallback").Status)
	assert.Equal(t, 200, get(s, other, "/fallback").Status, "an internal redirect is no request")
	assert.Equal(t, 429, get(s, other, "/fallback").Status)
}
