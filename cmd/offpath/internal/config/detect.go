package config

import (
	"time"

	"offpath/detect/override"
	"offpath/detect/policy"
	"offpath/detect/sitemap"
)

// Detect holds the thresholds of detection.
type Detect struct {
	Baseline       float64       `key:"baseline" doc:"share of honest logins that fail, until the traffic has shown its own; 0.01 to 0.6"`
	FalseAlarm     float64       `key:"false_alarm" doc:"chance of convicting an honest client, per run of the test; 1e-12 to 0.01"`
	KnownGoodShare float64       `key:"known_good_share" doc:"share of successful logins above which a client is never convicted; above 0 to 1"`
	Budget         float64       `key:"budget" doc:"how many of a million legitimate logins the predicates against campaigns may hit, all together; 0.1 to 100000"`
	VerdictTTL     time.Duration `key:"verdict_ttl" doc:"how long a first verdict lasts; each further conviction doubles it"`
	VerdictTTLMax  time.Duration `key:"verdict_ttl_max" doc:"the longest that a verdict lasts; at most 24h"`
	Clients        int           `key:"clients" doc:"clients that are remembered at once"`
	Cells          int           `key:"cells" doc:"combinations of fingerprint, User-Agent, JA4, network and endpoint that are watched for campaigns"`
	Verdicts       int           `key:"verdicts" doc:"verdicts that are active at once"`
	ASDatabase     string        `key:"as_database" doc:"MMDB file of autonomous systems, such as GeoLite2-ASN.mmdb, by which messages name networks; read at the start and at SIGHUP; empty: none"`
	CountryDB      string        `key:"country_database" doc:"MMDB file of countries, such as GeoLite2-Country.mmdb, likewise; empty: none"`
	Sitemap        int           `key:"sitemap" doc:"endpoints that the site map of a running offpath (/api/v1/sitemap) holds at most, each some 9 KB; 0: none is kept"`
	Specification  string        `key:"specification" doc:"OpenAPI 3 or Swagger 2 file of your API, which /api/v1/sitemap/comparison compares the endpoints seen with; read at the start and at SIGHUP; empty: none"`

	Overrides []override.Statement `key:"overrides" doc:"roles and outcomes that you know better than detection: list of when (a condition in CEL over a transaction), role (login, refresh, …, none) and outcome (accepted, rejected, unknown_user, locked, mfa_required, outage, unknown); the first that holds decides"`
	Policies  []policy.Statement   `key:"policies" doc:"what is done about what is found: list of name, action (block, rate_limit, challenge, deceive, tag, hold, none), rate ({requests: 10, per: 60s}), mode (monitor, enforce), ttl, ttl_max, and of your own when (a condition in CEL), per and window; offpath check lists those in force"`
}

func defaultDetect() Detect {
	return Detect{
		Baseline:       0.08,
		FalseAlarm:     1e-6,
		KnownGoodShare: 0.2,
		Budget:         100,
		VerdictTTL:     10 * time.Minute,
		VerdictTTLMax:  24 * time.Hour,
		Clients:        1 << 20,
		Cells:          1 << 16,
		Verdicts:       1 << 17,
		Sitemap:        sitemap.DefaultEndpoints,
	}
}

// Limits of the thresholds; they are those of detect/engine.
const (
	minBaseline, maxBaseline     = 0.01, 0.6
	minFalseAlarm, maxFalseAlarm = 1e-12, 0.01
	minBudget, maxBudget         = 0.1, 1e5
	minClients, maxClients       = 64, 1 << 26
	minCells, maxCells           = 64, 1 << 24
	maxVerdicts                  = 1 << 20
	maxSitemap                   = 1 << 16
	maxVerdictTTL                = 24 * time.Hour
)

func (l *loader) checkDetect() error {
	d := &l.config.Detect
	if d.Baseline < minBaseline || d.Baseline > maxBaseline {
		return l.mistake("detect.baseline", "%v is out of range; write a share from %v to %v", d.Baseline, minBaseline, maxBaseline)
	}
	if d.FalseAlarm < minFalseAlarm || d.FalseAlarm > maxFalseAlarm {
		return l.mistake("detect.false_alarm", "%v is out of range; write a chance from %v to %v", d.FalseAlarm, minFalseAlarm, maxFalseAlarm)
	}
	if d.KnownGoodShare <= 0 || d.KnownGoodShare > 1 {
		return l.mistake("detect.known_good_share", "%v is out of range; write a share above 0 and up to 1", d.KnownGoodShare)
	}
	if !(d.Budget >= minBudget && d.Budget <= maxBudget) {
		return l.mistake("detect.budget", "%v is out of range; write a number of logins from %v to %v", d.Budget, minBudget, maxBudget)
	}
	if d.VerdictTTLMax < time.Second || d.VerdictTTLMax > maxVerdictTTL {
		return l.mistake("detect.verdict_ttl_max", "%v is out of range; write a duration from 1s to 24h", d.VerdictTTLMax)
	}
	if d.VerdictTTL < time.Second || d.VerdictTTL > d.VerdictTTLMax {
		return l.mistake("detect.verdict_ttl", "%v is out of range; write a duration from 1s to detect.verdict_ttl_max, %v", d.VerdictTTL, d.VerdictTTLMax)
	}
	if err := l.checkRange("detect.clients", d.Clients, minClients, maxClients); err != nil {
		return err
	}
	if err := l.checkRange("detect.cells", d.Cells, minCells, maxCells); err != nil {
		return err
	}
	if err := l.checkRange("detect.verdicts", d.Verdicts, 1, maxVerdicts); err != nil {
		return err
	}
	if err := l.checkRange("detect.sitemap", d.Sitemap, 0, maxSitemap); err != nil {
		return err
	}
	if d.Specification != "" && d.Sitemap == 0 {
		return l.mistake("detect.specification", "it is compared with the site map, and detect.sitemap: 0 says that none is kept; write a number of endpoints there, such as %d", sitemap.DefaultEndpoints)
	}
	if err := l.checkOverrides(); err != nil {
		return err
	}
	return l.checkPolicies()
}
