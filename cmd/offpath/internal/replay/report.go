package replay

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"offpath/detect"
	"offpath/detect/sitemap"
	"offpath/reassembly"
)

// Bounds of what a report remembers and shows.
const (
	maxRoutes   = 1 << 16 // distinct requests that are counted each for itself
	shownRoutes = 15
	maxDecided  = 1 << 16 // findings, and verdicts, that are remembered
	shownLines  = 40
	maxText     = 72 // runes of one value off the wire
)

// report gathers what a person wants to know of a replay. One goroutine fills
// it.
type report struct {
	requests, answered, refused, incomplete int
	first, last                             int64 // event time, ns
	statuses                                [6]int
	routes                                  map[origin]paths
	routeCount, otherRoutes                 int
	origin                                  origin // of the last request
	paths                                   paths  // of that
	logins                                  map[string]int
	gapBytes                                int64

	findings latest[detect.Finding]
	verdicts latest[detect.Verdict]
}

// origin is what requests are grouped by at first, as it seldom changes from one to the
// next; paths says of one how many there were of each path.
type (
	origin struct{ method, domain string }
	paths  map[string]*int
)

// route is how many requests there were of a kind.
type route struct {
	origin
	path string
	n    int
}

// compare orders by number, most first, then by name.
func (x route) compare(y route) int {
	if x.n != y.n {
		return cmp.Compare(y.n, x.n)
	}
	return cmp.Or(strings.Compare(x.domain, y.domain), strings.Compare(x.path, y.path), strings.Compare(x.method, y.method))
}

// latest remembers the latest of each id, in the order of the first.
type latest[T any] struct {
	byID  map[string]T
	order []string
	more  int
}

func (l *latest[T]) add(id string, item T) {
	if l.byID == nil {
		l.byID = map[string]T{}
	}
	if _, ok := l.byID[id]; !ok {
		if len(l.order) == maxDecided {
			l.more++
			return
		}
		l.order = append(l.order, id)
	}
	l.byID[id] = item
}

func newReport() *report {
	return &report{routes: map[origin]paths{}, logins: map[string]int{}}
}

func (r *report) observe(txs []*reassembly.Transaction) {
	for _, tx := range txs {
		if tx.Event != nil {
			continue
		}
		r.requests++
		if r.first == 0 || tx.Start < r.first {
			r.first = tx.Start
		}
		r.last = max(r.last, tx.End)
		if tx.Response.Status != 0 {
			r.answered++
			r.statuses[min(tx.Response.Status/100, 5)]++
		}
		if tx.RefusedBy != "" {
			r.refused++
		}
		if !tx.Complete {
			r.incomplete++
		}
		r.gapBytes += tx.GapBytes
		if tx.Annotation.Role == "login" {
			r.logins[cmp.Or(tx.Annotation.Outcome, tx.Annotation.EventOutcome, "unknown")]++
		}
		*r.count(tx)++
	}
}

// count returns where requests like tx are counted.
func (r *report) count(tx *reassembly.Transaction) *int {
	o, known := origin{tx.Request.Method, tx.Request.Domain}, r.paths
	if known == nil || o != r.origin {
		known = r.routes[o]
	}
	if n := known[tx.Request.Path]; n != nil {
		r.origin, r.paths = o, known
		return n
	}
	if r.routeCount == maxRoutes {
		return &r.otherRoutes
	}
	r.routeCount++
	if known == nil {
		known = paths{}
		r.routes[o] = known
	}
	n := new(int)
	known[tx.Request.Path] = n
	return n
}

// write prints the report.
func (r *report) write(w io.Writer, in input, compared *sitemap.Comparison) error {
	var b strings.Builder
	if packets := in.stats(); packets != nil {
		fmt.Fprintf(&b, "Frames     %s, %s octets\n", number(packets.Received), number(packets.Bytes))
	}
	if all, decrypted := in.secured(); all > 0 {
		fmt.Fprintf(&b, "TLS        %s connections, %s decrypted\n", number(all), number(decrypted))
	}
	r.writeRequests(&b)
	r.writeLogins(&b)
	r.writeFindings(&b)
	r.writeVerdicts(&b)
	if compared != nil {
		writeComparison(&b, compared)
	}
	writeLosses(&b, r, in.losses())
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) writeRequests(b *strings.Builder) {
	fmt.Fprintf(b, "Requests   %s", number(r.requests))
	if r.requests == 0 {
		b.WriteString("\n")
		return
	}
	fmt.Fprintf(b, ", %s answered", number(r.answered))
	if r.refused > 0 {
		fmt.Fprintf(b, ", %s refused by a load balancer", number(r.refused))
	}
	fmt.Fprintf(b, "\nTime       %s to %s (%s)\n", clock(r.first), clock(r.last), time.Duration(r.last-r.first).Round(time.Millisecond))
	var statuses []string
	for class, n := range r.statuses {
		if n > 0 {
			statuses = append(statuses, fmt.Sprintf("%dxx %s", class, number(n)))
		}
	}
	fmt.Fprintf(b, "Statuses   %s\n\n", cmp.Or(strings.Join(statuses, ", "), "none"))

	routes := make([]route, 0, r.routeCount)
	for o, known := range r.routes {
		for path, n := range known {
			routes = append(routes, route{o, path, *n})
		}
	}
	slices.SortFunc(routes, route.compare)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	rest := r.otherRoutes
	for i, c := range routes {
		if i >= shownRoutes {
			rest += c.n
			continue
		}
		fmt.Fprintf(t, "%s\t  %s\n", number(c.n), printable(strings.TrimSpace(c.method+" "+c.domain+c.path)))
	}
	if rest > 0 {
		fmt.Fprintf(t, "%s\t  others\n", number(rest))
	}
	t.Flush()
}

func (r *report) writeLogins(b *strings.Builder) {
	total := 0
	for _, n := range r.logins {
		total += n
	}
	fmt.Fprintf(b, "\nLogins     %s\n", number(total))
	for _, outcome := range slices.Sorted(maps.Keys(r.logins)) {
		fmt.Fprintf(b, "  %-16s %s\n", printable(outcome), number(r.logins[outcome]))
	}
}

func (r *report) writeFindings(b *strings.Builder) {
	fmt.Fprintf(b, "\nFindings   %s\n", number(len(r.findings.order)+r.findings.more))
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for i, id := range r.findings.order {
		if i == shownLines {
			fmt.Fprintf(t, "  … and %s more\n", number(len(r.findings.order)+r.findings.more-i))
			break
		}
		f := r.findings.byID[id]
		fmt.Fprintf(t, "  %s\t%d\t%s\t%s\n", clock(f.Time), f.Severity, printable(f.Rule), line(f.Message))
	}
	t.Flush()
}

func (r *report) writeVerdicts(b *strings.Builder) {
	fmt.Fprintf(b, "\nVerdicts   %s\n", number(len(r.verdicts.order)+r.verdicts.more))
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for i, id := range r.verdicts.order {
		if i == shownLines {
			fmt.Fprintf(t, "  … and %s more\n", number(len(r.verdicts.order)+r.verdicts.more-i))
			break
		}
		v := r.verdicts.byID[id]
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\tuntil %s\t(%s)\n", id, clock(v.Time), v.Action, subject(v.Subject), clock(v.Expires), v.Mode)
	}
	t.Flush()
}

// loss is something that could not be looked at, and how often.
type loss struct {
	what string
	n    uint64
}

func writeLosses(b *strings.Builder, r *report, losses []loss) {
	losses = append(losses, loss{"octets missing inside transactions", uint64(r.gapBytes)}, loss{"transactions not seen to their end", uint64(r.incomplete)})
	losses = slices.DeleteFunc(losses, func(l loss) bool { return l.n == 0 })
	b.WriteString("\nLosses     ")
	if len(losses) == 0 {
		b.WriteString("none\n")
		return
	}
	b.WriteString("\n")
	for _, l := range losses {
		fmt.Fprintf(b, "  %-36s %s\n", l.what, number(l.n))
	}
}

// subject writes a verdict's subject on one line.
func subject(s detect.Subject) string {
	var parts []string
	if s.Client.IsValid() {
		text := s.Client.String()
		if s.Client.IsSingleIP() {
			text = s.Client.Addr().String()
		}
		parts = append(parts, text)
	}
	for _, member := range []struct{ name, value string }{
		{"fingerprint", s.Fingerprint}, {"user agent", s.UserAgent}, {"ja4", s.JA4}, {"endpoint", s.Endpoint},
		{"domain", s.Domain}, {"session", s.Session}, {"account", s.UserHash},
	} {
		if member.value != "" {
			parts = append(parts, member.name+" "+printable(member.value))
		}
	}
	return strings.Join(parts, ", ")
}

func clock(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05.000") }

// number writes n with commas.
func number[T int | uint64](n T) string {
	text := strconv.FormatUint(uint64(n), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// printable is a text off the wire as a terminal may show it: without control
// characters, which could make it lie, and not too long.
func printable(text string) string {
	var b strings.Builder
	n := 0
	for _, c := range line(text) {
		if n++; n > maxText {
			b.WriteRune('…')
			break
		}
		b.WriteRune(c)
	}
	return b.String()
}

// line is printable in full length.
func line(text string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '·'
		}
		return c
	}, text)
}
