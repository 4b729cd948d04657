package campaign

import (
	"math"
	"math/bits"
	"net/netip"
)

const (
	// attackFailure is the share of an attacker's logins that fail: of stolen
	// passwords one or two in a hundred are still right.
	attackFailure = 0.97
	// slack is by how much a customer's software may fail oftener, as odds, than
	// the median does.
	slack = 1.5
	// minBaseline and maxBaseline bound what honest logins are held capable of.
	minBaseline, maxBaseline = 0.02, 0.8
	// looks a year at a cell are discounted by this in advance.
	multiplicity = 1e5
)

func threshold(falseAlarm float64) float64 { return math.Log(multiplicity / falseAlarm) }

// baseline is the share of failures that is held honest at an endpoint: that
// of the least attacked there, with slack.
func (d *Detector) baseline(r *reference) float64 {
	p := r.share(d.everywhere.share(d.cfg.Baseline))
	odds := slack * p / (1 - p)
	return min(max(odds/(1+odds), minBaseline), maxBaseline)
}

// terms are the log-likelihood ratios of attack against customers that one wrong and
// one right attempt add, where customers fail with the probability p0.
type terms struct{ p0, wrong, right float64 }

func termsOf(p0 float64) terms {
	return terms{p0, math.Log(attackFailure / p0), math.Log((1 - attackFailure) / (1 - p0))}
}

// score is the log-likelihood ratio of attack against customers, of the
// horizon where it is highest, and its addends.
func (c *cell) score(of terms) (score, wrong, right float64) {
	for i := range c.windows {
		w, r := float64(c.windows[i].wrong)*of.wrong, float64(c.windows[i].right)*of.right
		if i == 0 || w+r > score {
			score, wrong, right = w+r, w, r
		}
	}
	return score, wrong, right
}

// judge says whether a wrong attempt is part of a campaign that a predicate
// can stop. Of the cells that convict it takes the one with the most wrong
// attempts, of equals the plainest.
func (d *Detector) judge(a *Attempt, now uint32, r *Result) {
	sprayed := r.Campaign == nil && d.sprays.failed(a.Password, a.Account)
	of := &a.At.terms
	if p0 := d.baseline(&a.At.reference); p0 != of.p0 {
		*of = termsOf(p0)
	}
	var best *cell
	for _, c := range d.at {
		if c == nil || !c.several() && (a.Held || !c.fromFew()) {
			continue
		}
		if best != nil && !better(c, best) {
			continue
		}
		if score, _, _ := c.score(*of); score < d.threshold {
			continue
		}
		if !d.affordable(c, now) {
			d.stats.OverBudget++
			r.Pending = r.Pending || c.several() && !c.values.Client.IsValid() && d.site.right < fewRight && now < seconds(c.since)+patience
			continue
		}
		best = c
	}
	if best == nil {
		if sprayed {
			d.sprayed(a, r)
		}
		return
	}
	if best.campaign == nil {
		since := best.since
		if r.Campaign = d.convict(best, a, of.p0); r.Campaign == nil {
			return
		}
		for l := range d.recent.since(since) {
			if l.keys[best.kind] == best.key {
				r.Hits = append(r.Hits, d.hit(r.Campaign, l.account, l.user, l.time, certain))
			}
		}
	} else {
		r.Campaign = best.campaign
	}
	best.acted = now
	if by := (attacked{r.Campaign.serial, a.Name}); by != a.At.attacked {
		a.At.attacked = by
		r.Campaign.attacks(a.Name)
	}
	r.Guilty, r.Subject, r.Price = true, best.values, d.price(best)
	r.PerMinute = float64(best.windows[1].wrong) * math.Ln2 / horizons[1] * 60
	if r.Subject.Client.IsValid() {
		return
	}
	r.Subject.Endpoint = a.Name
	if !best.several() {
		r.Subject.Client = client(a.Client)
	}
}

// client is an address, of IPv6 the /64.
func client(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() && !a.Is4In6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// better prefers the cell with more wrong attempts, of equals the plainer one;
// one that was convicted gives way only to twice as many.
func better(a, b *cell) bool {
	x, y := a.weight(), b.weight()
	if x != y {
		return x > y
	}
	return bits.OnesCount8(members[a.kind]) < bits.OnesCount8(members[b.kind])
}

func (c *cell) weight() float32 {
	w := c.windows[len(horizons)-1].wrong
	if c.campaign != nil {
		w *= 2
	}
	return w
}

// Trust in what only customers do: the share of right logins that must do it
// before it counts as their mark.
const (
	minKnown    = 0.2
	minPrepared = 0.3
	minTrust    = 100 // right logins
	// unseen is what stands for a customer that was not seen: the next login
	// that comes may be one.
	unseen = 0.5
	// stolen is the share of an attacker's attempts that may be right.
	stolen = 0.03
)

// customers estimates how many of a cell's attempts of a day are customers':
// from those that only customers make, pairs of account and network that are
// known or, before there is a history, clients that asked for something else
// before; but at least as many as are right beyond what a list of stolen
// passwords gives.
func (d *Detector) customers(c *cell) float64 {
	right := max(float64(c.right)-stolen*float64(c.attempts), 0) + unseen
	s := &d.site
	if s.right < minTrust {
		return right
	}
	if share := s.known / s.right; share >= minKnown {
		return max(right, (float64(c.known)+unseen)/share)
	}
	if share := s.prepared / s.right; share >= minPrepared {
		return max(right, (float64(c.prepared)+unseen)/share)
	}
	return right
}

// price is what a predicate is expected to hit, of a million legitimate
// logins.
func (d *Detector) price(c *cell) float64 {
	return 1e6 * d.customers(c) / max(d.site.right, 1)
}

const (
	// patience is how long what is clearly an attack is not held against single
	// addresses, s, while too little has been seen to tell what a predicate costs:
	// customers may share them, and of them least is known.
	patience = 120
	// badToGood is how many wrong attempts there must be for each of a
	// customer's.
	badToGood = 20
	// fewRight is how many right logins must have been seen before anything is
	// decided.
	fewRight = 200
	// inForce is how long a predicate counts as in force after an attempt was
	// last held against it, s.
	inForce = 600
)

// affordable reports whether a predicate is within the budget, together with
// those in force. Until so many logins have been seen that one hit would be
// within it, there must be none.
func (d *Detector) affordable(c *cell, now uint32) bool {
	if d.site.right < fewRight {
		return false
	}
	customers := d.customers(c)
	if float64(c.attempts)-customers < badToGood*customers {
		return false
	}
	price := d.price(c)
	least := d.price(&cell{}) // of one that no customer was seen in
	spent := d.spending(now, least)
	if c.campaign != nil && price <= d.cfg.Budget {
		spent -= price - least
	}
	if price+max(spent, 0) <= d.cfg.Budget {
		return true
	}
	return least > d.cfg.Budget/4 && d.price(c) <= least
}

// spending is what the predicates in force cost beyond the least, reckoned once
// a second.
func (d *Detector) spending(now uint32, least float64) float64 {
	if d.spentAt == now {
		return d.spent
	}
	d.spent, d.spentAt = 0, now
	for _, o := range d.open {
		for _, held := range o.cells {
			// What has become too dear is not renewed, and ends.
			if p := d.price(held); p <= d.cfg.Budget {
				d.spent += p - least
			}
		}
	}
	return d.spent
}

// Why is the numbers behind a campaign's first predicate.
type Why struct {
	Score, Threshold, Baseline float64
	WrongTerm, RightTerm       float64 // addends of the score
	Attempts, Right            float64 // of about a day
	Customers                  float64 // of them, expected at most
}

func (d *Detector) why(c *cell, p0 float64) Why {
	w := Why{Threshold: d.threshold, Baseline: p0, Attempts: float64(c.attempts), Right: float64(c.right), Customers: d.customers(c)}
	w.Score, w.WrongTerm, w.RightTerm = c.score(termsOf(p0))
	return w
}
