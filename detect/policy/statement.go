package policy

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"offpath/detect"
)

// Statement is a policy as an operator writes it. What is not given, being "" or
// 0, is as predefined. The names of its fields in a configuration are those of
// [Keys].
type Statement struct {
	Name        string
	When        string        // of one's own: the condition, in CEL
	Per         []string      // of one's own: members of the entity
	Window      time.Duration // of one's own: 1 s to 24 h; 0: a minute
	Action      string        // block, rate_limit, challenge, deceive, tag, hold or none
	Rate        Rate          // with rate_limit
	Mode        string        // monitor or enforce
	TTL, TTLMax time.Duration
}

// Rate is the limit of a rate_limit: so many requests in each period, of each
// client address.
type Rate struct {
	Requests int
	Per      time.Duration
}

// Keys are the names of a Statement's fields in a configuration, in their order.
var Keys = []string{"name", "when", "per", "window", "action", "rate", "mode", "ttl", "ttl_max"}

// RateKeys are the names of the fields of a Statement's Rate.
var RateKeys = []string{"requests", "per"}

// Error is a mistake in a list of statements.
type Error struct {
	Index int    // of the statement
	Key   string // of [Keys]
	Text  string // what is wrong and how to mend it
}

func (e *Error) Error() string { return fmt.Sprintf("policy %d: %s: %s", e.Index, e.Key, e.Text) }

// actions are what a statement may ask for, of requests and of accounts.
var (
	requestActions = []string{"block", "rate_limit", "challenge", "deceive", "tag", "none"}
	accountActions = []string{"hold", "none"}
)

// minTTL is the shortest that a verdict may last.
const minTTL = time.Second

var policyName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// New makes the Set of the predefined policies and of what is stated. The error
// is an [*Error].
func New(statements []Statement) (*Set, error) {
	s := &Set{byName: make(map[string]*Policy)}
	for _, p := range Predefined() {
		s.add(p)
	}
	stated := make(map[string]bool)
	for i := range statements {
		st := &statements[i]
		wrong := func(key, format string, args ...any) error {
			return &Error{Index: i, Key: key, Text: fmt.Sprintf(format, args...)}
		}
		if !policyName.MatchString(st.Name) {
			return nil, wrong("name", "%q is no name of a policy; write lower-case letters, digits and '-'", st.Name)
		}
		if stated[st.Name] {
			return nil, wrong("name", "%q is the name of another policy already; state each once", st.Name)
		}
		stated[st.Name] = true
		p := s.byName[st.Name]
		if p == nil {
			if len(s.own) == MaxOwn {
				return nil, wrong("name", "%q is one policy of your own too many; there may be %d", st.Name, MaxOwn)
			}
			var err error
			if p, err = st.own(s, wrong); err != nil {
				return nil, err
			}
			s.add(p)
		} else if err := st.predefined(wrong); err != nil {
			return nil, err
		}
		if err := st.apply(p, wrong); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// predefined refuses what only a policy of one's own has.
func (st *Statement) predefined(wrong wrong) error {
	for _, key := range []struct {
		name  string
		given bool
	}{{"when", st.When != ""}, {"per", len(st.Per) > 0}, {"window", st.Window != 0}} {
		if key.given {
			return wrong(key.name, "%s is predefined, and what it is about can't be changed; give a policy of your own another name", st.Name)
		}
	}
	return nil
}

const (
	defaultWindow = time.Minute
	maxWindow     = 24 * time.Hour
)

// own makes a policy of one's own, which does nothing yet.
func (st *Statement) own(s *Set, wrong wrong) (*Policy, error) {
	if st.When == "" {
		return nil, wrong("when", "it is missing; %q is none of the predefined policies, which are %s, and one of your own needs a condition, such as 'endpoint.role == \"login\" && entity.failures > 30'",
			st.Name, strings.Join(s.names(), ", "))
	}
	p := &Policy{Name: st.Name, Mode: detect.ModeMonitor, When: st.When, Window: cmp.Or(st.Window, defaultWindow)}
	var err error
	if p.Condition, err = newCondition(st.When); err != nil {
		return nil, wrong("when", "%v", err)
	}
	if st.Window != 0 && (st.Window < minTTL || st.Window > maxWindow) {
		return nil, wrong("window", "%v is out of range; write a duration from 1s to 24h", st.Window)
	}
	if st.Window != 0 && p.Condition.entity == nil {
		return nil, wrong("window", "it has no effect, as the condition says nothing of the entity; remove it or count something, as in entity.requests > 30")
	}
	if len(st.Per) == 0 {
		return nil, wrong("per", "it is missing; write what the policy counts by: %s", memberNames())
	}
	if len(st.Per) > maxMembers {
		return nil, wrong("per", "there are %d members; write %d at most", len(st.Per), maxMembers)
	}
	for _, name := range st.Per {
		m := Member(name)
		switch {
		case !slices.Contains(members, m):
			return nil, wrong("per", "%q is none of %s", name, memberNames())
		case slices.Contains(p.Per, m):
			return nil, wrong("per", "%q stands there twice; remove one", name)
		}
		p.Per = append(p.Per, m)
	}
	p.Account = slices.Contains(p.Per, ByUser)
	acts := st.Action != "" && st.Action != "none"
	switch {
	case p.Account && len(p.Per) > 1:
		return nil, wrong("per", "an account is held by itself; write user alone")
	case acts && slices.Equal(p.Per, []Member{ByEndpoint}):
		return nil, wrong("per", "endpoint alone would hit everybody there; add a member such as client.ip, or write action: none")
	}
	p.About = "your own: " + strings.Join(strings.Fields(st.When), " ") + ", per " + strings.Join(st.Per, " and ")
	if p.Condition.entity != nil {
		p.About += fmt.Sprintf(" within %v", p.Window)
	}
	return p, nil
}

func memberNames() string {
	var names []string
	for _, m := range members {
		names = append(names, string(m))
	}
	return strings.Join(names, ", ")
}

// wrong makes the error of a key.
type wrong func(key, format string, args ...any) error

func (s *Set) names() []string {
	var list []string
	for _, p := range s.list {
		if p.Condition == nil {
			list = append(list, p.Name)
		}
	}
	return list
}

// apply changes a policy as stated.
func (st *Statement) apply(p *Policy, wrong wrong) error {
	switch st.Mode {
	case "":
	case string(detect.ModeMonitor), string(detect.ModeEnforce):
		p.Mode = detect.Mode(st.Mode)
	default:
		return wrong("mode", "%q is neither monitor nor enforce", st.Mode)
	}
	if st.Action != "" {
		choices := requestActions
		if p.Account {
			choices = accountActions
		}
		switch {
		case slices.Contains(choices, st.Action):
		case slices.Contains(requestActions, st.Action):
			return wrong("action", "%q needs something that a load balancer can match, and this policy is about accounts; write hold or none", st.Action)
		case slices.Contains(accountActions, st.Action):
			return wrong("action", "%q is of accounts, and this policy is about requests; write one of %s", st.Action, strings.Join(choices, ", "))
		default:
			return wrong("action", "%q is none of %s", st.Action, strings.Join(choices, ", "))
		}
		p.Action = detect.Action(st.Action)
		if st.Action == "none" {
			p.Action = ActionNone
		}
	}
	if err := st.applyRate(p, wrong); err != nil {
		return err
	}
	for _, ttl := range []struct {
		key   string
		value time.Duration
	}{{"ttl", st.TTL}, {"ttl_max", st.TTLMax}} {
		if ttl.value != 0 && (ttl.value < minTTL || ttl.value > time.Duration(detect.MaxLifetime)) {
			return wrong(ttl.key, "%v is out of range; write a duration from %v to %v", ttl.value, minTTL, time.Duration(detect.MaxLifetime))
		}
	}
	if st.TTL != 0 {
		p.TTL = st.TTL
	}
	if st.TTLMax != 0 {
		if st.TTL > st.TTLMax {
			return wrong("ttl", "%v is longer than ttl_max, %v", st.TTL, st.TTLMax)
		}
		p.TTL, p.MaxTTL = min(p.TTL, st.TTLMax), st.TTLMax
	}
	return nil
}

func (st *Statement) applyRate(p *Policy, wrong wrong) error {
	switch {
	case p.Action == detect.ActionRateLimit && st.Rate == (Rate{}):
		return wrong("rate", "it is missing; rate_limit needs one, such as {requests: 10, per: 60s}")
	case st.Rate == (Rate{}):
		return nil
	case p.Action != detect.ActionRateLimit:
		return wrong("rate", "it has no effect without action: rate_limit; remove it or write that action")
	case st.Rate.Requests < 1 || st.Rate.Requests > math.MaxInt32:
		return wrong("rate", "requests: %d is out of range; write a number from 1 to %d", st.Rate.Requests, math.MaxInt32)
	case st.Rate.Per < time.Second || st.Rate.Per > 24*time.Hour || st.Rate.Per%time.Second != 0:
		return wrong("rate", "per: %v is out of range; write whole seconds from 1s to 24h", st.Rate.Per)
	}
	p.Rate = detect.Rate{Requests: st.Rate.Requests, Per: st.Rate.Per.Nanoseconds()}
	return nil
}

// Lifetimes are how long a first verdict lasts and the longest one, of which
// those for all are given.
func (p *Policy) Lifetimes(ttl, longest time.Duration) (time.Duration, time.Duration) {
	if p.MaxTTL != 0 {
		longest = p.MaxTTL
	}
	if p.TTL != 0 {
		ttl = p.TTL
		if p.MaxTTL == 0 {
			longest = max(longest, ttl)
		}
	}
	return min(ttl, longest), longest
}

// Text says what is done, in a word or two.
func (p *Policy) Text() string {
	switch p.Action {
	case ActionNone:
		return "finding only"
	case detect.ActionRateLimit:
		return fmt.Sprintf("rate_limit to %d requests per %v", p.Rate.Requests, time.Duration(p.Rate.Per))
	}
	return string(p.Action)
}
