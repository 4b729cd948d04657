// Package trials judges offpath's engine, and re-built rivals, on seeds of the
// detection benchmark's scenarios, and reports the worst of them.
//
// Trials run side by side, each in a goroutine of its own with a stream, a
// detector and a judge that nothing else touches; what is reported does not
// depend on how many. Only nanoseconds per transaction are the machine's.
package trials

import (
	"context"
	"runtime"
	"sync"
	"time"

	"offpath/cmd/lab/internal/judge"
	"offpath/cmd/lab/internal/traffic"
	"offpath/detect/engine"
)

// Options say what to run.
type Options struct {
	Scenarios []traffic.Scenario
	Seeds     []uint64
	// Enforced makes verdicts count: what they match is refused.
	Enforced bool
	// Parallel is how many trials run side by side; 0: as many as there are cores.
	Parallel int
	// Done, if set, is called after each trial.
	Done func(Trial)
}

// Trial is a scenario with a seed, and how the engine did.
type Trial struct {
	Scenario string       `json:"scenario"`
	Seed     uint64       `json:"seed"`
	Notes    []string     `json:"notes,omitempty"`
	Seconds  float64      `json:"seconds"` // that it took
	Result   judge.Result `json:"result"`
	scenario traffic.Scenario
}

// Run runs all trials and returns them by scenario, then seed.
func Run(ctx context.Context, o Options) ([]Trial, error) {
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	list := make([]Trial, 0, len(o.Scenarios)*len(o.Seeds))
	for _, s := range o.Scenarios {
		for _, seed := range o.Seeds {
			list = append(list, Trial{Scenario: s.Name, Seed: seed, scenario: s})
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
				i := next
				next++
				stop := i >= len(list) || fault != nil || ctx.Err() != nil
				mu.Unlock()
				if stop {
					return
				}
				err := list[i].run(o.Enforced)
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
		return nil, fault
	}
	return list, ctx.Err()
}

func (t *Trial) run(enforced bool) (err error) {
	begun := time.Now()
	run := t.scenario.Open(t.Seed)
	t.Notes = run.Notes
	t.Result, err = judge.Engine(engine.Config{TrustedProxies: run.Proxies()}, judge.Case{
		Source: run, Onset: run.Onset, Enforced: enforced, Attack: t.scenario.Attack,
	})
	t.Seconds = time.Since(begun).Seconds()
	return err
}
