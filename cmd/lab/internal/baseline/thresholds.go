package baseline

import (
	"time"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/reassembly"
)

// The defaults of F5 Advanced WAF's brute force protection (techdocs, 16.0).
const (
	perAddress  = 20
	perUser     = 3
	perLogin    = 100 // failures at a login URL in all: a distributed attack
	measured    = 900 * time.Second
	prevention  = 3600 * time.Second
	userIsHeld  = detect.ActionHold      // inline it would be a CAPTCHA for the account
	allAreAsked = detect.ActionChallenge // everybody at that URL
)

// Thresholds counts failures per address, per account and per login URL in a
// period.
type Thresholds struct {
	decisions
	counts map[detect.Subject]*period
}

type period struct {
	begun int64
	n     int
}

// NewThresholds makes Thresholds.
func NewThresholds(sink engine.Sink) *Thresholds {
	return &Thresholds{newDecisions(sink, "thresholds"), make(map[detect.Subject]*period)}
}

// Observe implements judge.Detector.
func (t *Thresholds) Observe(tx *reassembly.Transaction, truth traffic.Truth) {
	tx.Annotation = reassembly.Annotation{}
	if !truth.Login {
		return
	}
	tx.Annotation.Endpoint = tx.Request.Method + " " + tx.Request.Domain + tx.Request.Path
	if !failure(tx, truth) {
		return
	}
	for _, c := range [...]struct {
		subject detect.Subject
		limit   int
		action  detect.Action
	}{
		{address(tx), perAddress, detect.ActionBlock},
		{detect.Subject{UserHash: tx.Auth.UserHash}, perUser, userIsHeld},
		{detect.Subject{Endpoint: tx.Annotation.Endpoint}, perLogin, allAreAsked},
	} {
		p := t.counts[c.subject]
		if p == nil {
			p = new(period)
			t.counts[c.subject] = p
		}
		if tx.End-p.begun >= measured.Nanoseconds() {
			*p = period{begun: tx.End}
		}
		if p.n++; p.n >= c.limit {
			t.decide(tx, c.subject, c.action, prevention)
		}
	}
}
