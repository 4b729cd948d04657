package internet

import "net/netip"

// The numbering plan. Documentation and benchmark ranges (RFC 5737, RFC 2544,
// RFC 3849) stand for the public Internet; all of it lives in the
// laboratory's namespaces alone.
var (
	// Service is the bank's public address, held by the load balancer.
	Service = netip.MustParseAddr("192.0.2.10")
	// Service6 is the same over IPv6.
	Service6 = netip.MustParseAddr("2001:db8:ba::10")

	// Homes are customers with an address of their own.
	Homes = netip.MustParsePrefix("198.18.0.0/16")
	// Homes6 are customers with a /64 of their own.
	Homes6 = netip.MustParsePrefix("2001:db8:c000::/36")
	// Carriers are addresses that many customers share (carrier-grade NAT).
	Carriers = netip.MustParsePrefix("198.51.100.0/24")

	// Proxies are the addresses that the stuffing client attacks from.
	Proxies = netip.MustParsePrefix("198.19.0.0/16")
	// Proxies6 are its IPv6 addresses, a /64 each.
	Proxies6 = netip.MustParsePrefix("2001:db8:a000::/36")
	// Hydra is the address that hydra attacks from.
	Hydra = netip.MustParseAddr("203.0.113.66")

	// BalancerInside is the load balancer's address towards the bank: the
	// proxy to trust behind it.
	BalancerInside = netip.MustParseAddr("10.20.0.1")
	// Bank is the bank's own address.
	Bank = netip.MustParseAddr("10.20.0.2")
)

// The attackers' networks in one list.
func attackers() []netip.Prefix {
	return []netip.Prefix{Proxies, Proxies6, netip.PrefixFrom(Hydra, Hydra.BitLen())}
}

// Attacker reports whether an address is one of the attackers'.
func Attacker(a netip.Addr) bool {
	for _, p := range attackers() {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// TapInterface is the name of the mirror port inside the tap's namespace.
const TapInterface = "mirror0"
