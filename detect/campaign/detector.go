package campaign

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"offpath/detect"
	"offpath/detect/internal/distinct"
	"offpath/detect/internal/generations"
)

// Config configures a Detector. All fields must be set; detect/engine
// validates them.
type Config struct {
	Cells      int     // combinations of values remembered
	Pairs      int     // pairs of account and network remembered, likewise of others
	Repeats    int     // attempts remembered to tell repeated ones
	Baseline   float64 // expected share of honest logins that fail
	FalseAlarm float64 // chance of convicting an honest cell
	Accounts   int     // accounts that campaigns touched remembered; 0: none
	Budget     float64 // legitimate logins per million that all predicates may hit
}

// Attempt is one login whose outcome is known.
type Attempt struct {
	Time     int64  // event time, ns since the epoch
	Event    string // id of the transaction
	Name     string // of the endpoint
	At       *Endpoint
	Client   netip.Addr
	Account  uint64 // hash; 0 where unknown
	Password uint64 // hash; 0 where unknown
	UserHash string // of the account, as detection names it
	Right    bool   // the password was right
	Held     bool   // the address is under a verdict

	Fingerprint, UserAgent, JA4 string // "" where unknown
}

// Result is what an attempt says.
type Result struct {
	// Campaign is what the attempt belongs to; nil: none.
	Campaign *Campaign
	// Subject is the predicate to act against; not Guilty: none.
	Subject detect.Subject
	Guilty  bool
	// Price is what the predicate is expected to hit, of a million legitimate
	// logins.
	Price float64
	// Pending says that the attempt is part of what is an attack, against which it
	// is too soon to act: it should not be held against its address.
	Pending bool
	// PerMinute is how many attempts it would have stopped lately.
	PerMinute float64

	// Rising is a campaign that charts show although no predicate tells it from
	// customers; nil: none, or not news.
	Rising *Campaign
	// Broken is the endpoints that have gone out of order.
	Broken []Outage
	// Missing is the endpoints where customers no longer log in, rightly or wrongly.
	Missing []Outage
	// Hits are accounts whose password a campaign has got right.
	Hits []Hit
}

// Outage is an endpoint where hardly anybody's login is right.
type Outage struct {
	Name                string
	Right, Usual, Least float64 // in the last window; usually; and that would still be in order
	Until               int64   // end of the window, ns since the epoch
}

func (r *Result) missing(at *Endpoint, window uint32, o Outage) {
	o.Name, o.Until = at.name, (int64(window)+1)*Window
	r.Missing = append(r.Missing, o)
}

// Detector holds the detector's state.
type Detector struct {
	cfg        Config
	threshold  float64
	decays     *decays
	cells      *table
	history    *history
	visitors   *visitors
	accounts   *history // accounts that have ever been right
	programs   *history // programs with which they have been
	networks   *history // from which a login has been right
	troubled   *history // accounts that have been wrong
	recent     recent
	called     *generations.Map[uint32] // accounts that were called hits for the sake of a chart: when, s
	sorted     []float64                // room for odds
	spray      *Campaign                // of sprayed passwords, while open
	tried      *generations.Map[uint32] // wrong attempts by account and password: when, s
	site       site
	all        Endpoint // all endpoints together: its chart
	sprays     *sprays
	spent      float64 // by predicates in force, at spentAt
	spentAt    uint32
	everywhere reference // of all endpoints together
	touched    touched
	serial     int         // of the last campaign
	window     uint32      // number of the present one of charts
	active     []*Endpoint // where something was tried in it
	before     []*Endpoint // and in the one before
	failing    int         // strangers that charts remember of it, at most maxFailing
	open       []*Campaign
	stats      Stats

	fetched uint32 // keeps what is fetched early from being left out

	at    [kinds]*cell // of the attempt at hand
	looks [256]look    // what stands in them follows from cells
}

// site is what all right logins that are no campaign's have in common, with
// the half-life of a day.
type site struct {
	right, known, prepared float64           // each account once a day
	logins                 float64           // all of them
	shown                  [patterns]float64 // of these, with each pattern
	called                 float64           // hits for the sake of a chart
	at                     uint32
}

// New makes a Detector.
func New(cfg Config) *Detector {
	d := newDecays()
	return &Detector{
		cfg: cfg, threshold: threshold(cfg.FalseAlarm), decays: d,
		cells: newTable(cfg.Cells), visitors: newVisitors(cfg.Pairs),
		history: newHistory(cfg.Pairs), accounts: newHistory(cfg.Pairs), programs: newHistory(cfg.Pairs), troubled: newHistory(cfg.Pairs), networks: newHistory(cfg.Pairs),
		sprays: newSprays(), touched: touched{limit: cfg.Accounts, list: make(map[key]*Account)},
		tried: generations.New[uint32](cfg.Repeats), called: generations.New[uint32](maxCalled),
	}
}

// Visit records a request that is no login: what customers' software does
// before one.
func (d *Detector) Visit(client netip.Addr, fingerprint string, time int64) {
	d.visitors.add(visitor(distinct.Address(client), xxhash.Sum64String(fingerprint)), seconds(time))
}

// visitor stands for a program at an address.
func visitor(client, fingerprint uint64) uint64 { return generations.Mix(client, fingerprint) }

// Pardon says that an operator ended a predicate: its cell starts anew, and
// with it all that share a value with it or with what was seen together with
// it, or the next attempt would convict them instead.
func (d *Detector) Pardon(s detect.Subject) {
	seen := map[string]bool{} // values that it has, or that were seen together with one
	has := func(v *detect.Subject) bool {
		return v.Fingerprint != "" && seen[v.Fingerprint] || v.UserAgent != "" && seen[v.UserAgent] || v.JA4 != "" && seen[v.JA4]
	}
	note := func(v *detect.Subject) { seen[v.Fingerprint], seen[v.UserAgent], seen[v.JA4] = true, true, true }
	note(&s)
	together := map[string]bool{}
	for _, c := range d.cells.cells {
		if v := &c.values; has(v) {
			together[v.Fingerprint], together[v.UserAgent], together[v.JA4] = true, true, true
		}
	}
	maps.Copy(seen, together)
	for _, c := range d.cells.cells {
		if has(&c.values) || s.Client.IsValid() && c.values.Client == s.Client {
			c.windows, c.accounts, c.addresses = [len(horizons)]window{}, 0, 0
			d.acquit(c)
		}
	}
}

// acquit takes a cell out of its campaign.
func (d *Detector) acquit(c *cell) {
	if c.campaign != nil {
		c.campaign.cells = slices.DeleteFunc(c.campaign.cells, func(o *cell) bool { return o == c })
		c.campaign = nil
	}
}

// Observe takes an attempt into account. Attempts come in the order of time.
func (d *Detector) Observe(a *Attempt) Result {
	now := seconds(a.Time)
	d.history.turn(now)
	d.accounts.turn(now)
	d.programs.turn(now)
	d.troubled.turn(now)
	d.networks.turn(now)
	if len(a.UserAgent) > maxUserAgent {
		a.UserAgent = ""
	}
	var r Result
	d.turn(a, now, &r)
	n := a.numbers()
	m := marks{network: generations.Mix(0, n.network), program: n.program()}
	m.pair, m.own = generations.Mix(a.Account, m.network), generations.Mix(a.Account, n.fingerprint)
	account, attempt := generations.Mix(a.Account, 0), a.number()
	visitor := visitor(n.client, n.fingerprint)
	d.fetched = d.tried.Touch(attempt) + d.history.seen.Touch(m.pair) + d.programs.seen.Touch(m.own) + d.accounts.seen.Touch(account) +
		d.troubled.seen.Touch(account) + d.visitors.seen.Touch(visitor) + d.networks.seen.Touch(m.network)
	if !a.Right && d.repeated(a, attempt, now) {
		d.stats.Repeated++
		return r
	}
	if a.Account != 0 {
		pair := d.history.get(m.pair)
		m.known, m.placed = pair.known, pair.seen
		m.equipped = d.programs.get(m.own).seen
		logins := d.accounts.get(account)
		m.stranger = !logins.seen
		if a.Right {
			m.again = logins.today
		} else {
			m.again = d.troubled.know(account).today
		}
	}
	m.prepared = d.visitors.has(visitor, now)
	m.near = d.networks.get(m.network).seen
	keys := d.find(a, &n)
	r.Campaign = d.count(a, &n, &m, now)
	if r.Campaign == nil {
		d.chart(a, a.At, &n, m.foreign())
		d.chart(a, &d.all, &n, m.foreign())
		if a.Right {
			a.At.flows.get(m.program).now.right++
		}
	}
	if a.Right {
		d.right(a, d.recent.add(a, keys, &m), now, &r)
	} else {
		d.judge(a, now, &r)
	}
	return r
}

// Customer reports whether an account was logged in to from where a client is on an
// earlier day: a customer's mark. It takes nothing into account.
func (d *Detector) Customer(account uint64, client netip.Addr) bool {
	network := generations.Mix(0, distinct.Address(Network(client).Addr()))
	return account != 0 && d.history.peek(generations.Mix(account, network)).known
}

// marks is what is known about an attempt beside what it says itself.
type marks struct {
	network, pair, own uint64 // as numbers
	program            uint64 // likewise, with its version
	known              bool   // the account was logged in to from the network on an earlier day
	placed             bool   // the same on any day
	equipped           bool   // the account was logged in to with the fingerprint before, which updates keep
	prepared           bool   // the client has asked for something else before
	near               bool   // somebody has logged in from the network before
	stranger           bool   // the account has never been right
	again              bool   // it was right, or wrong, before on this day: it counts once
}

// foreign reports whether the account was never right from there nor with that
// program, if ever.
func (m *marks) foreign() bool { return !m.placed && !m.equipped }

// right handles a right login: a campaign's is a hit, another's is learned
// from.
func (d *Detector) right(a *Attempt, l *login, now uint32, r *Result) {
	m := &l.marks
	if r.Campaign != nil {
		// What a customer shows and the attacker does not makes it a customer's,
		// whatever it has in common with the attack.
		if !m.placed && !(m.prepared && d.site.prepared >= minPrepared*d.site.right) {
			r.Campaign.tally(a)
			r.Hits = append(r.Hits, d.hit(r.Campaign, a.Account, a.UserHash, a.Time, certain))
			return
		}
		r.Campaign = nil
	}
	for _, at := range [...]*Endpoint{a.At, &d.all} {
		if at.campaign == nil || !at.chart.up {
			continue
		}
		if odds := d.odds(at, l); odds > at.chart.cut && d.afford(a.Account, odds, now) {
			r.Campaign = at.campaign
			r.Campaign.count(a)
			r.Hits = append(r.Hits, d.hit(r.Campaign, a.Account, a.UserHash, a.Time, odds))
			return
		}
	}
	if d.spray != nil && !m.known && d.sprays.sprayed(a.Password) {
		r.Campaign = d.spray
		r.Campaign.count(a)
		r.Hits = append(r.Hits, d.hit(r.Campaign, a.Account, a.UserHash, a.Time, certain))
		return
	}
	d.learn(a, m, now)
}

// Down records a login that the application failed to answer, of which only
// time and endpoint matter.
func (d *Detector) Down(a *Attempt) (r Result) {
	now := seconds(a.Time)
	d.turn(a, now, &r)
	a.At.chart.down++
	d.all.chart.down++
	return r
}

// chart takes an attempt into the chart of an endpoint, or of all.
func (d *Detector) chart(a *Attempt, at *Endpoint, n *numbers, stranger bool) {
	c := &at.chart
	before := len(c.failing)
	if c.add(a, n, stranger, maxFailing-d.failing) {
		d.stats.Unnamed++
	}
	d.failing += len(c.failing) - before
}

// turn ends the window of all charts, if it is over, and has the endpoint of an
// attempt take part in the next.
func (d *Detector) turn(a *Attempt, now uint32, r *Result) {
	if number := now / span; number != d.window {
		d.endWindow(a.Time, r)
		if number > d.window+1 { // in the next one nothing was tried anywhere
			d.deserted(d.window+1, r)
		}
		d.window, d.failing = number, 0
	}
	if a.At.active != d.window+1 {
		a.At.active, a.At.name = d.window+1, strings.Clone(a.Name)
		if a.At.flows == nil {
			a.At.flows = make(flows)
		}
		d.active = append(d.active, a.At)
	}
}

// endWindow judges a window at all endpoints where something was tried, then at
// all together. What charts show at the same time is one campaign.
func (d *Detector) endWindow(time int64, r *Result) {
	var risen []*Endpoint
	for _, at := range d.active {
		at.flows.turn(at.chart.failing)
	}
	for _, at := range append(d.active, &d.all) {
		e := at.chart.close(d.window)
		switch {
		case e == rising:
			risen = append(risen, at)
		case e == broken && !at.broken && at != &d.all:
			c := &at.chart
			r.Broken = append(r.Broken, Outage{at.name, float64(c.right), c.usual, c.least(), (int64(d.window) + 1) * Window})
		}
		if o := at.chart.missing; o.Least > 0 && at != &d.all {
			r.missing(at, d.window, o)
		}
		at.broken = e == broken || at.broken && e == disorder
	}
	if len(risen) > 0 {
		d.rise(risen, time, r)
	}
	for _, at := range append(d.active, &d.all) {
		at.chart.begin()
	}
	d.deserted(d.window, r)
	d.before, d.active = d.active, d.before[:0]
}

// deserted finds the endpoints where customers are missing in a window, though there
// were some in the one before.
func (d *Detector) deserted(window uint32, r *Result) {
	for _, at := range d.before {
		if slices.Contains(d.active, at) {
			continue
		}
		if o := at.chart.short(0); o.Least > 0 {
			r.missing(at, window, o)
		}
	}
	clear(d.before)
	d.before = d.before[:0]
}

// number stands for the account and password that are tried.
func (a *Attempt) number() uint64 {
	return generations.Mix(generations.Mix(a.Account, 1), a.Password) // who has its name for a password is one of many
}

// repeated reports whether a wrong attempt was made before within a day: a
// program that goes on trying what has become wrong is no attack, and an
// attacker gains nothing by it.
func (d *Detector) repeated(a *Attempt, key uint64, now uint32) bool {
	if a.Account == 0 {
		return false
	}
	at, seen := d.tried.At(key)
	if seen && now < *at+day {
		return true
	}
	*at = now
	return false
}

// count adds an attempt to its cells, and returns the open campaign that one
// of them was convicted for.
func (d *Detector) count(a *Attempt, n *numbers, m *marks, now uint32) *Campaign {
	var campaign *Campaign
	account, address := uint64(1)<<(generations.Mix(a.Account, 1)&63), uint64(1)<<(n.client&63)
	for _, c := range d.at {
		if c == nil {
			continue
		}
		c.decay(d.decays, now)
		if !a.Right || !m.again { // or a program that logs in every minute would look like an attack with few customers
			c.attempts++
		}
		for i := range c.windows {
			switch {
			case !a.Right:
				c.windows[i].wrong++
			case !m.again:
				c.windows[i].right++
			}
		}
		if m.known && !m.again {
			c.known++
		}
		if m.prepared && !m.again {
			c.prepared++
		}
		if a.Right && !m.again {
			c.right++
		}
		if !a.Right {
			if c.accounts == 0 {
				c.since = a.Time
			}
			c.accounts |= account
			c.addresses |= address
		}
		if c.campaign != nil && now >= c.acted+inForce {
			d.acquit(c)
		}
		if campaign == nil && c.campaign != nil {
			campaign = c.campaign
		}
	}
	if campaign != nil && !a.Right {
		campaign.count(a)
	}
	return campaign
}

// numbers stand for an attempt's values; 0: unknown.
type numbers struct{ client, network, fingerprint, userAgent, ja4, name uint64 }

// program stands for the client's software, as far as requests show it.
func (n *numbers) program() uint64 { return max(1, generations.Mix(n.fingerprint, n.userAgent)) }

func (a *Attempt) numbers() numbers {
	n := numbers{client: distinct.Address(a.Client), network: distinct.Address(Network(a.Client).Addr()), name: xxhash.Sum64String(a.Name)}
	if a.Fingerprint != "" {
		n.fingerprint = xxhash.Sum64String(a.Fingerprint)
	}
	if a.UserAgent != "" {
		n.userAgent = xxhash.Sum64String(a.UserAgent)
	}
	if a.JA4 != "" {
		n.ja4 = xxhash.Sum64String(a.JA4)
	}
	return n
}

// find has d.at hold the attempt's cells, and returns their keys.
func (d *Detector) find(a *Attempt, n *numbers) *[kinds]uint64 {
	h := generations.Mix(generations.Mix(generations.Mix(n.fingerprint, n.userAgent), n.ja4), n.name)
	l := &d.looks[h%uint64(len(d.looks))]
	if l.hash != h {
		*l = look{hash: h, keys: n.keys()}
	}
	l.keys[byNetwork] = cellKey(byNetwork, n.network)
	for k, key := range &l.keys {
		if c := l.cells[k]; key != 0 && (c == nil || c.key != key) {
			l.cells[k] = d.cells.get(key, kind(k), a)
		}
	}
	d.at = l.cells
	return &l.keys
}

// look is a combination of program and endpoint that was seen lately, with its
// cells: most logins have one of few.
type look struct {
	hash  uint64
	keys  [kinds]uint64
	cells [kinds]*cell
}

// cellKey is the key of a cell of one member.
func cellKey(k kind, number uint64) uint64 { return max(generations.Mix(uint64(k)+1, number), 1) }

// keys are the cells' keys; 0 for a kind of which a member is unknown.
func (n *numbers) keys() (keys [kinds]uint64) {
	values := [...]struct {
		member uint8
		number uint64
	}{
		{hasFingerprint, n.fingerprint}, {hasUserAgent, n.userAgent}, {hasJA4, n.ja4}, {hasNetwork, n.network}, {hasEndpoint, n.name},
	}
next:
	for k := range kinds {
		key := uint64(k) + 1
		for _, v := range values {
			if members[k]&v.member == 0 {
				continue
			}
			if v.number == 0 {
				continue next
			}
			key = generations.Mix(key, v.number)
		}
		keys[k] = max(key, 1)
	}
	return keys
}

// maxUserAgent is the longest User-Agent that has cells, octets; a longer one
// counts as unknown.
const maxUserAgent = 512

// learn takes a right login into what is known of customers, each account once
// a day.
func (d *Detector) learn(a *Attempt, m *marks, now uint32) {
	s := &d.site
	s.decay(now)
	s.logins++
	s.shown[m.pattern()]++
	if a.Account != 0 {
		d.history.know(m.pair)
		d.programs.know(m.own)
	}
	if m.again {
		return
	}
	if a.Account != 0 {
		d.accounts.know(generations.Mix(a.Account, 0))
	}
	d.networks.know(m.network)
	s.right++
	if m.known {
		s.known++
	}
	if m.prepared {
		s.prepared++
	}
	for _, k := range [...]kind{byFingerprintThere, byUserAgentThere, byJA4There} {
		if c := d.at[k]; c != nil {
			w := &c.windows[1]
			if w.wrong+w.right < minShare {
				w = &c.windows[2]
			}
			if n := w.wrong + w.right; n >= minShare {
				a.At.reference.learn(w.wrong/n, now)
				d.everywhere.learn(w.wrong/n, now)
			}
			return
		}
	}
}

// minShare is how many attempts a share of failures is taken of.
const minShare = 10

func (s *site) decay(now uint32) {
	if s.at != 0 && now > s.at {
		f := math.Exp2(-float64(now-s.at) / day)
		s.right *= f
		s.known *= f
		s.prepared *= f
		s.logins *= f
		for i := range s.shown {
			s.shown[i] *= f
		}
		s.called *= f
	}
	s.at = max(s.at, now)
}

func seconds(time int64) uint32 { return uint32(time / 1e9) }

// Stats are the detector's books: counts since its start, but for Open.
type Stats struct {
	Campaigns    uint64 // opened
	Repeated     uint64 // wrong attempts that had been made before
	OverBudget   uint64 // wrong attempts in a cell that would hit too many customers
	NoRoom       uint64 // wrong attempts of a campaign for which there was no room
	OverFriction uint64 // right logins that may be a campaign's, beyond what may be said
	Evictions    uint64 // cells forgotten for want of room

	Unnamed      uint64 // strangers that charts counted without remembering who, for want of room
	AccountsLost uint64 // attempts at accounts that were not listed for want of room

	Open, Cells int // gauges
}

// Stats returns the books as they stand.
func (d *Detector) Stats() Stats {
	s := d.stats
	s.AccountsLost = d.touched.lost
	s.Evictions, s.Open, s.Cells = d.cells.evictions, len(d.open), len(d.cells.cells)
	return s
}
