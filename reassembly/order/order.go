// Package order merges what several inputs finish, the workers of a pipeline
// or the partitions of a stream, into the order of transactions.
//
// Each input promises a watermark: none of its later transactions ends before
// it. What ends before the lowest watermark is in its final order and is
// emitted. Memory is proportional to what waits for the slowest input.
package order

import (
	"math"
	"slices"
	"sync"

	"offpath/reassembly"
)

// Merger merges. It is safe for concurrent use.
type Merger struct {
	emit func(txs []*reassembly.Transaction, watermark int64)

	mu         sync.Mutex
	watermarks []int64
	emitted    int64 // watermark of the last emission
	waiting    []*reassembly.Transaction
}

// New returns a Merger of inputs numbered from 0. emit gets transactions in
// the order of reassembly.Less, and the watermark that all of them end before
// and all later ones don't; it is called serially, also with no transactions
// when the watermark alone has moved, and may keep the slice.
func New(inputs int, emit func(txs []*reassembly.Transaction, watermark int64)) *Merger {
	m := &Merger{emit: emit, watermarks: make([]int64, inputs), emitted: math.MinInt64}
	for i := range m.watermarks {
		m.watermarks[i] = math.MinInt64
	}
	return m
}

// Push takes transactions that an input finished, in any order, and its new
// watermark; a watermark lower than one before it is taken for that one. A
// transaction that ends before the watermark that was emitted last is late: it
// is emitted with the next ones.
func (m *Merger) Push(input int, txs []*reassembly.Transaction, watermark int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, txs...)
	m.watermarks[input] = max(m.watermarks[input], watermark)
	if lowest := slices.Min(m.watermarks); lowest > m.emitted {
		m.release(lowest)
	}
}

// Close emits what still waits, with the watermark math.MaxInt64.
func (m *Merger) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.release(math.MaxInt64)
}

// release emits what ends before watermark.
func (m *Merger) release(watermark int64) {
	var ready []*reassembly.Transaction
	keep := m.waiting[:0]
	for _, tx := range m.waiting {
		if tx.End < watermark || watermark == math.MaxInt64 {
			ready = append(ready, tx)
		} else {
			keep = append(keep, tx)
		}
	}
	clear(m.waiting[len(keep):])
	m.waiting, m.emitted = keep, watermark
	slices.SortFunc(ready, func(a, b *reassembly.Transaction) int {
		if reassembly.Less(a, b) {
			return -1
		}
		return 1
	})
	m.emit(ready, watermark)
}
