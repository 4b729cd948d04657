package campaign

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAFlowSaysWhichProgramAnAttackImitates(t *testing.T) {
	f := make(flows)
	for range 20 {
		f.get(1).now.right, f.get(2).now.right = 100, 100
		failing := map[uint64]failure{}
		for account := uint64(0); account < 50; account++ {
			failing[account] = failure{program: 1}
		}
		failing[99] = failure{program: 2}
		f.turn(failing)
	}
	assert.InDelta(t, 0.48, f.attempts(1, 0.02, 0.24), 0.02, "half an attempt more than customers make for each right login")
	assert.InDelta(t, 0, f.attempts(2, 0.02, 0.24), 0.01)
	assert.Equal(t, 0.24, f.attempts(3, 0.02, 0.24), "nothing is known of it")
	for program := uint64(10); program < 10+2*maxFlows; program++ {
		f.get(program).now.right++
	}
	f.turn(nil)
	assert.LessOrEqual(t, len(f), maxFlows+1)
	for range 100 {
		f.turn(nil)
	}
	assert.Empty(t, f, "what has not been seen for hours")
}

func TestPatternsOfAttackersAddUp(t *testing.T) {
	for _, share := range []float64{0.01, 0.3, 0.9} {
		sum := 0.0
		for p := pattern(0); p < patterns; p++ {
			if p&isUsed == 0 && p&(isPlaced|isEquipped) != 0 {
				continue // there is no such thing
			}
			sum += p.byAttackers(share)
		}
		assert.InDelta(t, 1, sum, 1e-9)
	}
	m := marks{stranger: true, prepared: true}
	assert.Equal(t, isPrepared, m.pattern())
	m = marks{placed: true, equipped: true, near: true}
	assert.Equal(t, isUsed|isPlaced|isEquipped|isNear, m.pattern())
}

// Of right logins while a chart is up, those are said to be hits that look least
// like customers', of which there may be few.
func TestTheCutSpendsNoMoreOnCustomersThanItMay(t *testing.T) {
	w := newTown(t, 0.08)
	var at Endpoint
	at.flows = make(flows)
	at.chart.rate, at.chart.usual = 50, 100
	w.site.logins = 1000
	common, rare := marks{placed: true, equipped: true, prepared: true, near: true}, marks{prepared: true}
	w.site.shown[common.pattern()], w.site.shown[rare.pattern()] = 990, 5
	add := func(n int, m marks) {
		for range n {
			w.recent.add(&Attempt{Account: 1, At: &at}, new([kinds]uint64), &m)
		}
	}
	add(1000, common)
	add(20, rare)
	cut := w.cut(&at)
	odds := func(m marks) float64 { return w.odds(&at, &login{at: &at, marks: m}) }
	assert.Greater(t, odds(rare), cut)
	assert.Less(t, odds(common), cut)
	at.chart.rate = 20_000 // most of them are the attacker's
	add(900, rare)
	assert.Greater(t, odds(rare), w.cut(&at))
}
