package corpora

import (
	"fmt"
	"slices"
	"strings"
)

// Differences are what a reading has otherwise than expected, empty if nothing.
type Differences []string

func (d *Differences) add(format string, args ...any) {
	*d = append(*d, fmt.Sprintf(format, args...))
}

// Short is the first difference, in a line for a table.
func (d Differences) Short() string {
	if len(d) == 0 {
		return ""
	}
	s := strings.ReplaceAll(d[0], "\n", " ")
	if len(s) > 150 {
		s = s[:150] + "…"
	}
	if len(d) > 1 {
		s += fmt.Sprintf(" (and %d more)", len(d)-1)
	}
	return s
}

// Elsewhere reports whether a case has no capture but input of a parser, which
// that parser's own tests feed.
func (c *Case) Elsewhere() bool { return len(c.Pcaps) == 0 }

// advisory are cases that the corpora's README doesn't judge, though their
// index does.
var advisory = []string{"zeek/http.http-09", "zeek/http.no-version", "zeek/http.no-uri", "zeek/http.http-methods"}

// Judge compares a reading with what is expected of a case.
func Judge(c *Case, r *Reading) (Differences, error) {
	if c.Judging == "advisory" || slices.Contains(advisory, c.ID) {
		return nil, nil
	}
	if c.Judging == "oracle" || c.Kind == "tls-decryption" {
		return judgeOracle(c, r)
	}
	switch c.Corpus {
	case "zeek":
		return judgeZeek(c, r)
	case "suricata-verify":
		return judgeSuricata(c, r)
	case "arkime":
		return judgeArkime(c, r)
	case "pcap2har-andrewf", "pcap2har-mikekap":
		return judgeHAR(c, r)
	case "deepflow":
		return judgeDeepflow(c, r)
	case "foxio-ja4":
		return judgeJA4(c, r)
	case "ndpi":
		return judgeNDPI(c, r)
	}
	return nil, fmt.Errorf("%s: nothing knows how to compare %s of %s", c.ID, c.Judging, c.Corpus)
}

// sameMultiset adds what one list has more often than the other.
func (d *Differences) sameMultiset(what string, want, got []string) {
	rest := slices.Clone(got)
	for _, w := range want {
		if i := slices.Index(rest, w); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			d.add("%s missing: %s", what, w)
		}
	}
	for _, g := range rest {
		d.add("%s unexpected: %s", what, g)
	}
}

// sameSet adds what one list has and the other lacks.
func (d *Differences) sameSet(what string, want, got []string) {
	d.sameMultiset(what, set(want), set(got))
}

func set(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
