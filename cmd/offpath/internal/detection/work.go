package detection

import (
	"fmt"
	"math"

	"offpath/cmd/offpath/internal/feed"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/detect/jsonl"
)

// work is what a stage does, in whichever goroutine. It owns engine and
// outputs.
type work struct {
	cfg    Config
	engine *engine.Engine
	line   []byte
	clock  int64 // event time, ns; 0 before the first
	fed    int64 // watermark of the last batch; math.MinInt64: none since the input began anew
	failed bool
}

func (s *work) start(cfg Config) error {
	s.cfg, s.fed = cfg, math.MinInt64
	open := cfg.Open
	if open == nil {
		open = engine.New
	}
	var err error
	if s.engine, err = open(cfg.Engine, (*sink)(s)); err != nil {
		return fmt.Errorf("start detection: %w", err)
	}
	return nil
}

// settle writes what was gathered, and looks how it went.
func (s *work) settle() {
	s.cfg.Files.Flush()
	s.checkOutputs()
}

// handle takes a batch.
func (s *work) handle(b feed.Batch) {
	if b.Call != nil {
		b.Call()
	}
	for _, tx := range b.Transactions {
		if tx.Event == nil { // detection is of exchanges; what a hello says is in them
			s.engine.Observe(tx)
		}
		s.clock = max(s.clock, tx.End)
	}
	if b.Watermark != math.MinInt64 && b.Watermark != math.MaxInt64 {
		s.engine.Advance(b.Watermark)
		s.clock, s.fed = max(s.clock, b.Watermark), b.Watermark
	}
	if len(b.Transactions) == 0 {
		return
	}
	if s.cfg.Observed != nil {
		s.cfg.Observed(b.Transactions)
	}
	s.cfg.Files.Transactions.Add(b.Transactions)
}

// announce writes the verdict of an operator at its place in event time.
func (s *work) announce(v detect.Verdict) {
	if s.clock != 0 {
		v.Time = s.clock
	}
	(*sink)(s).write(&v)
}

// checkOutputs reports the first output that fails.
func (s *work) checkOutputs() {
	if s.failed || s.cfg.Failed == nil {
		return
	}
	if err := s.cfg.Files.Err(); err != nil {
		s.failed = true
		s.cfg.Failed(err)
	}
}

// sink is the work as the engine sees it.
type sink work

// Finding implements engine.Sink.
func (s *sink) Finding(f *detect.Finding) {
	s.line = jsonl.AppendFinding(s.line[:0], f)
	s.cfg.Files.Findings.Add(s.line)
	if s.cfg.Finding != nil {
		s.cfg.Finding(f, s.line)
	}
}

// Verdict implements engine.Sink.
func (s *sink) Verdict(v *detect.Verdict) {
	s.write(v)
	if s.cfg.Decided != nil {
		s.cfg.Decided(v)
	}
}

func (s *sink) write(v *detect.Verdict) {
	s.line = jsonl.AppendVerdict(s.line[:0], v)
	s.cfg.Files.Verdicts.Add(s.line)
	if s.cfg.Verdict != nil {
		s.cfg.Verdict(v, s.line)
	}
}
