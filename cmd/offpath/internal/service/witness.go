package service

import (
	"sync/atomic"
	"time"

	"offpath/cmd/offpath/internal/detection"
	"offpath/detect"
	"offpath/detect/engine"
)

// maxWaiting bounds the verdicts that are followed.
const maxWaiting = 1 << 17

// witness measures how long it takes from a verdict to the first refusal on the wire,
// and says where verdicts are not enforced. All but look and unenforced run in the
// stage's goroutine.
type witness struct {
	node     *node
	followed map[string]*followed // by id
	looking  atomic.Bool
	broken   atomic.Int64 // verdicts whose requests are answered though they should not be
}

// followed is a verdict of this run.
type followed struct {
	verdict detect.Verdict // as it was first
	refused bool           // its first refusal was seen
	wire    wire
}

func newWitness(n *node) *witness { return &witness{node: n, followed: map[string]*followed{}} }

// decided notes when a verdict was first decided, and reports whether it is
// new: neither a renewal nor a lift.
func (w *witness) decided(v *detect.Verdict) bool {
	if v.Action == detect.ActionLift {
		return false
	}
	if _, known := w.followed[v.ID]; known {
		return false
	}
	if len(w.followed) < maxWaiting {
		w.followed[v.ID] = &followed{verdict: *v}
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
		w.update(e.Enforcement, stage.Say)
	})
}

// update reports first refusals and what is not enforced, and forgets verdicts that are
// no longer followed.
func (w *witness) update(enforcement func(id string) (detect.Enforcement, bool), say func(detect.Finding)) {
	var broken int64
	for id, f := range w.followed {
		e, ok := enforcement(id)
		if !ok {
			delete(w.followed, id)
			continue
		}
		if !f.refused && e.FirstRefused != 0 {
			// A verdict of an earlier run was refused before its first line here.
			if e.FirstRefused >= f.verdict.Time {
				w.node.refused(time.Duration(e.FirstRefused - f.verdict.Time))
			}
			f.refused = true
		}
		if w.node.controller == nil {
			continue
		}
		if finding, news := f.wire.look(&f.verdict, &e, w.node.controller.Enforcing); news {
			say(finding)
		}
		if f.wire.broken && e.State == detect.WireAnswered {
			broken++
		}
	}
	w.broken.Store(broken)
}
