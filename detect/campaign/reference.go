package campaign

import "math"

// bins is the resolution of a reference: shares of failures in steps of 2 %.
const bins = 50

// Endpoint is what is known of one login endpoint. The zero value is ready.
type Endpoint struct {
	reference reference
	chart     chart
	flows     flows
	campaign  *Campaign // that its chart belongs to
	broken    bool      // its last windows say that it is out of order
	active    uint32    // number of the last window in which something was tried, plus 1
	name      string    // as it was called then
	terms     terms     // of the share of failures that was last held honest
	attacked  attacked  // by what a predicate last stopped here
}

// attacked says that a campaign, by its number, has the endpoint by its name.
type attacked struct {
	serial int
	name   string
}

// reference is how often logins fail where nobody attacks.
//
// It is the share in the least-attacked cells (Herley & Schechter, NDSS 2019):
// each login that is right adds its cell's share of failures to a histogram,
// of which the median counts. Right passwords come from customers, so that
// cells full of an attacker's failures weigh nothing, however many they are.
type reference struct {
	shares [bins]float32
	total  float32
	at     uint32
	middle uint8 // the bin of the median, from 1 on; 0: to be looked for
}

// memory is the half-life of a reference, s.
const memory = 2 * 3600

// learn adds the share of failures of a cell that a right login is in.
func (r *reference) learn(share float32, now uint32) {
	if r.total == 0 {
		r.at = now
	}
	if r.total > forgetAbove && now > r.at+memory/8 {
		f := float32(math.Exp2(-float64(now-r.at) / memory))
		r.total = 0
		for i := range r.shares {
			r.shares[i] *= f
			r.total += r.shares[i]
		}
		r.at = now
	}
	r.shares[min(int(share*bins), bins-1)]++
	r.total++
	r.middle = 0
}

// forgetAbove is how many logins a reference keeps whatever their age.
const forgetAbove = 200

// share is the median, drawn to an expectation by priorWeight logins.
func (r *reference) share(expected float64) float64 {
	median := expected
	if r.middle == 0 {
		r.middle = r.bin()
	}
	if r.middle > 0 {
		median = (float64(r.middle) - 0.5) / bins
	}
	w := float64(r.total) / (float64(r.total) + priorWeight)
	return w*median + (1-w)*expected
}

// bin is that of the median, from 1 on; 0: there is none.
func (r *reference) bin() uint8 {
	var sum float32
	for i, n := range r.shares {
		if sum += n; sum > 0 && sum >= r.total/2 {
			return uint8(i + 1)
		}
	}
	return 0
}

// priorWeight is how many logins the expectation is worth.
const priorWeight = 40
