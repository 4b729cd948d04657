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

// runs is how often each program is measured, in turn with the others, after
// one run that is not counted. Medians are printed.
const runs = 5

// program is one command that reads the capture.
type program struct {
	name string
	argv func(dir string) []string // dir is an empty folder for what it writes
	does string
}

// figures are of one whole process.
type figures struct {
	cpu  time.Duration // user and system
	wall time.Duration
	rss  int64 // peak, octets
}

// Run makes the capture in a temporary folder, measures replay and its peers
// on it, and prints a table to w.
func Run(offpath string, w io.Writer) error {
	dir, err := os.MkdirTemp("", "offpath-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "api.pcap")
	transactions, err := WriteFile(file, API)
	if err != nil {
		return fmt.Errorf("write the capture: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d transactions, %d connections open at a time, %d transactions each; %.1f MB of pcap; median of %d runs\n\n",
		transactions, API.Connections, API.PerConnection, float64(info.Size())/1e6, runs)

	programs := []program{
		{"offpath replay --workers 1 --findings F --verdicts F", func(dir string) []string {
			return []string{offpath, "replay", "--workers", "1", "--findings", dir + "/f", "--verdicts", dir + "/v", file}
		}, "detection alone"},
		{"offpath replay --workers 1 --transactions F", func(dir string) []string {
			return []string{offpath, "replay", "--workers", "1", "--transactions", dir + "/t", file}
		}, "every transaction as JSON"},
		{"offpath replay --workers 2 --transactions F", func(dir string) []string {
			return []string{offpath, "replay", "--workers", "2", "--transactions", dir + "/t", file}
		}, "the same, two workers"},
		{"httpry -r F -o F", func(dir string) []string {
			return []string{"httpry", "-r", file, "-o", dir + "/t"}
		}, "first line of segments, no reassembly"},
		{"tcpflow -r F -o D", func(dir string) []string {
			return []string{"tcpflow", "-r", file, "-o", dir + "/flows"}
		}, "streams to files, no HTTP"},
	}
	measured := make([][]figures, len(programs))
	for run := range runs + 1 {
		for i, p := range programs {
			f, err := measure(p, dir)
			if err != nil {
				return err
			}
			if run > 0 {
				measured[i] = append(measured[i], f)
			}
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "program\tCPU s\twall s\tGbit/s per core\ttransactions/s per core\tpeak MiB\twhat it does")
	for i, p := range programs {
		cpu := median(measured[i], func(f figures) float64 { return f.cpu.Seconds() })
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%s\n", p.name, cpu,
			median(measured[i], func(f figures) float64 { return f.wall.Seconds() }),
			float64(info.Size())*8/1e9/cpu, float64(transactions)/cpu,
			median(measured[i], func(f figures) float64 { return float64(f.rss) / (1 << 20) }), p.does)
	}
	return table.Flush()
}

func measure(p program, dir string) (figures, error) {
	out, err := os.MkdirTemp(dir, "out-")
	if err != nil {
		return figures{}, err
	}
	defer os.RemoveAll(out)
	argv := p.argv(out)
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
	slices.Sort(values)
	return values[len(values)/2]
}
