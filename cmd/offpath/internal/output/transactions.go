package output

import (
	"sync/atomic"

	"offpath/reassembly"
	"offpath/reassembly/jsonl"
)

// queuedBatches is how many batches wait at most for the encoder.
const queuedBatches = 16

// Transactions writes transactions to a Lines in a goroutine of its own, so
// that encoding and writing run beside detection. It owns the Lines. A nil
// Transactions drops everything.
type Transactions struct {
	lines  *Lines
	orders chan order
	failed atomic.Pointer[error]
	done   chan struct{}
}

// order is a batch to write, or the wish to open the file anew.
type order struct {
	txs    []*reassembly.Transaction
	reopen func(error)
}

// NewTransactions starts the encoder.
func NewTransactions(lines *Lines) *Transactions {
	t := &Transactions{lines: lines, orders: make(chan order, queuedBatches), done: make(chan struct{})}
	go t.run()
	return t
}

// Add writes txs in their order. It keeps txs, waits while the encoder is
// behind, and must not be called after Close.
func (t *Transactions) Add(txs []*reassembly.Transaction) {
	if t != nil && len(txs) > 0 {
		t.orders <- order{txs: txs}
	}
}

// Reopen opens the file anew after what was added before, and calls report
// with the outcome.
func (t *Transactions) Reopen(report func(error)) {
	if t != nil {
		t.orders <- order{reopen: report}
	}
}

// Err is the first error so far.
func (t *Transactions) Err() error {
	if t == nil {
		return nil
	}
	if err := t.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Close writes what is left and returns the first error.
func (t *Transactions) Close() error {
	if t == nil {
		return nil
	}
	close(t.orders)
	<-t.done
	return t.lines.Close()
}

func (t *Transactions) run() {
	defer close(t.done)
	var line []byte
	for o := range t.orders {
		if o.reopen != nil {
			t.failed.Store(nil)
			o.reopen(t.lines.Reopen())
		}
		for _, tx := range o.txs {
			line = jsonl.AppendTransaction(line[:0], tx)
			t.lines.Add(line)
		}
		if len(t.orders) == 0 {
			t.lines.Flush()
		}
		if err := t.lines.Err(); err != nil {
			t.failed.Store(&err)
		}
	}
}
