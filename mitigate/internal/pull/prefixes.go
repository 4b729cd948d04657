package pull

import (
	"cmp"
	"net/netip"
	"slices"
)

// prefixes is a set of networks, each masked.
type prefixes struct {
	all     map[netip.Prefix]bool
	lengths [2][129]int // how many of each length, IPv4 first
}

func newPrefixes() *prefixes { return &prefixes{all: make(map[netip.Prefix]bool)} }

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func (s *prefixes) add(p netip.Prefix) {
	if !s.all[p] {
		s.all[p] = true
		s.lengths[family(p.Addr())][p.Bits()]++
	}
}

func (s *prefixes) remove(p netip.Prefix) {
	if s.all[p] {
		delete(s.all, p)
		s.lengths[family(p.Addr())][p.Bits()]--
	}
}

// cover says whether one of the set contains p; it may be p itself.
func (s *prefixes) cover(p netip.Prefix) bool {
	lengths := &s.lengths[family(p.Addr())]
	for bits := range p.Bits() + 1 {
		if lengths[bits] > 0 && s.all[netip.PrefixFrom(p.Addr(), bits).Masked()] {
			return true
		}
	}
	return false
}

// allowList answers whether a network overlaps one of a list.
type allowList struct {
	set    *prefixes
	sorted []netip.Prefix // by address
}

func newAllowList(list []netip.Prefix) allowList {
	a := allowList{set: newPrefixes()}
	for _, p := range list {
		p = canonical(p)
		a.set.add(p)
		a.sorted = append(a.sorted, p)
	}
	slices.SortFunc(a.sorted, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return a
}

func (a *allowList) overlaps(p netip.Prefix) bool {
	if a.set.cover(p) {
		return true
	}
	i, _ := slices.BinarySearchFunc(a.sorted, p.Addr(), func(q netip.Prefix, at netip.Addr) int { return cmp.Compare(q.Addr().Compare(at), 0) })
	return i < len(a.sorted) && p.Contains(a.sorted[i].Addr())
}

// canonical is a network masked, and one of IPv4-mapped addresses as that of IPv4.
func canonical(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}
