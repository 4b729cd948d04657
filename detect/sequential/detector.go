// Package sequential is the sequential test of failed logins: per client
// address, and per IPv6 /64 network, a sum of log-likelihood ratios of "tries
// stolen or guessed passwords" against "honest" (Wald's test, as used on
// network scans by Jung et al., S&P 2004), with a floor at 0 and a half-life.
//
// What an honest client's failures look like is learned per endpoint, from
// clients that succeed in the end; no client contributes much, suspects
// contribute nothing. The expectation to begin with is the configured one.
//
// The test would rather be late than wrong. It does not count the same client,
// account and password twice; discounts further passwords for the same account;
// never convicts clients whose logins mostly succeed (a company behind one
// address); and convicts nobody while an endpoint fails for everybody.
//
// A Detector belongs to one goroutine. Its memory is bounded; what it forgets
// for want of room it counts. It decides by the times of the attempts alone.
package sequential

import (
	"net/netip"

	"offpath/detect/internal/generations"
)

// Config configures a Detector. All fields must be set; detect/engine
// validates them.
type Config struct {
	Entities       int     // addresses and networks remembered, at most 2^26
	Dossiers       int     // entities whose evidence is remembered
	Repeats        int     // attempts remembered to tell repeated ones
	Baseline       float64 // expected share of honest logins that fail
	FalseAlarm     float64 // chance of convicting an honest client
	KnownGoodShare float64 // share of successes above which nobody is convicted
}

// Attempt is one login whose outcome is known.
type Attempt struct {
	Time     int64  // event time, ns since the epoch
	Event    string // id of the transaction
	Client   netip.Addr
	Account  uint64 // hash; 0 where unknown
	Password uint64 // hash; 0 where unknown
	Right    bool   // the password was right
	Stratum  *Stratum
}

// Veto is why a subject whose score convicts is not convicted.
type Veto uint8

// The vetoes.
const (
	VetoNone       Veto = iota
	VetoKnownGood       // its logins mostly succeed
	VetoOutage          // the endpoint fails for everybody
	VetoUnanchored      // no login has ever succeeded, for several clients
)

// Signal is what an attempt says about one subject.
type Signal struct {
	Subject  netip.Prefix // a full-length prefix is an address
	Guilty   bool         // the score convicts, and this failure is part of it
	Cracking bool         // few accounts, many passwords
	Veto     Veto         // why it is not guilty all the same
}

// Result is what an attempt says.
type Result struct {
	Repeated bool   // counted before; says nothing
	Address  Signal // of the client's address
	Network  Signal // of its /64; no subject for IPv4
}

// Detector holds the test's state.
type Detector struct {
	cfg       Config
	threshold float64
	entities  *table
	dossiers  dossiers
	pardoned  map[key]uint32           // networks: when; their addresses not seen since start anew
	counted   *generations.Map[uint32] // attempts by entity, account and password (or anyPassword): when a success was counted last
	tries     *generations.Map[uint16] // wrong passwords by entity and account
	site      rate
	good      float64 // successes of everybody, with the half-life of the entities'
	goodAt    uint32
}

// anyPassword stands in Detector.counted for whatever password was right.
const anyPassword = 0x72696768745f5f5f

// New makes a Detector.
func New(cfg Config) *Detector {
	d := &Detector{
		cfg: cfg, threshold: Threshold(cfg.FalseAlarm),
		dossiers: newDossiers(cfg.Dossiers), pardoned: make(map[key]uint32),
		counted: generations.New[uint32](cfg.Repeats), tries: generations.New[uint16](cfg.Repeats),
	}
	d.entities = newTable(cfg.Entities, d.forget)
	return d
}

// Down records that a login endpoint answered a client with a server error.
// That says nothing about the client; of a client known to be good it says
// something about the endpoint.
func (d *Detector) Down(s *Stratum, client netip.Addr, time int64) {
	if e := d.entities.find(addressKey(client)); e != nil {
		now := seconds(time)
		e.decay(now)
		d.vouch(e, s, true, now)
	}
}

// Observe takes an attempt into account. Attempts come in the order of time.
func (d *Detector) Observe(a *Attempt) Result {
	now := seconds(a.Time)
	p0 := a.Stratum.baseline(d.site.shrunk(d.cfg.Baseline), now)
	outage := a.Stratum.guard.outage(now)

	var network *entity
	if a.Client.Is6() && !a.Client.Is4In6() {
		network = d.entities.get(networkKey(a.Client), now, nil)
	}
	address := d.entities.get(addressKey(a.Client), now, network)
	if network != nil {
		if d.pardonedAt(network) >= int64(address.last) {
			d.reset(address)
		}
		network.decay(now)
	}
	address.decay(now)
	d.vouch(address, a.Stratum, !a.Right, now)
	if a.Right {
		a.Stratum.accepted = true
	} else {
		a.Stratum.failed(a.Client)
	}

	var r Result
	step := step{attempt: a, now: now, p0: p0, outage: outage}
	r.Address, r.Repeated = d.step(address, &step)
	if a.Right && !r.Repeated {
		d.contribute(address, a.Stratum, now)
	}
	if network != nil {
		step.several = !a.Right && network.distinctFailing(uint32(address.hash())) > 2
		r.Network, _ = d.step(network, &step)
	}
	return r
}

// step is what an attempt means for one entity.
type step struct {
	attempt *Attempt
	now     uint32
	p0      float64
	outage  bool
	several bool // networks: several of the addresses failed
}

func (d *Detector) step(e *entity, s *step) (signal Signal, repeated bool) {
	a := s.attempt
	signal.Subject = e.subject()
	byAccount := generations.Mix(e.hash(), a.Account)
	byPair := generations.Mix(byAccount, a.Password)
	at, seen := d.counted.At(byPair)
	if a.Right {
		// The same account counts again after a while: customers come back.
		// Faster, it would let an attacker with one account pay off the score,
		// also where the application takes several spellings of its password.
		if a.Account != 0 {
			if !seen {
				*at = s.now
			}
			at, seen = d.counted.At(generations.Mix(byAccount, anyPassword))
		}
		if seen && s.now < *at+vouchWindow {
			return signal, true
		}
		*at = s.now
		d.succeed(e, s)
		return signal, false
	}
	if seen {
		return signal, true
	}
	if s.outage {
		signal.Veto = d.vetoIfOver(e, VetoOutage)
		return signal, false
	}
	t, _ := d.tries.At(byAccount)
	*t = max(*t+1, *t)
	tries := int(*t)
	d.fail(e, s, tries)

	few := e.accounts < minAccounts
	signal.Cracking = few && tries >= minTries
	if float64(e.score) < d.threshold || few && !signal.Cracking || e.network && !s.several {
		return signal, false
	}
	switch {
	case e.share() > d.cfg.KnownGoodShare:
		signal.Veto = VetoKnownGood
	case a.Stratum.unanchored() && d.good == 0:
		signal.Veto = VetoUnanchored
	default:
		signal.Guilty = true
	}
	return signal, false
}

func (d *Detector) vetoIfOver(e *entity, v Veto) Veto {
	if float64(e.score) < d.threshold {
		return VetoNone
	}
	return v
}

func (d *Detector) fail(e *entity, s *step, tries int) {
	e.bad++
	if tries == 1 {
		e.accounts++
	}
	if !e.network {
		g := e.gift()
		g.pending = min(g.pending+1, maxPending)
		e.setGift(g)
	}
	term := failureTerm(s.p0) * tryWeight(tries)
	e.score = float32(min(float64(e.score)+term, 2*d.threshold))
	dossier := d.dossiers.open(e.key())
	e.noted = true
	if dossier.attempts == 0 {
		dossier.first = s.attempt.Time
	}
	dossier.note(s.attempt.Event, s.attempt.Time)
	dossier.failures++
	dossier.failed += term
	dossier.baseline = s.p0
}

func (d *Detector) succeed(e *entity, s *step) {
	e.good++
	if !e.network {
		d.good = d.good*decay(d.goodAt, s.now) + 1
		d.goodAt = max(d.goodAt, s.now)
	}
	term := successTerm(s.p0)
	e.score = float32(max(float64(e.score)+term, 0))
	if e.score == 0 && !e.pinned {
		d.closeDossier(e)
		return
	}
	if dossier := d.dossier(e); dossier != nil {
		dossier.note(s.attempt.Event, s.attempt.Time)
		dossier.successes++
		dossier.succeeded += term
		dossier.baseline = s.p0
	}
}

// vouch lets a client known to be good tell how it fares at an endpoint. Known
// good are clients with several successes and clearly fewer failures; each
// tells once in a while.
func (d *Detector) vouch(e *entity, s *Stratum, failed bool, now uint32) {
	good := e.good >= 1.5 && e.bad <= e.good/2 && float64(e.score) < d.threshold/4
	if !good || e.vouched() != 0 && now < e.vouched()+vouchWindow {
		return
	}
	e.setVouched(now)
	s.guard.vouch(now, failed)
}

// contribute gives a success and the failures before it to the baseline.
func (d *Detector) contribute(e *entity, s *Stratum, now uint32) {
	g := e.gift()
	failures := int(g.pending)
	g.pending = 0
	if day := uint16(now / 86400); day != g.day {
		g.day, g.given = day, 0
	}
	suspect := e.pinned || e.strikes > 0 || float64(e.score) > d.threshold/2
	if suspect || int(g.given)+failures >= maxGiven {
		e.setGift(g)
		return
	}
	g.given += uint8(failures + 1)
	e.setGift(g)
	s.learned.add(failures)
	d.site.add(failures)
}

// Begin says that a verdict against a subject has been made: until End it is
// not forgotten. It returns how often the subject had been convicted before;
// that is forgotten a day after its last verdict's end.
func (d *Detector) Begin(subject netip.Prefix, time int64) (strikes int) {
	e := d.entities.find(subjectKey(subject))
	if e == nil {
		return 0
	}
	if e.strikes > 0 && seconds(time) > e.struck+uint32(halfLife.Seconds()) {
		e.strikes = 0
	}
	strikes = int(e.strikes)
	e.strikes = max(e.strikes, min(e.strikes+1, 32))
	e.pinned = true
	return strikes
}

// Restore says that a verdict against a subject, made by an earlier run, stands:
// its conviction was the strikes-th.
func (d *Detector) Restore(subject netip.Prefix, strikes int, time int64) {
	e := d.entities.get(subjectKey(subject), seconds(time), nil)
	e.strikes = uint8(min(max(strikes, 1), 32))
	e.pinned = true
}

// End says that a subject's verdict has run out. What is left of the score
// takes several more failures to convict again: the address may be somebody
// else's by now.
func (d *Detector) End(subject netip.Prefix, time int64) {
	e := d.entities.find(subjectKey(subject))
	if e == nil {
		return
	}
	e.decay(seconds(time))
	e.pinned = false
	e.struck = seconds(time)
	e.score = min(e.score, float32(d.threshold/2))
	d.closeDossier(e)
}

// Pardon says that a subject's verdict was lifted: it starts anew, and so do
// the network it is in and the addresses in it.
func (d *Detector) Pardon(subject netip.Prefix, time int64) {
	now := seconds(time)
	if e := d.entities.find(subjectKey(subject)); e != nil {
		d.reset(e)
		e.last = max(e.last, now)
		if e.network {
			d.pardoned[e.key()] = max(now, 1)
		}
	}
	if a := subject.Addr(); a.Is6() && subject.IsSingleIP() {
		if e := d.entities.find(networkKey(a)); e != nil && !e.pinned {
			d.reset(e)
		}
	}
}

func (d *Detector) reset(e *entity) {
	d.closeDossier(e)
	*e = entity{address: e.address, network: e.network, good: e.good, last: e.last}
}

// pardonedAt is when a network was pardoned, or less than any time.
func (d *Detector) pardonedAt(network *entity) int64 {
	if at, ok := d.pardoned[network.key()]; ok {
		return int64(at)
	}
	return -1
}

// dossier returns an entity's dossier; nil if it has none.
func (d *Detector) dossier(e *entity) *dossier {
	if !e.noted {
		return nil
	}
	return d.dossiers.find(e.key())
}

func (d *Detector) closeDossier(e *entity) {
	if e.noted {
		d.dossiers.close(e.key())
		e.noted = false
	}
}

// forget drops what is known of an entity elsewhere.
func (d *Detector) forget(e *entity) {
	d.closeDossier(e)
	delete(d.pardoned, e.key())
}

// Stats are a Detector's books.
type Stats struct {
	Entities         int // held now
	EntityEvictions  uint64
	DossierEvictions uint64
}

// Stats returns the books as they stand.
func (d *Detector) Stats() Stats {
	return Stats{Entities: d.entities.count, EntityEvictions: d.entities.evictions, DossierEvictions: d.dossiers.evictions}
}
