package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

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

// policiesFromText reads `[{name: credential-stuffing, action: tag}]`.
func policiesFromText(text string) ([]policy.Statement, error) {
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil || node.Kind == 0 || node.Content[0].Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%q is not a list of policies; write it as [{name: credential-stuffing, action: tag}]", text)
	}
	l := &loader{where: map[string]string{}}
	return l.policies(policiesPath, node.Content[0])
}

// policies reads the list of policies, which has the given path.
func (l *loader) policies(list string, n *yaml.Node) ([]policy.Statement, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, &Error{Where: l.at(n), Key: list,
			Text: fmt.Sprintf("%s is not a list; write each policy as an item of its own, \"- name: …\"", describe(n))}
	}
	policies := make([]policy.Statement, len(n.Content))
	for i, item := range n.Content {
		path := list + "[" + strconv.Itoa(i) + "]"
		l.where[path] = l.at(item)
		st := &policies[i]
		err := l.fields(item, path, policy.Keys, map[string]any{
			"name": &st.Name, "when": &st.When, "per": &st.Per, "window": &st.Window, "action": &st.Action, "rate": &st.Rate, "mode": &st.Mode, "ttl": &st.TTL, "ttl_max": &st.TTLMax,
		})
		if err != nil {
			return nil, err
		}
	}
	return policies, nil
}

// fields reads the pairs of a mapping into the fields that their keys name.
func (l *loader) fields(n *yaml.Node, path string, keys []string, into map[string]any) error {
	return l.eachPair(n, path, func(name, value *yaml.Node) error {
		field, full := into[name.Value], path+"."+name.Value
		if field == nil {
			return &Error{Where: l.at(name), Text: fmt.Sprintf("unknown key %q; the nearest known key is %q", full, path+"."+nearest(name.Value, keys))}
		}
		l.where[full] = l.at(name)
		value = resolve(value)
		if isNull(value) {
			return nil
		}
		if rate, ok := field.(*policy.Rate); ok {
			return l.fields(value, full, policy.RateKeys, map[string]any{"requests": &rate.Requests, "per": &rate.Per})
		}
		if list, ok := field.(*[]string); ok && value.Kind == yaml.SequenceNode {
			for _, item := range value.Content {
				item = resolve(item)
				if item.Kind != yaml.ScalarNode {
					return &Error{Where: l.at(item), Key: full, Text: describe(item) + " is not a single value"}
				}
				*list = append(*list, item.Value)
			}
			return nil
		}
		if value.Kind != yaml.ScalarNode {
			return &Error{Where: l.at(value), Key: full, Text: describe(value) + " is not a single value"}
		}
		if list, ok := field.(*[]string); ok { // one of them
			*list = []string{value.Value}
			return nil
		}
		if err := setScalar(reflect.ValueOf(field).Elem(), value.Value); err != nil {
			return &Error{Where: l.at(value), Key: full, Text: err.Error()}
		}
		return nil
	})
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
