package sequential

import (
	"net/netip"
	"time"
)

const (
	// priorWeight is how many logins the expectation is worth against what has
	// been seen.
	priorWeight = 40
	// maxPending is how many failures before a success are counted for the
	// baseline, maxGiven how many outcomes of one client in a day: nobody makes
	// the baseline alone.
	maxPending, maxGiven = 4, 8
	// anchorOutcomes is how many outcomes fix the reference of a stratum, from
	// which its baseline drifts by at most maxDrift a week, so that a slow ramp
	// of failures does not train it.
	anchorOutcomes = 1000
	maxDrift       = 0.05
	// maxOutcomes bounds the memory of a baseline: beyond it old outcomes lose
	// half their weight.
	maxOutcomes = 20000
)

// rate is a share of failures, learned.
type rate struct{ failures, outcomes float64 }

func (r *rate) add(failures int) {
	r.failures += float64(failures)
	r.outcomes += float64(failures + 1)
	if r.outcomes > maxOutcomes {
		r.failures /= 2
		r.outcomes /= 2
	}
}

// shrunk is the share, drawn to an expectation by priorWeight.
func (r *rate) shrunk(expected float64) float64 {
	return (r.failures + expected*priorWeight) / (r.outcomes + priorWeight)
}

// Stratum is what the test knows of one login endpoint: how often honest
// clients fail there, and whether it works at all. The zero value is ready.
type Stratum struct {
	learned   rate
	reference float64 // baseline when it was anchored, at anchoredAt; 0 before
	anchored  uint32

	accepted bool          // a login has succeeded here
	failing  [3]netip.Addr // the first clients that failed here
	guard    guard
}

// baseline is p0 of the stratum, given what is expected of the site.
func (s *Stratum) baseline(site float64, now uint32) float64 {
	p := s.learned.shrunk(site)
	if s.learned.outcomes >= anchorOutcomes && s.reference == 0 {
		s.reference, s.anchored = p, now
	}
	if s.reference != 0 {
		week := float64(max(now, s.anchored)-s.anchored) / (7 * 24 * time.Hour).Seconds()
		p = min(max(p, s.reference*(1-maxDrift*week)), s.reference*(1+maxDrift*week))
	}
	return min(max(p, minBaseline), maxBaseline)
}

// unanchored reports whether no login has ever succeeded here although
// several clients tried. Where none has succeeded anywhere, that is an
// application that is down, as likely as an attack.
func (s *Stratum) unanchored() bool {
	return !s.accepted && s.failing[len(s.failing)-1].IsValid()
}

func (s *Stratum) failed(client netip.Addr) {
	if s.accepted {
		return
	}
	for i, a := range s.failing {
		if a == client {
			return
		}
		if !a.IsValid() {
			s.failing[i] = client
			return
		}
	}
}
