package service

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/detection"
	"offpath/cmd/offpath/internal/logging"
	"offpath/cmd/offpath/internal/wiring"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/mitigate/controller"
)

// deliveryTimeout is how long, at the end, load balancers that are reachable
// have to take the last verdicts.
const deliveryTimeout = 3 * time.Second

// mitigationPart keeps the load balancers in agreement with the verdicts.
type mitigationPart struct {
	controller *controller.Controller
	settings   *atomic.Pointer[config.Config]
	log        logging.Log
	hits       func([]detect.Hits)
}

func newMitigation(p *process) (*mitigationPart, error) {
	m := &mitigationPart{settings: &p.settings, log: p.log}
	settings, err := wiring.Controller(p.options.Config)
	if err != nil {
		return nil, &SetupError{err}
	}
	settings.OnHits = func(hits []detect.Hits) { m.hits(hits) }
	settings.OnTarget = m.reached
	if m.controller, err = controller.New(settings); err != nil {
		return nil, fmt.Errorf("start mitigation: %w", err)
	}
	p.node.controller = m.controller
	p.node.settings = &p.settings
	p.books.Mitigate = m.controller.Stats
	p.books.Targets = m.controller.Targets
	return m, nil
}

// feedBack has detection told of what the load balancers count, and of the
// verdicts that an earlier run left in force.
func (m *mitigationPart) feedBack(stage *detection.Stage) {
	stage.Post(func(e *engine.Engine) { e.Ended(m.controller.Lifted) })
	for _, v := range m.controller.Verdicts() {
		stage.Restore(v.Verdict, v.Who != "")
	}
	stage.Post(func(e *engine.Engine) { e.Settle(time.Now().UnixNano()) })
	m.hits = func(hits []detect.Hits) {
		stage.Post(func(e *engine.Engine) { e.Hits(hits) })
	}
}

// reached logs that a load balancer can be reached, or no longer.
func (m *mitigationPart) reached(t controller.Target) {
	if t.Connected {
		m.log.Info().Str("target", t.Name).Msg(t.Name + " is reachable and holds the active verdicts")
		return
	}
	m.log.Warn().Str("target", t.Name).Str("error", t.LastError).Msg(t.Name + " is unreachable; verdicts wait for it")
}

// decided puts a verdict of the engine in force.
func (m *mitigationPart) decided(v *detect.Verdict) {
	err := m.controller.Apply(*v)
	var rail *controller.RailError
	switch {
	case err == nil, errors.Is(err, controller.ErrUnknownVerdict), errors.Is(err, controller.ErrStale):
	case errors.As(err, &rail) && rail.Rail == controller.RailPace: // too many to say it of each; they are counted
	default:
		m.log.Warn().Str("verdict", v.ID).Err(err).Msg("verdict not put in force")
	}
}

func (m *mitigationPart) run(ctx context.Context) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	done := make(chan error, 1)
	go func() { done <- m.controller.Run(working) }()
	select {
	case err := <-done:
		return fmt.Errorf("mitigation ended by itself: %w", err)
	case <-ctx.Done():
	}
	m.deliver()
	stop()
	if err := <-done; err != nil {
		return fmt.Errorf("stop mitigation: %w", err)
	}
	return nil
}

// deliver waits until every load balancer that is reachable has everything.
func (m *mitigationPart) deliver() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(deliveryTimeout)
	for {
		waiting, late := wiring.Waiting(m.controller), 0
		for _, t := range m.controller.Targets() {
			if t.Connected {
				late += waiting[t.Name]
			}
		}
		if late == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			m.log.Warn().Strs("targets", wiring.Undelivered(m.controller)).Msg("not all verdicts reached the load balancers")
			return
		}
	}
}

func (m *mitigationPart) problems() []string {
	var problems []string
	for _, t := range m.controller.Targets() {
		if !t.Connected {
			problems = append(problems, wiring.Unreachable(&t))
		}
	}
	if s := m.controller.Stats(); s.StateError != "" {
		problems = append(problems, "state is not kept: "+s.StateError)
	}
	return problems
}

func (m *mitigationPart) reload(c *config.Config) {
	const who = "configuration"
	err := errors.Join(m.controller.SetMode(detect.Mode(c.Mitigate.Mode), who), m.controller.SetAllow(c.Client.Allow, who))
	if err != nil {
		m.log.Error().Err(err).Msg("mitigation refused the new configuration")
	}
}
