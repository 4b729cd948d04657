package engine

import (
	"fmt"
	"slices"

	"offpath/detect"
	"offpath/detect/campaign"
)

// CampaignRule is the name of the detector behind campaign findings.
const CampaignRule = "campaign_excess"

// OutageRule is the name behind the finding that a login endpoint is out of
// order.
const OutageRule = "login_outage"

// judgeCampaign feeds an attempt to the detector of campaigns and does what it
// asks for. It reports whether the attempt is under a predicate that can be
// enforced.
func (e *Engine) judgeCampaign(a *campaign.Attempt) (covered bool) {
	r := e.campaigns.Observe(a)
	e.chartsSay(a, &r)
	if r.Guilty {
		if held := e.verdicts.bySubject[r.Subject]; held != nil {
			e.campaignEvidence(held, &r)
		} else {
			e.convictPredicate(&r)
		}
	}
	for i := range r.Hits {
		e.hold(&r.Hits[i])
	}
	if r.Guilty && e.carried(r.Subject) {
		return true
	}
	p := e.verdicts.predicate(a)
	return p != nil && e.carried(p.verdict.Subject)
}

func (e *Engine) carried(s detect.Subject) bool { return e.cfg.Carried == nil || e.cfg.Carried(s) }

// campaignDown is a login that the application failed to answer.
func (e *Engine) campaignDown(a *campaign.Attempt) {
	r := e.campaigns.Down(a)
	e.chartsSay(a, &r)
	for i := range r.Hits {
		e.hold(&r.Hits[i])
	}
}

// chartsSay writes what the windows that have ended say.
func (e *Engine) chartsSay(a *campaign.Attempt, r *campaign.Result) {
	if r.Broken {
		e.outage(a)
	}
	if r.Rising != nil {
		e.campaignLine(r.Rising)
	}
}

// campaignEvidence is a wrong attempt under a predicate that is acted against.
func (e *Engine) campaignEvidence(held *active, r *campaign.Result) {
	held.campaign, held.proved = r.Campaign, e.clock
	held.since++
	if !e.due(held) {
		return
	}
	e.campaignLine(r.Campaign)
	held.verdict.Expected.LegitimateRequestsPerMillion = round(r.Price, 2)
	if id := campaignID(r.Campaign); !slices.Contains(held.verdict.Findings, id) && len(held.verdict.Findings) < maxFindings {
		held.verdict.Findings = append(held.verdict.Findings, id)
	}
	e.renew(held)
}

// outage says that a login endpoint has gone out of order: that is no attack.
func (e *Engine) outage(a *campaign.Attempt) {
	subject := detect.Subject{Endpoint: a.Name}
	e.stats.Outages++
	e.sink.Finding(&detect.Finding{
		Time: e.clock, ID: detect.NewID(OutageRule, subject, e.clock), Kind: "alert", Rule: OutageRule, Severity: 40,
		Subject: subject, WindowStart: e.clock - campaign.Window, WindowEnd: e.clock,
		Message: fmt.Sprintf("Hardly anybody can log in at %s: customers fail who usually succeed. It looks out of order, not attacked; nobody is acted against for it.", printable(a.Name)),
	})
}

// holdFor is how long an account that was broken into is to be held, ns.
const holdFor = 24 * 3600 * 1e9

// hold asks the application to hold an account whose password a campaign has
// got right.
func (e *Engine) hold(h *campaign.Hit) {
	if h.UserHash == "" {
		return
	}
	subject := detect.Subject{UserHash: h.UserHash}
	if held := e.verdicts.bySubject[subject]; held != nil {
		return
	}
	if len(e.verdicts.byID) >= e.cfg.Verdicts {
		e.stats.VetoCapacity++
		return
	}
	a := &active{campaign: h.Campaign, written: e.clock, lifetime: holdFor}
	a.verdict = detect.Verdict{
		ID: detect.NewID("hold:"+CampaignRule, subject, e.clock), Action: detect.ActionHold, Subject: subject,
		Findings: []string{campaignID(h.Campaign)}, Expires: e.clock + holdFor,
		Expected: detect.Expected{LegitimateRequestsPerMillion: round(h.Price, 2)},
		Message:  holdMessage(h),
	}
	e.verdicts.add(a)
	e.stats.Holds++
	e.writeVerdict(a) // not for the witness: no load balancer can match an account
}

func holdMessage(h *campaign.Hit) string {
	if c := h.Certainty(); c < 0.5 {
		return fmt.Sprintf("Ask account %s for a second factor: its password was right in a login that may be part of a campaign, from where and with what it never came before (certainty %.1f %%).", printable(h.UserHash), 100*c)
	}
	return fmt.Sprintf("Hold account %s: its password was right in a login that is part of a campaign. Ask for a second factor, hold its transfers.", printable(h.UserHash))
}

// campaignLine writes how a campaign stands.
func (e *Engine) campaignLine(c *campaign.Campaign) {
	f := detect.Finding{ID: campaignID(c), Time: e.clock}
	e.describeCampaign(&f, c)
	e.sink.Finding(&f)
}

// maxFindings bounds the campaigns that a verdict names.
const maxFindings = 8

// convictPredicate makes a verdict of a campaign's predicate, after the line
// that says how the campaign stands.
func (e *Engine) convictPredicate(r *campaign.Result) {
	a := &active{campaign: r.Campaign, proved: e.clock, silent: r.Subject.Client.IsValid() && overlapsAny(e.cfg.Allow, r.Subject.Client), written: e.clock}
	e.campaignLine(r.Campaign)
	if len(e.verdicts.byID) >= e.cfg.Verdicts {
		e.stats.VetoCapacity++
		return
	}
	strikes := r.Campaign.Strike(r.Subject)
	a.lifetime = lifetime(e.cfg.TTL.Nanoseconds(), e.cfg.MaxTTL.Nanoseconds(), strikes)
	a.verdict = detect.Verdict{
		ID: detect.NewID("verdict:"+CampaignRule, r.Subject, e.clock), Action: detect.ActionBlock, Subject: r.Subject,
		Findings: []string{campaignID(r.Campaign)}, Expires: e.clock + a.lifetime,
		Expected: detect.Expected{AttackRequestsPerMinute: round(r.PerMinute, 2), LegitimateRequestsPerMillion: round(r.Price, 2)},
	}
	if e.verdicts.byID[a.verdict.ID] != nil {
		return // the same decision; it stands
	}
	a.verdict.Message = verdictMessage(a, stuffing, strikes)
	e.pronounce(a)
}

// campaignClosed writes the last line of a campaign.
func (e *Engine) campaignClosed(c *campaign.Campaign, at int64) {
	f := detect.Finding{ID: campaignID(c)}
	e.describeCampaign(&f, c)
	f.Time, f.Campaign.State = at, "closed"
	e.sink.Finding(&f)
}

func campaignID(c *campaign.Campaign) string { return detect.NewID(CampaignRule, c.Subject, c.Opened) }

// describeCampaign fills in the finding of a campaign as it stands.
func (e *Engine) describeCampaign(f *detect.Finding, c *campaign.Campaign) {
	f.Kind, f.Rule, f.Technique, f.Severity, f.Subject = "campaign", CampaignRule, stuffing, 80, c.Subject
	if c.Spray {
		f.Technique = cracking
	}
	if c.Hits > 0 {
		f.Severity = 95 // accounts have been opened
	}
	f.WindowStart, f.WindowEnd = c.First, c.Last
	w := &c.Why
	f.Evidence = detect.Evidence{
		Statistic: round(w.Score, 4), Baseline: round(w.Baseline, 4), Threshold: round(w.Threshold, 4),
		Events: slices.Clone(c.Events),
	}
	if !c.Unmarked() {
		f.Evidence.Terms = []detect.Term{
			{Name: "wrong passwords", Value: round(w.WrongTerm, 4)},
			{Name: "right passwords", Value: round(w.RightTerm, 4)},
		}
	}
	f.Campaign = &detect.Campaign{
		ID: f.ID, State: "open", Attempts: c.Attempts,
		Accounts: c.Accounts(), AccountsHit: c.AccountsHit(), Addresses: c.Addresses(),
	}
	f.Message = campaignMessage(f, e.subject(c.Subject), c)
}

func campaignMessage(f *detect.Finding, what string, c *campaign.Campaign) string {
	w := &c.Why
	text := fmt.Sprintf("Stolen passwords are tried out: %s of about %s from about %s within %s.",
		count(c.Attempts, "login", "logins"), count(f.Campaign.Accounts, "account", "accounts"), count(f.Campaign.Addresses, "address", "addresses"),
		span(f.WindowEnd-f.WindowStart))
	failed := 100 * (1 - w.Right/max(w.Attempts, 1))
	switch {
	case c.Spray:
		text = fmt.Sprintf("One password is tried at account after account: %s of about %s from about %s within %s, as no customers mistype.",
			count(c.Attempts, "login", "logins"), count(f.Campaign.Accounts, "account", "accounts"), count(f.Campaign.Addresses, "address", "addresses"),
			span(f.WindowEnd-f.WindowStart))
	case c.Unmarked():
		where := "all login endpoints together"
		if f.Subject.Endpoint != "" {
			where = printable(f.Subject.Endpoint)
		}
		text += fmt.Sprintf(" They look like customers' in everything that a load balancer could match. At %s %.0f %% of the logins were of accounts that never get in, where %.1f %% is usual.",
			where, failed, 100*w.Baseline)
	default:
		text += fmt.Sprintf(" They have in common %s, where %.0f %% of the logins failed; of honest ones at most %.0f %% do.",
			what, failed, 100*w.Baseline)
	}
	if f.Campaign.AccountsHit > 0 {
		text += fmt.Sprintf(" The password of about %s was right: look at those.", count(f.Campaign.AccountsHit, "account", "accounts"))
	}
	return text
}
