package campaign

import (
	"iter"
	"math"
	"slices"
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
func (h *Hit) Certainty() float64 { return certainty(h.Odds) }

func certainty(odds float64) float64 { return 1 / (1 + math.Exp(-odds)) }

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

// add remembers a login, and returns it, until as many have followed.
func (r *recent) add(a *Attempt, keys *[kinds]uint64, m *marks) *login {
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, login{})
		r.next = len(r.ring) - 1
	}
	r.ring[r.next] = login{a.Time, a.Account, strings.Clone(a.UserHash), a.At, *keys, *m}
	l := &r.ring[r.next]
	r.next = (r.next + 1) % maxRecent
	return l
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

// maxCalled is how many accounts that were called hits are remembered.
const maxCalled = 1 << 16

// certain is the log-odds of a login in a convicted cell.
const certain = 5

const (
	// rightShare is the share of an attacker's attempts that is held to be right
	// where it has to be guessed.
	rightShare = 0.01
	// minOdds is the log-odds from which a login may be a hit: one in two
	// hundred.
	minOdds = -5.3
	// friction is the share of all right logins that may be called hits for the
	// sake of a chart.
	friction = 0.03
)

// pattern is which of the marks of customers a right login shows: that the
// account was used before, a known place of its, a program of its, something
// asked for before the login, a network that customers come from.
type pattern uint8

const (
	isUsed pattern = 1 << iota
	isPlaced
	isEquipped
	isPrepared
	isNear
	patterns = 1 << iota
)

func (m *marks) pattern() (p pattern) {
	for bit, shown := range [...]bool{!m.stranger, m.placed, m.equipped, m.prepared, m.near} {
		if shown {
			p |= 1 << bit
		}
	}
	return p
}

// byAttackers is how often an attacker's hits are held to show a pattern, where
// his program is the one of a share of the accounts, which he has by chance. He
// seldom comes from where the customer does; of the accounts that he has, of
// what he imitates and whether his addresses are among customers' nothing is
// supposed.
func (p pattern) byAttackers(share float64) float64 {
	expected := 1.0 / 8 // used, prepared, near: as often as not
	if p&isUsed == 0 {
		return expected // has neither place nor program
	}
	for _, mark := range [...]struct {
		is pattern
		of float64
	}{{isPlaced, 0.02}, {isEquipped, share}} {
		if p&mark.is != 0 {
			expected *= mark.of
		} else {
			expected *= 1 - mark.of
		}
	}
	return expected
}

// odds is how likely a right login is the attacker's while a chart is up: how
// many attempts are his for each right login with this program at this endpoint,
// and what customers mostly show and he does not (as Freeman et al., NDSS 2016,
// have it), taken together, since customers' marks go together.
func (d *Detector) odds(e *Endpoint, l *login) float64 {
	c := &e.chart
	attack := l.at.flows.attempts(l.program, l.at.chart.known.odds(), c.rate/max(c.usual, 1))
	odds := math.Log(max(rightShare*attack, 1e-6))
	s := &d.site
	if s.logins < minTrust {
		return odds
	}
	p := l.pattern()
	byCustomers := (s.shown[p] + 0.5) / (s.logins + 0.5*patterns)
	return odds + math.Log(p.byAttackers(d.share(l))/byCustomers)
}

// share is of how many of the accounts the program of a login is, whatever its
// version.
func (d *Detector) share(l *login) float64 {
	share := 0.0
	if i, known := d.cells.index[l.keys[byFingerprint]]; known {
		share = float64(d.cells.cells[i].right) / max(d.site.right, 1)
	}
	return min(max(share, 0.01), 0.9)
}

// cut is the odds that a right login must be above where a chart is up, so that
// of those lately no more customers' than friction are: what is said of them is
// best spent on those that look least like theirs.
func (d *Detector) cut(e *Endpoint) float64 {
	d.sorted = d.sorted[:0]
	for l := range d.recent.since(0) {
		if e == &d.all || l.at == e {
			d.sorted = append(d.sorted, d.odds(e, l))
		}
	}
	slices.Sort(d.sorted)
	left := friction * float64(len(d.sorted))
	for _, odds := range slices.Backward(d.sorted) {
		if left -= 1 - certainty(odds); left < 0 {
			return max(minOdds, odds)
		}
	}
	return minOdds
}

// afford reports whether one more account may be called a hit for the sake of a
// chart. One that was is not counted again for a day.
func (d *Detector) afford(account uint64, odds float64, now uint32) bool {
	if at, called := d.called.Get(account); called && now < at+day {
		return true
	}
	s := &d.site
	s.decay(now)
	price := 1 - certainty(odds)
	if s.called+price > friction*s.right {
		d.stats.OverFriction++
		return false
	}
	s.called += price
	d.called.Put(account, now)
	return true
}
