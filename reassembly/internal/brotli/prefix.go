package brotli

// Bounds of prefix codes (RFC 7932 section 3).
const (
	maxLength   = 15 // bits of a code
	maxAlphabet = 704
	rootBits    = 8 // bits that the first table is looked up by, at most
)

// tree is a prefix code, as a table that is looked up by the next root bits. An
// entry that is longer stands for a second table, which begins at its value and
// is looked up by the bits that it is longer.
type tree struct {
	table []entry
	root  uint8
}

type entry struct {
	value  uint16
	length uint8
}

// scratch is what reading prefix codes needs.
type scratch struct {
	lengths [maxAlphabet]uint8
	sorted  [maxAlphabet]uint16
	entries []entry // of all trees of the meta-block at hand
}

// table makes room for n entries.
func (s *scratch) table(n int) []entry {
	if len(s.entries)+n > cap(s.entries) {
		// Trees that were built keep what they have.
		s.entries = make([]entry, 0, max(2*cap(s.entries), n, 4<<10))
	}
	from := len(s.entries)
	s.entries = s.entries[:from+n]
	return s.entries[from : from+n : from+n]
}

// one returns the code of an alphabet of which one symbol is used; it takes no
// bits.
func (s *scratch) one(symbol uint16) tree {
	t := tree{table: s.table(1)}
	t.table[0] = entry{value: symbol}
	return t
}

// build makes the code whose lengths stand in s.lengths[:alphabet], of which the
// caller has made sure that they make a complete code.
func (s *scratch) build(alphabet int) tree {
	var count, next [maxLength + 2]int
	for _, n := range s.lengths[:alphabet] {
		count[n]++
	}
	count[0] = 0
	longest := 0
	for n := 1; n <= maxLength; n++ {
		next[n+1] = next[n] + count[n]
		if count[n] > 0 {
			longest = n
		}
	}
	for symbol, n := range s.lengths[:alphabet] {
		if n > 0 {
			s.sorted[next[n]] = uint16(symbol)
			next[n]++
		}
	}
	root := min(longest, rootBits)
	size, seconds := s.measure(&count, longest, root)
	t := tree{table: s.table(size), root: uint8(root)}
	code, i := 0, 0
	for n := 1; n <= longest; n++ {
		for range count[n] {
			e := entry{s.sorted[i], uint8(n)}
			i++
			if n <= root {
				spread(t.table[:1<<root], reversed(code, n), n, e)
			} else {
				first := reversed(code>>(n-root), root)
				second := seconds[first]
				t.table[first] = entry{uint16(second.at), uint8(root + second.bits)}
				e.length = uint8(n - root)
				spread(t.table[second.at:second.at+1<<second.bits], reversed(code, n)>>root, n-root, e)
			}
			code++
		}
		code <<= 1
	}
	return t
}

// second is the place of a second table.
type second struct {
	at   int
	bits int // that it is looked up by
}

// measure returns how many entries a code needs, and where its second tables
// are.
func (s *scratch) measure(count *[maxLength + 2]int, longest, root int) (size int, seconds [1 << rootBits]second) {
	size = 1 << root
	code := 0
	for n := 1; n <= longest; n++ {
		for range count[n] {
			if n > root {
				seconds[reversed(code>>(n-root), root)].bits = n - root
			}
			code++
		}
		code <<= 1
	}
	if longest > root {
		for i := range seconds[:1<<root] {
			if seconds[i].bits > 0 {
				seconds[i].at = size
				size += 1 << seconds[i].bits
			}
		}
	}
	return size, seconds
}

// spread sets every entry whose low n bits are code.
func spread(table []entry, code, n int, e entry) {
	for i := code; i < len(table); i += 1 << n {
		table[i] = e
	}
}

// reversed is the lowest n bits of code in reverse order.
func reversed(code, n int) (r int) {
	for range n {
		r = r<<1 | code&1
		code >>= 1
	}
	return r
}

// readTree reads a prefix code (sections 3.4 and 3.5); not ok if it is none.
func (r *Reader) readTree(alphabet int) (t tree, ok bool) {
	skip := int(r.in.bits(2))
	if skip == 1 {
		return r.simpleTree(alphabet)
	}
	clear(r.lengths[:18])
	space, codes := 32, 0
	for _, symbol := range lengthOrder[skip:] {
		r.in.fill()
		e := lengthCode[r.in.acc&15]
		r.in.skip(uint(e.length))
		if n := e.value; n > 0 {
			r.lengths[symbol] = uint8(n)
			codes++
			if space -= 32 >> n; space <= 0 {
				break
			}
		}
	}
	if space != 0 && codes != 1 || r.in.err != nil {
		return t, false
	}
	var lengths tree
	if codes == 1 {
		for symbol, n := range r.lengths[:18] {
			if n > 0 {
				lengths = r.one(uint16(symbol))
			}
		}
	} else {
		lengths = r.build(18)
	}
	if !r.readLengths(&lengths, alphabet) {
		return t, false
	}
	return r.build(alphabet), true
}

// readLengths reads the lengths of a prefix code's symbols.
func (r *Reader) readLengths(code *tree, alphabet int) bool {
	clear(r.lengths[:alphabet])
	space, previous := 1<<maxLength, uint8(8)
	repeat, repeated := 0, uint8(0)
	for symbol := 0; symbol < alphabet && space > 0; {
		if r.in.err != nil {
			return false
		}
		n := uint8(r.in.symbol(code))
		if n < 16 {
			r.lengths[symbol] = n
			symbol++
			repeat = 0
			if n > 0 {
				previous = n
				space -= 1 << (maxLength - n)
			}
			continue
		}
		length, bits := uint8(0), uint8(3)
		if n == 16 {
			length, bits = previous, 2
		}
		if repeated != length {
			repeat, repeated = 0, length
		}
		before := repeat
		if repeat > 0 {
			repeat = (repeat - 2) << bits
		}
		repeat += int(r.in.bits(bits)) + 3
		more := repeat - before
		if symbol+more > alphabet {
			return false
		}
		if length > 0 {
			for i := range more {
				r.lengths[symbol+i] = length
			}
			space -= more << (maxLength - length)
		}
		symbol += more
	}
	return space == 0 && r.in.err == nil
}

// simpleTree reads a prefix code of one to four symbols.
func (r *Reader) simpleTree(alphabet int) (t tree, ok bool) {
	width := uint8(0)
	for 1<<width < alphabet {
		width++
	}
	n := int(r.in.bits(2)) + 1
	var symbols [4]uint16
	for i := range n {
		symbols[i] = uint16(r.in.bits(width))
		if int(symbols[i]) >= alphabet {
			return t, false
		}
		for _, other := range symbols[:i] {
			if other == symbols[i] {
				return t, false
			}
		}
	}
	if r.in.err != nil {
		return t, false
	}
	if n == 1 {
		return r.one(symbols[0]), true
	}
	shape := n - 2
	if n == 4 && r.in.bits(1) == 1 {
		shape = 3
	}
	clear(r.lengths[:alphabet])
	for i, symbol := range symbols[:n] {
		r.lengths[symbol] = simpleLengths[shape][i]
	}
	return r.build(alphabet), true
}

var simpleLengths = [4][4]uint8{{1, 1}, {1, 2, 2}, {2, 2, 2, 2}, {1, 2, 3, 3}}

// lengthOrder is the order in which the lengths of the code of lengths stand.
var lengthOrder = [18]uint8{1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// lengthCode is the fixed code of those lengths, looked up by four bits.
var lengthCode = [16]entry{
	{0, 2}, {4, 2}, {3, 2}, {2, 3}, {0, 2}, {4, 2}, {3, 2}, {1, 4},
	{0, 2}, {4, 2}, {3, 2}, {2, 3}, {0, 2}, {4, 2}, {3, 2}, {5, 4},
}
