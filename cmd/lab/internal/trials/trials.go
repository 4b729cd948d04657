// Package trials judges offpath's engine, and re-built rivals, on seeds of the
// detection benchmark's scenarios, and reports the worst of them.
//
// Trials run side by side, each in a goroutine of its own with a stream, a
// detector and a judge that nothing else touches; what is reported does not
// depend on how many. Only nanoseconds per transaction are the machine's.
package trials

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"offpath/cmd/lab/internal/baseline"
	"offpath/cmd/lab/internal/judge"
	"offpath/cmd/lab/internal/labelled"
	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
)

// Options say how to run.
type Options struct {
	// Enforced makes verdicts count: what they match is refused.
	Enforced bool
	// Rivals has re-built rivals judged on the same traffic.
	Rivals bool
	// Parallel is how many trials run side by side; 0: as many as there are cores.
	Parallel int
	// Done, if set, is called after each trial.
	Done func(Trial)
}

// Trial is a scenario with a seed, or a labelled capture, and how the engine did.
type Trial struct {
	Scenario string       `json:"scenario"`
	Seed     uint64       `json:"seed,omitempty"`
	Notes    []string     `json:"notes,omitempty"`
	Seconds  float64      `json:"seconds"` // that it took
	Result   judge.Result `json:"result"`
	Rivals   []Rival      `json:"rivals,omitempty"`

	open  func(context.Context) (*opened, error)
	alone bool // nothing else may run meanwhile
}

// Name is that of the scenario with its seed, or of the capture.
func (t *Trial) Name() string {
	if t.Seed == 0 {
		return t.Scenario
	}
	return fmt.Sprintf("%s seed %d", t.Scenario, t.Seed)
}

// Rival is how another detector did.
type Rival struct {
	Name   string       `json:"name"`
	Result judge.Result `json:"result"`
}

// rivals are those re-built.
var rivals = []judge.Contender{
	{Name: "bucket", Build: func(s engine.Sink) (judge.Detector, error) { return baseline.NewBucket(s), nil }},
	{Name: "thresholds", Build: func(s engine.Sink) (judge.Detector, error) { return baseline.NewThresholds(s), nil }},
	{Name: "sequential", Build: func(s engine.Sink) (judge.Detector, error) { return baseline.NewSequential(s), nil }},
}

// opened is traffic ready to be judged.
type opened struct {
	judge.Case
	notes   []string
	trusted []netip.Prefix
	close   func() error
}

// Scenarios makes trials of scenarios with seeds; where memory is weighed, of the
// first seed alone.
func Scenarios(scenarios []traffic.Scenario, seeds []uint64) []Trial {
	var list []Trial
	for _, s := range scenarios {
		for _, seed := range seeds {
			list = append(list, Trial{Scenario: s.Name, Seed: seed, alone: s.Weigh, open: func(context.Context) (*opened, error) {
				run := s.Open(seed)
				return &opened{
					Case:  judge.Case{Source: run, Onset: run.Onset, Attack: s.Attack, Weigh: s.Weigh},
					notes: run.Notes, trusted: run.Proxies(), close: func() error { return nil },
				}, nil
			}})
			if s.Weigh {
				break
			}
		}
	}
	return list
}

// Captures makes trials of the labelled captures of a folder. Of packets the
// forwarding headers of trusted networks are believed.
func Captures(dir string, trusted []netip.Prefix) ([]Trial, error) {
	captures, err := labelled.Find(dir)
	if err != nil {
		return nil, err
	}
	var list []Trial
	for _, c := range captures {
		list = append(list, Trial{Scenario: c.Name, open: func(ctx context.Context) (*opened, error) {
			source, err := c.Open(ctx, trusted)
			if err != nil {
				return nil, err
			}
			o := &opened{Case: judge.Case{Source: source, Onset: judge.OnsetUnknown, Attack: source.Attack, ByRole: source.ByRole}, trusted: trusted, close: source.Close}
			if !source.Attack {
				o.Onset = 0
			}
			return o, nil
		}})
	}
	return list, nil
}

// Run runs trials, and fills in how they went.
func Run(ctx context.Context, list []Trial, o Options) error {
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	for i := range list {
		if list[i].alone {
			if err := list[i].run(ctx, &o); err != nil {
				return err
			}
			if o.Done != nil {
				o.Done(list[i])
			}
		}
	}
	var (
		work  sync.WaitGroup
		mu    sync.Mutex
		next  int
		fault error
	)
	for range o.Parallel {
		work.Go(func() {
			for {
				mu.Lock()
				for next < len(list) && list[next].alone {
					next++
				}
				i := next
				next++
				stop := i >= len(list) || fault != nil || ctx.Err() != nil
				mu.Unlock()
				if stop {
					return
				}
				err := list[i].run(ctx, &o)
				mu.Lock()
				if err != nil {
					fault = err
				} else if o.Done != nil {
					o.Done(list[i])
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if fault != nil {
		return fault
	}
	return ctx.Err()
}

func (t *Trial) run(ctx context.Context, options *Options) error {
	begun := time.Now()
	o, err := t.open(ctx)
	if err != nil {
		return err
	}
	t.Notes = o.notes
	cfg := engine.Config{TrustedProxies: o.trusted, Mode: detect.ModeMonitor}
	if o.Enforced = options.Enforced; o.Enforced {
		cfg.Mode = detect.ModeEnforce
	}
	contenders := []judge.Contender{judge.Engine(cfg)}
	if options.Rivals && !t.alone {
		contenders = append(contenders, rivals...)
	}
	results, err := judge.Judge(o.Case, contenders...)
	if err == nil {
		t.Result = results[0]
		for i, r := range results[1:] {
			r.Messages = nil
			t.Rivals = append(t.Rivals, Rival{contenders[i+1].Name, r})
		}
	}
	if err = errors.Join(err, o.close()); err != nil {
		return err
	}
	if t.Result.Nanoseconds, err = t.cost(ctx, contenders[0]); err != nil {
		return err
	}
	for i := range t.Rivals {
		if t.Rivals[i].Result.Nanoseconds, err = t.cost(ctx, contenders[i+1]); err != nil {
			return err
		}
	}
	t.Seconds = time.Since(begun).Seconds()
	return nil
}

// cost is what a contender takes of a processor for each transaction.
func (t *Trial) cost(ctx context.Context, one judge.Contender) (float64, error) {
	o, err := t.open(ctx)
	if err != nil {
		return 0, err
	}
	ns, err := judge.Cost(o.Source, one)
	return ns, errors.Join(err, o.close())
}
