package campaign

import "math"

// reaches are how many windows in succession are added up to measure how long
// what wanders stays away: from five minutes to most of a working day.
var reaches = [...]int{1, 3, 9, 27, 81}

const (
	// supposed is how far the share of strangers is held to wander before it is
	// known, as a share of itself, for as long as may be; it weighs like a day.
	supposed = 0.1
	// remembered is how long it takes to forget how it wandered, in windows:
	// four weeks.
	remembered = 28 * 288
	// scaled is the reach by whose deviation residuals are scaled.
	scaled = 3
	// doubt is how many standard errors are added to what was measured: a
	// threshold that is too low by little alarms often.
	doubt = 2
	// outlying bounds what one sum can say, in its standard deviations.
	outlying = 4
)

// wander is how far the residuals of a chart stay away from what is expected:
// the variance of their sums over windows in succession. Were they independent,
// it would grow as their number. Honest customers fail oftener for hours, on
// some days, at some times of the day, and do so the more visibly the more of
// them there are: beyond a Poisson count's, the variance of a sum is that of a
// share that wanders times the square of what was expected.
type wander struct {
	sums [len(reaches)]struct {
		windows      int
		sum, root    float64 // of residuals; of the square roots of what was expected
		beyond, base float64 // squares of sums beyond a Poisson count's, and of roots, fading
		batches      float64
	}
}

// learn takes the residual of a window.
func (w *wander) learn(residual, expected float64) {
	for i := range w.sums {
		s, reach := &w.sums[i], float64(reaches[i])
		s.windows++
		s.sum += residual
		s.root += math.Sqrt(expected)
		if s.windows < reaches[i] {
			continue
		}
		base := s.root * s.root
		// Only what lies above matters: where ever fewer strangers come, most
		// sums lie below.
		above := max(s.sum, 0)
		square := min(2*above*above, outlying*outlying*(reach+base*w.share(i, expected)))
		fade := math.Exp(-reach / remembered)
		s.beyond = s.beyond*fade + square - reach
		s.base = s.base*fade + base
		s.batches = s.batches*fade + 1
		s.windows, s.sum, s.root = 0, 0, 0
	}
}

// share is the square of the share that strangers wander by over a reach, in
// doubt too high. Usual is how many are expected in a window on average.
func (w *wander) share(i int, usual float64) float64 {
	s, reach := &w.sums[i], float64(reaches[i])
	batches := s.batches + 288/reach
	base := s.base + 288*reach*max(usual, 0.1)
	share := max(0, (s.beyond+supposed*supposed*(base-s.base))/base)
	mean := base / batches
	return share + doubt*math.Sqrt(2/batches)*(reach+share*mean)/mean
}

// variance is that of a sum over a reach where as many are expected in each
// window, divided by the number of windows.
func (w *wander) variance(i int, expected, usual float64) float64 {
	return 1 + float64(reaches[i])*expected*w.share(i, usual)
}

// deviation is the square root of the variance.
func (w *wander) deviation(i int, expected, usual float64) float64 {
	return math.Sqrt(w.variance(i, expected, usual))
}

// profile is what a chart's thresholds follow from.
type profile struct {
	scale     float64 // residuals are divided by it
	variances [len(reaches)]float64
}

func (w *wander) profile(expected, usual float64) (p profile) {
	for i := range reaches {
		p.variances[i] = w.variance(i, expected, usual)
	}
	p.scale = math.Sqrt(p.variances[scaled])
	return p
}

// limit is the threshold of the i-th chart, in units of the scale: the least
// that sums of normal residuals with these variances pass no oftener than
// independent ones pass the chart's threshold. To lead over it within T windows,
// a sum must be the limit and T slacks away from 0; the likeliest T counts
// (Dembo & Zeitouni, Large Deviations Techniques and Applications, section 5.1),
// and the sum of no T windows by itself may be so large any oftener.
func (p *profile) limit(i int) float64 {
	slack := slacks[i] * p.scale
	action := actions[i] + 2*math.Log(p.scale) // the more often, the larger the slack
	limit := 0.0
	for k, reach := range reaches {
		t := float64(reach)
		deviation := math.Sqrt(t * p.variances[k])
		limit = max(limit, math.Sqrt(2*action)*deviation-overshoot-slack*t, rare*deviation-slack*t)
	}
	return limit / p.scale
}
