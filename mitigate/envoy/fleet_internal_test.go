package envoy

import (
	"net/netip"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestARequestOfAnEnvoyThatHasGoneConnectsNone(t *testing.T) {
	f := newFleet("a")
	c := f.join(netip.Addr{})
	f.leave(c)
	require.NoError(t, f.greet(c, "late", ""))
	process, _, _ := f.who()
	assert.Empty(t, process)
	assert.ErrorIs(t, f.missing(), ErrNoEnvoy)
}

func TestOneEnvoyTooManyIsToldNothingAndThatIsSaid(t *testing.T) {
	f := newFleet("a")
	ask := func(c *connection) error {
		s := session{fleet: f, connection: c}
		return s.take(&discovery.DiscoveryRequest{Node: &core.Node{Id: "n"}, ResourceNames: names[:]})
	}
	var last *connection
	for range maxEnvoys {
		c := f.join(netip.Addr{})
		require.NoError(t, ask(c))
		require.NoError(t, ask(c), "its second stream")
		last = c
	}
	assert.NoError(t, f.missing())
	surplus := f.join(netip.Addr{})
	assert.Equal(t, codes.ResourceExhausted, status.Code(ask(surplus)))
	assert.EqualError(t, f.missing(), `more than 64 Envoys connect: "n" is one more`)
	_, _, err := f.pending([kinds]uint64{})
	assert.ErrorIs(t, err, ErrTooMany)

	f.leave(last)
	require.NoError(t, ask(surplus), "there is room now")
	assert.NoError(t, f.missing())
}
