// Package detection runs the engine and hands on what it makes: the one wiring
// that `offpath run`, `offpath detect` and `offpath replay` share, whatever
// their input.
//
// A [Stage] has one goroutine, which owns the engine and the outputs and is
// fed through a bounded queue. Everything that concerns the engine (a batch, a
// change of mode, a question) is done there, one after the other. An [Inline]
// has none: whoever feeds it does the work, which costs less in all.
//
// Transactions that are fed are taken over, and released at their end.
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
	"offpath/reassembly"
)

// Config configures a Stage. Functions that are nil are left out.
// The functions are called by the stage's goroutine.
type Config struct {
	Engine engine.Config
	// Open makes the engine; nil: engine.New.
	Open func(engine.Config, engine.Sink) (*engine.Engine, error)
	// Queue is how many transactions wait at most for the engine.
	Queue int

	// Files are written to; the stage owns them.
	Files output.Files

	// Observed is told of each batch after its transactions were annotated.
	Observed func(txs []*reassembly.Transaction)
	// Finding and Verdict are told of each line that is written, the line of
	// JSON being valid until they return.
	Finding func(f *detect.Finding, line []byte)
	Verdict func(v *detect.Verdict, line []byte)
	// Decided is told of each verdict of the engine, so that it is put in
	// force.
	Decided func(v *detect.Verdict)
	// Failed is told once, of the first output that could not be written.
	Failed func(error)
}

// Stage is detection in a goroutine of its own.
type Stage struct {
	work
	queue *feed.Queue
	done  chan struct{}
}

// ErrStopped says that the stage has ended.
var ErrStopped = errors.New("detection has stopped")

// Start makes the engine and its goroutine.
func Start(cfg Config) (*Stage, error) {
	s := &Stage{queue: feed.New(cfg.Queue), done: make(chan struct{})}
	if err := s.start(cfg); err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

// Put feeds a batch and waits for room: input that can wait. The slice and the
// transactions are the stage's from then on.
func (s *Stage) Put(txs []*reassembly.Transaction, watermark int64) { s.queue.Put(txs, watermark) }

// Offer is Put for input that can't wait: when the queue is full the batch is
// shed.
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

// Watch makes an operator's verdict known: it is written like one of the
// engine's, and its effect is watched on the wire.
func (s *Stage) Watch(v detect.Verdict) {
	s.Post(func(e *engine.Engine) {
		s.announce(v)
		e.Watch(&v)
	})
}

// Say writes a finding that is not the engine's, at its place in event time. It is for
// what is called by Post.
func (s *Stage) Say(f detect.Finding) {
	f.Time = max(f.Time, s.clock)
	(*sink)(&s.work).Finding(&f)
}

// Restore makes known a verdict of an earlier run that is still in force, an
// operator's or the engine's own. It is not written again.
func (s *Stage) Restore(v detect.Verdict, operators bool) {
	s.Post(func(e *engine.Engine) {
		if operators {
			e.Watch(&v)
		} else {
			e.Restore(&v)
		}
	})
}

// Lifted makes known that an operator ended a verdict. It is written as a
// lift, and the engine starts anew with the subject.
func (s *Stage) Lifted(v detect.Verdict) {
	s.Post(func(e *engine.Engine) {
		e.Lifted(v.ID)
		v.Action = detect.ActionLift
		s.announce(v)
	})
}

// Fed is the watermark of the last batch, math.MinInt64 if there was none yet, and
// Anew says that none of what follows is known by it. Both are for what is called
// by Post.
func (s *Stage) Fed() int64 { return s.fed }
func (s *Stage) Anew()      { s.fed = math.MinInt64 }

// Queue is the books of the queue.
func (s *Stage) Queue() feed.Stats { return s.queue.Stats() }

// Close handles what was fed, ends the engine and closes the outputs. The
// error is that of the first output that could not be written.
func (s *Stage) Close() error {
	s.queue.Close()
	<-s.done
	return s.cfg.Files.Close()
}

// Reopen opens the output files anew, after a log rotation moved them away.
func (s *Stage) Reopen(report func(error)) {
	s.Post(func(*engine.Engine) {
		s.cfg.Files.Reopen(report)
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
		s.settle()
	}
}
