package http2

import (
	"golang.org/x/net/http2/hpack"

	"offpath/reassembly"
)

// decoder decodes header blocks (RFC 7541 section 3).
type decoder struct {
	octets []byte // strings of the block at hand that are not views into it
	name   []byte // of the entry that is being made, if it was another's
	named  int    // octets of such names in the block at hand
}

// Write appends to the decoder's strings, for hpack.HuffmanDecode.
func (d *decoder) Write(p []byte) (int, error) {
	d.octets = append(d.octets, p...)
	return len(p), nil
}

// maxNamed is how many octets of names a block may copy from entry to entry, beside
// those of the fields that are kept. Two octets of it can copy as much as the table
// holds, and no server takes a section so large: it is as good as cut.
const maxNamed = 1 << 20

// begin begins a header block, or a part of one.
func (d *decoder) begin(s *section) {
	d.octets, d.named = d.octets[:0], 0
	s.reset()
}

// block decodes a header block into s and updates the table. cut says that the
// block goes on beyond its octets. What follows an error is not read, and the
// table is lost.
func (d *decoder) block(t *table, b Budget, s *section, block []byte, cut bool) {
	d.begin(s)
	rest, ok := block, true
	for ok && len(rest) > 0 {
		if d.named > maxNamed {
			cut = true
			break
		}
		rest, ok = d.representation(t, b, s, rest)
	}
	switch {
	case cut:
		s.anomalies |= reassembly.AnomalyHeadTooLarge
		t.lose(b)
	case !ok:
		s.anomalies |= reassembly.AnomalyHPACKError
		t.lose(b)
	}
	s.whole = ok && !cut
}

// representation decodes one field representation or table size update (RFC 7541
// section 6).
func (d *decoder) representation(t *table, b Budget, s *section, block []byte) (rest []byte, ok bool) {
	switch first := block[0]; {
	case first >= 0x80: // indexed
		index, rest, ok := integer(block, 7)
		if !ok {
			return nil, false
		}
		if s.over {
			return rest, t.holds(index)
		}
		var f field
		if !t.lookup(index, &f) {
			return nil, false
		}
		d.keep(s, &f)
		return rest, true
	case first >= 0x40: // literal, from now on indexed
		var f field
		if rest, ok = d.literal(t, block, 6, &f); !ok {
			return nil, false
		}
		d.keep(s, &f)
		if f.moves {
			d.named += len(f.name)
			d.name = append(d.name[:0], f.name...)
			f.name, f.moves = d.name, false
		}
		t.insert(b, &f)
		return rest, true
	case first >= 0x20: // table size update
		size, rest, ok := integer(block, 5)
		if !ok {
			return nil, false
		}
		if s.begun() {
			s.anomalies |= reassembly.AnomalyHPACKError // its place is the beginning
		}
		t.resize(uint32(size))
		return rest, true
	default: // literal, not indexed, or never
		var f field
		if rest, ok = d.literal(t, block, 4, &f); !ok {
			return nil, false
		}
		d.keep(s, &f)
		return rest, true
	}
}

// keep hands a field on, as far as it is known and there is room for it.
func (d *decoder) keep(s *section, f *field) {
	if !f.known {
		s.unknown++
		s.anomalies |= f.anomalies
		return
	}
	if !s.room(f) {
		return
	}
	if f.moves {
		if f.static == 0 {
			f.name = d.copy(f.name)
		}
		f.value, f.moves = d.copy(f.value), false
	}
	s.add(f)
}

// copy makes a view that outlives changes of the table.
func (d *decoder) copy(b []byte) []byte {
	from := len(d.octets)
	d.octets = append(d.octets, b...)
	return d.octets[from:len(d.octets):len(d.octets)]
}

// literal decodes a literal field into f, whose name is an index of so many bits or a
// string (RFC 7541 section 6.2). Only its name may be a view into the table.
func (d *decoder) literal(t *table, block []byte, bits uint, f *field) (rest []byte, ok bool) {
	index, rest, ok := integer(block, bits)
	if !ok {
		return nil, false
	}
	if index > 0 {
		if ok = t.lookup(index, f); !ok {
			return nil, false
		}
		f.anomalies &= nameAnomalies
		f.moves = f.moves && f.static == 0
	} else {
		if f.name, rest, ok = d.string(rest); !ok {
			return nil, false
		}
		f.known, f.role = true, roleOf(f.name)
		f.anomalies = checkName(f.name)
	}
	if f.value, rest, ok = d.string(rest); !ok {
		return nil, false
	}
	f.anomalies |= checkValue(f.value)
	return rest, true
}

// string decodes a string literal (RFC 7541 section 5.2).
func (d *decoder) string(block []byte) (s, rest []byte, ok bool) {
	if len(block) == 0 {
		return nil, nil, false
	}
	huffman := block[0]&0x80 != 0
	length, rest, ok := integer(block, 7)
	if !ok || length > uint64(len(rest)) {
		return nil, nil, false
	}
	s, rest = rest[:length:length], rest[length:]
	if !huffman {
		return s, rest, true
	}
	from := len(d.octets)
	if _, err := hpack.HuffmanDecode(d, s); err != nil {
		return nil, nil, false
	}
	return d.octets[from:len(d.octets):len(d.octets)], rest, true
}

// integer decodes an integer with a prefix of so many bits (RFC 7541 section
// 5.1), up to 2^32-1. Zeros may follow to 63 bits, as some receivers allow.
func integer(block []byte, bits uint) (n uint64, rest []byte, ok bool) {
	most := uint64(1)<<bits - 1
	n = uint64(block[0]) & most
	if n < most {
		return n, block[1:], true
	}
	for i, c := range block[1:] {
		if i == 9 {
			break
		}
		n += uint64(c&0x7f) << (7 * i)
		if n > 1<<32-1 {
			break
		}
		if c&0x80 == 0 {
			return n, block[i+2:], true
		}
	}
	return 0, nil, false
}

// nameAnomalies are the anomalies that a field has by its name.
const nameAnomalies = reassembly.AnomalyInvalidHeader

// checkName says what is wrong with a field name: it must be a token in lower
// case, of pseudo-header fields after a colon (RFC 9113 section 8.2.1).
func checkName(name []byte) reassembly.Anomalies {
	if len(name) > 0 && name[0] == ':' {
		name = name[1:]
	}
	for _, c := range name {
		if !nameOctet[c] {
			return reassembly.AnomalyInvalidHeader
		}
	}
	if len(name) == 0 {
		return reassembly.AnomalyInvalidHeader
	}
	return 0
}

// nameOctet are the octets of a token, upper case left out.
var nameOctet = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = true
	}
	return t
}()

// checkValue says what is wrong with a field value (RFC 9113 section 8.2.1).
func checkValue(value []byte) (a reassembly.Anomalies) {
	for _, c := range value {
		if c > '\r' {
			continue
		}
		switch c {
		case 0:
			a |= reassembly.AnomalyNULInHead
		case '\r':
			a |= reassembly.AnomalyBareCR
		case '\n':
			a |= reassembly.AnomalyBareLF
		}
	}
	return a
}
