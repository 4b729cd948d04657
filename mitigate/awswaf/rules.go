package awswaf

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"offpath/detect"
	"offpath/mitigate"
)

// tier is a rate as AWS has it.
type tier struct {
	requests, seconds int64
}

// minLimit is the least limit of a rate-based rule.
const minLimit = 10

// maxTiers is how many rates there are at most: each is a rule and sets of its own.
const maxTiers = 8

// tierOf says whether AWS has a rate.
func tierOf(rate detect.Rate) (tier, bool) {
	t := tier{int64(rate.Requests), rate.Per / int64(time.Second)}
	switch time.Duration(rate.Per) {
	case 60 * time.Second, 120 * time.Second, 300 * time.Second, 600 * time.Second:
		return t, t.requests >= minLimit && t.requests <= 2_000_000_000
	}
	return t, false
}

func (t tier) class() class { return fmt.Sprintf("rate-%d-%d", t.requests, t.seconds) }

// modePrefix begins the name of the rule that says the mode: its statement matches nothing.
const modePrefix = "offpath-mode-"

// rules are those of a mode. There are none but that of the mode itself when it is off.
func (t *Target) rules(mode detect.Mode, predicates []predicate, arns map[string]string) ([]types.Rule, error) {
	rules := []types.Rule{{
		Name:      aws.String(modePrefix + string(mode)),
		Statement: &types.Statement{LabelMatchStatement: &types.LabelMatchStatement{Scope: types.LabelMatchScopeLabel, Key: aws.String("offpath:none")}},
		Action:    &types.RuleAction{Count: &types.CountAction{}},
	}}
	if mode != detect.ModeOff {
		for _, class := range t.classes() {
			members, err := t.membership(class, arns)
			if err != nil {
				return nil, err
			}
			rule := types.Rule{Name: aws.String("offpath-" + class), Statement: members, Action: &types.RuleAction{Count: &types.CountAction{}}}
			status, more := int32(403), []types.CustomHTTPHeader(nil)
			for _, tier := range t.tiers {
				if tier.class() == class {
					rule.Statement = &types.Statement{RateBasedStatement: &types.RateBasedStatement{
						AggregateKeyType:    types.RateBasedStatementAggregateKeyTypeIp,
						Limit:               aws.Int64(tier.requests),
						EvaluationWindowSec: tier.seconds,
						ScopeDownStatement:  members,
					}}
					status = 429
					more = append(more, types.CustomHTTPHeader{Name: aws.String("Retry-After"), Value: aws.String(strconv.FormatInt(tier.seconds, 10))})
				}
			}
			if mode == detect.ModeEnforce && class != classWatch {
				rule.Action = refusal(status, t.Marker(class), more...)
			}
			rules = append(rules, rule)
		}
		for i := range predicates {
			rule, err := t.predicateRule(&predicates[i], mode, arns)
			if err != nil {
				return nil, err
			}
			rules = append(rules, rule)
		}
	}
	for i := range rules {
		rules[i].Priority = int32(i)
		rules[i].VisibilityConfig = visibility(*rules[i].Name)
	}
	return rules, nil
}

// membership matches clients in the sets of a class, whom the allow-list does not have.
func (t *Target) membership(class class, arns map[string]string) (*types.Statement, error) {
	in := func(name string) (types.Statement, error) {
		arn := arns[name]
		if arn == "" {
			return types.Statement{}, fmt.Errorf("%w: there is no IP set %s yet", ErrNotPrepared, name)
		}
		return types.Statement{IPSetReferenceStatement: &types.IPSetReferenceStatement{ARN: aws.String(arn)}}, nil
	}
	var any, all []types.Statement
	for _, f := range families {
		for i := range t.options.Sets {
			s, err := in(t.setName(class, f, i))
			if err != nil {
				return nil, err
			}
			any = append(any, s)
		}
	}
	all = append(all, types.Statement{OrStatement: &types.OrStatement{Statements: any}})
	for _, f := range families {
		s, err := in(t.allowName(f))
		if err != nil {
			return nil, err
		}
		all = append(all, types.Statement{NotStatement: &types.NotStatement{Statement: &s}})
	}
	return &types.Statement{AndStatement: &types.AndStatement{Statements: all}}, nil
}

// capacity is the web ACL capacity units of all rules, as many as there may be: one for
// each reference to a set and for the label, two more for a rate.
func (t *Target) capacity() int64 {
	classes := len(t.classes())
	sets := len(families) * t.options.Sets
	spared := (classes-1)*sets + len(families)
	return int64(1 + classes*(sets+len(families)) + 2*len(t.tiers) + t.options.Rules*(predicateUnits+spared))
}

func visibility(name string) *types.VisibilityConfig {
	return &types.VisibilityConfig{CloudWatchMetricsEnabled: true, SampledRequestsEnabled: true, MetricName: aws.String(strings.ReplaceAll(name, "-", "_"))}
}

// Marker is what refusals by the rule of a class carry: the same always, and no verdict's.
func (t *Target) Marker(class string) mitigate.ID {
	sum := sha256.Sum256([]byte("offpath aws_waf " + t.options.Group + " " + class))
	return mitigate.ID(binary.BigEndian.Uint64(sum[:]) | 1<<32 | 1) // neither half is 0
}

// modeOf reads the mode of rules; none, or several, mean off.
func modeOf(rules []types.Rule) detect.Mode {
	found := detect.ModeOff
	seen := 0
	for _, r := range rules {
		name, isMode := strings.CutPrefix(aws.ToString(r.Name), modePrefix)
		if !isMode {
			continue
		}
		seen++
		switch mode := detect.Mode(name); mode {
		case detect.ModeMonitor, detect.ModeEnforce:
			found = mode
		}
	}
	if seen != 1 {
		return detect.ModeOff
	}
	return found
}
