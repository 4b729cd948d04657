package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"offpath/cmd/lab/internal/traffic"
	"offpath/cmd/lab/internal/trials"
)

var errMissed = errors.New("what had to be reached was missed")

// runDetect is the detection benchmark.
func runDetect(ctx context.Context, args []string) error {
	var o trials.Options
	flags := flag.NewFlagSet("lab detect", flag.ContinueOnError)
	names := flags.String("scenario", "", "`names` of scenarios, with commas between (default: all)")
	seeds := flags.Int("seeds", 10, "`number` of seeds, from 1 on")
	seed := flags.Uint64("seed", 0, "this `seed` alone")
	asJSON := flags.Bool("json", false, "print every trial as a line of JSON")
	flags.BoolVar(&o.Enforced, "enforced", false, "refuse what verdicts match, as load balancers would")
	flags.IntVar(&o.Parallel, "parallel", 0, "`number` of trials side by side (default: one for each core)")
	verbose := flags.Bool("v", false, "say how each trial went, with the first verdicts' messages")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: %q is no flag", errUsage, flags.Arg(0))
	}
	o.Scenarios = slices.DeleteFunc(traffic.Scenarios(), func(s traffic.Scenario) bool { return s.Long })
	if *names != "" {
		var err error
		if o.Scenarios, err = traffic.Select(strings.Split(*names, ",")); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	for i := range *seeds {
		o.Seeds = append(o.Seeds, uint64(i+1))
	}
	if *seed != 0 {
		o.Seeds = []uint64{*seed}
	}
	o.Done = func(t trials.Trial) {
		fmt.Fprintf(os.Stderr, "%s seed %d: %d transactions of %.1f h in %.1f s; %s\n",
			t.Scenario, t.Seed, t.Result.Transactions, t.Result.Hours, t.Seconds, strings.Join(t.Notes, "; "))
		if *verbose {
			for _, m := range t.Result.Messages {
				fmt.Fprintln(os.Stderr, "    ", m)
			}
		}
	}
	list, err := trials.Run(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON {
		return trials.WriteJSON(os.Stdout, list)
	}
	met, err := trials.Write(os.Stdout, o.Scenarios, list)
	if err == nil && !met {
		err = errMissed
	}
	return err
}
