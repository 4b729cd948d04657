package sequential

import (
	"encoding/binary"
	"net/netip"
)

// key names an entity: an address (IPv4 as mapped), or an IPv6 /64 network.
type key struct {
	address [16]byte
	network bool
}

func addressKey(a netip.Addr) key { return key{address: a.As16()} }

// networkKey is the key of an IPv6 address's /64.
func networkKey(a netip.Addr) key {
	k := key{address: a.As16(), network: true}
	clear(k.address[8:])
	return k
}

func (k key) hash() uint64 {
	h := mix(binary.BigEndian.Uint64(k.address[:]), binary.BigEndian.Uint64(k.address[8:]))
	if k.network {
		h = mix(h, 64)
	}
	return h
}

// subject is the prefix that the key stands for.
func (k key) subject() netip.Prefix {
	a := netip.AddrFrom16(k.address).Unmap()
	if k.network {
		return netip.PrefixFrom(a, 64)
	}
	return netip.PrefixFrom(a, a.BitLen())
}

func subjectKey(p netip.Prefix) key {
	if p.Addr().Is6() && p.Bits() == 64 {
		return networkKey(p.Addr())
	}
	return addressKey(p.Addr())
}

// entity is what is known of one client or network. Counts lose half their
// weight in a halfLife; times are seconds since the epoch.
type entity struct {
	key      key
	pinned   bool    // under an active verdict
	strikes  uint8   // convictions, for as long as they are remembered
	pending  uint8   // failures not yet given to the baseline
	given    uint8   // outcomes given to the baseline on day
	day      uint16  // days since the epoch
	score    float32 // of the test; 0 to twice the threshold
	good     float32 // successes
	bad      float32 // failures
	accounts float32 // accounts of which a login failed
	last     uint32  // time of the last change
	struck   uint32  // end of the last verdict
	vouched  uint32  // when it last told how a known-good client fares
	pardoned uint32  // networks: addresses not seen since start anew
	dossier  int32   // index + 1 of its evidence; 0: none
	failing  [2]uint32
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
	for i, f := range e.failing {
		if f == 0 {
			e.failing[i] = address
		}
		if f == 0 || f == address {
			if i == 0 && e.failing[1] != 0 {
				return 2
			}
			return i + 1
		}
	}
	return 3
}

// table is the bounded memory of entities: chunks of structs without pointers,
// so that a million of them cost the garbage collector nothing. When it is
// full, the hand of a clock looks at the next few and the one that tells least
// makes room.
type table struct {
	index     map[key]uint32
	chunks    [][]entity
	count     int
	limit     int
	hand      int
	evictions uint64
	forget    func(*entity)
}

const (
	chunkSize = 4096
	looks     = 8 // entities that the hand looks at
)

func newTable(limit int, forget func(*entity)) *table {
	return &table{index: make(map[key]uint32), limit: limit, forget: forget}
}

func (t *table) at(i int) *entity { return &t.chunks[i/chunkSize][i%chunkSize] }

func (t *table) find(k key) *entity {
	if i, ok := t.index[k]; ok {
		return t.at(int(i))
	}
	return nil
}

// get finds an entity or makes it, for which keep never makes room.
func (t *table) get(k key, now uint32, keep *entity) *entity {
	if e := t.find(k); e != nil {
		return e
	}
	i := t.count
	if i < t.limit {
		if i%chunkSize == 0 {
			t.chunks = append(t.chunks, make([]entity, min(chunkSize, t.limit-i)))
		}
		t.count++
	} else {
		i = t.victim(now, keep)
		e := t.at(i)
		delete(t.index, e.key)
		t.forget(e)
		t.evictions++
	}
	e := t.at(i)
	*e = entity{key: k, last: now}
	t.index[k] = uint32(i)
	return e
}

func (t *table) victim(now uint32, keep *entity) int {
	least, info := -1, 0.0
	for range looks {
		t.hand = (t.hand + 1) % t.limit
		if t.at(t.hand) == keep {
			continue
		}
		if v := t.at(t.hand).information(now); least < 0 || v < info {
			least, info = t.hand, v
		}
	}
	return least
}
