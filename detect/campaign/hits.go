package campaign

import (
	"iter"
	"math"
	"strings"
)

// Hit is an account whose password a campaign has got right.
type Hit struct {
	UserHash string
	Account  uint64
	Campaign *Campaign
	// Price is what holding the account is expected to hit, of a million
	// legitimate logins.
	Price float64
	Odds  float64 // of the login having been the attacker's, natural logarithm
}

// Certainty is how likely the login was the attacker's, 0 to 1.
func (h *Hit) Certainty() float64 { return 1 / (1 + math.Exp(-h.Odds)) }

// recent is the last right logins, in which those of a campaign are looked for
// when it is recognised.
type recent struct {
	ring []login
	next int
}

// login is a right one. It owns its string.
type login struct {
	time    int64 // ns
	account uint64
	user    string
	at      *Endpoint
	keys    [kinds]uint64 // of its cells
	marks
}

// maxRecent is how many right logins are remembered.
const maxRecent = 2048

func (r *recent) add(a *Attempt, keys *[kinds]uint64, m *marks) {
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, login{})
		r.next = len(r.ring) - 1
	}
	r.ring[r.next] = login{a.Time, a.Account, strings.Clone(a.UserHash), a.At, *keys, *m}
	r.next = (r.next + 1) % maxRecent
}

// since lists the right logins that are not older than a time, in their order.
func (r *recent) since(time int64) iter.Seq[*login] {
	return func(yield func(*login) bool) {
		for i := range r.ring {
			l := &r.ring[(r.next+i)%len(r.ring)]
			if l.time >= time && !yield(l) {
				return
			}
		}
	}
}

// certain is the log-odds of a login in a convicted cell.
const certain = 5

const (
	// rightShare is the share of an attacker's attempts that is held to be right
	// where it has to be guessed.
	rightShare = 0.01
	// minOdds is the log-odds from which a login may be a hit. What keeps
	// customers out is friction.
	minOdds = -6
	// friction is the share of all right logins that may be called hits for the
	// sake of a chart.
	friction = 0.03
)

// byAttackers is how often an attacker is held to show each mark of customers:
// a known place of the account's, a program of the account's, something asked
// for before the login, a network that customers come from.
var byAttackers = [4]float64{0.02, 0.1, 0.5, 0.5}

// odds is how likely a right login is the attacker's while an endpoint's chart
// is up: the attacker's share of right logins, and what customers mostly do and
// he does not (as Freeman et al., NDSS 2016, have it).
func (d *Detector) odds(e *Endpoint, m *marks) float64 {
	c := &e.chart
	attack := rightShare * c.rate / max(c.usual, 1)
	odds := math.Log(max(attack, 1e-6))
	s := &d.site
	if s.logins < minTrust {
		return odds
	}
	for i, shown := range m.shown() {
		share := min(max(s.shown[i]/s.logins, 0.01), 0.99)
		if shown {
			odds += math.Log(byAttackers[i] / share)
		} else {
			odds += math.Log((1 - byAttackers[i]) / (1 - share))
		}
	}
	return odds
}

// afford reports whether one more login may be called a hit for the sake of a
// chart.
func (d *Detector) afford(now uint32) bool {
	s := &d.site
	s.decay(now)
	if s.called+1 > friction*s.right {
		d.stats.OverFriction++
		return false
	}
	s.called++
	return true
}
