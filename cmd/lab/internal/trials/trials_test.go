package trials

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/judge"
	"offpath/cmd/lab/internal/labelled"
	"offpath/cmd/lab/internal/traffic"
)

func TestSmallScenariosAreJudgedAndReported(t *testing.T) {
	list, err := traffic.Select([]string{"N2", "B7"})
	require.NoError(t, err)
	done := Scenarios(list, []uint64{2})
	require.NoError(t, Run(t.Context(), done, Options{}))
	require.Len(t, done, 2)
	quiet, spray := done[0].Result, done[1].Result
	assert.Zero(t, quiet.LegitHit, "nobody behind the company's address is stopped")
	assert.Zero(t, quiet.Attacks)
	assert.Positive(t, spray.Attacks)
	for _, r := range []float64{quiet.OutcomeTold, quiet.OutcomeRight, spray.OutcomeTold, spray.OutcomeRight} {
		assert.Greater(t, r, 0.99)
	}

	var table strings.Builder
	_, err = Write(&table, done)
	require.NoError(t, err)
	assert.Contains(t, table.String(), "N2 worst")
	assert.Contains(t, table.String(), "met    legitimate requests hit ≤ 0 in all: worst 0 with seed 2")

	again := Scenarios(list, []uint64{2})
	require.NoError(t, Run(t.Context(), again, Options{Parallel: 1}))
	for i := range again {
		again[i].Result.Nanoseconds, done[i].Result.Nanoseconds = 0, 0
		assert.Equal(t, done[i].Result, again[i].Result, "however many run side by side")
	}
}

func TestAWrittenScenarioIsJudgedAsItWas(t *testing.T) {
	list, err := traffic.Select([]string{"B7"})
	require.NoError(t, err)
	direct := Scenarios(list, []uint64{2})
	require.NoError(t, Run(t.Context(), direct, Options{}))

	dir := t.TempDir()
	n, err := labelled.WriteLines(dir, "spray", list[0].Open(2))
	require.NoError(t, err)
	assert.Equal(t, direct[0].Result.Transactions, n)
	read, err := Captures(dir, nil)
	require.NoError(t, err)
	require.Len(t, read, 1)
	require.NoError(t, Run(t.Context(), read, Options{}))
	a, b := direct[0].Result, read[0].Result
	assert.InDelta(t, a.DetectSeconds, b.DetectSeconds, 60, "the onset is that of the first request seen")
	a.Nanoseconds, b.Nanoseconds = 0, 0
	a.DetectSeconds, b.DetectSeconds, a.VerdictSeconds, b.VerdictSeconds = 0, 0, 0, 0
	assert.InDelta(t, a.Attributed, b.Attributed, 1)
	a.Attributed, b.Attributed = 0, 0
	assert.Equal(t, a, b)
}

func TestTheWorstSeedIsThatFarthestFromTheLine(t *testing.T) {
	trial := func(seed uint64, r judge.Result) Trial { return Trial{Scenario: "B3", Seed: seed, Result: r} }
	for _, test := range []struct {
		name    string
		results []judge.Result
		want    []string
	}{
		{"all is met",
			[]judge.Result{{DetectSeconds: 10, HitsNamed: 0.9, LoginsHit: 3}, {DetectSeconds: 1700, HitsNamed: 1, LoginsHit: 0}},
			[]string{"met    campaign or finding ≤ 1800 s: worst 1700 with seed 2", "met    taken-over accounts named ≥ 85 %: worst 90 with seed 1", "worst 3 with seed 1"}},
		{"what is never reached is worse than what is late",
			[]judge.Result{{DetectSeconds: 5000}, {DetectSeconds: -1}},
			[]string{"MISSED campaign or finding ≤ 1800 s: worst never with seed 2 (); missed by 2 of 2 seeds"}},
		{"where no account was come into none can be named",
			[]judge.Result{{HitsNamed: -1}, {HitsNamed: 0.86}},
			[]string{"met    taken-over accounts named ≥ 85 %: worst 86 with seed 2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var list []Trial
			for i, r := range test.results {
				list = append(list, trial(uint64(i+1), r))
			}
			var table strings.Builder
			_, err := Write(&table, list)
			require.NoError(t, err)
			for _, text := range test.want {
				assert.Contains(t, table.String(), text)
			}
		})
	}
}
