package nftables

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate/nftables/internal/netfilter"
)

func TestTheNameOfASetSaysWhatIsInIt(t *testing.T) {
	for _, p := range []place{{false, false, 32}, {true, false, 24}, {false, true, 128}, {true, true, 48}} {
		parsed, ok := parsePlace(p.String())
		assert.True(t, ok)
		assert.Equal(t, p, parsed)
	}
	for _, name := range []string{"", "ports", "refuse_ipv4", "refuse_ipv4_33", "refuse_ipv4_0", "refuse_ipv4_032", "refuse_ipv5_32", "allow_ipv4_32", "refuse_ipv4_32_1", "refuse_ipv6_129"} {
		_, ok := parsePlace(name)
		assert.False(t, ok, name)
	}
}

// FuzzElement takes elements that somebody else may have written: a client is what the
// set is of, or none.
func FuzzElement(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1}, 32, false)
	f.Add([]byte{192, 0, 2, 1}, 24, false)
	f.Add(make([]byte, 16), 64, true)
	f.Fuzz(func(t *testing.T, key []byte, bits int, six bool) {
		p := place{six: six, bits: bits}
		if bits < 1 || bits > p.length()*8 {
			return
		}
		if c := p.client(&netfilter.Element{Key: key}); c.IsValid() {
			assert.Equal(t, p, placeOf(c, false))
			assert.Equal(t, key, c.Addr().AsSlice())
		}
	})
}

func TestNetworksWithinOthersAreNoRangesOfTheirOwn(t *testing.T) {
	var list []netip.Prefix
	for _, text := range []string{"10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "11.0.0.0/8", "9.9.9.9/32", "2001:db8::/32", "10.255.255.255/32"} {
		list = append(list, netip.MustParsePrefix(text))
	}
	var got []string
	for _, e := range ranges(list, false) {
		a, _ := netip.AddrFromSlice(e.Key)
		got = append(got, map[bool]string{false: "from ", true: "to "}[e.End]+a.String())
	}
	assert.Equal(t, []string{"from 9.9.9.9", "to 9.9.9.10", "from 10.0.0.0", "to 11.0.0.0", "from 11.0.0.0", "to 12.0.0.0"}, got)
}

func TestTheGuideNamesPortsAndProxies(t *testing.T) {
	text := func(s Setup) string {
		config, err := s.Render()
		require.NoError(t, err)
		var b strings.Builder
		_, err = config.WriteTo(&b)
		require.NoError(t, err)
		return b.String()
	}
	assert.Contains(t, text(Setup{}), "the ports 80, 443 (")
	assert.NotContains(t, text(Setup{}), "client.trusted_proxies")
	assert.Contains(t, text(Setup{Ports: []uint16{8443}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}), "client.trusted_proxies names 10.0.0.0/8:")
}
