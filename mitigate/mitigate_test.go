package mitigate_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate"
)

func TestIDsAre16HexDigitsWithoutAnEmptyHalf(t *testing.T) {
	id, err := mitigate.ParseID("fedcba9876543210")
	require.NoError(t, err)
	upper, lower := id.Halves()
	assert.Equal(t, [2]uint32{0xfedcba98, 0x76543210}, [2]uint32{upper, lower})
	assert.Equal(t, "fedcba9876543210", id.String())
	for _, bad := range []string{"", "1", "fedcba987654321", "fedcba98765432100", "fedcba987654321g", "0000000076543210", "fedcba9800000000", "+edcba9876543210", "0xfedcba98765432", "FEDC BA987654321"} {
		_, err := mitigate.ParseID(bad)
		assert.ErrorContains(t, err, bad)
	}
}

func TestErrorsSayWhoAndWhy(t *testing.T) {
	assert.EqualError(t, &mitigate.UnsupportedError{Target: "lb1", Reason: "it has no action \"hold\""},
		`target lb1 can't carry the verdict: it has no action "hold"`)
	assert.EqualError(t, &mitigate.RejectedError{Target: "lb1", Rejections: []mitigate.Rejection{{ID: 1, Answer: "full"}, {ID: 2, Answer: "full"}}},
		"target lb1 rejected 2 orders, first: full")
}
