package campaign

import (
	"math"
	"strings"
)

const (
	// span is the length of a chart's window, s.
	span = 300
	// Window is the same, ns.
	Window = span * 1e9
	// settled is how many windows the charts look on before they are trusted: a
	// day, in which most accounts are seen for the first time, and for the one of
	// the smallest shift, which takes all that wanders for an attack, four weeks.
	settled, settledFaint = 288, 28 * 288
	// fewest is how many windows and logins a chart needs to judge at all.
	fewestWindows, fewestLogins = 6, 10
	// slow and middling are weights of a new window in what is expected: a day
	// and eight hours.
	slow, middling = 1.0 / 288, 1.0 / 96
	// ordinary is the share of the usual right logins that may be missing by the
	// time of day.
	ordinary = 0.75
	// collapsed is the share of the usual right logins below which an endpoint
	// is taken to be out of order, not attacked.
	collapsed = 0.5
	// following is the weight of a new window in the usual right logins.
	following = 0.4
	// fallen is by how many standard deviations strangers must have become
	// fewer for that to be believed at once.
	fallen = 3
)

// slacks are half the shifts that the charts are tuned to, in standard
// deviations of what wanders.
var slacks = [...]float64{0.5, 1.5, 3}

// chart watches one endpoint for strangers: accounts that fail, were never right
// from that network nor with that program, and do not become so within the
// window. Honest people mistype at home, and get it right; lists of stolen pairs
// are mostly of people who have no account here, and their user has neither the
// place nor the program of those who do.
//
// It is a bank of CUSUM charts of the number of strangers (as Javed & Paxson,
// CCS 2013, do for failures), of which a square root is taken, which makes
// counts nearly normal however few they are. What is expected is learned from
// windows without an alarm, each of which can move it by little, and weighs
// as much as it has logins. How far it wanders by itself, and for how long, is
// measured (see wander), and slacks and thresholds are made after it, for a
// number of false alarms allowed in a year.
type chart struct {
	right   int                // in the present window
	wrong   int                // likewise, whoever's
	down    int                // likewise, logins that the application failed to answer
	failing map[uint64]failure // strangers, by account
	unnamed int                // further ones, for which there was no room

	windows int
	known   counts  // fading over a day
	lately  counts  // fading over hours
	usual   float64 // right logins in a window
	wander  wander
	sums    [len(slacks)]float64
	limits  [len(slacks)]float64 // as of the last window

	beyond float64 // strangers of the last window beyond expectation
	rate   float64 // the same, smoothed while it is up
	up     bool
	cut    float64 // log-odds of a hit, while it is up
	began  uint32  // window in which the faintest sum left 0

	// missing is the last window's where fewer logins were right than chance accounts
	// for, and few failed; else the zero value.
	missing Outage
}

// short says that so few logins were right in a window, if chance does not account for
// it; else it is the zero value.
func (c *chart) short(right float64) (o Outage) {
	if c.windows >= fewestWindows && c.usual > fewestLogins && right < collapsed*c.usual {
		if least := c.least(); right < least {
			o = Outage{Right: right, Usual: c.usual, Least: least}
		}
	}
	return o
}

// counts are strangers and right logins in a window, on average.
type counts struct{ strangers, right float64 }

// odds is how many strangers there are for each right login.
func (c *counts) odds() float64 { return c.strangers / max(c.right, 0.01) }

func (c *counts) move(weight, strangers, right float64) {
	c.strangers += weight * (strangers - c.strangers)
	c.right += weight * (right - c.right)
}

// failure is the last attempt at a stranger. It owns its string.
type failure struct {
	address uint64 // as a number
	program uint64 // likewise
	at      int64
	user    string
}

// maxFailing bounds the strangers that all charts together remember in a window,
// keptFailing those for whom a chart keeps room until the next.
const maxFailing, keptFailing = 1 << 18, 1 << 10

// event is what a chart says at the end of a window.
type event uint8

const (
	nothing  event = iota
	rising         // strangers are far too many
	disorder       // hardly anybody's login is right, and many fail
	broken         // and chance does not account for it
)

// begin starts a window, once what the last one held has been read.
func (c *chart) begin() {
	c.right, c.wrong, c.down, c.unnamed = 0, 0, 0, 0
	if len(c.failing) > keptFailing {
		c.failing = nil // or its table would stay
	}
	clear(c.failing)
}

// add takes an attempt into the present window, of whose strangers room more
// may be remembered. It reports whether one was not, for want of room.
func (c *chart) add(a *Attempt, n *numbers, stranger bool, room int) (lost bool) {
	if a.Right {
		c.right++
		delete(c.failing, a.Account)
		return false
	}
	c.wrong++
	if !stranger || a.Account == 0 {
		return false
	}
	if _, known := c.failing[a.Account]; !known && room <= 0 {
		c.unnamed++
		return true
	}
	if c.failing == nil {
		c.failing = make(map[uint64]failure)
	}
	c.failing[a.Account] = failure{address: n.client, program: n.program(), at: a.Time, user: strings.Clone(a.UserHash)}
	return false
}

// residual is by how much a count differs from what was expected, in standard
// deviations of a Poisson count: twice the difference of the square roots
// (Anscombe, Biometrika, 1948).
func residual(count, expected float64) float64 {
	return 2 * (math.Sqrt(count+0.375) - math.Sqrt(expected+0.375))
}

// close judges the window of a number.
func (c *chart) close(window uint32) (e event) {
	strangers, right := float64(len(c.failing)+c.unnamed), float64(c.right)
	c.missing = Outage{}
	if c.windows >= fewestWindows && c.usual > fewestLogins &&
		right < collapsed*c.usual && float64(c.wrong+c.down) > collapsed*c.usual {
		if right < c.least() {
			return broken // and nothing is learned
		}
		e = disorder // by night, say
	} else if right+strangers >= fewestLogins {
		e = c.judge(window, strangers, right)
	}
	if e != disorder {
		c.missing = c.short(right)
	}
	c.usual += max(following, 1/float64(max(c.windows, 1))) * (right - c.usual)
	return e
}

// judge compares what a window holds with what was expected.
func (c *chart) judge(window uint32, strangers, right float64) event {
	if c.windows < fewestWindows {
		c.windows++
		k := 1 / float64(c.windows)
		c.known.move(k, strangers, right)
		c.lately = c.known
		return nothing
	}
	// Strangers are compared with the logins that are right: those an attack
	// does not change. Where these are missing, customers have become strangers.
	expected := c.known.odds()*right + max(0, ordinary*c.usual-right)
	r := residual(strangers, expected)
	alarm, suspect := c.sum(r, max(expected, c.known.strangers))
	c.beyond = max(0, strangers-expected)
	if !c.up {
		c.rate = c.beyond
	}
	c.rate += 0.3 * (c.beyond - c.rate)
	if c.sums[0] == 0 {
		c.began = window + 1
	}
	if alarm {
		c.up = true
		for i, limit := range c.limits { // so that it ends soon after the attack
			c.sums[i] = min(c.sums[i], limit+maxStep)
		}
		return rising
	}
	if c.up { // what follows has to show itself anew
		c.up, c.sums = false, [len(slacks)]float64{}
	}
	c.wander.learn(r, expected)
	if !suspect { // an attack that begins must not teach what is usual
		c.learn(strangers, expected, r)
	}
	return nothing
}

// least is how many logins must be right in a window for those that are missing
// to be chance's doing, as seldom as all charts together may be wrong in a year;
// 0: none. What is usual is an average of few windows and may be too high.
func (c *chart) least() float64 {
	const err = following / (2 - following)
	usual := c.usual - 2*math.Sqrt(err*c.usual)
	low, high := 0.0, collapsed*c.usual
	for range 40 {
		if middle := (low + high) / 2; poissonBound(middle, usual) < -surprise {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// poissonBound is above the logarithm of the probability of a Poisson count as
// low as this (Chernoff).
func poissonBound(count, mean float64) float64 {
	if count >= mean {
		return 0
	}
	return count - mean + count*math.Log(mean/max(count, 1e-9))
}

// sum takes a window's residual into the sums.
func (c *chart) sum(r, expected float64) (alarm, suspect bool) {
	p := c.wander.profile(expected, c.known.strangers)
	for i := range slacks {
		c.sums[i] = max(0, c.sums[i]+min(r/p.scale, maxStep)-slacks[i])
		c.limits[i] = p.limit(i)
		if c.windows < settled || i == 0 && c.windows < settledFaint {
			continue
		}
		alarm = alarm || c.sums[i] > c.limits[i]
		suspect = suspect || i > 0 && c.sums[i] > c.limits[i]/2
	}
	return alarm, suspect
}

// maxStep bounds what one window adds, in standard deviations: a burst is an
// alarm within two windows, whatever its size.
const maxStep = 12

// learn moves what is expected towards a window by at most two of its standard
// deviations.
func (c *chart) learn(strangers, expected, r float64) {
	c.windows++
	k := func(weight float64) float64 { return max(weight, 1/float64(c.windows)) }
	if z := math.Abs(r) / c.wander.deviation(0, expected, c.known.strangers); z > 2 {
		strangers = expected + (strangers-expected)*2/z
	}
	right := float64(c.right)
	c.known.move(k(slow), strangers, right)
	c.lately.move(k(middling), strangers, right)
	// What falls is believed sooner than what rises: as the accounts become
	// known there are ever fewer strangers, and nobody gains by making it so.
	const n = 2/middling - 1 // windows that an average of hours is worth
	seen, held := n*c.lately.strangers, n*c.lately.right*c.known.odds()
	if residual(seen, held) < -fallen*c.wander.deviation(len(reaches)-1, c.lately.right*c.known.odds(), c.known.strangers) {
		c.known = c.lately
	}
}

// since is when the chart began to rise, ns.
func (c *chart) since() int64 { return int64(c.began) * Window }

// why is the numbers behind an alarm.
func (c *chart) why() Why {
	share := c.known.odds()
	w := Why{Baseline: share / (1 + share), Attempts: float64(c.right + len(c.failing) + c.unnamed), Right: float64(c.right)}
	for i, limit := range c.limits {
		if c.sums[i] > limit {
			w.Score, w.Threshold = c.sums[i], limit
		}
	}
	return w
}
