package replay

import (
	"context"
	"math"
	"time"

	"offpath/reassembly"
)

// Window is the part of the input that is looked at, by event time in ns since
// the epoch, both ends included. The zero value is everything.
type Window struct {
	From, To int64 // To 0: no end
}

// holds reports whether a transaction lies in the window as a whole.
func (w Window) holds(tx *reassembly.Transaction) bool {
	end := w.To
	if end == 0 {
		end = math.MaxInt64
	}
	return w.From <= tx.Start && tx.End <= end
}

// pace lets event time pass no faster than wall time times a factor, for
// transactions that are read from a file. (Captures pace themselves.)
type pace struct {
	speed float64 // 0: as fast as possible

	first int64 // event time that started the clock, ns
	began time.Time
}

// wait sleeps until the event time is due, or ctx is done.
func (p *pace) wait(ctx context.Context, event int64) {
	if p.began.IsZero() {
		p.first, p.began = event, time.Now()
	}
	ahead := float64(event-p.first)/p.speed - float64(time.Since(p.began))
	for ahead > 0 && ctx.Err() == nil {
		step := min(ahead, float64(time.Hour))
		select {
		case <-time.After(time.Duration(step)):
		case <-ctx.Done():
		}
		ahead -= step
	}
}
