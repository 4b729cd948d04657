package awswaftest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits that AWS documents.
const (
	maxAddresses = 10_000
	maxSets      = 100
	minLimit     = 10
	maxSearch    = 200
)

// Fake is the API of WAFv2 for the operations that offpath uses.
type Fake struct {
	// Interval is the least time between two updates of a kind; what comes sooner is
	// throttled.
	Interval time.Duration
	// Settles is how long what was just made can't be referred to.
	Settles time.Duration
	// Before is asked before each request: an error code that is not empty is the answer.
	Before func(operation string) (code string)
	// AccessKey that requests have to be signed by, and the session's token; "" is any.
	AccessKey, SessionToken string

	mu      sync.Mutex
	sets    []*resource
	groups  []*resource
	tokens  int
	last    map[string]time.Time
	counted map[string]int
}

type resource struct {
	name, id, token, arn, version string
	made                          time.Time
	addresses                     []string
	rules                         []any
	capacity                      int64
}

// request has the members of all operations.
type request struct {
	Name, Id, Scope, LockToken, IPAddressVersion, NextMarker string
	Addresses                                                []string
	Capacity, Limit                                          int64
	Rules                                                    []any
	VisibilityConfig                                         map[string]any
}

type failure struct{ code, text string }

// Count is how often an operation was asked for.
func (f *Fake) Count(operation string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counted[operation]
}

// Meddle puts addresses into a set as somebody else would.
func (f *Fake) Meddle(name string, addresses ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sets {
		if s.name == name {
			s.addresses = append(slices.Clone(s.addresses), addresses...)
			s.token = f.token()
		}
	}
}

// Delete removes a set, or the rule group, of a name.
func (f *Fake) Delete(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := func(r *resource) bool { return r.name == name }
	f.sets, f.groups = slices.DeleteFunc(f.sets, gone), slices.DeleteFunc(f.groups, gone)
}

// Sets are the addresses of each set that has some.
func (f *Fake) Sets() map[string][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[string][]string)
	for _, s := range f.sets {
		if len(s.addresses) > 0 {
			all[s.name] = slices.Clone(s.addresses)
		}
	}
	return all
}

// ServeHTTP implements [http.Handler].
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation, _ := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AWSWAF_20190729.")
	body, err := io.ReadAll(r.Body)
	var q request
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	f.mu.Lock()
	if f.counted == nil {
		f.counted, f.last = make(map[string]int), make(map[string]time.Time)
	}
	f.counted[operation]++
	f.mu.Unlock()
	var answer any
	var failed *failure
	switch code := ""; {
	case err != nil:
		failed = &failure{"SerializationException", err.Error()}
	case f.AccessKey != "" && !strings.Contains(r.Header.Get("Authorization"), "Credential="+f.AccessKey+"/"),
		f.SessionToken != "" && r.Header.Get("X-Amz-Security-Token") != f.SessionToken:
		failed = &failure{"UnrecognizedClientException", "The security token included in the request is invalid."}
	default:
		if f.Before != nil {
			code = f.Before(operation)
		}
		if code != "" {
			failed = &failure{code, "as the test wants it"}
			break
		}
		f.mu.Lock()
		answer, failed = f.answer(operation, &q)
		f.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if failed != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": failed.code, "message": failed.text}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		panic(err)
	}
}

func (f *Fake) token() string {
	f.tokens++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", f.tokens)
}

func find(list []*resource, q *request) *resource {
	i := slices.IndexFunc(list, func(r *resource) bool { return r.id == q.Id && r.name == q.Name })
	if i < 0 {
		return nil
	}
	return list[i]
}

var (
	nonexistent = &failure{"WAFNonexistentItemException", "AWS WAF couldn’t perform the operation because your resource doesn’t exist."}
	locked      = &failure{"WAFOptimisticLockException", "AWS WAF couldn’t save your changes because someone changed the resource after you started to edit it."}
	throttled   = &failure{"ThrottlingException", "Rate exceeded"}
	limits      = &failure{"WAFLimitsExceededException", "AWS WAF couldn’t perform the operation because you exceeded your resource limit."}
)

func invalid(format string, a ...any) *failure {
	return &failure{"WAFInvalidParameterException", fmt.Sprintf(format, a...)}
}

// answer carries an operation out. The caller holds the lock.
func (f *Fake) answer(operation string, q *request) (any, *failure) {
	if q.Scope != "REGIONAL" {
		return nil, invalid("scope %q", q.Scope)
	}
	if strings.HasPrefix(operation, "Update") || strings.HasPrefix(operation, "Create") {
		now := time.Now()
		if now.Sub(f.last[operation]) < f.Interval {
			return nil, throttled
		}
		f.last[operation] = now
	}
	switch operation {
	case "ListIPSets":
		return list("IPSets", f.sets, q)
	case "ListRuleGroups":
		return list("RuleGroups", f.groups, q)
	case "CreateIPSet", "UpdateIPSet":
		return f.writeSet(operation, q)
	case "CreateRuleGroup", "UpdateRuleGroup":
		return f.writeGroup(operation, q)
	case "GetIPSet":
		s := find(f.sets, q)
		if s == nil {
			return nil, nonexistent
		}
		addresses := make([]string, len(s.addresses))
		for i, text := range s.addresses {
			// Written otherwise than given.
			p := netip.MustParsePrefix(text)
			addresses[i] = fmt.Sprintf("%s/%d", p.Addr().StringExpanded(), p.Bits())
		}
		return map[string]any{"LockToken": s.token, "IPSet": map[string]any{
			"Name": s.name, "Id": s.id, "ARN": s.arn, "IPAddressVersion": s.version, "Addresses": addresses,
		}}, nil
	case "GetRuleGroup":
		g := find(f.groups, q)
		if g == nil {
			return nil, nonexistent
		}
		return map[string]any{"LockToken": g.token, "RuleGroup": map[string]any{
			"Name": g.name, "Id": g.id, "ARN": g.arn, "Capacity": g.capacity, "Rules": g.rules,
			"VisibilityConfig": map[string]any{"SampledRequestsEnabled": true, "CloudWatchMetricsEnabled": true, "MetricName": g.name},
		}}, nil
	}
	return nil, &failure{"UnknownOperationException", operation}
}

// list is a page of three, so that there are more.
func list(key string, all []*resource, q *request) (any, *failure) {
	if q.Limit < 1 || q.Limit > 100 {
		return nil, invalid("limit %d", q.Limit)
	}
	const page = 3
	from := 0
	if q.NextMarker != "" {
		from = 1 + slices.IndexFunc(all, func(r *resource) bool { return r.name == q.NextMarker })
	}
	to := min(from+page, len(all))
	items := []any{}
	for _, r := range all[from:to] {
		items = append(items, map[string]any{"Name": r.name, "Id": r.id, "ARN": r.arn, "LockToken": r.token})
	}
	answer := map[string]any{key: items}
	if to < len(all) {
		answer["NextMarker"] = all[to-1].name
	}
	return answer, nil
}

func (f *Fake) writeSet(operation string, q *request) (any, *failure) {
	s := find(f.sets, q)
	if operation == "CreateIPSet" {
		if slices.ContainsFunc(f.sets, func(r *resource) bool { return r.name == q.Name }) {
			return nil, &failure{"WAFDuplicateItemException", q.Name}
		}
		if len(f.sets) == maxSets {
			return nil, limits
		}
		s = &resource{name: q.Name, id: f.token(), version: q.IPAddressVersion, made: time.Now()}
		s.arn = "arn:aws:wafv2:eu-central-1:123456789012:regional/ipset/" + s.name + "/" + s.id
	}
	switch {
	case s == nil:
		return nil, nonexistent
	case operation == "UpdateIPSet" && q.LockToken != s.token:
		return nil, locked
	case q.Addresses == nil:
		return nil, invalid("addresses are missing")
	case len(q.Addresses) > maxAddresses:
		return nil, limits
	case s.version != "IPV4" && s.version != "IPV6":
		return nil, invalid("version %q", s.version)
	}
	for _, text := range q.Addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Bits() == 0 || p.Addr().Is4() != (s.version == "IPV4") || p != p.Masked() {
			return nil, invalid("address %q", text)
		}
	}
	s.addresses, s.token = q.Addresses, f.token()
	if operation == "CreateIPSet" {
		f.sets = append(f.sets, s)
		return map[string]any{"Summary": map[string]any{"Name": s.name, "Id": s.id, "ARN": s.arn, "LockToken": s.token}}, nil
	}
	return map[string]any{"NextLockToken": s.token}, nil
}

func (f *Fake) writeGroup(operation string, q *request) (any, *failure) {
	g := find(f.groups, q)
	if operation == "CreateRuleGroup" {
		if slices.ContainsFunc(f.groups, func(r *resource) bool { return r.name == q.Name }) {
			return nil, &failure{"WAFDuplicateItemException", q.Name}
		}
		g = &resource{name: q.Name, id: f.token(), capacity: q.Capacity}
		g.arn = "arn:aws:wafv2:eu-central-1:123456789012:regional/rulegroup/" + g.name + "/" + g.id
	}
	switch {
	case g == nil:
		return nil, nonexistent
	case operation == "UpdateRuleGroup" && q.LockToken != g.token:
		return nil, locked
	case q.VisibilityConfig["MetricName"] == nil:
		return nil, invalid("visibility is missing")
	}
	var units int64
	priorities := map[any]bool{}
	for _, rule := range q.Rules {
		r := rule.(map[string]any)
		if priorities[r["Priority"]] || r["Name"] == nil || r["Action"] == nil || r["VisibilityConfig"] == nil {
			return nil, invalid("rule %v", r["Name"])
		}
		priorities[r["Priority"]] = true
		n, failed := f.check(r["Statement"].(map[string]any))
		if failed != nil {
			return nil, failed
		}
		units += n
	}
	if units > g.capacity {
		return nil, limits
	}
	g.rules, g.token = q.Rules, f.token()
	if operation == "CreateRuleGroup" {
		f.groups = append(f.groups, g)
		return map[string]any{"Summary": map[string]any{"Name": g.name, "Id": g.id, "ARN": g.arn, "LockToken": g.token}}, nil
	}
	return map[string]any{"NextLockToken": g.token}, nil
}

// check says what a statement takes of the capacity.
func (f *Fake) check(s map[string]any) (units int64, failed *failure) {
	for kind, v := range s {
		v := v.(map[string]any)
		var nested []any
		switch kind {
		case "LabelMatchStatement":
			return 1, nil
		case "ByteMatchStatement":
			text, err := base64.StdEncoding.DecodeString(v["SearchString"].(string))
			if err != nil || len(text) == 0 || len(text) > maxSearch || v["PositionalConstraint"] != "EXACTLY" || len(v["TextTransformations"].([]any)) != 1 {
				return 0, invalid("comparison %v", v)
			}
			return 2, nil
		case "RegexMatchStatement":
			if _, err := regexp.Compile(v["RegexString"].(string)); err != nil || len(v["TextTransformations"].([]any)) != 1 {
				return 0, invalid("pattern %v", v)
			}
			return 3 + 10, nil
		case "IPSetReferenceStatement":
			i := slices.IndexFunc(f.sets, func(r *resource) bool { return r.arn == v["ARN"] })
			if i < 0 {
				return 0, nonexistent
			}
			if time.Since(f.sets[i].made) < f.Settles {
				return 0, &failure{"WAFUnavailableEntityException", "AWS WAF couldn’t retrieve a resource that you specified for this operation. Try again."}
			}
			return 1, nil
		case "AndStatement", "OrStatement":
			if nested = v["Statements"].([]any); len(nested) < 2 {
				return 0, invalid("%s of %d", kind, len(nested))
			}
		case "NotStatement":
			nested = []any{v["Statement"]}
		case "RateBasedStatement":
			limit, window := v["Limit"].(float64), v["EvaluationWindowSec"].(float64)
			if limit < minLimit || !slices.Contains([]float64{60, 120, 300, 600}, window) || v["AggregateKeyType"] != "IP" {
				return 0, invalid("rate %v per %v", limit, window)
			}
			units, nested = 2, []any{v["ScopeDownStatement"]}
		default:
			return 0, invalid("statement %s", kind)
		}
		for _, n := range nested {
			more, failed := f.check(n.(map[string]any))
			if failed != nil {
				return 0, failed
			}
			units += more
		}
	}
	return units, nil
}
