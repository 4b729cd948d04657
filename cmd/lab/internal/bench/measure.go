package bench

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

// How often each program is measured, in turn with the others, after one run that is
// not counted. Medians are printed. Machines have slow phases, so ratios are the
// medians of those within each turn.
const (
	runs     = 11
	slowRuns = 3 // of programs that take minutes
)

// Options say what is measured.
type Options struct {
	Offpath string   // path of its binary
	Plain   []string // command that runs package plain on the file named after it
}

// input is a generated capture.
type input struct {
	name, about string
	shape       Shape

	path         string
	octets       int64
	transactions int
}

// program is one command that reads the capture.
type program struct {
	name string
	argv func(file, dir string) []string // dir is an empty folder for what it writes
	does string
	slow bool
}

// figures are of one whole process.
type figures struct {
	cpu  time.Duration // user and system
	wall time.Duration
	rss  int64 // peak, octets
}

// reference is the name of the program that ratios are to.
const reference = "httpry"

// Places of offpath with one and with two workers among the programs.
const (
	oneWorker = iota
	twoWorkers
)

func programs(o Options) []program {
	replay := func(workers string, flags func(dir string) []string) func(string, string) []string {
		return func(file, dir string) []string {
			return append(append([]string{o.Offpath, "replay", "--workers", workers}, flags(dir)...), file)
		}
	}
	none := func(string) []string { return nil }
	return []program{
		oneWorker:  {name: "offpath, 1 worker", argv: replay("1", none), does: "everything; prints a report"},
		twoWorkers: {name: "offpath, 2 workers", argv: replay("2", none), does: "the same"},
		{name: "offpath, 1 worker, --findings --verdicts", argv: replay("1", func(dir string) []string {
			return []string{"--findings", dir + "/f", "--verdicts", dir + "/v"}
		}), does: "everything; writes what detection decides"},
		{name: "offpath, 1 worker, --transactions", argv: replay("1", func(dir string) []string {
			return []string{"--transactions", dir + "/t"}
		}), does: "everything; writes every transaction as JSON"},
		{name: reference, argv: func(file, dir string) []string {
			return []string{"httpry", "-r", file, "-o", dir + "/t"}
		}, does: "first line of segments, no reassembly"},
		{name: "tcpflow", argv: func(file, dir string) []string {
			return []string{"tcpflow", "-r", file, "-o", dir + "/flows"}
		}, does: "streams to files, no HTTP", slow: true},
		{name: "gopacket reassembly + net/http", argv: func(file, _ string) []string {
			return append(slices.Clone(o.Plain), file)
		}, does: "messages, read and counted"},
	}
}

// Run makes the captures in a temporary folder, measures replay and its peers
// on each, and prints a table for each to w.
func Run(o Options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "offpath-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, c := range []input{
		{name: "api", about: "small API calls on kept-alive connections", shape: API},
		{name: "pages", about: "bodies of 1 to 20 KB", shape: Pages},
		{name: "short", about: "connections of one transaction", shape: Short},
	} {
		if err := c.generate(dir); err != nil {
			return fmt.Errorf("write the capture %s: %w", c.name, err)
		}
		if err := c.compare(o, dir, w); err != nil {
			return err
		}
		if err := os.Remove(c.path); err != nil {
			return err
		}
	}
	return nil
}

func (c *input) generate(dir string) error {
	c.path = filepath.Join(dir, c.name+".pcap")
	var err error
	if c.transactions, err = WriteFile(c.path, c.shape); err != nil {
		return err
	}
	info, err := os.Stat(c.path)
	if err != nil {
		return err
	}
	c.octets = info.Size()
	return nil
}

// compare measures all programs on the capture and prints the table.
func (c *input) compare(o Options, dir string, w io.Writer) error {
	list := programs(o)
	measured := make([][]figures, len(list))
	for run := range runs + 1 {
		for i, p := range list {
			if p.slow && run > slowRuns {
				continue
			}
			f, err := measure(p, c.path, dir)
			if err != nil {
				return err
			}
			if run > 0 {
				measured[i] = append(measured[i], f)
			}
		}
	}
	cpu := func(f figures) float64 { return f.cpu.Seconds() }
	wall := func(f figures) float64 { return f.wall.Seconds() }
	to := slices.IndexFunc(list, func(p program) bool { return p.name == reference })

	fmt.Fprintf(w, "%s: %s; %d transactions, %.1f MB of pcap; medians of %d runs\n\n",
		c.name, c.about, c.transactions, float64(c.octets)/1e6, runs)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "program\tCPU s\tof %s's\twall s\tGbit/s per core\ttransactions/s per core\tpeak MiB\twhat it does\n", reference)
	for i, p := range list {
		used := median(measured[i], cpu)
		fmt.Fprintf(table, "%s\t%.2f\t1/%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%s\n", p.name, used, ratio(measured[to], measured[i], cpu),
			median(measured[i], wall), float64(c.octets)*8/1e9/used, float64(c.transactions)/used,
			median(measured[i], func(f figures) float64 { return float64(f.rss) / (1 << 20) }), p.does)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\ntwo workers take 1/%.2f of the time of one\n\n",
		ratio(measured[oneWorker], measured[twoWorkers], wall))
	return err
}

func measure(p program, file, dir string) (figures, error) {
	out, err := os.MkdirTemp(dir, "out-")
	if err != nil {
		return figures{}, err
	}
	defer os.RemoveAll(out)
	argv := p.argv(file, out)
	cmd := exec.Command(argv[0], argv[1:]...)
	start := time.Now()
	text, err := cmd.CombinedOutput()
	if err != nil {
		return figures{}, fmt.Errorf("%s: %w: %s", p.name, err, text)
	}
	return figures{
		wall: time.Since(start),
		cpu:  cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(),
		rss:  cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10,
	}, nil
}

func median(all []figures, of func(figures) float64) float64 {
	values := make([]float64, 0, len(all))
	for _, f := range all {
		values = append(values, of(f))
	}
	return middle(values)
}

// ratio is the median of what one program took in each turn to what another did.
func ratio(one, other []figures, of func(figures) float64) float64 {
	var values []float64
	for turn := range min(len(one), len(other)) {
		values = append(values, of(one[turn])/of(other[turn]))
	}
	return middle(values)
}

func middle(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
