package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"offpath/cmd/lab/internal/labelled"
	"offpath/cmd/lab/internal/traffic"
	"offpath/cmd/lab/internal/trials"
)

var errMissed = errors.New("what had to be reached was missed")

// runDetect is the detection benchmark.
func runDetect(ctx context.Context, args []string) error {
	var o trials.Options
	flags := flag.NewFlagSet("lab detect", flag.ContinueOnError)
	names := flags.String("scenario", "", "`names` of scenarios, with commas between (default: all but the long ones)")
	seeds := flags.Int("seeds", 10, "`number` of seeds, from 1 on")
	seed := flags.Uint64("seed", 0, "this `seed` alone")
	write := flags.String("write", "", "write the scenarios' transactions and labels into this `folder` and judge nothing")
	packets := flags.Bool("packets", false, "with --write: packets instead of transactions")
	proxies := flags.String("trusted-proxies", "", "`networks` whose forwarding headers are believed in captures of packets, with commas between")
	asJSON := flags.Bool("json", false, "print every trial as a line of JSON")
	flags.BoolVar(&o.Enforced, "enforced", false, "refuse what verdicts match, as load balancers would")
	flags.BoolVar(&o.Rivals, "rivals", false, "judge re-built rivals on the same traffic: a leaky bucket, thresholds, a sequential test")
	flags.IntVar(&o.Parallel, "parallel", 0, "`number` of trials side by side (default: one for each core)")
	verbose := flags.Bool("v", false, "say how each trial went, with the first verdicts' messages")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 1 {
		return fmt.Errorf("%w: one folder of labelled captures, not also %q", errUsage, flags.Arg(1))
	}
	if o.Rivals && o.Enforced {
		return fmt.Errorf("%w: what one detector enforces another would see: not --rivals with --enforced", errUsage)
	}
	scenarios, err := chosen(*names)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	var numbers []uint64
	for i := range *seeds {
		numbers = append(numbers, uint64(i+1))
	}
	if *seed != 0 {
		numbers = []uint64{*seed}
	}
	if *write != "" {
		return writeScenarios(ctx, *write, *packets, scenarios, numbers)
	}
	list := trials.Scenarios(scenarios, numbers)
	if dir := flags.Arg(0); dir != "" {
		trusted, err := networks(*proxies)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if list, err = trials.Captures(dir, trusted); err != nil {
			return err
		}
	}
	o.Done = func(t trials.Trial) {
		fmt.Fprintf(os.Stderr, "%s: %d transactions of %.1f h in %.1f s; %s\n",
			t.Name(), t.Result.Transactions, t.Result.Hours, t.Seconds, strings.Join(t.Notes, "; "))
		if *verbose {
			for _, m := range t.Result.Messages {
				fmt.Fprintln(os.Stderr, "    ", m)
			}
		}
	}
	if err := trials.Run(ctx, list, o); err != nil {
		return err
	}
	if *asJSON {
		return trials.WriteJSON(os.Stdout, list)
	}
	met, err := trials.Write(os.Stdout, list)
	if err == nil && !met {
		err = errMissed
	}
	return err
}

// chosen finds the scenarios of a list of names; without one all but the long.
func chosen(names string) ([]traffic.Scenario, error) {
	if names == "" {
		return slices.DeleteFunc(traffic.Scenarios(), func(s traffic.Scenario) bool { return s.Long }), nil
	}
	return traffic.Select(strings.Split(names, ","))
}

func networks(text string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, one := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' }) {
		p, err := netip.ParsePrefix(one)
		if err != nil {
			return nil, fmt.Errorf("trusted proxies: %w", err)
		}
		list = append(list, p)
	}
	return list, nil
}

func writeScenarios(ctx context.Context, dir string, packets bool, scenarios []traffic.Scenario, seeds []uint64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, s := range scenarios {
		for _, seed := range seeds {
			name := fmt.Sprintf("%s-seed-%d", s.Name, seed)
			run := s.Open(seed)
			var n int
			var err error
			if packets {
				n, err = labelled.WritePackets(ctx, dir, name, run)
			} else {
				n, err = labelled.WriteLines(dir, name, run)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s: %d transactions; trusted proxies %v\n", name, n, run.Proxies())
		}
	}
	return nil
}
