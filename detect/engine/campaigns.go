package engine

import (
	"fmt"
	"math/bits"
	"slices"

	"offpath/detect"
	"offpath/detect/campaign"
)

// CampaignRule is the name of the detector behind campaign findings.
const CampaignRule = "campaign_excess"

// judgeCampaign feeds an attempt to the detector of campaigns and does what it
// asks for.
func (e *Engine) judgeCampaign(a *campaign.Attempt) {
	r := e.campaigns.Observe(a)
	if !r.Guilty {
		return
	}
	if held := e.verdicts.bySubject[r.Subject]; held != nil {
		held.campaign = r.Campaign
		held.since++
		if e.due(held) {
			e.describeCampaign(&held.finding, r.Campaign)
			e.writeFinding(held)
			held.verdict.Expected.LegitimateRequestsPerMillion = round(r.Price, 2)
			e.renew(held)
		}
		return
	}
	e.convictPredicate(&r)
}

// convictPredicate makes a verdict of a campaign's predicate, after the line
// that says how the campaign stands.
func (e *Engine) convictPredicate(r *campaign.Result) {
	a := &active{campaign: r.Campaign, silent: r.Subject.Client.IsValid() && overlapsAny(e.cfg.Allow, r.Subject.Client), written: e.clock}
	a.finding = detect.Finding{ID: campaignID(r.Campaign)}
	e.describeCampaign(&a.finding, r.Campaign)
	e.writeFinding(a)
	if len(e.verdicts.byID) >= e.cfg.Verdicts {
		e.stats.VetoCapacity++
		return
	}
	strikes := r.Campaign.Strike(r.Subject)
	a.lifetime = lifetime(e.cfg.TTL.Nanoseconds(), e.cfg.MaxTTL.Nanoseconds(), strikes)
	a.verdict = detect.Verdict{
		ID: detect.NewID("verdict:"+CampaignRule, r.Subject, e.clock), Action: detect.ActionBlock, Subject: r.Subject,
		Findings: []string{a.finding.ID}, Expires: e.clock + a.lifetime,
		Expected: detect.Expected{AttackRequestsPerMinute: round(r.PerMinute, 2), LegitimateRequestsPerMillion: round(r.Price, 2)},
	}
	if e.verdicts.byID[a.verdict.ID] != nil {
		return // the same decision; it stands
	}
	a.verdict.Message = verdictMessage(a, strikes)
	e.verdicts.add(a)
	if a.silent {
		e.stats.VetoAllowed++
		return
	}
	e.stats.Verdicts++
	e.writeVerdict(a)
	e.witness.Add(&a.verdict)
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
	if c.Hits > 0 {
		f.Severity = 95 // accounts have been opened
	}
	f.WindowStart, f.WindowEnd = c.First, c.Last
	w := &c.Why
	f.Evidence = detect.Evidence{
		Statistic: round(w.Score, 4), Baseline: round(w.Baseline, 4), Threshold: round(w.Threshold, 4),
		Terms: []detect.Term{
			{Name: "wrong passwords", Value: round(w.WrongTerm, 4)},
			{Name: "right passwords", Value: round(w.RightTerm, 4)},
		},
		Events: slices.Clone(c.Events),
	}
	f.Campaign = &detect.Campaign{
		ID: f.ID, State: "open", Attempts: c.Attempts,
		Accounts: c.Accounts(), AccountsHit: c.AccountsHit(), Addresses: c.Addresses(),
	}
	f.Message = campaignMessage(f, c)
}

func campaignMessage(f *detect.Finding, c *campaign.Campaign) string {
	text := fmt.Sprintf("Stolen passwords are tried out: %s of about %s from about %s within %s. They have in common %s, where %.0f %% of the logins failed; of honest ones at most %.0f %% do.",
		count(c.Attempts, "login", "logins"), count(f.Campaign.Accounts, "account", "accounts"), count(f.Campaign.Addresses, "address", "addresses"),
		span(f.WindowEnd-f.WindowStart), subjectText(c.Subject), 100*(1-c.Why.Right/max(c.Why.Attempts, 1)), 100*c.Why.Baseline)
	if f.Campaign.AccountsHit > 0 {
		text += fmt.Sprintf(" The password of about %s was right: look at those.", count(f.Campaign.AccountsHit, "account", "accounts"))
	}
	return text
}

// ceilPower is the least power of two that is not below n.
func ceilPower(n int) int { return 1 << bits.Len(uint(n-1)) }
