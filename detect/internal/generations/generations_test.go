package generations

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAMapForgetsTheOldest(t *testing.T) {
	g := New[int](4)
	for i := uint64(1); i <= 9; i++ {
		g.Put(i, int(i))
		g.Get(1) // what is used stays
	}
	assert.LessOrEqual(t, g.young.count+g.old.count, 8)
	_, ok := g.Get(1)
	assert.True(t, ok)
	_, ok = g.Get(2)
	assert.False(t, ok)
	v, ok := g.Get(9)
	assert.True(t, ok)
	assert.Equal(t, 9, v)
}

func TestALookLeavesAKeyAsOldAsItIs(t *testing.T) {
	g := New[int](4)
	for i := uint64(1); i <= 13; i++ {
		g.Put(i, int(i))
		g.Peek(1)
	}
	_, ok := g.Peek(1)
	assert.False(t, ok)
	for key, want := range map[uint64]int{13: 13, 12: 12} {
		v, ok := g.Peek(key)
		assert.True(t, ok)
		assert.Equal(t, want, v)
	}
}

func TestAMapIsTwoMaps(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, limit := range []int{1, 2, 3, 64, 100, 1000} {
		g := New[uint32](limit)
		young, old := map[uint64]uint32{}, map[uint64]uint32{}
		put := func(key uint64, v uint32) {
			if _, ok := young[key]; !ok && len(young) >= limit {
				young, old = map[uint64]uint32{}, young
			}
			young[key] = v
		}
		for range 20000 {
			key := 1 + rng.Uint64N(uint64(4*limit))
			if rng.IntN(2) == 0 {
				v := rng.Uint32()
				g.Put(key, v)
				put(key, v)
				continue
			}
			want, known := young[key]
			if !known {
				if want, known = old[key]; known {
					put(key, want)
				}
			}
			got, ok := g.Get(key)
			require.Equal(t, known, ok)
			require.Equal(t, want, got)
		}
		require.Equal(t, len(young), g.young.count)
	}
}
