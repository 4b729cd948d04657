package pcapfile

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"offpath/capture"
)

func TestWorkersGetEveryRoundInOrderWhoeverFillsIt(t *testing.T) {
	const rounds = 2000
	for _, workers := range []int{1, 2, 3, 8} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			filled := int64(0)
			fill := func(r *round) bool {
				if filled == rounds {
					return false
				}
				filled++ // with the race detector: one at a time
				assert.Zero(t, r.users.Load(), "the round is in use")
				r.clock = filled
				return true
			}
			seen := make([]int64, workers)
			work(workers, fill, func(worker int, b capture.Batch) {
				seen[worker]++
				assert.Equal(t, seen[worker], b.Clock)
				if rand.IntN(100) == 0 {
					time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
				}
			})
			for _, n := range seen {
				assert.EqualValues(t, rounds, n)
			}
		})
	}
}
