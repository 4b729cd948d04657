// Package pacer keeps requests apart from each other, for interfaces that bear few.
//
// A Pacer may be used concurrently.
package pacer

import (
	"context"
	"sync"
	"time"
)

// Pacer keeps requests of one kind apart. The zero value lets all pass.
type Pacer struct {
	Interval time.Duration // least time from one request to the next

	mu   sync.Mutex
	next time.Time
}

// Wait returns when the next request may go, counted from when the last one did.
func (p *Pacer) Wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		now := time.Now()
		rest := p.next.Sub(now)
		if rest <= 0 {
			p.next = now.Add(p.Interval)
		}
		p.mu.Unlock()
		if rest <= 0 {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rest):
		}
	}
}

// Pass is for a request that does not wait: the others wait for it.
func (p *Pacer) Pass() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.After(p.next) {
		p.next = now
	}
	p.next = p.next.Add(p.Interval)
}
