package engine

import (
	"offpath/detect"
	"offpath/detect/campaign"
	"offpath/detect/override"
	"offpath/detect/policy"
)

// SetOverrides replaces what an operator knows better.
func (e *Engine) SetOverrides(s *override.Set) {
	e.stats.OverridesTooDear += e.cfg.Overrides.TooDear()
	e.cfg.Overrides = s
}

// SetPolicies replaces the policies. What is in force by one that has changed is
// written anew as it says now, or lifted, in the order of their ids: verdicts may
// last for hours.
func (e *Engine) SetPolicies(policies *policy.Set) {
	e.policies = policies
	for _, a := range e.verdicts.inOrder() {
		if a.policy == nil {
			continue
		}
		before := a.policy
		a.policy = policies.Get(before.Name)
		if a.policy != nil && a.entity != nil && !before.SameMatter(a.policy) {
			e.lift(a, "was what its policy was about before")
			continue
		}
		e.reorder(a)
	}
	e.own = e.own.with(policies)
}

// reorder brings a verdict that is not an operator's to what its policy says.
func (e *Engine) reorder(a *active) {
	before := a.verdict
	switch {
	case a.policy == nil:
		e.lift(a, "has no policy any more")
	case a.noted != (a.policy.Action == policy.ActionNone):
		e.lift(a, "is only reported now") // of one that was not written: found anew, if it goes on
	case !a.noted:
		e.orders(a)
		if a.unwritten() || a.verdict.Expires <= e.clock {
			return
		}
		if a.verdict.Action != before.Action || a.verdict.Rate != before.Rate {
			if a.verdict.Subject.UserHash == "" {
				a.verdict.Message = verdictMessage(a, a.policy.Threat, 0)
			}
			e.writeVerdict(a)
			return
		}
		e.relabel(a)
	}
}

// orders makes a verdict ask for what its policy says.
func (e *Engine) orders(a *active) {
	p := a.policy
	a.noted = p.Action == policy.ActionNone
	a.verdict.Policy, a.verdict.Action, a.verdict.Rate = p.Name, p.Action, p.Rate
}

// mode is the milder of the engine's and a policy's, as a line carries it; of no
// policy the engine's.
func (e *Engine) mode(p *policy.Policy) detect.Mode {
	if e.cfg.Mode == detect.ModeEnforce && (p == nil || p.Mode == detect.ModeEnforce) {
		return detect.ModeEnforce
	}
	return detect.ModeMonitor
}

// lifetime is how long a policy's verdict lasts against a subject that has had so
// many before, ns.
func (e *Engine) lifetime(p *policy.Policy, strikes int) int64 {
	ttl, longest := p.Lifetimes(e.cfg.TTL, e.cfg.MaxTTL)
	return lifetime(ttl.Nanoseconds(), longest.Nanoseconds(), strikes)
}

// stopped reports whether a load balancer keeps what a verdict is about from the
// application, as far as its policy goes. The mode does not matter: what is
// decided does not depend on it.
func (e *Engine) stopped(a *active) bool {
	if a.noted || a.verdict.Action == detect.ActionTag {
		return false
	}
	return e.cfg.Carried == nil || e.cfg.Carried(&a.verdict)
}

func (e *Engine) campaignPolicy(c *campaign.Campaign) *policy.Policy {
	if c.Spray {
		return e.policies.Get(policy.Spraying)
	}
	return e.policies.Get(policy.Stuffing)
}

// policyOf names the policy of a verdict of an earlier run, which may have been
// written before verdicts named theirs.
func policyOf(v *detect.Verdict) string {
	switch {
	case v.Policy != "":
		return v.Policy
	case v.Action == detect.ActionHold:
		return policy.Takeover
	}
	return policy.Stuffing
}
