package sequential

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"offpath/detect/internal/generations"
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

// hash is the key's number, another for each seed.
func (k key) hash(seed uint64) uint64 {
	h := generations.Mix(generations.Mix(seed, binary.BigEndian.Uint64(k.address[:])), binary.BigEndian.Uint64(k.address[8:]))
	if k.network {
		h = generations.Mix(h, 64)
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

// table is the bounded memory of entities: chunks of structs without pointers,
// so that a million of them cost the garbage collector nothing, found by an
// index of four octets for each of at most half its slots. When it is full, the
// hand of a clock looks at the next few and the one that tells least makes room.
//
// The index is a hash table with linear probing, seeded at random against
// addresses chosen to collide; what the table holds doesn't depend on the seed.
type table struct {
	seed      uint64
	slots     []uint32 // tag and place of an entity; 0: free
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
	// placeBits of a slot are the entity's place, the others the tag: bits of
	// the key's hash, never 0, by which most others are told without a look at
	// them.
	placeBits  = 26
	placeMask  = 1<<placeBits - 1
	firstSlots = 1 << 10
)

func newTable(limit int, forget func(*entity)) *table {
	return &table{seed: rand.Uint64(), slots: make([]uint32, firstSlots), limit: limit, forget: forget}
}

func (t *table) at(i int) *entity { return &t.chunks[i/chunkSize][i%chunkSize] }

func (t *table) find(k key) *entity {
	if s := t.slots[t.slot(k, k.hash(t.seed))]; s != 0 {
		return t.at(placeOf(s))
	}
	return nil
}

// get finds an entity or makes it, for which keep never makes room.
func (t *table) get(k key, now uint32, keep *entity) *entity {
	h := k.hash(t.seed)
	slot := t.slot(k, h)
	if s := t.slots[slot]; s != 0 {
		return t.at(placeOf(s))
	}
	i := t.count
	if i < t.limit {
		if i%chunkSize == 0 {
			t.chunks = append(t.chunks, make([]entity, min(chunkSize, t.limit-i)))
		}
		t.count++
		if 2*t.count > len(t.slots) {
			t.grow(i)
			slot = t.slot(k, h)
		}
	} else {
		i = t.victim(now, keep)
		e := t.at(i)
		t.remove(e.key())
		t.forget(e)
		t.evictions++
		slot = t.slot(k, h)
	}
	t.slots[slot] = tagOf(h) | uint32(i)
	e := t.at(i)
	*e = entity{address: k.address, network: k.network, last: now}
	return e
}

// slot finds the slot of a key with the hash h, or the free one for it.
func (t *table) slot(k key, h uint64) int {
	tag := tagOf(h)
	for i := t.home(h); ; i = t.next(i) {
		if s := t.slots[i]; s == 0 || s&^placeMask == tag && t.at(placeOf(s)).key() == k {
			return i
		}
	}
}

// home is the first slot for a hash, next the one after a slot.
func (t *table) home(h uint64) int { return int(h) & (len(t.slots) - 1) }
func (t *table) next(slot int) int { return (slot + 1) & (len(t.slots) - 1) }
func tagOf(h uint64) uint32        { return max(uint32(h>>(32+placeBits)), 1) << placeBits }
func placeOf(slot uint32) int      { return int(slot & placeMask) }

// grow doubles the index of the first n entities.
func (t *table) grow(n int) {
	t.slots = make([]uint32, 2*len(t.slots))
	for place := range n {
		k := t.at(place).key()
		h := k.hash(t.seed)
		t.slots[t.slot(k, h)] = tagOf(h) | uint32(place)
	}
}

// remove takes a key out of the index. What it kept from its own slot moves up.
func (t *table) remove(k key) {
	mask := len(t.slots) - 1
	free := t.slot(k, k.hash(t.seed))
	for i := t.next(free); t.slots[i] != 0; i = t.next(i) {
		home := t.home(t.at(placeOf(t.slots[i])).key().hash(t.seed))
		if (i-home)&mask >= (i-free)&mask {
			t.slots[free] = t.slots[i]
			free = i
		}
	}
	t.slots[free] = 0
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
