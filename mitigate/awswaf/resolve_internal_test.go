package awswaf

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
)

// applies is which class an address belongs to, found the slow way.
func applies(all map[netip.Prefix]classed, a netip.Addr) class {
	best, found := netip.Prefix{}, class("")
	for p, c := range all {
		if c.class != classWatch && p.Contains(a) && (found == "" || p.Bits() > best.Bits()) {
			best, found = p, c.class
		}
	}
	return found
}

func TestEachAddressIsInTheSetOfTheVerdictThatAppliesAndNoOther(t *testing.T) {
	classes := []class{classBlock, "rate-10-60", "rate-20-60", classWatch}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		all := make(map[netip.Prefix]classed)
		for i := range 1 + random.IntN(20) {
			bits := 24 + random.IntN(9)
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(random.IntN(256))}), bits).Masked()
			all[p] = classed{class: classes[random.IntN(len(classes))], id: mitigate.ID(1<<32 | uint64(i+1))}
		}
		resolved, left := resolve(all)
		require.Empty(t, left)
		for n := range 256 {
			a := netip.AddrFrom4([4]byte{203, 0, 113, byte(n)})
			in := map[class]int{}
			for class, members := range resolved {
				for _, m := range members {
					if m.network.Contains(a) {
						in[class]++
						require.Contains(t, ids(all, a), m.id)
					}
				}
			}
			watching := in[classWatch]
			delete(in, classWatch)
			want := map[class]int{}
			if c := applies(all, a); c != "" {
				want[c] = 1
			}
			require.Equal(t, want, in, "seed %d, %s of %v", seed, a, all)
			require.LessOrEqual(t, watching, 1)
		}
	}
}

func ids(all map[netip.Prefix]classed, a netip.Addr) (list []mitigate.ID) {
	for p, c := range all {
		if p.Contains(a) {
			list = append(list, c.id)
		}
	}
	return list
}

func TestANetworkThatWouldFallIntoTooManyPartsIsLeftOut(t *testing.T) {
	wide := netip.MustParsePrefix("2001:db8::/48")
	all := map[netip.Prefix]classed{wide: {class: classBlock, id: 1}}
	for i := range 100 {
		all[netip.MustParsePrefix(fmt.Sprintf("2001:db8:0:%x::1/128", i*7))] = classed{class: "rate-10-60", id: mitigate.ID(i + 2)}
	}
	resolved, left := resolve(all)
	assert.Equal(t, []mitigate.ID{1}, left)
	assert.Len(t, resolved["rate-10-60"], 100)
	assert.Empty(t, resolved[classBlock])
}

func TestNetworksAreSpreadTheSameWayAlwaysAndNoSetIsTooLong(t *testing.T) {
	var networks []netip.Prefix
	for i := range 25_000 {
		networks = append(networks, netip.PrefixFrom(netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
	}
	sets, left := spread(networks, 3)
	again, _ := spread(networks, 3)
	assert.Equal(t, sets, again)
	assert.Empty(t, left)
	n := 0
	for _, s := range sets {
		assert.LessOrEqual(t, len(s), setSize)
		assert.Greater(t, len(s), 5000)
		n += len(s)
	}
	assert.Equal(t, 25_000, n)
	_, left = spread(networks, 2)
	assert.Len(t, left, 5000)
	fewer, _ := spread(networks[1:], 3)
	changed := 0
	for i := range sets {
		if len(sets[i]) != len(fewer[i]) {
			changed++
		}
	}
	assert.Equal(t, 1, changed, "one network less changes one set")
}

func TestNoModeOrSeveralMeanOff(t *testing.T) {
	rule := func(name string) types.Rule { return types.Rule{Name: aws.String(name)} }
	for _, tt := range []struct {
		name  string
		rules []types.Rule
		want  detect.Mode
	}{
		{"no rules", nil, detect.ModeOff},
		{"rules without a mode", []types.Rule{rule("offpath-block")}, detect.ModeOff},
		{"enforce", []types.Rule{rule("offpath-mode-enforce"), rule("offpath-block")}, detect.ModeEnforce},
		{"monitor", []types.Rule{rule("offpath-mode-monitor")}, detect.ModeMonitor},
		{"off", []types.Rule{rule("offpath-mode-off")}, detect.ModeOff},
		{"two", []types.Rule{rule("offpath-mode-enforce"), rule("offpath-mode-monitor")}, detect.ModeOff},
		{"one that is none", []types.Rule{rule("offpath-mode-x")}, detect.ModeOff},
		{"a rule without a name", []types.Rule{{}}, detect.ModeOff},
	} {
		assert.Equal(t, tt.want, modeOf(tt.rules), tt.name)
	}
}

func FuzzAddressesOfASet(f *testing.F) {
	f.Add("203.0.113.0/24", "2001:0db8:0000:0000:0000:0000:0000:0001/128")
	f.Add("203.0.113.1", "::/0")
	f.Fuzz(func(t *testing.T, a, b string) {
		networks, err := parseAddresses([]string{a, b})
		if err != nil {
			return
		}
		if len(networks) == 2 && comparePrefixes(networks[0], networks[1]) >= 0 {
			t.Fatalf("%v are not in order", networks)
		}
		for _, p := range networks {
			if p != p.Masked() {
				t.Fatalf("%s has bits beyond its length", p)
			}
		}
	})
}
