package campaign

import "math"

// horizons are the half-lives, in seconds, over which a cell's attempts are
// weighed: bursts, an hour's work, and what goes slow for weeks.
var horizons = [...]float64{30, 600, 4 * 3600}

// day is the half-life, in seconds, over which collateral is priced.
const day = 24 * 3600

// window is attempts with a half-life.
type window struct{ wrong, right float32 }

// tabled is how many seconds of decay are looked up instead of computed.
const tabled = 1024

// decays is the factors for whole seconds of each horizon, then of a day.
type decays [len(horizons) + 1][tabled]float32

func newDecays() *decays {
	d := new(decays)
	for i := range d {
		for s := range d[i] {
			d[i][s] = float32(math.Exp2(-float64(s) / halfLife(i)))
		}
	}
	return d
}

func halfLife(horizon int) float64 {
	if horizon == len(horizons) {
		return day
	}
	return horizons[horizon]
}

// factor is what is left after some seconds.
func (d *decays) factor(horizon int, seconds uint32) float32 {
	if seconds < tabled {
		return d[horizon][seconds]
	}
	return float32(math.Exp2(-float64(seconds) / halfLife(horizon)))
}
