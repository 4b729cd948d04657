package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"offpath/cmd/offpath/internal/config"
)

// flags are those of one command. Unlike with the flag package alone, they
// may stand before, between and behind the arguments.
type flags struct {
	*flag.FlagSet
	command *command
	std     Streams
}

func newFlags(c *command, std Streams) *flags {
	f := &flags{flag.NewFlagSet(c.name, flag.ContinueOnError), c, std}
	f.SetOutput(io.Discard) // what is wrong is said in one line of our own
	f.Usage = func() {}
	return f
}

// parse returns the arguments that are no flags. What follows "--" is none.
func (f *flags) parse(args []string) ([]string, error) {
	var positional []string
	for {
		if err := f.Parse(args); err != nil {
			return nil, f.explain(err)
		}
		rest := f.Args()
		if len(rest) == 0 {
			return positional, nil
		}
		if parsed := len(args) - len(rest); parsed > 0 && args[parsed-1] == "--" {
			return append(positional, rest...), nil
		}
		positional = append(positional, rest[0])
		args = rest[1:]
	}
}

// parseNone is parse for commands without arguments.
func (f *flags) parseNone(args []string) error {
	positional, err := f.parse(args)
	if err == nil && len(positional) > 0 {
		err = wrongUsage("%q is one argument too many; it takes flags alone", positional[0])
	}
	return err
}

// parseOne is parse for commands with exactly one argument.
func (f *flags) parseOne(args []string, name, example string) (string, error) {
	positional, err := f.parse(args)
	switch {
	case err != nil:
		return "", err
	case len(positional) == 0:
		return "", wrongUsage("%s is missing; write for example `offpath %s %s`", name, f.command.name, example)
	case len(positional) > 1:
		return "", wrongUsage("%q is one argument too many; it takes one %s", positional[1], name)
	}
	return positional[0], nil
}

// explain turns an error of the flag package into a line of ours.
func (f *flags) explain(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		f.help()
		return errHelp
	}
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return wrongUsage("unknown flag --%s; `offpath help %s` lists them", strings.TrimPrefix(name, "-"), f.command.name)
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return wrongUsage("flag --%s needs a value", name)
	}
	if value, name, ok := invalidValue(text); ok {
		return wrongUsage("--%s: %s is no value for it; `offpath help %s` says which are", name, value, f.command.name)
	}
	return wrongUsage("%s", text)
}

// invalidValue takes apart how the flag package complains of a value.
func invalidValue(text string) (value, name string, ok bool) {
	rest, ok := strings.CutPrefix(text, "invalid value ")
	if !ok {
		if rest, ok = strings.CutPrefix(text, "invalid boolean value "); !ok {
			return "", "", false
		}
	}
	for _, between := range []string{" for flag -", " for -"} {
		if value, name, ok = strings.Cut(rest, between); ok {
			name, _, _ = strings.Cut(name, ":")
			return value, name, true
		}
	}
	return "", "", false
}

// help prints the command's own help.
func (f *flags) help() {
	w := f.std.Out
	fmt.Fprintf(w, "offpath %s: %s\n\nUsage:\n  %s\n", f.command.name, f.command.summary,
		strings.TrimRight("offpath "+f.command.name+" "+f.command.args, " "))
	if f.command.detail != "" {
		fmt.Fprintf(w, "\n%s\n", strings.Trim(f.command.detail, "\n"))
	}
	first := true
	f.VisitAll(func(each *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nFlags:\n")
			first = false
		}
		value, usage := flag.UnquoteUsage(each)
		fmt.Fprintf(w, "  %-22s %s\n", strings.TrimRight("--"+each.Name+" "+value, " "), usage)
	})
}

// configFlag adds --config.
func (f *flags) configFlag() *string {
	return f.String("config", "", "configuration `FILE` (default "+config.DefaultPath+", where it exists)")
}
