// Package legs recognises the two sights that a mirror may have of one
// request, in front of and behind a load balancer, so that it is counted once.
//
// Two transactions are legs of one request if they agree in effective client,
// method, path, query, request body size, account, password, API key and
// status, came from different source addresses (and so on different
// connections), one of them at least by forwarding (its effective client is not
// its source), and if one happened within the other. A load balancer that rewrites the path
// hides that; then both are counted.
//
// The first sight counts, whichever it is: normally the one behind, which ends
// first. What the load balancer refuses has no leg behind it, and an
// unanswered request is never matched.
//
// A [Matcher] remembers the latest [Capacity] requests, in a ring; it belongs
// to one goroutine. Its hashes have no seed, since they outlive a restart: who
// makes two requests collide has one of them taken for the other's leg, and
// would have to use the same account and password in both.
package legs

import (
	"math/rand/v2"
	"net/netip"

	"github.com/cespare/xxhash/v2"

	"offpath/detect/internal/generations"
	"offpath/reassembly"
)

const (
	// Capacity is how many requests wait for their second sight.
	Capacity = 16384
	// slack is how far one leg may reach out of the other, ns: the mirror's
	// two taps and a load balancer's last octets are not quite in step.
	slack = 50e6
	// maxAge is how long after its end a request waits, ns.
	maxAge = 30e9
	// forwardedFor is how long after a forwarded request the other kind waits
	// too, ns: where nothing is forwarded there are no legs.
	forwardedFor = 60e9
	// maxChain is how many waiting requests of the same looks are compared.
	maxChain = 32
)

// Requests that wait are in chains, by a hash of their keys.
const (
	headBits = 15
	heads    = 1 << headBits
)

// Matcher finds second legs.
type Matcher struct {
	ring      []waiting
	next      uint64   // serial of the next entry; its place is serial % Capacity
	latest    []uint32 // by chain: serial + 1 of the latest entry; 0: none
	links     []link   // by place
	seed      uint64   // of the chains, against keys chosen to share one; what is found doesn't depend on it
	forwarded int64    // end of the latest forwarded request
	any       bool     // there was one
	key       uint64   // of the transaction at hand, once it is needed; 0: not yet
}

// link is what a look along a chain needs of an entry: most entries are not what is
// looked for, and the ring is too large for a cache. Serials are their lower halves: one
// that is taken for another has another key, or waits no more.
type link struct {
	older uint32 // serial + 1 of the entry before it in its chain; 0: none
	key   uint32 // the key's lower half
}

// waiting is a request that was seen once.
type waiting struct {
	key        uint64
	start, end int64
	source     netip.Addr
	forwarded  bool
	matched    bool
	annotation reassembly.Annotation
}

// New makes a Matcher.
func New() *Matcher {
	return &Matcher{latest: make([]uint32, heads), links: make([]link, Capacity), seed: rand.Uint64()}
}

// Second reports whether tx is the second sight of a request, and returns what
// the first was annotated with.
func (m *Matcher) Second(tx *reassembly.Transaction) (reassembly.Annotation, bool) {
	m.key = 0
	if !m.eligible(tx) || len(m.ring) == 0 {
		return reassembly.Annotation{}, false
	}
	key, forwarded := m.keyOf(tx), isForwarded(tx)
	compared := 0
	for serial := m.latest[m.chain(key)]; serial != 0 && uint32(m.next)-serial < Capacity && compared < maxChain; {
		place := (serial - 1) % Capacity
		at := m.links[place]
		serial = at.older
		if at.key != uint32(key) {
			continue
		}
		w := &m.ring[place]
		if w.key != key {
			continue
		}
		if w.end < tx.End-maxAge {
			break
		}
		if !w.matched && (forwarded || w.forwarded) && w.source != tx.Source.Addr() && within(w, tx) {
			w.matched = true
			return w.annotation, true
		}
		compared++
	}
	return reassembly.Annotation{}, false
}

// First remembers the request that Second was asked about last, annotated now,
// until its second sight.
func (m *Matcher) First(tx *reassembly.Transaction) {
	if !m.eligible(tx) {
		return
	}
	forwarded := isForwarded(tx)
	if forwarded {
		m.forwarded, m.any = tx.End, true
	} else if !m.any || tx.End-m.forwarded > forwardedFor {
		return
	}
	if len(m.ring) < Capacity {
		m.ring = append(m.ring, waiting{})
	}
	m.ring[m.next%Capacity] = waiting{
		key: m.keyOf(tx), start: tx.Start, end: tx.End, source: tx.Source.Addr(),
		forwarded: forwarded, annotation: tx.Annotation,
	}
	m.link(m.next)
	m.next++
}

// link puts the entry with a serial at the head of its chain. Who was in its place is at
// the end of one, and known there by its serial.
func (m *Matcher) link(serial uint64) {
	place := serial % Capacity
	key := m.ring[place].key
	chain := m.chain(key)
	m.links[place] = link{older: m.latest[chain], key: uint32(key)}
	m.latest[chain] = uint32(serial + 1)
}

func (m *Matcher) chain(key uint64) uint64 { return generations.Mix(m.seed, key) >> (64 - headBits) }

func (m *Matcher) eligible(tx *reassembly.Transaction) bool {
	return tx.Response.Status != 0 && tx.RefusedBy == "" && tx.Client.IsValid()
}

func isForwarded(tx *reassembly.Transaction) bool { return tx.Client != tx.Source.Addr() }

// within reports whether one of the two happened within the other.
func within(w *waiting, tx *reassembly.Transaction) bool {
	inside := w.start >= tx.Start-slack && w.end <= tx.End+slack
	around := tx.Start >= w.start-slack && tx.End <= w.end+slack
	return inside || around
}

// keyOf hashes what both legs agree in, once for both questions about a request.
func (m *Matcher) keyOf(tx *reassembly.Transaction) uint64 {
	if m.key == 0 {
		m.key = max(m.hash(tx), 1)
	}
	return m.key
}

// sumOfNothing is the hash of an empty text, as most requests have several.
var sumOfNothing = xxhash.Sum64String("")

func (m *Matcher) hash(tx *reassembly.Transaction) uint64 {
	client := tx.Client.As16()
	h := xxhash.Sum64(client[:])
	for _, s := range [...]string{
		tx.Request.Method, tx.Request.Path, tx.Request.Query, tx.Auth.UserHash, tx.Auth.PasswordHash, tx.Auth.APIKeyHash,
	} {
		if s == "" {
			h = generations.Mix(h, sumOfNothing)
			continue
		}
		h = generations.Mix(h, xxhash.Sum64String(s))
	}
	return generations.Mix(h, uint64(tx.Response.Status)<<40^uint64(tx.Request.BodyBytes))
}
