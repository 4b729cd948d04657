package content

import (
	"encoding/binary"
	"math/bits"
)

// Bounds of an automaton: with everything full it takes about 3 MiB.
const (
	maxEdges   = 8 << 10
	maxStates  = 8 << 10
	maxFrames  = 1 << 10
	maxKnown   = 4 << 10  // keys
	edgeChains = 4 << 10  // a power of two
	maxChain   = 16       // edges of one chain
	edgeKeys   = 3        // keys that one edge notes
	edgeOctets = 32       // of one edge, a window
	onceSlots  = 1 << 10  // a power of two
	fullFor    = 32 << 10 // texts
)

// Trust in an automaton is how many texts it may fail to lead through before it
// is followed only seldom: one text in so many. One that it leads through earns
// some back.
const (
	maxTrust = 4 << 10
	earned   = 4
	seldom   = 16
)

// automaton is a deterministic automaton over the structure of JSON texts, built
// as they come (as RE2 builds its). The octets between the end of one value and
// the beginning of the next, such as `","amount":"`, are the same from text to
// text of one kind. So a state is where a scanner stands behind a value, and an
// edge says of such octets where it stands behind them and which keys they name:
// one comparison instead of a scan and a look-up for each key.
//
// Every edge says the truth about the scanner whatever else the automaton holds.
// So what a walk finds doesn't depend on what was learned before, and where no
// edge leads on the scanner takes over for the rest of the text.
//
// A text is learned from when it leaves the automaton where one before it did,
// with the same octets. When there is no room the automaton stays as it is for
// fullFor texts and longer, until it has lost all trust, and is then emptied. So
// a flood of structures costs little more than scanning them does.
type automaton struct {
	edges  []edge      // the first is none
	likely [][2]uint16 // of each state: edges that led on from there, the second with again
	chains [edgeChains]uint16
	ahead  [maxEdges]ahead // of edges

	known      []knownKey // the first is none
	generation uint32     // of the text at hand
	noted      [maxKeys]uint16
	taken      [maxEdges]uint32     // the generation that took an edge last
	tail       [2 * edgeOctets]byte // the last window of the text at hand, and behind it zeros

	trail   trail // of the text at hand
	vectors bool  // overStrings is used
	whole   [wholeTrails]wholeTrail

	learned      // what only learning needs
	trust   int  // in texts
	texts   uint // since it became full
}

// edge is 64 octets, a cache line. One that is longer than edgeOctets or has more
// than edgeKeys keys is several, with states between that lead on at once.
type edge struct {
	octets   [4]uint64 // little endian
	mask     [2]uint64 // which octets there are: of the first two words if they are all, else of the others
	size     uint8     // octets
	target   target
	class    class // of the name whose value follows, 0 if that is not one of a key
	from, to uint16
	chain    uint16           // the next edge of the chain
	keys     [edgeKeys]uint16 // in known; the first 0 ends them
}

// ahead is what overStrings expects behind an edge to a string. The next edge leaves the
// state to which this one leads, or is none.
type ahead struct {
	next   uint16 // the likely edge
	length uint16 // of the string that was there last, at most 32
}

// target is what follows the octets of an edge.
type target uint8

const (
	toNone   target = iota // the edge is none
	toEdge                 // another edge
	toString               // the octets of a string
	toScalar               // a number or literal
	toEnd                  // nothing: the text is complete
)

// knownKey is what an edge says of a key.
type knownKey struct {
	path       uint64
	generation uint32 // the last text that it was seen in
	info       nameInfo
}

// leads reports whether the octets of an edge stand in data at an index, and what
// it says that follows. window are the edgeOctets there.
func (e *edge) leads(data []byte, at int, window *[edgeOctets]byte) bool {
	if !e.stands(window) {
		return false
	}
	end := at + int(e.size)
	if e.target == toString {
		return end <= len(data)
	}
	return e.leadsOn(data, end)
}

// stands reports whether a window begins with the octets of an edge.
func (e *edge) stands(window *[edgeOctets]byte) bool {
	w0 := binary.LittleEndian.Uint64(window[:]) ^ e.octets[0]
	w1 := binary.LittleEndian.Uint64(window[8:]) ^ e.octets[1]
	if e.size <= 16 {
		return w0&e.mask[0]|w1&e.mask[1] == 0
	}
	w2 := binary.LittleEndian.Uint64(window[16:]) ^ e.octets[2]
	w3 := binary.LittleEndian.Uint64(window[24:]) ^ e.octets[3]
	return w0|w1|w2&e.mask[0]|w3&e.mask[1] == 0
}

// leadsOn is what leads looks at behind the octets.
func (e *edge) leadsOn(data []byte, end int) bool {
	switch e.target {
	case toNone:
		return false
	case toScalar:
		return end < len(data) && beginsScalar(data[end])
	}
	return end <= len(data)
}

// window returns the octets of data at an index, and zeros for those that are
// behind its end.
func (a *automaton) window(data []byte, at int) *[edgeOctets]byte {
	if at+edgeOctets <= len(data) {
		return (*[edgeOctets]byte)(data[at:])
	}
	return (*[edgeOctets]byte)(a.tail[at-max(len(data)-edgeOctets, 0):])
}

// setOctets sets the octets of an edge, at most edgeOctets.
func (e *edge) setOctets(b []byte) {
	e.size = uint8(len(b))
	for i, c := range b {
		e.octets[i/8] |= uint64(c) << (i % 8 * 8)
		if len(b) <= 16 || i >= 16 {
			e.mask[i/8%2] |= 0xff << (i % 8 * 8)
		}
	}
}

// beginsScalar reports whether c begins a number or literal, if it begins one.
func beginsScalar(c byte) bool {
	return isDigit(c) || c == '-' || c == 't' || c == 'f' || c == 'n'
}

// again marks a second likely edge that led on in the first one's stead: when it does
// again it becomes the first. So of the edge to an array's next element and that behind
// its last one the second look is for the rarer, and where they take turns for either.
const again = 1 << 15

// find returns the edge that leads on from a state, or 0.
func (a *automaton) find(state uint16, data []byte, at int, window *[edgeOctets]byte) uint16 {
	likely := &a.likely[state]
	if i := likely[1] &^ again; a.edges[i].leads(data, at, window) {
		if likely[1] != i {
			*likely = [2]uint16{i, likely[0]}
		} else {
			likely[1] |= again
		}
		return i
	}
	for _, size := range chainedBy {
		i := a.chains[chainOf(state, window[:size])]
		for i != 0 && !(a.edges[i].from == state && a.edges[i].leads(data, at, window)) {
			i = a.edges[i].chain
		}
		if i != 0 {
			*likely = [2]uint16{i, likely[0]}
			return i
		}
	}
	return 0
}

// chainedBy are how many of an edge's first octets say which chain it is in: the
// first of these numbers that is not more than it has.
var chainedBy = [...]int{16, 8, 4, 0}

// chainOf returns the chain of the edges from a state that begin with octets.
func chainOf(state uint16, octets []byte) uint64 {
	a, b := uint64(0), (uint64(state)+1)*0x9e3779b97f4a7c15
	switch n := len(octets); {
	case n >= 16:
		a = binary.LittleEndian.Uint64(octets)
		b ^= binary.LittleEndian.Uint64(octets[8:])
	case n >= 8:
		a = binary.LittleEndian.Uint64(octets)
	case n >= 4:
		a = uint64(binary.LittleEndian.Uint32(octets))
	}
	high, low := bits.Mul64(a^0xe7037ed1a0b428db, b)
	return (high ^ low) % edgeChains
}
