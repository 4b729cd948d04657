package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/logging"
	"offpath/cmd/offpath/internal/service"
)

const runDetail = `
Listens on capture.interfaces and runs until SIGTERM or SIGINT, which end it in
good order; a second one ends it at once. SIGHUP reads the configuration again
and opens output files anew. It is ready when it logs "ready" and /readyz
answers 200.
`

const sensorDetail = `
Like "offpath run", but transactions go to the Kafka topic
stream.transactions_topic, where "offpath detect" takes them from.
`

const detectDetail = `
Like "offpath run", but transactions come from the Kafka topic
stream.transactions_topic; verdicts go to stream.verdicts_topic as well as to
the load balancers.
`

// runService is the command that runs one of the services until it is told to
// stop.
func runService(serve func(context.Context, service.Options) error) func(context.Context, Streams, *command, []string) error {
	return func(ctx context.Context, std Streams, c *command, args []string) error {
		f := newFlags(c, std)
		path := f.configFlag()
		if err := f.parseNone(args); err != nil {
			return err
		}
		load := func() (*config.Config, error) { return config.Load(*path, os.Environ()) }
		settings, err := load()
		if err != nil {
			return err
		}
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP)
		defer signal.Stop(reload)
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop) // a second signal ends the process at once
		build := buildVersion()
		return serve(ctx, service.Options{
			Config:  settings,
			Load:    load,
			Reload:  reload,
			Log:     logging.New(std.Err, settings.Log),
			Version: build.version,
			Commit:  build.commit,
		})
	}
}
