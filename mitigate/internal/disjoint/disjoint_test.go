package disjoint_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/mitigate/internal/disjoint"
)

func TestOfTwoThatOverlapTheEnforcedOneStaysElseTheWider(t *testing.T) {
	p := netip.MustParsePrefix
	chosen, left := disjoint.Choose(map[netip.Prefix]bool{
		p("10.0.0.0/8"): false, p("10.1.0.0/16"): true, p("192.0.2.0/24"): true, p("192.0.2.0/25"): true, p("2001:db8::/32"): false,
	}, func(enforced bool) bool { return enforced })
	assert.Equal(t, map[netip.Prefix]bool{p("10.1.0.0/16"): true, p("192.0.2.0/24"): true, p("2001:db8::/32"): false}, chosen)
	assert.Equal(t, []disjoint.Left{{p("192.0.2.0/25"), p("192.0.2.0/24")}, {p("10.0.0.0/8"), p("10.1.0.0/16")}}, left)
}
