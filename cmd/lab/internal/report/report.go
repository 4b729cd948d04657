// Package report prints what happens in the laboratory while it happens, and
// the table and the acceptance at the end.
package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Timeline prints lines with the time since its start. It is safe for
// concurrent use.
type Timeline struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

// NewTimeline starts the clock.
func NewTimeline(w io.Writer) *Timeline { return &Timeline{w: w, start: time.Now()} }

// Say prints a line.
func (t *Timeline) Say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// A terminal that has gone away is no reason to stop.
	fmt.Fprintf(t.w, "%6.1f s  %s\n", time.Since(t.start).Seconds(), fmt.Sprintf(format, args...))
}

// Table is rows of a name and a value, in blocks.
type Table struct{ rows [][2]string }

// Row adds a row.
func (t *Table) Row(name, format string, args ...any) {
	t.rows = append(t.rows, [2]string{name, fmt.Sprintf(format, args...)})
}

// Rule adds a line between blocks.
func (t *Table) Rule() { t.rows = append(t.rows, [2]string{}) }

// Write prints the table.
func (t *Table) Write(w io.Writer) {
	names, values := 0, 0
	for _, r := range t.rows {
		names, values = max(names, utf8.RuneCountInString(r[0])), max(values, utf8.RuneCountInString(r[1]))
	}
	rule := strings.Repeat("─", names+2) + "┼" + strings.Repeat("─", values+2)
	for _, r := range t.rows {
		if r == [2]string{} {
			fmt.Fprintln(w, rule)
			continue
		}
		fmt.Fprintf(w, " %s%s │ %s\n", r[0], strings.Repeat(" ", names-utf8.RuneCountInString(r[0])), r[1])
	}
}

// Check is one condition of the acceptance.
type Check struct {
	Name   string
	OK     bool
	Detail string // what was measured
}

// Checks are the acceptance.
type Checks []Check

// Add adds a condition.
func (c *Checks) Add(name string, ok bool, format string, args ...any) {
	*c = append(*c, Check{name, ok, fmt.Sprintf(format, args...)})
}

// OK reports whether all hold.
func (c Checks) OK() bool {
	for _, check := range c {
		if !check.OK {
			return false
		}
	}
	return true
}

// Write prints them.
func (c Checks) Write(w io.Writer) {
	for _, check := range c {
		mark := "ok    "
		if !check.OK {
			mark = "FAILED"
		}
		fmt.Fprintf(w, " %s  %s: %s\n", mark, check.Name, check.Detail)
	}
}
