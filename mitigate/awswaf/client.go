package awswaf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"offpath/mitigate/internal/pacer"
)

// maxAnswer is the most octets of an answer: a set of 10,000 networks has 500 KB.
const maxAnswer = 16 << 20

// maxPages of a list; AWS allows 100 IP sets of an account and region.
const maxPages = 20

// lockTries is how often an update is repeated because somebody else wrote meanwhile.
const lockTries = 5

// client speaks the API for one scope of an account and region, at the pace that it bears.
// Its methods may be called concurrently.
type client struct {
	api   *wafv2.Client
	scope types.Scope
	sets  pacer.Pacer // of UpdateIPSet
	makes pacer.Pacer // of CreateIPSet
	group pacer.Pacer // of UpdateRuleGroup: the kill switch waits for none of the others
}

func newClient(o *Options) *client {
	c := &client{scope: types.ScopeRegional}
	if o.CloudFront {
		c.scope = types.ScopeCloudfront
	}
	for _, p := range []*pacer.Pacer{&c.sets, &c.makes, &c.group} {
		p.Interval = o.Pace
	}
	options := wafv2.Options{
		Region:      o.Region,
		Credentials: aws.CredentialsProviderFunc(o.credentials),
		HTTPClient:  &bounded{http.Client{Timeout: o.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}},
		Retryer: retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts = o.Attempts
			r.MaxBackoff = o.MaxBackoff
			// What was just made can't be referred to everywhere at once.
			r.Retryables = append(r.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{"WAFUnavailableEntityException": {}}})
		}),
	}
	if o.Endpoint != "" {
		options.BaseEndpoint = aws.String(o.Endpoint)
	}
	c.api = wafv2.New(options)
	return c
}

// credentials reads what requests are signed with.
func (o *Options) credentials(context.Context) (aws.Credentials, error) {
	secret, err := o.Secret()
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("secret: %w", err)
	}
	c := aws.Credentials{AccessKeyID: o.AccessKey, SecretAccessKey: string(secret)}
	if o.SessionToken != nil {
		token, err := o.SessionToken()
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("session token: %w", err)
		}
		c.SessionToken = string(token)
	}
	return c, nil
}

// bounded is an HTTP client whose answers end.
type bounded struct{ http.Client }

// Do implements the SDK's HTTPClient.
func (b *bounded) Do(r *http.Request) (*http.Response, error) {
	response, err := b.Client.Do(r)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxAnswer), response.Body}
	return response, nil
}

// set is an IP set.
type set struct{ name, id, arn string }

// listSets lists the IP sets of the account and region, by name.
func (c *client) listSets(ctx context.Context) (map[string]set, error) {
	sets := make(map[string]set)
	var marker *string
	for range maxPages {
		page, err := c.api.ListIPSets(ctx, &wafv2.ListIPSetsInput{Scope: c.scope, Limit: aws.Int32(100), NextMarker: marker})
		if err != nil {
			return nil, fmt.Errorf("aws waf: list IP sets: %w", err)
		}
		for _, s := range page.IPSets {
			name := aws.ToString(s.Name)
			sets[name] = set{name, aws.ToString(s.Id), aws.ToString(s.ARN)}
		}
		if marker = page.NextMarker; aws.ToString(marker) == "" || len(page.IPSets) == 0 {
			return sets, nil
		}
	}
	return nil, fmt.Errorf("aws waf: the list of IP sets does not end")
}

// makeSet makes an empty IP set.
func (c *client) makeSet(ctx context.Context, name string, f family) (set, error) {
	if err := c.makes.Wait(ctx); err != nil {
		return set{}, err
	}
	made, err := c.api.CreateIPSet(ctx, &wafv2.CreateIPSetInput{
		Name: aws.String(name), Scope: c.scope, IPAddressVersion: f.version, Addresses: []string{},
		Description: aws.String("offpath writes it: do not change it by hand"),
	})
	if err != nil {
		return set{}, fmt.Errorf("aws waf: make IP set %s: %w", name, err)
	}
	if made.Summary == nil {
		return set{}, fmt.Errorf("aws waf: make IP set %s: the answer does not say which", name)
	}
	return set{name, aws.ToString(made.Summary.Id), aws.ToString(made.Summary.ARN)}, nil
}

// readSet reads the networks of an IP set, in order, and its lock token.
func (c *client) readSet(ctx context.Context, s set) ([]netip.Prefix, string, error) {
	got, err := c.api.GetIPSet(ctx, &wafv2.GetIPSetInput{Name: aws.String(s.name), Id: aws.String(s.id), Scope: c.scope})
	if err != nil {
		return nil, "", fmt.Errorf("aws waf: read IP set %s: %w", s.name, err)
	}
	if got.IPSet == nil {
		return nil, "", fmt.Errorf("aws waf: read IP set %s: the answer has none", s.name)
	}
	networks, err := parseAddresses(got.IPSet.Addresses)
	if err != nil {
		return nil, "", fmt.Errorf("aws waf: read IP set %s: %w", s.name, err)
	}
	return networks, aws.ToString(got.LockToken), nil
}

// parseAddresses reads the addresses of an IP set, which AWS may write in another form
// than it was given them; in order.
func parseAddresses(list []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, len(list))
	for i, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no network", text[:min(len(text), 64)])
		}
		networks[i] = p.Masked()
	}
	slices.SortFunc(networks, comparePrefixes)
	return slices.Compact(networks), nil
}

// writeSet replaces what an IP set holds. When somebody else wrote it meanwhile, that is
// overwritten: the sets are offpath's.
func (c *client) writeSet(ctx context.Context, s set, networks []netip.Prefix) error {
	addresses := make([]string, len(networks))
	for i, p := range networks {
		addresses[i] = p.String()
	}
	var err error
	for range lockTries {
		var token string
		if _, token, err = c.readSet(ctx, s); err != nil {
			return err
		}
		if err = c.sets.Wait(ctx); err != nil {
			return err
		}
		_, err = c.api.UpdateIPSet(ctx, &wafv2.UpdateIPSetInput{
			Name: aws.String(s.name), Id: aws.String(s.id), Scope: c.scope, Addresses: addresses, LockToken: aws.String(token),
			Description: aws.String("offpath writes it: do not change it by hand"),
		})
		if !isLocked(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("aws waf: write IP set %s: %w", s.name, err)
	}
	return nil
}

func isLocked(err error) bool {
	var locked *types.WAFOptimisticLockException
	return errors.As(err, &locked)
}

// ruleGroup is the rule group.
type ruleGroup struct {
	id, arn, token string
	capacity       int64
	rules          []types.Rule
}

// findGroup finds the rule group's id by its name; "" if there is none.
func (c *client) findGroup(ctx context.Context, name string) (string, error) {
	var marker *string
	for range maxPages {
		page, err := c.api.ListRuleGroups(ctx, &wafv2.ListRuleGroupsInput{Scope: c.scope, Limit: aws.Int32(100), NextMarker: marker})
		if err != nil {
			return "", fmt.Errorf("aws waf: list rule groups: %w", err)
		}
		for _, g := range page.RuleGroups {
			if aws.ToString(g.Name) == name {
				return aws.ToString(g.Id), nil
			}
		}
		if marker = page.NextMarker; aws.ToString(marker) == "" || len(page.RuleGroups) == 0 {
			return "", nil
		}
	}
	return "", fmt.Errorf("aws waf: the list of rule groups does not end")
}

func (c *client) readGroup(ctx context.Context, name, id string) (ruleGroup, error) {
	got, err := c.api.GetRuleGroup(ctx, &wafv2.GetRuleGroupInput{Name: aws.String(name), Id: aws.String(id), Scope: c.scope})
	if err != nil {
		return ruleGroup{}, fmt.Errorf("aws waf: read rule group %s: %w", name, err)
	}
	if got.RuleGroup == nil {
		return ruleGroup{}, fmt.Errorf("aws waf: read rule group %s: the answer has none", name)
	}
	g := got.RuleGroup
	return ruleGroup{aws.ToString(g.Id), aws.ToString(g.ARN), aws.ToString(got.LockToken), aws.ToInt64(g.Capacity), g.Rules}, nil
}

func (c *client) makeGroup(ctx context.Context, name string, capacity int64, rules []types.Rule) error {
	if err := c.group.Wait(ctx); err != nil {
		return err
	}
	_, err := c.api.CreateRuleGroup(ctx, &wafv2.CreateRuleGroupInput{
		Name: aws.String(name), Scope: c.scope, Capacity: aws.Int64(capacity), Rules: rules, VisibilityConfig: visibility(name),
		Description: aws.String("offpath writes it: do not change it by hand"),
	})
	if err != nil {
		return fmt.Errorf("aws waf: make rule group %s: %w", name, err)
	}
	return nil
}

// writeGroup replaces the rules of the rule group, in one step.
func (c *client) writeGroup(ctx context.Context, name, id string, rules []types.Rule) error {
	var err error
	for range lockTries {
		var g ruleGroup
		if g, err = c.readGroup(ctx, name, id); err != nil {
			return err
		}
		if err = c.group.Wait(ctx); err != nil {
			return err
		}
		_, err = c.api.UpdateRuleGroup(ctx, &wafv2.UpdateRuleGroupInput{
			Name: aws.String(name), Id: aws.String(id), Scope: c.scope, LockToken: aws.String(g.token), Rules: rules, VisibilityConfig: visibility(name),
			Description: aws.String("offpath writes it: do not change it by hand"),
		})
		if !isLocked(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("aws waf: write rule group %s: %w", name, err)
	}
	return nil
}

// isMissing says that a set or group is not there, or no longer.
func isMissing(err error) bool {
	var missing *types.WAFNonexistentItemException
	return errors.As(err, &missing)
}
