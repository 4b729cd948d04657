package engine

import (
	"fmt"
	"net/netip"
	"slices"

	"offpath/detect"
	"offpath/detect/campaign"
	"offpath/detect/plain"
	"offpath/detect/policy"
)

// CampaignRule is the name of the detector behind campaign findings.
const CampaignRule = detect.RuleCampaign

// OutageRule is the name behind the finding that a login endpoint is out of
// order.
const OutageRule = detect.RuleOutage

// judgeCampaign feeds an attempt to the detector of campaigns and does what it
// asks for. It reports whether the attempt is under a predicate that can be
// enforced, or will be soon.
func (e *Engine) judgeCampaign(a *campaign.Attempt) (covered bool) {
	a.Held = e.heldAlready(a.Client)
	r := e.campaigns.Observe(a)
	e.chartsSay(&r)
	var held *active
	if r.Guilty {
		if held = e.verdicts.bySubject[r.Subject]; held != nil {
			e.campaignEvidence(held, &r)
		} else {
			e.convictPredicate(&r)
			held = e.verdicts.bySubject[r.Subject]
		}
	}
	for i := range r.Hits {
		e.hold(&r.Hits[i])
	}
	if c := r.Campaign; c != nil && e.clock-c.Told >= retold {
		e.campaignLine(c)
	}
	if held != nil && e.stopped(held) || r.Pending {
		return true
	}
	stops := func(p *active) bool {
		s := &p.verdict.Subject
		return (s.UserAgent == "" || s.UserAgent == a.UserAgent) && (s.JA4 == "" || s.JA4 == a.JA4) && e.stopped(p)
	}
	return slices.ContainsFunc(e.verdicts.predicates[predicate{a.Name, a.Fingerprint}], stops) ||
		a.Fingerprint != "" && slices.ContainsFunc(e.verdicts.predicates[predicate{a.Name, ""}], stops)
}

// heldAlready reports whether an address is under a verdict of its own.
func (e *Engine) heldAlready(client netip.Addr) bool {
	if client.Is6() && !client.Is4In6() {
		if network, err := client.Prefix(64); err == nil && e.verdicts.ofClient(network) != nil {
			return true
		}
	}
	return e.verdicts.ofClient(netip.PrefixFrom(client, client.BitLen())) != nil
}

// campaignDown is a login that the application failed to answer.
func (e *Engine) campaignDown(a *campaign.Attempt) {
	r := e.campaigns.Down(a)
	e.chartsSay(&r)
	for i := range r.Hits {
		e.hold(&r.Hits[i])
	}
}

// chartsSay writes what the windows that have ended say.
func (e *Engine) chartsSay(r *campaign.Result) {
	for i := range r.Broken {
		e.outage(&r.Broken[i])
	}
	for i := range r.Missing {
		e.missing(&r.Missing[i])
	}
	if r.Rising != nil {
		e.campaignLine(r.Rising)
	}
}

// campaignEvidence is a wrong attempt under a predicate that is acted against.
func (e *Engine) campaignEvidence(held *active, r *campaign.Result) {
	held.campaign, held.proved = r.Campaign, e.clock
	// Refused requests may leave no trace: that it has become quiet means something
	// only where it was not while the verdict was in force.
	held.shows = held.shows || e.clock >= held.begun+settling
	held.since++
	if !e.due(held) {
		return
	}
	e.campaignLine(r.Campaign)
	held.verdict.Expected.LegitimateRequestsPerMillion = e.wouldHit(r)
	if id := campaignID(r.Campaign); !slices.Contains(held.verdict.Findings, id) && len(held.verdict.Findings) < maxFindings {
		held.verdict.Findings = append(held.verdict.Findings, id)
	}
	e.renew(held)
}

// wouldHit is what a predicate is expected to hit, of a million legitimate logins: about one
// client, no more than that client's.
func (e *Engine) wouldHit(r *campaign.Result) float64 {
	price := r.Price
	if r.Subject.Client.IsValid() {
		_, own := e.sequential.Customers(r.Subject.Client)
		price = min(price, own)
	}
	return round(price, 2)
}

// outage says that a login endpoint has gone out of order: that is no attack.
func (e *Engine) outage(o *campaign.Outage) {
	subject := detect.Subject{Endpoint: o.Name}
	e.stats.Outages++
	e.sink.Finding(&detect.Finding{
		Time: e.clock, ID: detect.NewID(OutageRule, subject, e.clock), Kind: "alert", Rule: OutageRule, Severity: 40,
		Subject: subject, WindowStart: e.clock - campaign.Window, WindowEnd: e.clock,
		Evidence: detect.Evidence{Statistic: o.Right, Baseline: round(o.Usual, 2), Threshold: round(o.Least, 2)},
		Message: fmt.Sprintf("Far fewer logins succeed at %s than usual: %.0f within %s, where about %.0f usually do, and many fail. It looks out of order, not attacked; nobody is acted against for it.",
			plain.Printable(o.Name), o.Right, plain.Span(campaign.Window), o.Usual),
	})
}

// hold asks the application to hold an account whose password a campaign has
// got right.
func (e *Engine) hold(h *campaign.Hit) {
	by := e.policies.Get(policy.Takeover)
	if h.UserHash == "" || by.Action == policy.ActionNone {
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
	a := &active{campaign: h.Campaign, written: e.clock, policy: by, lifetime: e.lifetime(by, 0)}
	a.verdict = detect.Verdict{
		ID: detect.NewID("hold:"+CampaignRule, subject, e.clock), Subject: subject,
		Findings: []string{campaignID(h.Campaign)}, Expires: e.clock + a.lifetime,
		Expected: detect.Expected{LegitimateRequestsPerMillion: round(h.Price, 2)},
		Message:  holdMessage(h),
	}
	e.orders(a)
	e.verdicts.add(a)
	e.stats.Holds++
	e.writeVerdict(a) // not for the witness: no load balancer can match an account
}

func holdMessage(h *campaign.Hit) string {
	if c := h.Certainty(); c < 0.5 {
		return fmt.Sprintf("Ask account %s for a second factor: its password was right in a login amid a campaign that shows less of what customers show than most. Of such logins about one in %s is the attacker's.", plain.Printable(h.UserHash), plain.Round(1/c))
	}
	return fmt.Sprintf("Hold account %s: its password was right in a login that is part of a campaign. Ask for a second factor, hold its transfers.", plain.Printable(h.UserHash))
}

// campaignLine writes how a campaign stands.
func (e *Engine) campaignLine(c *campaign.Campaign) {
	f := detect.Finding{ID: campaignID(c), Time: e.clock}
	e.describeCampaign(&f, c)
	e.sink.Finding(&f)
	c.Told = e.clock
}

// retold is after how long at most how a campaign stands is written anew while
// attempts are attributed to it, ns.
const retold = 10 * 60e9

// maxFindings bounds the campaigns that a verdict names.
const maxFindings = 8

// convictPredicate makes a verdict of a campaign's predicate, after the line
// that says how the campaign stands.
func (e *Engine) convictPredicate(r *campaign.Result) {
	a := &active{campaign: r.Campaign, begun: e.clock, proved: e.clock, policy: e.campaignPolicy(r.Campaign), silent: r.Subject.Client.IsValid() && overlapsAny(e.cfg.Allow, r.Subject.Client), written: e.clock}
	e.campaignLine(r.Campaign)
	if len(e.verdicts.byID) >= e.cfg.Verdicts {
		e.stats.VetoCapacity++
		return
	}
	strikes := r.Campaign.Strike(r.Subject)
	a.lifetime = e.lifetime(a.policy, strikes)
	a.verdict = detect.Verdict{
		ID: detect.NewID("verdict:"+CampaignRule, r.Subject, e.clock), Subject: r.Subject,
		Findings: []string{campaignID(r.Campaign)}, Expires: e.clock + a.lifetime,
		Expected: detect.Expected{AttackRequestsPerMinute: round(r.PerMinute, 2), LegitimateRequestsPerMillion: e.wouldHit(r)},
	}
	if e.verdicts.byID[a.verdict.ID] != nil {
		return // the same decision; it stands
	}
	a.verdict.Message = verdictMessage(a, a.policy.Threat, strikes)
	e.pronounce(a)
}

// campaignClosed writes the last line of a campaign, and ends what predicates it
// still has: they hit nobody any more but customers.
func (e *Engine) campaignClosed(c *campaign.Campaign) {
	f := detect.Finding{ID: campaignID(c), Time: e.clock}
	e.describeCampaign(&f, c)
	f.Campaign.State = "closed"
	e.sink.Finding(&f)
	for _, a := range e.verdicts.inOrder() {
		if a.campaign == c && a.verdict.Action != detect.ActionHold && a.shows {
			e.lift(a, "has not been seen for half an hour")
		}
	}
}

// settling is how long after a verdict requests of its subject may still come
// through although it is enforced, ns.
const settling = 30e9

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
	if !c.Unmarked() || c.Spray { // else attempts are those beyond what is usual
		f.Campaign.Accounts, f.Campaign.Addresses = min(f.Campaign.Accounts, c.Attempts), min(f.Campaign.Addresses, c.Attempts)
	}
	f.Message = campaignMessage(f, e.subject(c.Subject), c)
}

func campaignMessage(f *detect.Finding, who string, c *campaign.Campaign) string {
	w := &c.Why
	var text string
	switch {
	case c.Spray:
		text = "One password is tried at account after account: " + extent(f, c) + ". No customers mistype like that."
	case c.Unmarked():
		where := "all login endpoints together"
		if f.Subject.Endpoint != "" {
			where = plain.Printable(f.Subject.Endpoint)
		}
		text = fmt.Sprintf("Stolen passwords are tried out at %s: %s more than usual within %s, to accounts that were never logged in to from there nor with that program; %s in all. When this was noticed, %s of the logins there were such, where %s is usual. In everything that a load balancer could match they look like customers'.",
			where, plain.Count(c.Attempts, "login", "logins"), plain.Span(f.WindowEnd-f.WindowStart),
			"about "+plain.Count(f.Campaign.Accounts, "account", "accounts")+" from about "+plain.Count(f.Campaign.Addresses, "address", "addresses"),
			plain.Percent(round(1-w.Right/max(w.Attempts, 1), 4)), plain.Percent(round(w.Baseline, 4)))
	default:
		text = fmt.Sprintf("Stolen passwords are tried out: %s. They come from %s: when this was noticed, %s of the logins from there had failed; of honest logins at most %s do.",
			extent(f, c), who, plain.Percent(round(1-w.Right/max(w.Attempts, 1), 4)), plain.Percent(round(w.Baseline, 4)))
	}
	switch hit := plain.Count(f.Campaign.AccountsHit, "account", "accounts"); {
	case f.Campaign.AccountsHit == 0:
	case c.Unmarked() && !c.Spray: // most of them are customers'
		text += fmt.Sprintf(" The password was right in logins to about %s that show less of what customers show than most: some are the attacker's.", hit)
	default:
		text += fmt.Sprintf(" The password of about %s was right: look at those.", hit)
	}
	return text
}

// extent is how large a campaign is. Accounts and addresses are left out while
// most of its attempts are from before it was noticed: they are counted since.
func extent(f *detect.Finding, c *campaign.Campaign) string {
	text := plain.Count(c.Attempts, "login", "logins")
	if 2*c.Uncounted() < c.Attempts {
		text += fmt.Sprintf(" to about %s from about %s", plain.Count(f.Campaign.Accounts, "account", "accounts"), plain.Count(f.Campaign.Addresses, "address", "addresses"))
	}
	if length := f.WindowEnd - f.WindowStart; length > 0 {
		text += " within " + plain.Span(length)
	}
	return text
}
