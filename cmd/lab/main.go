// Command lab is offpath's laboratory: a small Internet of network namespaces
// with a bank, its customers, its attackers, a mirror port and a real load balancer,
// in which the real offpath has to stop the attack.
//
//	go run ./cmd/lab [--tap front|back|both] [--minutes N | --seconds N] [--short]
//	                 [--mode enforce|monitor] [--silent] [--lb haproxy|nginx|envoy] [--offpath PATH] [--record FILE]
//	go run ./cmd/lab bench [--offpath PATH]
//	go run ./cmd/lab detect [--scenario LIST] [--seeds N | --seed S] [--rivals | --enforced] [--json] [-v]
//	                        [--write FOLDER [--packets] | [--trusted-proxies LIST] FOLDER]
//
// It prints what happens while it happens and ends with a table. The exit
// status is 0 only if the acceptance printed below the table holds, 1 if not
// or if the run failed, 2 for wrong usage. Everything it started is gone
// afterwards, however it ended. No packet leaves its namespaces.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"offpath/cmd/lab/internal/balancer"
	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/bench"
	"offpath/cmd/lab/internal/internet"
	"offpath/cmd/lab/internal/lease"
	"offpath/cmd/lab/internal/plain"
	"offpath/cmd/lab/internal/scenario"
)

// errUsage says that the command line is wrong.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := command(ctx, os.Args[1:])
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "lab: interrupted; everything is taken down")
	default:
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	stop()
	if errors.Is(err, errUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}

// command runs the laboratory, or one of the parts that it starts as
// processes of their own.
func command(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "bank":
			return runBank(ctx, args[1:])
		case "janitor":
			return runJanitor(args[1:])
		case "bench":
			return runBench(args[1:])
		case "plain":
			return runPlain(args[1:])
		case "detect":
			return runDetect(ctx, args[1:])
		}
	}
	return runLab(ctx, args)
}

func runLab(ctx context.Context, args []string) error {
	var o scenario.Options
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	flags.StringVar(&o.Balancer, "lb", balancer.Kinds()[0], "the load `balancer`: "+strings.Join(balancer.Kinds(), " or "))
	tap := flags.String("tap", "front", "where the mirror listens: `front`, back or both sides of the load balancer")
	minutes := flags.Int("minutes", 0, "length of the run, `minutes`")
	seconds := flags.Int("seconds", 0, "length of the run, `seconds`")
	flags.StringVar(&o.Mode, "mode", "enforce", "offpath's `mode`: enforce or monitor")
	flags.BoolVar(&o.Silent, "silent", false, "the load balancer takes verdicts and enforces none: offpath has to raise the alarm")
	flags.StringVar(&o.Offpath, "offpath", "", "`path` of the offpath binary (default: built from this module)")
	flags.StringVar(&o.Record, "record", "", "record the frames to this pcapng `file` and replay it at the end")
	flags.BoolVar(&o.Short, "short", false, "a faster run, as the tests use it")
	flags.SetOutput(io.Discard) // what is wrong is said in one line
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(os.Stdout)
		flags.Usage()
		return err
	} else if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: %q is no flag", errUsage, flags.Arg(0))
	}
	o.Tap = internet.Placement(*tap)
	o.Length = time.Duration(*minutes)*time.Minute + time.Duration(*seconds)*time.Second
	if o.Record != "" {
		path, err := filepath.Abs(o.Record)
		if err != nil {
			return err
		}
		o.Record = path
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the laboratory's own binary: %w", err)
	}
	o.Self, o.Bank, o.Janitor = self, []string{"bank"}, []string{"janitor"}
	if err := o.Validate(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return scenario.Run(ctx, o, os.Stdout)
}

func runBench(args []string) error {
	flags := flag.NewFlagSet("lab bench", flag.ContinueOnError)
	offpath := flags.String("offpath", ".bin/offpath", "`path` of the offpath binary")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the laboratory's own binary: %w", err)
	}
	return bench.Run(bench.Options{Offpath: *offpath, Plain: []string{self, "plain"}}, os.Stdout)
}

// runPlain is a process that bench measures.
func runPlain(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%w: plain takes a pcap file", errUsage)
	}
	m, err := plain.Read(args[0])
	if err != nil {
		return err
	}
	fmt.Printf("%d requests, %d responses\n", m.Requests, m.Responses)
	return nil
}

func runBank(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("lab bank", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8080", "`address` of the bank")
	books := flags.String("books", "", "unix `socket` that shows the bank's books")
	customers := flags.Int("customers", 1000, "`number` of customers")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return bank.Serve(ctx, bank.Directory{Customers: *customers}, *listen, *books)
}

func runJanitor(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%w: janitor takes the process id of a run", errUsage)
	}
	// What interrupts the run must not interrupt its tidying up.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return lease.Janitor(args[0])
}
