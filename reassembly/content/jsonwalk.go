package content

import (
	"bytes"

	"offpath/reassembly/internal/jsonscan"
)

// walkJSON visits every scalar member (and scalar element of an array that is a
// member) of a JSON text whose name says what v wants, noting all keys.
func (e *Extractor) walkJSON(data []byte, v visitor) {
	data = afterGuard(data)
	e.topMember()
	a := &e.automaton
	if !a.begin(data) {
		e.scan(data, place{}, v, false)
		return
	}
	p, done := e.follow(data, v)
	if a.judge(done || p.at > len(data)/2); !done {
		e.scan(data, p, v, !a.full)
	}
}

// scan is walkJSON from where the automaton doesn't lead on; learn says whether
// the text may be learned from.
func (e *Extractor) scan(data []byte, p place, v visitor, learn bool) {
	a, l, m, paths, wanted := &e.automaton, &e.learner, &e.member, &e.paths, v.wanted()
	s, path, class := jsonscan.New(data), rootPath, class(0)
	if p.at > 0 {
		s, path, class = e.resume(data, p)
	}
	if l.on = false; learn && a.isWorthLearning(p, data, s) {
		l.start(a, p)
	}
	s.Quiet(class&wanted == 0 && !l.on)
	for {
		t, raw := s.Next()
		switch t {
		case jsonscan.End:
			return
		case jsonscan.Object, jsonscan.Array:
			paths[s.Depth()] = path
			if l.on {
				l.open(a, path, t == jsonscan.Array)
			}
		case jsonscan.Close:
			path = paths[s.Depth()]
			class = 0 // what follows is no value of that key
			if l.on {
				l.close(a, data, &s)
			}
			s.Quiet(!l.on)
		case jsonscan.Key:
			m.parent = paths[s.Depth()]
			name := raw
			if s.Escaped() {
				e.value = jsonscan.AppendUnescaped(e.value[:0], raw)
				name = e.value
			}
			path, m.info, m.first = e.keys.add(m.parent, name)
			class = m.info.class
			if l.on {
				l.key(a, m, path, name, raw, data, &s)
			}
			loud := class&wanted != 0
			if s.Quiet(!loud && !l.on); loud {
				m.name, m.depth = value{raw, encodingJSON}, s.Depth()
			}
		default:
			if l.on {
				l.value(a, data, &s, t, raw, path, class)
			}
			if class&wanted != 0 {
				m.show(v, t, raw)
			}
		}
	}
}

// resume returns a scanner that stands where the automaton left off, the path of
// the last key there or of what holds the value, and its class if another value
// may be its. It hands over the keys that were noted.
func (e *Extractor) resume(data []byte, p place) (s jsonscan.Scanner, path uint64, class class) {
	a := &e.automaton
	for _, k := range a.noted[:p.noted] {
		e.keys.take(&a.known[k], &a.keyNames[k])
	}
	state := a.states[p.state]
	arrays := uint64(0)
	for f := a.frames[state.frame]; f.depth > 0; f = a.frames[f.outer] {
		e.paths[f.depth] = f.path
		if f.array {
			arrays |= 1 << (f.depth - 1)
		}
	}
	return jsonscan.Behind(data, p.at, int(a.frames[state.frame].depth), arrays), state.path, state.class
}

// afterGuard returns data without a byte order mark and without the prefix that
// guards JSON against inclusion as a script.
func afterGuard(data []byte) []byte {
	return bytes.TrimPrefix(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), []byte(")]}',"))
}
