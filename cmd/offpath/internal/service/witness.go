package service

import (
	"sync/atomic"
	"time"

	"offpath/cmd/offpath/internal/detection"
	"offpath/detect"
	"offpath/detect/engine"
)

// maxWaiting bounds the verdicts whose first refusal is waited for.
const maxWaiting = 1 << 17

// seen stands for the time of a verdict whose first refusal was seen.
const seen = -1

// witness measures how long it takes from a verdict to the first refusal on
// the wire. All but look runs in the stage's goroutine.
type witness struct {
	node    *node
	times   map[string]int64 // event time of each new verdict, or seen; by id
	looking atomic.Bool
}

func newWitness(n *node) *witness { return &witness{node: n, times: map[string]int64{}} }

// decided notes when a verdict was first decided, and reports whether it is
// new: neither a renewal nor a lift.
func (w *witness) decided(v *detect.Verdict) bool {
	if v.Action == detect.ActionLift {
		return false
	}
	if _, known := w.times[v.ID]; known {
		return false
	}
	if len(w.times) < maxWaiting {
		w.times[v.ID] = v.Time
	}
	return true
}

// look has it looked what became of the verdicts, unless that is still under
// way.
func (w *witness) look(stage *detection.Stage) {
	if !w.looking.CompareAndSwap(false, true) {
		return
	}
	stage.Post(func(e *engine.Engine) {
		defer w.looking.Store(false)
		w.update(e.Enforcement)
	})
}

// update reports first refusals, and forgets verdicts that are no longer
// followed.
func (w *witness) update(enforcement func(id string) (detect.Enforcement, bool)) {
	for id, at := range w.times {
		e, followed := enforcement(id)
		switch {
		case !followed:
			delete(w.times, id)
		case at != seen && e.FirstRefused != 0:
			// A verdict of an earlier run was refused before its first line here.
			if e.FirstRefused >= at {
				w.node.refused(time.Duration(e.FirstRefused - at))
			}
			w.times[id] = seen
		}
	}
}
