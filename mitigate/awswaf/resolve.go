package awswaf

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	"offpath/mitigate"
)

// class is what is done about the members of a set: block, watch, or a tier's name.
type class = string

const (
	classBlock = "block"
	classWatch = "watch"
)

// member is a network that a set is to hold, and whose verdict it is there by.
type member struct {
	network netip.Prefix
	id      mitigate.ID
}

// maxParts is the most networks that one is taken apart into: there is one that holds so
// many others only where something is wrong.
const maxParts = 1024

// resolve says for each class which networks are in it, so that each address is in that of
// the most specific enforced verdict alone, or else of those that only watch. Networks of
// one class overlap nowhere. All are in the order of their addresses. Verdicts whose
// networks would fall into too many parts are left out.
func resolve(classes map[netip.Prefix]classed) (all map[class][]member, left []mitigate.ID) {
	var enforced, watching []netip.Prefix
	for p, c := range classes {
		if c.class == classWatch {
			watching = append(watching, p)
		} else {
			enforced = append(enforced, p)
		}
	}
	all = make(map[class][]member)
	for _, list := range [][]netip.Prefix{enforced, watching} {
		slices.SortFunc(list, comparePrefixes)
		for i, p := range list {
			// What lies in p follows it.
			end := i + 1
			for end < len(list) && p.Overlaps(list[end]) {
				end++
			}
			c := classes[p]
			parts := without(p, list[i+1:end], nil)
			if len(parts) > maxParts {
				left = append(left, c.id)
				continue
			}
			for _, part := range parts {
				all[c.class] = append(all[c.class], member{part, c.id})
			}
		}
	}
	for _, members := range all {
		slices.SortFunc(members, func(a, b member) int { return comparePrefixes(a.network, b.network) })
	}
	return all, left
}

// classed is where a verdict's network belongs.
type classed struct {
	class   class
	id      mitigate.ID
	expires int64
}

// without appends the networks that make up p but for the holes, which lie in it; one more
// than maxParts of them say that there are too many.
func without(p netip.Prefix, holes []netip.Prefix, to []netip.Prefix) []netip.Prefix {
	switch {
	case len(to) > maxParts:
		return to
	case len(holes) == 0:
		return append(to, p)
	case slices.Contains(holes, p):
		return to
	}
	lower, upper := halves(p)
	for _, half := range [...]netip.Prefix{lower, upper} {
		var inside []netip.Prefix
		for _, h := range holes {
			if half.Overlaps(h) {
				inside = append(inside, h)
			}
		}
		to = without(half, inside, to)
	}
	return to
}

// halves are the two networks that a network, of more than one address, consists of.
func halves(p netip.Prefix) (lower, upper netip.Prefix) {
	bits := p.Bits()
	lower = netip.PrefixFrom(p.Addr(), bits+1)
	octets := p.Addr().AsSlice()
	octets[bits/8] |= 0x80 >> (bits % 8)
	address, _ := netip.AddrFromSlice(octets)
	return lower, netip.PrefixFrom(address, bits+1)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// setSize is the most networks of an IP set.
const setSize = 10_000

// spread distributes networks over n sets: each into that which its hash names, or the
// next with room. What has no room at all is left over.
func spread(networks []netip.Prefix, n int) (sets [][]netip.Prefix, left []netip.Prefix) {
	sets = make([][]netip.Prefix, n)
place:
	for _, p := range networks {
		h := fnv.New64a()
		h.Write(p.Addr().AsSlice())
		h.Write([]byte{byte(p.Bits())})
		first := int(h.Sum64() % uint64(n))
		for i := range n {
			if at := (first + i) % n; len(sets[at]) < setSize {
				sets[at] = append(sets[at], p)
				continue place
			}
		}
		left = append(left, p)
	}
	return sets, left
}

// contents is what every set of verdicts is to hold, by its name, and the verdicts that
// there is no room for: those that end first.
func (t *Target) contents(now int64) (map[string][]netip.Prefix, []mitigate.Rejection) {
	live := maps.Clone(t.entries)
	maps.DeleteFunc(live, func(_ netip.Prefix, c classed) bool { return c.expires <= now })
	var rejections []mitigate.Rejection
	for {
		sets, over, tooMany := t.distribute(live)
		for _, id := range over {
			rejections = append(rejections, mitigate.Rejection{ID: id, Answer: fmt.Sprintf("the sets of its kind are full: %d of %d networks", t.options.Sets, setSize)})
		}
		for _, id := range tooMany {
			rejections = append(rejections, mitigate.Rejection{ID: id, Answer: fmt.Sprintf("other verdicts are inside it: it would fall into more than %d networks", maxParts)})
		}
		if len(over)+len(tooMany) == 0 {
			return sets, rejections
		}
		// Without those, networks are taken apart anew.
		maps.DeleteFunc(live, func(_ netip.Prefix, c classed) bool {
			return slices.Contains(over, c.id) || slices.Contains(tooMany, c.id)
		})
	}
}

func (t *Target) distribute(live map[netip.Prefix]classed) (contents map[string][]netip.Prefix, over, tooMany []mitigate.ID) {
	contents = make(map[string][]netip.Prefix)
	resolved, tooMany := resolve(live)
	for _, class := range t.classes() {
		for _, f := range families {
			var networks []netip.Prefix
			var ids []mitigate.ID
			for _, m := range resolved[class] {
				if m.network.Addr().Is4() == f.is4 {
					networks, ids = append(networks, m.network), append(ids, m.id)
				}
			}
			sets, left := spread(networks, t.options.Sets)
			if len(left) > 0 {
				over = append(over, soonest(ids, live, len(left))...)
			}
			for i, set := range sets {
				contents[t.setName(class, f, i)] = set
			}
		}
	}
	return contents, over, tooMany
}

// soonest are n of the verdicts, or all, that end first.
func soonest(ids []mitigate.ID, live map[netip.Prefix]classed, n int) []mitigate.ID {
	expires := make(map[mitigate.ID]int64, len(live))
	for _, c := range live {
		expires[c.id] = c.expires
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	slices.SortStableFunc(ids, func(a, b mitigate.ID) int { return cmp.Compare(expires[a], expires[b]) })
	return ids[:min(n, len(ids))]
}
