package main_test

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"offpath/cmd/offpath/internal/corpora"
)

// The corpora lie beside the project; their README says what is in them. The
// file lists the cases that are known to differ.
const (
	corporaRoot = "../../../shared/corpora"
	corporaFile = "../../testdata/corpora/known.txt"
)

// beyond are the tags of what is not HTTP/1 on Ethernet without tunnels.
var beyond = []string{
	"encapsulation", "ip-in-ip-or-tunnel", "gre", "nflog", "802.11", "http2", "tls-decryption",
	"link:null", "link:rawip4", "link:nflog", "link:ieee-802-11-radiotap",
}

// judged is a case with what became of it.
type judged struct {
	*corpora.Case
	reading     *corpora.Reading
	differences corpora.Differences
	reason      corpora.Reason
	known       bool
}

func TestReplayReadsTheCorporaAsOtherProgramsDo(t *testing.T) {
	cases := readCorpora(t)
	known, err := corpora.Known(corporaFile)
	require.NoError(t, err)
	ids := map[string]bool{}
	for _, c := range cases {
		ids[c.ID] = true
		c.reason, c.known = known[c.ID]
	}
	for id := range known {
		require.Truef(t, ids[id], "%s lists %s, which is no case", corporaFile, id)
	}
	printTable(cases)
	for _, c := range cases {
		switch {
		case len(c.differences) > 0 && !c.known:
			t.Errorf("%s (%s):\n\t%s", c.ID, c.Judging, strings.Join(c.differences[:min(len(c.differences), 5)], "\n\t"))
		case len(c.differences) == 0 && c.known:
			t.Errorf("%s agrees now: remove it from %s", c.ID, corporaFile)
		}
	}
	t.Run("what is argued stays within the thresholds", func(t *testing.T) { requireThresholds(t, cases) })
	t.Run("requests that two other programs agree on", func(t *testing.T) { requireAgreedRequests(t, cases) })
	t.Run("a reading with one transaction less is told from the whole", func(t *testing.T) {
		for _, c := range cases {
			if c.Agrees() && len(c.differences) == 0 && len(c.reading.Transactions) > 0 {
				less := &corpora.Reading{Transactions: c.reading.Transactions[1:], Hellos: c.reading.Hellos}
				differences, err := corpora.Judge(c.Case, less)
				require.NoError(t, err)
				require.NotEmpty(t, differences, c.ID)
			}
		}
	})
}

// readCorpora replays all captures and judges what came of it.
func readCorpora(t *testing.T) []*judged {
	t.Helper()
	list, err := corpora.Load(corporaRoot)
	if err != nil {
		t.Skipf("the corpora are not beside the project: %v", err)
	}
	help := run(t, "replay", "--help").stdout
	details := "headers,bodies"
	if _, list, _ := strings.Cut(help, "--detail LIST"); strings.Contains(list[:strings.IndexByte(list, '\n')], "tls") {
		details += ",tls"
	}
	var cases []*judged
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for _, one := range list {
		c := &judged{Case: one}
		cases = append(cases, c)
		if c.Elsewhere() {
			continue
		}
		args := []string{"replay", "--transactions", "-", "--cleartext", "--detail", details}
		if log := c.KeyLog(); log != "" && strings.Contains(help, "--keylog") {
			args = append(args, "--keylog", log)
		}
		group.Go(func() error {
			var lines []byte
			for _, path := range c.Captures() {
				r, err := complete(command(append(slices.Clone(args), path)...))
				if err != nil || r.status != 0 && r.status != 3 {
					return fmt.Errorf("%s: status %d, %w: %s", path, r.status, err, r.stderr)
				}
				lines = append(lines, r.stdout...)
			}
			var err error
			if c.reading, err = corpora.Parse(lines); err == nil {
				c.differences, err = corpora.Judge(c.Case, c.reading)
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", c.ID, err)
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
	return cases
}

// row is what the table says of a corpus.
type row struct {
	cases, elsewhere, passed, argued int
	missing                          map[string]int // by class
	unexpected                       int
}

func printTable(cases []*judged) {
	rows := map[string]*row{}
	for _, c := range cases {
		name := c.Corpus
		if c.HTTPEvader() {
			name += " http-evader, tshark agrees"
			if !c.Agrees() {
				name = c.Corpus + " http-evader, the rest"
			}
		}
		r := rows[name]
		if r == nil {
			r = &row{missing: map[string]int{}}
			rows[name] = r
		}
		r.cases++
		switch {
		case c.Elsewhere():
			r.elsewhere++
		case len(c.differences) == 0:
			r.passed++
		case !c.known:
			r.unexpected++
		case c.reason.Class == corpora.Argued:
			r.argued++
		default:
			r.missing[c.reason.Class]++
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "corpus\tcases\tpassed\targued\tmissing\tunexpected\tin a parser's tests")
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		var missing []string
		for _, class := range slices.Sorted(maps.Keys(r.missing)) {
			missing = append(missing, fmt.Sprintf("%s %d", class, r.missing[class]))
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%d\t%d\n", name, r.cases, r.passed, r.argued, strings.Join(missing, ", "), r.unexpected, r.elsewhere)
	}
	w.Flush()
	for _, c := range cases {
		if len(c.differences) > 0 {
			fmt.Printf("%s: %s: %s\n", c.ID, c.reason.Class, c.differences.Short())
		}
	}
}

// requireThresholds: of the mechanical cases whose peers agree only argued ones
// fail, and of the others at most one in twenty.
func requireThresholds(t *testing.T, cases []*judged) {
	type count struct{ judged, failed int }
	var others, evader, evaderRest count
	for _, c := range cases {
		if c.Judging != "mechanical" || c.Elsewhere() {
			continue
		}
		n := &others
		switch {
		case c.HTTPEvader() && c.Agrees():
			n = &evader
		case c.HTTPEvader():
			n = &evaderRest
		case c.Agrees():
			continue // judged one by one
		}
		n.judged++
		if len(c.differences) > 0 {
			n.failed++
		}
	}
	passed := func(n count) float64 { return 100 * float64(n.judged-n.failed) / float64(n.judged) }
	fmt.Printf("corpora: %.1f %% of %d mechanical cases without a second opinion pass; http-evader: %.1f %% of %d where tshark agrees, %.1f %% of the other %d\n",
		passed(others), others.judged, passed(evader), evader.judged, passed(evaderRest), evaderRest.judged)
	require.GreaterOrEqual(t, passed(evader), 95.0)
	if slices.ContainsFunc(cases, func(c *judged) bool { return c.known && c.reason.Class != corpora.Argued }) {
		t.Skip("the threshold of the others is judged when nothing is listed as missing")
	}
	require.GreaterOrEqual(t, passed(others), 95.0)
}

// requireAgreedRequests compares method, URI and status of HTTP/1 on Ethernet.
func requireAgreedRequests(t *testing.T, cases []*judged) {
	judged, passed, requests := 0, 0, 0
	for _, c := range cases {
		if !c.Agrees() || c.Tagged(beyond...) {
			continue
		}
		want, err := c.AgreedRequests()
		require.NoError(t, err)
		judged++
		requests += len(want)
		if differences := corpora.CompareRequests(want, c.reading.Transactions); len(differences) == 0 {
			passed++
		} else if !c.known {
			t.Errorf("%s:\n\t%s", c.ID, strings.Join(differences, "\n\t"))
		}
	}
	fmt.Printf("corpora: %d of %d cases list the same requests (method, URI, status), %d requests in all\n", passed, judged, requests)
}
