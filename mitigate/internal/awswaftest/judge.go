package awswaftest

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"
	"github.com/stretchr/testify/require"
)

// Judge answers requests by the rule group and the sets that an API tells of.
type Judge struct {
	API   *wafv2.Client
	Group string

	seen map[string][]time.Time // of a rate, for each rule and client
}

// Verdict is what becomes of a request.
type Verdict struct {
	Status  int    // 200 if no rule refuses it
	Marker  string // X-Offpath-Refused
	Retry   string // Retry-After
	Counted string // names of the rules that only count it, each with a space before it
}

// Request is what of one is looked at.
type Request struct{ Client, JA4, UserAgent, Host string }

// Ask is a request of a client, with what AWS holds now.
func (j *Judge) Ask(t testing.TB, client string) Verdict {
	t.Helper()
	return j.AskAll(t, client)[0]
}

// AskAll is one request each of several clients.
func (j *Judge) AskAll(t testing.TB, clients ...string) []Verdict {
	t.Helper()
	var requests []Request
	for _, c := range clients {
		requests = append(requests, Request{Client: c})
	}
	return j.Requests(t, requests...)
}

// Requests are several.
func (j *Judge) Requests(t testing.TB, requests ...Request) []Verdict {
	t.Helper()
	ctx := t.Context()
	groups, err := j.API.ListRuleGroups(ctx, &wafv2.ListRuleGroupsInput{Scope: types.ScopeRegional, Limit: aws.Int32(100)})
	require.NoError(t, err)
	i := slices.IndexFunc(groups.RuleGroups, func(g types.RuleGroupSummary) bool { return *g.Name == j.Group })
	verdicts := make([]Verdict, len(requests))
	if i < 0 {
		for i := range verdicts {
			verdicts[i].Status = 200
		}
		return verdicts
	}
	group, err := j.API.GetRuleGroup(ctx, &wafv2.GetRuleGroupInput{Name: aws.String(j.Group), Id: groups.RuleGroups[i].Id, Scope: types.ScopeRegional})
	require.NoError(t, err)
	sets, err := j.sets(ctx)
	require.NoError(t, err)
	rules := group.RuleGroup.Rules
	slices.SortFunc(rules, func(a, b types.Rule) int { return int(a.Priority - b.Priority) })
	for i, r := range requests {
		verdicts[i] = j.judge(rules, sets, r)
	}
	return verdicts
}

func (j *Judge) judge(rules []types.Rule, sets map[string][]netip.Prefix, request Request) Verdict {
	v := Verdict{Status: 200}
	for _, r := range rules {
		if !j.matches(*r.Name, r.Statement, sets, request) {
			continue
		}
		if r.Action.Block == nil {
			v.Counted += " " + *r.Name
			continue
		}
		v.Status = int(*r.Action.Block.CustomResponse.ResponseCode)
		for _, h := range r.Action.Block.CustomResponse.ResponseHeaders {
			switch *h.Name {
			case "X-Offpath-Refused":
				v.Marker = *h.Value
			case "Retry-After":
				v.Retry = *h.Value
			}
		}
		break
	}
	return v
}

func (j *Judge) matches(rule string, s *types.Statement, sets map[string][]netip.Prefix, request Request) bool {
	each := func(s types.Statement) bool { return j.matches(rule, &s, sets, request) }
	client := netip.MustParseAddr(request.Client)
	part := func(f *types.FieldToMatch) string {
		switch {
		case f.JA4Fingerprint != nil:
			return request.JA4
		case *f.SingleHeader.Name == "user-agent":
			return request.UserAgent
		default:
			return strings.ToLower(request.Host)
		}
	}
	switch {
	case s.IPSetReferenceStatement != nil:
		return slices.ContainsFunc(sets[*s.IPSetReferenceStatement.ARN], func(p netip.Prefix) bool { return p.Contains(client) })
	case s.OrStatement != nil:
		return slices.ContainsFunc(s.OrStatement.Statements, each)
	case s.AndStatement != nil:
		return !slices.ContainsFunc(s.AndStatement.Statements, func(s types.Statement) bool { return !each(s) })
	case s.NotStatement != nil:
		return !each(*s.NotStatement.Statement)
	case s.ByteMatchStatement != nil:
		return part(s.ByteMatchStatement.FieldToMatch) == string(s.ByteMatchStatement.SearchString)
	case s.RegexMatchStatement != nil:
		return regexp.MustCompile(*s.RegexMatchStatement.RegexString).MatchString(part(s.RegexMatchStatement.FieldToMatch))
	case s.RateBasedStatement != nil:
		if !each(*s.RateBasedStatement.ScopeDownStatement) {
			return false
		}
		if j.seen == nil {
			j.seen = make(map[string][]time.Time)
		}
		key, now := fmt.Sprint(rule, client), time.Now()
		window := time.Duration(s.RateBasedStatement.EvaluationWindowSec) * time.Second
		j.seen[key] = append(slices.DeleteFunc(j.seen[key], func(at time.Time) bool { return now.Sub(at) >= window }), now)
		return int64(len(j.seen[key])) > *s.RateBasedStatement.Limit
	}
	return false // a label that nothing sets
}

func (j *Judge) sets(ctx context.Context) (map[string][]netip.Prefix, error) {
	sets := make(map[string][]netip.Prefix)
	var marker *string
	for {
		page, err := j.API.ListIPSets(ctx, &wafv2.ListIPSetsInput{Scope: types.ScopeRegional, Limit: aws.Int32(100), NextMarker: marker})
		if err != nil {
			return nil, err
		}
		for _, s := range page.IPSets {
			got, err := j.API.GetIPSet(ctx, &wafv2.GetIPSetInput{Name: s.Name, Id: s.Id, Scope: types.ScopeRegional})
			if err != nil {
				return nil, err
			}
			for _, text := range got.IPSet.Addresses {
				p, err := netip.ParsePrefix(text)
				if err != nil {
					return nil, err
				}
				sets[*s.ARN] = append(sets[*s.ARN], p)
			}
		}
		if marker = page.NextMarker; aws.ToString(marker) == "" {
			return sets, nil
		}
	}
}

// Client is the SDK's, of an endpoint, as somebody with the keys has it.
func Client(endpoint string) *wafv2.Client {
	keys := func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
	}
	return wafv2.New(wafv2.Options{Region: "eu-central-1", BaseEndpoint: aws.String(endpoint), Credentials: aws.CredentialsProviderFunc(keys)})
}
