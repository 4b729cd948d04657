package trials

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/judge"
	"offpath/cmd/lab/internal/labelled"
	"offpath/cmd/lab/internal/traffic"
	"offpath/reassembly"
)

// beginning is the first part of a scenario.
type beginning struct {
	*traffic.Run
	left int
}

func (b *beginning) Next(tx *reassembly.Transaction) (traffic.Truth, bool) {
	if b.left == 0 {
		return traffic.Truth{}, false
	}
	b.left--
	return b.Run.Next(tx)
}

const length = 25_000

func begin(t *testing.T, name string, seed uint64) *beginning {
	list, err := traffic.Select([]string{name})
	require.NoError(t, err)
	return &beginning{list[0].Open(seed), length}
}

// small are trials of the beginnings of a scenario without an attack and of one
// with it.
func small(t *testing.T) []Trial {
	list, err := traffic.Select([]string{"N6", "B1-cold"})
	require.NoError(t, err)
	all := Scenarios(list, []uint64{2})
	for i := range all {
		open := all[i].open
		all[i].open = func(ctx context.Context) (*opened, error) {
			o, err := open(ctx)
			o.Source = begin(t, all[i].Scenario, 2)
			return o, err
		}
	}
	return all
}

func TestSmallScenariosAreJudgedAndReported(t *testing.T) {
	done := small(t)
	require.NoError(t, Run(t.Context(), done, Options{Rivals: true}))
	quiet, burst := done[0].Result, done[1].Result
	assert.Equal(t, length, quiet.Transactions)
	assert.Zero(t, quiet.LegitHit, "nobody is stopped for the sake of a health check")
	assert.Zero(t, quiet.Attacks)
	assert.Greater(t, burst.Attacks, length/2)
	for _, r := range []float64{quiet.OutcomeTold, quiet.OutcomeRight, burst.OutcomeTold, burst.OutcomeRight} {
		assert.Greater(t, r, 0.99)
	}
	require.Len(t, done[1].Rivals, 3)
	assert.Equal(t, burst.Attacks, done[1].Rivals[0].Result.Attacks, "on the same traffic")

	var table strings.Builder
	_, err := Write(&table, done)
	require.NoError(t, err)
	assert.Contains(t, table.String(), "N6 worst")
	assert.Contains(t, table.String(), "bucket worst")
	assert.Contains(t, table.String(), "met    legitimate requests hit ≤ 0 in all: worst 0 with seed 2")

	again := small(t)
	require.NoError(t, Run(t.Context(), again, Options{Parallel: 1}))
	for i := range again {
		again[i].Result.Nanoseconds, done[i].Result.Nanoseconds = 0, 0
		assert.Equal(t, done[i].Result, again[i].Result, "however many run side by side, and whoever else watches")
	}
}

func TestAWrittenScenarioIsJudgedAsItWas(t *testing.T) {
	direct := small(t)[1:]
	require.NoError(t, Run(t.Context(), direct, Options{}))

	dir := t.TempDir()
	n, err := labelled.WriteLines(dir, "burst", begin(t, "B1-cold", 2))
	require.NoError(t, err)
	assert.Equal(t, direct[0].Result.Transactions, n)
	read, err := Captures(dir, nil)
	require.NoError(t, err)
	require.Len(t, read, 1)
	require.NoError(t, Run(t.Context(), read, Options{}))
	a, b := direct[0].Result, read[0].Result
	assert.InDelta(t, a.DetectSeconds, b.DetectSeconds, 60, "the onset is that of the first request seen")
	for _, r := range []*judge.Result{&a, &b} { // these depend on the onset
		r.Nanoseconds, r.DetectSeconds, r.VerdictSeconds, r.DetectTries, r.Attributed, r.RequestsHit, r.LoginsHit = 0, 0, 0, 0, 0, 0, 0
		r.OutcomeSettled = nil // labels do not say how an endpoint answers
	}
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
