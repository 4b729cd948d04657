package engine

import (
	"fmt"
	"strings"

	"offpath/detect"
	"offpath/detect/plain"
	"offpath/detect/policy"
	"offpath/detect/sequential"
)

// Rule is the name of the detector behind this engine's findings.
const Rule = detect.RuleLoginFailures

// The techniques, by OWASP Automated Threats.
const (
	stuffing = policy.OAT008
	cracking = policy.OAT007
)

// describe fills in a finding from its evidence.
func (e *Engine) describe(f *detect.Finding, at *place, cracks bool, v *sequential.Evidence) {
	f.Kind, f.Rule = "alert", Rule
	f.Technique, f.Severity = stuffing, 70
	if cracks {
		f.Technique, f.Severity = cracking, 60
	}
	if v.Successes > 0 {
		f.Severity = 90 // accounts have been opened
	}
	f.WindowStart, f.WindowEnd = v.First, e.clock
	if v.First == 0 {
		f.WindowStart = e.clock // its dossier was given up for want of room
	}
	f.Evidence = detect.Evidence{
		Statistic: round(v.Score, 4), Baseline: round(v.Baseline, 4), Threshold: round(v.Threshold, 4), Events: v.Events,
	}
	for _, term := range v.Terms {
		f.Evidence.Terms = append(f.Evidence.Terms, detect.Term{Name: term.Name, Value: round(term.Value, 4)})
	}
	f.Message = findingMessage(f, e.subject(f.Subject), at.name, cracks, v)
}

func findingMessage(f *detect.Finding, who, endpoint string, cracks bool, v *sequential.Evidence) string {
	attempts := v.Failures + v.Successes
	what := fmt.Sprintf("to %d different accounts", v.Accounts)
	if cracks {
		what = fmt.Sprintf("with ever new passwords to %s", plain.Count(max(v.Accounts, 1), "account", "accounts"))
	}
	text := fmt.Sprintf("%s tried %s %s within %s, of which %d failed; of honest logins at %s about %.0f %% fail.",
		who, plain.Count(attempts, "login", "logins"), what, plain.Span(f.WindowEnd-f.WindowStart),
		v.Failures, plain.Printable(endpoint), 100*v.Baseline)
	if v.Successes > 0 {
		text += fmt.Sprintf(" The password was right %s: look at those accounts.", plain.Times(v.Successes))
	}
	return text
}

func verdictMessage(a *active, technique string, strikes int) string {
	who, long := plain.Subject(a.verdict.Subject), plain.Span(a.lifetime)
	before := "acted against"
	var text string
	switch p := a.policy; p.Action {
	case detect.ActionRateLimit:
		text = fmt.Sprintf("Limit %s to %s per %s for %s", who, plain.Count(p.Rate.Requests, "request", "requests"), plain.Span(p.Rate.Per), long)
	case detect.ActionChallenge:
		text = fmt.Sprintf("Challenge %s for %s", who, long)
	case detect.ActionDeceive:
		text = fmt.Sprintf("Deceive %s for %s", who, long)
	case detect.ActionTag:
		text = fmt.Sprintf("Tag %s for %s", who, long)
	case detect.ActionHold:
		text = fmt.Sprintf("Hold %s for %s", who, long)
	default:
		text, before = fmt.Sprintf("Block %s for %s", who, long), "blocked"
	}
	what := "stolen passwords are tried out from there (" + technique + ")"
	switch {
	case a.policy.Condition != nil:
		what = "it meets the policy " + a.policy.Name
	case technique == cracking:
		what = "passwords are guessed from there (" + technique + ")"
	}
	text += ": " + what + "."
	if strikes > 0 {
		text += fmt.Sprintf(" It has been %s %s before.", before, plain.Times(strikes))
	}
	return text
}

// subject is a predicate in words, with whose network it is, where that is known.
func (e *Engine) subject(s detect.Subject) string {
	text := plain.Subject(s)
	if e.cfg.Networks == nil || !s.Client.IsValid() {
		return text
	}
	whose := e.cfg.Networks.Of(s.Client).String()
	if whose == "" {
		return text
	}
	client := plain.Client(s.Client)
	return client + " (" + plain.Printable(whose) + ")" + strings.TrimPrefix(text, client)
}
