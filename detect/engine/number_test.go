package engine

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSixteenHexDigitsAreTheirNumber(t *testing.T) {
	for _, s := range []string{"0123456789abcdef", "0123456789ABCDEF", "ffffffffffffffff", "8000000000000000"} {
		want, err := strconv.ParseUint(s, 16, 64)
		require.NoError(t, err)
		assert.Equal(t, want, number(s))
	}
	assert.Equal(t, uint64(1), number("0000000000000000"), "0 is no hash")
	assert.Zero(t, number(""))
	assert.NotEqual(t, number("a"), number("b"), "cleartext is hashed")
}

func TestOneOctetThatIsNoHexDigitMakesItCleartext(t *testing.T) {
	for c := range 256 {
		for at := range 16 {
			s := []byte("0123456789abcdef")
			s[at] = byte(c)
			_, err := strconv.ParseUint(string(s), 16, 64)
			_, high := hexWord(string(s[:8]))
			_, low := hexWord(string(s[8:]))
			assert.Equal(t, err == nil, high && low, "%q", s)
		}
	}
}

func TestTheSieveHasWhatWasAddedUntilItIsRemoved(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	var s sieve
	in := make(map[uint64]bool)
	for range 1 << 18 {
		key := rng.Uint64N(1 << 17)
		if in[key] {
			s.remove(key)
			delete(in, key)
		} else {
			s.add(key)
			in[key] = true
		}
	}
	for key := range in {
		require.True(t, s.has(key), fmt.Sprint(key))
		s.remove(key)
	}
	assert.Equal(t, sieve{}, s, "empty again")
}

func TestAFullCounterOfTheSieveStaysFull(t *testing.T) {
	var s sieve
	for range 300 {
		s.add(7)
	}
	for range 300 {
		s.remove(7)
	}
	assert.True(t, s.has(7), "it can't know how many are left")
}
