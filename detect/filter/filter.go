// Package filter picks transactions by an expression in CEL (the Common Expression
// Language, cel.dev) over their fields as the contract names them:
//
//	http.request.method == "POST" && url.path.startsWith("/login")
//
// [Compile] checks names and types; a [Filter] is then evaluated for each
// transaction. Fields are strings, integers, true or false, and lists of these;
// offpath.request.header_fields is a list of pairs. @timestamp, which is no name in
// CEL, is timestamp, and event.end is what it is there. What detection adds
// (event.outcome, offpath.outcome, offpath.endpoint, offpath.role) is not known yet
// where a Filter stands. Strings are as in JSON Lines, less JSON's own escapes.
//
// has(url.query) tells whether a field is there. An expression that needs one that is
// not is neither true nor false, and the transaction is not picked: to pick it all
// the same, ask for has first. The same goes for what else can't be evaluated, such
// as an index beyond the end of a list.
//
// The strings library and the network library (ip, cidr) of CEL are there. A Filter
// keeps no state but a buffer and a count and belongs to one goroutine. What an
// expression costs is bounded only by [CompileBounded]: elsewhere who writes it waits
// for it.
//
// For expressions over more than a transaction, [Variable] declares it whole.
package filter

import (
	"errors"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	"offpath/detect/internal/expression"
	"offpath/reassembly"
)

// maxExpression bounds the text, octets.
const maxExpression = 16 << 10

// language is that of conditions on a transaction.
var language = expression.Language{
	Environment: environment,
	MaxOctets:   maxExpression,
	Decides:     "whether to pick a transaction",
	Example:     `http.request.method == "POST"`,
	Word:        "field",
	NoField:     whatIsThere,
	NoName: func(string) string {
		return "; fields begin with one of " + strings.Join(fields.order, ", ") + ", and text stands in quotes"
	},
}

// Filter is an expression that was compiled.
type Filter struct {
	program cel.Program
	at      activation
	tooDear uint64
}

// Compile makes a Filter. The error is one line that says where the mistake is, and
// how to mend it where that can be told.
func Compile(text string) (*Filter, error) { return compile(text) }

// CompileBounded is Compile for an expression over whatever an attacker sends: where
// it would cost more than limit, in CEL's units (about one for each operation and for
// ten octets of a string that is looked at), it does not hold, and that is counted.
func CompileBounded(text string, limit uint64) (*Filter, error) {
	return compile(text, cel.CostLimit(limit))
}

func compile(text string, options ...cel.ProgramOption) (*Filter, error) {
	env, tree, err := language.Check(text)
	if err != nil {
		return nil, err
	}
	program, err := expression.Program(env, tree, options...)
	if err != nil {
		return nil, err
	}
	return &Filter{program: program}, nil
}

// Libraries are the functions that expressions have beyond CEL's own.
func Libraries() []cel.EnvOption { return []cel.EnvOption{ext.Strings(), ext.Network()} }

// Variable declares a whole transaction, with what detection adds to it, as one
// variable of an environment that has the [Libraries] already; its value is a
// *reassembly.Transaction. An evaluation that needs a field that is not there fails
// with [ErrAbsent].
func Variable(name string) cel.EnvOption {
	return func(e *cel.Env) (*cel.Env, error) {
		e, err := cel.CustomTypeProvider(provider{e.CELTypeProvider(), judged, judgedPrefix})(e)
		if err != nil {
			return nil, err
		}
		return cel.Variable(name, judged.kind)(e)
	}
}

// Paths are the full names of the fields of a [Variable] that end in a name.
func Paths(name string) []string { return judged.paths(name) }

// environment is CEL with the fields of a transaction.
func environment() (*cel.Env, error) {
	options := append(Libraries(),
		func(e *cel.Env) (*cel.Env, error) { // the libraries have made their types known
			return cel.CustomTypeProvider(provider{e.CELTypeProvider(), fields, typePrefix})(e)
		})
	for _, name := range fields.order {
		options = append(options, cel.Variable(name, fields.members[name].kind))
	}
	return cel.NewEnv(options...)
}

// Holds reports whether the expression is true of a transaction.
func (f *Filter) Holds(tx *reassembly.Transaction) bool {
	f.at.tx = tx
	value, _, err := f.program.Eval(&f.at)
	f.at.tx = nil
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) {
		f.tooDear++
	}
	return err == nil && value == types.True
}

// TooDear is how often the expression would have cost more than its limit.
func (f *Filter) TooDear() uint64 { return f.tooDear }

// activation resolves the names of the top level.
type activation struct{ tx *reassembly.Transaction }

// ResolveName implements cel.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	m := fields.members[name]
	if m == nil {
		return nil, false
	}
	value, ok := m.value(a.tx)
	return value, ok || m.members != nil // an object without members is one
}

// Parent implements cel.Activation.
func (a *activation) Parent() cel.Activation { return nil }

// whatIsThere says where the name of a field that is not there occurs.
func whatIsThere(name string) string {
	if annotated[name] {
		return "; what detection adds is not known yet where the filter stands"
	}
	places := fields.paths(name)
	if len(places) == 0 {
		return "; `offpath replay --transactions -` shows which there are"
	}
	return "; there is " + strings.Join(places, ", ")
}
