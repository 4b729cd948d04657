package endpoint

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
)

// request is one of a client to api.example, answered.
type request struct {
	client            int
	method, path      string
	operation         string
	status            int
	keys              string // of the answer's body; "-" for none
	host              string
	transactionNumber int64
}

func (r request) transaction() *reassembly.Transaction {
	tx := &reassembly.Transaction{End: r.transactionNumber, Operation: r.operation}
	tx.Client = netip.AddrFrom4([4]byte{10, byte(r.client >> 16), byte(r.client >> 8), byte(r.client)})
	tx.Request.Method, tx.Request.Domain, tx.Request.Path = r.method, r.host, r.path
	if r.method == "" {
		tx.Request.Method = "GET"
	}
	if r.host == "" {
		tx.Request.Domain = "api.example"
	}
	tx.Response.Status = r.status
	if r.status == 0 {
		tx.Response.Status = 200
	}
	s := &tx.Response.Signature
	s.Media, s.Keys, s.Length = "json", r.keys, 8
	if r.keys == "-" {
		s.Media, s.Keys, s.Length = "none", "", 0
	}
	return tx
}

// site is a learner and its requests.
type site struct {
	*Learner
	n int64
}

func newSite() *site { return &site{Learner: New(Config{})} }

func (s *site) ask(r request) *Endpoint {
	s.n++
	r.transactionNumber = s.n
	return s.Locate(r.transaction())
}

// all asks for each of some paths by clients in turn, times times.
func (s *site) all(times int, keys string, paths ...string) {
	for i := range times {
		for j, path := range paths {
			s.ask(request{client: i + j, path: path, keys: keys})
		}
	}
}

func words(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = prefix + "/" + string(rune('a'+i%26)) + strings.Repeat("o", 1+i/26) + "ra"
	}
	return list
}

func TestParametersAreNamedAfterTheNounBeforeThem(t *testing.T) {
	for _, c := range []struct{ name, path, want string }{
		{"an account", "/v1/accounts/1001/balance", "/v1/accounts/{accountId}/balance"},
		{"in the singular", "/currencies/17", "/currencies/{currencyId}"},
		{"which may end in s", "/addresses/17/status/18", "/addresses/{addressId}/status/{statusId}"},
		{"in camelCase", "/bank-accounts/17", "/bank-accounts/{bankAccountId}"},
		{"behind a version there is no noun", "/v2/17", "/v2/{id}"},
		{"nor behind a parameter", "/accounts/17/18", "/accounts/{accountId}/{id}"},
		{"nor in what is no word", "/caf%C3%A9s/17", "/caf%C3%A9s/{id}"},
		{"a name is not used twice", "/nodes/17/nodes/18", "/nodes/{nodeId}/nodes/{nodeId2}"},
		{"a date", "/rates/2026-01-31", "/rates/{rateId}"},
		{"a date at the beginning is a version", "/2015-01-01/domains", "/2015-01-01/domains"},
		{"as is a small number", "/1/boards/4f2a9c0d", "/1/boards/{boardId}"},
		{"also behind api", "/rest/api/3/issue/17", "/rest/api/3/issue/{issueId}"},
		{"an e-mail address", "/users/jo.do@bank.example", "/users/{userId}"},
		{"also percent-encoded", "/users/jo%40bank.example", "/users/{userId}"},
		{"a locale", "/texts/en-US", "/texts/{textId}"},
		{"an identifier with a prefix", "/customers/cus_9aXk2LmQ", "/customers/{customerId}"},
		{"a token without a digit", "/keys/HZdbJCOkGOTLCXJJ", "/keys/{keyId}"},
		{"a ULID", "/events/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/events/{eventId}"},
		{"a custom method is no part of the identifier", "/jobs/8170:cancel", "/jobs/{jobId}:cancel"},
		{"nor is a format", "/calls/CA0123456789abcdef.json", "/calls/{callId}.json"},
		{"a long method name is a word", "/accounts:signInWithPassword", "/accounts:signInWithPassword"},
		{"acronyms are words", "/getOAuth2TokenInfo", "/getOAuth2TokenInfo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, "GET api.example"+c.want, newSite().ask(request{path: c.path, keys: "a"}).Name)
			assert.Equal(t, "GET api.example"+c.want, newSite().ask(request{path: c.path, status: 404}).Name, "the same name where nothing is there")
		})
	}
}

func TestANameIsKeptAsAnAlias(t *testing.T) {
	s := newSite()
	var from, into []string
	s.cfg.Merged = func(a, b *Endpoint) { from, into = append(from, a.Name), append(into, b.Name) }
	first := s.ask(request{path: "/users/jo", keys: "user"})
	assert.Equal(t, "GET api.example/users/jo", first.Name)
	s.all(2, "user", "/users/mo", "/users/bo", "/users/jo")
	now := s.ask(request{path: "/users/jo", keys: "user"})
	assert.Equal(t, "GET api.example/users/{userId}", now.Name)
	assert.Equal(t, "GET api.example/users/jo", first.Name, "a name never changes")
	assert.ElementsMatch(t, []string{"GET api.example/users/jo", "GET api.example/users/mo", "GET api.example/users/bo"}, now.Aliases)
	assert.ElementsMatch(t, now.Aliases, from)
	assert.Equal(t, []string{now.Name, now.Name, now.Name}, into)
	assert.EqualValues(t, 8, now.count)
}

func TestOperationsAreEndpoints(t *testing.T) {
	s := newSite()
	assert.Equal(t, "POST api.example/graphql#Pay", s.ask(request{method: "POST", path: "/graphql", operation: "Pay", keys: "a"}).Name)
	assert.Equal(t, "POST api.example/graphql#Login", s.ask(request{method: "POST", path: "/graphql", operation: "Login", keys: "a"}).Name)
	assert.Equal(t, "OPTIONS api.example*", s.ask(request{method: "OPTIONS", path: "*"}).Name)
}

func TestAScanTeachesNothing(t *testing.T) {
	for _, status := range []int{404, 401, 403, 200} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := newSite()
			s.cfg.Reserved = func(segment string) bool { return segment == "signin" }
			login := request{method: "POST", path: "/v1/login", keys: "token"}
			for range 3 {
				s.ask(login)
			}
			s.Pin(s.ask(login), false)
			s.ask(request{method: "POST", path: "/v1/signin", keys: "token"})
			rng := rand.New(rand.NewPCG(1, 1))
			for i := range 50000 {
				path := fmt.Sprintf("/v1/%s", strings.Repeat("x", rng.IntN(3))+fmt.Sprint("w", i, "q"))
				if i%3 == 0 {
					path += "/login"
				}
				s.ask(request{client: i, method: "POST", path: path, status: status, keys: "-"})
			}
			assert.Equal(t, "POST api.example/v1/login", s.ask(login).Name)
			assert.Equal(t, "POST api.example/v1/signin", s.ask(request{method: "POST", path: "/v1/signin", keys: "token"}).Name)
			stats := s.Stats()
			assert.LessOrEqual(t, stats.Endpoints, 1<<14)
			if status == 404 {
				assert.Equal(t, 2, stats.Endpoints)
			}
		})
	}
}

func TestALoginIsNotMergedWithWhatLooksLikeIt(t *testing.T) {
	s := newSite()
	login := request{method: "POST", path: "/portal/staff", keys: "token"}
	s.ask(login)
	s.Pin(s.ask(login), true)
	for i, path := range words("/portal", 60) {
		s.ask(request{client: i, method: "POST", path: path, keys: "token"})
	}
	assert.Equal(t, "POST api.example/portal/staff", s.ask(login).Name)
	assert.Equal(t, "POST api.example/portal/{portalId}", s.ask(request{method: "POST", path: "/portal/aora", keys: "token"}).Name)
}

func TestTheLoginsOfTenantsAreOne(t *testing.T) {
	s := newSite()
	for range 3 {
		for i, path := range words("/tenants", 5) {
			s.Pin(s.ask(request{client: i, method: "POST", path: path + "/login", keys: "token"}), true)
		}
	}
	e := s.ask(request{method: "POST", path: "/tenants/new/login", keys: "token"})
	assert.Equal(t, "POST api.example/tenants/{tenantId}/login", e.Name)
	assert.Equal(t, pinProven, e.pinned)
}

// hostile are n requests of a client that wants the learner to work: paths of
// new words at open and closed nodes, endless ones, and new hosts.
func hostile(rng *rand.Rand, n int, ask func(request)) {
	word := func() string { return fmt.Sprintf("w%cx%xz", 'a'+rune(rng.IntN(26)), rng.Uint32()) }
	for i := range n {
		r := request{client: i, method: []string{"GET", "POST", word()}[rng.IntN(3)], status: []int{200, 401, 302, 500}[rng.IntN(4)]}
		switch rng.IntN(7) {
		case 0:
			r.path = strings.Repeat("/"+word(), rng.IntN(40))
		case 1:
			r.path = "/users/" + word()
		case 2:
			r.path = "/users/" + word() + "/" + word()
		case 3:
			r.path, r.keys = "/users/"+word(), word()
		case 4:
			r.path, r.host = "/"+word(), word()
		case 5:
			r.path, r.operation = "/graphql", word()
		case 6:
			r.path = "/" + strings.Repeat("\xff☃;=%", rng.IntN(30)) + word() + "/x:y.json"
		}
		ask(r)
	}
}

func TestMemoryAndWorkAreBoundedWhateverIsSent(t *testing.T) {
	s := &site{Learner: New(Config{Endpoints: 2000, Hosts: 20})}
	s.all(5, "user", words("/users", 8)...)
	const n = 60000
	hostile(rand.New(rand.NewPCG(5, 5)), n, func(r request) { s.ask(r) })
	stats := s.Stats()
	assert.LessOrEqual(t, stats.Endpoints, 2000)
	assert.LessOrEqual(t, stats.Hosts, 20)
	assert.LessOrEqual(t, stats.Nodes, 2000*maxDepth)
	assert.LessOrEqual(t, len(s.byKey), 2000+maxStrays+maxMerged)
	assert.Less(t, s.looked, uint64(200*n), "work for each request")
	assert.Positive(t, stats.Forgotten)
	check(t, s.Learner)
}

// check walks the tries: the books agree with them.
func check(t testing.TB, l *Learner) {
	nodes, ends := 0, 0
	var visit func(n *node)
	visit = func(n *node) {
		nodes++
		ends += len(n.ends)
		for _, e := range n.ends {
			require.Same(t, n, e.at)
			require.Same(t, e, l.list[e.place])
			require.Same(t, e, l.byKey[e.key], e.key)
			require.Nil(t, e.into)
		}
		for _, c := range n.children {
			require.Same(t, n, c.parent)
			require.Same(t, c, n.child(c.segment))
			visit(c)
		}
		if n.param != nil {
			require.Same(t, n, n.param.parent)
			visit(n.param)
		} else {
			require.False(t, n.open)
		}
	}
	for _, h := range l.order {
		require.Same(t, h, l.hosts[h.name])
		visit(&h.root)
	}
	require.Equal(t, ends, len(l.list))
	require.Equal(t, nodes, l.Stats().Nodes)
}

func TestTheSameRequestsGiveTheSameNames(t *testing.T) {
	var names [2][]string
	for i := range names {
		s := &site{Learner: New(Config{Endpoints: 500, Hosts: 10})}
		hostile(rand.New(rand.NewPCG(9, 9)), 20000, func(r request) { names[i] = append(names[i], s.ask(r).Name) })
	}
	assert.Equal(t, names[0], names[1])
}

func TestAKnownEndpointAllocatesNothing(t *testing.T) {
	s := newSite()
	s.all(5, "user", words("/users", 8)...)
	var list []*reassembly.Transaction
	for i, path := range append(words("/users", 40), "/users/17", "/users/cus_9aXk2LmQ", "/users/jo@bank.example") {
		list = append(list, request{client: i, path: path, keys: "user"}.transaction())
		s.Locate(list[i])
	}
	i := 0
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		s.Locate(list[i%len(list)])
		i++
	}))
}

func FuzzLocate(f *testing.F) {
	f.Add("/users/jo\n/users/mo\n/users/bo\n/users/jo/posts\n/users/17", uint64(1))
	f.Add("/a/../b;x=1\n/{id}/{id}\n/x:y\n/.json\n//", uint64(2))
	f.Fuzz(func(t *testing.T, paths string, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := &site{Learner: New(Config{Endpoints: 40, Hosts: 3})}
		list := strings.Split(paths, "\n")
		for range 40 {
			for _, path := range list {
				e := s.ask(request{client: rng.IntN(4), path: path, method: []string{"GET", "PUT"}[rng.IntN(2)],
					status: []int{200, 200, 200, 401, 404}[rng.IntN(5)], keys: []string{"a", "b", "-", ""}[rng.IntN(4)]})
				require.LessOrEqual(t, len(e.Name), 4096)
				if rng.IntN(16) == 0 {
					s.Pin(e, rng.IntN(2) == 0)
				}
			}
		}
		check(t, s.Learner)
	})
}

func BenchmarkLocate(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	shapes := make([]*reassembly.Transaction, 1<<14)
	for i := range shapes {
		path := fmt.Sprintf([]string{
			"/api/v2/accounts/%d/transactions", "/api/v2/accounts/%d", "/api/v2/cards/%d/limits", "/api/v2/payments/%08x-e89b-12d3-a456-426614174000", "/api/v2/me",
		}[i%5], 10000000+rng.IntN(1000000))
		shapes[i] = request{client: i, path: path, keys: fmt.Sprint("keys", i%5)}.transaction()
	}
	values := make([]*reassembly.Transaction, 1<<10)
	for i, path := range words("/api/v2/customers", len(values)) {
		values[i] = request{client: i, path: path, keys: "customer"}.transaction()
	}
	scan := make([]*reassembly.Transaction, 0, 1<<16)
	hostile(rng, cap(scan), func(r request) { scan = append(scan, r.transaction()) })
	for _, c := range []struct {
		name string
		list []*reassembly.Transaction
	}{{"shapes", shapes}, {"words", values}, {"hostile", scan}} {
		b.Run(c.name, func(b *testing.B) {
			s := newSite()
			s.all(5, "user", words("/users", 8)...)
			for _, tx := range c.list[:len(c.list)/2] {
				s.Locate(tx)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				s.Locate(c.list[i&(len(c.list)-1)])
				i++
			}
		})
	}
}
