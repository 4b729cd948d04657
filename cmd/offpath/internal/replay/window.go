package replay

import (
	"math"

	"offpath/capture"
	"offpath/reassembly"
)

// Window is the part of the input that is looked at, by event time in ns since
// the epoch, both ends included. The zero value is everything.
type Window struct {
	From, To int64 // To 0: no end
}

func (w Window) isZero() bool { return w == Window{} }

func (w Window) end() int64 {
	if w.To == 0 {
		return math.MaxInt64
	}
	return w.To
}

// packets hands on only what lies in the window. The packets of a batch are
// moved within it.
func (w Window) packets(next capture.Handler) capture.Handler {
	if w.isZero() {
		return next
	}
	end := w.end()
	return func(worker int, b capture.Batch) {
		kept := b.Packets[:0]
		for i := range b.Packets {
			p := &b.Packets[i]
			if w.From <= p.Time && p.Time <= end {
				p.Clock = min(p.Clock, end)
				kept = append(kept, *p)
			}
		}
		b.Packets = kept
		b.Clock = min(b.Clock, end)
		next(worker, b)
	}
}

// holds reports whether a transaction lies in the window as a whole.
func (w Window) holds(tx *reassembly.Transaction) bool {
	return w.From <= tx.Start && tx.End <= w.end()
}
