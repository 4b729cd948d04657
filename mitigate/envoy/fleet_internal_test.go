package envoy

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestARequestOfAnEnvoyThatHasGoneConnectsNone(t *testing.T) {
	f := newFleet("a")
	c := f.join(netip.Addr{})
	f.leave(c)
	f.greet(c, "late", "")
	process, _, _ := f.who()
	assert.Empty(t, process)
	assert.ErrorIs(t, f.missing(), ErrNoEnvoy)
}
