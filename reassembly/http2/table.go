package http2

import (
	"math/bits"

	"offpath/reassembly"
)

// Bounds of a dynamic table.
const (
	defaultTable = 4096     // octets, unless the encoder announces another size
	maxTable     = 64 << 10 // octets; what an encoder holds beyond is not known
	maxName      = 4 << 10  // octets of a name that can be used again; no real one is longer
	entryCost    = 32       // what an entry counts beside its octets (RFC 7541 section 4.1)
)

// table is the dynamic table of one direction (RFC 7541 section 2.3.2), or what
// is known of it: entries are counted from the newest, so that those made since
// the table was lost have their index for certain, whatever lies below.
// The zero value is the table of a new connection.
type table struct {
	octets  []byte  // names and values of the entries, oldest first
	entries []entry // oldest first
	first   int     // index of the oldest entry; those before are evicted
	size    int     // of the entries (RFC 7541 section 4.1)
	charge  int     // octets charged to the budget
	max     uint32  // announced maximum size, if sized
	sized   bool
	partial bool // below the entries there may be more
}

// entry is a field of the table.
type entry struct {
	at        uint32 // where its octets begin: the name, unless static says it, and the value
	name      uint32 // octets
	value     uint32 // octets
	size      uint32 // RFC 7541 section 4.1; at most the true one if not known
	anomalies reassembly.Anomalies
	static    uint8 // index of its name in the static table; 0: none
	role      role
	known     bool
}

// field is a header field as the decoder hands it on.
type field struct {
	name, value []byte
	anomalies   reassembly.Anomalies
	static      uint8 // index of the name in the static table; 0: none
	role        role
	known       bool // name and value are
	moves       bool // name and value are views into the table, valid until an entry is made
}

// limit is the size that the entries must not exceed.
func (t *table) limit() int {
	if !t.sized {
		return defaultTable
	}
	return int(min(t.max, maxTable))
}

// resize is the encoder's announcement of a maximum size.
func (t *table) resize(size uint32) {
	t.max, t.sized = size, true
	t.evict(t.limit())
	if size == 0 {
		t.partial = false // all is gone, known or not
	}
}

// lookup sets f to the field with an index; ok is false if there is none. Of one that is
// not known f stays the zero value that it was.
func (t *table) lookup(index uint64, f *field) (ok bool) {
	if index <= staticEntries {
		s := &static[index]
		f.name, f.value, f.role, f.static, f.known = s.name, s.value, s.role, uint8(index), true
		return index > 0
	}
	index -= staticEntries
	if index > uint64(len(t.entries)-t.first) {
		return t.partial
	}
	e := &t.entries[len(t.entries)-int(index)]
	if !e.known {
		return true
	}
	at := e.at + e.name
	*f = field{name: t.octets[e.at:at:at], value: t.octets[at : at+e.value : at+e.value], moves: true,
		anomalies: e.anomalies, role: e.role, static: e.static, known: true}
	if e.static != 0 {
		f.name = static[e.static].name
	}
	return true
}

// holds reports whether lookup finds an index.
func (t *table) holds(index uint64) bool {
	return index > 0 && (index <= uint64(staticEntries+len(t.entries)-t.first) || t.partial)
}

// insert makes an entry. The field's octets must not be views into the table.
func (t *table) insert(b Budget, f *field) {
	size := len(f.name) + len(f.value) + entryCost
	limit := t.limit()
	if size > limit {
		// An entry that is too large empties the table (RFC 7541 section 4.4).
		// One that is too large for us alone is the newest of theirs.
		t.evict(0)
		if t.sized && t.max > maxTable {
			t.partial = true
			t.append(b, &field{}, entryCost)
		}
		return
	}
	t.evict(limit - size)
	t.append(b, f, size)
}

// enterLong makes an entry of a field whose representation is so long that the field was
// not read.
func (t *table) enterLong(b Budget, octets uint64) {
	const longestCode = 30 // bits (RFC 7541 appendix B)
	if least := octets * 8 / longestCode; least <= uint64(t.limit()) || t.sized && t.max > maxTable {
		t.lose(b) // it may be in the table
		return
	}
	t.evict(0) // it is too large for it
}

// append adds an entry for which there is room.
func (t *table) append(b Budget, f *field, size int) {
	e := entry{size: uint32(size), anomalies: f.anomalies, static: f.static, role: f.role, known: f.known && len(f.name) <= maxName}
	name := f.name
	if f.static != 0 {
		name = nil
	}
	if e.known {
		e.name, e.value = uint32(len(name)), uint32(len(f.value))
	}
	if !t.reserve(b, int(e.name+e.value)) {
		t.lose(b)
		return
	}
	e.at = uint32(len(t.octets))
	if e.known {
		t.octets = append(append(t.octets, name...), f.value...)
	}
	t.entries = append(t.entries, e)
	t.size += size
}

// evict removes the oldest entries until the size is at most limit.
func (t *table) evict(limit int) {
	for t.size > limit {
		t.size -= int(t.entries[t.first].size)
		t.first++
		// What exceeds our own bound may still be in the encoder's table.
		t.partial = t.partial || t.sized && t.max > maxTable
	}
	if t.first == len(t.entries) {
		t.entries, t.octets, t.first = t.entries[:0], t.octets[:0], 0
	}
}

// entryOctets is the size of an entry in memory.
const entryOctets = 24

// step rounds a size up to a power of two or the middle between two: an allocation of
// such a size takes no more than that.
func step(n int) int {
	power := 1 << bits.Len(uint(n-1))
	if n <= power/4*3 {
		return power / 4 * 3
	}
	return power
}

// reserve makes room for one more entry and its octets, first by moving what is
// alive to the front. It returns false if the budget does not allow it.
func (t *table) reserve(b Budget, n int) bool {
	octets, entries := t.octets, t.entries
	from := 0
	if t.first < len(t.entries) {
		from = int(t.entries[t.first].at)
	}
	live, alive := len(octets)-from, len(entries)-t.first
	enough, room := len(octets)+n <= cap(octets), len(entries) < cap(entries)
	if enough && room {
		return true
	}
	if !enough && 2*(live+n) > cap(octets) {
		octets = make([]byte, 0, step(max(256, 2*cap(octets), 2*(live+n))))
	}
	if !room && 2*(alive+1) > cap(entries) {
		entries = make([]entry, 0, max(8, 2*cap(entries)))
	}
	if more := cap(octets) - cap(t.octets) + entryOctets*(cap(entries)-cap(t.entries)); more > 0 {
		if !b.Take(more) {
			return false
		}
		t.charge += more
	}
	t.octets = append(octets[:0], t.octets[from:]...)
	t.entries = append(entries[:0], t.entries[t.first:]...)
	t.first = 0
	for i := range t.entries {
		t.entries[i].at -= uint32(from)
	}
	return true
}

// lose forgets the table: from here on it is known only in part.
func (t *table) lose(b Budget) {
	t.release(b)
	*t = table{max: t.max, sized: t.sized, partial: true}
}

// release gives the memory back.
func (t *table) release(b Budget) {
	if t.charge > 0 {
		b.Give(t.charge)
	}
	t.octets, t.entries, t.first, t.size, t.charge = nil, nil, 0, 0, 0
}
