package campaign

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/detect/internal/generations"
)

func TestAPairIsKnownOnceADayLiesBetween(t *testing.T) {
	h := newHistory(1 << 16)
	pair := generations.Mix(1, 2)
	at := func(days, hours uint32) uint32 { return (20000+days)*day + hours*3600 }
	h.turn(at(0, 9))
	h.know(pair)
	assert.True(t, h.has(pair))
	assert.False(t, h.knows(pair), "on the same day")
	h.turn(at(1, 23))
	assert.False(t, h.knows(pair), "on the next")
	h.turn(at(2, 0))
	assert.True(t, h.knows(pair))
	assert.False(t, h.knows(generations.Mix(1, 3)))
	h.turn(at(60, 0))
	assert.True(t, h.knows(pair), "two months later")
	h.turn(at(120, 0))
	assert.False(t, h.has(pair), "unused for a season and more")

	h.know(pair)
	for d := uint32(121); d < 400; d += 30 { // a customer who comes every month
		h.turn(at(d, 0))
		h.know(pair)
	}
	assert.True(t, h.knows(pair))
}

func TestVisitsCountForAQuarterToHalfAnHour(t *testing.T) {
	v := newVisitors(1 << 16)
	client := generations.Mix(5, 5)
	v.turn(1e9)
	v.add(client)
	v.turn(1e9 + visit)
	assert.True(t, v.has(client))
	v.turn(1e9 + 2*visit)
	assert.False(t, v.has(client))
}
