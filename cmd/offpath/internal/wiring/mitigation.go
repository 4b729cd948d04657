package wiring

import (
	"fmt"
	"time"

	"offpath/cmd/offpath/internal/config"
	"offpath/detect"
	"offpath/detect/policy"
	"offpath/mitigate/controller"
)

// hitReadings of a verdict's counter fall into the shortest lifetime; a verdict is
// renewed after a quarter of its own.
const hitReadings = 8

// Controller is the configuration of mitigation.
func Controller(c *config.Config) (controller.Config, error) {
	targets, err := Targets(c)
	if err != nil {
		return controller.Config{}, err
	}
	policies, err := c.PolicySet()
	if err != nil {
		return controller.Config{}, err
	}
	return controller.Config{
		Targets:  targets,
		Mode:     detect.Mode(c.Mitigate.Mode),
		Modes:    modes(c),
		Private:  c.Mitigate.PrivateClients,
		MaxHarm:  c.Mitigate.MaxHarm,
		Allow:    c.Client.Allow,
		Own:      c.Client.TrustedProxies,
		StateDir: c.State.Dir,

		MaxPerMinute: c.Mitigate.MaxPerMinute,
		HitsInterval: hitsInterval(policies, c.Detect.VerdictTTL, c.Detect.VerdictTTLMax),
	}, nil
}

// modes are what single targets do at most.
func modes(c *config.Config) map[string]detect.Mode {
	modes := map[string]detect.Mode{}
	for _, t := range c.Mitigate.Targets {
		if t.Mode != "" {
			modes[t.Name] = detect.Mode(t.Mode)
		}
	}
	return modes
}

// hitsInterval is how often counters are read: behind a load balancer they are
// all that shows that a verdict is still needed, so several times in the life of
// the shortest one.
func hitsInterval(policies *policy.Set, ttl, longest time.Duration) time.Duration {
	shortest := ttl
	for _, p := range policies.Policies() {
		first, _ := p.Lifetimes(ttl, longest)
		shortest = min(shortest, first)
	}
	return min(controller.DefaultHitsInterval, shortest/hitReadings)
}

// Undelivered says, one line each, which load balancers lack verdicts or the
// mode that they should be in.
func Undelivered(c *controller.Controller) []string {
	waiting := Waiting(c)
	var late []string
	for _, t := range c.Targets() {
		switch {
		case !t.Connected:
			late = append(late, Unreachable(&t))
		case waiting[t.Name] > 0:
			late = append(late, fmt.Sprintf("target %s still lacks %d verdicts", t.Name, waiting[t.Name]))
		case t.Mode != t.Wanted && !t.LocalOff:
			late = append(late, fmt.Sprintf("target %s is not yet in mode %s", t.Name, t.Wanted))
		}
	}
	return late
}

// Waiting counts, by target, what has not been confirmed yet: subjects with
// changes to send, or verdicts that are on their way.
func Waiting(c *controller.Controller) map[string]int {
	waiting := map[string]int{}
	for _, v := range c.Verdicts() {
		for _, t := range v.Targets {
			if t.State == controller.StatePending {
				waiting[t.Target]++
			}
		}
	}
	for _, t := range c.Targets() {
		waiting[t.Name] = max(waiting[t.Name], t.Pending)
	}
	return waiting
}

// Unreachable says why a target is not up.
func Unreachable(t *controller.Target) string {
	if t.LastError == "" {
		return fmt.Sprintf("target %s is not reached yet", t.Name)
	}
	return fmt.Sprintf("target %s is unreachable: %s", t.Name, t.LastError)
}
