package http2

import "offpath/reassembly"

// overflow is what a header block has beyond MaxHead octets. What they say is left out,
// but for the entries that they make in the compression table: without those it would
// be lost for the rest of the connection. The octets of the block are then those of a
// field that has not come whole.
type overflow struct {
	kept      []byte // the section as far as it was within the bounds
	unknown   int    // section.unknown
	anomalies reassembly.Anomalies
	named     int    // decoder.named, and fieldWork for each field
	field     uint64 // length of a field that is longer than MaxHead itself
	skip      uint64 // octets left of it
	enters    bool   // it makes an entry
	broken    bool   // the block can't be decoded on
}

// overflowCost is what an overflow is charged beside its buffer.
const overflowCost = 96

// release gives back what a block keeps.
func (k *block) release(r *Reader, b Budget) {
	r.release(b, &k.octets)
	if o := k.overflow; o != nil {
		r.release(b, &o.kept)
		b.Give(overflowCost)
		k.overflow = nil
	}
}

// gather adds a fragment to a block that comes in parts. It returns false if there is
// no room for it.
func (r *Reader) gather(b Budget, d *direction, fragment []byte) bool {
	k := &d.block
	if k.overflow == nil {
		n := min(len(fragment), MaxHead-len(k.octets))
		if !r.keep(b, &k.octets, fragment[:n]) {
			return false
		}
		if fragment = fragment[n:]; len(fragment) == 0 {
			return true
		}
		if !r.overflows(b, d) {
			return false
		}
	}
	return r.goOn(b, d, fragment)
}

// overflows makes a block, of which MaxHead octets have come, one that goes on beyond
// them. It returns false if there is no room for what they say.
func (r *Reader) overflows(b Budget, d *direction) bool {
	if !b.Take(overflowCost) {
		return false
	}
	k, o, s := &d.block, &overflow{}, &r.section
	k.overflow = o
	r.decoder.begin(s)
	rest := r.spill(b, d)
	o.unknown, o.anomalies = s.unknown, s.anomalies|reassembly.AnomalyHeadTooLarge
	o.kept = r.keepHead(b)
	k.octets = k.octets[:copy(k.octets, rest)]
	return o.kept != nil
}

// goOn reads on in a block that overflows.
func (r *Reader) goOn(b Budget, d *direction, fragment []byte) bool {
	k, o := &d.block, d.block.overflow
	r.decoder.begin(&r.section)
	r.decoder.named = o.named
	r.section.over = true // nothing is kept
	for len(fragment) > 0 && !o.broken {
		if o.skip > 0 {
			n := min(o.skip, uint64(len(fragment)))
			fragment = fragment[n:]
			if o.skip -= n; o.skip == 0 && o.enters {
				d.table.enterLong(b, o.field)
			}
			continue
		}
		n := min(len(fragment), MaxHead-len(k.octets))
		if !r.keep(b, &k.octets, fragment[:n]) {
			return false
		}
		fragment = fragment[n:]
		k.octets = k.octets[:copy(k.octets, r.spill(b, d))]
	}
	return true
}

// spill decodes the fields that are whole of a block that overflows, into the Reader's
// section, and returns the rest.
func (r *Reader) spill(b Budget, d *direction) (rest []byte) {
	k, o := &d.block, d.block.overflow
	rest = k.octets
	for len(rest) > 0 && !o.broken {
		length, extent := extentOf(rest)
		switch {
		case r.decoder.named > maxNamed:
			k.cut, o.broken = true, true // as good as
		case extent == extentOpen && len(rest) == MaxHead, extent == extentNone:
			o.broken = true
		case extent == extentOpen, length > uint64(len(rest)) && len(rest) < MaxHead:
			o.named = r.decoder.named
			return rest
		case length > uint64(len(rest)):
			o.field, o.skip, o.enters = length, length-MaxHead, rest[0]&0xc0 == 0x40
			rest = nil
		default:
			_, ok := r.decoder.representation(&d.table, b, &r.section, rest[:length])
			r.decoder.named += fieldWork
			o.broken = !ok
			rest = rest[length:]
		}
	}
	o.named = r.decoder.named
	return nil
}

// fieldWork is what each field of a block that overflows counts of maxNamed: so many
// fields no server takes either, nor are they read without end.
const fieldWork = 16

// extent is what is known of how far a field goes.
type extent uint8

const (
	extentNone  extent = iota // it is none
	extentOpen                // more octets are needed to tell
	extentKnown               // to its length
)

// extentOf says how long the field representation is that block begins with.
func extentOf(block []byte) (length uint64, e extent) {
	index := uint(7)
	strings := 0
	switch first := block[0]; {
	case first >= 0x80:
	case first >= 0x40:
		index, strings = 6, 1
	case first >= 0x20:
		index = 5
	default:
		index, strings = 4, 1
	}
	n, width, e := extentOfInteger(block, index)
	if strings == 1 && n == 0 {
		strings = 2 // the name is one
	}
	for length = width; e == extentKnown && strings > 0; strings-- {
		if length >= uint64(len(block)) {
			return 0, extentOpen
		}
		n, width, e = extentOfInteger(block[length:], 7)
		length += width + n
	}
	return length, e
}

// extentOfInteger reads an integer with a prefix of so many bits.
func extentOfInteger(block []byte, bits uint) (n, width uint64, e extent) {
	const longest = 11
	n, rest, ok := integer(block, bits)
	switch {
	case ok:
		return n, uint64(len(block) - len(rest)), extentKnown
	case len(block) < longest:
		return 0, 0, extentOpen
	}
	return 0, 0, extentNone
}

// finish makes the section of a block that has overflowed.
func (o *overflow) finish(r *Reader, b Budget, d *direction, k *block) {
	s := &r.section
	whole := !o.broken && !k.cut && o.skip == 0 && len(k.octets) == 0
	if !whole {
		d.table.lose(b)
	}
	s.reset()
	for rest := o.kept[keptHead:]; len(rest) > 0; {
		var f field
		f.name, f.value, rest = nextKept(rest)
		f.role, f.known = roleOf(f.name), true
		s.add(&f)
	}
	s.unknown, s.anomalies, s.whole = o.unknown, o.anomalies, whole
	if !whole && !k.cut {
		s.anomalies |= reassembly.AnomalyHPACKError
	}
}
