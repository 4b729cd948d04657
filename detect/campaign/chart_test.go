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
	for range n {
		if c.failing == nil {
			c.turn(1e6 * span)
		}
		for range poisson(rng, right) {
			c.add(&Attempt{Account: rng.Uint64(), Right: true}, 0, false)
		}
		for range poisson(rng, strangers) {
			c.add(&Attempt{Account: rng.Uint64()}, 0, true)
		}
		next := (c.window + 1) * span
		said[c.turn(next)]++
		c.begin(next)
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

func TestThresholdsAreThoseOfTheRunLength(t *testing.T) {
	// One-sided, for a slack of 0.5 (Montgomery, Introduction to Statistical
	// Quality Control, table 9.3: half of it, two-sided, is 168 and 465).
	for h, run := range map[float64]float64{4: 336, 5: 930} {
		assert.InDelta(t, h, cusumThreshold(0.5, run), 0.05)
	}
}

func TestAPasswordIsSprayedOnceItIsWrongForManyAccounts(t *testing.T) {
	s := newSprays()
	for account := uint64(1); account <= 10; account++ {
		for range 100 {
			assert.False(t, s.wrong(7, account, 1e9), "the same accounts over and over")
		}
	}
	tries := 0
	for !s.wrong(8, uint64(1000+tries), 1e9) {
		tries++
	}
	assert.Less(t, tries, 40)
	assert.True(t, s.sprayed(8))
	assert.False(t, s.sprayed(7))

	popularOne := newSprays() // customers' favourite mistake, day after day
	for period := range uint32(8) {
		for account := range uint64(15) {
			assert.False(t, popularOne.wrong(9, account+1, 1e9+period*sprayPeriod))
		}
	}
	for account := range uint64(30) {
		assert.False(t, popularOne.wrong(9, account+1, 1e9+8*sprayPeriod), "twice as many as usual")
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
