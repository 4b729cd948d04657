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
	// alarms is how many there may be in a year, of all charts together.
	alarms = 4
	// charts is how many are reckoned with.
	charts = 64
	// slow, middling and fast are weights of a new window in what is expected: a
	// day, eight hours, two hours.
	slow, middling, fast = 1.0 / 288, 1.0 / 96, 1.0 / 24
	// ordinary is the share of the usual right logins that may be missing by the
	// time of day.
	ordinary = 0.75
	// minCorrelation is how much successive windows are held to have in common
	// at least, whatever was measured.
	minCorrelation = 0.4
	// collapsed is the share of the usual right logins below which an endpoint
	// is taken to be out of order, not attacked.
	collapsed = 0.5
)

// slacks are the shifts, in standard deviations, that the charts are tuned to:
// a long faint attack, a stream, a burst.
var slacks = [...]float64{0.5, 1.5, 3}

// chart watches one endpoint for strangers: accounts that fail, have never
// been right and do not become so within the window. Honest people mistype
// and get it right; lists of stolen pairs are mostly of people who have no
// account here.
//
// It is a bank of CUSUM charts of the share of strangers (as Javed & Paxson,
// CCS 2013, do for failures), standardised by a square root, which makes counts
// nearly normal however few they are, and by how much the share wanders by
// itself. What is expected is learned from windows without an alarm, each of
// which can move it by little. Thresholds are from the number of false alarms
// allowed in a year (Siegmund's approximation), widened by the correlation of
// successive windows, the more the fainter the attack that a chart is for: what
// wanders for hours looks like that.
type chart struct {
	window  uint32             // number of the present one
	right   int                // in it
	wrong   int                // likewise, whoever's
	down    int                // likewise, logins that the application failed to answer
	failing map[uint64]failure // strangers, by account

	windows   int
	share     float64 // of strangers, expected
	lately    float64 // the same, of the last hours
	usual     float64 // right logins in a window
	wander    float64 // variance of the standardised count beyond 1
	last, lag float64 // standardised count; mean product of successive ones
	sums      [len(slacks)]float64

	beyond float64 // strangers of the last window beyond expectation
	rate   float64 // the same, smoothed while it is up
	up     bool
	began  uint32 // window in which the faintest sum left 0
}

// failure is the last attempt at a stranger. It owns its string.
type failure struct {
	address uint64 // as a number
	at      int64
	user    string
}

// maxFailing bounds the accounts that a window remembers.
const maxFailing = 1 << 16

// event is what a chart says at the end of a window.
type event uint8

const (
	going event = iota // the window is not over
	nothing
	rising // strangers are far too many
	broken // hardly anybody's login is right, and many fail
)

// turn ends the window before a time, if it has ended, which begin must follow.
func (c *chart) turn(now uint32) event {
	number := now / span
	if c.failing == nil {
		c.failing, c.window = make(map[uint64]failure), number
	}
	if number == c.window {
		return going
	}
	return c.close()
}

// begin starts a window, once what the last one held has been read.
func (c *chart) begin(now uint32) {
	c.window, c.right, c.wrong, c.down = now/span, 0, 0, 0
	clear(c.failing)
}

// add takes an attempt into the present window.
func (c *chart) add(a *Attempt, client uint64, stranger bool) {
	if a.Right {
		c.right++
		delete(c.failing, a.Account)
		return
	}
	c.wrong++
	if stranger && a.Account != 0 && len(c.failing) < maxFailing {
		c.failing[a.Account] = failure{address: client, at: a.Time, user: strings.Clone(a.UserHash)}
	}
}

// close judges a window.
func (c *chart) close() event {
	strangers := len(c.failing)
	n := float64(c.right + strangers)
	if c.windows >= fewestWindows && c.usual > fewestLogins &&
		float64(c.right) < collapsed*c.usual && float64(c.wrong+c.down) > collapsed*c.usual {
		return broken // and nothing is learned
	}
	if n < fewestLogins {
		return nothing
	}
	if c.windows < fewestWindows {
		c.windows++
		k := 1 / float64(c.windows)
		c.share += k * (float64(strangers)/n - c.share)
		c.lately = c.share
		c.usual += k * (float64(c.right) - c.usual)
		return nothing
	}
	// Strangers are compared with the logins that are right: those an attack
	// does not change. Where these are missing, customers have become strangers.
	odds := c.share / max(1-c.share, 0.01)
	expected := odds*float64(c.right) + max(0, ordinary*c.usual-float64(c.right))
	z := 2 * (math.Sqrt(float64(strangers)+0.375) - math.Sqrt(expected+0.375)) / math.Sqrt(1+c.wander)
	alarm, suspect := false, false
	for i, slack := range slacks {
		c.sums[i] = max(0, c.sums[i]+min(z, maxStep)-slack)
		if c.windows < settled || i == 0 && c.windows < settledFaint {
			continue
		}
		limit := c.limit(i)
		alarm = alarm || c.sums[i] > limit
		suspect = suspect || i > 0 && c.sums[i] > limit/2
	}
	c.beyond = max(0, float64(strangers)-expected)
	if !c.up {
		c.rate = c.beyond
	}
	c.rate += 0.3 * (c.beyond - c.rate)
	if c.sums[0] == 0 {
		c.began = c.window + 1
	}
	if c.up = alarm; alarm {
		for i := range slacks { // so that it ends soon after the attack
			c.sums[i] = min(c.sums[i], c.limit(i)+maxStep)
		}
		return rising
	}
	if !suspect { // an attack that begins must not teach what is usual
		c.learn(z, float64(strangers)/n)
	}
	return nothing
}

// maxStep bounds what one window adds, in standard deviations: a burst is an
// alarm within two windows, whatever its size.
const maxStep = 12

// learn moves what is expected towards a window by at most two of its standard
// deviations.
func (c *chart) learn(z, share float64) {
	c.windows++
	k := func(weight float64) float64 { return max(weight, 1/float64(c.windows)) }
	if math.Abs(z) > 2 {
		share = c.share + (share-c.share)*2/math.Abs(z)
	}
	c.share += k(slow) * (share - c.share)
	// What falls is believed sooner than what rises: as the accounts become
	// known there are ever fewer strangers, and nobody gains by making it so.
	c.lately += k(fast) * (share - c.lately)
	if c.lately < 0.9*c.share {
		c.share = c.lately
	}
	c.usual += max(k(fast), 0.4) * (float64(c.right) - c.usual)
	z = max(-2, min(z, 2))
	c.wander = max(0, c.wander+k(middling)*(z*z*(1+c.wander)-1-c.wander))
	c.lag += k(middling) * (z*c.last - c.lag)
	c.last = z
}

// limit is the threshold of the i-th chart.
func (c *chart) limit(i int) float64 {
	correlation := min(max(c.lag, minCorrelation), 0.8)
	return thresholds[i] * math.Pow((1+correlation)/(1-correlation), 1-float64(i)/2)
}

// thresholds belong to the slacks.
var thresholds = func() (list [len(slacks)]float64) {
	const windows = 365.0 * 24 * 3600 / span
	for i, slack := range slacks {
		list[i] = cusumThreshold(slack, windows*charts*float64(len(slacks))/alarms)
	}
	return list
}()

// cusumThreshold is the threshold of a CUSUM chart for a mean run length
// between false alarms (Siegmund, Sequential Analysis, 1985, section 2.6).
func cusumThreshold(slack, run float64) float64 {
	low, high := 0.0, 100.0
	for range 60 {
		h := (low + high) / 2
		b := h + 1.166
		if (math.Exp(2*slack*b)-2*slack*b-1)/(2*slack*slack) < run {
			low = h
		} else {
			high = h
		}
	}
	return high
}

// why is the numbers behind an alarm.
func (c *chart) why() Why {
	w := Why{Baseline: c.share, Attempts: float64(c.right + len(c.failing)), Right: float64(c.right)}
	for i := range slacks {
		if limit := c.limit(i); c.sums[i] > limit {
			w.Score, w.Threshold = c.sums[i], limit
		}
	}
	return w
}
