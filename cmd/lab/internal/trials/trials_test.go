package trials

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/traffic"
)

func TestSmallScenariosAreJudgedAndReported(t *testing.T) {
	list, err := traffic.Select([]string{"N2", "B7"})
	require.NoError(t, err)
	o := Options{Scenarios: list, Seeds: []uint64{2}}
	done, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, done, 2)
	quiet, spray := done[0].Result, done[1].Result
	assert.Zero(t, quiet.LegitHit, "nobody behind the company's address is stopped")
	assert.Zero(t, quiet.Attacks)
	assert.Positive(t, spray.Attacks)
	for _, r := range []float64{quiet.OutcomeTold, quiet.OutcomeRight, spray.OutcomeTold, spray.OutcomeRight} {
		assert.Greater(t, r, 0.99)
	}

	var table strings.Builder
	_, err = Write(&table, list, done)
	require.NoError(t, err)
	assert.Contains(t, table.String(), "N2 worst")
	assert.Contains(t, table.String(), "met    legitimate requests hit ≤ 0 in all: worst 0 with seed 2")

	again, err := Run(t.Context(), Options{Scenarios: list, Seeds: []uint64{2}, Parallel: 1})
	require.NoError(t, err)
	for i := range again {
		again[i].Result.Nanoseconds, done[i].Result.Nanoseconds = 0, 0
		assert.Equal(t, done[i].Result, again[i].Result, "however many run side by side")
	}
}
