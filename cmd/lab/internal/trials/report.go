package trials

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"offpath/cmd/lab/internal/judge"
	"offpath/cmd/lab/internal/traffic"
)

// WriteJSON writes every trial as a line.
func WriteJSON(w io.Writer, list []Trial) error {
	e := json.NewEncoder(w)
	for i := range list {
		if err := e.Encode(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// column is a number of the table.
type column struct {
	head  string
	value func(*judge.Result) float64
	text  func(float64) string
	high  bool // the highest is the worst
	some  bool // seeds where there is no such thing do not count
}

var columns = []column{
	{"detected s", func(r *judge.Result) float64 { return r.DetectSeconds }, seconds, true, false},
	{"tries", func(r *judge.Result) float64 { return float64(r.DetectTries) }, whole, true, false},
	{"verdict s", func(r *judge.Result) float64 { return r.VerdictSeconds }, seconds, true, false},
	{"detection %", func(r *judge.Result) float64 { return r.Detected }, percent, false, false},
	{"legit. /M", func(r *judge.Result) float64 { return r.Attributed }, whole, true, false},
	{"enforcement %", func(r *judge.Result) float64 { return r.Enforced }, percent, false, false},
	{"after %", func(r *judge.Result) float64 { return r.EnforcedAfter }, percent, false, false},
	{"requests hit /M", func(r *judge.Result) float64 { return r.RequestsHit }, whole, true, false},
	{"logins hit /M", func(r *judge.Result) float64 { return r.LoginsHit }, whole, true, false},
	{"named %", func(r *judge.Result) float64 { return r.HitsNamed }, percent, false, true},
	{"transfers stopped %", func(r *judge.Result) float64 { return r.Stopped }, percent, false, true},
	{"held wrongly", func(r *judge.Result) float64 { return float64(r.HeldWrong) }, whole, true, false},
	{"campaigns", func(r *judge.Result) float64 { return float64(r.Campaigns) }, whole, true, false},
	{"false", func(r *judge.Result) float64 { return float64(r.False) }, whole, true, false},
	{"alarms", func(r *judge.Result) float64 { return float64(r.Alarms) }, whole, true, false},
	{"outcome %", func(r *judge.Result) float64 { return min(r.OutcomeRight, r.OutcomeTold*r.OutcomeRight) }, percent, false, false},
	{"MB/M", func(r *judge.Result) float64 { return r.MBPerMillion }, whole, true, false},
	{"ns/tx", func(r *judge.Result) float64 { return r.Nanoseconds }, whole, true, false},
}

func seconds(v float64) string {
	if v < 0 {
		return "never"
	}
	return fmt.Sprintf("%.1f", v)
}

func percent(v float64) string {
	if v < 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", 100*v)
}

func whole(v float64) string {
	if v < 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", v)
}

// worst is the worst value of a column over trials.
func (c *column) worst(list []judge.Result) float64 {
	worst := c.value(&list[0])
	for i := range list {
		v := c.value(&list[i])
		switch {
		case c.some && v < 0:
		case c.some && worst < 0:
			worst = v
		case worst < 0:
		case v < 0, c.high && v > worst, !c.high && v < worst:
			worst = v
		}
	}
	return worst
}

func (c *column) median(list []judge.Result) float64 {
	var values []float64
	for i := range list {
		if v := c.value(&list[i]); v >= 0 || !c.some {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return -1
	}
	slices.SortFunc(values, cmp.Compare)
	return values[len(values)/2]
}

// Write prints the table, each number the worst of its seeds, and below it what
// had to be reached. It reports whether all of that was.
func Write(w io.Writer, list []Trial) (met bool, err error) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "scenario\tseeds\t")
	for i := range columns {
		fmt.Fprint(t, columns[i].head, "\t")
	}
	fmt.Fprintln(t)
	row := func(name string, seeds int, value func(*column) float64) {
		fmt.Fprintf(t, "%s\t%d\t", name, seeds)
		for i := range columns {
			fmt.Fprint(t, columns[i].text(value(&columns[i])), "\t")
		}
		fmt.Fprintln(t)
	}
	for _, name := range namesOf(list) {
		of := trialsOf(list, name)
		all := [][]judge.Result{nil}
		for i := range of {
			all[0] = append(all[0], of[i].Result)
			for k := range of[i].Rivals {
				if len(all) == k+1 {
					all = append(all, nil)
				}
				all[k+1] = append(all[k+1], of[i].Rivals[k].Result)
			}
		}
		row(name+" worst", len(of), func(c *column) float64 { return c.worst(all[0]) })
		row("median", len(of), func(c *column) float64 { return c.median(all[0]) })
		for k, results := range all[1:] {
			row(of[0].Rivals[k].Name+" worst", len(of), func(c *column) float64 { return c.worst(results) })
		}
	}
	if err := t.Flush(); err != nil {
		return false, err
	}
	var b strings.Builder
	met = acceptance(&b, list)
	_, err = io.WriteString(w, b.String())
	return met, err
}

// namesOf lists the scenarios of trials, in their order.
func namesOf(list []Trial) []string {
	var names []string
	for i := range list {
		if name := list[i].Scenario; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func trialsOf(list []Trial, scenario string) []Trial {
	var of []Trial
	for _, t := range list {
		if t.Scenario == scenario {
			of = append(of, t)
		}
	}
	return of
}

func acceptance(b *strings.Builder, list []Trial) bool {
	all := true
	for _, name := range namesOf(list) {
		of := trialsOf(list, name)
		known, err := traffic.Select([]string{name})
		if err != nil || of[0].Seed == 0 { // a capture
			continue
		}
		fmt.Fprintf(b, "\n%s: %s\n", name, known[0].About)
		for _, l := range lines[name] {
			var with []Trial // what the line is about
			for _, t := range of {
				if !l.some || l.value(&t.Result) >= 0 {
					with = append(with, t)
				}
			}
			if len(with) == 0 {
				continue
			}
			worst, missed := 0, 0
			for i := range with {
				v := l.value(&with[i].Result)
				if l.worse(v, l.value(&with[worst].Result)) {
					worst = i
				}
				if !l.met(v) {
					missed++
				}
			}
			v, mark := l.value(&with[worst].Result), "met   "
			if missed > 0 {
				all, mark = false, "MISSED"
			}
			text := fmt.Sprintf("%.4g", v)
			if v < 0 {
				text = "never"
			}
			fmt.Fprintf(b, "  %s %s: worst %s with seed %d (%s)", mark, &l, text, with[worst].Seed, strings.Join(with[worst].Notes, "; "))
			if missed > 0 {
				fmt.Fprintf(b, "; missed by %d of %d seeds", missed, len(with))
			}
			b.WriteByte('\n')
		}
	}
	return all
}
