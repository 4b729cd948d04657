package engine

import (
	"fmt"
	"strings"

	"offpath/detect"
	"offpath/detect/plain"
	"offpath/detect/policy"
	"offpath/reassembly"
)

// meets acts on an entity that meets one of the operator's own policies.
func (e *Engine) meets(p *policy.Policy, who entity, id *identity, tx *reassembly.Transaction) {
	counts := &e.own.facts.Counts
	if held := e.verdicts.byEntity[who]; held != nil {
		held.since++
		held.proved = e.clock
		if e.due(held) {
			e.describeMeeting(held, id, tx, counts)
			e.writeFinding(held)
			e.renew(held)
		}
		return
	}
	subject := subjectOf(p, id)
	if held := e.verdicts.sameOwn(p, &subject); held != nil { // by another API key
		held.since++
		held.proved = e.clock
		if e.due(held) {
			e.renew(held)
		}
		return
	}
	a := &active{policy: p, entity: &who, begun: e.clock, written: e.clock, proved: e.clock}
	a.silent = subject.Client.IsValid() && overlapsAny(e.cfg.Allow, subject.Client)
	a.verdict = detect.Verdict{ID: e.meetingID("verdict:", p, id, subject), Subject: subject}
	a.finding = detect.Finding{ID: e.meetingID("", p, id, subject), Subject: subject}
	if e.verdicts.byID[a.verdict.ID] != nil {
		return // the same decision; it stands
	}
	full := len(e.verdicts.byID) >= e.cfg.Verdicts || len(e.verdicts.byEntity) >= max(e.cfg.Verdicts/ownShare, 1)
	if full {
		e.stats.VetoCapacity++
		if !e.own.table(p.Name).Say(who.key, e.clock) {
			return
		}
	}
	price, known := e.priceOf(&subject, id)
	// A hold asks one account for a second factor: that is what its policy is for.
	a.dear = p.Action != policy.ActionNone && !a.silent && subject.UserHash == "" && (!known || price > e.cfg.Budget-e.verdicts.spent())
	e.describeMeeting(a, id, tx, counts)
	e.stats.Findings++
	e.writeFinding(a)
	if full {
		return
	}
	strikes := e.own.table(p.Name).Strike(who.key)
	a.lifetime = e.lifetime(p, strikes)
	a.verdict.Findings, a.verdict.Expires = []string{a.finding.ID}, e.clock+a.lifetime
	a.verdict.Expected = detect.Expected{
		AttackRequestsPerMinute:      round(float64(counts.Requests)/p.Window.Minutes(), 2),
		LegitimateRequestsPerMillion: round(price, 2),
	}
	a.verdict.Message = verdictMessage(a, "", strikes)
	e.pronounce(a)
}

// meetingID is the id of what is decided about an entity. Two API keys may be used by
// the same software.
func (e *Engine) meetingID(kind string, p *policy.Policy, id *identity, s detect.Subject) string {
	rule := kind + "policy:" + p.Name
	for _, m := range p.Per {
		if m == policy.ByAPIKey {
			rule += ":" + id.apiKey
		}
	}
	return detect.NewID(rule, s, e.clock)
}

// ownShare is the part of all verdicts, one in so many, that an operator's own
// policies may have, those that are only found among them: whoever meets a policy on
// purpose under ever new names must leave room for the others.
const ownShare = 4

// fewCustomers is how many right logins of late a client address may have of its own.
// One that has more is shared by customers.
const fewCustomers = 10

// priceOf is what a verdict about a subject is expected to hit, of a million
// legitimate logins; not known where there is nothing to tell it by, or where more
// than a few share what is acted against without logging in to it.
func (e *Engine) priceOf(s *detect.Subject, id *identity) (price float64, known bool) {
	alone := func(m policy.Member) bool {
		return e.own.crowds == nil || e.own.crowds.sharers(m, id, e.clock) <= fewSharers
	}
	switch {
	case s.UserHash != "":
		return e.campaigns.PriceOfOne(), true // anybody can fail to log in as somebody else
	case s.Session != "":
		return 0, alone(policy.BySession)
	case s.Client.IsValid():
		if logins, perMillion := e.sequential.Customers(s.Client); logins > fewCustomers {
			return perMillion, true
		}
		return 0, alone(policy.ByClient)
	}
	price, seen, known := e.campaigns.Price(*s)
	if known && !seen {
		known = s.Fingerprint != "" && alone(policy.ByFingerprint) || s.UserAgent != "" && alone(policy.ByUserAgent) || s.JA4 != "" && alone(policy.ByJA4)
	}
	return price, known
}

func notWhy(s *detect.Subject, price float64, known bool) string {
	switch {
	case known:
		return fmt.Sprintf("it would hit about %.0f of a million legitimate logins", price)
	case *s == detect.Subject{Endpoint: s.Endpoint}:
		return "no load balancer can match an API key"
	}
	return "how many customers it would hit is not known yet"
}

// describeMeeting fills in the finding about an entity.
func (e *Engine) describeMeeting(a *active, id *identity, tx *reassembly.Transaction, c *policy.Counts) {
	f, p := &a.finding, a.policy
	f.Kind, f.Rule, f.Severity = "alert", p.Name, 50
	f.WindowStart, f.WindowEnd = e.clock-p.Window.Nanoseconds(), e.clock
	f.Evidence = detect.Evidence{Statistic: float64(c.Requests), Events: []string{strings.Clone(tx.ID)}}
	var did []string
	for _, n := range [...]struct {
		one, many string
		value     int64
	}{
		{"request", "requests", c.Requests}, {"login", "logins", c.Logins}, {"failed login", "failed logins", c.Failures},
		{"right login", "right logins", c.Successes}, {"error", "errors", c.Errors},
		{"account", "accounts", c.Accounts}, {"endpoint", "endpoints", c.Endpoints}, {"client", "clients", c.Clients},
	} {
		if n.value > 0 {
			did = append(did, plain.Count(int(n.value), n.one, n.many))
			f.Evidence.Terms = append(f.Evidence.Terms, detect.Term{Name: n.many, Value: float64(n.value)})
		}
	}
	who := e.subject(f.Subject)
	for _, m := range p.Per {
		if m == policy.ByAPIKey {
			who = "API key " + plain.Printable(id.apiKey) + " by " + who
		}
	}
	f.Message = fmt.Sprintf("%s meets the policy %s at %s: %s within %s.",
		who, p.Name, plain.Printable(id.endpoint), strings.Join(did, ", "), plain.Span(p.Window.Nanoseconds()))
	if a.dear {
		price, known := e.priceOf(&f.Subject, id)
		f.Message += " No verdict is made: " + notWhy(&f.Subject, price, known) + "."
	}
}
