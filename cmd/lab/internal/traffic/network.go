package traffic

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// provider is a network that people or attackers come from.
type provider struct {
	base  uint32 // first address
	size  uint64 // addresses
	share float64
}

func (p *provider) at(i uint64) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], p.base+uint32(i%p.size))
	return netip.AddrFrom4(b)
}

// internet is where everybody is.
type internet struct {
	homes     []provider // of households, a /12 each
	homeShare []float64  // cumulative
	carriers  []provider // pools of mobile carriers: everybody shares them (CGNAT)
	offices   []netip.Addr
	hosting   []provider // /24 networks of data centres
	six       float64    // share of households with IPv6, a /64 each
	sixBase   uint64
}

func newInternet(r *rand.Rand) internet {
	n := internet{six: between(r, 0, 0.35), sixBase: 0x2a02<<48 | uint64(r.Uint32()&0xffff)<<32}
	octets := []int{31, 37, 62, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 176, 178, 188, 212, 213, 217}
	r.Shuffle(len(octets), func(i, j int) { octets[i], octets[j] = octets[j], octets[i] })
	take := func(bits int, share float64) provider {
		first := uint32(octets[0]) << 24
		octets = octets[1:]
		return provider{base: first | r.Uint32()&0xffffff&^(1<<(32-bits)-1), size: 1 << (32 - bits), share: share}
	}
	for i := range 10 {
		n.homes = append(n.homes, take(12, 1/float64(i+2)))
	}
	n.homeShare = cumulate(len(n.homes), func(i int) float64 { return n.homes[i].share })
	for range 3 {
		n.carriers = append(n.carriers, take(32-6-r.IntN(5), 1))
	}
	work := take(16, 1)
	for range 40 {
		n.offices = append(n.offices, work.at(r.Uint64()))
	}
	for range 48 {
		n.hosting = append(n.hosting, provider{base: uint32(45+r.IntN(3)*40)<<24 | r.Uint32()&0xffff00, size: 256})
	}
	return n
}

// The seeds of what belongs to an account or a visit.
const (
	ofHome = iota + 1
	ofHomeAt
	ofCarrier
	ofOffice
	ofPlace
	ofSix
	ofChannel
	ofEndpoint
	ofSoftware
	ofVersion
	ofPassword
	ofPopular
	ofUser
	ofUnknown
	ofToken
	ofStale
	ofEvent
	ofInterface
	ofBankAccount
	ofMonitor
	ofAggregator
	ofRelease
	ofStuck
	ofFactor
)

// home is the address of an account's household; with IPv6 any of its /64.
func (n *internet) home(account, visit uint64) netip.Addr {
	if unit(mix(account, ofSix)) < n.six {
		return sixAddr(n.sixBase+mix(account, ofHomeAt)&0xffffffff, mix(visit, ofInterface))
	}
	return n.homes[n.provider(account)].at(mix(account, ofHomeAt))
}

func (n *internet) provider(account uint64) int {
	return weighted(n.homeShare, unit(mix(account, ofHome)))
}

func sixAddr(network, host uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], network)
	binary.BigEndian.PutUint64(b[8:], host)
	return netip.AddrFrom16(b)
}

// carrier is the address that a phone has outside: of its carrier's pool,
// another every six hours.
func (n *internet) carrier(account uint64, now int64) netip.Addr {
	c := &n.carriers[mix(account, ofCarrier)%uint64(len(n.carriers))]
	return c.at(mix(account, uint64(now/(6*3600e9))<<8|ofCarrier))
}

func (n *internet) office(account uint64) netip.Addr {
	return n.offices[mix(account, ofOffice)%uint64(len(n.offices))]
}

// pool is where an attack comes from: shares of households (residential
// proxies), data centres, carriers' and offices' shared addresses.
type pool struct {
	net    *internet
	size   uint64 // addresses
	key    uint64
	shares []float64 // cumulative: households, IPv6 households, data centres, carriers, offices
	order  permutation
}

func newPool(r *rand.Rand, n *internet, size uint64, residential float64) *pool {
	rest := 1 - residential
	six := 0.0
	if n.six > 0 {
		six = residential * between(r, 0, 0.2)
	}
	w := []float64{residential - six, six, rest * between(r, 0.3, 1), rest * between(r, 0, 0.5), rest * between(r, 0, 0.1)}
	return &pool{net: n, size: size, key: r.Uint64(), shares: cumulate(len(w), func(i int) float64 { return w[i] }), order: newPermutation(1<<20*uint64(len(n.homes)), r.Uint64())}
}

// at is the i-th address of the pool. Households' do not repeat.
func (p *pool) at(i uint64) netip.Addr {
	i %= p.size
	h := mix(p.key, i)
	switch weighted(p.shares, unit(h)) {
	case 0:
		at := p.order.at(i)
		return p.net.homes[at>>20].at(at & (1<<20 - 1))
	case 1:
		return sixAddr(p.net.sixBase+mix(h, 1)&0xffffffff, mix(h, 2))
	case 2:
		d := &p.net.hosting[mix(h, 3)%uint64(len(p.net.hosting))]
		return d.at(mix(h, 4))
	case 3:
		return p.net.carrier(h, int64(i))
	}
	return p.net.office(h)
}

// near is an address of the same provider as an account's household.
func (p *pool) near(account, i uint64) netip.Addr {
	home := &p.net.homes[p.net.provider(account)]
	return home.at(mix(p.key, i))
}
