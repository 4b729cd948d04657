package feed

import (
	"math"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly"
)

func transactions(n int) []*reassembly.Transaction {
	txs := make([]*reassembly.Transaction, n)
	for i := range txs {
		txs[i] = &reassembly.Transaction{}
	}
	return txs
}

func TestBatchesComeOutInTheirOrder(t *testing.T) {
	q := New(10)
	first, second := transactions(2), transactions(3)
	q.Put(first, 5)
	q.Put(second, 9)
	batches, ok := q.Take()
	assert.True(t, ok)
	assert.Equal(t, []Batch{{Transactions: first, Watermark: 5}, {Transactions: second, Watermark: 9}}, batches)
	q.Put(first, 11)
	q.Close()
	batches, ok = q.Take()
	assert.True(t, ok, "what was put before Close is still taken")
	assert.Len(t, batches, 1)
	_, ok = q.Take()
	assert.False(t, ok)
}

func TestAFullQueueShedsWholeBatchesAndKeepsTheWatermark(t *testing.T) {
	q := New(10)
	q.Offer(transactions(8), 1)
	q.Offer(transactions(3), 2)
	q.Offer(transactions(2), 3)
	assert.Equal(t, Stats{Offered: 13, Shed: 3, Queued: 10}, q.Stats())
	batches, _ := q.Take()
	assert.Len(t, batches, 2)
	assert.Equal(t, int64(2), batches[0].Watermark, "the watermark of the shed batch goes with the one before")
	assert.Equal(t, int64(3), batches[1].Watermark)
	assert.Equal(t, Stats{Offered: 13, Shed: 3}, q.Stats())
}

func TestABatchLargerThanTheQueueIsTakenWhenItIsEmpty(t *testing.T) {
	q := New(2)
	q.Offer(transactions(5), 1)
	assert.Equal(t, Stats{Offered: 5, Queued: 5}, q.Stats())
}

func TestEmptyBatchesDoNotPileUp(t *testing.T) {
	q := New(2)
	for i := range int64(1000) {
		q.Offer(nil, i)
	}
	batches, _ := q.Take()
	assert.Equal(t, []Batch{{Watermark: 999}}, batches)
}

func TestPutWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(2)
		q.Put(transactions(2), 1)
		done := false
		go func() {
			q.Put(transactions(1), 2)
			done = true
		}()
		synctest.Wait()
		assert.False(t, done)
		q.Take()
		synctest.Wait()
		assert.True(t, done)
		q.Close()
	})
}

func TestCallsAreTakenAtTheirPlace(t *testing.T) {
	q := New(1)
	q.Put(transactions(1), 1)
	called := false
	q.Call(func() { called = true })
	batches, _ := q.Take()
	assert.Len(t, batches, 2)
	assert.Equal(t, int64(math.MinInt64), batches[1].Watermark)
	batches[1].Call()
	assert.True(t, called)
	q.Close()
	q.Call(func() { t.Error("called after Close") })
	_, ok := q.Take()
	assert.False(t, ok)
}
