package sequential

import (
	"net/netip"

	"offpath/detect"
)

// Evidence is what was compared for one subject.
type Evidence struct {
	Score, Threshold, Baseline float64
	// Terms add up to Score: failures, successes, and what half-life, floor
	// and ceiling made of them.
	Terms               []detect.Term
	Failures, Successes int      // counted since the score left 0
	Accounts            int      // of which a login failed
	First, Last         int64    // event times, ns since the epoch
	Events              []string // ids of the latest transactions, at most 20
	AttemptsPerMinute   float64  // of the latest
	// LegitimatePerMillion is the subject's share of everybody's successful
	// logins, times a million: an upper bound of who is hit unjustly, as a few
	// of an attacker's logins succeed too.
	LegitimatePerMillion float64
}

// Evidence describes what is known of a subject.
func (d *Detector) Evidence(subject netip.Prefix) Evidence {
	v := Evidence{Threshold: d.threshold}
	e := d.entities.find(subjectKey(subject))
	if e == nil {
		return v
	}
	v.Score = float64(e.score)
	v.Accounts = int(e.accounts + 0.5)
	if d.good > 0 {
		v.LegitimatePerMillion = min(float64(e.good)/(d.good*decay(d.goodAt, e.last)), 1) * 1e6
	}
	s := d.dossier(e)
	if s == nil {
		return v
	}
	v.Baseline = s.baseline
	v.Failures, v.Successes = s.failures, s.successes
	v.First, v.Last = s.first, s.last
	v.Events, v.AttemptsPerMinute = s.recent()
	v.Terms = []detect.Term{
		{Name: "failures", Value: s.failed},
		{Name: "successes", Value: s.succeeded},
		{Name: "half-life and bounds", Value: v.Score - s.failed - s.succeeded},
	}
	return v
}

// Customers is what hangs on a subject: right logins of late, with the half-life of
// all counts, and their share of everybody's, times a million.
func (d *Detector) Customers(subject netip.Prefix) (logins, perMillion float64) {
	e := d.entities.find(subjectKey(subject))
	if e == nil {
		return 0, 0
	}
	return float64(e.good), d.Evidence(subject).LegitimatePerMillion
}
