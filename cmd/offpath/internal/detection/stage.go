// Package detection runs the engine and hands on what it makes: the one wiring
// that `offpath run`, `offpath detect` and `offpath replay` share, whatever
// their input.
//
// A [Stage] has one goroutine, which owns the engine and the outputs and is
// fed through a bounded queue. Everything that concerns the engine (a batch, a
// change of mode, a question) is done there, one after the other.
package detection

import (
	"context"
	"errors"
	"fmt"
	"math"

	"offpath/cmd/offpath/internal/feed"
	"offpath/cmd/offpath/internal/output"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/detect/jsonl"
	"offpath/reassembly"
)

// Config configures a Stage. Outputs and functions that are nil are left out.
// The functions are called by the stage's goroutine.
type Config struct {
	Engine engine.Config
	// Queue is how many transactions wait at most for the engine.
	Queue int

	Transactions       *output.Transactions
	Findings, Verdicts *output.Lines

	// Observed is told of each batch after its transactions were annotated.
	Observed func(txs []*reassembly.Transaction)
	// Finding and Verdict are told of each decision and of its line of JSON,
	// which is valid until they return.
	Finding func(f *detect.Finding, line []byte)
	Verdict func(v *detect.Verdict, line []byte)
	// Failed is told once, of the first output that could not be written.
	Failed func(error)
}

// Stage is detection at work.
type Stage struct {
	cfg    Config
	engine *engine.Engine
	queue  *feed.Queue
	done   chan struct{}
	line   []byte
	failed bool
}

// ErrStopped says that the stage has ended.
var ErrStopped = errors.New("detection has stopped")

// Start makes the engine and its goroutine.
func Start(cfg Config) (*Stage, error) {
	s := &Stage{cfg: cfg, queue: feed.New(cfg.Queue), done: make(chan struct{})}
	var err error
	if s.engine, err = engine.New(cfg.Engine, (*sink)(s)); err != nil {
		return nil, fmt.Errorf("start detection: %w", err)
	}
	go s.run()
	return s, nil
}

// Put feeds a batch and waits for room: input that can wait.
func (s *Stage) Put(txs []*reassembly.Transaction, watermark int64) { s.queue.Put(txs, watermark) }

// Offer feeds a batch, or sheds it when the queue is full: input that can't.
func (s *Stage) Offer(txs []*reassembly.Transaction, watermark int64) { s.queue.Offer(txs, watermark) }

// Post has do called with the engine after everything that was fed before; it
// does not wait. After Close it does nothing.
func (s *Stage) Post(do func(e *engine.Engine)) {
	s.queue.Call(func() { do(s.engine) })
}

// Ask is Post for a question, and waits for the answer.
func Ask[T any](ctx context.Context, s *Stage, question func(e *engine.Engine) T) (T, error) {
	answer := make(chan T, 1)
	s.Post(func(e *engine.Engine) { answer <- question(e) })
	var none T
	select {
	case a := <-answer:
		return a, nil
	case <-s.done:
		return none, ErrStopped
	case <-ctx.Done():
		return none, fmt.Errorf("detection does not answer: %w", ctx.Err())
	}
}

// Queue is the books of the queue.
func (s *Stage) Queue() feed.Stats { return s.queue.Stats() }

// Close handles what was fed, ends the engine and closes the outputs. The
// error is that of the first output that could not be written.
func (s *Stage) Close() error {
	s.queue.Close()
	<-s.done
	var err error
	if s.cfg.Transactions != nil {
		err = s.cfg.Transactions.Close()
	}
	return errors.Join(err, s.cfg.Findings.Close(), s.cfg.Verdicts.Close())
}

// Reopen opens the output files anew, after a log rotation moved them away.
func (s *Stage) Reopen(report func(error)) {
	s.Post(func(*engine.Engine) {
		if s.cfg.Transactions != nil {
			s.cfg.Transactions.Reopen(report)
		}
		report(s.cfg.Findings.Reopen())
		report(s.cfg.Verdicts.Reopen())
		s.failed = false
	})
}

func (s *Stage) run() {
	defer close(s.done)
	for {
		batches, ok := s.queue.Take()
		if !ok {
			s.engine.Close()
			return
		}
		for _, b := range batches {
			s.handle(b)
		}
		s.cfg.Findings.Flush()
		s.cfg.Verdicts.Flush()
		s.checkOutputs()
	}
}

func (s *Stage) handle(b feed.Batch) {
	if b.Call != nil {
		b.Call()
	}
	for _, tx := range b.Transactions {
		s.engine.Observe(tx)
	}
	if b.Watermark != math.MinInt64 {
		s.engine.Advance(b.Watermark)
	}
	if len(b.Transactions) == 0 {
		return
	}
	if s.cfg.Observed != nil {
		s.cfg.Observed(b.Transactions)
	}
	if s.cfg.Transactions != nil {
		s.cfg.Transactions.Add(b.Transactions)
	}
}

// checkOutputs reports the first output that fails.
func (s *Stage) checkOutputs() {
	if s.failed || s.cfg.Failed == nil {
		return
	}
	err := errors.Join(s.cfg.Findings.Err(), s.cfg.Verdicts.Err())
	if err == nil && s.cfg.Transactions != nil {
		err = s.cfg.Transactions.Err()
	}
	if err != nil {
		s.failed = true
		s.cfg.Failed(err)
	}
}

// sink is the stage as the engine sees it.
type sink Stage

// Finding implements engine.Sink.
func (s *sink) Finding(f *detect.Finding) {
	s.line = jsonl.AppendFinding(s.line[:0], f)
	s.cfg.Findings.Add(s.line)
	if s.cfg.Finding != nil {
		s.cfg.Finding(f, s.line)
	}
}

// Verdict implements engine.Sink.
func (s *sink) Verdict(v *detect.Verdict) {
	s.line = jsonl.AppendVerdict(s.line[:0], v)
	s.cfg.Verdicts.Add(s.line)
	if s.cfg.Verdict != nil {
		s.cfg.Verdict(v, s.line)
	}
}
