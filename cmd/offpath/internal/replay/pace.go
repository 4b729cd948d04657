package replay

import (
	"context"
	"sync"
	"time"

	"offpath/capture"
)

// pace lets event time pass no faster than wall time times a factor. It is
// the same clock for all workers.
type pace struct {
	speed float64

	mu    sync.Mutex
	first int64 // event time that started the clock, ns
	began time.Time
}

// wait sleeps until the event time is due, or ctx is done.
func (p *pace) wait(ctx context.Context, event int64) {
	p.mu.Lock()
	if p.began.IsZero() {
		p.first, p.began = event, time.Now()
	}
	due := p.began.Add(time.Duration(float64(event-p.first) / p.speed))
	p.mu.Unlock()
	delay := time.Until(due)
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// due reports whether an event time has been reached.
func (p *pace) due(event int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.began.IsZero() && !time.Now().Before(p.began.Add(time.Duration(float64(event-p.first)/p.speed)))
}

// paced hands packets to next when their time has come; a batch is cut where
// it has to wait.
func paced(ctx context.Context, p *pace, next capture.Handler) capture.Handler {
	return func(worker int, b capture.Batch) {
		for len(b.Packets) > 0 && ctx.Err() == nil {
			p.wait(ctx, b.Packets[0].Clock)
			n := 1
			for n < len(b.Packets) && p.due(b.Packets[n].Clock) {
				n++
			}
			next(worker, capture.Batch{Packets: b.Packets[:n:n], Clock: b.Packets[n-1].Clock})
			b.Packets = b.Packets[n:]
		}
		if ctx.Err() == nil {
			next(worker, b)
		}
	}
}
