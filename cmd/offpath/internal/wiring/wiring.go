// Package wiring makes the stages of the product as a configuration wants
// them, so that every command has the same ones.
package wiring

import (
	"errors"
	"slices"

	"offpath/cmd/offpath/internal/config"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/detect/network"
	"offpath/detect/sitemap/specification"
	"offpath/mitigate"
	"offpath/reassembly"
)

// Feed takes transactions in their order, and the event time (ns since the
// epoch) below which none will follow.
type Feed func(txs []*reassembly.Transaction, watermark int64)

// Engine is the configuration of detection. What is decided depends on what the
// configured load balancers can carry, also where nothing is sent to them: a
// replay decides as the live system would.
func Engine(c *config.Config) (engine.Config, error) {
	targets, err := Targets(c)
	if err != nil {
		return engine.Config{}, err
	}
	policies, err := c.PolicySet()
	if err != nil {
		return engine.Config{}, err
	}
	overrides, err := c.OverrideSet()
	if err != nil {
		return engine.Config{}, err
	}
	return engine.Config{
		Overrides:      overrides,
		Policies:       policies,
		Carried:        Carried(targets),
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
	}, nil
}

// Carried reports whether a verdict can be enforced by any of the targets; nil, which
// means always, if there are none. Those that only hand verdicts on enforce nothing that
// offpath knows of.
func Carried(targets []mitigate.Target) func(*detect.Verdict) bool {
	enforcing := slices.DeleteFunc(slices.Clone(targets), func(t mitigate.Target) bool {
		_, informs := t.(mitigate.Informer)
		return informs
	})
	if len(enforcing) == 0 {
		return nil
	}
	return func(v *detect.Verdict) bool { return Taken(enforcing, v) }
}

// Taken reports whether any of the targets takes a verdict, be it to hand it on.
func Taken(targets []mitigate.Target, v *detect.Verdict) bool {
	e := mitigate.Entry{ID: 1<<32 | 1, Action: v.Action, Rate: v.Rate, Subject: v.Subject, Expires: 1}
	return slices.ContainsFunc(targets, func(t mitigate.Target) bool { return t.Carries(&e) == nil })
}

// Networks opens the databases of networks; nil if none is configured. The error
// is a *config.Error.
func Networks(c *config.Config) (*network.Database, error) {
	if c.Detect.ASDatabase == "" && c.Detect.CountryDB == "" {
		return nil, nil
	}
	d, err := network.Open(network.Paths{AS: c.Detect.ASDatabase, Country: c.Detect.CountryDB})
	if err == nil {
		return d, nil
	}
	key := "detect.country_database"
	var file *network.FileError
	if errors.As(err, &file) && file.Path == c.Detect.ASDatabase {
		key = "detect.as_database"
	}
	return nil, c.Wrong(key, err.Error())
}

// Specification reads the description of the API; nil if none is configured. The
// error is a *config.Error.
func Specification(c *config.Config) (*specification.Spec, error) {
	if c.Detect.Specification == "" {
		return nil, nil
	}
	spec, err := specification.Open(c.Detect.Specification)
	if err != nil {
		return nil, c.Wrong("detect.specification", err.Error())
	}
	return spec, nil
}
