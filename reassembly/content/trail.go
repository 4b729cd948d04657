package content

import (
	"slices"

	"offpath/reassembly/internal/jsonscan"
)

// Bounds of trails.
const (
	maxTrail    = 64     // edges, more than there are between two values
	maxWhole    = 32     // edges of a wholeTrail, and values that it shows
	wholeTrails = 1 << 6 // a power of two
)

// place is where a walk stands behind a value, or at the beginning.
type place struct {
	state uint16
	at    int // in the text
	noted int // keys
}

// trail is the edges that a walk took, and those values behind them that somebody
// may want. They are found first, and what they say is gathered then: a loop over
// the octets and one over the edges are each short enough for the processor's
// registers.
type trail struct {
	edges  [maxTrail]uint16
	values [maxTrail]trailValue // of the edges that have a class
	n      int                  // edges
}

// trailValue is a string between its quotes, a number or a literal.
type trailValue struct {
	from       int32 // where the value before it ended
	begin, end int32
	token      jsonscan.Token
}

// wholeTrail is what the edges from the beginning of a text to its end say. Texts
// of one kind take the same edges.
type wholeTrail struct {
	wanted     class
	n          uint8 // edges; 0: none are known
	shown      uint8 // values
	edges      [maxWhole]uint16
	keys       uint16
	set, order uint64
	values     [maxWhole]shownValue
}

// shownValue is a value that its visitor wants.
type shownValue struct {
	edge  uint16
	value uint8 // in trail.values
	fresh bool  // its key was not seen before
}

// stop is why a trail ends.
type stop uint8

const (
	atEnd  stop = iota // of the text
	stuck              // no edge leads on
	noRoom             // for more edges
)

// follow walks as far as the automaton leads. It returns where the scanner has
// to go on, or that the walk is done.
func (e *Extractor) follow(data []byte, v visitor) (p place, done bool) {
	a, wanted := &e.automaton, v.wanted()
	t := &a.trail
	next, why := a.lead(data, p)
	var whole *wholeTrail
	if why == atEnd && t.n <= maxWhole {
		whole = a.wholeTrail()
		if whole.wanted == wanted && slices.Equal(whole.edges[:whole.n], t.edges[:t.n]) {
			e.keys.n, e.keys.set, e.keys.order = int(whole.keys), whole.set, whole.order
			for _, s := range whole.values[:whole.shown] {
				e.show(v, data, s)
			}
			return next, true
		}
		whole.n, whole.shown = 0, 0
	}
	keys := trailKeys{}
	for {
		if !e.gather(data, &keys, v, wanted, whole) {
			return p, false
		}
		p, p.noted = next, keys.n
		switch why {
		case stuck:
			return p, false
		case noRoom:
			next, why = a.lead(data, p)
			continue
		}
		e.keys.n, e.keys.set, e.keys.order = keys.n, keys.set, keys.order
		if whole != nil {
			whole.wanted, whole.keys, whole.set, whole.order = wanted, uint16(keys.n), keys.set, keys.order
			whole.n = uint8(copy(whole.edges[:], t.edges[:t.n]))
		}
		return p, true
	}
}

// lead finds the trail from a place, and the place behind its last value.
func (a *automaton) lead(data []byte, p place) (place, stop) {
	t := &a.trail
	state, at := p.state, p.at
	t.n = 0
	for n, values := 0, 0; ; n++ {
		if before := n; at == p.at {
			if state, at, n, values = a.run(data, state, at, n, values); n > before {
				t.n, p.state, p.at = n, state, at
			}
		}
		if n == maxTrail {
			break
		}
		i, window := a.likely[state][0], a.window(data, at)
		if !a.edges[i].leads(data, at, window) {
			if i = a.find(state, data, at, window); i == 0 {
				return p, stuck
			}
		}
		if n > 0 {
			a.ahead[t.edges[n-1]].next = a.likely[state][0]
		}
		edge := &a.edges[i]
		t.edges[n] = i
		at += int(edge.size)
		state = edge.to
		begin, end, token := at, at, jsonscan.String
		switch edge.target {
		case toString:
			if end, _ = jsonscan.StringEnd(data, at); end < 0 {
				return p, stuck
			}
			at = end + 1
		case toScalar:
			if token, end = jsonscan.Scalar(data, at); token == jsonscan.End || end == len(data) {
				return p, stuck
			}
			at = end
		case toEnd:
			t.n = n + 1
			return p, atEnd
		default:
			continue
		}
		if edge.class != 0 {
			t.values[values] = trailValue{int32(p.at), int32(begin), int32(end), token}
			values++
		}
		t.n, p.state, p.at = n+1, state, at
	}
	if t.n == 0 {
		return p, stuck
	}
	return p, noRoom
}

// stringSteps is the part of lead that most steps are: over likely edges to strings, from
// behind a value. It adds to the n edges of the trail and to its values, and returns where
// it stands and how many there are. It may stop anywhere.
func (a *automaton) stringSteps(data []byte, state uint16, at, n, values int) (uint16, int, int, int) {
	t, likely, edges := &a.trail, a.likely, a.edges
	for n < maxTrail && at+edgeOctets <= len(data) {
		i := likely[state][0]
		edge := &edges[i]
		if edge.target != toString || !edge.stands((*[edgeOctets]byte)(data[at:])) {
			break
		}
		begin := at + int(edge.size)
		end, _ := jsonscan.StringEnd(data, begin)
		if end < 0 {
			break
		}
		if edge.class != 0 {
			t.values[values] = trailValue{int32(at), int32(begin), int32(end), jsonscan.String}
			values++
		}
		t.edges[n] = i
		n++
		state, at = edge.to, end+1
	}
	return state, at, n, values
}

// trailKeys are the keys of a walk, as a keySet has them.
type trailKeys struct {
	n          int
	set, order uint64
	fresh      bool // the last one was not seen before
}

// gather notes the keys that the trail names, and shows the values that are wanted
// to v. It does nothing and is not ok if there may be more keys than are noted. What
// it shows is added to whole, if not nil.
func (e *Extractor) gather(data []byte, keys *trailKeys, v visitor, wanted class, whole *wholeTrail) (ok bool) {
	a, t := &e.automaton, &e.automaton.trail
	if keys.n+edgeKeys*t.n > maxKeys {
		return false
	}
	value := uint8(0)
	for _, i := range t.edges[:t.n] {
		edge := &a.edges[i]
		if a.taken[i] == a.generation {
			keys.fresh = false
		} else {
			a.taken[i] = a.generation
			a.note(edge, keys)
		}
		if edge.class == 0 {
			continue
		}
		if edge.class&wanted != 0 {
			s := shownValue{i, value, keys.fresh}
			e.show(v, data, s)
			if whole != nil {
				whole.values[whole.shown] = s
				whole.shown++
			}
		}
		value++
	}
	return true
}

// note notes the keys of an edge that is taken for the first time in a text.
func (a *automaton) note(edge *edge, keys *trailKeys) {
	for j := 0; j < edgeKeys && edge.keys[j] != 0; j++ {
		k := edge.keys[j]
		key := &a.known[k]
		if keys.fresh = key.generation != a.generation; keys.fresh {
			key.generation = a.generation
			a.noted[keys.n] = k
			keys.n++
			keys.set += mix64(key.path)
			keys.order = mix64(keys.order ^ key.path)
		}
	}
}

// show shows a value of the trail at hand to v.
func (e *Extractor) show(v visitor, data []byte, s shownValue) {
	a, m := &e.automaton, &e.member
	found := &a.trail.values[s.value]
	if spot := &a.spots[s.edge]; spot.depth != 0 {
		name := data[int(found.from)+int(spot.name):][:spot.size]
		m.parent, m.depth, m.name, m.first = spot.parent, int(spot.depth), value{name, encodingJSON}, s.fresh
		m.info = a.known[spot.key].info
	}
	m.show(v, found.token, data[found.begin:found.end])
}

// wholeTrail returns where the trail at hand is remembered if it is.
func (a *automaton) wholeTrail() *wholeTrail {
	t := a.trail.edges[:a.trail.n]
	return &a.whole[(uint(t[len(t)-1])+31*uint(t[len(t)/2])+7*uint(len(t)))%wholeTrails]
}
