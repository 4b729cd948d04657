package campaign

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// mistakes feeds sprays with wrong passwords of customers, of whom a share takes
// one and the same for theirs, and returns how often that was held to be sprayed.
func mistakes(s *sprays, rng *rand.Rand, n int, favourite float64) (alarms int) {
	for range n {
		password := rng.Uint64()
		if rng.Float64() < favourite {
			password = 9
		}
		if s.failed(password, rng.Uint64()) {
			alarms++
		}
	}
	return alarms
}

func TestAPasswordIsSprayedOnceItIsWrongForManyAccounts(t *testing.T) {
	s, rng := newSprays(), rand.New(rand.NewPCG(1, 1))
	mistakes(s, rng, 3000, 0.005)
	tries := 1
	for ; !s.failed(9, rng.Uint64()); tries++ { // although customers make the same mistake
		mistakes(s, rng, 5, 0.005)
	}
	assert.InDelta(t, minSprayed/(1-5*popular*mostPopular), tries, 4)
	assert.True(t, s.sprayed(9))
	assert.False(t, s.sprayed(7))
	why := s.why(9)
	assert.GreaterOrEqual(t, why.Score, why.Threshold)

	mistakes(s, rng, 2000, 0)
	assert.False(t, s.sprayed(9), "once nobody tries it any more")
}

func TestAPopularMistakeIsNoSprayHoweverLargeTheBank(t *testing.T) {
	for _, favourite := range []float64{0.0005, 0.002, 0.005, 0.01} {
		s, rng := newSprays(), rand.New(rand.NewPCG(2, 2))
		assert.Zero(t, mistakes(s, rng, 1_000_000, favourite), "%v", favourite)
	}
}

func TestWhatIsPopularIsLearned(t *testing.T) {
	tries := func(before int) int {
		s, rng := newSprays(), rand.New(rand.NewPCG(3, 3))
		mistakes(s, rng, before, 0.002)
		for n := 1; n < 10_000; n++ { // 2 % of all mistakes
			if s.failed(8, rng.Uint64()) {
				return n
			}
			mistakes(s, rng, 49, 0.002)
		}
		return 10_000
	}
	assert.Equal(t, 10_000, tries(0), "at first three times one in a hundred may be a favourite")
	assert.Less(t, tries(200_000), 200, "but is not here")
}

func TestAnAttackerCannotTeachThatHisPasswordIsPopular(t *testing.T) {
	s, rng := newSprays(), rand.New(rand.NewPCG(4, 4))
	for share := 0.001; share < 0.2; share *= 1.01 { // ever a little more
		for range 5000 {
			password := rng.Uint64()
			if rng.Float64() < share {
				password = 8
			}
			s.failed(password, rng.Uint64())
		}
		assert.LessOrEqual(t, s.usual, mostPopular)
	}
	assert.True(t, s.sprayed(8))
}
