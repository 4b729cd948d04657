// Package disjoint picks from networks those of which none lies in another: for load
// balancers that don't say which of two that both match would win.
//
// Pure functions; memory is that of the result.
package disjoint

import (
	"cmp"
	"net/netip"
	"slices"
)

// Left is a network that was not picked, and the one that it overlaps.
type Left struct{ Network, Other netip.Prefix }

// Choose picks networks: of two that overlap the one stays of which enforced says so,
// else the wider one. What is left comes in the order in which it was looked at.
func Choose[R any](networks map[netip.Prefix]R, enforced func(R) bool) (chosen map[netip.Prefix]R, left []Left) {
	order := make([]netip.Prefix, 0, len(networks))
	for p := range networks {
		order = append(order, p)
	}
	slices.SortFunc(order, func(a, b netip.Prefix) int {
		if ae, be := enforced(networks[a]), enforced(networks[b]); ae != be {
			if ae {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Bits(), b.Bits()), a.Addr().Compare(b.Addr()))
	})
	chosen = make(map[netip.Prefix]R, len(networks))
	inside := make(map[netip.Prefix]netip.Prefix) // networks that hold a chosen one
	for _, p := range order {
		other, overlaps := inside[p]
		for bits := p.Bits() - 1; bits >= 0 && !overlaps; bits-- {
			other = netip.PrefixFrom(p.Addr(), bits).Masked()
			_, overlaps = chosen[other]
		}
		if overlaps {
			left = append(left, Left{p, other})
			continue
		}
		chosen[p] = networks[p]
		for bits := p.Bits() - 1; bits >= 0; bits-- {
			inside[netip.PrefixFrom(p.Addr(), bits).Masked()] = p
		}
	}
	return chosen, left
}
