package nftables

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/nftables/internal/netfilter"
)

// What there is in the kernel.
const (
	table     = "offpath"
	guard     = "guard"
	enforce   = string(detect.ModeEnforce)
	monitor   = string(detect.ModeMonitor)
	refuse    = "refuse"
	portSet   = "ports"
	offSet    = "off"
	allowIPv4 = "allow_ipv4"
	allowIPv6 = "allow_ipv6"
)

// entrance is where packets meet the guard: before routing and before the destination is
// translated (mangle), so that ports are those that clients connect to.
var entrance = netfilter.Hook{Number: 0, Priority: -150}

// place is a set of clients: those of one length of prefix that are refused, or watched.
type place struct {
	watch bool
	six   bool
	bits  int
}

// placeOf is where a prefix belongs.
func placeOf(p netip.Prefix, watch bool) place { return place{watch, p.Addr().Is6(), p.Bits()} }

func (p place) String() string {
	action, family := "refuse", "ipv4"
	if p.watch {
		action = "watch"
	}
	if p.six {
		family = "ipv6"
	}
	return fmt.Sprintf("%s_%s_%d", action, family, p.bits)
}

// parsePlace reads the name of a set of clients.
func parsePlace(name string) (place, bool) {
	parts := strings.Split(name, "_")
	if len(parts) != 3 {
		return place{}, false
	}
	bits, err := strconv.Atoi(parts[2])
	p := place{parts[0] == "watch", parts[1] == "ipv6", bits}
	return p, err == nil && p.String() == name && bits > 0 && bits <= p.length()*8
}

// length is that of an address, octets.
func (p place) length() int {
	if p.six {
		return 16
	}
	return 4
}

func (p place) key() netfilter.KeyType {
	if p.six {
		return netfilter.IPv6
	}
	return netfilter.IPv4
}

// source loads the address that a packet of a family comes from.
func source(six bool) []netfilter.Expression {
	if six {
		return []netfilter.Expression{netfilter.Family(), netfilter.Equal(unix.NFPROTO_IPV6), netfilter.NetworkHeader(8, 16)}
	}
	return []netfilter.Expression{netfilter.Family(), netfilter.Equal(unix.NFPROTO_IPV4), netfilter.NetworkHeader(12, 4)}
}

// match are the steps of a rule that hold of the clients at a place.
func (p place) match() []netfilter.Expression {
	steps := source(p.six)
	if p.bits < p.length()*8 {
		mask := make([]byte, p.length())
		for i := range p.bits {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		steps = append(steps, netfilter.And(mask...))
	}
	return append(steps, netfilter.In(p.String()))
}

// compare orders places by who is looked at first: those watched, and then the most
// specific.
func compare(a, b place) int {
	if a.watch != b.watch {
		if a.watch {
			return -1
		}
		return 1
	}
	if a.six != b.six {
		if b.six {
			return -1
		}
		return 1
	}
	return b.bits - a.bits
}

// foundation adds what is always there; nothing of it changes what is.
func (t *Target) foundation(b *netfilter.Batch) {
	b.AddTable(table)
	b.AddChain(table, guard, &entrance)
	for _, chain := range []string{enforce, monitor, refuse} {
		b.AddChain(table, chain, nil)
	}
	b.AddSet(table, netfilter.Set{Name: portSet, Key: netfilter.Port})
	b.AddSet(table, netfilter.Set{Name: offSet, Key: netfilter.Protocol})
	b.AddSet(table, netfilter.Set{Name: allowIPv4, Key: netfilter.IPv4, Interval: true})
	b.AddSet(table, netfilter.Set{Name: allowIPv6, Key: netfilter.IPv6, Interval: true})
	b.FlushSet(table, portSet)
	var ports []netfilter.Element
	for _, p := range t.options.Ports {
		ports = append(ports, netfilter.Element{Key: binary.BigEndian.AppendUint16(nil, p)})
	}
	b.AddElements(table, portSet, ports)
	b.FlushChain(table, refuse)
	b.AddRule(table, refuse, netfilter.Transport(), netfilter.Equal(unix.IPPROTO_TCP), netfilter.Reset())
	b.AddRule(table, refuse, netfilter.Unreachable())
}

// rules writes the chains of the modes anew, for the sets that there are, and says how
// many there are in each.
func (t *Target) rules(b *netfilter.Batch, places []place) (count int) {
	places = slices.SortedFunc(slices.Values(places), compare)
	for _, chain := range []string{enforce, monitor} {
		b.FlushChain(table, chain)
		count = 0
		add := func(steps ...netfilter.Expression) {
			b.AddRule(table, chain, steps...)
			count++
		}
		add(append(source(false), netfilter.In(allowIPv4), netfilter.Return())...)
		add(append(source(true), netfilter.In(allowIPv6), netfilter.Return())...)
		// A reset of theirs ends the server's side.
		add(netfilter.Transport(), netfilter.Equal(unix.IPPROTO_TCP), netfilter.TransportHeader(13, 1), netfilter.And(0x04), netfilter.Differs(0), netfilter.Return())
		for _, p := range places {
			steps := p.match()
			if !p.watch && chain == enforce {
				steps = append(steps, netfilter.Goto(refuse))
			}
			add(steps...)
		}
	}
	return count
}

// mode writes the rules of the guard.
func (t *Target) mode(b *netfilter.Batch, mode detect.Mode) {
	b.FlushChain(table, guard)
	if mode == detect.ModeOff {
		return
	}
	for _, protocol := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		b.AddRule(table, guard, netfilter.Transport(), netfilter.Equal(protocol), netfilter.NotIn(offSet),
			netfilter.TransportHeader(2, 2), netfilter.In(portSet), netfilter.Jump(string(mode)))
	}
}

// ranges are networks as elements of a set of ranges: those within others left out.
func ranges(networks []netip.Prefix, six bool) (elements []netfilter.Element) {
	networks = slices.Clone(networks)
	slices.SortFunc(networks, netip.Prefix.Compare)
	var last netip.Prefix
	for _, p := range networks {
		p = p.Masked()
		if p.Addr().Is6() != six || last.IsValid() && last.Overlaps(p) && last.Bits() <= p.Bits() {
			continue
		}
		last = p
		elements = append(elements, netfilter.Element{Key: p.Addr().AsSlice()})
		if end := lastOf(p).Next(); end.IsValid() {
			elements = append(elements, netfilter.Element{Key: end.AsSlice(), End: true})
		}
	}
	return elements
}

// lastOf is the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// locate is where an entry belongs, and why nowhere.
func locate(e *mitigate.Entry) (netip.Prefix, place, string) {
	p := e.Subject.Client
	switch {
	case e.Action != detect.ActionBlock:
		return p, place{}, fmt.Sprintf("packets show no requests: it has no action %q", e.Action)
	case e.Subject != detect.Subject{Client: p} || !p.IsValid():
		return p, place{}, "packets show an address and nothing else of a client"
	case p.Bits() == 0 || p.Addr().Is4In6() || p.Masked() != p:
		return p, place{}, fmt.Sprintf("%s is no network of clients", p)
	}
	return p, placeOf(p, e.Monitor), ""
}

// client is the prefix of an element, not valid if it is none of ours.
func (p place) client(e *netfilter.Element) netip.Prefix {
	a, ok := netip.AddrFromSlice(e.Key)
	if !ok || len(e.Key) != p.length() {
		return netip.Prefix{}
	}
	c := netip.PrefixFrom(a, p.bits)
	if c.Masked() != c {
		return netip.Prefix{}
	}
	return c
}
