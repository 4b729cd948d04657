package tcp

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnIndexHoldsWhatAMapWouldHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x, model := newIndex(), map[key]*Flow{}
	for n := range 200_000 {
		k := key{rest: rng.Uint64N(1000)}
		hash := x.seed.hash(&k)
		require.Same(t, model[k], x.find(&k, hash))
		f := model[k]
		// More come than go, then more go than come.
		come := rng.IntN(3) > n/50_000%2
		switch {
		case f == nil && come:
			f = &Flow{key: k}
			model[k] = f
			x.add(hash, f)
		case f != nil && !come:
			delete(model, k)
			x.remove(f)
		}
		require.Equal(t, len(model), x.flows)
	}
}

func TestAnIndexFindsFlowsWhoseHashesAreAlike(t *testing.T) {
	x := newIndex()
	var flows []*Flow
	for i := range uint64(8) { // at the last slots and, beyond the end, at the first ones
		f := &Flow{key: key{rest: i}}
		flows = append(flows, f)
		x.add(14+i%2, f)
	}
	for _, f := range flows {
		require.Same(t, f, x.find(&f.key, 14+f.key.rest%2))
	}
}
