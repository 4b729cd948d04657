// Package cli is the command line of offpath: commands, flags, help and exit
// statuses. Each command parses its flags and hands over to the package that
// does the work.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/replay"
	"offpath/cmd/offpath/internal/service"
)

// Exit statuses, as the contract has them.
const (
	statusDone    = 0
	statusFailed  = 1 // failed while running
	statusUsage   = 2 // wrong usage or configuration
	statusDamaged = 3 // done, but some input was damaged
)

// Streams are the standard files of the process.
type Streams struct {
	In       *os.File
	Out, Err *os.File
}

// command is one of `offpath COMMAND`.
type command struct {
	name    string
	args    string // its arguments as help shows them
	summary string // one line
	detail  string // more, for its own help; "" for none
	run     func(ctx context.Context, std Streams, c *command, args []string) error
}

// commands in the order of the help.
func commands() []command {
	return []command{
		{"run", "[--config FILE]", "capture, detect and mitigate in one process", runDetail, runService(service.Run)},
		{"sensor", "[--config FILE]", "capture and reassemble only; transactions go to Kafka", sensorDetail, runService(service.Sensor)},
		{"detect", "[--config FILE]", "detect and mitigate only; transactions come from Kafka", detectDetail, runService(service.Detect)},
		{"replay", "[flags] INPUT...", "run the same pipeline over recorded input, then exit", replayDetail, runReplay},
		{"check", "[--config FILE]", "validate a configuration and reach out to what it names", checkDetail, runCheck},
		{"target-config", "NAME [--config FILE]", "print what a load balancer needs to enforce verdicts", targetDetail, runTargetConfig},
		{"explain", "ID [flags]", "the evidence behind a finding or verdict, for a person", explainDetail, runExplain},
		{"lift", "ID [--config FILE]", "end one verdict", "", runLift},
		{"approve", "[ID] [--config FILE]", "put a verdict in force that waits for approval; without ID, list them", approveDetail, runApprove},
		{"off", "[--config FILE]", "stop all enforcement on every load balancer", offDetail, runOff},
		{"on", "[--config FILE]", "resume enforcement after off", "", runOn},
		{"version", "", "print version, commit and build settings", "", runVersion},
	}
}

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func wrongUsage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errHelp says that help was asked for and given.
var errHelp = errors.New("help")

// Main runs one command and returns the exit status.
func Main(args []string, std Streams) int {
	if len(args) == 0 {
		fmt.Fprintln(std.Err, "offpath: a command is missing; `offpath help` lists them")
		return statusUsage
	}
	name := args[0]
	switch name {
	case "help", "-h", "-help", "--help":
		return help(args[1:], std)
	case "--version", "-version":
		name = "version"
	}
	c := find(name)
	if c == nil {
		fmt.Fprintf(std.Err, "offpath: unknown command %q; `offpath help` lists them\n", name)
		return statusUsage
	}
	err := c.run(context.Background(), std, c, args[1:])
	status := statusOf(err)
	if err != nil && !errors.Is(err, errHelp) && !errors.Is(err, replay.ErrDamaged) {
		fmt.Fprintf(std.Err, "offpath %s: %s\n", c.name, oneLine(err))
	}
	return status
}

// statusOf is the exit status that an error stands for.
func statusOf(err error) int {
	var usage *usageError
	var configuration *config.Error
	var input *replay.InputError
	var setup *service.SetupError
	switch {
	case err == nil, errors.Is(err, errHelp):
		return statusDone
	case errors.As(err, &usage), errors.As(err, &configuration), errors.As(err, &input), errors.As(err, &setup):
		return statusUsage
	case errors.Is(err, replay.ErrDamaged):
		return statusDamaged
	}
	return statusFailed
}

// oneLine keeps a message on one line, whatever an error further down holds.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

func find(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return &c
		}
	}
	return nil
}

func help(args []string, std Streams) int {
	if len(args) == 0 {
		overview(std.Out)
		return statusDone
	}
	c := find(args[0])
	if c == nil {
		fmt.Fprintf(std.Err, "offpath help: unknown command %q; `offpath help` lists them\n", args[0])
		return statusUsage
	}
	return statusOf(c.run(context.Background(), std, c, []string{"-h"}))
}

func overview(w io.Writer) {
	fmt.Fprint(w, `offpath watches a mirror port, finds automated attacks in the HTTP traffic there
and has load balancers refuse them.

Usage:
  offpath COMMAND [flags]

Commands:
`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-14s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `
`+"`offpath help COMMAND`"+` shows the flags of one command.

The configuration is read from /etc/offpath/offpath.yaml, or from --config; each
setting can also come from the environment as OFFPATH_SECTION_KEY.
`+"`offpath check --print`"+` shows every setting, what it is, and its value.

Exit status: 0 done, 1 failed while running, 2 wrong usage or configuration,
3 done, but some input was damaged.
`)
}
