package dataplane_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/dataplane"
	"offpath/mitigate/internal/dataplanetest"
)

// What the API makes of lines is what it says itself: dataplanetest has its way to cut them.
func TestWhateverIsWrittenAsAWholeReplacesTheMapAndNoneOfItIsLostOrRepeated(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	check := func(lines []dataplane.Line) {
		var list []dataplanetest.Entry
		for _, l := range dataplane.Padded(lines) {
			list = append(list, dataplanetest.Entry{Key: l.Key, Value: l.Value})
		}
		replaces, commands := dataplanetest.Commands(list)
		require.True(t, replaces, "%d lines", len(lines))
		for text := range strings.Lines(commands[0]) {
			key, _, _ := strings.Cut(text, " ")
			require.True(t, dataplane.IsPad(key), "what may be appended says nothing")
		}
		var got []dataplane.Line
		for _, c := range commands {
			require.LessOrEqual(t, len(c), 8192, "HAProxy's buffer")
			for text := range strings.Lines(c) {
				key, value, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
				if !dataplane.IsPad(key) {
					got = append(got, dataplane.Line{Key: key, Value: value})
				}
			}
		}
		require.Equal(t, len(lines), len(got))
		for i := range lines {
			require.Equal(t, lines[i], got[i])
		}
	}
	check(nil)
	for size := range 600 { // the last of 30 lines ends anywhere about where a command does
		var lines []dataplane.Line
		for i := range 29 {
			lines = append(lines, dataplane.Line{Key: fmt.Sprintf("k%02d", i), Value: strings.Repeat("v", 275)})
		}
		check(append(lines, dataplane.Line{Key: "k", Value: strings.Repeat("v", size+1)}))
	}
	for range 2000 {
		lines := make([]dataplane.Line, random.IntN(400))
		for i := range lines {
			lines[i] = dataplane.Line{Key: fmt.Sprintf("k%d", i), Value: strings.Repeat("v", 1+random.IntN(120))}
		}
		check(lines)
	}
	lines := make([]dataplane.Line, 20_000)
	for i := range lines {
		lines[i] = dataplane.Line{Key: fmt.Sprintf("k%d", i), Value: strings.Repeat("v", 1+random.IntN(120))}
	}
	check(lines)
}

func TestTheAPIWouldLoseOrAppendWithoutIt(t *testing.T) {
	line := func(size int) dataplanetest.Entry {
		return dataplanetest.Entry{Key: "k", Value: strings.Repeat("v", size-3)}
	}
	replaces, commands := dataplanetest.Commands([]dataplanetest.Entry{line(100)})
	require.False(t, replaces)
	require.Len(t, commands, 1)
	replaces, commands = dataplanetest.Commands([]dataplanetest.Entry{line(8000), line(200)})
	require.True(t, replaces)
	require.Len(t, commands, 1, "the second line is lost")
	replaces, commands = dataplanetest.Commands([]dataplanetest.Entry{line(8000), line(192)})
	require.False(t, replaces)
	require.Len(t, commands, 2, "the first line comes twice")
}
