// Package plain puts into plain words what findings and verdicts hold: who is
// meant ([Subject]), what is asked of a load balancer ([Action]), and what the
// numbers that were compared say ([Numbers], [Terms]). The reader it has in
// mind knows the business and not the statistics.
//
// The functions keep no state. Names that came off the wire are quoted where
// they hold anything that a terminal would not simply show ([Printable]).
package plain

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"offpath/detect"
)

// Subject is a predicate on requests as people write it.
func Subject(s detect.Subject) string {
	switch {
	case s == detect.Subject{UserHash: s.UserHash} && s.UserHash != "":
		return "account " + Printable(s.UserHash)
	case s == detect.Subject{Session: s.Session} && s.Session != "":
		return "session " + Printable(s.Session)
	case s == detect.Subject{Endpoint: s.Endpoint} && s.Endpoint != "":
		return Printable(s.Endpoint)
	case s == detect.Subject{}:
		return "everybody"
	}
	text := "clients"
	if s.Client.IsValid() {
		text = Client(s.Client)
	}
	var marks []string
	for _, m := range [...]struct{ name, value string }{
		{"fingerprint ", s.Fingerprint}, {"User-Agent ", s.UserAgent}, {"JA4 ", s.JA4}, {"session ", s.Session}, {"account ", s.UserHash},
	} {
		if m.value != "" {
			marks = append(marks, m.name+Printable(m.value))
		}
	}
	if len(marks) > 0 {
		text += " with " + Join(marks)
	}
	if s.Domain != "" {
		text += " at " + Printable(s.Domain)
	}
	if s.Endpoint != "" {
		text += " at " + Printable(s.Endpoint)
	}
	return text
}

// Client is an address or a network as people write it.
func Client(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Printable is a name that a client chose, quoted if it holds anything that a
// terminal would not simply show.
func Printable(name string) string {
	for _, r := range name {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(name)
		}
	}
	return name
}

// Join lists with commas and a last "and".
func Join(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// Count is a number of things; many is their plural.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Times is how often.
func Times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// Span is a duration, ns, in one unit.
func Span(ns int64) string {
	switch d := time.Duration(ns); {
	case d < time.Millisecond:
		return "a moment"
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
	return fmt.Sprintf("%.0f hours", time.Duration(ns).Hours())
}

// Percent is a share, 0 to 1. All and none are said only where it is so.
func Percent(share float64) string {
	switch {
	case share == 0:
		return "none"
	case share == 1:
		return "all"
	case share > 0 && share < 0.0005:
		return "less than 0.1 %"
	case share < 0.0995:
		return fmt.Sprintf("%.1f %%", 100*share)
	case share > 0.995 && share < 1:
		return "more than 99 %"
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

// Round is a number of two significant digits, in words where it is large.
func Round(n float64) string {
	for _, unit := range [...]struct {
		size float64
		name string
	}{{1e15, ""}, {1e12, " trillion"}, {1e9, " billion"}, {1e6, " million"}} {
		if n < unit.size {
			continue
		}
		if unit.name == "" {
			return "more than a thousand trillion"
		}
		return digits(n/unit.size) + unit.name
	}
	return digits(n)
}

// digits writes two significant digits, of a large number all before the point.
func digits(n float64) string {
	if n < 99.5 {
		return strconv.FormatFloat(n, 'g', 2, 64)
	}
	scale := math.Pow(10, math.Floor(math.Log10(n))-1)
	text := strconv.FormatFloat(math.Round(n/scale)*scale, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
