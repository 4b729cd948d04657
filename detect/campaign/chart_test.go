package campaign

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// windows feeds a chart with windows of Poisson counts, and returns how many of
// them said what.
func windows(c *chart, rng *rand.Rand, n int, right, strangers float64) (said [4]int) {
	for i := range n {
		for range poisson(rng, right) {
			c.add(&Attempt{Account: rng.Uint64(), Right: true}, new(numbers), false, 1)
		}
		for range poisson(rng, strangers) {
			c.add(&Attempt{Account: rng.Uint64()}, new(numbers), true, 1)
		}
		said[c.close(uint32(i))]++
		c.begin()
	}
	return said
}

func poisson(rng *rand.Rand, mean float64) (n int) {
	for limit, p := math.Exp(-mean), rng.Float64(); p > limit; p *= rng.Float64() {
		n++
	}
	return n
}

func TestAChartIsQuietForAYearAndSeesAFewStrangersMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	c := new(chart)
	assert.Zero(t, windows(c, rng, 105_120, 300, 9)[rising], "alarms in a year of windows")
	for _, step := range []struct {
		strangers float64
		within    int // windows
	}{{18, 60}, {30, 4}, {200, 1}} {
		c := *c
		c.failing = map[uint64]failure{}
		assert.NotZero(t, windows(&c, rng, step.within, 300, step.strangers)[rising], "%v strangers instead of 9", step.strangers)
		assert.Zero(t, windows(&c, rng, 288, 300, 9)[rising] > 40, "it goes on long after the attack")
	}
}

// weather is traffic whose share of strangers wanders: by a share of itself, for
// hours (autoregressive, correlated by 0.97 from one window to the next), while
// logins follow the time of the day.
type weather struct {
	rng   *rand.Rand
	sigma float64
	value float64
	at    int
}

func (w *weather) windows(c *chart, n int, right, strangers, attack float64) (said [4]int) {
	for range n {
		w.at++
		w.value = 0.97*w.value + w.sigma*math.Sqrt(1-0.97*0.97)*w.rng.NormFloat64()
		hour := 1 + 0.9*math.Sin(2*math.Pi*float64(w.at)/288)
		c.right = poisson(w.rng, right*hour)
		c.unnamed = poisson(w.rng, strangers*hour*math.Exp(w.value)+attack)
		said[c.close(uint32(w.at))]++
		c.begin()
	}
	return said
}

func TestWhatWandersForHoursIsNoAttack(t *testing.T) {
	for _, sigma := range []float64{0.05, 0.15, 0.3} {
		alarms, missed := 0, 0
		for seed := range uint64(4) {
			w := &weather{rng: rand.New(rand.NewPCG(seed, 7)), sigma: sigma}
			c := new(chart)
			for range 365 {
				if w.windows(c, 288, 300, 9, 0)[rising] > 0 {
					alarms++
				}
			}
			w.windows(c, 100, 300, 9, 0)
			if w.windows(c, 12, 300, 9, 60)[rising] == 0 {
				missed++
			}
		}
		assert.LessOrEqual(t, alarms, 1, "days with an alarm in four years, where strangers wander by %v", sigma)
		assert.Zero(t, missed, "attacks of a fifth of the logins not seen in an hour, where strangers wander by %v", sigma)
	}
}

func TestWanderIsMeasuredAtEveryReach(t *testing.T) {
	w := &weather{rng: rand.New(rand.NewPCG(8, 8)), sigma: 0.2}
	var seen wander
	for range 200_000 {
		w.value = 0.97*w.value + w.sigma*math.Sqrt(1-0.97*0.97)*w.rng.NormFloat64()
		seen.learn(w.rng.NormFloat64()+math.Sqrt(30)*w.value, 30)
	}
	for i, reach := range reaches {
		covered := 0.0 // sum of the correlations of all pairs
		for lag := range reach {
			pairs := float64(2 * (reach - lag))
			if lag == 0 {
				pairs = float64(reach)
			}
			covered += pairs * math.Pow(0.97, float64(lag))
		}
		want := 1 + 30*0.04*covered/float64(reach)
		measured := seen.variance(i, 30, 30)
		assert.True(t, measured > 0.9*want && measured < 1.8*want, "over %d windows: %v, in doubt too much, where it is %v", reach, measured, want)
	}
}

func TestWhereNothingWandersLimitsAreThoseOfIndependentSteps(t *testing.T) {
	p := profile{scale: 1, variances: [len(reaches)]float64{1, 1, 1, 1, 1}}
	for i, slack := range slacks {
		want := cusumThreshold(slack, year*charts*float64(len(slacks))/alarms)
		assert.InDelta(t, want, p.limit(i), 0.1*want, "slack %v", slack)
	}
	wide := p
	wide.variances = [len(reaches)]float64{1.1, 1.3, 1.9, 3.2, 5}
	assert.Greater(t, wide.limit(0), 2*p.limit(0))
}

func TestAChartSaysNothingInItsFirstDay(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	c := new(chart)
	windows(c, rng, settled-40, 300, 9)
	assert.Zero(t, windows(c, rng, 20, 300, 60)[rising])
}

func TestAnEndpointWhereNobodyGetsInIsBroken(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	c := new(chart)
	windows(c, rng, 100, 300, 9)
	said := windows(c, rng, 3, 5, 300)
	assert.Equal(t, 3, said[broken])
	assert.Zero(t, said[rising])
	assert.Zero(t, windows(c, rng, 20, 300, 9)[broken])
}

func TestAFewLoginsLessAreNoOutage(t *testing.T) {
	for _, right := range []float64{5, 12, 25} {
		w := &weather{rng: rand.New(rand.NewPCG(9, 9))}
		c := new(chart)
		for range 365 {
			for range 288 {
				c.wrong = poisson(w.rng, 2*right) // more fail than not
				assert.Zero(t, w.windows(c, 1, right, 1, 0)[broken], "%v right logins in a window", right)
			}
		}
	}
	c := new(chart)
	rng := rand.New(rand.NewPCG(9, 9))
	windows(c, rng, 100, 30, 1)
	assert.Equal(t, 1, windows(c, rng, 1, 0, 30)[broken], "thirty are missing, all of them")
}

func TestStrangersAreCountedWhenThereIsNoRoomToRememberThem(t *testing.T) {
	var c chart
	for account := uint64(1); account <= 10; account++ {
		lost := c.add(&Attempt{Account: account}, new(numbers), true, 4-len(c.failing))
		assert.Equal(t, account > 4, lost)
	}
	assert.Len(t, c.failing, 4)
	assert.Equal(t, 6, c.unnamed)
	c.begin()
	assert.Zero(t, len(c.failing)+c.unnamed)
}

func TestThresholdsAreThoseOfTheRunLength(t *testing.T) {
	// One-sided, for a slack of 0.5 (Montgomery, Introduction to Statistical
	// Quality Control, table 9.3: half of it, two-sided, is 168 and 465).
	for h, run := range map[float64]float64{4: 336, 5: 930} {
		assert.InDelta(t, h, cusumThreshold(0.5, run), 0.05)
	}
}

func TestAFloodOfNamesLeavesTheCellsOfCustomers(t *testing.T) {
	w := newTown(t, 0.08)
	w.cells = newTable(1 << 10)
	w.run(6e11, 120, 0)
	for i := range 50_000 {
		a := Attempt{Client: programAddress(i), Account: w.rng.Uint64(), Password: w.rng.Uint64(), Fingerprint: "x", UserAgent: string(rune(0x4e00 + i%20000))}
		w.try(a)
	}
	assert.LessOrEqual(t, len(w.cells.cells), 1<<10)
	assert.NotZero(t, w.Stats().Evictions)
	found := 0
	for _, c := range w.cells.cells {
		if c.kind == byFingerprint && (c.values.Fingerprint == programs[0].fingerprint || c.values.Fingerprint == programs[1].fingerprint) {
			found++
		}
	}
	assert.Equal(t, 2, found)
	assert.Contains(t, w.subjects, subjectOf("x"), "what the flood has in common")
}
