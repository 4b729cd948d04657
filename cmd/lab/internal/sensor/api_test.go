package sensor

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMetricsAreSummedByName(t *testing.T) {
	m, err := parseMetrics("# HELP a b\na{x=\"1\"} 2\na{x=\"2\",y=\"z\"} 3e1\nab 5\n\nc 0\n")
	require.NoError(t, err)
	for _, test := range []struct {
		name   string
		labels []string
		want   float64
		ok     bool
	}{
		{"a", nil, 32, true}, {"a", []string{`y="z"`}, 30, true}, {"a", []string{`y="q"`}, 0, false}, {"c", nil, 0, true}, {"missing", nil, 0, false},
	} {
		sum, ok := m.Sum(test.name, test.labels...)
		assert.Equal(t, test.want, sum, test)
		assert.Equal(t, test.ok, ok, test)
	}
	_, err = parseMetrics("a x\n")
	assert.ErrorContains(t, err, `"a x"`)
}

func TestAVerdictIsReadAsTheAPIShowsIt(t *testing.T) {
	var shown shownVerdict
	require.NoError(t, json.Unmarshal([]byte(`{"verdict":{"event":{"id":"0011223344556677"},"offpath":{"subject":{"client":{"ip":"2001:db8:a000:5::/64"}},
		"expires":"2026-11-22T12:00:00Z"},"message":"m"},"who":"operator","targets":[{"target":"lb1","state":"in_force"}]}`), &shown))
	v, err := shown.verdict()
	require.NoError(t, err)
	assert.Equal(t, "0011223344556677", v.ID)
	assert.Equal(t, netip.MustParsePrefix("2001:db8:a000:5::/64"), v.Client)
	assert.True(t, v.Operator)
	assert.Equal(t, "in_force", v.State)

	shown.Verdict.Offpath.Subject.Client.IP = "198.19.0.1"
	v, err = shown.verdict()
	require.NoError(t, err)
	assert.Equal(t, netip.MustParsePrefix("198.19.0.1/32"), v.Client)
}
