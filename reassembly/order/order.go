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
	free       sync.Cond // emitting became false
	emitting   bool      // one of the callers emits; the others leave theirs to it
	watermarks []int64
	emitted    int64 // watermark of the last emission
	waiting    []*reassembly.Transaction
}

// maxLeft is how many transactions may wait for whoever emits before callers wait
// for it too.
const maxLeft = 4 << 10

// New returns a Merger of inputs numbered from 0. emit gets transactions in
// the order of reassembly.Less, and the watermark that all of them end before
// and all later ones don't; it is called serially, by one or the other of the
// callers of Push, also with no transactions when the watermark alone has moved,
// and may keep the slice.
func New(inputs int, emit func(txs []*reassembly.Transaction, watermark int64)) *Merger {
	m := &Merger{emit: emit, watermarks: make([]int64, inputs), emitted: math.MinInt64}
	m.free.L = &m.mu
	for i := range m.watermarks {
		m.watermarks[i] = math.MinInt64
	}
	return m
}

// Push takes transactions that an input finished, in any order, and its new
// watermark; a watermark lower than one before it is taken for that one. A
// transaction that ends before the watermark that was emitted last is late: it
// is emitted with the next ones. While another call emits, what can be emitted is
// left to that one, unless it is behind by much.
func (m *Merger) Push(input int, txs []*reassembly.Transaction, watermark int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, txs...)
	m.watermarks[input] = max(m.watermarks[input], watermark)
	for m.emitting && len(m.waiting) > maxLeft && m.lowest() > m.emitted {
		m.free.Wait()
	}
	if m.emitting {
		return
	}
	for m.lowest() > m.emitted {
		m.release(m.lowest())
	}
}

// Close emits what still waits, with the watermark math.MaxInt64.
func (m *Merger) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.emitting {
		m.free.Wait()
	}
	m.release(math.MaxInt64)
}

// lowest is the lowest watermark.
func (m *Merger) lowest() int64 { return slices.Min(m.watermarks) }

// release emits what ends before watermark. Meanwhile m is unlocked.
func (m *Merger) release(watermark int64) {
	ready := make([]*reassembly.Transaction, 0, len(m.waiting))
	keep := m.waiting[:0]
	for _, tx := range m.waiting {
		if tx.End < watermark || watermark == math.MaxInt64 {
			ready = append(ready, tx)
		} else {
			keep = append(keep, tx)
		}
	}
	clear(m.waiting[len(keep):])
	m.waiting, m.emitted, m.emitting = keep, watermark, true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.emitting = false
		m.free.Broadcast()
	}()
	slices.SortFunc(ready, func(a, b *reassembly.Transaction) int {
		if reassembly.Less(a, b) {
			return -1
		}
		return 1
	})
	m.emit(ready, watermark)
}
