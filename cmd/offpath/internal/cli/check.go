package cli

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"offpath/cmd/offpath/internal/check"
	"offpath/cmd/offpath/internal/config"
)

const checkDetail = `
Everything in the configuration that can be tried is tried: interfaces are
looked up, secrets and certificates read, load balancers and brokers asked.
Nothing is changed. Exit status 0 means that all of it works, 1 that something
doesn't answer or isn't there, 2 that the configuration itself is wrong.
`

// checkTimeout bounds each thing that is tried.
const checkTimeout = 5 * time.Second

func runCheck(ctx context.Context, std Streams, c *command, args []string) error {
	f := newFlags(c, std)
	path := f.configFlag()
	show := f.Bool("print", false, "print every setting, what it is and its value, and try nothing")
	if err := f.parseNone(args); err != nil {
		return err
	}
	settings, err := config.Load(*path, os.Environ())
	if err != nil {
		return err
	}
	if *show {
		return settings.Print(std.Out)
	}
	t := tabwriter.NewWriter(std.Out, 0, 0, 2, ' ', 0)
	where := settings.Path
	if where == "" {
		where = "defaults and environment"
	}
	fmt.Fprintf(t, "ok\tconfiguration\t%s\n", where)
	for _, warning := range settings.Warnings {
		fmt.Fprintf(t, "note\tconfiguration\t%s\n", warning)
	}
	failed := 0
	for _, result := range check.All(ctx, settings, checkTimeout) {
		mark, text := "ok", result.Text
		if result.Err != nil {
			failed++
			mark, text = "FAILED", oneLine(result.Err)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", mark, result.What, text)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if failed > 0 {
		return fmt.Errorf("%d of the things that the configuration names do not work", failed)
	}
	return nil
}
