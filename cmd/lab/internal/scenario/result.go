package scenario

import (
	"context"
	"fmt"
	"time"

	"offpath/cmd/lab/internal/attack"
	"offpath/cmd/lab/internal/balancer"
	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/crowd"
	"offpath/cmd/lab/internal/internet"
	"offpath/cmd/lab/internal/sensor"
)

// drain is how long offpath gets to work off what it has captured.
const drain = 5 * time.Second

// result is everything that was measured.
type result struct {
	observer *observer
	probe    *probe

	people      crowd.Counts
	peopleError error
	stuffing    attack.Counts
	bank        bank.Counts
	attack      []balancer.Entry
	journal     balancer.Counts // customers, the probe aside
	first       time.Time       // first request of the attack
	refusal     time.Time       // first refusal of the attack
	logsLost    int
	malformed   int

	mirrored   uint64 // frames that the switch sent to the tap since offpath was ready
	mirrorLost uint64
	metrics    sensor.Metrics
	harmed     []string           // verdicts without an address that touch customers
	replayed   *sensor.Comparison // with what the recording gives; nil without one
}

// settle waits until everything is counted and collects it.
func (s *stage) settle(ctx context.Context, o *observer, p *probe) (*result, error) {
	r := &result{observer: o, probe: p, people: s.crowd.Counts(), peopleError: s.crowd.FirstBroken(), stuffing: s.books.Counts()}
	var err error
	if r.bank, err = bank.ReadBooks(ctx, s.bankBooks()); err != nil {
		return nil, err
	}
	if r.logsLost, err = s.balancer.DroppedLogs(ctx); err != nil {
		return nil, err
	}
	journal := s.balancer.Journal
	r.attack, r.journal, r.malformed = journal.Attack(), journal.Customers(p.address()), journal.Malformed()
	r.first, r.refusal = journal.First()
	if err := s.drained(ctx, r); err != nil {
		return nil, err
	}
	if err := o.poll(ctx); err != nil {
		return nil, fmt.Errorf("last look at offpath: %w", err)
	}
	if err := s.sensor.Stop(); err != nil {
		return nil, err
	}
	if r.harmed, err = s.config.Harm(internet.Attacker); err != nil {
		return nil, err
	}
	if s.options.Record != "" {
		s.time.Say("replaying the recording")
		if r.replayed, err = s.config.Replay(ctx, s.options.Record, s.options.Tap == internet.Back); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// The product's metrics that the acceptance is about.
const (
	metricFrames = "offpath_capture_frames_total"
	metricDrops  = "offpath_capture_dropped_total"
	metricLogins = "offpath_detect_logins_total"
	metricLegs   = "offpath_detect_second_legs_total"
)

// drained waits until offpath has seen every mirrored frame, or for long
// enough.
func (s *stage) drained(ctx context.Context, r *result) error {
	for deadline := time.Now().Add(drain); ; {
		sent, lost, err := s.net.Mirrored()
		if err != nil {
			return err
		}
		if r.metrics, err = s.sensor.Metrics(ctx); err != nil {
			return err
		}
		r.mirrored, r.mirrorLost = sent-s.mirrorZero, lost-s.lostZero
		if seen, _ := r.metrics.Sum(metricFrames); uint64(seen) >= r.mirrored && time.Until(deadline) < drain-time.Second || time.Now().After(deadline) {
			return nil
		}
		if !pause(ctx, pollInterval) {
			return ctx.Err()
		}
	}
}
