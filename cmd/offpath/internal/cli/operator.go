package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"offpath/cmd/offpath/internal/api"
	"offpath/cmd/offpath/internal/config"
	"offpath/mitigate"
)

const offDetail = `
Every load balancer lets everything through at once, whatever verdicts it
holds; "offpath on" resumes. Off survives a restart of the load balancers.
`

// operate loads the configuration and gives the client of the running process.
func operate(c *command, path string) (*api.Client, error) {
	settings, err := config.Load(path, os.Environ())
	if err != nil {
		return nil, err
	}
	if err := settings.RequireSocket(c.name); err != nil {
		return nil, err
	}
	return api.NewClient(settings.Admin.Socket), nil
}

func runLift(ctx context.Context, std Streams, c *command, args []string) error {
	f := newFlags(c, std)
	path := f.configFlag()
	id, err := f.parseOne(args, "ID", "4f2a90c1d2e3b4a5")
	if err != nil {
		return err
	}
	if _, err := mitigate.ParseID(id); err != nil {
		return wrongUsage("%v; the id stands in event.id of the verdict", err)
	}
	client, err := operate(c, *path)
	if err != nil {
		return err
	}
	if err := client.Lift(ctx, id); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.Out, "verdict %s is lifted\n", id)
	return err
}

const approveDetail = `
A verdict waits for a person if it, or all together that are not about single
addresses, would hit more customers than mitigate.max_harm, if more new ones
come in a minute than mitigate.max_per_minute, or if its network is wider than
/24 or /48. What is not
approved ends by itself; "offpath lift ID" ends it at once.
`

func runApprove(ctx context.Context, std Streams, c *command, args []string) error {
	f := newFlags(c, std)
	path := f.configFlag()
	ids, err := f.parse(args)
	if err != nil {
		return err
	}
	if len(ids) > 1 {
		return wrongUsage("%d arguments; approve one ID at a time", len(ids))
	}
	if len(ids) == 1 {
		if _, err := mitigate.ParseID(ids[0]); err != nil {
			return wrongUsage("%v; the id stands in event.id of the verdict", err)
		}
	}
	client, err := operate(c, *path)
	if err != nil {
		return err
	}
	if len(ids) == 1 {
		if err := client.Approve(ctx, ids[0]); err != nil {
			return err
		}
		_, err = fmt.Fprintf(std.Out, "verdict %s is in force\n", ids[0])
		return err
	}
	list, err := client.Approvals(ctx)
	if err != nil {
		return err
	}
	for _, waiting := range list {
		if _, err := fmt.Fprintf(std.Out, "%s\n  waits since %s: %s\n", waiting.Verdict, waiting.Since.Format(time.RFC3339), waiting.Reason); err != nil {
			return err
		}
	}
	return nil
}

func runOff(ctx context.Context, std Streams, c *command, args []string) error {
	return runSwitch(ctx, std, c, args, (*api.Client).Off, "enforcement is off on every load balancer")
}

func runOn(ctx context.Context, std Streams, c *command, args []string) error {
	return runSwitch(ctx, std, c, args, (*api.Client).On, "enforcement is on again, in the configured mode")
}

func runSwitch(ctx context.Context, std Streams, c *command, args []string, order func(*api.Client, context.Context) error, done string) error {
	f := newFlags(c, std)
	path := f.configFlag()
	if err := f.parseNone(args); err != nil {
		return err
	}
	client, err := operate(c, *path)
	if err != nil {
		return err
	}
	if err := order(client, ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.Out, done)
	return err
}
