// Package expression reads expressions in CEL (the Common Expression Language,
// cel.dev) that operators write: it checks their length, names and types, and says of
// a mistake in one line where it is and how to mend it. What names there are, and what
// an expression decides, its [Language] says.
//
// A Language keeps no state and may be used by several goroutines.
package expression

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
)

// Language is what expressions of one purpose may hold, and how mistakes in them are
// put.
type Language struct {
	Environment func() (*cel.Env, error)
	MaxOctets   int
	Decides     string // what it says true or false to: "whether to pick a transaction"
	Example     string // of an expression that does: `http.request.method == "POST"`

	// NoField is the mend for a field that is not there; NoName for a word that
	// stands for nothing. Each begins with "; " or is empty.
	NoField, NoName func(name string) string
	// Word is what a name may stand for: "field".
	Word string
}

// Check reads an expression that is true or false. The error is one line.
func (l *Language) Check(text string) (*cel.Env, *cel.Ast, error) {
	if len(text) > l.MaxOctets {
		return nil, nil, fmt.Errorf("it has %d octets, more than %d", len(text), l.MaxOctets)
	}
	env, err := l.Environment()
	if err != nil {
		return nil, nil, fmt.Errorf("set up CEL: %w", err)
	}
	tree, issues := env.Compile(text)
	if err := l.explain(issues); err != nil {
		return nil, nil, err
	}
	if !tree.OutputType().IsExactType(cel.BoolType) {
		return nil, nil, fmt.Errorf("it says %s, not %s; compare it with something, as in %s", tree.OutputType(), l.Decides, l.Example)
	}
	return env, tree, nil
}

// Program makes what evaluates a checked expression.
func Program(env *cel.Env, tree *cel.Ast, options ...cel.ProgramOption) (cel.Program, error) {
	program, err := env.Program(tree, append(options, cel.EvalOptions(cel.OptOptimize))...)
	return program, OneLine(err)
}

// explain makes one line of what is wrong with an expression.
func (l *Language) explain(issues *cel.Issues) error {
	if issues == nil || issues.Err() == nil {
		return nil
	}
	first := issues.Errors()[0]
	message, mend := first.Message, ""
	if name, ok := quoted(message, "undefined field '"); ok {
		message, mend = fmt.Sprintf("there is no field %q here", name), l.NoField(name)
	} else if name, ok := quoted(message, "undeclared reference to '"); ok {
		message, mend = fmt.Sprintf("%q is no %s and no function", name, l.Word), l.NoName(name)
	}
	return OneLine(errors.New("at " + where(first) + ": " + message + mend))
}

// quoted is what stands in quotes behind the beginning of a message.
func quoted(message, beginning string) (name string, ok bool) {
	if name, ok = strings.CutPrefix(message, beginning); ok {
		name, _, _ = strings.Cut(name, "'")
	}
	return name, ok
}

// where says where in an expression a mistake is.
func where(e *cel.Error) string {
	where := fmt.Sprintf("character %d", e.Location.Column()+1)
	if e.Location.Line() > 1 {
		where = fmt.Sprintf("line %d, %s", e.Location.Line(), where)
	}
	return where
}

// OneLine is an error without line breaks; nil of nil.
func OneLine(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
