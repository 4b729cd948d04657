package output

import (
	"sync/atomic"

	"offpath/reassembly"
	"offpath/reassembly/jsonl"
)

// queuedBatches is how many batches wait at most for the encoder.
const queuedBatches = 16

// Transactions writes transactions to a Lines, which it owns: in a goroutine of
// its own, so that encoding and writing run beside detection, or in that of
// whoever adds them. A nil Transactions drops everything.
type Transactions struct {
	lines   *Lines
	encoder jsonl.Encoder
	orders  chan order // nil without a goroutine
	failed  atomic.Pointer[error]
	done    chan struct{}
}

// order is a batch to write, or the wish to open the file anew.
type order struct {
	txs    []*reassembly.Transaction
	reopen func(error)
}

// NewTransactions makes an encoder; beside says that it is to have a goroutine.
func NewTransactions(lines *Lines, beside bool) *Transactions {
	t := &Transactions{lines: lines}
	if beside {
		t.orders, t.done = make(chan order, queuedBatches), make(chan struct{})
		go t.run()
	}
	return t
}

// Add writes txs in their order and releases them; the slice is the encoder's
// from then on. It waits while the encoder is behind, and must not be called
// after Close.
func (t *Transactions) Add(txs []*reassembly.Transaction) {
	switch {
	case t == nil:
		reassembly.Release(txs)
	case len(txs) > 0:
		t.order(order{txs: txs})
	}
}

// Reopen opens the file anew after what was added before, and calls report
// with the outcome.
func (t *Transactions) Reopen(report func(error)) {
	if t != nil {
		t.order(order{reopen: report})
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
	if t.orders != nil {
		close(t.orders)
		<-t.done
	}
	return t.lines.Close()
}

func (t *Transactions) order(o order) {
	if t.orders == nil {
		t.do(o)
		return
	}
	t.orders <- o
}

func (t *Transactions) run() {
	defer close(t.done)
	for o := range t.orders {
		t.do(o)
	}
}

func (t *Transactions) do(o order) {
	if o.reopen != nil {
		t.failed.Store(nil)
		o.reopen(t.lines.Reopen())
	}
	for _, tx := range o.txs {
		t.lines.buf = t.encoder.Append(t.lines.buf, tx)
		t.lines.added()
	}
	reassembly.Release(o.txs)
	if len(t.orders) == 0 {
		t.lines.Flush()
	}
	if err := t.lines.Err(); err != nil {
		t.failed.Store(&err)
	}
}
