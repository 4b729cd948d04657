package cloudflaretest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// onRulesets carries out a request about a zone's rulesets, of which there is one: that of
// its custom rules.
func (a *API) onRulesets(method, zone string, path []string, body []byte) (any, *failure) {
	s := a.rulesets[zone]
	switch {
	case method == http.MethodPost && len(path) == 0:
		var q struct {
			Name, Kind, Phase string
			Rules             []map[string]any
		}
		if json.Unmarshal(body, &q) != nil || q.Name == "" || q.Kind != "zone" || q.Phase != phase {
			return nil, invalid("ruleset %.100s", body)
		}
		if s != nil {
			return nil, &failure{409, 20217, "a ruleset of this phase exists", 0}
		}
		s = &ruleset{id: newID(), version: 1}
		for _, r := range q.Rules {
			if failed := a.check(r); failed != nil {
				return nil, failed
			}
			s.rules = append(s.rules, complete(r, newID(), 1))
		}
		if a.rulesets == nil {
			a.rulesets = make(map[string]*ruleset)
		}
		a.rulesets[zone] = s
	case s == nil:
		return nil, &failure{404, 10003, "could not find entrypoint ruleset in the " + phase + " phase", 0}
	case method == http.MethodGet && slices.Equal(path, []string{"phases", phase, "entrypoint"}):
	case len(path) < 2 || path[0] != s.id || path[1] != "rules":
		return nil, notFound
	case method == http.MethodPost && len(path) == 2:
		r := map[string]any{}
		if json.Unmarshal(body, &r) != nil {
			return nil, invalid("rule %.100s", body)
		}
		position, first := r["position"].(map[string]any)
		delete(r, "position")
		if failed := a.check(r); failed != nil {
			return nil, failed
		}
		s.version++
		r = complete(r, newID(), 1)
		if first && position["before"] == "" {
			s.rules = slices.Insert(s.rules, 0, r)
		} else {
			s.rules = append(s.rules, r)
		}
	case method == http.MethodPatch && len(path) == 3:
		i := slices.IndexFunc(s.rules, func(r map[string]any) bool { return r["id"] == path[2] })
		if i < 0 {
			return nil, notFound
		}
		r := map[string]any{}
		if json.Unmarshal(body, &r) != nil {
			return nil, invalid("rule %.100s", body)
		}
		if failed := a.check(r); failed != nil {
			return nil, failed
		}
		version, err := strconv.Atoi(fmt.Sprint(s.rules[i]["version"]))
		if err != nil {
			return nil, invalid("version %v", s.rules[i]["version"])
		}
		s.version++
		s.rules[i] = complete(r, path[2], version+1)
	default:
		return nil, noRoute
	}
	rules := []any{}
	for _, r := range s.rules {
		rules = append(rules, maps.Clone(r))
	}
	return map[string]any{"id": s.id, "name": "default", "kind": "zone", "phase": phase, "version": strconv.Itoa(s.version), "rules": rules, "last_updated": "2026-03-22T12:54:58.144683Z"}, nil
}

// complete gives a rule what the API adds. A definition replaces the one before: what is
// not in it is gone.
func complete(r map[string]any, id string, version int) map[string]any {
	r = maps.Clone(r)
	r["id"], r["version"], r["last_updated"] = id, strconv.Itoa(version), time.Now().UTC().Format(time.RFC3339)
	if r["enabled"] == nil {
		r["enabled"] = true
	}
	if r["ref"] == nil {
		r["ref"] = id
	}
	return r
}

// members are those of a definition.
var members = []string{"action", "action_parameters", "description", "enabled", "expression", "logging", "ref"}

// check looks at a rule's definition.
func (a *API) check(r map[string]any) *failure {
	for name := range r {
		if !slices.Contains(members, name) {
			return invalid("unknown field %q", name)
		}
	}
	expression, ok := r["expression"].(string)
	if !ok || expression == "" || len(expression) > maxExpression {
		return invalid("expression %v", r["expression"])
	}
	if !slices.Contains([]any{"block", "managed_challenge", "skip"}, r["action"]) {
		return invalid("action %v", r["action"])
	}
	if enabled := r["enabled"]; enabled != nil && enabled != true && enabled != false {
		return invalid("enabled %v", enabled)
	}
	for _, m := range listIn.FindAllStringSubmatch(expression, -1) {
		if a.named(m[1]) == nil {
			return invalid("list %s does not exist", m[1])
		}
	}
	return nil
}

var listIn = regexp.MustCompile(`\$([a-z0-9_]+)`)

// Refuses says whether the edge refuses a client's request to a host of a zone, by the
// zone's rules in their order.
func (a *API) Refuses(zone, client, host string) bool {
	address := netip.MustParseAddr(client).Unmap()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.proceed(time.Now())
	s := a.rulesets[zone]
	if s == nil {
		return false
	}
	for _, r := range s.rules {
		if r["enabled"] == true && a.matches(r["expression"].(string), address, host) {
			switch r["action"] {
			case "block":
				return true
			case "skip":
				return false
			}
		}
	}
	return false
}

// matches judges the part of the rules language that the tests use: terms joined by and,
// each a client in a list, a time before a second or a host, some of them negated.
func (a *API) matches(expression string, client netip.Addr, host string) bool {
	if inside, ok := strings.CutPrefix(expression, "("); ok {
		expression = strings.TrimSuffix(inside, ")")
	}
	for term := range strings.SplitSeq(expression, " and ") {
		term, negated := strings.CutPrefix(strings.TrimSpace(term), "not ")
		var is bool
		if name, ok := strings.CutPrefix(term, "ip.src in $"); ok {
			l := a.named(name)
			is = l != nil && slices.ContainsFunc(l.items, func(it item) bool { return it.network.Contains(client) })
		} else if second, ok := strings.CutPrefix(term, "http.request.timestamp.sec lt "); ok {
			n, err := strconv.ParseInt(second, 10, 64)
			is = err == nil && time.Now().Unix() < n
		} else if quoted, ok := strings.CutPrefix(term, "http.host eq "); ok {
			is = strconv.Quote(host) == quoted
		} else {
			panic("no expression of these tests: " + term)
		}
		if is == negated {
			return false
		}
	}
	return true
}
