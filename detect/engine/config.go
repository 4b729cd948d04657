package engine

import (
	"fmt"
	"net/netip"
	"time"

	"offpath/detect"
	"offpath/detect/network"
	"offpath/detect/override"
	"offpath/detect/policy"
	"offpath/detect/sitemap"
)

// Config configures an [Engine]. The zero value is the documented default of
// every field.
type Config struct {
	// Mode is what new verdict lines carry: monitor (default) or enforce. Off
	// is labelled monitor; what is decided never depends on it.
	Mode detect.Mode
	// Allow is the networks that are never acted against: findings about them
	// are made, verdicts are not.
	Allow []netip.Prefix
	// TrustedProxies is the networks whose forwarding headers are believed.
	// An address of theirs as effective client means that the header was
	// missing: such a transaction is annotated and otherwise left alone, since
	// a verdict against a proxy hits everybody behind it.
	TrustedProxies []netip.Prefix

	// Overrides are roles and outcomes that an operator knows better; nil: none.
	Overrides *override.Set
	// Policies say what is done about what is found; nil: the predefined ones.
	Policies *policy.Set

	// Carried reports whether a load balancer can enforce a verdict, of which
	// action, rate and subject are set; nil: they all can. A predicate that none can
	// carry is written all the same, but attempts under it count against their
	// addresses too.
	Carried func(*detect.Verdict) bool

	// Baseline is the share of honest logins that fail, expected until the
	// traffic has shown its own; 0: 0.08.
	Baseline float64
	// FalseAlarm is the chance, per run of the sequential test on an honest
	// client, of convicting it; 0: 1e-6.
	FalseAlarm float64
	// KnownGoodShare is the share of successful logins above which a client is
	// never convicted; 0: 0.2.
	KnownGoodShare float64

	// Networks says whose networks addresses are in, for people: messages name
	// them, and nothing is decided by them. Nil: unknown.
	Networks *network.Database

	// Budget is how many of a million legitimate logins all predicates together
	// may hit, 0.1 to 1e5; 0: 100.
	Budget float64

	// TTL is how long a first verdict against a subject lasts; each further
	// conviction doubles it up to MaxTTL. 0: 10 minutes and 24 hours.
	TTL, MaxTTL time.Duration

	// Entities bounds the clients that are remembered, 64 to 2^26; 0: 2^20.
	Entities int
	// Cells bounds the combinations of fingerprint, User-Agent, JA4, network and
	// endpoint that are watched for campaigns, 64 to 2^24; 0: 2^16.
	Cells int
	// Accounts bounds the accounts that campaigns touched and [Engine.Accounts]
	// lists, up to 2^26; 0: they are not remembered.
	Accounts int
	// Endpoints bounds the endpoints that are remembered, 64 to 2^20; 0: 4096.
	Endpoints int
	// Map, where there is one, gathers what is seen of each endpoint; the Engine owns
	// it. Second legs and what a load balancer refused take no part.
	Map *sitemap.Map
	// Verdicts bounds the verdicts that are active at once, 1 to 2^20; 0: 2^17.
	// Further convictions are findings without a verdict, counted.
	Verdicts int
}

func (c Config) withDefaults() Config {
	if c.Mode == "" {
		c.Mode = detect.ModeMonitor
	}
	setDefault(&c.Baseline, 0.08)
	setDefault(&c.FalseAlarm, 1e-6)
	setDefault(&c.KnownGoodShare, 0.2)
	setDefault(&c.TTL, 10*time.Minute)
	setDefault(&c.MaxTTL, 24*time.Hour)
	setDefault(&c.Entities, 1<<20)
	setDefault(&c.Budget, 100)
	setDefault(&c.Cells, 1<<16)
	setDefault(&c.Endpoints, 4096)
	setDefault(&c.Verdicts, 1<<17)
	return c
}

func setDefault[T int | float64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

func (c *Config) validate() error {
	switch {
	case c.Mode != detect.ModeOff && c.Mode != detect.ModeMonitor && c.Mode != detect.ModeEnforce:
		return fmt.Errorf("mode %q: must be off, monitor or enforce", c.Mode)
	case !(c.Baseline >= 0.01 && c.Baseline <= 0.6):
		return fmt.Errorf("baseline %v: must be from 0.01 to 0.6", c.Baseline)
	case !(c.FalseAlarm >= 1e-12 && c.FalseAlarm <= 0.01):
		return fmt.Errorf("false alarm %v: must be from 1e-12 to 0.01", c.FalseAlarm)
	case !(c.KnownGoodShare > 0 && c.KnownGoodShare <= 1):
		return fmt.Errorf("known good share %v: must be above 0 and at most 1", c.KnownGoodShare)
	case c.TTL < time.Second || c.TTL > c.MaxTTL:
		return fmt.Errorf("ttl %v: must be from 1s to the longest, %v", c.TTL, c.MaxTTL)
	case c.MaxTTL > time.Duration(detect.MaxLifetime):
		return fmt.Errorf("longest ttl %v: must be at most %v", c.MaxTTL, time.Duration(detect.MaxLifetime))
	case c.Entities < 64 || c.Entities > 1<<26:
		return fmt.Errorf("entities %d: must be from 64 to %d", c.Entities, 1<<26)
	case !(c.Budget >= 0.1 && c.Budget <= 1e5):
		return fmt.Errorf("budget %v: must be from 0.1 to 100000 legitimate logins per million", c.Budget)
	case c.Accounts < 0 || c.Accounts > 1<<26:
		return fmt.Errorf("accounts %d: must be from 0 to %d", c.Accounts, 1<<26)
	case c.Cells < 64 || c.Cells > 1<<24:
		return fmt.Errorf("cells %d: must be from 64 to %d", c.Cells, 1<<24)
	case c.Endpoints < 64 || c.Endpoints > 1<<20:
		return fmt.Errorf("endpoints %d: must be from 64 to %d", c.Endpoints, 1<<20)
	case c.Verdicts < 1 || c.Verdicts > 1<<20:
		return fmt.Errorf("verdicts %d: must be from 1 to %d", c.Verdicts, 1<<20)
	}
	for _, list := range [][]netip.Prefix{c.Allow, c.TrustedProxies} {
		for _, p := range list {
			if !p.IsValid() {
				return fmt.Errorf("network %v: not valid", p)
			}
		}
	}
	return nil
}
