package traffic

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"time"
)

// world is a bank with its customers, drawn from a seed.
type world struct {
	seed      uint64
	rand      *rand.Rand
	net       internet
	endpoints []*endpoint
	byChannel [channels][]*endpoint
	endShare  [channels][]float64 // cumulative
	software  [channels][]*software
	softShare [channels][]float64 // cumulative
	channel   []float64           // cumulative share of customers
	accounts  uint64
	order     permutation // of accounts by activity
	spread    float64     // sigma of the logarithm of logins per account
	start     int64       // event time of the first request

	rate    float64 // logins a second on average
	failing float64 // share of logins that fail
	wander  wander
	flat    bool // no daily rhythm
	plans   plans
	calls   float64 // calls after a login, on average
	carried float64 // share of mobile visits from a carrier's network
	popular float64 // share of customers with one of the popular passwords

	lockAfter int     // failures of a visit after which the account is locked; 0: it never is
	factor    float64 // share of right passwords after which app users are asked for a second factor

	proxies []netip.Addr // load balancers in front; none: clients connect to the bank
	servers []netip.AddrPort
	ja4     bool // the mirror sees the clients' handshakes
}

// The base rates of failure that seeds take in turn.
var failureRates = []float64{0.08, 0.30, 0.57}

// newWorld draws a bank with a given share of honest logins that fail, and a given
// number of mobile logins, accounts and logins a second.
func newWorld(seed uint64, failing float64, endpoints int, accounts uint64, rate float64) *world {
	r := rand.New(rand.NewPCG(seed, 0x6f66667061746821))
	w := &world{seed: seed, rand: r, accounts: accounts, rate: rate, failing: failing}
	w.net = newInternet(r)
	domain := pick(r, []string{"northbank.example", "bank.example", "sparbank.example", "firstcredit.example"})
	w.endpoints = newEndpoints(r, endpoints, domain)
	w.software = customerSoftware(r, pick(r, []string{"NorthBank", "MyBank", "SparApp", "FirstCredit"}))
	for c := range channels {
		for _, e := range w.endpoints {
			if int(e.channel) == c {
				w.byChannel[c] = append(w.byChannel[c], e)
			}
		}
		w.endShare[c] = cumulate(len(w.byChannel[c]), func(i int) float64 { return w.byChannel[c][i].weight })
		w.reweigh(channel(c))
	}
	apps, desk := between(r, 0.55, 0.9), between(r, 0.01, 0.06)
	w.channel = []float64{apps, 1 - desk, 1}
	w.order = newPermutation(accounts, r.Uint64())
	w.spread = between(r, 0.6, 1.3)
	day := time.Date(2026, time.Month(1+r.IntN(12)), 1+r.IntN(28), 0, 0, 0, 0, time.UTC)
	w.start = day.Add(time.Duration(7+r.IntN(10)) * time.Hour).UnixNano()
	w.calls = between(r, 0.8, 1.8)
	w.carried = between(r, 0.3, 0.6)
	w.popular = between(r, 0.01, 0.04)
	w.wander = wander{rand: rand.New(rand.NewPCG(seed, 2)), sigma: between(r, 0.03, 0.12)}
	w.plans = newPlans(r, w.failing)
	if r.Float64() < 0.5 {
		for i := range 1 + r.IntN(2) {
			w.proxies = append(w.proxies, netip.AddrFrom4([4]byte{10, 0, 1, byte(10 + i)}))
		}
	}
	for i := range 2 {
		w.servers = append(w.servers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 2, byte(20 + i)}), 80))
	}
	w.ja4 = r.Float64() < 0.3
	w.policies(rand.New(rand.NewPCG(seed, 6)))
	return w
}

// policies draws what the bank does about accounts in doubt.
func (w *world) policies(r *rand.Rand) {
	if r.Float64() < 0.5 {
		w.lockAfter = 3 + r.IntN(4)
	}
	if r.Float64() < 0.3 {
		w.factor = between(r, 0.02, 0.2)
	}
	code := pick(r, factorCodes)
	for _, e := range w.byChannel[mobile] {
		e.words.factor = code
	}
}

// reweigh makes the shares of a channel's programs after their weights.
func (w *world) reweigh(c channel) {
	w.softShare[c] = cumulate(len(w.software[c]), func(i int) float64 { return w.software[c][i].weight })
}

// intensity is the rate of logins at a time, in units of the mean: more by day
// and on working days, most around payday.
func (w *world) intensity(now int64) float64 {
	if w.flat {
		return 1
	}
	t := time.Unix(0, now).UTC()
	hour := float64(t.Hour()) + float64(t.Minute())/60
	x := 1 + 0.75*math.Sin(2*math.Pi*(hour-8)/24) + 0.2*math.Sin(4*math.Pi*(hour-6)/24)
	if d := t.Weekday(); d == time.Saturday || d == time.Sunday {
		x *= 0.7
	}
	if d := t.Day(); d == 1 || d >= 27 && d <= 29 {
		x *= 1.4
	}
	return max(x, 0.1)
}

// visitor draws an account, in proportion to how often each logs in. Activity is
// log-normal over accounts; drawn in proportion to itself it is log-normal again,
// about a mean that lies sigma higher.
func (w *world) visitor(r *rand.Rand) uint64 {
	at := normalQuantile(w.spread + r.NormFloat64())
	return w.order.at(min(uint64(at*float64(w.accounts)), w.accounts-1))
}

// right is the hash of an account's password.
func (w *world) right(account uint64) uint64 {
	h := mix(account, w.seed^ofPopular)
	if x := unit(h); x < w.popular {
		return popularPassword(uint64(math.Pow(popularPasswords, x/w.popular)) - 1)
	}
	return mix(account, w.seed^ofPassword)
}

// popularPasswords is how many passwords are popular; the first is the most so.
const popularPasswords = 200

func popularPassword(i uint64) uint64 { return mix(i, 0x706f70) }

func (w *world) user(account uint64) uint64    { return mix(account, w.seed^ofUser) }
func (w *world) stranger(number uint64) uint64 { return mix(number, w.seed^ofUnknown) }

// habits are the program and the endpoint that an account uses.
func (w *world) habits(account uint64) (*software, *endpoint) {
	c := weighted(w.channel, unit(mix(account, ofChannel)))
	s := w.software[c][weighted(w.softShare[c], unit(mix(account, ofSoftware)))]
	e := w.byChannel[c][weighted(w.endShare[c], unit(mix(account, ofEndpoint)))]
	return s, e
}

// place is where a visit comes from.
func (w *world) place(r *rand.Rand, account uint64, c channel, now int64) netip.Addr {
	x := r.Float64()
	works := unit(mix(account, ofPlace)) < 0.25
	switch {
	case c == mobile && x < w.carried:
		return w.net.carrier(account, now)
	case c != ofx && works && x > 0.6:
		return w.net.office(account)
	case x > 0.985: // travelling, or at a friend's
		return w.net.home(r.Uint64(), r.Uint64())
	}
	return w.net.home(account, r.Uint64())
}

// wander is a slow change of the share of failures: a value every five minutes,
// correlated with the one before.
type wander struct {
	rand  *rand.Rand
	sigma float64
	until int64
	value float64
}

const wanderStays = 0.97

func (w *wander) at(now int64) float64 {
	for now >= w.until {
		if w.until == 0 {
			w.until = now
		}
		w.until += 300e9
		w.value = wanderStays*w.value + w.sigma*math.Sqrt(1-wanderStays*wanderStays)*w.rand.NormFloat64()
	}
	return math.Exp(w.value)
}
