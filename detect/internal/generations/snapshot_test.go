package generations

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/internal/snapshot"
)

func number(c *snapshot.Codec, v *int) { snapshot.Int(c, v) }

func written(t *testing.T, m *Map[int]) []byte {
	c := snapshot.Writer()
	m.State(c, number)
	m.Put(12345, 1) // the owner goes on before it is written
	var b bytes.Buffer
	_, err := c.WriteTo(&b)
	require.NoError(t, err)
	return b.Bytes()
}

func restored(t *testing.T, octets []byte, limit int) (*Map[int], uint64) {
	c, err := snapshot.Reader(bytes.NewReader(octets))
	require.NoError(t, err)
	m := New[int](limit)
	m.State(c, number)
	require.NoError(t, c.Close())
	return m, c.Dropped()
}

func filled(keys int) *Map[int] {
	m := New[int](100)
	for i := 1; i <= keys; i++ {
		m.Put(uint64(i)*0x9e3779b97f4a7c15, i)
	}
	return m
}

func TestAMapOutlivesARestartWithItsAges(t *testing.T) {
	for _, keys := range []int{0, 1, 99, 100, 101, 150, 1000} {
		m := filled(keys)
		octets := written(t, filled(keys))
		assert.Equal(t, octets, written(t, filled(keys)), "whatever the seeds")
		again, dropped := restored(t, octets, 100)
		assert.Zero(t, dropped)
		for i := 1; i <= 2000; i++ { // both go on alike: what is old is forgotten at the same time
			key := uint64(i) * 0x9e3779b97f4a7c15
			v, ok := m.Get(key)
			w, found := again.Get(key)
			require.Equal(t, ok, found, i)
			require.Equal(t, v, w)
			m.Put(key, i)
			again.Put(key, i)
		}
	}
}

func TestALowerLimitDropsAndCounts(t *testing.T) {
	octets := written(t, filled(150)) // 100 old ones, 50 young
	m, dropped := restored(t, octets, 60)
	assert.EqualValues(t, 40, dropped)
	assert.Equal(t, 60, m.old.count)
	assert.Equal(t, 50, m.young.count, "the young stay")
}
