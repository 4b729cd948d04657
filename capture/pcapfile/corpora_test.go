package pcapfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// corpora lies beside the project; see its README.md.
const corpora = "../../../shared/corpora"

// TestCorporaAreRead opens every capture of the corpora, compares the number
// of packets where the case says it, and prints what became of the frames.
func TestCorporaAreRead(t *testing.T) {
	if _, err := os.Stat(corpora); err != nil {
		t.Skipf("the corpora are not there: %v", err)
	}
	type row struct {
		files, damaged, compared int
		capture.Stats
	}
	rows := map[string]*row{}
	var refused, damaged []string
	require.NoError(t, filepath.WalkDir(corpora, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "case.json" {
			return err
		}
		dir := filepath.Dir(path)
		corpus, _, _ := strings.Cut(strings.TrimPrefix(dir, corpora+"/"), "/")
		if rows[corpus] == nil {
			rows[corpus] = &row{}
		}
		r := rows[corpus]
		for name, packets := range packetCounts(t, path) {
			file := filepath.Join(dir, name)
			s, err := Open([]string{file}, Options{Workers: 2})
			if err != nil {
				assert.True(t, errors.Is(err, ErrNotCapture), "%v", err)
				refused = append(refused, err.Error())
				continue
			}
			err = s.Run(context.Background(), func(int, capture.Batch) {})
			stats := s.Stats()
			r.files++
			r.Received += stats.Received
			for i, n := range stats.Frames {
				r.Frames[i] += n
			}
			var damage *capture.DamageError
			if errors.As(err, &damage) {
				r.damaged++
				damaged = append(damaged, fmt.Sprintf("%v (%d packets before, %d expected)", err, stats.Received, packets))
				continue
			}
			require.NoError(t, err)
			if packets >= 0 {
				r.compared++
				assert.EqualValues(t, packets, stats.Received, "packets of %s", file)
			}
		}
		return nil
	}))
	var names []string
	for name := range rows {
		names = append(names, name)
	}
	sort.Strings(names)
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "corpus\tfiles\tcompared\tdamaged\tframes\t")
	for d := range capture.Dispositions {
		fmt.Fprintf(table, "%s\t", capture.Disposition(d))
	}
	fmt.Fprintln(table)
	total := 0
	for _, name := range names {
		r := rows[name]
		total += r.files
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t", name, r.files, r.compared, r.damaged, r.Received)
		for _, n := range r.Frames {
			fmt.Fprintf(table, "%d\t", n)
		}
		fmt.Fprintln(table)
	}
	require.NoError(t, table.Flush())
	t.Logf("%d captures\n%s", total, out.String())
	for _, s := range damaged {
		t.Log(s)
	}
	for _, s := range refused {
		t.Log("refused: " + s)
	}
	assert.Greater(t, total, 400)
}

// packetCounts returns the captures that a case names, with their packets, or
// -1 where it doesn't say.
func packetCounts(t *testing.T, path string) map[string]int64 {
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	var c struct {
		Pcaps []struct {
			File    string
			Packets *int64
		}
	}
	require.NoError(t, json.Unmarshal(content, &c))
	counts := map[string]int64{}
	for _, p := range c.Pcaps {
		counts[p.File] = -1
		if p.Packets != nil {
			counts[p.File] = *p.Packets
		}
	}
	return counts
}
