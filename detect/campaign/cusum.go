package campaign

import "math"

const (
	// alarms is how many there may be in a year, of all charts together.
	alarms = 4
	// charts is how many are reckoned with.
	charts = 64
	// year is its windows.
	year = 365.0 * 24 * 3600 / span
	// overshoot is what a sum of normal steps passes its threshold by (Siegmund,
	// Sequential Analysis, 1985, section 2.6: twice 0.583).
	overshoot = 1.166
)

// actions are how unlikely a false alarm of each chart has to be: minus the
// logarithm of its probability, but for factors that change little.
var actions = func() (list [len(slacks)]float64) {
	for i, slack := range slacks {
		list[i] = 2 * slack * (cusumThreshold(slack, year*charts*float64(len(slacks))/alarms) + overshoot)
	}
	return list
}()

// surprise is minus the logarithm of how seldom a window may be taken for an
// outage by chance.
var surprise = math.Log(year * charts / alarms)

// rare is how many standard deviations are passed as seldom as that by each of
// the charts of an endpoint.
var rare = math.Sqrt2 * math.Erfinv(1-2*alarms/(year*charts*float64(len(slacks))))

// cusumThreshold is the threshold of a CUSUM chart of independent normal steps
// for a mean run length between false alarms (Siegmund, as above).
func cusumThreshold(slack, run float64) float64 {
	low, high := 0.0, 100.0
	for range 60 {
		h := (low + high) / 2
		b := h + overshoot
		if (math.Exp(2*slack*b)-2*slack*b-1)/(2*slack*slack) < run {
			low = h
		} else {
			high = h
		}
	}
	return high
}
