package gobgp

import (
	"net/netip"
	"testing"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

var someRules = []rule{
	{client: netip.MustParsePrefix("203.0.113.7/32")},
	{client: netip.MustParsePrefix("2001:db8::/64")},
	{client: netip.MustParsePrefix("203.0.113.0/24"), destination: netip.MustParsePrefix("198.51.100.0/24")},
	{client: netip.MustParsePrefix("2001:db8::/64"), destination: netip.MustParsePrefix("2001:db8:1::/48"), ports: "80,443"},
}

func TestARouteThatIsReadIsTheOneThatWasWritten(t *testing.T) {
	for _, r := range someRules {
		written := newRoute(64512, r, netip.MustParseAddr("192.0.2.1"), verdict{7<<32 | 9, 1<<32 - 1})
		read, ours := parseRoute(64512, written.path)
		require.True(t, ours)
		assert.Equal(t, written, read)
		_, ours = parseRoute(64513, written.path)
		assert.False(t, ours, "of another AS")
		written.path.Identifier = 0
		_, ours = parseRoute(64512, written.path)
		assert.False(t, ours, "without our path identifier")
		written.path.Identifier, written.path.NeighborIp = pathID, "192.0.2.2"
		_, ours = parseRoute(64512, written.path)
		assert.False(t, ours, "learned from a neighbour")
	}
}

// FuzzRoute takes routes as gobgpd may list them: what is ours and read is what we would
// write.
func FuzzRoute(f *testing.F) {
	for _, r := range someRules {
		b, err := proto.Marshal(newRoute(64512, r, netip.MustParseAddr("192.0.2.1"), verdict{7<<32 | 9, 1}).path)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p api.Path
		if proto.Unmarshal(b, &p) != nil {
			return
		}
		r, ours := parseRoute(64512, &p)
		if !ours || !r.rule.client.IsValid() {
			return
		}
		again, ok := parseRule(r.rule.nlri())
		require.True(t, ok)
		assert.Equal(t, r.rule, again)
	})
}
