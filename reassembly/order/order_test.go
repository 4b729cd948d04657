package order_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/order"
)

// sequence returns n transactions in their order, many of which end at once.
func sequence(n int, r *rand.Rand) []*reassembly.Transaction {
	var txs []*reassembly.Transaction
	for i := range n {
		txs = append(txs, &reassembly.Transaction{
			End: int64(i / 7), Start: r.Int64N(3), CommunityID: fmt.Sprint(r.IntN(3)), Sequence: r.IntN(2), ID: fmt.Sprint(i),
		})
	}
	slices.SortFunc(txs, func(a, b *reassembly.Transaction) int {
		if reassembly.Less(a, b) {
			return -1
		}
		return 1
	})
	return txs
}

func TestAnySplitIntoInputsComesOutInTheSameOrder(t *testing.T) {
	for _, inputs := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(inputs, " inputs"), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(inputs)))
			want := sequence(5000, r)
			parts := make([][]*reassembly.Transaction, inputs)
			for _, tx := range want {
				i := r.IntN(inputs)
				parts[i] = append(parts[i], tx)
			}
			var got []*reassembly.Transaction
			last := int64(math.MinInt64)
			m := order.New(inputs, func(txs []*reassembly.Transaction, watermark int64) {
				for _, tx := range txs {
					require.GreaterOrEqual(t, tx.End, last, "ended before what was emitted")
					require.Less(t, tx.End, watermark)
				}
				last = watermark
				got = append(got, txs...)
			})
			var all sync.WaitGroup
			for i, part := range parts {
				seed := r.Uint64()
				all.Go(func() {
					r := rand.New(rand.NewPCG(seed, 0))
					for len(part) > 0 {
						// Within one push, the order is the shards', not time's.
						n := min(len(part), 1+r.IntN(50))
						chunk := slices.Clone(part[:n])
						part = part[n:]
						watermark := int64(math.MaxInt64)
						if len(part) > 0 {
							watermark = part[0].End
						}
						r.Shuffle(n, func(a, b int) { chunk[a], chunk[b] = chunk[b], chunk[a] })
						m.Push(i, chunk, watermark)
					}
				})
			}
			all.Wait()
			m.Close()
			assert.Equal(t, want, got)
		})
	}
}

func TestNothingIsEmittedThatAnInputMayStillPrecede(t *testing.T) {
	var got []string
	m := order.New(2, func(txs []*reassembly.Transaction, watermark int64) {
		for _, tx := range txs {
			got = append(got, tx.ID)
		}
		got = append(got, fmt.Sprint("<", watermark))
	})
	m.Push(0, []*reassembly.Transaction{{ID: "b", End: 20}, {ID: "a", End: 10}}, 30)
	assert.Empty(t, got, "the other input has promised nothing")
	m.Push(1, nil, 20)
	assert.Equal(t, []string{"a", "<20"}, got, "what ends at the watermark may have company")
	m.Push(1, []*reassembly.Transaction{{ID: "c", End: 20, Start: 1}}, 21)
	assert.Equal(t, []string{"a", "<20", "b", "c", "<21"}, got)
	m.Push(1, nil, 5)
	m.Push(0, nil, 31)
	assert.Equal(t, []string{"a", "<20", "b", "c", "<21"}, got, "a watermark does not go back")
	m.Close()
	assert.Equal(t, fmt.Sprint("<", int64(math.MaxInt64)), got[len(got)-1])
}

func BenchmarkMerge(b *testing.B) {
	txs := sequence(1024, rand.New(rand.NewPCG(1, 1)))
	m := order.New(1, func([]*reassembly.Transaction, int64) {})
	b.ReportAllocs()
	clock := int64(0)
	for b.Loop() {
		for i, tx := range txs {
			tx.End = clock + int64(i)
		}
		clock += int64(len(txs))
		m.Push(0, txs, clock)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(txs)), "ns/tx")
}
