package buffer

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// budget is a Budget of limited octets.
type budget struct{ limit, used int }

func (b *budget) Take(n int) bool {
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	return true
}

func (b *budget) Give(n int) { b.used -= n }

func TestABufferHoldsWhatIsAppendedAndIsChargedWithItsCapacity(t *testing.T) {
	var p Pool
	b := &budget{limit: 16 << 20}
	for _, piece := range []int{1, 100, 1448, 9000} {
		var buf, want []byte
		for range 300 {
			data := make([]byte, piece)
			for i := range data {
				data[i] = byte(len(want) + i*7)
			}
			var ok bool
			buf, ok = p.Append(b, buf, data)
			require.True(t, ok)
			want = append(want, data...)
			require.Equal(t, cap(buf), b.used)
			require.LessOrEqual(t, cap(buf), max(smallest, 2*len(buf)))
		}
		require.Equal(t, want, buf)
		p.Release(b, buf)
		require.Zero(t, b.used)
	}
}

func TestWhatFindsNoRoomLeavesTheBufferAsItWas(t *testing.T) {
	var p Pool
	for _, test := range []struct {
		name                string
		limit, first, then  int
		room                bool
		capacity, remaining int
	}{
		{"the first octets", smallest - 1, 1, 0, false, 0, 0},
		{"an enlargement", smallest, 200, 100, false, smallest, 200},
		{"within the capacity", smallest, 200, 56, true, smallest, 256},
		{"a large one that can grow only as far as needed", 3 * largest, 2*largest + 1, 0, true, 3 * largest, 2*largest + 1},
		{"a large one that can't grow", 3 * largest, 2*largest + 1, largest, false, 3 * largest, 2*largest + 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &budget{limit: test.limit}
			buf, ok := p.Append(b, nil, make([]byte, test.first))
			if test.then > 0 {
				require.True(t, ok)
				buf, ok = p.Append(b, buf, make([]byte, test.then))
			}
			assert.Equal(t, test.room, ok)
			assert.Equal(t, test.capacity, cap(buf))
			assert.Len(t, buf, test.remaining)
			assert.Equal(t, test.capacity, b.used)
		})
	}
}

func TestCapacitiesDoNotDependOnWhatIsSpare(t *testing.T) {
	b := &budget{limit: 1 << 30}
	var fresh, used Pool
	for n := 1; n < 3*largest; n += 777 {
		large, ok := used.Append(b, nil, make([]byte, 2*n))
		require.True(t, ok)
		used.Release(b, large)
	}
	for n := 1; n < 3*largest; n += 777 {
		one, ok := fresh.Append(b, nil, make([]byte, n))
		require.True(t, ok)
		two, ok := used.Append(b, nil, make([]byte, n))
		require.True(t, ok)
		require.Equal(t, cap(one), cap(two), "%d octets", n)
		used.Release(b, two)
	}
}

func TestBuffersTakeWhatIsCharged(t *testing.T) {
	const n = 2000
	for _, octets := range []int{1, 300, 5000, 20_000, 100_000} {
		var p Pool
		b := &budget{limit: 1 << 30}
		bufs := make([][]byte, n*1000/max(1000, octets))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		data := make([]byte, octets)
		for i := range bufs {
			bufs[i], _ = p.Append(b, nil, data)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took := int(after.HeapAlloc-before.HeapAlloc) - octets
		assert.InEpsilon(t, b.used, took, 0.05, "%d octets", octets)
		runtime.KeepAlive(bufs)
	}
}

func TestABufferThatIsUsedAgainAllocatesNothing(t *testing.T) {
	var p Pool
	b := &budget{limit: 1 << 20}
	data := make([]byte, 1448)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		var buf []byte
		for range 12 {
			buf, _ = p.Append(b, buf, data)
		}
		p.Release(b, buf)
	}))
}
