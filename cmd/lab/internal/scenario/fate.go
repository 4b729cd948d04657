package scenario

import (
	"net/netip"
	"slices"
	"time"

	"offpath/cmd/lab/internal/balancer"
)

// grace is what a request gets that was under way when the load balancer
// confirmed the verdict.
const grace = 100 * time.Millisecond

// fate is what became of one attacking address.
type fate struct {
	requests, refused int
	before            int       // requests that came before its verdict
	after, leaked     int       // requests after it, and those of them that were answered
	flaps             int       // refused, then answered again
	verdict           time.Time // in force; zero: never
}

// share of the requests after its verdict that were refused, percent.
func (f fate) share() float64 { return 100 * float64(f.after-f.leaked) / float64(f.after) }

// fates sorts the attack by address.
func (r *result) fates() map[netip.Addr]*fate {
	r.observer.mu.Lock()
	defer r.observer.mu.Unlock()
	slices.SortStableFunc(r.attack, func(a, b balancer.Entry) int { return a.Time.Compare(b.Time) })
	fates := map[netip.Addr]*fate{}
	for _, e := range r.attack {
		f := fates[e.Client]
		if f == nil {
			f = &fate{verdict: r.observer.verdictOn(e.Client)}
			fates[e.Client] = f
		}
		f.requests++
		switch after := !f.verdict.IsZero() && e.Time.After(f.verdict.Add(grace)); {
		case e.Refused():
			f.refused++
			if after {
				f.after++
			}
		case after:
			f.after++
			f.leaked++
			if f.refused > 0 {
				f.flaps++
			}
		default:
			f.before++
		}
	}
	return fates
}

// summary is the fates of all attacking addresses together.
type summary struct {
	addresses, convicted, idle int // idle: no request after the verdict
	refused, flaps             int
	lowest, median             float64 // share refused after the own verdict, percent
	judged                     int     // addresses that have such a share
}

func summarise(fates map[netip.Addr]*fate) (s summary) {
	s.addresses = len(fates)
	var shares []float64
	for _, f := range fates {
		s.refused += f.refused
		s.flaps += f.flaps
		switch {
		case f.verdict.IsZero():
			continue
		case f.after == 0:
			s.idle++
		default:
			shares = append(shares, f.share())
		}
		s.convicted++
	}
	slices.Sort(shares)
	if s.judged = len(shares); s.judged > 0 {
		s.lowest, s.median = shares[0], shares[len(shares)/2]
	}
	return s
}
