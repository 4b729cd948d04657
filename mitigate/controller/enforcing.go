package controller

import (
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// Enforcing is where requests of a verdict's subject should be refused.
type Enforcing struct {
	// Wanted says that they should be refused: the verdict is active and acts, nothing
	// stricter stands in its place, and a target is to enforce.
	Wanted bool
	// By are the targets that have confirmed both the verdict and mode enforce, Not those
	// that should have.
	By, Not []string
}

// Enforcing says where a verdict that keeps requests out is enforced, as targets say; of
// one that only limits a rate, which lets requests through, it is not Wanted.
func (c *Controller) Enforcing(id string) (e Enforcing) {
	parsed, err := mitigate.ParseID(id)
	if err != nil {
		return e
	}
	var asked []*worker // that are to hold it
	now := time.Now().Unix()
	c.mu.Lock()
	it := c.desired.byID[parsed]
	if it != nil && it.acts() && it.entry.Action != detect.ActionRateLimit {
		for _, w := range c.workers {
			if _, only := w.target.(mitigate.Informer); only {
				continue // it is told; what becomes of that is its own affair
			}
			w.mu.Lock()
			if w.inForce(c.desired.bySubject[it.entry.Subject], now, nil) == it {
				asked = append(asked, w)
			}
			w.mu.Unlock()
		}
	}
	c.mu.Unlock()
	for _, w := range asked {
		if wanted, _ := c.wantedMode(w.target.Name()); wanted != detect.ModeEnforce {
			continue
		}
		e.Wanted = true
		w.mu.Lock()
		held, holds := w.applied[it.entry.Subject]
		confirmed := holds && held.ID == parsed && w.state.Connected && w.state.Mode == detect.ModeEnforce && !w.state.LocalOff
		w.mu.Unlock()
		if confirmed {
			e.By = append(e.By, w.target.Name())
		} else {
			e.Not = append(e.Not, w.target.Name())
		}
	}
	return e
}
