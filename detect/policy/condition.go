package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"offpath/detect/filter"
	"offpath/detect/internal/expression"
	"offpath/detect/login"
	"offpath/reassembly"
)

const (
	// maxCondition bounds the text of a condition, octets.
	maxCondition = 4 << 10
	// costLimit bounds what an evaluation may cost, in CEL's units: about one for
	// each operation and for ten octets of a string that is looked at. A regular
	// expression of 30 octets over a path of 1000 costs 800.
	costLimit = 20_000
)

// Condition says when a policy is met. What its conjuncts say without the entity
// picks the requests that are counted; what they say of the entity's counts
// convicts. So `endpoint.role == "transfer" && entity.requests > 30` is about
// thirty transfers, whatever else was asked for.
//
// It may be evaluated by any number of goroutines, each with [Facts] of its own.
type Condition struct {
	place, request, entity cel.Program // nil: true
	kind, distinct         bool        // what it needs to be known
}

// Facts is what a condition is evaluated over.
type Facts struct {
	Transaction                *reassembly.Transaction // annotated
	Endpoint, Role, EndpointIs string                  // the last: api, web, mobile or ""
	Counts                     Counts
}

// Counts is what an entity did within the window. Accounts, endpoints and clients
// are estimates of how many different ones there were; see [Table].
type Counts struct {
	Requests, Logins, Failures, Successes, Errors int64
	Accounts, Endpoints, Clients                  int64
}

// The variables beside the transaction.
var (
	placeNames  = []string{"endpoint.name", "endpoint.role", "endpoint.kind"}
	entityNames = []string{
		"entity.requests", "entity.logins", "entity.failures", "entity.successes", "entity.errors",
		"entity.accounts", "entity.endpoints", "entity.clients",
	}
	kinds = []string{"api", "web", "mobile"}
)

// ResolveName implements cel.Activation.
func (f *Facts) ResolveName(name string) (any, bool) {
	switch name {
	case "transaction":
		return f.Transaction, true
	case "endpoint.name":
		return f.Endpoint, true
	case "endpoint.role":
		return f.Role, true
	case "endpoint.kind":
		return f.EndpointIs, true
	}
	c := &f.Counts
	for i, n := range [...]int64{c.Requests, c.Logins, c.Failures, c.Successes, c.Errors, c.Accounts, c.Endpoints, c.Clients} {
		if name == entityNames[i] {
			return n, true
		}
	}
	return nil, false
}

// Parent implements cel.Activation.
func (f *Facts) Parent() cel.Activation { return nil }

// AtEndpoint reports whether requests of an endpoint, in a role, can meet it: the
// part that says nothing of the transaction or the entity. The error says that it
// could not be evaluated.
func (c *Condition) AtEndpoint(f *Facts) (bool, error) { return holds(c.place, f) }

// Picks reports whether a request at such an endpoint is counted.
func (c *Condition) Picks(f *Facts) (bool, error) { return holds(c.request, f) }

// Convicts reports whether an entity is convicted by its counts.
func (c *Condition) Convicts(f *Facts) (bool, error) { return holds(c.entity, f) }

// holds evaluates a part. One that needs a field that is not there does not hold;
// what else can't be evaluated, or costs too much, is an error.
func holds(p cel.Program, f *Facts) (bool, error) {
	if p == nil {
		return true, nil
	}
	value, _, err := p.Eval(f)
	if err != nil {
		if errors.Is(err, filter.ErrAbsent) {
			err = nil
		}
		return false, err
	}
	return value == types.True, nil
}

// language is that of conditions of policies.
var language = expression.Language{
	Environment: environment,
	MaxOctets:   maxCondition,
	Decides:     "whether the policy is met",
	Example:     "entity.requests > 30",
	Word:        "name",
	NoField:     noField,
	NoName:      noName,
}

// newCondition makes a Condition of its text. The error is one line that says where
// the mistake is, and how to mend it.
func newCondition(text string) (*Condition, error) {
	env, whole, err := language.Check(text)
	if err != nil {
		return nil, err
	}
	if err := checkNames(whole.NativeRep().Expr()); err != nil {
		return nil, err
	}
	c := new(Condition)
	var place, request, entity []string
	for _, conjunct := range conjuncts(whole.NativeRep().Expr()) {
		text, err := cel.ExprToString(conjunct, whole.NativeRep().SourceInfo())
		if err != nil {
			return nil, expression.OneLine(err)
		}
		names := c.names(whole, conjunct)
		switch {
		case names["entity"]:
			entity = append(entity, text)
		case names["transaction"]:
			request = append(request, text)
		default:
			place = append(place, text)
		}
	}
	for _, part := range []struct {
		program *cel.Program
		texts   []string
	}{{&c.place, place}, {&c.request, request}, {&c.entity, entity}} {
		if *part.program, err = compile(env, part.texts); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// environment is CEL with the variables of a condition.
func environment() (*cel.Env, error) {
	options := append(filter.Libraries(), filter.Variable("transaction"), cel.EnableMacroCallTracking())
	for _, name := range placeNames {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	for _, name := range entityNames {
		options = append(options, cel.Variable(name, cel.IntType))
	}
	return cel.NewEnv(options...)
}

// compile makes a program of conjuncts; nil of none.
func compile(env *cel.Env, conjuncts []string) (cel.Program, error) {
	if len(conjuncts) == 0 {
		return nil, nil
	}
	tree, issues := env.Compile("(" + strings.Join(conjuncts, ") && (") + ")")
	if err := issues.Err(); err != nil { // each was read before
		return nil, expression.OneLine(err)
	}
	return expression.Program(env, tree, cel.CostLimit(costLimit))
}

// conjuncts are what an expression joins by && at its top.
func conjuncts(e ast.Expr) []ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.LogicalAnd {
		return []ast.Expr{e}
	}
	var list []ast.Expr
	for _, arg := range e.AsCall().Args() {
		list = append(list, conjuncts(arg)...)
	}
	return list
}

// names tells which variables a part of an expression mentions, by what they begin
// with, and notes what they need.
func (c *Condition) names(whole *cel.Ast, part ast.Expr) map[string]bool {
	names := make(map[string]bool)
	references := whole.NativeRep().ReferenceMap()
	ast.PreOrderVisit(part, ast.NewExprVisitor(func(e ast.Expr) {
		r := references[e.ID()]
		if r == nil || r.Name == "" {
			return
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(r.Name, "."), ".")
		names[first] = true
		switch r.Name {
		case "endpoint.kind":
			c.kind = true
		case "entity.accounts", "entity.endpoints", "entity.clients":
			c.distinct = true
		}
	}))
	return names
}

// checkNames refuses comparisons of a role or kind with one that there is none of:
// such a condition would never hold.
func checkNames(e ast.Expr) (err error) {
	known := map[string][]string{"endpoint.role": login.Roles, "endpoint.kind": kinds}
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if err != nil || e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		switch call.FunctionName() {
		case operators.Equals, operators.NotEquals, operators.In:
		default:
			return
		}
		for i, arg := range call.Args() {
			list, ok := known[qualified(arg)]
			if !ok {
				continue
			}
			for _, value := range literals(call.Args()[1-i]) {
				if value != "" && !slices.Contains(list, value) {
					err = fmt.Errorf("%s is never %q; it is one of %s, or \"\" where it is not known", qualified(arg), value, strings.Join(list, ", "))
				}
			}
		}
	}))
	return err
}

// qualified is a name with its dots; "" of anything else.
func qualified(e ast.Expr) string {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent()
	case ast.SelectKind:
		if of := qualified(e.AsSelect().Operand()); of != "" {
			return of + "." + e.AsSelect().FieldName()
		}
	}
	return ""
}

// literals are the strings that an expression is, or is a list of.
func literals(e ast.Expr) (list []string) {
	switch e.Kind() {
	case ast.LiteralKind:
		if s, ok := e.AsLiteral().(types.String); ok {
			list = append(list, string(s))
		}
	case ast.ListKind:
		for _, item := range e.AsList().Elements() {
			list = append(list, literals(item)...)
		}
	}
	return list
}

// noField says how a field that is not there may be meant.
func noField(name string) string {
	if paths := filter.Paths(name); len(paths) > 0 {
		return "; there is transaction." + strings.Join(paths, ", transaction.")
	}
	return "; `offpath replay --transactions -` shows which there are"
}

// noName says how a word that stands for nothing may be meant.
func noName(name string) string {
	first, _, _ := strings.Cut(name, ".")
	switch paths := filter.Paths(name); {
	case first == "endpoint":
		return "; there is " + strings.Join(placeNames, ", ")
	case first == "entity":
		return "; there is " + strings.Join(entityNames, ", ")
	case len(paths) > 0:
		return "; there is transaction." + strings.Join(paths, ", transaction.")
	}
	return "; names begin with transaction, endpoint or entity, and text stands in quotes"
}
