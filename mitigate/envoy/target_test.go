package envoy_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	"offpath/mitigate/envoy"
	"offpath/mitigate/internal/envoytest"
	"offpath/mitigate/internal/targettest"
)

// Clients of these tests; others are named by the proxy.
const (
	client = targettest.Attacker
	other  = targettest.Customer
)

var proxied = envoy.Setup{TrustedProxies: []netip.Prefix{targettest.Network(targettest.Proxy)}}

// run runs a target until the test ends.
func run(t testing.TB, options envoy.Options) *envoy.Target {
	t.Helper()
	target, err := envoy.New(options)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- target.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-done) })
	return target
}

// connected waits until so many Envoys that are prepared have connected.
func connected(t testing.TB, target *envoy.Target, n int) {
	t.Helper()
	targettest.Eventually(t, func() bool {
		id, err := target.Identity(t.Context())
		return err == nil && strings.Count(id.Process, "+") == n-1 && target.Prepared(t.Context()) == nil
	}, func() string { return fmt.Sprintf("%d connected", n) })
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// enforcing is an Envoy with nothing in force, in mode enforce.
func enforcing(t testing.TB, change ...func(*envoy.Options)) (*envoytest.Server, *envoy.Target) {
	t.Helper()
	options := envoy.Options{Name: "lb1", Address: envoytest.Address(t)}
	for _, f := range change {
		f(&options)
	}
	setup := proxied
	setup.Address = options.Address
	s := envoytest.Start(t, setup)
	target := run(t, options)
	connected(t, target, 1)
	sync(t, target)
	require.NoError(t, target.SetMode(within(t, targettest.Wait), detect.ModeEnforce, false))
	return s, target
}

func sync(t testing.TB, target *envoy.Target, entries ...mitigate.Entry) {
	t.Helper()
	_, err := target.Sync(within(t, targettest.Wait), entries)
	require.NoError(t, err)
}

func block(id mitigate.ID, s detect.Subject) mitigate.Entry {
	return mitigate.Entry{ID: 1<<32 + id, Action: detect.ActionBlock, Subject: s, Expires: time.Now().Add(time.Hour).Unix()}
}

func watch(e mitigate.Entry) mitigate.Entry {
	e.Monitor = true
	return e
}

func of(client string) detect.Subject { return detect.Subject{Client: targettest.Network(client)} }

// answers waits until a request is answered so: workers of Envoy follow its acknowledgement.
func answers(t testing.TB, s *envoytest.Server, want targettest.Answer, from, path string, headers ...string) {
	t.Helper()
	var got targettest.Answer
	targettest.Eventually(t, func() bool {
		got = s.Get(from, path, headers...)
		got.Elapsed, got.Retry = 0, ""
		return got == want
	}, func() string { return fmt.Sprintf("%s %s %q is answered %+v, not %+v", from, path, headers, got, want) })
}

var passed = targettest.Answer{Status: 200}

func refused(e mitigate.Entry) targettest.Answer {
	return targettest.Answer{Status: 403, Marker: e.ID.String()}
}

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

func at(host string, headers []string) []string { return append([]string{"Host", host}, headers...) }

func TestPredicatesMatchWhatTheySayAndNothingElse(t *testing.T) {
	t.Parallel()
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
		{"a program at an endpoint from one address", detect.Subject{Client: of(client).Client, Fingerprint: programCore, Endpoint: "GET bank.example/api/login"},
			[]request{login(client, program)},
			[]request{login(other, program), login(client, browser), {client, "/", at("bank.example", program)}}},
		{"an IPv6 address at a domain", detect.Subject{Client: of("2001:db8:0:0:1::1").Client, Domain: "bank.example"},
			[]request{{targettest.Proxy, "/", at("bank.example", []string{"X-Forwarded-For", "2001:DB8::1:0:0:1"})}},
			[]request{{targettest.Proxy, "/", at("bank.example", []string{"X-Forwarded-For", "2001:db8::1"})}, login(client, browser)}},
		{"an address that the proxy names as IPv6, at a domain", detect.Subject{Client: of("192.0.2.7").Client, Domain: "bank.example"},
			[]request{{targettest.Proxy, "/", at("bank.example", []string{"X-Forwarded-For", "::ffff:192.0.2.7"})}},
			[]request{{targettest.Proxy, "/", at("bank.example", []string{"X-Forwarded-For", "::ffff:192.0.2.8"})}}},
		{"an address that the proxy names as IPv6", of("192.0.2.7"),
			[]request{{targettest.Proxy, "/", []string{"X-Forwarded-For", "::ffff:192.0.2.7"}}, {targettest.Proxy, "/", []string{"X-Forwarded-For", "198.51.100.1, 192.0.2.7"}}},
			[]request{{targettest.Proxy, "/", []string{"X-Forwarded-For", "::ffff:192.0.2.8"}}, {targettest.Proxy, "/", []string{"X-Forwarded-For", "192.0.2.7, 198.51.100.1"}}, {client, "/", []string{"X-Forwarded-For", "192.0.2.7"}}}},
		{"an endpoint", detect.Subject{Endpoint: "GET bank.example/api/login"},
			[]request{login(client, browser), login(other, program), {client, "//api/./x/../login;a=1", at("BANK.example.:80", browser)}},
			[]request{{client, "/api", at("bank.example", browser)}}},
		{"a domain", detect.Subject{Domain: "bank.example"},
			[]request{login(client, browser)},
			[]request{{client, "/", at("a.example", browser)}}},
		{"a User-Agent as it stands", detect.Subject{UserAgent: "cracker/2.17 (x)"},
			[]request{login(client, program), {other, "/", program}},
			[]request{login(client, upgraded), login(client, browser), {client, "/", []string{"User-Agent", ""}}}},
		{"a User-Agent that looks like a script", detect.Subject{UserAgent: `]] "a" \ <<EOF %s`},
			[]request{{client, "/", []string{"User-Agent", `]] "a" \ <<EOF %s`}}},
			[]request{login(client, browser)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := block(7, tt.subject)
			require.NoError(t, target.Apply(within(t, targettest.Wait), []mitigate.Entry{e}, nil))
			for _, r := range tt.refused {
				answers(t, s, refused(e), r.from, r.path, r.headers...)
			}
			for _, r := range tt.passed {
				answers(t, s, passed, r.from, r.path, r.headers...)
			}
			require.NoError(t, target.Apply(within(t, targettest.Wait), nil, []detect.Subject{e.Subject}))
			for _, r := range tt.refused {
				answers(t, s, passed, r.from, r.path, r.headers...)
			}
		})
	}
	assert.NotContains(t, s.Log(), "let through")
}

func TestTheMostSpecificVerdictThatIsEnforcedApplies(t *testing.T) {
	t.Parallel()
	s, target := enforcing(t)
	address, network, wide := of(client), of("127.1.2.0/24"), of("127.1.0.0/16")
	broad, narrow := detect.Subject{Fingerprint: programCore}, detect.Subject{Fingerprint: programCore, Domain: "bank.example"}
	ended := block(2, address)
	ended.Expires = time.Now().Unix() - 1
	for _, tt := range []struct {
		name   string
		held   []mitigate.Entry
		status int
		id     mitigate.ID // of the one that refuses, or tags
	}{
		{"an address before its network", []mitigate.Entry{block(2, address), block(3, network)}, 403, 2},
		{"a network before the one around it", []mitigate.Entry{block(2, wide), block(3, network)}, 403, 3},
		{"an address before a program", []mitigate.Entry{block(2, address), block(3, broad)}, 403, 2},
		{"a network before a program", []mitigate.Entry{block(2, network), block(3, broad)}, 403, 2},
		{"the narrower predicate", []mitigate.Entry{block(2, broad), block(3, narrow)}, 403, 3},
		{"one that only watches the address hides no program", []mitigate.Entry{watch(block(2, address)), block(3, broad)}, 403, 3},
		{"one that only watches the address hides no network", []mitigate.Entry{watch(block(2, address)), block(3, network), watch(block(4, wide))}, 403, 3},
		{"one that only watches the narrower predicate hides not the broader", []mitigate.Entry{watch(block(2, narrow)), block(3, broad)}, 403, 3},
		{"one that has ended hides no network", []mitigate.Entry{ended, block(3, wide)}, 403, 3},
		{"where all only watch, the address's", []mitigate.Entry{watch(block(2, address)), watch(block(3, network)), watch(block(4, broad))}, 200, 2},
		{"a program that is only watched", []mitigate.Entry{watch(block(4, broad))}, 200, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sync(t, target, tt.held...)
			want := targettest.Answer{Status: tt.status, Tag: (1<<32 + tt.id).String()}
			if tt.status == 403 {
				want.Marker, want.Tag = want.Tag, ""
			}
			answers(t, s, want, client, "/", at("bank.example", program)...)
		})
	}
}

func TestPredicatesObeyModeAllowListAndRate(t *testing.T) {
	t.Parallel()
	s, target := enforcing(t)
	limit, network := block(7, detect.Subject{Fingerprint: programCore}), block(8, of("127.1.9.0/24"))
	limit.Action, limit.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 3600e9}
	sync(t, target, limit, network)
	limited := targettest.Answer{Status: 429, Marker: limit.ID.String()}
	for _, from := range []string{client, other} {
		answers(t, s, limited, from, "/", program...)
	}
	retry := s.Get(client, "/", program...).Retry
	var seconds int
	_, err := fmt.Sscan(retry, &seconds)
	require.NoError(t, err)
	assert.True(t, 0 < seconds && seconds <= 3600, retry)

	answers(t, s, refused(network), "127.1.9.9", "/")
	require.NoError(t, target.SetAllow(within(t, targettest.Wait), []netip.Prefix{of(other).Client, of("127.1.9.9").Client}))
	answers(t, s, passed, other, "/", program...)
	answers(t, s, passed, "127.1.9.9", "/")
	answers(t, s, refused(network), "127.1.9.8", "/")
	answers(t, s, limited, client, "/", program...)
	require.NoError(t, target.SetMode(within(t, targettest.Wait), detect.ModeMonitor, false))
	answers(t, s, targettest.Answer{Status: 200, Tag: limit.ID.String()}, client, "/", program...)
	require.NoError(t, target.SetMode(within(t, targettest.Wait), detect.ModeOff, false))
	answers(t, s, passed, client, "/", program...)
}

func TestARateLetsExactlyItsRequestsThroughInEachPeriodAndClient(t *testing.T) {
	t.Parallel()
	s, target := enforcing(t)
	const n = 20
	limit := block(7, of("127.1.0.0/16"))
	limit.Action, limit.Rate = detect.ActionRateLimit, detect.Rate{Requests: n, Per: 2e9}
	sync(t, target, limit)
	answers(t, s, targettest.Answer{Status: 200, Tag: limit.ID.String()}, "127.1.1.1", "/")
	for _, from := range []string{client, other} {
		// When a period begins, by a clock that may be some milliseconds behind.
		for now := time.Now(); now.Unix()%2 != 0 || now.Nanosecond() < 50e6 || now.Nanosecond() > 200e6; now = time.Now() {
			time.Sleep(10 * time.Millisecond)
		}
		began := time.Now()
		statuses := map[int]int{}
		for range n + 7 {
			statuses[s.Get(from, "/").Status]++
		}
		if time.Since(began) < 1500*time.Millisecond { // else they may have been in two periods
			assert.Equal(t, map[int]int{200: n, 429: 7}, statuses)
		}
		answers(t, s, targettest.Answer{Status: 200, Tag: limit.ID.String()}, from, "/") // the next period
	}
}

// vector is a request of the sensor's own test vectors, and its fingerprint.
type vector struct {
	Name    string
	Ignore  []string
	Fields  [][2]string
	Version string
	Core    string
}

func TestEnvoyComputesTheFingerprintsOfTheSensor(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../reassembly/fingerprint/testdata/fingerprint-vectors.json")
	require.NoError(t, err)
	var vectors []vector
	require.NoError(t, json.Unmarshal(text, &vectors))
	vectors = append(vectors, vector{
		Name: "values at the edge", Version: "1.1",
		Fields: [][2]string{
			{"User-Agent", "Android (Android 9) Android( x) 0123456789abcde 0123456789abcdef 0123456789abcdef-1 1.2._3.x Android)"},
			{"Accept-Language", "de-,fr;q="}, {"Accept-Charset", "UTF-8 , *;\tQ=0.5"}, {"sec-ch-ua", ""},
		},
		Core: core("core 1", "user-agent,accept-language,accept-charset,sec-ch-ua", "", "utf-8,*;q=0.5", "q", "Android (Android) Android( x) #abcde # # #x Android)"),
	}, vector{
		Name: "fields in another order, one of them twice", Version: "1.1",
		Fields: [][2]string{{"Accept-Language", "de"}, {"X-A", "1"}, {"Accept", "*/*"}, {"Accept-Language", "en_US"}, {"User-Agent", "x 1"}},
		Core:   core("core 1", "accept-language,accept,user-agent", "", "", "u", "x #"),
	}, vector{
		Name: "values of more than 512 octets", Version: "1.1",
		Fields: [][2]string{{"User-Agent", strings.Repeat("x", 600)}},
		Core:   core("core 1", "user-agent", "", "", "", strings.Repeat("x", 512)),
	})
	s, target := enforcing(t)
	asked := 0
	for _, v := range vectors {
		if v.Ignore != nil || v.Version == "0.9" {
			continue // this target has no list of its own, and the version no header fields
		}
		e := block(mitigate.ID(100+asked), detect.Subject{Fingerprint: v.Core})
		sync(t, target, e)
		lines := "GET / HTTP/1.1\r\nHost: a\r\n"
		fields := [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}}
		for _, f := range v.Fields {
			if name := strings.ToLower(f[0]); !strings.HasPrefix(name, ":") && !apart[name] {
				lines += f[0] + ":" + f[1] + "\r\n"
				fields = append(fields, [2]string{name, strings.Trim(f[1], " \t")})
			}
		}
		targettest.Eventually(t, func() bool { return http1(t, s, lines) == e.ID.String() }, func() string { return v.Name })
		assert.Equal(t, e.ID.String(), h2(t, s, fields), "%s, HTTP/2", v.Name)
		asked++
	}
	assert.Greater(t, asked, 10)
}

func TestIgnoredHeaderFieldsDoNotCount(t *testing.T) {
	t.Parallel()
	s, target := enforcing(t, func(o *envoy.Options) { o.IgnoreHeaders = []string{"Accept-Language", "accept-encoding"} })
	e := block(7, detect.Subject{Fingerprint: core("core 1", "user-agent", "", "", "", "cracker/# (x)")})
	sync(t, target, e)
	answers(t, s, refused(e), client, "/", program...)
	answers(t, s, refused(e), client, "/", program[:2]...)
	answers(t, s, passed, client, "/", browser...)
}
