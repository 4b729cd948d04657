package haproxy_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
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
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
)

// The programs that ask in these tests, and what their core fingerprints are made of.
var (
	program  = []string{"User-Agent", "cracker/2.17 (x)", "Accept-Language", "en_US"}
	upgraded = []string{"User-Agent", "cracker/3.0 (x)", "Accept-Language", "de_DE"}
	browser  = []string{"User-Agent", "Mozilla/5.0", "Accept-Language", "en-US,en;q=0.9"}
)

// programCore is the core fingerprint of program by the definition in package
// fingerprint. Go's client puts User-Agent first and adds Accept-Encoding last.
var programCore = core("core 1", "user-agent,accept-language,accept-encoding", "gzip", "", "u", "cracker/# (x)")

func core(lines ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:8])
}

// at adds a host to a program's header fields.
func at(host string, headers []string) []string {
	return append([]string{"Host", host}, headers...)
}

func TestPredicatesMatchWhatTheySayAndNothingElse(t *testing.T) {
	s, target := enforcing(t)
	type request struct {
		from, path string
		headers    []string
	}
	login := func(from string, headers []string) request {
		return request{from, "/api/login?x=1", at("bank.example", headers)}
	}
	for _, tt := range []struct {
		name    string
		subject detect.Subject
		refused []request
		passed  []request
	}{
		{"a program", detect.Subject{Fingerprint: programCore},
			[]request{login(client, program), login(other, program), {client, "/", upgraded}},
			[]request{login(client, browser), login(client, nil)}},
		{"a program at an endpoint", detect.Subject{Fingerprint: programCore, Endpoint: "GET Bank.example/api/login"},
			[]request{login(client, program), login(other, upgraded)},
			[]request{login(client, browser), {client, "/api/login/2", at("bank.example", program)}, {client, "/api/login", at("other.example", program)}}},
		{"a program at an endpoint from one address", detect.Subject{Client: subject(client).Client, Fingerprint: programCore, Endpoint: "GET bank.example/api/login"},
			[]request{login(client, program)},
			[]request{login(other, program), login(client, browser), {client, "/", at("bank.example", program)}}},
		{"an address at an endpoint", detect.Subject{Client: subject(client).Client, Endpoint: "GET bank.example/api/login"},
			[]request{login(client, browser)},
			[]request{login(other, browser), {client, "/", at("bank.example", browser)}}},
		{"an address at a domain", detect.Subject{Client: subject(client).Client, Domain: "Bank.example"},
			[]request{login(client, browser), {client, "/", at("bank.example", nil)}},
			[]request{login(other, browser), {client, "/", at("www.bank.example", browser)}}},
		{"an endpoint", detect.Subject{Endpoint: "GET bank.example/api/login"},
			[]request{login(client, browser), login(other, program)},
			[]request{{client, "/api", at("bank.example", browser)}}},
		{"an endpoint that is the root", detect.Subject{Endpoint: "GET bank.example/"},
			[]request{{client, "/", at("bank.example", browser)}, {client, "//", at("bank.example", browser)}},
			[]request{login(client, browser)}},
		{"a domain", detect.Subject{Domain: "bank.example"},
			[]request{login(client, browser)},
			[]request{{client, "/", at("a.example", browser)}}},
		{"a User-Agent as it stands", detect.Subject{UserAgent: "cracker/2.17 (x)"},
			[]request{login(client, program), {other, "/", program}},
			[]request{login(client, upgraded), login(client, browser), {client, "/", []string{"User-Agent", ""}}}},
		{"a User-Agent of a program at a domain", detect.Subject{Fingerprint: programCore, UserAgent: "cracker/2.17 (x)", Domain: "bank.example"},
			[]request{login(client, program)},
			[]request{login(client, upgraded), {client, "/", at("a.example", program)}}},
		{"a User-Agent that HAProxy could take for orders", detect.Subject{UserAgent: "a;b \\ # \"%[src]\" <<"},
			[]request{{client, "/", []string{"User-Agent", "a;b \\ # \"%[src]\" <<"}}},
			[]request{login(client, browser)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := entry(client)
			e.Subject = tt.subject
			require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
			for _, r := range tt.refused {
				assert.Equal(t, refused(403, e), get(s, r.from, r.path, r.headers...), "%v", r)
			}
			for _, r := range tt.passed {
				assert.Equal(t, passed, get(s, r.from, r.path, r.headers...), "%v", r)
			}
			require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{e.Subject}))
			for _, r := range tt.refused {
				assert.Equal(t, passed, get(s, r.from, r.path, r.headers...), "lifted: %v", r)
			}
		})
	}
}

func TestAnotherWayToWriteAnEndpointIsNoWayAroundAVerdict(t *testing.T) {
	s, target := enforcing(t)
	e := entry(client)
	e.Subject = detect.Subject{Endpoint: "GET bank.example/api/login"}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	for _, path := range []string{
		"/api/login", "/api/login/", "//api//login", "/api/./login", "/api/x/../login", "/api;v=1/login;jsessionid=1", "/api/%2e/login", "/../api/login", "/%61pi/%6C%6fgin", "/api%2Dx/%2E%2e/api/login",
		strings.Repeat("/;/.", 300) + "/api/login", strings.Repeat("/", 300) + "api/login", strings.Repeat("/x/..", 300) + "/api/login",
	} {
		assert.Equal(t, refused(403, e), get(s, client, path, "Host", "bank.example"), path)
	}
	for _, host := range []string{"bank.EXAMPLE", "bank.example:443", "bank.example.", "bank.example.:443"} {
		assert.Equal(t, refused(403, e), get(s, client, "/api/login", "Host", host), host)
	}
	for _, text := range []string{
		"GET /api/login HTTP/1.1\r\nHost: user@bank.example:80\r\n",
		"GET http://bank.example/api/login HTTP/1.1\r\nHost: bank.example\r\n",
		"GET http://Bank.example:80/api/login?x HTTP/1.0\r\n",
		"GET http:///api/login HTTP/1.1\r\nHost: bank.example\r\n",
	} {
		assert.Equal(t, 403, raw(t, s, text), text)
	}
	root := entry(client)
	root.Subject, root.ID = detect.Subject{Endpoint: "GET root.example/"}, root.ID+1
	bare := entry(client)
	bare.Subject, bare.ID = detect.Subject{Endpoint: "GET /api/login"}, bare.ID+2
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{root, bare}, nil))
	assert.Equal(t, 403, raw(t, s, "GET http://root.example HTTP/1.1\r\nHost: root.example\r\n"), "no path is the root")
	assert.Equal(t, 403, raw(t, s, "GET /api/login HTTP/1.0\r\n"), "no host is one too")
	assert.Equal(t, 200, raw(t, s, "OPTIONS * HTTP/1.1\r\nHost: root.example\r\n"))
	for _, host := range []string{"bank.example, other.example", "other.example, bank.example", "[::1]:443", "bank.example:80:80"} {
		assert.NotEqual(t, 403, raw(t, s, "GET /api/login HTTP/1.1\r\nHost: "+host+"\r\n"), "%s is named as it stands", host)
	}
	for _, path := range []string{"/api/login2", "/API/login", "/api/login/..", "/x/api/login", "/api%2Flogin", "/%2561pi/login", strings.Repeat("/x", 16) + strings.Repeat("/..", 14) + "/api/login"} {
		assert.Equal(t, passed, get(s, client, path, "Host", "bank.example"), path)
	}
}

// raw sends the lines of a request as they stand, and returns the status.
func raw(t *testing.T, s *haproxytest.Server, lines string) int {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, lines+"Connection: close\r\n\r\n")
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err, lines)
	answer.Body.Close()
	return answer.StatusCode
}

func TestNoRequestCostsTheLoadBalancerMuch(t *testing.T) {
	s, target := enforcing(t)
	endpoint, domain := entry(client), entry(client)
	endpoint.Subject = detect.Subject{Fingerprint: programCore, UserAgent: "x", Endpoint: "GET bank.example/api/login"}
	domain.Subject, domain.ID = detect.Subject{Domain: "bank.example"}, domain.ID+1
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{endpoint, domain}, nil))
	const octets = 14_000 // HAProxy's buffer holds 16,384
	long := func(piece string) string { return strings.Repeat(piece, octets/len(piece)) }
	for name, text := range map[string]string{
		"a Host with user information": "GET / HTTP/1.1\r\nHost: " + long("a") + "@x\r\n",
		"a Host of at signs":           "GET / HTTP/1.1\r\nHost: " + long("@") + "\r\n",
		"a Host of colons":             "GET / HTTP/1.1\r\nHost: " + long(":") + "\r\n",
		"a Host of brackets":           "GET / HTTP/1.1\r\nHost: " + long("[") + "\r\n",
		"a Host of dots":               "GET / HTTP/1.1\r\nHost: " + long(".") + "\r\n",
		"an authority":                 "GET http://" + long("a") + "@x/ HTTP/1.0\r\n",
		"a path of slashes":            "GET " + long("/") + " HTTP/1.0\r\n",
		"a path of dots":               "GET " + long("/.") + " HTTP/1.0\r\n",
		"a path of steps back":         "GET " + long("/a/..") + " HTTP/1.0\r\n",
		"a path of parameters":         "GET " + long("/;") + " HTTP/1.0\r\n",
		"a path of escapes":            "GET /" + long("%61") + " HTTP/1.0\r\n",
		"a User-Agent of Androids":     "GET / HTTP/1.0\r\nUser-Agent: " + long("Android (") + "\r\n",
		"a User-Agent of digits":       "GET / HTTP/1.0\r\nUser-Agent: " + long("1.") + "\r\n",
		"languages":                    "GET / HTTP/1.0\r\nAccept-Language: " + long("en-US,=") + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			const n = 20
			before := s.CPU()
			for range n {
				raw(t, s, text)
			}
			each := (s.CPU() - before) / n
			t.Logf("%v of processor time", each)
			assert.Less(t, each, 20*time.Millisecond)
		})
	}
}

func TestPredicatesOfIPv6NetworksMatchAllTheirAddresses(t *testing.T) {
	s, target := enforcing(t)
	e := entry(client)
	e.Subject = subject("2001:db8:0:7::/64")
	e.Subject.Fingerprint = programCore
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	via := func(client string, headers []string) haproxytest.Answer {
		return get(s, proxy, "/", append([]string{"X-Forwarded-For", client}, headers...)...)
	}
	assert.Equal(t, refused(403, e), via("2001:db8:0:7::1", program))
	assert.Equal(t, refused(403, e), via("2001:DB8:0:7:ffff::1", program))
	assert.Equal(t, refused(403, e), via("2001:db8:0:7:1:2:3:4", program))
	assert.Equal(t, passed, via("2001:db8:0:8::1", program))
	assert.Equal(t, passed, via("2001:db8::7:0:0:1", program))
	assert.Equal(t, passed, via("2001:db8:0:7::1", browser))
	assert.Equal(t, passed, via("192.0.2.7", program))

	for network, client := range map[string]string{
		"::/64": "::1.2.3.4", "0:0:0:1::/64": "::1:0:0:0:1", "1::/64": "1::1", "1:0:2::/64": "1:0:2::5", "1:2:3:4::/64": "1:2:3:4:5:6:7:8",
		"1:0:0:4::/64": "1:0:0:4::", "0:2::/64": "0:2::5:6:7:8",
	} {
		e := entry(other)
		e.Subject = subject(network)
		e.Subject.Fingerprint = programCore
		require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
		assert.Equal(t, refused(403, e), via(client, program), "%s in %s", client, network)
	}
}

func TestTheMostSpecificVerdictThatIsEnforcedApplies(t *testing.T) {
	block := func(id mitigate.ID, s detect.Subject) mitigate.Entry {
		return mitigate.Entry{ID: 1<<32 + id, Action: detect.ActionBlock, Subject: s, Expires: time.Now().Add(time.Hour).Unix()}
	}
	watch := func(e mitigate.Entry) mitigate.Entry { e.Monitor = true; return e }
	address, network := subject(client), subject("127.1.0.0/16")
	broad, narrow := detect.Subject{Fingerprint: programCore}, detect.Subject{Fingerprint: programCore, Domain: "bank.example"}
	for _, tt := range []struct {
		name   string
		held   []mitigate.Entry
		status int
		id     mitigate.ID // of the one that refuses, or tags
	}{
		{"an address before a program", []mitigate.Entry{block(2, address), block(3, broad)}, 403, 2},
		{"a network before a program", []mitigate.Entry{block(2, network), block(3, broad)}, 403, 2},
		{"the narrower predicate", []mitigate.Entry{block(2, broad), block(3, narrow)}, 403, 3},
		{"one that only watches the address hides no program", []mitigate.Entry{watch(block(2, address)), block(3, broad)}, 403, 3},
		{"one that only watches the address hides no network", []mitigate.Entry{watch(block(2, address)), block(3, network)}, 403, 3},
		{"one that only watches the network hides no program", []mitigate.Entry{watch(block(2, network)), block(3, broad)}, 403, 3},
		{"one that only watches the narrower predicate hides not the broader", []mitigate.Entry{watch(block(2, narrow)), block(3, broad)}, 403, 3},
		{"where all only watch, the address's", []mitigate.Entry{watch(block(2, address)), watch(block(3, network)), watch(block(4, broad))}, 200, 2},
		{"where network and program only watch, the network's", []mitigate.Entry{watch(block(3, network)), watch(block(4, broad))}, 200, 3},
		{"a program that is only watched", []mitigate.Entry{watch(block(4, broad))}, 200, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, target := enforcing(t)
			require.NoError(t, target.Apply(t.Context(), tt.held, nil))
			want := haproxytest.Answer{Status: tt.status, Tag: (1<<32 + tt.id).String()}
			if tt.status == 403 {
				want.Marker, want.Tag = want.Tag, ""
			}
			assert.Equal(t, want, get(s, client, "/", at("bank.example", program)...))
		})
	}
}

func TestPredicatesObeyModeAllowListAndRate(t *testing.T) {
	s, target := enforcing(t)
	e := entry(client)
	e.Subject = detect.Subject{Fingerprint: programCore}
	e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 60e9}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	for _, from := range []string{client, other} {
		assert.Equal(t, 200, get(s, from, "/", program...).Status, "each address has a rate of its own")
		assert.Equal(t, 429, get(s, from, "/", program...).Status)
	}
	require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{subject(other).Client}))
	assert.Equal(t, passed, get(s, other, "/", program...), "allowed")
	assert.Equal(t, 429, get(s, client, "/", program...).Status)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	assert.Equal(t, haproxytest.Answer{Status: 200, Tag: e.ID.String()}, get(s, client, "/", program...))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, passed, get(s, client, "/", program...))

	hits, err := target.Hits(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []mitigate.Hits{{ID: e.ID, Refused: 3, Passed: 3}}, hits)
}

func TestPredicatesEndByThemselvesAndLaterOnesLiveOn(t *testing.T) {
	s, target := enforcing(t)
	short, long := entry(client), entry(client)
	short.Subject, short.Expires = detect.Subject{Domain: "a.example"}, time.Now().Unix()+2
	long.Subject, long.ID = detect.Subject{Fingerprint: programCore}, long.ID+1
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{long}, nil))
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{short}, nil))
	assert.Equal(t, refused(403, short), get(s, client, "/", "Host", "a.example"))
	assert.Equal(t, refused(403, long), get(s, client, "/", program...))
	require.Eventually(t, func() bool { return get(s, client, "/", "Host", "a.example") == passed }, 5*time.Second, 50*time.Millisecond)
	assert.Equal(t, refused(403, long), get(s, client, "/", program...))
}

func TestAPredicateIsEnforcedWhoeverClearedTheRowOfShapes(t *testing.T) {
	s, target := enforcing(t)
	one, two := entry(client), entry(client)
	one.Subject = detect.Subject{Fingerprint: programCore}
	two.Subject, two.ID = detect.Subject{Fingerprint: core("another")}, two.ID+1
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{one}, nil))
	s.Command("clear table offpath_verdicts key shapes")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{two}, nil))
	assert.Equal(t, refused(403, one), get(s, client, "/", program...))
}

func TestASyncMakesRoomForPredicates(t *testing.T) {
	s, target, _, _ := crowded(t)
	e := entry(client)
	e.Subject = detect.Subject{Fingerprint: programCore}
	_, err := target.Sync(t.Context(), []mitigate.Entry{e})
	require.NoError(t, err)
	assert.Equal(t, refused(403, e), get(s, client, "/", program...))
}

func TestSyncPutsPredicatesBack(t *testing.T) {
	s, target := enforcing(t)
	one, two := entry(client), entry(client)
	one.Subject = detect.Subject{Fingerprint: programCore}
	two.Subject, two.ID = detect.Subject{Domain: "a.example"}, two.ID+1
	both := []mitigate.Entry{one, two}
	_, err := target.Sync(t.Context(), both)
	require.NoError(t, err)
	check := func(when string) {
		t.Helper()
		assert.Equal(t, refused(403, one), get(s, client, "/", program...), when)
		assert.Equal(t, refused(403, two), get(s, client, "/", "Host", "a.example"), when)
	}
	check("at first")
	report, err := target.Sync(t.Context(), both)
	require.NoError(t, err)
	assert.Zero(t, report.Set+report.Removed, "nothing differs")

	s.Command("clear table offpath_verdicts")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	report, err = target.Sync(t.Context(), both)
	require.NoError(t, err)
	assert.Equal(t, 2, report.Set)
	check("after all rows were cleared")

	// A further one of another controller's life: the shapes of before must stay.
	three := entry(client)
	three.Subject, three.ID = detect.Subject{UserAgent: "x"}, three.ID+2
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{three}, nil))
	check("after a third")
	assert.Equal(t, refused(403, three), get(s, client, "/", "User-Agent", "x"))

	s.Reload()
	check("after a reload")

	report, err = target.Sync(t.Context(), both[:1])
	require.NoError(t, err)
	assert.Equal(t, 2, report.Removed)
	assert.Equal(t, passed, get(s, client, "/", "Host", "a.example"))
	_, err = target.Sync(t.Context(), nil)
	require.NoError(t, err)
	assert.NotContains(t, s.Command("show table offpath_verdicts"), "shapes", "Lua is no longer asked")
}

func TestPredicatesAFullTableHasNoRoomForAreRefused(t *testing.T) {
	s, target, filling, rejected := crowded(t)

	e := entry(client)
	e.Subject = detect.Subject{Fingerprint: programCore}
	apply := func() error { return target.Apply(t.Context(), []mitigate.Entry{e}, nil) }
	sync := func() error { _, err := target.Sync(t.Context(), append(filling, e)); return err }
	for name, order := range map[string]func() error{"apply": apply, "sync": sync} {
		require.ErrorAs(t, order(), &rejected, name)
		assert.True(t, slices.ContainsFunc(rejected.Rejections, func(r mitigate.Rejection) bool { return r.ID == e.ID }), "%s: %v", name, rejected)
		assert.Equal(t, passed, get(s, client, "/", program...), name)
	}
	s.Command("clear table offpath_verdicts data.gpt0 eq 1")
	require.NoError(t, apply())
	assert.Equal(t, refused(403, e), get(s, client, "/", program...), "once there is room")
}

func TestIgnoredHeaderFieldsDoNotCount(t *testing.T) {
	s := haproxytest.Start(t, haproxy.Setup{IgnoreHeaders: []string{"Accept-Language", "accept-encoding"}})
	target := newTarget(t, s.Socket, s)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	e := entry(client)
	e.Subject = detect.Subject{Fingerprint: core("core 1", "user-agent", "", "", "", "cracker/# (x)")}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	assert.Equal(t, refused(403, e), get(s, client, "/", program...))
	assert.Equal(t, refused(403, e), get(s, client, "/", program[:2]...))
	assert.Equal(t, passed, get(s, client, "/", browser...))
}
