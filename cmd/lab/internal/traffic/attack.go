package traffic

import (
	"math/rand/v2"
	"net/netip"
)

// level is how far an attacker goes to look like a customer: the adversary ladder.
type level uint8

const (
	levelTool     level = iota + 1 // A1: the tool's own requests
	levelCopy                      // A2: an imperfect copy of the app, without the calls that it makes before a login
	levelMimic                     // A3: a perfect copy with them, at a person's pace
	levelKnown                     // A4: A3 with names that exist only
	levelNear                      // A5: A4 from addresses of the customers' own providers
	levelInfected                  // A6: A4 from the customers' own households
)

// attack is credential stuffing or spraying.
type attack struct {
	w     *world
	rand  *rand.Rand
	level level
	clock int64
	stop  int64
	begun int64
	ramp  int64
	rate  func(now int64) float64 // attempts a second
	count uint64

	pool    *pool
	reuse   bool        // addresses are used again and again, else once each
	tools   []*software // in use at first
	later   []*software // in use after shift
	shift   int64
	targets []*endpoint
	share   []float64 // cumulative, of targets

	known float64 // share of names that exist
	valid float64 // share of attempts whose password is right
	order permutation
	drain float64 // share of accounts come into from which money is sent

	spray bool // one password for all

	from netip.Addr             // where all of it comes from; else the pool
	down func(now int64) answer // what becomes of right passwords; nil: they are accepted
}

// newAttack draws an attack of a level that begins and ends at given times.
func newAttack(w *world, l level, begin, stop int64) *attack {
	r := rand.New(rand.NewPCG(w.seed, 4))
	a := &attack{w: w, rand: r, level: l, clock: begin, begun: begin, stop: stop, ramp: int64(between(r, 0, 60e9)), shift: never}
	a.known, a.valid = between(r, 0.08, 0.12), logBetween(r, 0.001, 0.01)
	if l >= levelKnown {
		a.known, a.valid = 1, logBetween(r, 0.005, 0.02)
	}
	a.order = newPermutation(w.accounts, r.Uint64())
	a.drain = between(r, 0.1, 0.5)
	from := mobile
	if r.Float64() < 0.2 {
		from = web
	}
	a.targets = w.byChannel[from]
	if n := len(a.targets); n > 1 && r.Float64() < 0.5 { // some of them only
		first := r.IntN(n)
		a.targets = a.targets[first : first+1+r.IntN(n-first)]
	}
	even := r.Float64() < 0.5
	a.share = cumulate(len(a.targets), func(i int) float64 {
		if even {
			return 1
		}
		return a.targets[i].weight
	})
	a.tools = a.outfit(from)
	if l <= levelCopy && r.Float64() < 0.3 { // it changes its tools midway
		a.later, a.shift = a.outfit(from), begin+int64(between(r, 0.3, 0.7)*float64(stop-begin))
	}
	a.pool = newPool(r, &w.net, 1<<20, 1)
	return a
}

// outfit draws the programs that an attack uses.
func (a *attack) outfit(c channel) []*software {
	models, r := a.w.software[c], a.rand
	share := a.w.softShare[c]
	model := func() *software { return models[weighted(share, r.Float64())] } // the more have it, the more likely
	var list []*software
	switch a.level {
	case levelTool:
		for range 1 + r.IntN(3) {
			list = append(list, strange(models, func() *software { return tool(r, model()) }))
		}
	case levelCopy:
		for range 1 + r.IntN(2) {
			list = append(list, strange(models, func() *software { return imperfect(r, model()) }))
		}
	default:
		for range 1 + r.IntN(4) {
			list = append(list, perfect(model()))
		}
	}
	return list
}

func (a *attack) next() int64 { return a.clock }

func (a *attack) advance() {
	rate := a.rate(a.clock)
	if since := a.clock - a.begun; since < a.ramp {
		rate *= max(float64(since)/float64(a.ramp), 0.05)
	}
	a.clock += int64(a.rand.ExpFloat64()/rate*1e9) + 1
	if a.clock >= a.stop {
		a.clock = never
	}
}

func (a *attack) spawn(v *visit) {
	now, r, w := a.clock, a.rand, a.w
	number := a.count
	a.count++
	tools := a.tools
	if now >= a.shift {
		tools = a.later
	}
	v.attack = true
	v.software = pick(r, tools)
	v.endpoint = a.targets[weighted(a.share, r.Float64())]
	v.unknown = r.Float64() >= a.known
	v.account = a.order.at(number % w.accounts)
	v.client = a.address(v.account, number)
	result := answerWrong
	v.user = w.user(v.account)
	password := r.Uint64()
	switch {
	case v.unknown:
		v.user, result = w.stranger(number<<1|1<<63), answerUnknown
	case r.Float64() < a.valid/a.known:
		password, result = w.right(v.account), answerOK
	}
	if a.spray {
		password = popularPassword(0)
		if !v.unknown {
			result = answerWrong
			if w.right(v.account) == password {
				result = answerOK
			}
		}
	}
	at := now
	if a.level >= levelMimic {
		at = v.begin(r, now)
	}
	down := answerOK
	if a.down != nil {
		down = a.down(at)
	}
	if down != answerOK {
		result = down
	}
	if result == answerOK && w.factor > 0 && v.endpoint.channel == mobile {
		result = answerFactor // the device is not known: here it ends
	}
	at = v.login(r, at, password, v.user, result)
	v.steps[len(v.steps)-1].down = down != answerOK
	if result == answerOK {
		v.token = r.Uint64()
		if v.endpoint.channel != ofx {
			at = v.add(r, at+int64(between(r, 0.1e9, 2e9)), step{call: callAccounts, session: true})
			if r.Float64() < a.drain {
				v.add(r, at+int64(between(r, 1e9, 40e9)), step{call: callTransfer, session: true})
			}
		}
	}
	a.advance()
}

// address is where an attempt comes from.
func (a *attack) address(account, number uint64) netip.Addr {
	switch {
	case a.from.IsValid():
		return a.from
	case a.level == levelNear:
		return a.pool.near(account, number)
	case a.level == levelInfected:
		return a.w.net.home(account, a.rand.Uint64())
	case a.reuse:
		return a.pool.at(a.rand.Uint64() % a.pool.size)
	}
	return a.pool.at(number)
}
