package judge

import (
	"math"
	"strings"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
)

// Result is how a detector did on one case. Numbers that make no sense there are
// absent: times and shares below 0.
type Result struct {
	Transactions int     `json:"transactions"`
	Logins       int     `json:"logins"`
	Unjudged     int     `json:"logins_beyond_memory"` // left out of the recall of detection
	Attacks      int     `json:"attack_logins"`
	Hours        float64 `json:"hours"` // of event time

	DetectSeconds  float64 `json:"detect_seconds"`  // from the onset to the first finding about the attack, or campaign
	DetectTries    int     `json:"detect_tries"`    // the attacker's logins until then
	VerdictSeconds float64 `json:"verdict_seconds"` // to the first effective verdict

	Detected      float64 `json:"detection_recall"`         // share of the attacker's logins that a finding or verdict is about
	Attributed    float64 `json:"attributed_per_million"`   // legitimate logins likewise
	Enforced      float64 `json:"enforcement_recall"`       // share of the attacker's logins that a verdict in force matched
	EnforcedAfter float64 `json:"enforcement_recall_after"` // of those after the first effective verdict

	RequestsHit float64 `json:"requests_hit_per_million"` // legitimate ones that a verdict in force matched
	LoginsHit   float64 `json:"logins_hit_per_million"`
	LegitHit    int     `json:"legitimate_requests_hit"`

	Hits      int     `json:"accounts_hit"`
	HitsNamed float64 `json:"accounts_hit_named"`    // share
	Transfers int     `json:"transfers"`             // of money out of them, that were tried
	Stopped   float64 `json:"transfers_stopped"`     // share
	HeldWrong int     `json:"accounts_held_wrongly"` // that nobody but their owner came into

	Campaigns int     `json:"campaigns"`
	False     int     `json:"campaigns_false"` // about none of the attacker's logins
	Alarms    int     `json:"alarms"`          // findings
	PerWeek   float64 `json:"campaigns_per_week"`
	Verdicts  int     `json:"verdicts"`
	Outages   int     `json:"outage_findings"`

	OutcomeTold  float64 `json:"outcome_told"`  // share of logins
	OutcomeRight float64 `json:"outcome_right"` // of these
	// OutcomeSettled is the share of logins told as they were, after the first 200
	// of an endpoint, by how it answers; without a style that has fewer than 200 of
	// them.
	OutcomeSettled map[string]float64 `json:"outcome_settled,omitempty"`

	Addresses    float64 `json:"addresses,omitempty"` // these where memory is weighed
	Accounts     float64 `json:"accounts,omitempty"`
	Sessions     float64 `json:"sessions,omitempty"`
	HeapMB       float64 `json:"heap_mb,omitempty"`
	MBPerMillion float64 `json:"heap_mb_per_million,omitempty"` // addresses, accounts and sessions each

	Nanoseconds float64  `json:"ns_per_transaction"` // see Cost, which it is filled in from
	Messages    []string `json:"messages,omitempty"`
}

// following is how long after it came into force a verdict is watched, and
// effective the share of the attacker's logins in that time that it must match.
const (
	following = 60e9
	effective = 0.01
)

// absent marks what was not reached.
const absent = -1

func (j *judge) result() Result {
	t, c := &j.seen, j.cover
	sum := c.compare(j.Onset, j.Enforced)
	r := Result{
		Transactions: t.all, Logins: t.outcomes.logins, Unjudged: c.dropped, Attacks: t.attack.logins, Hours: float64(t.last-t.first) / 3600e9,
		DetectSeconds: absent, DetectTries: absent, VerdictSeconds: absent, Detected: absent, Enforced: absent, EnforcedAfter: absent, HitsNamed: absent, Stopped: absent,
		Campaigns: len(c.campaigns), Alarms: c.findings, Verdicts: len(j.book.all), Outages: len(c.outages),
		RequestsHit: perMillion(t.honest.stoppedRequests, t.honest.requests), LoginsHit: perMillion(t.honest.stoppedLogins, t.honest.logins),
		LegitHit: t.honest.stoppedRequests, Hits: sum.hits, HeldWrong: sum.held, Messages: c.messages,
		OutcomeTold: share(t.outcomes.told, t.outcomes.logins), OutcomeRight: share(t.outcomes.rightly, t.outcomes.told),
	}
	for _, s := range c.campaigns {
		if !s.convicted && (!s.campaign || t.attack.logins == 0) {
			r.False++
		}
	}
	for style := traffic.StyleStatus; style < traffic.Styles; style++ {
		if o := &t.settled[style]; o.logins >= acquaintance {
			if r.OutcomeSettled == nil {
				r.OutcomeSettled = make(map[string]float64)
			}
			r.OutcomeSettled[style.String()] = share(o.rightly, o.logins)
		}
	}
	if r.Hours > 0 {
		r.PerWeek = float64(r.Campaigns) * 168 / r.Hours
	}
	if w := j.weight; w != nil {
		r.Addresses, r.Accounts, r.Sessions = math.Round(w.addresses.count()), math.Round(w.accounts.count()), math.Round(w.sessions.count())
		r.HeapMB = j.held / 1e6
		r.MBPerMillion = j.held / max(min(r.Addresses, r.Accounts, r.Sessions), 1)
	}
	if t.attack.logins == 0 {
		return r
	}
	r.Detected, r.Attributed = share(sum.attackCovered, sum.attack), perMillion(sum.honestCovered, sum.honest)
	r.Enforced = share(t.attack.stoppedLogins, t.attack.logins)
	if sum.hits > 0 {
		r.HitsNamed = share(sum.hitsNamed, sum.hits)
	}
	r.Transfers = j.money.transfers
	if r.Transfers > 0 {
		r.Stopped = share(j.money.stopped, r.Transfers)
	}
	if first := c.first(j.Onset); first != 0 {
		r.DetectSeconds = float64(first-j.Onset) / 1e9
		r.DetectTries = t.attackLogins(j.Onset, first)
	}
	if first := j.firstEffective(); first != nil {
		r.VerdictSeconds = float64(first.from-j.Onset) / 1e9
		var after, stopped int
		for i := range c.records {
			if l := &c.records[i]; l.truth&isAttack != 0 && l.start >= first.from+latency {
				after++
				if l.truth&isStopped != 0 {
					stopped++
				}
			}
		}
		r.EnforcedAfter = share(stopped, after)
	}
	return r
}

// first is when the attack was found: 0 never. What was said before the onset
// is a false alarm.
func (c *cover) first(onset int64) int64 {
	first := int64(0)
	for _, s := range c.statements {
		if s.made >= onset && (s.convicted || s.campaign) && (first == 0 || s.made < first) {
			first = s.made
		}
	}
	return first
}

// firstEffective is the first verdict that stops a part of what follows.
func (j *judge) firstEffective() *entry {
	for _, e := range j.book.all {
		if e.following == 0 || e.from < j.Onset {
			continue
		}
		begin := e.from + latency
		if float64(e.following) >= effective*float64(j.seen.attackLogins(begin, begin+following)) {
			return e
		}
	}
	return nil
}

// isOutage reports whether a finding says that the application is out of order.
func isOutage(f *detect.Finding) bool {
	return strings.Contains(strings.ToLower(f.Rule), "outage")
}

// Settled is the share of logins told as they were at endpoints that answer in a
// style; below 0: there were none, or few.
func (r *Result) Settled(style traffic.Style) float64 {
	if v, ok := r.OutcomeSettled[style.String()]; ok {
		return v
	}
	return absent
}

func share(part, whole int) float64 {
	if whole == 0 {
		return absent
	}
	return float64(part) / float64(whole)
}

func perMillion(part, whole int) float64 {
	if part == 0 {
		return 0
	}
	return 1e6 * float64(part) / float64(max(whole, 1))
}
