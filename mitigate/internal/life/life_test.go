package life

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOwnChangesAreTheSameLife(t *testing.T) {
	var l Life
	name := l.Seen("", l.Writes())
	number := l.Next()
	l.Ended(number, true)
	assert.Equal(t, name, l.Seen(number, l.Writes()))
}

func TestAnOlderNumberIsAnotherLife(t *testing.T) {
	var l Life
	first := l.Next()
	l.Ended(first, true)
	name := l.Seen(first, l.Writes())
	second := l.Next()
	l.Ended(second, true)
	assert.Equal(t, name, l.Seen(second, l.Writes()))
	another := l.Seen(first, l.Writes())
	assert.NotEqual(t, name, another, "it returned to what was saved")
	assert.Equal(t, another, l.Seen(first, l.Writes()), "and is in that life from then on")
	assert.NotEqual(t, another, l.Seen("somebody else's", l.Writes()))
}

func TestOfAChangeThatMayHaveFailedBothNumbersAreTheSameLife(t *testing.T) {
	var l Life
	name := l.Seen("saved", l.Writes())
	lost := l.Next()
	l.Ended(lost, false)
	assert.Equal(t, name, l.Seen("saved", l.Writes()))
	assert.Equal(t, name, l.Seen(lost, l.Writes()))
}

func TestWhatWasReadWhileAChangeWasUnderWaySaysNothing(t *testing.T) {
	var l Life
	name := l.Seen("saved", l.Writes())
	before := l.Writes()
	number := l.Next()
	l.Ended(number, true)
	assert.Equal(t, name, l.Seen("saved", before), "it may have been read before the change")
	assert.NotEqual(t, name, l.Seen("saved", l.Writes()))
}

func TestChangesThatFailDontFillTheMemory(t *testing.T) {
	var l Life
	l.Seen("a", l.Writes())
	first := l.Next()
	l.Ended(first, false)
	same := l.Seen(first, l.Writes())
	for range 1000 {
		l.Ended(l.Next(), false)
	}
	last := l.Next()
	l.Ended(last, false)
	assert.Equal(t, same, l.Seen(last, l.Writes()), "of the latest any may have been made")
	assert.NotEqual(t, same, l.Seen(first, l.Writes()), "of the oldest it is not known any more")
}
