package tcp

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnIndexHoldsWhatAMapWouldHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := newIndex()
	open, closed := map[key]*Flow{}, map[key]int64{}
	for n := range 60_000 {
		k := key{rest: rng.Uint64N(500)}
		s := x.find(&k, x.hash(&k))
		require.Same(t, open[k], s.flow)
		at, remembered := closed[k]
		require.Equal(t, open[k] != nil || remembered, s.hash != 0)
		if remembered {
			require.Equal(t, k, x.closed.get(s.at).key)
			require.Equal(t, at, x.closed.get(s.at).closed)
		}
		// More come than go, then more go than come.
		come := rng.IntN(3) > n/10_000%2
		switch f := open[k]; {
		case come && f == nil && !remembered:
			open[k] = &Flow{key: k}
			x.add(x.hash(&k), open[k])
		case !come && f != nil && n%2 == 0:
			x.removeFlow(f)
			delete(open, k)
		case !come && f != nil:
			x.close(f, int64(n))
			delete(open, k)
			closed[k] = int64(n)
		case !come && remembered && n%2 == 0:
			x.forget(s)
			delete(closed, k)
		case !come && remembered:
			oldest := x.closed.oldest()
			require.Equal(t, slices.Min(slices.Collect(maps.Values(closed))), oldest.closed)
			delete(closed, oldest.key)
			x.forgetOldest()
		}
		require.Equal(t, len(open)+len(closed), x.taken)
		require.Equal(t, len(closed) == 0, x.closed.oldest() == nil)
	}
}

func TestAnIndexFindsFlowsWhoseHashesAreAlike(t *testing.T) {
	x := newIndex()
	var flows []*Flow
	for i := range uint64(8) { // at the last slots and, beyond the end, at the first ones
		f := &Flow{key: key{rest: i}}
		flows = append(flows, f)
		x.add(uint32(14+i%2), f)
	}
	for _, f := range flows {
		require.Same(t, f, x.find(&f.key, uint32(14+f.key.rest%2)).flow)
	}
}
