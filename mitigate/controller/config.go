package controller

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// Defaults of [Config].
const (
	DefaultMaxVerdicts     = 1 << 18
	DefaultMaxHarm         = 50_000
	DefaultMaxPerMinute    = 10_000
	DefaultCoalesce        = 20 * time.Millisecond
	DefaultPollInterval    = time.Second
	DefaultCompareInterval = 5 * time.Minute
	DefaultSettle          = 15 * time.Second
	DefaultHitsInterval    = 5 * time.Second
	DefaultSweepInterval   = time.Minute
	DefaultOrderTimeout    = 30 * time.Second
	DefaultAuditRing       = 4096
	DefaultAuditFileBytes  = 64 << 20
)

// The shortest prefixes that a verdict may name, by itself and with approval.
const (
	MinPrefixIPv4, MinApprovedIPv4 = 24, 16
	MinPrefixIPv6, MinApprovedIPv6 = 48, 32
)

// Config of a [Controller]. The zero value keeps verdicts for no target, in
// monitor mode.
type Config struct {
	Targets []mitigate.Target // names have to differ

	// Mode is what targets are to do with verdicts; default
	// [detect.ModeMonitor].
	Mode detect.Mode
	// Modes are what single targets, by name, do at most, whatever Mode says.
	Modes map[string]detect.Mode
	// Allow are networks that are never acted against; no verdict may overlap
	// one.
	Allow []netip.Prefix
	// Own are addresses of the installation itself (load balancers, trusted
	// proxies): no verdict may cover one. Those that targets know are added.
	Own []netip.Prefix

	// Private lets verdicts name clients with private addresses. Else they are refused:
	// most often such a client is a proxy that hides everybody.
	Private bool

	// StateDir is the folder of the active verdicts, the kill switch and the
	// audit log; it is made with mode 0700. Without it nothing outlives the
	// process.
	StateDir string

	// MaxVerdicts is the most active verdicts; the least important one makes
	// room. Default [DefaultMaxVerdicts].
	MaxVerdicts int
	// MaxHarm is how many of a million legitimate logins a verdict that acts may be
	// expected to hit, and all together that are not about single clients: one beyond it
	// waits for approval. Default [DefaultMaxHarm].
	MaxHarm float64
	// MaxPerMinute is how many new verdicts that act a minute may bring, from detection
	// or anybody: those beyond it wait for approval, or for a renewal in a quieter
	// minute. Default [DefaultMaxPerMinute].
	MaxPerMinute int
	// MaxLifetime cuts longer verdicts, counted from when they arrive. Default
	// and at most 24 h.
	MaxLifetime time.Duration

	// OnHits is told what targets counted. Calls are serial, from goroutines
	// of the controller; it should return soon.
	OnHits func([]detect.Hits)

	// OnTarget is told of a target that was reached, or is out of reach since
	// its LastError. Calls are serial for a target; it should return soon.
	OnTarget func(Target)

	Coalesce        time.Duration // least time between two deltas to a target, 0 to 100 ms; default [DefaultCoalesce]
	PollInterval    time.Duration // between looks at identity and mode; default [DefaultPollInterval]
	CompareInterval time.Duration // between full comparisons; default [DefaultCompareInterval]
	Settle          time.Duration // from a connect or restart to a second full comparison, since an old process may still be teaching its rows to the new one; default [DefaultSettle]
	HitsInterval    time.Duration // between readings of hit counters; default [DefaultHitsInterval]
	SweepInterval   time.Duration // between removals of expired rows; default [DefaultSweepInterval]
	OrderTimeout    time.Duration // of one delta, and of a full comparison per 100,000 entries; default [DefaultOrderTimeout]
	AuditRing       int           // entries kept for Audit; default [DefaultAuditRing]
	AuditFileBytes  int64         // size at which the audit log is put aside; default [DefaultAuditFileBytes]
}

func (c *Config) setDefaults() {
	c.Mode = cmp.Or(c.Mode, detect.ModeMonitor)
	c.MaxVerdicts = cmp.Or(c.MaxVerdicts, DefaultMaxVerdicts)
	c.MaxHarm = cmp.Or(c.MaxHarm, DefaultMaxHarm)
	c.MaxPerMinute = cmp.Or(c.MaxPerMinute, DefaultMaxPerMinute)
	c.MaxLifetime = cmp.Or(c.MaxLifetime, time.Duration(detect.MaxLifetime))
	c.Coalesce = cmp.Or(c.Coalesce, DefaultCoalesce)
	c.PollInterval = cmp.Or(c.PollInterval, DefaultPollInterval)
	c.CompareInterval = cmp.Or(c.CompareInterval, DefaultCompareInterval)
	c.Settle = cmp.Or(c.Settle, DefaultSettle)
	c.HitsInterval = cmp.Or(c.HitsInterval, DefaultHitsInterval)
	c.SweepInterval = cmp.Or(c.SweepInterval, DefaultSweepInterval)
	c.OrderTimeout = cmp.Or(c.OrderTimeout, DefaultOrderTimeout)
	c.AuditRing = cmp.Or(c.AuditRing, DefaultAuditRing)
	c.AuditFileBytes = cmp.Or(c.AuditFileBytes, DefaultAuditFileBytes)
}

func (c *Config) validate() error {
	if !validMode(c.Mode) {
		return fmt.Errorf("mitigate mode %q is none of off, monitor, enforce", c.Mode)
	}
	names := make(map[string]bool)
	for _, t := range c.Targets {
		if names[t.Name()] {
			return fmt.Errorf("two mitigate targets are named %q", t.Name())
		}
		names[t.Name()] = true
	}
	for _, p := range c.Allow {
		if !p.IsValid() {
			return fmt.Errorf("allow-list holds %q, which is no network", p)
		}
	}
	for _, p := range c.Own {
		if !p.IsValid() {
			return fmt.Errorf("own addresses hold %q, which is no network", p)
		}
	}
	for name, mode := range c.Modes {
		if !names[name] {
			return fmt.Errorf("there is a mode for %q, which is no target", name)
		}
		if !validMode(mode) {
			return fmt.Errorf("mode %q of target %s is none of off, monitor, enforce", mode, name)
		}
	}
	if !(c.MaxHarm > 0 && c.MaxHarm <= 1e6) || c.MaxPerMinute < 1 {
		return fmt.Errorf("harm %v is not above 0 and up to 1000000, or %d verdicts a minute are less than 1", c.MaxHarm, c.MaxPerMinute)
	}
	if c.MaxVerdicts < 1 || c.AuditRing < 1 || c.AuditFileBytes < 1 {
		return fmt.Errorf("verdicts %d, audit ring %d or audit file %d is less than 1", c.MaxVerdicts, c.AuditRing, c.AuditFileBytes)
	}
	if c.MaxLifetime < time.Second || c.MaxLifetime > time.Duration(detect.MaxLifetime) {
		return fmt.Errorf("longest lifetime %s is not between 1s and 24h", c.MaxLifetime)
	}
	if c.Coalesce < 0 || c.Coalesce > 100*time.Millisecond {
		return fmt.Errorf("coalescing time %s is not between 0 and 100ms", c.Coalesce)
	}
	for _, d := range []time.Duration{c.PollInterval, c.CompareInterval, c.Settle, c.HitsInterval, c.SweepInterval, c.OrderTimeout} {
		if d <= 0 {
			return fmt.Errorf("interval or timeout %s is not positive", d)
		}
	}
	return nil
}

func validMode(m detect.Mode) bool {
	return m == detect.ModeOff || m == detect.ModeMonitor || m == detect.ModeEnforce
}
