package campaign

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
)

// epoch is when every scenario begins.
var epoch = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC).UnixNano()

// software is what a program shows of itself, and how often people use it.
type software struct {
	fingerprint, agent, ja4 string
	weight                  int
	likeness                bool // it asks for something else first, as the app does
	members                 bool // of an attack: it tries names of accounts only
}

var programs = []software{
	{fingerprint: "00000000000000a1", agent: "bank/5 ios", ja4: "t13d_ios", weight: 40},
	{fingerprint: "00000000000000a2", agent: "bank/5 android", ja4: "t13d_android", weight: 40},
	{fingerprint: "00000000000000a3", agent: "Mozilla/5.0 Chrome", ja4: "t13d_chrome", weight: 15},
	{fingerprint: "00000000000000a4", agent: "Mozilla/5.0 Firefox", ja4: "t13d_firefox", weight: 5},
}

// town is a bank's customers and what attacks them, fed to a Detector.
type town struct {
	*Detector
	t         *testing.T
	rng       *rand.Rand
	now       int64
	failures  float64 // share of honest logins that fail
	unvisited bool    // customers' software asks for nothing before a login
	endpoint  Endpoint
	n         int
	broken    string // fingerprint of software whose logins fail; "all": everybody's

	customers int // logins of customers
	hit       int // of them, under a predicate
	subjects  map[detect.Subject]bool
	rising    int64           // when a chart first showed a campaign
	stolen    map[string]bool // accounts that the attack has got right
	named     map[string]bool // accounts called hits
	first     int64           // when the first predicate was made
	fromHere  int             // attempts of the attack after it
	caught    int             // of them, under a predicate
}

func newTown(t *testing.T, failures float64) *town {
	return &town{
		Detector: New(Config{Cells: 1 << 14, Pairs: 1 << 16, Repeats: 1 << 16, Baseline: 0.08, FalseAlarm: 1e-6, Budget: 100}),
		t:        t, rng: rand.New(rand.NewPCG(1, 2)), now: epoch, failures: failures, subjects: make(map[detect.Subject]bool),
		stolen: make(map[string]bool), named: make(map[string]bool),
	}
}

func (w *town) under(a *Attempt) bool {
	for s := range w.subjects {
		if (s.Fingerprint == "" || s.Fingerprint == a.Fingerprint) && (s.UserAgent == "" || s.UserAgent == a.UserAgent) &&
			(s.JA4 == "" || s.JA4 == a.JA4) && (!s.Client.IsValid() || s.Client.Contains(a.Client)) {
			return true
		}
	}
	return false
}

func (w *town) try(a Attempt) Result {
	w.n++
	a.UserHash = fmt.Sprint(a.Account)
	a.Time, a.Event, a.Name, a.At = w.now, fmt.Sprint("tx", w.n), "POST api.bank.example/login", &w.endpoint
	r := w.Observe(&a)
	for _, h := range r.Hits {
		w.named[h.UserHash] = true
	}
	if r.Rising != nil && w.rising == 0 {
		w.rising = w.now
	}
	if r.Guilty {
		w.subjects[r.Subject] = true
		if w.first == 0 {
			w.first = w.now
		}
	}
	return r
}

// login is a customer's: from home, with the program they have.
func (w *town) login() {
	id := w.rng.IntN(20000)
	own := rand.New(rand.NewPCG(uint64(id), 7))
	a := Attempt{Client: netip.AddrFrom4([4]byte{81, byte(id >> 8), byte(id), byte(own.IntN(256))}), Account: uint64(id) + 1, Password: uint64(id) + 1}
	which := own.IntN(100)
	for _, p := range programs {
		if which -= p.weight; which < 0 {
			a.Fingerprint, a.UserAgent, a.JA4 = p.fingerprint, p.agent, p.ja4
			break
		}
	}
	if !w.unvisited {
		w.Visit(a.Client, a.Fingerprint, w.now)
	}
	for w.rng.Float64() < w.failures {
		a.Password = w.rng.Uint64()
		w.customer(a)
	}
	a.Right, a.Password = w.broken != "all" && w.broken != a.Fingerprint, uint64(id)+1
	w.customer(a)
}

func (w *town) customer(a Attempt) {
	w.customers++
	if w.under(&a) {
		w.hit++
	}
	w.try(a)
}

// steal tries a stolen password from an address that is used once.
func (w *town) steal(p software) {
	a := Attempt{
		Client:  netip.AddrFrom4([4]byte{byte(20 + w.rng.IntN(40)), byte(w.rng.IntN(256)), byte(w.rng.IntN(256)), byte(w.rng.IntN(256))}),
		Account: w.rng.Uint64(), Password: w.rng.Uint64(), Right: w.rng.IntN(100) == 0,
		Fingerprint: p.fingerprint, UserAgent: p.agent, JA4: p.ja4,
	}
	if a.Right || p.members {
		a.Account = w.rng.Uint64N(20000) + 1
	}
	if a.Right {
		w.stolen[fmt.Sprint(a.Account)] = true
	}
	if p.likeness {
		w.Visit(a.Client, a.Fingerprint, w.now)
	}
	if w.first != 0 {
		w.fromHere++
		if w.under(&a) {
			w.caught++
		}
	}
	w.try(a)
}

// run lets time pass with so many logins of customers and of the attack per
// minute.
func (w *town) run(length time.Duration, customers, attack float64, p ...software) *town {
	for end := w.now + length.Nanoseconds(); w.now < end; {
		w.now += int64(w.rng.ExpFloat64() * 60e9 / (customers + attack))
		if w.rng.Float64()*(customers+attack) < customers {
			w.login()
		} else {
			w.steal(p[w.rng.IntN(len(p))])
		}
	}
	return w
}

var (
	tool  = software{fingerprint: "00000000000000f1", agent: "Mozilla/5.0 OpenBullet", ja4: "t12d_dotnet"}
	mimic = software{fingerprint: programs[0].fingerprint, agent: programs[0].agent, ja4: "t12d_dotnet"}
	// cocktail has the app's User-Agent and another app's TLS.
	cocktail = software{fingerprint: programs[0].fingerprint, agent: programs[0].agent, ja4: programs[2].ja4}
)

func TestOneRequestPerAddressIsFoundByWhatTheRequestsShare(t *testing.T) {
	for _, c := range []struct {
		name            string
		failures        float64
		before          time.Duration
		quiet, attacked float64 // logins a minute of customers, and of the attack
		unvisited       bool
		program         software
		want            detect.Subject
		within          time.Duration
	}{
		{"a burst of a tool at 90 %", 0.08, 2 * time.Hour, 120, 1080, false, tool, detect.Subject{Fingerprint: tool.fingerprint}, 10 * time.Second},
		{"half of the logins are a tool's", 0.08, 2 * time.Hour, 120, 120, false, tool, detect.Subject{Fingerprint: tool.fingerprint}, 5 * time.Minute},
		{"one login in twenty is a tool's", 0.08, 2 * time.Hour, 120, 6, false, tool, detect.Subject{Fingerprint: tool.fingerprint}, 30 * time.Minute},
		{"where more than half of honest logins fail", 0.57, 2 * time.Hour, 60, 6, false, tool, detect.Subject{Fingerprint: tool.fingerprint}, 30 * time.Minute},
		{"the app's headers over another TLS library", 0.08, 2 * time.Hour, 120, 120, false, mimic, detect.Subject{JA4: mimic.ja4}, 5 * time.Minute},
		{"the app's headers over a browser's TLS", 0.08, 2 * time.Hour, 120, 120, false, cocktail, detect.Subject{Fingerprint: cocktail.fingerprint, JA4: cocktail.ja4}, 5 * time.Minute},
		{"customers who ask for nothing before they log in", 0.08, 3 * 24 * time.Hour, 20, 20, true, tool, detect.Subject{Fingerprint: tool.fingerprint}, 10 * time.Minute},
		{"a capture that begins in the middle", 0.08, 0, 120, 1080, false, tool, detect.Subject{Fingerprint: tool.fingerprint}, 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTown(t, c.failures)
			w.unvisited = c.unvisited
			w.run(c.before, c.quiet, 0)
			require.Empty(t, w.subjects, "before the attack")
			began := w.now
			w.run(time.Hour, c.quiet, c.attacked, c.program)
			c.want.Endpoint = "POST api.bank.example/login"
			assert.Contains(t, w.subjects, c.want)
			assert.LessOrEqual(t, time.Duration(w.first-began), c.within)
			assert.Greater(t, float64(w.caught)/float64(w.fromHere), 0.99)
			assert.Zero(t, w.hit, "customers under a predicate")
			t.Log(time.Duration(w.first-began).Round(time.Second), w.customers, w.caught, w.fromHere, w.subjects)
		})
	}
}

func TestWhatOnlyLooksLikeACampaignIsLeftAlone(t *testing.T) {
	for name, happens := range map[string]func(w *town){
		"a crowd twenty times as large": func(w *town) { w.run(30*time.Minute, 2400, 0) },
		"all logins fail": func(w *town) {
			w.broken = "all"
			w.run(10*time.Minute, 120, 0)
			w.broken = ""
			w.run(time.Hour, 120, 0)
		},
		"an app whose logins fail": func(w *town) {
			w.broken = programs[1].fingerprint
			w.run(time.Hour, 120, 0)
		},
		"a new release of an app that cannot log in": func(w *town) {
			programs[1].fingerprint, programs[1].ja4 = "00000000000000b2", "t13d_android2"
			defer func() { programs[1].fingerprint, programs[1].ja4 = "00000000000000a2", "t13d_android" }()
			w.broken = programs[1].fingerprint
			w.run(time.Hour, 120, 0)
		},
		"programs that go on trying what has become wrong": func(w *town) {
			for minute := range 240 {
				w.run(time.Minute, 120, 0)
				for id := range 20 {
					client := netip.AddrFrom4([4]byte{90, 0, byte(id), 1})
					w.try(Attempt{Client: client, Account: uint64(id) + 1, Password: uint64(id) + 2, Right: minute < 60, Fingerprint: "00000000000000d1", UserAgent: "sync"})
				}
			}
		},
		"a probe of the bank's own, whose account is closed": func(w *town) {
			for range 600 {
				w.run(6*time.Second, 120, 0)
				w.try(Attempt{Client: netip.MustParseAddr("10.0.0.9"), Account: 99, Password: w.rng.Uint64(), Fingerprint: "00000000000000e1", UserAgent: "curl"})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 0.08).run(2*time.Hour, 120, 0)
			happens(w)
			assert.Empty(t, w.subjects)
			assert.Zero(t, w.Stats().Campaigns)
		})
	}
}

func TestADayOfManyFailuresIsQuiet(t *testing.T) {
	for _, failures := range []float64{0.08, 0.3, 0.57} {
		w := newTown(t, failures).run(3*24*time.Hour, 60, 0)
		assert.Empty(t, w.subjects, "at %v", failures)
	}
}

func TestACustomersPerfectLikenessIsACampaignWithoutAPredicate(t *testing.T) {
	likeness := slices.Clone(programs[:2])
	for i := range likeness {
		likeness[i].likeness = true
	}
	for _, share := range []float64{0.05, 0.25, 0.9} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			w := newTown(t, 0.08).run(3*24*time.Hour, 60, 0)
			require.Zero(t, w.rising, "before the attack")
			require.Zero(t, w.Stats().Campaigns)
			began := w.now
			w.run(3*time.Hour, 60, 60*share/(1-share), likeness...)
			assert.NotZero(t, w.rising)
			assert.LessOrEqual(t, time.Duration(w.rising-began), 30*time.Minute)
			assert.Empty(t, w.subjects)
			named := 0
			for account := range w.stolen {
				if w.named[account] {
					named++
				}
			}
			// An account that was stolen before the campaign was open has no name.
			assert.GreaterOrEqual(t, float64(named)/float64(len(w.stolen)), 0.85)
			assert.Less(t, len(w.named)-named, w.customers/100)
			t.Log(time.Duration(w.rising-began).Round(time.Second), named, len(w.stolen), len(w.named))
		})
	}
}

func TestAnAttackOnAccountsThatExistIsForeignToThem(t *testing.T) {
	w := newTown(t, 0.3).run(3*24*time.Hour, 60, 0)
	began := w.now
	w.run(3*time.Hour, 60, 12, software{fingerprint: programs[3].fingerprint, agent: programs[3].agent, ja4: programs[3].ja4, likeness: true, members: true})
	assert.NotZero(t, w.rising)
	assert.LessOrEqual(t, time.Duration(w.rising-began), 30*time.Minute, "although nobody tried is a stranger to the bank")
	assert.Empty(t, w.subjects)
	named := 0
	for account := range w.stolen {
		if w.named[account] {
			named++
		}
	}
	assert.GreaterOrEqual(t, float64(named)/float64(len(w.stolen)), 0.8)
	assert.Less(t, len(w.named)-named, w.customers/200)
	t.Log(time.Duration(w.rising-began).Round(time.Second), named, len(w.stolen), len(w.named))
}

// programAddress is the i-th of many addresses.
func programAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)})
}

func subjectOf(fingerprint string) detect.Subject {
	return detect.Subject{Fingerprint: fingerprint, Endpoint: "POST api.bank.example/login"}
}
