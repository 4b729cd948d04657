package traffic

import (
	"math/rand/v2"
	"net/netip"
)

// office is a company whose people come to work: all behind one address, each
// with the habits that they have at home.
type office struct {
	*people
	address netip.Addr
	left    int
	length  int64
	staff   int
}

func newOffice(w *world, from, length int64, staff int) *office {
	o := &office{people: newPeople(w, never), left: staff, length: length, staff: staff}
	o.rand = rand.New(rand.NewPCG(w.seed, 5))
	o.address = w.net.offices[0]
	o.clock = from
	return o
}

func (o *office) spawn(v *visit) {
	now := o.clock
	v.account = mix(uint64(o.left), ofOffice) % o.w.accounts
	v.software, v.endpoint = o.w.habits(v.account)
	v.user, v.client = o.w.user(v.account), o.address
	o.plan(v, now, o.mood(now))
	o.left--
	o.clock += int64(o.rand.ExpFloat64() * float64(o.length) / float64(o.staff))
	if o.left == 0 {
		o.clock = never
	}
}

// monitor is a health check: a program that logs in with a test account, always
// the same and always in time. One that watches the refusal has a wrong password.
type monitor struct {
	w      *world
	rand   *rand.Rand
	clock  int64
	period int64
	stop   int64
	client netip.Addr
	tool   *software
	target *endpoint
	fails  bool
	number uint64
}

func newMonitor(w *world, r *rand.Rand, number uint64, stop int64) *monitor {
	m := &monitor{w: w, rand: r, number: number, stop: stop, period: int64(between(r, 5e9, 60e9)), fails: r.Float64() < 0.4}
	m.clock = w.start + r.Int64N(m.period)
	m.client = w.net.hosting[number%4].at(10 + number)
	m.target = pick(r, w.byChannel[mobile])
	agent := pick(r, []string{"Go-http-client/1.1", "curl/8.5.0", "UptimeProbe/2.4 (+https://probe.example)", "python-httpx/0.27.0"})
	m.tool = &software{name: "monitor", channel: mobile, fields: [][2]string{
		{"Host", ""}, {"User-Agent", agent}, {"Accept", "*/*"}, {"Content-Length", ""}, {"Content-Type", ""}, {"Authorization", ""},
	}}
	if r.Float64() < 0.5 {
		m.tool.fields = append(m.tool.fields, [2]string{"Accept-Encoding", "gzip"})
	}
	m.tool.bootstrap = r.IntN(2)
	return m
}

func (m *monitor) next() int64 { return m.clock }

func (m *monitor) spawn(v *visit) {
	v.software, v.endpoint, v.client = m.tool, m.target, m.client
	v.account = m.number % m.w.accounts
	v.user = mix(m.number, m.w.seed^ofMonitor)
	at := m.clock
	if m.tool.bootstrap > 0 {
		at = v.add(m.rand, at, step{call: callBootstrap})
	}
	if m.fails {
		v.login(m.rand, at+10e6, mix(m.number, ofStale), v.user, answerWrong)
	} else {
		at = v.login(m.rand, at+10e6, mix(m.number, ofPassword), v.user, answerOK)
		v.token = m.rand.Uint64()
		v.add(m.rand, at+50e6, step{call: callAccounts, session: true})
	}
	if m.clock += m.period; m.clock >= m.stop {
		m.clock = never
	}
}

// aggregator collects the balances of its own customers from a handful of
// addresses, with the passwords that they gave it, and moves no money.
type aggregator struct {
	w         *world
	rand      *rand.Rand
	clock     int64
	stop      int64
	share     float64 // of all logins
	addresses []netip.Addr
	tool      *software
	customers permutation
	count     uint64
	stale     float64 // share of customers who have changed their password since
}

func newAggregator(w *world, r *rand.Rand, share float64, stop int64) *aggregator {
	a := &aggregator{w: w, rand: r, clock: w.start, stop: stop, share: share, stale: between(r, 0.04, 0.17)}
	a.customers = newPermutation(max(w.accounts/8, 1), r.Uint64())
	network := &w.net.hosting[0]
	for i := range 4 + r.IntN(29) {
		a.addresses = append(a.addresses, network.at(64+uint64(i)))
	}
	a.tool = &software{name: "aggregator", channel: mobile, ja4: "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6", fields: [][2]string{
		{"Host", ""}, {"Content-Type", ""}, {"X-Request-Source", "aggregation"}, {"Accept", "application/json"}, {"Accept-Charset", "utf-8"},
		{"Content-Length", ""}, {"User-Agent", "AccountView/4.1 (okhttp 3.14.9)"}, {"Authorization", ""}, {"Accept-Encoding", "gzip"},
	}}
	return a
}

func (a *aggregator) next() int64 { return a.clock }

func (a *aggregator) spawn(v *visit) {
	r, w := a.rand, a.w
	v.account = a.customers.at(a.count % a.customers.n)
	a.count++
	v.software, v.client = a.tool, pick(r, a.addresses)
	_, v.endpoint = w.habits(v.account)
	if v.endpoint.channel != mobile {
		v.endpoint = w.byChannel[mobile][0]
	}
	v.user = w.user(v.account)
	if unit(mix(v.account, ofAggregator)) < a.stale {
		v.login(r, a.clock, mix(v.account, ofStale), v.user, answerWrong)
	} else {
		at := v.login(r, a.clock, w.right(v.account), v.user, answerOK)
		v.token = r.Uint64()
		at = v.add(r, at+100e6, step{call: callAccounts, session: true})
		v.add(r, at+100e6, step{call: callBalance, session: true})
	}
	rate := w.rate * a.share / (1 - a.share)
	if a.clock += int64(r.ExpFloat64()/rate*1e9) + 1; a.clock >= a.stop {
		a.clock = never
	}
}

// release is a new version of the bank's apps, which customers take up over a
// day: its requests look as none did before.
type release struct {
	w     *world
	from  int64
	over  int64 // until everybody has it who will
	share float64
	of    map[*software]*software
}

func newRelease(w *world, r *rand.Rand, from, over int64) *release {
	n := &release{w: w, from: from, over: over, share: between(r, 0.5, 0.9), of: make(map[*software]*software)}
	field := pick(r, [][2]string{{"X-Session-Trace", "on"}, {"X-Feature-Set", "2"}, {"X-Attestation-Level", "basic"}})
	place := r.IntN(3)
	agent := pick(r, []string{"okhttp/5.0.0-alpha.14", "ktor-client", "Dart/3.4 (dart:io)"})
	bare := r.Float64() < 0.5 // of its library: the name stays
	for _, old := range w.software[mobile] {
		s := old.clone("new " + old.name)
		s.insert(min(place, len(s.fields)), field)
		if bare {
			s.set("Accept-Encoding", "gzip, deflate, br, zstd")
		} else {
			s.set("User-Agent", agent)
		}
		n.of[old] = s
	}
	return n
}

// program is what an account uses at a time.
func (n *release) program(account uint64, now int64, s *software) *software {
	taken := n.share * min(float64(now-n.from)/float64(n.over), 1)
	if newer := n.of[s]; newer != nil && unit(mix(account, ofRelease)) < taken {
		return newer
	}
	return s
}
