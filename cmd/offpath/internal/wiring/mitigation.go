package wiring

import (
	"fmt"

	"offpath/cmd/offpath/internal/config"
	"offpath/detect"
	"offpath/mitigate/controller"
)

// Controller is the configuration of mitigation.
func Controller(c *config.Config) (controller.Config, error) {
	targets, err := Targets(c)
	if err != nil {
		return controller.Config{}, err
	}
	return controller.Config{
		Targets:  targets,
		Mode:     detect.Mode(c.Mitigate.Mode),
		Allow:    c.Client.Allow,
		Own:      c.Client.TrustedProxies,
		StateDir: c.State.Dir,
	}, nil
}

// Undelivered says, one line each, which load balancers lack verdicts.
func Undelivered(c *controller.Controller) []string {
	var late []string
	for _, t := range c.Targets() {
		switch {
		case !t.Connected:
			late = append(late, Unreachable(&t))
		case t.Pending > 0:
			late = append(late, fmt.Sprintf("target %s still lacks %d verdicts", t.Name, t.Pending))
		}
	}
	return late
}

// Unreachable says why a target is not up.
func Unreachable(t *controller.Target) string {
	if t.LastError == "" {
		return fmt.Sprintf("target %s is not reached yet", t.Name)
	}
	return fmt.Sprintf("target %s is unreachable: %s", t.Name, t.LastError)
}
