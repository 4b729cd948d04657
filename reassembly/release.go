package reassembly

import "sync"

// spare holds transactions that were released.
var spare = sync.Pool{New: func() any { return new(Transaction) }}

// NewTransaction returns an empty transaction, which may be one that was
// released.
func NewTransaction() *Transaction { return spare.Get().(*Transaction) }

// Release gives transactions back, so that the next ones need no new memory.
// It is for whoever took them over last and calls it once, when nobody refers
// to them any more; their strings and lists stay as they are, for whoever kept
// some. Transactions that nobody releases are left to the garbage collector.
func Release(txs []*Transaction) {
	for _, tx := range txs {
		*tx = Transaction{}
		spare.Put(tx)
	}
}
