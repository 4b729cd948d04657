package endpoint

import (
	"strings"

	"offpath/reassembly"
)

// maxShapes is how many kinds of answer of an endpoint are told apart; one with
// more is taken to answer anything.
const maxShapes = 4

// shapes are the key sets of an endpoint's answers that are no errors.
type shapes struct {
	list  [maxShapes]shape
	n     uint8
	loose bool // there are more
}

type shape struct {
	keys string // as in reassembly.Signature
	hash uint64
}

func (s *shapes) has(keys string) bool {
	for i := range s.list[:s.n] {
		if s.list[i].keys == keys {
			return true
		}
	}
	return false
}

// add reports whether the shape is new.
func (s *shapes) add(keys string, hash uint64) bool {
	switch {
	case s.loose || s.has(keys):
		return false
	case s.n == maxShapes:
		s.loose = true
		return false
	}
	s.list[s.n] = shape{keys, hash}
	s.n++
	return true
}

// learn takes note of what an answer of 2xx looks like.
func (e *Endpoint) learn(tx *reassembly.Transaction, l *Learner) {
	s := &tx.Response.Signature
	switch {
	case s.Keys != "":
		if e.shapes.n > 0 && e.shapes.list[0].keys == s.Keys || e.shapes.has(s.Keys) {
			return
		}
		if keys := strings.Clone(s.Keys); e.shapes.add(keys, hashOf(keys)) {
			e.at.host.spread(e, hashOf(keys))
		}
	case s.Media == "none" || s.Length == 0:
		e.empty = true
	case s.Media == "html":
		e.page = true
	}
}

// takes reports whether a request that was found to be of an endpoint by the
// values in its path is like the endpoint's others.
func (e *Endpoint) takes(tx *reassembly.Transaction) bool {
	status := tx.Response.Status
	if status < 200 || status >= 300 {
		return true
	}
	s := &tx.Response.Signature
	switch {
	case s.Keys != "":
		return e.shapes.loose || e.shapes.n == 0 && !e.empty || e.shapes.has(s.Keys)
	case s.Media == "none" || s.Length == 0:
		return e.empty || e.shapes.n == 0
	}
	return true
}

// maxSpread is how many shapes of a host are looked at for envelopes.
const maxSpread = 1024

// envelopeSpread is in how many places a shape makes it an envelope, which is
// around everything and says nothing of what is in it.
const envelopeSpread = 4

// spread says where a shape has been seen: the last noun above, the last segment,
// and how many there are. Two places differ only if both of the former do, unless
// the last is a parameter. Not all have the same number of segments: those that do
// may be one endpoint's, with several values in each path.
type spread struct {
	nouns, lasts [envelopeSpread]uint64
	depths       [envelopeSpread]uint8
	n            uint8
}

// spread takes note of a shape's place.
func (h *host) spread(e *Endpoint, shape uint64) {
	s := h.shapes[shape]
	if s == nil {
		if len(h.shapes) >= maxSpread {
			return
		}
		s = &spread{}
		h.shapes[shape] = s
	}
	if s.n == envelopeSpread {
		return
	}
	up, depth := e.at.parent, uint8(1)
	for up != nil && up.segment == parameter {
		up = up.parent
		depth++
	}
	var noun uint64
	if up != nil {
		noun = up.hash
	}
	for ; up != nil; up = up.parent {
		depth++
	}
	level := true
	for i := range s.n {
		if s.nouns[i] == noun || s.lasts[i] == e.at.hash && e.at.segment != parameter {
			return
		}
		level = level && s.depths[i] == depth
	}
	if level && s.n == envelopeSpread-1 {
		return
	}
	s.nouns[s.n], s.lasts[s.n], s.depths[s.n] = noun, e.at.hash, depth
	s.n++
}

func (h *host) envelope(shape uint64) bool {
	s := h.shapes[shape]
	return s != nil && s.n == envelopeSpread
}

// hashOf is FNV-1a, 64 bits (RFC 9923).
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
