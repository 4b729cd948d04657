package targettest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
)

// The programs that ask in tests of predicates, and what their core fingerprints are
// made of.
var (
	Cracker         = []string{"User-Agent", "cracker/2.17 (x)", "Accept-Language", "en_US"}
	CrackerUpgraded = []string{"User-Agent", "cracker/3.0 (x)", "Accept-Language", "de_DE"}
	Browser         = []string{"User-Agent", "Mozilla/5.0", "Accept-Language", "en-US,en;q=0.9"}
)

// CrackerCore is the core fingerprint of Cracker by the definition in package
// fingerprint. Go's client puts User-Agent first and adds Accept-Encoding last.
var CrackerCore = Core("core 1", "user-agent,accept-language,accept-encoding", "gzip", "", "u", "cracker/# (x)")

// Core is the fingerprint of a text.
func Core(lines ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:8])
}

// At adds a host to a program's header fields.
func At(host string, headers []string) []string { return append([]string{"Host", host}, headers...) }

// Predicates tests a kind of load balancer that carries fingerprints, User-Agents, literal
// endpoints and domains, alone and together, as HAProxy and nginx do with Lua. One that
// start starts takes orders without a controller.
func Predicates(t *testing.T, start func(t testing.TB) *Balancer) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, start func(t testing.TB) *Balancer)
	}{
		{"they match what they say and nothing else", matchWhatTheySay},
		{"of IPv6 networks they match all addresses", matchNetworks},
		{"the most specific that is enforced applies", mostSpecificApplies},
		{"they obey mode, allow-list and rate", obeyModeAllowListAndRate},
		{"they end by themselves, and later ones live on", endByThemselves},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, start) })
	}
}

// enforced is a load balancer in mode enforce, with its target.
func enforced(t testing.TB, start func(t testing.TB) *Balancer) (*Balancer, mitigate.Target) {
	t.Helper()
	b := start(t)
	target := b.Target(t)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return b, target
}

// blockOf blocks a subject for an hour.
func blockOf(id mitigate.ID, s detect.Subject) mitigate.Entry {
	return mitigate.Entry{ID: 1<<32 + id, Action: detect.ActionBlock, Subject: s, Expires: time.Now().Add(time.Hour).Unix()}
}

// ask asks as a client with an address of 127.0.0.0/8.
func ask(t testing.TB, b *Balancer, from, path string, headers ...string) Answer {
	t.Helper()
	a := Get(t, from, b.URL+path, headers...)
	a.Elapsed = 0
	return a
}

func refusal(status int, e mitigate.Entry) Answer {
	return Answer{Status: status, Marker: e.ID.String()}
}

var passed = Answer{Status: 200}

func matchWhatTheySay(t *testing.T, start func(t testing.TB) *Balancer) {
	b, target := enforced(t, start)
	type request struct {
		from, path string
		headers    []string
	}
	login := func(from string, headers []string) request {
		return request{from, "/api/login?x=1", At("bank.example", headers)}
	}
	for _, tt := range []struct {
		name    string
		subject detect.Subject
		refused []request
		passed  []request
	}{
		{"a program", detect.Subject{Fingerprint: CrackerCore},
			[]request{login(Attacker, Cracker), login(Customer, Cracker), {Attacker, "/", CrackerUpgraded}},
			[]request{login(Attacker, Browser), login(Attacker, nil)}},
		{"a program at an endpoint", detect.Subject{Fingerprint: CrackerCore, Endpoint: "GET Bank.example/api/login"},
			[]request{login(Attacker, Cracker), login(Customer, CrackerUpgraded)},
			[]request{login(Attacker, Browser), {Attacker, "/api/login/2", At("bank.example", Cracker)}, {Attacker, "/api/login", At("Customer.example", Cracker)}}},
		{"a program at an endpoint from one address", detect.Subject{Client: Network(Attacker), Fingerprint: CrackerCore, Endpoint: "GET bank.example/api/login"},
			[]request{login(Attacker, Cracker)},
			[]request{login(Customer, Cracker), login(Attacker, Browser), {Attacker, "/", At("bank.example", Cracker)}}},
		{"an address at an endpoint", detect.Subject{Client: Network(Attacker), Endpoint: "GET bank.example/api/login"},
			[]request{login(Attacker, Browser)},
			[]request{login(Customer, Browser), {Attacker, "/", At("bank.example", Browser)}}},
		{"an address at a domain", detect.Subject{Client: Network(Attacker), Domain: "Bank.example"},
			[]request{login(Attacker, Browser), {Attacker, "/", At("bank.example", nil)}},
			[]request{login(Customer, Browser), {Attacker, "/", At("www.bank.example", Browser)}}},
		{"an endpoint", detect.Subject{Endpoint: "GET bank.example/api/login"},
			[]request{login(Attacker, Browser), login(Customer, Cracker)},
			[]request{{Attacker, "/api", At("bank.example", Browser)}}},
		{"an endpoint that is the root", detect.Subject{Endpoint: "GET bank.example/"},
			[]request{{Attacker, "/", At("bank.example", Browser)}, {Attacker, "//", At("bank.example", Browser)}},
			[]request{login(Attacker, Browser)}},
		{"a domain", detect.Subject{Domain: "bank.example"},
			[]request{login(Attacker, Browser)},
			[]request{{Attacker, "/", At("a.example", Browser)}}},
		{"a User-Agent as it stands", detect.Subject{UserAgent: "cracker/2.17 (x)"},
			[]request{login(Attacker, Cracker), {Customer, "/", Cracker}},
			[]request{login(Attacker, CrackerUpgraded), login(Attacker, Browser), {Attacker, "/", []string{"User-Agent", ""}}}},
		{"a User-Agent of a program at a domain", detect.Subject{Fingerprint: CrackerCore, UserAgent: "cracker/2.17 (x)", Domain: "bank.example"},
			[]request{login(Attacker, Cracker)},
			[]request{login(Attacker, CrackerUpgraded), {Attacker, "/", At("a.example", Cracker)}}},
		{"a User-Agent that looks like orders", detect.Subject{UserAgent: "a;b \\ # \"%[src]\" <<"},
			[]request{{Attacker, "/", []string{"User-Agent", "a;b \\ # \"%[src]\" <<"}}},
			[]request{login(Attacker, Browser)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := blockOf(1, detect.Subject{})
			e.Subject = tt.subject
			require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
			for _, r := range tt.refused {
				assert.Equal(t, refusal(403, e), ask(t, b, r.from, r.path, r.headers...), "%v", r)
			}
			for _, r := range tt.passed {
				assert.Equal(t, passed, ask(t, b, r.from, r.path, r.headers...), "%v", r)
			}
			require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{e.Subject}))
			for _, r := range tt.refused {
				assert.Equal(t, passed, ask(t, b, r.from, r.path, r.headers...), "lifted: %v", r)
			}
		})
	}
}

func matchNetworks(t *testing.T, start func(t testing.TB) *Balancer) {
	b, target := enforced(t, start)
	e := blockOf(1, detect.Subject{})
	e.Subject = detect.Subject{Client: Network("2001:db8:0:7::/64")}
	e.Subject.Fingerprint = CrackerCore
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	via := func(client string, headers []string) Answer {
		return ask(t, b, Proxy, "/", append([]string{"X-Forwarded-For", client}, headers...)...)
	}
	assert.Equal(t, refusal(403, e), via("2001:db8:0:7::1", Cracker))
	assert.Equal(t, refusal(403, e), via("2001:DB8:0:7:ffff::1", Cracker))
	assert.Equal(t, refusal(403, e), via("2001:db8:0:7:1:2:3:4", Cracker))
	assert.Equal(t, passed, via("2001:db8:0:8::1", Cracker))
	assert.Equal(t, passed, via("2001:db8::7:0:0:1", Cracker))
	assert.Equal(t, passed, via("2001:db8:0:7::1", Browser))
	assert.Equal(t, passed, via("192.0.2.7", Cracker))

	for network, client := range map[string]string{
		"::/64": "::1.2.3.4", "0:0:0:1::/64": "::1:0:0:0:1", "1::/64": "1::1", "1:0:2::/64": "1:0:2::5", "1:2:3:4::/64": "1:2:3:4:5:6:7:8",
		"1:0:0:4::/64": "1:0:0:4::", "0:2::/64": "0:2::5:6:7:8",
	} {
		e := blockOf(2, detect.Subject{})
		e.Subject = detect.Subject{Client: Network(network)}
		e.Subject.Fingerprint = CrackerCore
		require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
		assert.Equal(t, refusal(403, e), via(client, Cracker), "%s in %s", client, network)
	}
}

func mostSpecificApplies(t *testing.T, start func(t testing.TB) *Balancer) {
	watch := func(e mitigate.Entry) mitigate.Entry { e.Monitor = true; return e }
	address, network := detect.Subject{Client: Network(Attacker)}, detect.Subject{Client: Network("127.1.0.0/16")}
	broad, narrow := detect.Subject{Fingerprint: CrackerCore}, detect.Subject{Fingerprint: CrackerCore, Domain: "bank.example"}
	for _, tt := range []struct {
		name   string
		held   []mitigate.Entry
		status int
		id     mitigate.ID // of the one that refuses, or tags
	}{
		{"an address before a program", []mitigate.Entry{blockOf(2, address), blockOf(3, broad)}, 403, 2},
		{"a network before a program", []mitigate.Entry{blockOf(2, network), blockOf(3, broad)}, 403, 2},
		{"the narrower predicate", []mitigate.Entry{blockOf(2, broad), blockOf(3, narrow)}, 403, 3},
		{"one that only watches the address hides no program", []mitigate.Entry{watch(blockOf(2, address)), blockOf(3, broad)}, 403, 3},
		{"one that only watches the address hides no network", []mitigate.Entry{watch(blockOf(2, address)), blockOf(3, network)}, 403, 3},
		{"one that only watches the network hides no program", []mitigate.Entry{watch(blockOf(2, network)), blockOf(3, broad)}, 403, 3},
		{"one that only watches the narrower predicate hides not the broader", []mitigate.Entry{watch(blockOf(2, narrow)), blockOf(3, broad)}, 403, 3},
		{"where all only watch, the address's", []mitigate.Entry{watch(blockOf(2, address)), watch(blockOf(3, network)), watch(blockOf(4, broad))}, 200, 2},
		{"where network and program only watch, the network's", []mitigate.Entry{watch(blockOf(3, network)), watch(blockOf(4, broad))}, 200, 3},
		{"a program that is only watched", []mitigate.Entry{watch(blockOf(4, broad))}, 200, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, target := enforced(t, start)
			require.NoError(t, target.Apply(t.Context(), tt.held, nil))
			want := Answer{Status: tt.status, Tag: (1<<32 + tt.id).String()}
			if tt.status == 403 {
				want.Marker, want.Tag = want.Tag, ""
			}
			assert.Equal(t, want, ask(t, b, Attacker, "/", At("bank.example", Cracker)...))
		})
	}
}

func obeyModeAllowListAndRate(t *testing.T, start func(t testing.TB) *Balancer) {
	b, target := enforced(t, start)
	e := blockOf(1, detect.Subject{})
	e.Subject = detect.Subject{Fingerprint: CrackerCore}
	e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 60e9}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	for _, from := range []string{Attacker, Customer} {
		assert.Equal(t, 200, ask(t, b, from, "/", Cracker...).Status, "each address has a rate of its own")
		assert.Equal(t, 429, ask(t, b, from, "/", Cracker...).Status)
	}
	require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{Network(Customer)}))
	assert.Equal(t, passed, ask(t, b, Customer, "/", Cracker...), "allowed")
	assert.Equal(t, 429, ask(t, b, Attacker, "/", Cracker...).Status)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	assert.Equal(t, Answer{Status: 200, Tag: e.ID.String()}, ask(t, b, Attacker, "/", Cracker...))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, passed, ask(t, b, Attacker, "/", Cracker...))

	hits, err := target.Hits(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []mitigate.Hits{{ID: e.ID, Refused: 3, Passed: 3}}, hits)
}

func endByThemselves(t *testing.T, start func(t testing.TB) *Balancer) {
	b, target := enforced(t, start)
	short, long := blockOf(1, detect.Subject{}), blockOf(2, detect.Subject{})
	short.Subject, short.Expires = detect.Subject{Domain: "a.example"}, time.Now().Unix()+2
	long.Subject = detect.Subject{Fingerprint: CrackerCore}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{long}, nil))
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{short}, nil))
	assert.Equal(t, refusal(403, short), ask(t, b, Attacker, "/", "Host", "a.example"))
	assert.Equal(t, refusal(403, long), ask(t, b, Attacker, "/", Cracker...))
	require.Eventually(t, func() bool { return ask(t, b, Attacker, "/", "Host", "a.example") == passed }, 5*time.Second, 50*time.Millisecond)
	assert.Equal(t, refusal(403, long), ask(t, b, Attacker, "/", Cracker...))
}
