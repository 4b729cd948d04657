package campaign

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAPairIsKnownOnceADayLiesBetween(t *testing.T) {
	h := newHistory(1 << 10)
	const pair, other = 5, 6
	at := func(days, hours uint32) uint32 { return (20000+days)*day + hours*3600 }
	h.turn(at(0, 9))
	h.know(pair)
	assert.True(t, h.get(pair).seen)
	assert.True(t, h.get(pair).today)
	assert.False(t, h.get(pair).known, "on the same day")
	h.turn(at(1, 23))
	assert.False(t, h.get(pair).known, "on the next")
	assert.False(t, h.get(pair).today)
	h.turn(at(2, 0))
	assert.True(t, h.get(pair).known)
	assert.False(t, h.get(other).known)
	h.turn(at(60, 0))
	assert.True(t, h.get(pair).known, "two months later")
	h.turn(at(120, 0))
	assert.False(t, h.get(pair).seen, "unused for a season and more")

	h.know(pair)
	assert.False(t, h.get(pair).known, "it begins anew")
	for d := uint32(121); d < 400; d += 30 { // a customer who comes every month
		h.turn(at(d, 0))
		h.know(pair)
	}
	assert.True(t, h.get(pair).known)
}

func TestAHistoryForgetsTheLongestUnseenBeyondItsLimit(t *testing.T) {
	h := newHistory(1000)
	h.turn(20000 * day)
	for pair := range uint64(10_000) {
		h.know(pair + 1)
		h.know(1) // what is seen again stays
	}
	assert.True(t, h.get(1).seen)
	assert.False(t, h.get(2).seen)
	assert.True(t, h.get(10_000).seen)
}

func TestAVisitCountsForHalfAnHour(t *testing.T) {
	v := newVisitors(1 << 10)
	v.add(5, 1e9)
	assert.True(t, v.has(5, 1e9+visit-1))
	assert.False(t, v.has(6, 1e9))
	assert.False(t, v.has(5, 1e9+visit))
}
