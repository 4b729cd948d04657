package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"offpath/detect/policy"
)

// policiesPath is the full name of the list of policies.
const policiesPath = "detect.policies"

// PolicySet makes the policies in force. A configuration that was loaded has none
// that are wrong.
func (c *Config) PolicySet() (*policy.Set, error) { return policy.New(c.Detect.Policies) }

// checkPolicies refuses policies that can't be.
func (l *loader) checkPolicies() error {
	_, err := l.config.PolicySet()
	var mistake *policy.Error
	if errors.As(err, &mistake) {
		item := policiesPath + "[" + strconv.Itoa(mistake.Index) + "]"
		return l.mistake(l.within(item, policiesPath, mistake.Key), "%s", mistake.Text)
	}
	return err
}

// policies says how a policy is read.
var policies = statements[policy.Statement]{
	list: policiesPath, one: "policy", many: "policies", first: "name: …", example: "[{name: credential-stuffing, action: tag}]", keys: policy.Keys,
	fields: func(st *policy.Statement) map[string]any {
		return map[string]any{
			"name": &st.Name, "when": &st.When, "per": &st.Per, "window": &st.Window, "action": &st.Action, "rate": &st.Rate, "mode": &st.Mode, "ttl": &st.TTL, "ttl_max": &st.TTLMax,
		}
	},
}

// policyFlow writes a policy in YAML's flow style: what is given of it.
func policyFlow(st policy.Statement) string {
	parts := []string{"name: " + strconv.Quote(st.Name)}
	add := func(key, text string, given bool) {
		if given {
			parts = append(parts, key+": "+text)
		}
	}
	add("when", strconv.Quote(st.When), st.When != "")
	add("per", list(st.Per, strconv.Quote), len(st.Per) > 0)
	add("window", st.Window.String(), st.Window != 0)
	add("action", strconv.Quote(st.Action), st.Action != "")
	add("rate", fmt.Sprintf("{requests: %d, per: %v}", st.Rate.Requests, st.Rate.Per), st.Rate != policy.Rate{})
	add("mode", strconv.Quote(st.Mode), st.Mode != "")
	add("ttl", st.TTL.String(), st.TTL != 0)
	add("ttl_max", st.TTLMax.String(), st.TTLMax != 0)
	return "{" + strings.Join(parts, ", ") + "}"
}
