package engine

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"offpath/detect"
	"offpath/detect/sequential"
)

// Rule is the name of the detector behind this engine's findings.
const Rule = "sequential_login_failures"

// The techniques, by OWASP Automated Threats.
const (
	stuffing = "OAT-008 Credential Stuffing"
	cracking = "OAT-007 Credential Cracking"
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
	what := fmt.Sprintf("for %d different accounts", v.Accounts)
	if cracks {
		what = fmt.Sprintf("with ever new passwords for %s", count(max(v.Accounts, 1), "account", "accounts"))
	}
	text := fmt.Sprintf("%s tried %s %s within %s, of which %d failed; of honest logins to %s about %.0f %% fail.",
		who, count(attempts, "login", "logins"), what, span(f.WindowEnd-f.WindowStart),
		v.Failures, printable(endpoint), 100*v.Baseline)
	if v.Successes > 0 {
		text += fmt.Sprintf(" The password was right %s: look at those accounts.", times(v.Successes))
	}
	return text
}

func verdictMessage(a *active, technique string, strikes int) string {
	text := fmt.Sprintf("Block %s for %s: %s.", subjectText(a.verdict.Subject), span(a.lifetime), technique)
	if strikes > 0 {
		text += fmt.Sprintf(" It has been blocked %s before.", times(strikes))
	}
	return text
}

// printable is a name that a client chose, quoted if it holds anything that a
// terminal would not simply show.
func printable(name string) string {
	for _, r := range name {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(name)
		}
	}
	return name
}

// subject is subjectText with whose network it is, where that is known.
func (e *Engine) subject(s detect.Subject) string {
	text := subjectText(s)
	if e.cfg.Networks == nil || !s.Client.IsValid() {
		return text
	}
	whose := e.cfg.Networks.Of(s.Client).String()
	if whose == "" {
		return text
	}
	client := clientText(s.Client)
	return client + " (" + printable(whose) + ")" + strings.TrimPrefix(text, client)
}

// subjectText is a predicate as people write it.
func subjectText(s detect.Subject) string {
	var parts []string
	if s.Client.IsValid() {
		parts = append(parts, clientText(s.Client))
	}
	for _, m := range [...]struct{ name, value string }{
		{"fingerprint ", s.Fingerprint}, {"User-Agent ", s.UserAgent}, {"JA4 ", s.JA4}, {"requests for ", s.Domain},
		{"session ", s.Session}, {"account ", s.UserHash},
	} {
		if m.value != "" {
			parts = append(parts, m.name+printable(m.value))
		}
	}
	text := strings.Join(parts, " with ")
	if s.Endpoint != "" {
		text = strings.TrimSpace(text + " at " + printable(s.Endpoint))
	}
	return text
}

// clientText is an address or a network as people write it.
func clientText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// span is a duration in one unit.
func span(ns int64) string {
	switch d := time.Duration(ns); {
	case d < 2*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
	return fmt.Sprintf("%.0f hours", time.Duration(ns).Hours())
}
