package campaign

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// failing is strangers, one of each of so many programs and ten of one more.
func failingOf(programs int) map[uint64]failure {
	m := make(map[uint64]failure)
	for i := range programs {
		m[uint64(i)] = failure{program: uint64(1000 + i)}
	}
	for i := range 10 {
		m[uint64(1<<20+i)] = failure{program: 7}
	}
	return m
}

func TestMoreProgramsThanAreToldApartGiveTheSameEveryTime(t *testing.T) {
	run := func() flows {
		f := make(flows)
		for range 12 {
			f.get(42).now.right += 3
			f.turn(failingOf(3 * maxFlows))
		}
		return f
	}
	first := run()
	assert.LessOrEqual(t, len(first), maxFlows+1)
	for range 5 {
		assert.Equal(t, first, run())
	}
}

func TestInventedProgramsDoNotKeepCustomersFromBeingToldApart(t *testing.T) {
	f := make(flows)
	for range 5 {
		f.turn(failingOf(3 * maxFlows))
	}
	for range 5 {
		f.get(42).now.right += 3
		f.turn(failingOf(3 * maxFlows))
	}
	assert.NotNil(t, f[42], "a program whose logins are right")
	assert.NotNil(t, f[7], "the one that most strangers have")
	assert.Greater(t, f[7].strangers, 5.0)
}
