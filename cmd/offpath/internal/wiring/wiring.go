// Package wiring makes the stages of the product as a configuration wants
// them, so that every command has the same ones.
package wiring

import (
	"fmt"

	"offpath/cmd/offpath/internal/config"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/mitigate"
	"offpath/mitigate/haproxy"
	"offpath/reassembly"
)

// Feed takes transactions in their order, and the event time (ns since the
// epoch) below which none will follow.
type Feed func(txs []*reassembly.Transaction, watermark int64)

// Engine is the configuration of detection.
func Engine(c *config.Config) engine.Config {
	return engine.Config{
		Mode:           detect.Mode(c.Mitigate.Mode),
		Allow:          c.Client.Allow,
		TrustedProxies: c.Client.TrustedProxies,
		Baseline:       c.Detect.Baseline,
		FalseAlarm:     c.Detect.FalseAlarm,
		KnownGoodShare: c.Detect.KnownGoodShare,
		Budget:         c.Detect.Budget,
		TTL:            c.Detect.VerdictTTL,
		MaxTTL:         c.Detect.VerdictTTLMax,
		Entities:       c.Detect.Clients,
		Cells:          c.Detect.Cells,
		Verdicts:       c.Detect.Verdicts,
	}
}

// Targets makes the load balancers; it does not reach out to them.
func Targets(c *config.Config) ([]mitigate.Target, error) {
	var targets []mitigate.Target
	for _, t := range c.Mitigate.Targets {
		target, err := haproxy.New(haproxy.Options{Name: t.Name, Address: t.Address, MapDir: t.MapDir})
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", t.Name, err)
		}
		targets = append(targets, target)
	}
	return targets, nil
}
