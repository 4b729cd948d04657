package content

import "offpath/reassembly/internal/jsonscan"

// learned is what an automaton knows that only serves to add to it and to hand
// over to the scanner.
type learned struct {
	states   []stateInfo
	stateIDs map[stateInfo]uint16
	frames   []frame // the first is around the text
	frameIDs map[frame]uint16
	keyIDs   map[uint64]uint16 // by path
	keyNames []keyName         // of known
	spots    []spot            // of edges
	once     [onceSlots]uint64 // hashes of states and octets where texts left the automaton
	full     bool
}

// stateInfo is where a scanner stands behind a value.
type stateInfo struct {
	path  uint64 // of the last key, or of what holds the value
	class class  // of that key, if another value would be its
	frame uint16
}

// frame is an open object or array.
type frame struct {
	path  uint64
	outer uint16
	depth uint8
	array bool
}

// keyName is what a keySet needs to know of a known key.
type keyName struct {
	parent uint64
	name   ends
}

// spot is the key whose value follows an edge; depth is 0 if there is none.
type spot struct {
	parent     uint64
	key        uint16
	depth      uint8
	name, size uint8 // where it stands behind the last value, octets
}

// reset empties the automaton.
func (a *automaton) reset() {
	a.edges = append(a.edges[:0], edge{})
	a.likely = append(a.likely[:0], [2]uint16{})
	clear(a.chains[:])
	clear(a.ahead[:])
	clear(a.whole[:])
	a.known = append(a.known[:0], knownKey{})
	a.keyNames = append(a.keyNames[:0], keyName{})
	a.spots = append(a.spots[:0], spot{})
	a.frames = append(a.frames[:0], frame{})
	a.states = append(a.states[:0], stateInfo{})
	if a.stateIDs == nil {
		a.stateIDs, a.frameIDs, a.keyIDs = map[stateInfo]uint16{}, map[frame]uint16{}, map[uint64]uint16{}
	}
	clear(a.stateIDs)
	clear(a.frameIDs)
	clear(a.keyIDs)
	a.full, a.trust = false, maxTrust
}

// begin readies the automaton for a text; not ok if it is not to be followed.
func (a *automaton) begin(data []byte) (ok bool) {
	if a.texts++; a.trust == 0 {
		if a.full && a.texts >= fullFor {
			a.reset()
		} else if a.texts%seldom != 0 {
			return false
		}
	}
	if len(data) >= edgeOctets {
		copy(a.tail[:edgeOctets], data[len(data)-edgeOctets:])
	} else {
		clear(a.tail[copy(a.tail[:], data):edgeOctets])
	}
	if a.generation++; a.generation == 0 {
		for i := range a.known {
			a.known[i].generation = 0
		}
		clear(a.taken[:])
		a.generation = 1
	}
	return true
}

// judge says whether the automaton led through most of a text.
func (a *automaton) judge(led bool) {
	if led {
		a.trust = min(a.trust+earned, maxTrust)
	} else if a.trust > 0 {
		a.trust--
	}
}

// longestGap is the most octets between two values that are learned.
const longestGap = 255

// isWorthLearning reports whether a text left the automaton here before, going
// on with the same octets, and notes that it did. s stands at p.
func (a *automaton) isWorthLearning(p place, data []byte, s jsonscan.Scanner) bool {
	s.Quiet(false)
	for s.Pos()-p.at <= longestGap {
		switch t, raw := s.Next(); {
		case t == jsonscan.End:
			return false
		case t >= jsonscan.String, t == jsonscan.Close && s.Depth() == 0:
			h := mix64(fnv64(data[p.at:valueStart(&s, t, raw)]) ^ uint64(p.state))
			slot := &a.once[h%onceSlots]
			again := *slot == h
			*slot = h
			return again
		}
	}
	return false
}

// valueStart returns the index at which the token begins that s read last: where
// the string begins behind its quote; the end of what is no value.
func valueStart(s *jsonscan.Scanner, t jsonscan.Token, raw []byte) int {
	if t == jsonscan.String {
		return s.Pos() - 1 - len(raw)
	}
	return s.Pos() - len(raw)
}

// learner follows the scanner through a text and adds what it sees to the
// automaton.
type learner struct {
	on    bool
	from  place // the last value ends there
	frame uint16
	spot  spot // of the last key behind it
	keys  [8]gapKey
	n     int // of keys
}

// gapKey is a key between two values.
type gapKey struct {
	key uint16
	end int // behind its colon
}

func (l *learner) start(a *automaton, p place) {
	*l = learner{on: true, from: p, frame: a.states[p.state].frame}
}

// room returns the next number of a table, or ends the learning if it is full.
func (l *learner) room(a *automaton, size, limit int) (id uint16, ok bool) {
	if size >= limit {
		if l.on = false; !a.full {
			a.full, a.texts = true, 0
		}
		return 0, false
	}
	return uint16(size), true
}

// open notes that an object or array begins.
func (l *learner) open(a *automaton, path uint64, array bool) {
	f := frame{path, l.frame, a.frames[l.frame].depth + 1, array}
	id, ok := a.frameIDs[f]
	if !ok {
		if id, ok = l.room(a, len(a.frames), maxFrames); !ok {
			return
		}
		a.frames = append(a.frames, f)
		a.frameIDs[f] = id
	}
	l.frame = id
}

// close notes that one ends, and learns that the text does if it was the last.
func (l *learner) close(a *automaton, data []byte, s *jsonscan.Scanner) {
	if l.frame = a.frames[l.frame].outer; l.frame == 0 {
		l.learn(a, data, s.Pos(), edge{target: toEnd})
		l.on = false
	}
}

// key notes the key that s read last: m has its parent and what it says, name is
// raw with its escapes undone.
func (l *learner) key(a *automaton, m *member, path uint64, name, raw, data []byte, s *jsonscan.Scanner) {
	if path == keyPath(m.parent, 0) || l.n == len(l.keys) || s.Pos()-l.from.at > longestGap {
		l.on = false // a name that is data, or too much between two values
		return
	}
	id, ok := a.keyIDs[path]
	if !ok {
		if id, ok = l.room(a, len(a.known), maxKnown); !ok {
			return
		}
		a.known = append(a.known, knownKey{path: path, info: m.info})
		a.keyNames = append(a.keyNames, keyName{m.parent, endsOf(name)})
		a.keyIDs[path] = id
	}
	if info := a.known[id].info; info != m.info || info != classify(name) {
		l.on = false // two names of one path
		return
	}
	l.keys[l.n] = gapKey{id, s.Pos()}
	l.n++
	quote := s.Pos() - 2
	for data[quote] != '"' {
		quote--
	}
	l.spot = spot{m.parent, id, uint8(s.Depth()), uint8(quote - len(raw) - l.from.at), uint8(len(raw))}
}

// value learns what leads to the value that s read last: one of the key with
// that path and, if another may follow, class.
func (l *learner) value(a *automaton, data []byte, s *jsonscan.Scanner, t jsonscan.Token, raw []byte, path uint64, class class) {
	begin := valueStart(s, t, raw)
	if l.frame == 0 || begin-l.from.at > longestGap {
		l.on = false
		return
	}
	info := stateInfo{path, class, l.frame}
	to, ok := a.stateIDs[info]
	if !ok {
		if to, ok = l.state(a, info); !ok {
			return
		}
		a.stateIDs[info] = to
	}
	x := edge{target: toScalar, class: class, to: to}
	if t == jsonscan.String {
		x.target = toString
	}
	l.learn(a, data, begin, x)
	l.from = place{state: to, at: s.Pos()}
	l.n, l.spot = 0, spot{}
}

// state adds a state.
func (l *learner) state(a *automaton, info stateInfo) (id uint16, ok bool) {
	if id, ok = l.room(a, len(a.states), maxStates); ok {
		a.states = append(a.states, info)
		a.likely = append(a.likely, [2]uint16{})
	}
	return id, ok
}

// learn adds the edges from the last value to the one that begins at end; x says
// what the last of them leads to. Those that are there are not added again.
func (l *learner) learn(a *automaton, data []byte, end int, x edge) {
	keys := l.keys[:l.n]
	for state, at := l.from.state, l.from.at; l.on && at < end; {
		i := a.find(state, data, at, a.window(data, at))
		if i == 0 {
			if i = l.edge(a, data[at:end], at, state, keys, x); i == 0 {
				return
			}
		}
		state, at = a.edges[i].to, at+int(a.edges[i].size)
		for len(keys) > 0 && keys[0].end <= at {
			keys = keys[1:]
		}
	}
}

// edge adds the first edge of a gap that begins at an index of the text: x if
// that is all, else one to another.
func (l *learner) edge(a *automaton, gap []byte, at int, from uint16, keys []gapKey, x edge) uint16 {
	size, n := min(len(gap), edgeOctets), 0
	for n < len(keys) && keys[n].end <= at+size {
		if n == edgeKeys {
			size = keys[n-1].end - at
			break
		}
		x.keys[n] = keys[n].key
		n++
	}
	id, ok := l.room(a, len(a.edges), maxEdges)
	if !ok {
		return 0
	}
	where := l.spot
	if size < len(gap) {
		x.target, x.class, where = toEdge, 0, spot{}
		if x.to, ok = l.state(a, stateInfo{}); !ok {
			return 0
		}
	}
	x.from = from
	x.setOctets(gap[:size])
	chain := &a.chains[chainOf(from, gap[:size])]
	length := 0
	for i := *chain; i != 0; i = a.edges[i].chain {
		length++
	}
	if _, ok = l.room(a, length, maxChain); !ok {
		return 0
	}
	x.chain, *chain = *chain, id
	a.edges = append(a.edges, x)
	a.spots = append(a.spots, where)
	return id
}
