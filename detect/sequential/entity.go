package sequential

import "net/netip"

// entity is what is known of one client or network, 52 octets. Counts lose half
// their weight in a halfLife; times are seconds since the epoch.
type entity struct {
	address  [16]byte // of the key
	network  bool     // of the key
	pinned   bool     // under an active verdict
	noted    bool     // it was given a dossier, which may have been given up since
	strikes  uint8    // convictions, for as long as they are remembered
	score    float32  // of the test; 0 to twice the threshold
	good     float32  // successes
	bad      float32  // failures
	accounts float32  // accounts of which a login failed
	last     uint32   // time of the last change
	struck   uint32   // end of the last verdict
	// own means something else for each kind. Of a network it is the first
	// addresses that failed, or 0. Of an address it is when it last told how a
	// known-good client fares, and what it gave to the baseline.
	own [2]uint32
}

func (e *entity) key() key { return key{address: e.address, network: e.network} }

// hash stands for the entity where attempts are remembered, in every run the
// same.
func (e *entity) hash() uint64 { return e.key().hash(0) }

func (e *entity) subject() netip.Prefix { return e.key().subject() }

// vouched is when an address last told how a known-good client fares.
func (e *entity) vouched() uint32        { return e.own[0] }
func (e *entity) setVouched(time uint32) { e.own[0] = time }

// gift is an address's part in the baseline.
type gift struct {
	day     uint16 // days since the epoch
	given   uint8  // outcomes given on that day
	pending uint8  // failures not yet given
}

func (e *entity) gift() gift {
	return gift{day: uint16(e.own[1] >> 16), given: uint8(e.own[1] >> 8), pending: uint8(e.own[1])}
}

func (e *entity) setGift(g gift) {
	e.own[1] = uint32(g.day)<<16 | uint32(g.given)<<8 | uint32(g.pending)
}

func (e *entity) decay(now uint32) {
	if now <= e.last {
		return
	}
	f := float32(decay(e.last, now))
	e.score *= f
	e.good *= f
	e.bad *= f
	e.accounts *= f
	e.last = now
}

// share is the share of successes; 0 without any.
func (e *entity) share() float64 {
	if e.good <= 0 {
		return 0
	}
	return float64(e.good / (e.good + e.bad))
}

// information is how much would be lost with the entity.
func (e *entity) information(now uint32) float64 {
	if e.pinned {
		return 1e9
	}
	return float64(e.score+min(e.good, 4)+float32(e.strikes)) * decay(e.last, now)
}

// distinctFailing counts the addresses of a network that failed, up to three:
// that many make it the network's doing.
func (e *entity) distinctFailing(address uint32) int {
	address = max(address, 1)
	for i, f := range e.own {
		if f == 0 {
			e.own[i] = address
		}
		if f == 0 || f == address {
			if i == 0 && e.own[1] != 0 {
				return 2
			}
			return i + 1
		}
	}
	return 3
}
