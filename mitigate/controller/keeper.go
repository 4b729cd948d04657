package controller

import (
	"context"
	"time"

	"offpath/detect"
)

// modeRefresh is how often the mode is ordered although it is right: at HAProxy
// its row expires after 24 days, at Cloudflare the rule refuses nobody after three hours.
const modeRefresh = time.Hour

// keepMode keeps the target in the wanted mode until the context ends. It is a
// goroutine of its own, so that the kill switch waits for nothing.
func (w *worker) keepMode(ctx context.Context) {
	poll := time.NewTicker(w.controller.config.PollInterval)
	defer poll.Stop()
	var released uint64 // number of On orders carried out
	var ordered time.Time
	changed := false // the wanted mode is another
	for {
		if !changed {
			select {
			case <-ctx.Done():
				return
			case <-poll.C:
			case <-w.wakeup:
				changed = true
			}
		}
		wanted, release := w.controller.wantedMode(w.target.Name())
		if !changed {
			var wrong bool
			changed = w.unlessWoken(ctx, func(ctx context.Context) { wrong = w.wrongMode(ctx, wanted) })
			if changed || !wrong && released == release && time.Since(ordered) < modeRefresh {
				continue
			}
		}
		changed = w.unlessWoken(ctx, func(ctx context.Context) {
			if w.setMode(ctx, wanted, released != release) {
				released, ordered = release, time.Now()
				w.wrongMode(ctx, wanted)
			}
		})
		if ctx.Err() != nil {
			return
		}
	}
}

// unlessWoken does something until another mode is ordered: what is under way may wait for a
// target that takes no requests for now, and the kill switch is tried all the same.
func (w *worker) unlessWoken(ctx context.Context, do func(context.Context)) (woken bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); do(ctx) }()
	select {
	case <-done:
		return false
	case <-w.wakeup:
		cancel()
		<-done
		return true
	}
}

// wrongMode reads the mode in force; what can't be read is not wrong.
func (w *worker) wrongMode(ctx context.Context, wanted detect.Mode) bool {
	ctx, cancel := context.WithTimeout(ctx, w.controller.config.OrderTimeout)
	defer cancel()
	mode, local, err := w.target.Mode(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.state.Mode = "" // not known
		return false
	}
	if local && !w.state.LocalOff {
		w.record("off", "", "by order at the load balancer")
	}
	w.state.Mode, w.state.LocalOff = mode, local
	return mode != wanted && !local
}

func (w *worker) setMode(ctx context.Context, mode detect.Mode, release bool) bool {
	limited, cancel := context.WithTimeout(ctx, w.controller.config.OrderTimeout)
	defer cancel()
	err := w.target.SetMode(limited, mode, release)
	if err == nil {
		w.record("mode", "", string(mode)+" at the load balancer")
		return true
	}
	if ctx.Err() == nil {
		w.mu.Lock()
		w.state.Errors++
		w.state.LastError = err.Error()
		w.mu.Unlock()
	}
	return false
}
