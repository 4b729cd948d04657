// Package feed carries batches of transactions from reassembly (or a file, or
// Kafka) to detection, through a queue of bounded size.
//
// One goroutine puts, one takes. The bound counts transactions, not batches.
// When it is reached, [Queue.Put] waits (a file can wait) and [Queue.Offer]
// sheds the whole batch and counts its transactions (a wire can not).
// Transactions put = taken + queued; transactions offered = put + shed.
package feed

import (
	"math"
	"sync"

	"offpath/reassembly"
)

// Batch is a run of transactions in their order, and the event time below
// which none will follow any more, ns since the epoch.
type Batch struct {
	Call         func() // to be called first; nil in all batches but those of Queue.Call
	Transactions []*reassembly.Transaction
	Watermark    int64 // math.MinInt64: not known
}

// Stats are the queue's books. All but Queued only grow.
type Stats struct {
	Offered uint64 // transactions
	Shed    uint64 // of these, refused because the queue was full
	Queued  int    // now waiting
}

// Queue is a bounded queue of batches; make one with [New].
type Queue struct {
	limit int

	mu      sync.Mutex
	changed sync.Cond // a batch was put or taken, or the queue closed
	batches []Batch
	spare   []Batch // the slice that Take emptied last
	stats   Stats
	closed  bool
}

// New returns a queue that holds up to limit transactions. A batch larger
// than that is taken when the queue is empty.
func New(limit int) *Queue {
	q := &Queue{limit: limit}
	q.changed.L = &q.mu
	return q
}

// Put adds a batch and waits for room. It keeps txs.
func (q *Queue) Put(txs []*reassembly.Transaction, watermark int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.fits(len(txs)) && !q.closed {
		q.changed.Wait()
	}
	q.stats.Offered += uint64(len(txs))
	q.add(txs, watermark)
}

// Offer adds a batch if there is room, else sheds its transactions; the
// watermark arrives either way. It never waits, and keeps txs.
func (q *Queue) Offer(txs []*reassembly.Transaction, watermark int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.Offered += uint64(len(txs))
	if !q.fits(len(txs)) {
		q.stats.Shed += uint64(len(txs))
		txs = nil
	}
	q.add(txs, watermark)
}

func (q *Queue) fits(n int) bool { return q.stats.Queued == 0 || q.stats.Queued+n <= q.limit }

// add appends; a batch without transactions only moves the watermark of the
// one before it, so that empty batches never pile up.
func (q *Queue) add(txs []*reassembly.Transaction, watermark int64) {
	if last := len(q.batches) - 1; len(txs) == 0 && last >= 0 {
		q.batches[last].Watermark = watermark
		return
	}
	q.batches = append(q.batches, Batch{nil, txs, watermark})
	q.stats.Queued += len(txs)
	q.changed.Broadcast()
}

// Call adds a batch that has do called by whoever takes it. The bound is not
// for these: there are as many as somebody waits for.
func (q *Queue) Call(do func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.batches = append(q.batches, Batch{Call: do, Watermark: math.MinInt64})
	q.changed.Broadcast()
}

// Take waits for batches and returns all that wait, in order; the slice is
// valid until the next call. ok is false once the queue is closed and empty.
func (q *Queue) Take() (batches []Batch, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.batches) == 0 && !q.closed {
		q.changed.Wait()
	}
	batches = q.batches
	clear(q.spare)
	q.batches, q.spare = q.spare[:0], batches
	q.stats.Queued = 0
	q.changed.Broadcast()
	return batches, len(batches) > 0
}

// Close lets Take return what waits, and then nothing.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Broadcast()
}

// Stats may be called at any time from any goroutine.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stats
}
