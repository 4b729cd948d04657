package service

import (
	"fmt"

	"offpath/detect"
	"offpath/detect/plain"
	"offpath/mitigate/controller"
)

const (
	// grace is how long a verdict that should keep requests out may go without effect
	// from when that was first seen, ns of event time.
	grace = 10e9
	// fewAnswers is how many requests of its subject must be answered after that.
	fewAnswers = 3
)

// wire is whether the wire shows a verdict enforced.
type wire struct {
	seen   uint64 // answers, at the last look
	since  int64  // event time from which on there should be none; 0: they may be
	before uint64 // answers until grace was over
	broken bool   // it was said that it is not enforced
}

// look compares what the wire shows with what should be enforced. What is news is said
// by the finding, once.
func (w *wire) look(v *detect.Verdict, e *detect.Enforcement, enforcing func(id string) controller.Enforcing) (f detect.Finding, news bool) {
	if e.Answered == w.seen {
		return f, false
	}
	w.seen = e.Answered
	at := enforcing(v.ID)
	switch {
	case !at.Wanted:
		w.since = 0
	case w.since == 0:
		w.since, w.before = e.Time, e.Answered
	case e.Time-w.since < grace:
		w.before = e.Answered
	case e.Answered-w.before >= fewAnswers && !w.broken:
		w.broken = true
		return unenforced(v, e, w, &at), true
	}
	return f, false
}

// unenforced is the finding that a verdict has no effect.
func unenforced(v *detect.Verdict, e *detect.Enforcement, w *wire, at *controller.Enforcing) detect.Finding {
	why := fmt.Sprintf("It is confirmed by %s: see that the rules that `offpath target-config` prints come first in every frontend, and that the load balancer takes the same address for the client's", plain.Join(at.By))
	if len(at.By) == 0 {
		why = fmt.Sprintf("It is not confirmed by %s; `offpath check` says why", plain.Join(at.Not))
	} else if len(at.Not) > 0 {
		why = fmt.Sprintf("It is confirmed by %s, not by %s; `offpath check` says why", plain.Join(at.By), plain.Join(at.Not))
	}
	return detect.Finding{
		Time: e.Time, ID: detect.NewID(detect.RuleUnenforced+v.ID, v.Subject, e.Time), Kind: "alert", Rule: detect.RuleUnenforced, Severity: 80,
		Subject: v.Subject, WindowStart: w.since, WindowEnd: e.Time,
		Evidence: detect.Evidence{Statistic: float64(e.Answered - w.before), Threshold: fewAnswers, Terms: []detect.Term{
			{Name: "answered", Value: float64(e.Answered)}, {Name: "refused", Value: float64(e.Refused)},
		}},
		Message: fmt.Sprintf("Verdict %s is not enforced: requests of %s are still answered, %d within %s. %s.",
			v.ID, plain.Subject(v.Subject), e.Answered-w.before, plain.Span(e.Time-w.since), why),
	}
}
