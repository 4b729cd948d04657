package plain

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"offpath/detect"
)

// Numbers are sentences that say what was compared for a finding, and how it
// came out.
func Numbers(f *detect.Finding) []string {
	e := &f.Evidence
	switch {
	case f.Rule == detect.RuleLoginFailures:
		return []string{
			fmt.Sprintf("Of honest logins there about %s fail, of an attacker's nearly all.", Percent(e.Baseline)),
			fmt.Sprintf("What was seen is about %s times as likely of an attacker as of honest clients; %s times is needed to act.", Ratio(e.Statistic), Ratio(e.Threshold)),
		}
	case f.Rule == detect.RuleCampaign && strings.HasPrefix(f.Technique, "OAT-007"):
		lines := []string{fmt.Sprintf("One wrong password was tried at about %.0f accounts within six hours; from %.0f on it is held for an attack.", e.Statistic, e.Threshold)}
		if e.Baseline > 0 {
			lines = append(lines, fmt.Sprintf("The wrong password that customers had in common most often before was at about %.0f accounts.", e.Baseline))
		}
		return lines
	case f.Rule == detect.RuleCampaign && len(e.Terms) > 0:
		return []string{
			fmt.Sprintf("Of honest logins there at most %s fail, of logins with stolen passwords nearly all.", Percent(e.Baseline)),
			fmt.Sprintf("When it was noticed, what had been seen was about %s times as likely of stolen passwords as of customers; %s times is needed to act.", Ratio(e.Statistic), Ratio(e.Threshold)),
		}
	case f.Rule == detect.RuleCampaign:
		return []string{
			fmt.Sprintf("Usually about %s of the logins there fail from where and with what the account was never logged in to.", Percent(e.Baseline)),
			fmt.Sprintf("What is beyond that had added up to %s when it was noticed, in units of how much it wanders by itself; beyond %s it does by chance a few times a year at all endpoints together.", decimal(e.Statistic), decimal(e.Threshold)),
		}
	case f.Rule == detect.RuleOutage:
		return []string{fmt.Sprintf("%.0f logins were right in the last window, where about %.0f usually are; below %.0f it is held for out of order if as many fail.", e.Statistic, e.Baseline, e.Threshold)}
	}
	if counted(f) {
		var did []string
		for _, t := range e.Terms {
			did = append(did, fmt.Sprintf("%s %.0f", t.Name, t.Value))
		}
		return []string{fmt.Sprintf("Within the window of the policy there were counted: %s.", strings.Join(did, ", "))}
	}
	return []string{fmt.Sprintf("The statistic came to %s, where the threshold is %s and the baseline %s.", decimal(e.Statistic), decimal(e.Threshold), decimal(e.Baseline))}
}

// counted reports whether a finding is by an operator's own policy: its terms are
// counts.
func counted(f *detect.Finding) bool {
	return f.Rule != "" && f.Technique == "" && len(f.Evidence.Terms) > 0
}

// Ratio is a number of which the natural logarithm is given.
func Ratio(log float64) string { return Round(math.Exp(log)) }

func decimal(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) }

// Term is an addend of a finding's statistic, a logarithm of odds, and what it
// means.
type Term struct {
	detect.Term
	Meaning string // a sentence; "" where the term is not known here
}

// Terms are the addends of a finding's statistic, the weightiest first.
func Terms(f *detect.Finding) []Term {
	if counted(f) {
		return nil
	}
	var list []Term
	for _, t := range f.Evidence.Terms {
		list = append(list, Term{t, meanings[t.Name]})
	}
	slices.SortStableFunc(list, func(a, b Term) int { return cmp.Compare(math.Abs(b.Value), math.Abs(a.Value)) })
	return list
}

// meanings are of terms, by their names.
var meanings = map[string]string{
	"failures":             "Logins that failed. Each speaks for an attacker, at one account the further ones less.",
	"successes":            "Logins that were right. Each speaks for a customer.",
	"half-life and bounds": "Taken off for what is long ago, which counts half after a day, and for what lies beyond the bounds of the sum.",
	"wrong passwords":      "Logins with a wrong password. Each speaks for an attack.",
	"right passwords":      "Logins with the right password. Each speaks for customers.",
}

// Action is what a verdict asks for.
func Action(v *detect.Verdict) string {
	switch v.Action {
	case detect.ActionBlock:
		return "Refuse every request."
	case detect.ActionRateLimit:
		return fmt.Sprintf("Let through at most %s of each client address within %s.", Count(v.Rate.Requests, "request", "requests"), Span(v.Rate.Per))
	case detect.ActionChallenge:
		return "Make the client prove that a person is there."
	case detect.ActionDeceive:
		return "Answer as if the login had failed, whatever the password."
	case detect.ActionTag:
		return "Let requests through, marked for the application."
	case detect.ActionHold:
		return "Have the application hold the account: ask for a second factor, hold transfers, end sessions."
	case detect.ActionLift:
		return "Nothing any more: it has been lifted."
	}
	return string(v.Action)
}

// Member is one condition of a subject.
type Member struct{ Name, Value, Meaning string }

// Members are the conditions of a subject, all of which a request has to meet.
func Members(s detect.Subject) []Member {
	var list []Member
	add := func(name, value, meaning string) {
		if value != "" {
			list = append(list, Member{name, Printable(value), meaning})
		}
	}
	if s.Client.IsValid() {
		meaning := "the client's address"
		if !s.Client.IsSingleIP() {
			meaning = "the network that the client's address is in"
		}
		add("client.ip", Client(s.Client), meaning)
	}
	add("offpath.fingerprint", s.Fingerprint, "the client's software, by which header fields it sends in what order")
	add("user_agent.original", s.UserAgent, "what the client says that its software is")
	add("tls.client.ja4", s.JA4, "how the client's software opens TLS connections")
	add("offpath.endpoint", s.Endpoint, "what is asked for")
	add("url.domain", s.Domain, "the host that is asked")
	add("offpath.session", s.Session, "keyed hash of the session token that is presented")
	add("user.hash", s.UserHash, "keyed hash of the account's name")
	return list
}
