package awswaf

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"offpath/detect"
	"offpath/mitigate"
)

// maxSearch is the most octets that AWS compares with.
const maxSearch = 200

// predicatePrefix begins the name of a verdict's own rule: then e- or w-, and its id.
const predicatePrefix = "offpath-verdict-"

var (
	ja4Form    = regexp.MustCompile(`^[a-z0-9]{10}_[0-9a-f]{12}_[0-9a-f]{12}$`)
	domainForm = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)
)

// predicate is a verdict about a program or domain, which has a rule of its own.
type predicate struct {
	subject detect.Subject
	id      mitigate.ID
	watch   bool
	expires int64
}

func (p *predicate) name() string {
	force := "e-"
	if p.watch {
		force = "w-"
	}
	return predicatePrefix + force + p.id.String()
}

// members counts what a request has to have.
func (p *predicate) members() (n int) {
	for _, m := range [...]string{p.subject.JA4, p.subject.UserAgent, p.subject.Domain} {
		if m != "" {
			n++
		}
	}
	return n
}

// isPredicate says whether a subject is more than a client, which sets match.
func isPredicate(s detect.Subject) bool { return s != detect.Subject{Client: s.Client} }

// predicateOf says what rule an entry has; reason why it has none.
func predicateOf(e *mitigate.Entry) (p predicate, reason string) {
	s := e.Subject
	p = predicate{subject: s, id: e.ID, watch: e.Monitor, expires: e.Expires}
	switch only := (detect.Subject{JA4: s.JA4, UserAgent: s.UserAgent, Domain: s.Domain}); {
	case s != only:
		return p, "beside addresses and networks it matches JA4, User-Agent and domain alone, or these together"
	case e.Action != detect.ActionBlock:
		return p, fmt.Sprintf("of a program or domain it has no action %q", e.Action)
	case s.JA4 != "" && !ja4Form.MatchString(s.JA4):
		return p, fmt.Sprintf("%q is no JA4", s.JA4)
	case len(s.UserAgent) > maxSearch:
		return p, fmt.Sprintf("a user agent of %d octets is longer than %d", len(s.UserAgent), maxSearch)
	case strings.ContainsFunc(s.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }):
		return p, fmt.Sprintf("user agent %q has more than printable ASCII", s.UserAgent)
	case s.Domain != "" && !domainForm.MatchString(mitigate.Domain(s.Domain)):
		return p, fmt.Sprintf("domain %q is no plain name", s.Domain)
	}
	return p, ""
}

// statements are what a request has to match for the verdict.
func (p *predicate) statements() (all []types.Statement) {
	none := []types.TextTransformation{{Priority: 0, Type: types.TextTransformationTypeNone}}
	exactly := func(text string, field *types.FieldToMatch) {
		all = append(all, types.Statement{ByteMatchStatement: &types.ByteMatchStatement{
			SearchString: []byte(text), FieldToMatch: field, PositionalConstraint: types.PositionalConstraintExactly, TextTransformations: none,
		}})
	}
	if p.subject.JA4 != "" {
		exactly(p.subject.JA4, &types.FieldToMatch{JA4Fingerprint: &types.JA4Fingerprint{FallbackBehavior: types.FallbackBehaviorNoMatch}})
	}
	if p.subject.UserAgent != "" {
		exactly(p.subject.UserAgent, header("user-agent"))
	}
	if p.subject.Domain != "" {
		// As requests are named by it: without a port, the dot of the root and letter case.
		pattern := "^" + regexp.QuoteMeta(mitigate.Domain(p.subject.Domain)) + `\.?(:[0-9]*)?$`
		all = append(all, types.Statement{RegexMatchStatement: &types.RegexMatchStatement{
			RegexString: aws.String(pattern), FieldToMatch: header("host"),
			TextTransformations: []types.TextTransformation{{Priority: 0, Type: types.TextTransformationTypeLowercase}},
		}})
	}
	return all
}

func header(name string) *types.FieldToMatch {
	return &types.FieldToMatch{SingleHeader: &types.SingleHeader{Name: aws.String(name)}}
}

// predicateUnits is the most that a predicate takes of the capacity, without its sets: 2
// for each comparison, 3 for the pattern and 10 for its transformation.
const predicateUnits = 2 + 2 + 3 + 10

// predicateRule is the rule of a verdict: of clients that no verdict of their own is
// enforced against, and whom the allow-list does not have.
func (t *Target) predicateRule(p *predicate, mode detect.Mode, arns map[string]string) (types.Rule, error) {
	var spared []types.Statement
	for _, n := range t.setNames() {
		if n.watch {
			continue
		}
		if arns[n.name] == "" {
			return types.Rule{}, fmt.Errorf("%w: there is no IP set %s yet", ErrNotPrepared, n.name)
		}
		spared = append(spared, types.Statement{IPSetReferenceStatement: &types.IPSetReferenceStatement{ARN: aws.String(arns[n.name])}})
	}
	all := append(p.statements(), types.Statement{NotStatement: &types.NotStatement{Statement: &types.Statement{OrStatement: &types.OrStatement{Statements: spared}}}})
	rule := types.Rule{Name: aws.String(p.name()), Statement: &types.Statement{AndStatement: &types.AndStatement{Statements: all}}, Action: &types.RuleAction{Count: &types.CountAction{}}}
	if mode == detect.ModeEnforce && !p.watch {
		rule.Action = refusal(403, p.id)
	}
	return rule, nil
}

func refusal(status int32, marker mitigate.ID, more ...types.CustomHTTPHeader) *types.RuleAction {
	headers := append([]types.CustomHTTPHeader{{Name: aws.String("X-Offpath-Refused"), Value: aws.String(marker.String())}}, more...)
	return &types.RuleAction{Block: &types.BlockAction{CustomResponse: &types.CustomResponse{ResponseCode: aws.Int32(status), ResponseHeaders: headers}}}
}

// ruled are the predicates that have a rule, in the order of the rules: the most specific
// enforced ones first; and those that there is no room for.
func (t *Target) ruled(now int64) (list []predicate, left []mitigate.Rejection) {
	for _, p := range t.predicates {
		if p.expires > now {
			list = append(list, p)
		}
	}
	force := func(p predicate) int {
		if p.watch {
			return 1
		}
		return 0
	}
	slices.SortFunc(list, func(a, b predicate) int {
		return cmp.Or(cmp.Compare(force(a), force(b)), -cmp.Compare(a.expires, b.expires), cmp.Compare(a.id, b.id))
	})
	for len(list) > t.options.Rules {
		last := list[len(list)-1]
		left = append(left, mitigate.Rejection{ID: last.id, Answer: fmt.Sprintf("there is room for %d verdicts about programs and domains", t.options.Rules)})
		list = list[:len(list)-1]
	}
	slices.SortFunc(list, func(a, b predicate) int {
		return cmp.Or(cmp.Compare(force(a), force(b)), -cmp.Compare(a.members(), b.members()), cmp.Compare(a.id, b.id))
	})
	return list, left
}

// writePredicates brings the rules to the predicates, in the mode that is in force. The
// caller is the writer.
func (t *Target) writePredicates(ctx context.Context, now int64) ([]mitigate.Rejection, error) {
	list, left := t.ruled(now)
	if t.written != nil && slices.Equal(*t.written, list) {
		return left, nil
	}
	if err := t.ruler.Take(ctx); err != nil {
		return nil, err
	}
	defer t.ruler.End()
	t.written = nil
	t.places.Lock()
	t.inRules = list
	t.places.Unlock()
	g, err := t.theGroup(ctx)
	if err != nil {
		return nil, err
	}
	if mode := modeOf(g.rules); mode != detect.ModeOff {
		if err := t.writeRules(ctx, g.id, mode); err != nil {
			return nil, err
		}
	}
	t.written = &list
	return left, nil
}

// heldPredicates are the names of the verdicts' own rules of the group.
func heldPredicates(rules []types.Rule) (names []string) {
	for _, r := range rules {
		if name := aws.ToString(r.Name); strings.HasPrefix(name, predicatePrefix) {
			names = append(names, name)
		}
	}
	return names
}

// comparePredicates counts into the report what the rules hold and what is to change. In
// mode off there are none. The caller is the writer.
func (t *Target) comparePredicates(ctx context.Context, now int64, report *mitigate.SyncReport) error {
	g, err := t.theGroup(ctx)
	if err != nil {
		return err
	}
	held := map[string]bool{}
	for _, name := range heldPredicates(g.rules) {
		held[name] = true
	}
	report.Held += len(held)
	if modeOf(g.rules) != detect.ModeOff {
		list, _ := t.ruled(now)
		for _, p := range list {
			if !held[p.name()] {
				report.Set++
			}
			delete(held, p.name())
		}
		report.Removed += len(held)
	}
	t.written = nil
	if len(t.predicates) == 0 && len(heldPredicates(g.rules)) == 0 {
		t.written = new([]predicate)
		t.places.Lock()
		t.inRules = nil
		t.places.Unlock()
	}
	return nil
}

// rejectPredicates forgets those of the rejections.
func (t *Target) rejectPredicates(rejections []mitigate.Rejection) {
	maps.DeleteFunc(t.predicates, func(_ detect.Subject, p predicate) bool {
		return slices.ContainsFunc(rejections, func(r mitigate.Rejection) bool { return r.ID == p.id })
	})
}
