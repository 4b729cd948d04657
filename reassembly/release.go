package reassembly

import "sync"

// maxSpare is how many released transactions are kept for the next ones, some 5 MiB.
const maxSpare = 4 << 10

// spare holds transactions that were released.
var spare struct {
	sync.Mutex
	txs []*Transaction
}

// Allocator makes transactions of those that were released, a batch at a time. The
// zero value is ready. One goroutine owns it.
type Allocator struct {
	batch [64]*Transaction
	left  int
}

// New returns an empty transaction, which may be one that was released.
func (a *Allocator) New() *Transaction {
	if a.left == 0 {
		a.refill()
	}
	if a.left == 0 {
		return new(Transaction)
	}
	a.left--
	tx := a.batch[a.left]
	a.batch[a.left] = nil // it is its owner's alone now
	return tx
}

func (a *Allocator) refill() {
	spare.Lock()
	defer spare.Unlock()
	from := max(len(spare.txs)-len(a.batch), 0)
	a.left = copy(a.batch[:], spare.txs[from:])
	clear(spare.txs[from:])
	spare.txs = spare.txs[:from]
}

// Release gives transactions back, so that the next ones need no new memory.
// It is for whoever took them over last and calls it once, when nobody refers
// to them any more; their strings and lists stay as they are, for whoever kept
// some. Transactions that nobody releases are left to the garbage collector.
func Release(txs []*Transaction) {
	for _, tx := range txs {
		*tx = Transaction{}
	}
	spare.Lock()
	defer spare.Unlock()
	spare.txs = append(spare.txs, txs[:min(len(txs), maxSpare-len(spare.txs))]...)
}
