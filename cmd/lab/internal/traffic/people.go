package traffic

import (
	"math/rand/v2"
	"net/netip"
)

// plans are how visits go: their probabilities make the share of failures that
// a world has.
type plans struct {
	typo, forgot, stale float64 // probabilities; else all goes well
	attempts            float64 // per visit, on average
}

// Failures per visit of each kind, on average: see people.plan.
const (
	typoFailures   = 1.25
	forgotFailures = 4.0
	staleFailures  = 5.0
	forgotMends    = 0.5 // share of those who come in at last
)

// newPlans divides failures among typing errors, forgotten passwords, and
// programs that repeat a password that is right no more. The more fail, the
// more of that is programs.
func newPlans(r *rand.Rand, failing float64) plans {
	perSuccess := failing / (1 - failing)
	repeat := between(r, 0.1, 0.25) + failing*0.6
	forget := between(r, 0.1, 0.3) * (1 - repeat)
	mistype := 1 - repeat - forget
	typo := mistype * perSuccess / typoFailures
	forgot := forget * perSuccess / forgotFailures
	stale := repeat * perSuccess / staleFailures
	well := max(1-typo-forgotMends*forgot, 0.05)
	visits := well + typo + forgot + stale
	return plans{
		typo: typo / visits, forgot: forgot / visits, stale: stale / visits,
		attempts: (perSuccess + 1) / visits,
	}
}

// people are the customers: visits at random times, at the rhythm of the day.
type people struct {
	w     *world
	rand  *rand.Rand
	clock int64
	stop  int64

	speed   func(now int64) float64 // times the usual rate; nil: 1
	failing func(now int64) float64 // times the usual probability to forget; nil: 1
	down    func(now int64) answer  // what becomes of right passwords; nil: they are accepted
	release func(account uint64, now int64, s *software) *software
	stuck   func(account uint64, now int64) bool // its app repeats a stale password
}

func newPeople(w *world, stop int64) *people {
	p := &people{w: w, rand: rand.New(rand.NewPCG(w.seed, 3)), clock: w.start, stop: stop}
	p.advance()
	return p
}

func (p *people) next() int64 { return p.clock }

func (p *people) advance() {
	rate := p.w.rate * p.w.intensity(p.clock) / p.w.plans.attempts
	if p.speed != nil {
		rate *= p.speed(p.clock)
	}
	p.clock += int64(p.rand.ExpFloat64()/rate*1e9) + 1
	if p.clock >= p.stop {
		p.clock = never
	}
}

func (p *people) spawn(v *visit) {
	now, how := p.clock, p.mood(p.clock)
	account := p.w.visitor(p.rand)
	if how == stale { // it is always the same who never mend it
		account = p.w.order.at(p.rand.Uint64N(max(p.w.accounts*staleAccounts/100, 1)))
	}
	s, e := p.w.habits(account)
	if p.release != nil {
		s = p.release(account, now, s)
	}
	v.software, v.endpoint, v.account = s, e, account
	v.user, v.client = p.w.user(account), p.w.place(p.rand, account, e.channel, now)
	p.plan(v, now, how)
	p.advance()
}

// mood is how a visit goes.
type mood uint8

const (
	well   mood = iota
	typo        // somebody mistypes
	forgot      // somebody has forgotten the password
	stale       // a program repeats a password that is right no more
)

// staleAccounts is the share of accounts, per cent, with such a program.
const staleAccounts = 3

// mood draws how a visit at a time goes.
func (p *people) mood(now int64) mood {
	drift := p.w.wander.at(now)
	forget := drift
	if p.failing != nil {
		forget *= p.failing(now)
	}
	x, pl := p.rand.Float64(), &p.w.plans
	switch {
	case x < pl.forgot*forget:
		return forgot
	case x < pl.forgot*forget+pl.stale*drift:
		return stale
	case x < pl.forgot*forget+(pl.stale+pl.typo)*drift:
		return typo
	}
	return well
}

// plan makes the steps of a visit.
func (p *people) plan(v *visit, now int64, how mood) {
	r, w := p.rand, p.w
	at := v.begin(r, now)
	right := w.right(v.account)
	mended := true
	switch {
	case p.stuck != nil && p.stuck(v.account, now):
		password, gap := mix(v.account, ofStale), int64(between(r, 1e9, 5e9))
		for range 40 + r.IntN(400) {
			at = v.login(r, at, password, v.user, answerWrong)
			at += gap
		}
		mended = false
	case how == forgot:
		mended = p.forgotten(v, &at)
	case how == stale:
		password := mix(v.account, ofStale)
		for k := range 2 + r.IntN(7) { // 5 on average
			at = v.login(r, at, password, v.user, w.refusal(k))
			at += int64(between(r, 2e9, 40e9))
		}
		mended = false
	case how == typo:
		for more := true; more; more = r.Float64() < 0.2 { // 1.25 on average
			if r.Float64() < 0.12 { // the name, not the password
				at = v.login(r, at, right, w.stranger(r.Uint64()), answerUnknown)
			} else {
				at = v.login(r, at, r.Uint64(), v.user, answerWrong)
			}
			at += int64(between(r, 4e9, 15e9))
		}
	}
	for more := mended; more; {
		in := answerOK
		if v.endpoint.channel == mobile && w.factor > 0 && unit(mix(v.serial, ofFactor)) < w.factor {
			in = answerFactor
		}
		done := v.login(r, at, right, v.user, in)
		if p.answer(at) == answerOK {
			if in == answerFactor {
				done = v.add(r, done+int64(between(r, 6e9, 25e9)), step{call: callVerify})
			}
			v.after(r, done, w.calls, 0.12)
			break
		}
		more = r.Float64() < 0.6 // tries again
		at = done + int64(between(r, 5e9, 60e9))
	}
	for i := range v.steps {
		if t := &v.steps[i]; t.call == callLogin && p.answer(t.start) != answerOK {
			t.answer = p.answer(t.start)
			t.down = true
		}
	}
}

// answer is how the bank answers a right password at a time.
func (p *people) answer(now int64) answer {
	if p.down == nil {
		return answerOK
	}
	return p.down(now)
}

// refusal is how the k-th wrong password of a visit is answered, from 0 on.
func (w *world) refusal(k int) answer {
	if w.lockAfter > 0 && k >= w.lockAfter {
		return answerLocked
	}
	return answerWrong
}

// forgotten is somebody who tries what comes to mind, and may have a new
// password sent then.
func (p *people) forgotten(v *visit, at *int64) (mended bool) {
	for k := range 2 + p.rand.IntN(5) { // 4 on average
		*at = v.login(p.rand, *at, p.rand.Uint64(), v.user, p.w.refusal(k))
		*at += int64(between(p.rand, 5e9, 30e9))
	}
	*at += int64(between(p.rand, 30e9, 180e9))
	return p.rand.Float64() < forgotMends
}

// visit is what one client does: steps one after the other.
type visit struct {
	due    int64 // end of the step at hand
	serial uint64
	steps  []step
	at     int

	software *software
	endpoint *endpoint
	account  uint64
	user     uint64
	client   netip.Addr
	token    uint64
	attack   bool
	unknown  bool // no account of the bank's
	dead     bool // it was refused: what needs a session does not happen
}

// step is one request.
type step struct {
	start, end     int64
	user, password uint64
	call           call
	answer         answer
	session        bool // presents the session
	down           bool // nobody's password is right now
}

// MaxDuration is the longest that a request takes to be answered, ns.
const MaxDuration = 400e6

func (v *visit) add(r *rand.Rand, at int64, s step) int64 {
	s.start = at
	s.end = at + int64(min(15e6+r.ExpFloat64()*40e6, MaxDuration))
	v.steps = append(v.steps, s)
	return s.end
}

// begin makes the calls before a login and returns when the login follows.
func (v *visit) begin(r *rand.Rand, now int64) int64 {
	switch v.endpoint.channel {
	case mobile:
		if v.software.bootstrap > 0 {
			now = v.add(r, now, step{call: callBootstrap}) + 30e6
		}
		if v.software.bootstrap > 1 {
			now = v.add(r, now, step{call: callRegister}) + 30e6
		}
		return now + int64(between(r, 1e9, 12e9))
	case web:
		if r.Float64() < 0.2 {
			now = v.add(r, now, step{call: callHome}) + 20e6
		}
		now = v.add(r, now, step{call: callBootstrap})
		return now + int64(between(r, 4e9, 25e9))
	}
	return now
}

func (v *visit) login(r *rand.Rand, at int64, password, user uint64, a answer) int64 {
	return v.add(r, at, step{call: callLogin, user: user, password: password, answer: a})
}

// after makes the calls of somebody who has come in.
func (v *visit) after(r *rand.Rand, at int64, calls, transfers float64) {
	if v.endpoint.channel == ofx {
		return // a request is a login and what it asks for
	}
	v.token = r.Uint64()
	at = v.add(r, at+200e6, step{call: callAccounts, session: true})
	for more := calls - 1; more > 0 && r.Float64() < more; more-- {
		c := callBalance
		if v.endpoint.channel == web {
			c = callAccounts
		}
		at = v.add(r, at+int64(between(r, 0.2e9, 5e9)), step{call: c, session: true})
	}
	if r.Float64() < transfers {
		at = v.add(r, at+int64(between(r, 10e9, 90e9)), step{call: callTransfer, session: true})
	}
	switch x := r.Float64(); {
	case x < 0.15:
		v.add(r, at+int64(between(r, 5e9, 60e9)), step{call: callLogout, session: true})
	case x < 0.25 && v.endpoint.channel == mobile: // the session runs out, and the app renews it
		at = v.add(r, at+int64(between(r, 600e9, 900e9)), step{call: callRefresh, session: true})
		v.add(r, at+20e6, step{call: callBalance, session: true})
	}
}
