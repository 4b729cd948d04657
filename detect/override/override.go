// Package override holds what an operator knows better than detection: that
// requests are logins or something else, and how a login ended. Everything else is
// recognised and learned; a statement here wins over it.
//
// A [Set] is a list of statements, each with a condition over a transaction, in CEL
// (see detect/filter), and a role, an outcome, or both. Of several that hold the
// first that says something about a role decides the role, the first that says
// something about an outcome the outcome.
//
// A Set keeps no state but buffers and counts and belongs to one goroutine. A
// condition that costs too much over what somebody has sent does not hold of it.
package override

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"offpath/detect/filter"
	"offpath/detect/login"
	"offpath/detect/outcome"
	"offpath/reassembly"
)

// Statement is what an operator writes.
type Statement struct {
	When    string // condition
	Role    string // one of detect/login's, or none; "": says nothing
	Outcome string // as offpath.outcome has it, or unknown; "": says nothing
}

// Keys are the names of a Statement's fields in a configuration.
var Keys = []string{"when", "role", "outcome"}

// None is the role of what is none that detection knows.
const None = "none"

// Unknown is the outcome of a login that says nothing about the password.
const Unknown = "unknown"

// Opinion is what the statements say of a transaction.
type Opinion struct {
	Role    string // "": nothing; None
	Outcome outcome.Class
	Told    bool // they say something about the outcome
}

// costLimit bounds what a condition may cost over one request, in CEL's units: some
// hundred microseconds.
const costLimit = 20_000

// TooDear is how often a condition cost too much.
func (s *Set) TooDear() (n uint64) {
	if s != nil {
		for i := range s.rules {
			n += s.rules[i].when.TooDear()
		}
	}
	return n
}

// Set is statements that were checked. Of nil there are none.
type Set struct{ rules []rule }

type rule struct {
	when *filter.Filter
	Opinion
}

// Error is a mistake in a statement.
type Error struct {
	Index int    // of the statement
	Key   string // of the field
	Text  string // what is wrong, and the mend
}

func (e *Error) Error() string { return fmt.Sprintf("override %d: %s: %s", e.Index+1, e.Key, e.Text) }

// New makes a Set; nil of no statements. An error is an [*Error].
func New(statements []Statement) (*Set, error) {
	if len(statements) == 0 {
		return nil, nil
	}
	s := new(Set)
	for i, st := range statements {
		fail := func(key, format string, args ...any) (*Set, error) {
			return nil, &Error{i, key, fmt.Sprintf(format, args...)}
		}
		r := rule{Opinion: Opinion{Role: st.Role}}
		if st.When == "" {
			return fail("when", "it is missing; write which requests are meant, such as 'url.path == \"/enter\"'")
		}
		var err error
		if r.when, err = filter.CompileBounded(st.When, costLimit); err != nil {
			return fail("when", "%s", err)
		}
		if st.Role == "" && st.Outcome == "" {
			return fail("role", "there is neither a role nor an outcome; write one of %s, or an outcome", roles())
		}
		if st.Role != "" && st.Role != None && !slices.Contains(login.Roles, st.Role) {
			return fail("role", "%q is none of %s", st.Role, roles())
		}
		if st.Outcome != "" {
			if r.Outcome, r.Told = classes[st.Outcome], true; r.Outcome == outcome.Unknown && st.Outcome != Unknown {
				return fail("outcome", "%q is none of %s", st.Outcome, strings.Join(outcomes, ", "))
			}
			if cmp.Or(st.Role, login.RoleLogin) != login.RoleLogin {
				return fail("outcome", "only logins have one; leave it away, or the role")
			}
		}
		s.rules = append(s.rules, r)
	}
	return s, nil
}

var outcomes = []string{"accepted", "rejected", "unknown_user", "locked", "mfa_required", "outage", Unknown}

var classes = map[string]outcome.Class{
	"accepted": outcome.Accepted, "rejected": outcome.Rejected, "unknown_user": outcome.UnknownUser,
	"locked": outcome.Locked, "mfa_required": outcome.MFARequired, "outage": outcome.Outage,
}

func roles() string { return strings.Join(append(slices.Clone(login.Roles), None), ", ") }

// Of says what is known of a transaction.
func (s *Set) Of(tx *reassembly.Transaction) (o Opinion) {
	if s == nil {
		return o
	}
	for i := range s.rules {
		r := &s.rules[i]
		if (o.Role != "" || r.Role == "") && (o.Told || !r.Told) || !r.when.Holds(tx) {
			continue
		}
		o.Role = cmp.Or(o.Role, r.Role)
		if !o.Told {
			o.Outcome, o.Told = r.Outcome, r.Told
		}
	}
	return o
}
