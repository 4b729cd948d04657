package plain

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/detect"
)

func TestWhatWasComparedIsSaidForEachRule(t *testing.T) {
	for _, c := range []struct {
		name    string
		finding detect.Finding
		want    []string
	}{
		{"a client whose logins fail",
			detect.Finding{Rule: detect.RuleLoginFailures, Evidence: detect.Evidence{Statistic: 14.85, Baseline: 0.08, Threshold: 13.8}},
			[]string{"Of honest logins there about 8.0 % fail, of an attacker's nearly all.",
				"What was seen is about 2.8 million times as likely of an attacker as of honest clients; 980,000 times is needed to act."}},
		{"a campaign with marks",
			detect.Finding{Rule: detect.RuleCampaign, Technique: "OAT-008 Credential Stuffing", Evidence: detect.Evidence{Statistic: 26.8, Baseline: 0.29, Threshold: 25.3, Terms: []detect.Term{{Name: "wrong passwords", Value: 26.8}}}},
			[]string{"Of honest logins there at most 29 % fail, of logins with stolen passwords nearly all.",
				"When it was noticed, what had been seen was about 440 billion times as likely of stolen passwords as of customers; 97 billion times is needed to act."}},
		{"a campaign without",
			detect.Finding{Rule: detect.RuleCampaign, Technique: "OAT-008 Credential Stuffing", Evidence: detect.Evidence{Statistic: 7.9858, Baseline: 0.0227, Threshold: 1.8881}},
			[]string{"Usually about 2.3 % of the logins there fail from where and with what the account was never logged in to.",
				"What is beyond that had added up to 7.99 when it was noticed, in units of how much it wanders by itself; beyond 1.89 it does by chance a few times a year at all endpoints together."}},
		{"a sprayed password",
			detect.Finding{Rule: detect.RuleCampaign, Technique: "OAT-007 Credential Cracking", Evidence: detect.Evidence{Statistic: 25.45, Threshold: 24}},
			[]string{"One wrong password was tried at about 25 accounts within six hours; from 24 on it is held for an attack."}},
		{"an outage",
			detect.Finding{Rule: detect.RuleOutage, Evidence: detect.Evidence{Statistic: 396, Baseline: 906.88, Threshold: 453.44}},
			[]string{"396 logins were right in the last window, where about 907 usually are; below 453 it is held for out of order if as many fail."}},
		{"a rule of a later version",
			detect.Finding{Rule: "new", Evidence: detect.Evidence{Statistic: 1.234, Baseline: 0.5, Threshold: 1}},
			[]string{"The statistic came to 1.23, where the threshold is 1 and the baseline 0.5."}},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, Numbers(&c.finding)) })
	}
}

func TestWhatAPolicyCountedIsSaid(t *testing.T) {
	f := &detect.Finding{Rule: "transfers", Evidence: detect.Evidence{Statistic: 31, Terms: []detect.Term{{Name: "requests", Value: 31}, {Name: "errors", Value: 2}}}}
	assert.Equal(t, []string{"Within the window of the policy there were counted: requests 31, errors 2."}, Numbers(f))
	assert.Empty(t, Terms(f), "they are no odds")
}

func TestTermsStandByTheirWeight(t *testing.T) {
	f := detect.Finding{Evidence: detect.Evidence{Terms: []detect.Term{{Name: "failures", Value: 3}, {Name: "successes", Value: -9}, {Name: "half-life and bounds", Value: -0.1}, {Name: "later", Value: 5}}}}
	var names []string
	for _, term := range Terms(&f) {
		names = append(names, term.Name)
		assert.Equal(t, term.Name == "later", term.Meaning == "", term.Name)
	}
	assert.Equal(t, []string{"successes", "later", "failures", "half-life and bounds"}, names)
}

func TestEveryActionIsSaidInWords(t *testing.T) {
	for _, a := range []detect.Action{detect.ActionBlock, detect.ActionRateLimit, detect.ActionChallenge, detect.ActionDeceive, detect.ActionTag, detect.ActionHold, detect.ActionLift} {
		assert.Regexp(t, `^[A-Z].* .*\.$`, Action(&detect.Verdict{Action: a}), a)
	}
	assert.Equal(t, "Let through at most 5 requests of each client address within 60 s.", Action(&detect.Verdict{Action: detect.ActionRateLimit, Rate: detect.Rate{Requests: 5, Per: 60e9}}))
}

func TestEveryConditionOfASubjectIsListed(t *testing.T) {
	all := detect.Subject{Fingerprint: "f", UserAgent: "u\n", JA4: "j", Endpoint: "e", Domain: "d", Session: "s", UserHash: "h"}
	assert.Len(t, Members(all), 7)
	assert.Equal(t, `"u\n"`, Members(all)[1].Value)
	assert.Empty(t, Members(detect.Subject{}))
}
