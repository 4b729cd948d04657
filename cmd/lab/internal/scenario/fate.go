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
	before            int       // requests that came before it was stopped
	after, leaked     int       // requests after it, and those of them that were answered
	flaps             int       // refused, then answered again
	stopped           time.Time // its own verdict was in force, or one about its program refused it; zero: never
}

// share of the requests since it was stopped that were refused, percent.
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
			f = &fate{stopped: r.observer.verdictOn(e.Client)}
			fates[e.Client] = f
		}
		if e.Refused() && (f.stopped.IsZero() || e.Time.Before(f.stopped)) {
			f.stopped = e.Time
		}
		f.requests++
		switch after := !f.stopped.IsZero() && e.Time.After(f.stopped.Add(grace)); {
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
	addresses, stopped, idle int // idle: no request since
	refused, flaps           int
	lowest, median           float64 // share refused since, percent
	judged                   int     // addresses that have such a share
}

func summarise(fates map[netip.Addr]*fate) (s summary) {
	s.addresses = len(fates)
	var shares []float64
	for _, f := range fates {
		s.refused += f.refused
		s.flaps += f.flaps
		switch {
		case f.stopped.IsZero():
			continue
		case f.after == 0:
			s.idle++
		default:
			shares = append(shares, f.share())
		}
		s.stopped++
	}
	slices.Sort(shares)
	if s.judged = len(shares); s.judged > 0 {
		s.lowest, s.median = shares[0], shares[len(shares)/2]
	}
	return s
}
