package decode

import (
	"bytes"
	"math"
	"slices"
	"sort"

	"offpath/capture"
)

// Octets that fragments may take.
const (
	Memory    = 32 << 20 // of a process: what half a second of 500 Mbit/s brings
	MinMemory = 1 << 20  // of a Decoder
)

const (
	// fragmentTimeout is how long a datagram waits for its missing fragments,
	// in ns of the packets' clock from the first that came: what Linux and the
	// BSDs do. (RFC 8200 allows 60 s for IPv6; fragments follow each other
	// within milliseconds.)
	fragmentTimeout = 30e9

	// echoTimeout is how long the copies of a datagram's fragments that a
	// mirror makes may come after it was whole. It is short because
	// identifiers come again: those of IPv4 after 65536 datagrams.
	echoTimeout = 100e6

	// maxPieces bounds the pieces of one datagram, and so the work on each. A
	// datagram of 64 KiB over the least MTU of IPv6 has 53.
	maxPieces = 256

	// sourceShare of the memory is what one source may take: a sender that
	// leaves datagrams unfinished doesn't push out those of others.
	sourceShare = 4

	maxDatagram = math.MaxUint16

	datagramCost = 320 // octets of a datagram and its place in the table
	pieceCost    = 16  // octets of a piece
)

// datagramKey is what fragments of one datagram have in common: addresses,
// identification and, in IPv4, the protocol (RFC 791, RFC 8200 section 4.5).
// As with connections, tags and tunnels around the packet take no part.
type datagramKey struct {
	src, dst capture.Addr
	id       uint32
	protocol uint8 // 0 in IPv6, where only the first fragment's counts
	version  uint8
}

// fragment is a part of a datagram, or the whole.
type fragment struct {
	offset int    // of its first octet in the datagram
	size   int    // octets on the wire
	more   bool   // more fragments follow
	next   uint8  // protocol of the datagram, if offset is 0
	octets []byte // those that were captured
}

// valid tells whether a host would take the fragment: it isn't empty, all but
// the last are of multiples of 8 octets, and the datagram stays within what its
// length can say ("ping of death").
func (f *fragment) valid() bool {
	return f.size > 0 && (f.size%8 == 0 || !f.more) && f.offset+f.size <= maxDatagram
}

// defragmenter puts datagrams together.
//
// A datagram is given up if a part of it comes again with other octets, or if
// its end is not where an earlier fragment put it: hosts differ in which part
// they keep ("teardrop", RFC 1858, RFC 3128), so nobody could say what the
// server saw, and the rest of its fragments are ignored for as long as it would
// have waited. In IPv6 every overlap does so but that of identical fragments
// (RFC 5722, RFC 8200); in IPv4, where overlaps are allowed and a mirror on
// both sides of a router that fragments makes them, those whose octets agree
// don't. Current Linux drops all overlaps in IPv4 too: a sender whose
// overlapping fragments agree can then show us a segment that the server threw
// away, which reassembly sees as one that is never acknowledged.
//
// Fragments that hold not even a TCP header ("tiny") are like others: nothing
// is read of a datagram before it is whole.
//
// A mirror may deliver each fragment twice. The copies that come after the
// datagram was whole must not wait for the next of the same identifier and mix
// with it, so for a short time such a datagram is remembered: fragments equal
// to it (an echo) are collected by themselves, and forgotten at the end of that
// time unless one comes that differs and shows that it is another datagram.
type defragmenter struct {
	table   map[datagramKey]*datagram
	sources map[capture.Addr]*source
	waiting queue // unfinished or contradictory, by age
	echoing queue // whole, by the time at which they were
	limit   int   // octets that all of them may take
	cost    int   // octets that they take
	spare   []*datagram
	stats   capture.FragmentStats
}

// maxSpare and maxSpareOctets bound the datagrams that are kept to be used
// again.
const (
	maxSpare       = 64
	maxSpareOctets = 4096
)

// source is an IPv4 address or an IPv6 /64 that fragments come from.
type source struct {
	addr  capture.Addr
	queue queue // its datagrams, by age
	cost  int
}

// datagram is one of which fragments have come.
type datagram struct {
	key      datagramKey
	source   *source
	deadline int64 // of the packets' clock
	links    [2]struct{ before, after *datagram }
	cost     int

	pieces  []piece // by start; they don't overlap
	octets  []byte  // captured octets of the pieces, in the order in which they came
	covered int     // octets of all pieces on the wire
	total   int     // octets of the datagram; -1 until its last fragment has come
	next    uint8   // protocol by its first fragment

	contradictory bool     // its fragments are ignored
	former        fragment // what was whole not long ago, if its size isn't 0; then the pieces are echoes
}

// piece is a part of a datagram.
type piece struct {
	start, end uint32 // in the datagram
	at         uint32 // in datagram.octets
	captured   uint32 // octets there
}

func newDefragmenter(limit int) *defragmenter {
	return &defragmenter{
		table: map[datagramKey]*datagram{}, sources: map[capture.Addr]*source{}, limit: limit,
		waiting: queue{link: linkState}, echoing: queue{link: linkState},
	}
}

// add takes a valid fragment. If its datagram is whole with it, that is
// returned; its octets are not written to any more.
func (t *defragmenter) add(now int64, key datagramKey, f fragment) (whole fragment) {
	t.expire(now)
	g := t.table[key]
	switch {
	case g == nil:
		g = t.begin(now, key)
	case g.contradictory:
		return fragment{}
	case g.isEcho() && g.former.contains(&f):
		t.stats.Duplicates++
	case g.isEcho():
		t.revive(g, now)
	}
	switch g.insert(&f) {
	case insertedNothing:
		if !g.isEcho() {
			t.stats.Duplicates++
		}
	case insertedContradiction:
		t.stats.Conflicting++
		t.condemn(g, now)
	case insertedTooMany:
		t.stats.Evicted++
		t.condemn(g, now)
	}
	if g.covered == g.total {
		t.stats.Whole++
		whole = g.take()
		t.remember(g, now, whole)
	}
	t.settle(g)
	return whole
}

// flush gives up all that waits: no fragment will come any more.
func (t *defragmenter) flush() { t.expire(math.MaxInt64) }

// begin makes a datagram that waits.
func (t *defragmenter) begin(now int64, key datagramKey) *datagram {
	addr := key.src
	if key.version == 6 {
		clear(addr[8:])
	}
	s := t.sources[addr]
	if s == nil {
		s = &source{addr: addr, queue: queue{link: linkSource}}
		t.sources[addr] = s
	}
	g := &datagram{}
	if n := len(t.spare); n > 0 {
		g, t.spare = t.spare[n-1], t.spare[:n-1]
	}
	*g = datagram{key: key, source: s, deadline: now + fragmentTimeout, total: -1, pieces: g.pieces[:0], octets: g.octets[:0]}
	t.table[key] = g
	t.waiting.push(g)
	s.queue.push(g)
	return g
}

// remember makes an echo of a datagram that is whole.
func (t *defragmenter) remember(g *datagram, now int64, whole fragment) {
	t.stateOf(g).remove(g)
	g.former, g.deadline = whole, now+echoTimeout
	t.echoing.push(g)
}

// revive makes an echo a datagram of its own.
func (t *defragmenter) revive(g *datagram, now int64) {
	t.echoing.remove(g)
	g.former, g.deadline = fragment{}, now+fragmentTimeout
	t.waiting.push(g)
}

// condemn gives a datagram up, and what else comes of it.
func (t *defragmenter) condemn(g *datagram, now int64) {
	if g.isEcho() {
		t.revive(g, now)
	}
	g.contradictory = true
	g.pieces, g.octets, g.covered, g.total = nil, nil, 0, -1
}

// expire forgets what has waited for too long.
func (t *defragmenter) expire(now int64) {
	for g := t.waiting.first; g != nil && g.deadline <= now; g = t.waiting.first {
		if !g.contradictory {
			t.stats.Expired++
		}
		t.forget(g)
	}
	for g := t.echoing.first; g != nil && g.deadline <= now; g = t.echoing.first {
		t.forget(g)
	}
}

// settle enters what a datagram takes into the books, and gives up others, the
// oldest first, until all stay within their bounds.
func (t *defragmenter) settle(g *datagram) {
	cost := datagramCost + cap(g.pieces)*pieceCost + cap(g.octets) + cap(g.former.octets)
	s := g.source
	t.cost += cost - g.cost
	s.cost += cost - g.cost
	g.cost = cost
	for s.cost > t.limit/sourceShare {
		t.evict(s.queue.first)
	}
	for t.cost > t.limit {
		if t.echoing.first != nil {
			t.evict(t.echoing.first)
		} else {
			t.evict(t.waiting.first)
		}
	}
}

func (t *defragmenter) evict(g *datagram) {
	if !g.contradictory && !g.isEcho() {
		t.stats.Evicted++
	}
	t.forget(g)
}

func (t *defragmenter) forget(g *datagram) {
	t.stateOf(g).remove(g)
	delete(t.table, g.key)
	t.cost -= g.cost
	s := g.source
	s.cost -= g.cost
	if s.queue.remove(g); s.queue.first == nil {
		delete(t.sources, s.addr)
	}
	if len(t.spare) < maxSpare && cap(g.octets) <= maxSpareOctets {
		*g = datagram{pieces: g.pieces, octets: g.octets}
		t.spare = append(t.spare, g)
	}
}

func (t *defragmenter) stateOf(g *datagram) *queue {
	if g.isEcho() {
		return &t.echoing
	}
	return &t.waiting
}

// contains tells whether o is a part of f, as it was cut from it.
func (f *fragment) contains(o *fragment) bool {
	end := o.offset + o.size
	if end > f.size || o.more != (end < f.size) || o.offset == 0 && o.next != f.next {
		return false
	}
	known := f.octets[min(o.offset, len(f.octets)):min(end, len(f.octets))]
	n := min(len(known), len(o.octets))
	return bytes.Equal(known[:n], o.octets[:n])
}

func (g *datagram) isEcho() bool { return g.former.size != 0 }

// insertion is what a fragment did to its datagram.
type insertion uint8

const (
	insertedSomething insertion = iota
	insertedNothing
	insertedContradiction
	insertedTooMany
)

// insert adds what of the fragment was not there.
func (g *datagram) insert(f *fragment) insertion {
	end := f.offset + f.size
	n := len(g.pieces)
	switch {
	case f.more && g.total >= 0 && end >= g.total,
		!f.more && g.total >= 0 && end != g.total,
		!f.more && n > 0 && end < int(g.pieces[n-1].end):
		return insertedContradiction
	}
	i := sort.Search(n, func(i int) bool { return int(g.pieces[i].end) > f.offset })
	same := i < n && int(g.pieces[i].start) == f.offset && int(g.pieces[i].end) == end
	for _, p := range g.pieces[i:] {
		if int(p.start) >= end {
			break
		}
		if g.key.version == 6 && !same || !g.agrees(p, f) {
			return insertedContradiction
		}
	}
	result := insertedNothing
	for at := f.offset; at < end; i++ {
		next := end
		if i < len(g.pieces) {
			next = min(end, int(g.pieces[i].start))
		}
		if next <= at { // the piece is there
			at = int(g.pieces[i].end)
			continue
		}
		if len(g.pieces) == maxPieces {
			return insertedTooMany
		}
		g.pieces = slices.Insert(g.pieces, i, g.keep(f, at, next))
		g.covered += next - at
		at, result = next, insertedSomething
	}
	if !f.more {
		g.total = end
	}
	if f.offset == 0 && result == insertedSomething {
		g.next = f.next
	}
	return result
}

// captured returns the captured octets of a fragment between two offsets in
// the datagram.
func (f *fragment) captured(start, end int) []byte {
	n := len(f.octets)
	return f.octets[min(start-f.offset, n):min(end-f.offset, n)]
}

// keep copies the octets of a fragment between two offsets.
func (g *datagram) keep(f *fragment, start, end int) piece {
	octets := f.captured(start, end)
	at := len(g.octets)
	g.octets = append(g.octets, octets...)
	return piece{start: uint32(start), end: uint32(end), at: uint32(at), captured: uint32(len(octets))}
}

// agrees tells whether piece and fragment have the same octets where they
// overlap and both were captured.
func (g *datagram) agrees(p piece, f *fragment) bool {
	start, end := max(int(p.start), f.offset), min(int(p.end), f.offset+f.size)
	theirs := f.captured(start, end)
	ours := g.octets[p.at:][:p.captured]
	ours = ours[min(start-int(p.start), len(ours)):min(end-int(p.start), len(ours))]
	n := min(len(ours), len(theirs))
	return bytes.Equal(ours[:n], theirs[:n])
}

// take returns the datagram, which is whole, as far as it was captured without
// a hole, and leaves it empty.
func (g *datagram) take() fragment {
	ordered, captured := true, uint32(0)
	for _, p := range g.pieces {
		ordered = ordered && p.start == captured && p.at == captured
		captured += p.captured
	}
	octets := g.octets
	if !ordered {
		octets = make([]byte, 0, captured)
		for _, p := range g.pieces {
			if int(p.start) != len(octets) {
				break
			}
			octets = append(octets, g.octets[p.at:][:p.captured]...)
		}
	}
	whole := fragment{size: g.total, next: g.next, octets: octets[:len(octets):len(octets)]}
	g.pieces, g.octets, g.covered, g.total = g.pieces[:0], nil, 0, -1
	return whole
}

// A datagram is in two queues at once: that of its state and that of its
// source.
const (
	linkState = iota
	linkSource
)

// queue is a list of datagrams, linked through themselves.
type queue struct {
	link        int
	first, last *datagram
}

func (q *queue) push(g *datagram) {
	g.links[q.link].before, g.links[q.link].after = q.last, nil
	if q.last == nil {
		q.first = g
	} else {
		q.last.links[q.link].after = g
	}
	q.last = g
}

func (q *queue) remove(g *datagram) {
	l := &g.links[q.link]
	if l.before == nil {
		q.first = l.after
	} else {
		l.before.links[q.link].after = l.after
	}
	if l.after == nil {
		q.last = l.before
	} else {
		l.after.links[q.link].before = l.before
	}
	l.before, l.after = nil, nil
}
