package explain

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"offpath/cmd/offpath/internal/api"
	"offpath/detect"
	"offpath/detect/jsonl"
	"offpath/detect/plain"
	"offpath/reassembly"
	transactions "offpath/reassembly/jsonl"
)

// maxListed is how many verdicts and entries of the audit are written out.
const maxListed = 20

// Write says for a person what an explanation holds. now decides what is over;
// it is the wall clock of a running offpath, and 0 for files, where it depends
// on when one asks.
func Write(w io.Writer, e *api.Explanation, now int64) error {
	p := &page{now: now}
	if e.Kind == "verdict" {
		if err := p.verdict(e); err != nil {
			return err
		}
	}
	for _, line := range e.Findings {
		f, err := jsonl.ParseFinding(line)
		if err != nil {
			return fmt.Errorf("read the line of a finding: %w", err)
		}
		p.finding(f, e.Transactions)
	}
	if e.Kind == "finding" {
		if err := p.decided(e); err != nil {
			return err
		}
	}
	_, err := w.Write(p.b.Bytes())
	return err
}

// page is a text that grows.
type page struct {
	b   bytes.Buffer
	now int64
}

func (p *page) linef(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// item is a line under a name of the left column.
func (p *page) item(name, format string, args ...any) {
	p.linef("  %-9s "+format, append([]any{name}, args...)...)
}

// table writes rows of cells with tabs between.
func (p *page) table(rows []string) {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, row)
	}
	t.Flush()
	for line := range strings.Lines(b.String()) {
		p.linef("%s", strings.TrimRight(line, " \n"))
	}
}

func (p *page) verdict(e *api.Explanation) error {
	v, err := jsonl.ParseVerdict(e.Verdict)
	if err != nil {
		return fmt.Errorf("read the line of the verdict: %w", err)
	}
	p.linef("Verdict %s", v.ID)
	p.linef("  %s\n", printed(v.Message))
	p.item("What", "%s", plain.Action(v))
	p.item("Whom", "%s", printed(plain.Subject(v.Subject)))
	var rows []string
	for _, m := range plain.Members(v.Subject) {
		rows = append(rows, fmt.Sprintf("            %s\t%s\t%s", m.Name, printed(m.Value), m.Meaning))
	}
	p.table(rows)
	p.when(e, v)
	if v.Mode == detect.ModeMonitor {
		p.item("Mode", "monitor: nothing is done, load balancers only count")
	} else {
		p.item("Mode", "%s", v.Mode)
	}
	p.item("By", "%s", by(e, v))
	x := v.Expected
	p.item("Price", "of a million legitimate requests it is expected to hit %s", amount(x.LegitimateRequestsPerMillion))
	if x.AttackRequestsPerMinute > 0 {
		p.item("Effect", "it is expected to stop %s attack requests a minute", amount(x.AttackRequestsPerMinute))
	}
	if missing := len(v.Findings) - len(e.Findings); missing > 0 && v.Action != detect.ActionLift {
		p.item("Why", "%s behind it no longer kept: %s", plain.Count(missing, "finding is", "findings are"), missed(e, v))
	}
	p.enforced(e)
	p.undo(e, v)
	return nil
}

// undo says how to end a verdict.
func (p *page) undo(e *api.Explanation, v *detect.Verdict) {
	switch {
	case e.Live && e.Active == nil || v.Action == detect.ActionLift:
		p.linef("\nTo undo: nothing, it is no longer in force.")
	case v.Subject.Client.IsValid():
		p.linef("\nTo undo: offpath lift %s; a network in client.allow is never acted against again.", v.ID)
	default:
		p.linef("\nTo undo: offpath lift %s", v.ID)
	}
}

// when says since when a verdict holds, and until when.
func (p *page) when(e *api.Explanation, v *detect.Verdict) {
	decided := clock(v.Time)
	if t, err := time.Parse(time.RFC3339Nano, e.Decided); err == nil {
		decided = clock(t.UnixNano())
	}
	if e.Lines > 1 && v.Action != detect.ActionLift {
		decided += fmt.Sprintf("; renewed or changed %s, last %s", plain.Times(e.Lines-1), clock(v.Time))
	}
	p.item("Decided", "%s", decided)
	if v.Action == detect.ActionLift {
		p.item("Lifted", "%s", clock(v.Time))
		return
	}
	state := ""
	switch {
	case e.Live && e.Active == nil && p.now < v.Expires:
		state = " (but it is not in force: see below)"
	case e.Live && e.Active == nil:
		state = " (it is over)"
	case e.Live:
		state = " (it is in force)"
	}
	p.item("Until", "%s%s", clock(v.Expires), state)
}

// by says who decided.
func by(e *api.Explanation, v *detect.Verdict) string {
	switch {
	case e.Active != nil && e.Active.Who != "":
		return printed(e.Active.Who)
	case v.Policy != "":
		return "detection, by the policy " + printed(v.Policy)
	case len(v.Findings) > 0:
		return "detection"
	}
	return "an operator"
}

// missed names the findings of a verdict that were not found.
func missed(e *api.Explanation, v *detect.Verdict) string {
	var list []string
	for _, id := range v.Findings {
		known := false
		for _, line := range e.Findings {
			known = known || bytes.Contains(line, []byte(id))
		}
		if !known {
			list = append(list, printed(id))
		}
	}
	return strings.Join(list, ", ")
}

// states are those of a verdict at a load balancer, in words.
var states = map[string]string{
	"pending": "not there yet", "in_force": "in force", "shadowed": "another entry holds its place",
	"unsupported": "not possible there", "rejected": "refused by it",
}

// seen are the states on the wire, in words.
var seen = map[string]string{
	"unseen": "nothing of its kind was seen since", "refused": "its requests are refused",
	"answered": "its requests are still answered", "gone": "its requests have ceased",
}

// enforced says what became of a verdict, as far as that is known.
func (p *page) enforced(e *api.Explanation) {
	if e.Active != nil && len(e.Active.Targets) > 0 {
		p.linef("\nAt the load balancers")
		var rows []string
		for _, t := range e.Active.Targets {
			row := fmt.Sprintf("  %s\t%s\t%d refused, %d let through", printed(t.Target), cmp.Or(states[t.State], t.State), t.Refused, t.Passed)
			if t.Detail != "" {
				row += "\t" + printed(t.Detail)
			}
			rows = append(rows, row)
		}
		p.table(rows)
	}
	if e.Active != nil && e.Active.Enforcement != nil {
		w := e.Active.Enforcement
		p.linef("\nOn the wire: %s", cmp.Or(seen[w.State], w.State))
		p.linef("  %d refused%s, %d answered%s", w.Refused, since(w.LastRefused), w.Answered, since(w.LastAnswered))
	}
	if len(e.Audit) == 0 {
		return
	}
	p.linef("\nWhat was done")
	var rows []string
	skipped := len(e.Audit) - maxListed
	for i, a := range e.Audit {
		if i > 0 && i <= skipped { // the first says how it began
			if i == 1 {
				rows = append(rows, fmt.Sprintf("  … %d more", skipped))
			}
			continue
		}
		rows = append(rows, fmt.Sprintf("  %s\t%s\t%s\t%s\t%s", clock(a.Time.UnixNano()), printed(a.What), printed(a.Who), printed(a.Target), printed(a.Detail)))
	}
	p.table(rows)
}

func since(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " (last " + clock(t.UnixNano()) + ")"
}

func (p *page) finding(f *detect.Finding, known []json.RawMessage) {
	if p.b.Len() > 0 {
		p.linef("")
	}
	p.linef("Finding %s", f.ID)
	p.linef("  %s\n", printed(f.Message))
	p.item("Seen", "%s to %s", clock(f.WindowStart), clock(f.WindowEnd))
	p.item("About", "%s", printed(plain.Subject(f.Subject)))
	p.item("Rule", "%s", printed(f.Rule))
	if f.Technique != "" {
		p.item("Threat", "%s", printed(f.Technique))
	}
	p.item("Severity", "%d of 100", f.Severity)
	if c := f.Campaign; c != nil {
		p.item("Campaign", "%s; %s; since it was noticed %s from %s; the password of %s was right", printed(c.State),
			plain.Count(c.Attempts, "attempt", "attempts"), plain.Count(c.Accounts, "account", "accounts"),
			plain.Count(c.Addresses, "address", "addresses"), plain.Count(c.AccountsHit, "account", "accounts"))
	}
	p.linef("\n  What was compared")
	for _, line := range plain.Numbers(f) {
		p.linef("    %s", line)
	}
	if terms := plain.Terms(f); len(terms) > 0 {
		p.linef("\n  What it adds up from (odds, the weightiest first)")
		var rows []string
		for _, t := range terms {
			rows = append(rows, fmt.Sprintf("    %+.2f\t%s\t%s\t%s", t.Value, odds(t.Value), printed(t.Name), t.Meaning))
		}
		p.table(rows)
	}
	p.examples(f.Evidence.Events, known)
}

// odds says what an addend does to the odds of an attack.
func odds(log float64) string {
	switch {
	case log > 0.05:
		return "× " + plain.Ratio(log)
	case log < -0.05:
		return "÷ " + plain.Ratio(-log)
	}
	return "no matter"
}

// examples lists the transactions that a finding names, by id, and what is
// known of them.
func (p *page) examples(ids []string, known []json.RawMessage) {
	if len(ids) == 0 {
		return
	}
	byID := map[string]*reassembly.Transaction{}
	for _, line := range known {
		r := transactions.NewReader(bytes.NewReader(line))
		if r.Next() {
			byID[r.Transaction().ID] = r.Transaction()
		}
	}
	p.linef("\n  Transactions, for example")
	var rows []string
	for _, id := range ids {
		tx := byID[id]
		if tx == nil {
			rows = append(rows, "    "+printed(id))
			continue
		}
		rows = append(rows, fmt.Sprintf("    %s\t%s\t%s\t%s\t%s", printed(id), clock(tx.Start), tx.Client, printed(name(tx)), answer(tx)))
	}
	p.table(rows)
}

// name is a transaction's endpoint, or what was asked for where that is not
// known.
func name(tx *reassembly.Transaction) string {
	if tx.Annotation.Endpoint != "" {
		return tx.Annotation.Endpoint
	}
	return tx.Request.Method + " " + tx.Request.Domain + tx.Request.Path
}

// answer is how a transaction ended.
func answer(tx *reassembly.Transaction) string {
	text := "no answer seen"
	if tx.Response.Status != 0 {
		text = strconv.Itoa(tx.Response.Status)
	}
	if tx.Annotation.Outcome != "" {
		text += " " + printed(tx.Annotation.Outcome)
	}
	return text
}

// decided lists the verdicts that a finding is behind.
func (p *page) decided(e *api.Explanation) error {
	if len(e.Verdicts) == 0 {
		p.linef("\n  No verdict was decided for it.")
		return nil
	}
	p.linef("\n  Verdicts decided for it: %d", len(e.Verdicts)+e.More)
	var rows []string
	for i, line := range e.Verdicts {
		if i == maxListed {
			break
		}
		v, err := jsonl.ParseVerdict(line)
		if err != nil {
			return fmt.Errorf("read the line of a verdict: %w", err)
		}
		rows = append(rows, fmt.Sprintf("    %s\t%s\t%s\tuntil %s", printed(v.ID), v.Action, printed(plain.Subject(v.Subject)), clock(v.Expires)))
	}
	p.table(rows)
	if rest := len(e.Verdicts) + e.More - maxListed; rest > 0 {
		p.linef("    … and %d more", rest)
	}
	return nil
}

func clock(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05.000") }

// amount is a number of requests, to two digits.
func amount(v float64) string {
	if v == 0 {
		return "none"
	}
	return "about " + plain.Round(v)
}

// printed is a text on one line of a terminal, whatever it holds.
func printed(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '·'
		}
		return r
	}, text)
}
