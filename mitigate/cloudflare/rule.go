package cloudflare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"offpath/detect"
)

// Names of what offpath uses at Cloudflare.
const (
	blockList = "offpath_block"
	allowList = "offpath_allow"
	ruleRef   = "offpath" // the rule's ref, by which it is found
)

// What the rule's expression has to hold; an operator may add to it, such as a host.
const (
	inBlock    = "ip.src in $" + blockList
	notInAllow = "not ip.src in $" + allowList
	before     = "http.request.timestamp.sec lt "
)

// neverBefore is the second that the rule is printed with: a time that has gone.
const neverBefore = "1000000000"

// leasing is where the expression has the second from which on the rule refuses nobody.
var leasing = regexp.MustCompile(regexp.QuoteMeta(before) + `([0-9]{10})\b`)

// descriptions say the mode at the rule. That of a rule which is disabled matters: with
// enforce, a person has disabled it.
var descriptions = map[detect.Mode]string{
	detect.ModeOff:     "offpath: off",
	detect.ModeMonitor: "offpath: monitor, nothing is refused",
	detect.ModeEnforce: "offpath: enforce",
}

// rule is the one that refuses, in a zone.
type rule struct {
	path    string                     // of the API
	members map[string]json.RawMessage // all that it has: a change has to repeat what is to stay

	enabled                         bool
	action, expression, description string
	lease                           int64 // second from which on it refuses nobody; 0: not known
}

// ruleset is that of a zone's custom rules.
type ruleset struct {
	ID    string
	Rules []map[string]json.RawMessage
}

// findRule finds the rule of a zone.
func (c *client) findRule(ctx context.Context, zone string, urgent bool) (rule, error) {
	var ruleset ruleset
	_, err := c.do(ctx, order{method: http.MethodGet, path: "/zones/" + zone + "/rulesets/phases/http_request_firewall_custom/entrypoint", urgent: urgent}, &ruleset)
	if isMissing(err) {
		return rule{}, fmt.Errorf("%w: zone %s has no custom rules: %w", ErrNotPrepared, zone, err)
	}
	if err != nil {
		return rule{}, err
	}
	r, ok := ruleset.rule()
	if !ok {
		return rule{}, fmt.Errorf("%w: zone %s has no custom rule with ref %q or %q", ErrNotPrepared, zone, ruleRef, inBlock)
	}
	id := text(r.members["id"])
	if !plainID.MatchString(ruleset.ID) || !plainID.MatchString(id) {
		return rule{}, fmt.Errorf("cloudflare: zone %s: the answer does not say which ruleset and rule it is", zone)
	}
	r.path = "/zones/" + zone + "/rulesets/" + ruleset.ID + "/rules/" + id
	return r, nil
}

// rule is the one of offpath's, if there is one: by its ref, or, since whoever edits a rule
// may leave that out, by its list. A kill switch that does not find it would be none.
func (s *ruleset) rule() (rule, bool) {
	for _, is := range []func(r *rule) bool{
		func(r *rule) bool { return text(r.members["ref"]) == ruleRef },
		func(r *rule) bool { return strings.Contains(r.expression, inBlock) },
	} {
		for _, members := range s.Rules {
			if r, ok := parseRule(members); ok && is(&r) {
				return r, true
			}
		}
	}
	return rule{}, false
}

// parseRule reads a rule.
func parseRule(members map[string]json.RawMessage) (r rule, ok bool) {
	r = rule{members: members, enabled: true, action: text(members["action"]), expression: text(members["expression"]), description: text(members["description"])}
	if raw, has := members["enabled"]; has && json.Unmarshal(raw, &r.enabled) != nil {
		return r, false
	}
	if found := leasing.FindAllStringSubmatch(r.expression, 2); len(found) == 1 {
		r.lease, _ = strconv.ParseInt(found[0][1], 10, 64) // ten digits are a number
	}
	return r, true
}

// text is a JSON string; of anything else "".
func text(raw json.RawMessage) (s string) {
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// problem says why the rule can't enforce verdicts; "" if it can.
func (r *rule) problem() string {
	switch {
	case r.action != "block":
		return fmt.Sprintf("has the action %q, not block", cut(r.action))
	case !strings.Contains(r.expression, inBlock) || !strings.Contains(r.expression, notInAllow) || r.lease == 0:
		return fmt.Sprintf("has an expression that lacks %q, %q or, once, %q with ten digits", inBlock, notInAllow, before)
	}
	return ""
}

// mode is what the rule does at a second; local that a person disabled it.
func (r *rule) mode(now int64) (mode detect.Mode, local bool) {
	switch {
	case r.enabled && r.lease != 0 && r.lease <= now:
		return detect.ModeOff, false
	case r.enabled:
		return detect.ModeEnforce, false
	case r.description == descriptions[detect.ModeMonitor]:
		return detect.ModeMonitor, false
	default:
		return detect.ModeOff, r.description == descriptions[detect.ModeEnforce]
	}
}

// setRule changes the rule to a mode. If that is enforce, until the lease. Who disables it
// between the look at it and this change is not seen, so there is no waiting between the two.
func (c *client) setRule(ctx context.Context, r *rule, mode detect.Mode, lease int64) error {
	body := maps.Clone(r.members)
	for _, readOnly := range []string{"id", "version", "last_updated", "categories"} {
		delete(body, readOnly)
	}
	values := map[string]any{"enabled": mode == detect.ModeEnforce, "description": descriptions[mode]}
	if mode == detect.ModeEnforce {
		values["expression"] = leasing.ReplaceAllLiteralString(r.expression, before+strconv.FormatInt(lease, 10))
	}
	for name, value := range values {
		raw, err := json.Marshal(value)
		if err != nil {
			return err
		}
		body[name] = raw
	}
	var changed ruleset
	if _, err := c.do(ctx, order{method: http.MethodPatch, path: r.path, in: body, urgent: mode == detect.ModeOff, atOnce: mode != detect.ModeOff}, &changed); err != nil {
		return err
	}
	if now, ok := changed.rule(); !ok || now.enabled != (mode == detect.ModeEnforce) || now.enabled && now.lease != lease {
		return fmt.Errorf("cloudflare: PATCH %s: the answer does not have the rule as it was to be", r.path)
	}
	return nil
}

// eachZone does something in all zones at once.
func (t *Target) eachZone(do func(i int, zone string) error) error {
	errs := make([]error, len(t.options.Zones))
	var wg sync.WaitGroup
	for i, zone := range t.options.Zones {
		wg.Go(func() { errs[i] = do(i, zone) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// SetMode implements [mitigate.Target]: one change of one rule in each zone, whatever the
// lists hold. Enforce lasts for the time of the lease; ordered again, as the controller does
// every hour, it lasts longer. It is neither begun nor prolonged when there was no comparison
// or the last failed: the list may hold what has ended. In monitor mode the rule is disabled
// as it is when off: Cloudflare has an action that only logs in its Enterprise plan alone.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	if descriptions[mode] == "" {
		return fmt.Errorf("unknown mode %q", mode)
	}
	defer t.forgetMode()
	return t.eachZone(func(_ int, zone string) error {
		r, err := t.client.findRule(ctx, zone, mode == detect.ModeOff)
		if err != nil {
			return err
		}
		now := time.Now()
		lease := now.Add(t.options.Lease).Unix()
		has, local := r.mode(now.Unix())
		switch asIs := has == mode && !local && r.description == descriptions[mode]; {
		case local && !release, asIs && (mode != detect.ModeEnforce || time.Duration(lease-r.lease)*time.Second < t.options.Lease/renewals):
			return nil
		case mode == detect.ModeEnforce && !t.compared.Load():
			return errNotCompared
		}
		if problem := r.problem(); problem != "" && mode == detect.ModeEnforce {
			return fmt.Errorf("%w: the rule of zone %s %s", ErrNotPrepared, zone, problem)
		}
		return t.client.setRule(ctx, &r, mode, lease)
	})
}

// renewals says which part of a lease has to have gone before it is prolonged.
const renewals = 6

func (t *Target) forgetMode() {
	t.looks.Lock()
	t.modeAt = time.Time{}
	t.looks.Unlock()
}

// Mode implements [mitigate.Target]. It is empty where zones differ.
func (t *Target) Mode(ctx context.Context) (detect.Mode, bool, error) {
	t.looks.Lock()
	mode, local, at := t.mode, t.local, t.modeAt
	t.looks.Unlock()
	if time.Since(at) < t.options.Look {
		return mode, local, nil
	}
	modes, locals := make([]detect.Mode, len(t.options.Zones)), make([]bool, len(t.options.Zones))
	err := t.eachZone(func(i int, zone string) error {
		r, err := t.client.findRule(ctx, zone, false)
		if err != nil {
			return err
		}
		modes[i], locals[i] = r.mode(time.Now().Unix())
		if problem := r.problem(); problem != "" && modes[i] == detect.ModeEnforce {
			return fmt.Errorf("%w: the rule of zone %s %s", ErrNotPrepared, zone, problem)
		}
		return nil
	})
	if err != nil {
		return "", false, err
	}
	mode, local = modes[0], locals[0]
	for i := range modes {
		if modes[i] != mode {
			mode = ""
		}
		local = local && locals[i]
	}
	t.looks.Lock()
	t.mode, t.local, t.modeAt = mode, local, time.Now()
	t.looks.Unlock()
	return mode, local, nil
}
