package service

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/detection"
	"offpath/cmd/offpath/internal/logging"
	"offpath/cmd/offpath/internal/output"
	"offpath/cmd/offpath/internal/wiring"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/detect/plain"
	"offpath/detect/sitemap"
)

const (
	// detectionQueue is how many transactions wait at most for detection.
	detectionQueue = 64 << 10
	// askTimeout bounds a question to detection.
	askTimeout = 2 * time.Second
	// witnessEvery is how often it is looked what became of the verdicts.
	witnessEvery = time.Second
)

// detectionPart is detection at work.
type detectionPart struct {
	stage *detection.Stage
	node  *node
	log   logging.Log

	failure atomic.Pointer[error] // of an output
	unkept  atomic.Pointer[error] // of the evidence, as last written
	witness *witness
	keeper  *keeper
}

// newDetection starts detection. decided puts the engine's verdicts in force;
// written is told of each verdict's line, nil for nobody. key is that which accounts
// are known by, nil where that is not known here.
func newDetection(p *process, key []byte, decided func(*detect.Verdict), written func(v *detect.Verdict, line []byte)) (*detectionPart, error) {
	d := &detectionPart{node: &p.node, log: p.log, witness: newWitness(&p.node), keeper: newKeeper(p, key)}
	c := p.options.Config
	deciding, err := wiring.Engine(c)
	if err != nil {
		return nil, err
	}
	if deciding.Networks, err = wiring.Networks(c); err != nil {
		return nil, err
	}
	spec, err := wiring.Specification(c)
	if err != nil {
		return nil, err
	}
	if c.Detect.Sitemap > 0 {
		deciding.Map = sitemap.New(c.Detect.Sitemap)
	}
	if err := d.openEvidence(c); err != nil {
		return nil, err
	}
	files, err := output.AppendAll(c.Output.Transactions, c.Output.Findings, c.Output.Verdicts)
	if err != nil {
		return nil, err
	}
	d.stage, err = detection.Start(detection.Config{
		Engine: deciding,
		Open:   d.keeper.open,
		Queue:  detectionQueue,
		Files:  files,
		Finding: func(f *detect.Finding, line []byte) {
			d.node.evidence.Add(line)
			news := p.node.history.Add(f.ID, line)
			d.keeper.found(f, news)
			p.log.WithLevel(levelOf(news)).Str("finding", f.ID).Str("rule", f.Rule).Int("severity", f.Severity).Msg(f.Message)
		},
		Verdict: func(v *detect.Verdict, line []byte) {
			news := d.witness.decided(v) || v.Action == detect.ActionLift
			d.node.evidence.Add(line)
			if written != nil {
				written(v, line)
			}
			p.log.WithLevel(levelOf(news)).Str("verdict", v.ID).Str("action", string(v.Action)).Str("mode", string(v.Mode)).Msg(v.Message)
		},
		Decided: decided,
		Failed: func(err error) {
			d.failure.Store(&err)
			p.log.Error().Err(err).Msg("an output is given up until SIGHUP")
		},
	})
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	p.node.stage, d.keeper.stage = d.stage, d.stage
	p.node.documents.spec.Store(spec)
	if deciding.Map != nil {
		p.node.documents.stage = d.stage
	}
	p.books.Queue = d.stage.Queue
	p.books.Engine = d.engineStats
	p.books.Evidence = d.node.evidence.Stats
	return d, nil
}

// levelOf is the level at which a decision is logged: news are for everybody,
// renewals for who looks closer.
func levelOf(news bool) zerolog.Level {
	if news {
		return zerolog.InfoLevel
	}
	return zerolog.DebugLevel
}

func (d *detectionPart) run(ctx context.Context) error {
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			d.witness.look(d.stage)
			d.keep()
			d.keeper.tick(now)
		case <-ctx.Done():
			return errors.Join(d.keeper.last(d.stage.Close), d.node.evidence.Close())
		}
	}
}

func (d *detectionPart) problems() []string {
	var list []string
	if n := d.witness.broken.Load(); n > 0 {
		list = append(list, fmt.Sprintf("%s not enforced on the wire; the findings of rule %s say which", plain.Count(int(n), "verdict is", "verdicts are"), detect.RuleUnenforced))
	}
	for _, failure := range []*atomic.Pointer[error]{&d.failure, &d.unkept, &d.keeper.failure} {
		if err := failure.Load(); err != nil {
			list = append(list, (*err).Error())
		}
	}
	return list
}

func (d *detectionPart) reload(c *config.Config) {
	networks, err := wiring.Networks(c)
	if err != nil {
		d.log.Error().Err(err).Msg("a database of networks could not be read again; the old ones stay in use")
	}
	if spec, err := wiring.Specification(c); err != nil {
		d.log.Error().Err(err).Msg("the specification could not be read again; the old one stays in use")
	} else {
		d.node.documents.spec.Store(spec)
	}
	policies, wrong := c.PolicySet()
	if wrong != nil {
		d.log.Error().Err(wrong).Msg("policies could not be read again; the old ones stay in force")
	}
	overrides, bad := c.OverrideSet()
	if bad != nil {
		d.log.Error().Err(bad).Msg("overrides could not be read again; the old ones stay in force")
	}
	d.stage.Post(func(e *engine.Engine) {
		if bad == nil {
			e.SetOverrides(overrides)
		}
		// So that no line is written that the next takes back: what must not be
		// acted against first, then what is to be done less.
		e.SetAllow(c.Client.Allow)
		mode := detect.Mode(c.Mitigate.Mode)
		if mode != detect.ModeEnforce {
			e.SetMode(mode)
		}
		if wrong == nil {
			e.SetPolicies(policies)
		}
		e.SetMode(mode)
		if err == nil {
			e.SetNetworks(networks)
		}
	})
	d.failure.Store(nil)
	d.stage.Reopen(func(err error) {
		if err != nil {
			d.failure.Store(&err)
			d.log.Error().Err(err).Msg("an output could not be opened again")
		}
	})
}

func (d *detectionPart) engineStats() (engine.Stats, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	stats, err := detection.Ask(ctx, d.stage, (*engine.Engine).Stats)
	return stats, err == nil
}
