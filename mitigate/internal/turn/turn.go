// Package turn has a lock for what takes as long as a load balancer does: who waits for it,
// waits no longer than a context lasts.
package turn

import "context"

// Turn is such a lock. Who waited longest has it next.
type Turn struct{ taken chan struct{} }

// New makes one that nobody has.
func New() Turn { return Turn{make(chan struct{}, 1)} }

// Take waits for it; an error is the cause of the context's end, and then the caller does not have it.
func (t Turn) Take(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case t.taken <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Try takes it if nobody has it, and says whether it did.
func (t Turn) Try() bool {
	select {
	case t.taken <- struct{}{}:
		return true
	default:
		return false
	}
}

// End gives it to whoever is next.
func (t Turn) End() { <-t.taken }
