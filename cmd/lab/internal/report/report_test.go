package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTableAlignsItsColumns(t *testing.T) {
	var table Table
	table.Row("a", "%d", 1)
	table.Rule()
	table.Row("longer", "x")
	var b strings.Builder
	table.Write(&b)
	assert.Equal(t, " a      │ 1\n────────┼───\n longer │ x\n", b.String())
}

func TestChecksHoldOnlyIfAllHold(t *testing.T) {
	var checks Checks
	checks.Add("first", true, "%d", 1)
	assert.True(t, checks.OK())
	checks.Add("second", false, "%d", 2)
	assert.False(t, checks.OK())
	var b strings.Builder
	checks.Write(&b)
	assert.Equal(t, " ok      first: 1\n FAILED  second: 2\n", b.String())
}
