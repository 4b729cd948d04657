package tcp

import (
	"bytes"
	"math/rand/v2"
)

// tree holds the segments of one direction that wait, by sequence number and
// without overlap: a treap, whose random priorities keep it balanced whatever
// order segments come in.
type tree struct {
	root  *node
	bytes int // charged to the budget
}

// node is a waiting segment: n octets from seq on, of which data was captured.
type node struct {
	left, right *node
	priority    uint32
	seq, n      uint32
	ack         uint32
	hasAck      bool
	time        int64
	data        []byte
}

// cost is what a node is charged.
func (s *node) cost() int { return len(s.data) + SegmentOverhead }

func (s *node) end() uint32 { return s.seq + s.n }

// first returns the lowest segment.
func (t *tree) first() *node {
	s := t.root
	for s != nil && s.left != nil {
		s = s.left
	}
	return s
}

// last returns the highest segment.
func (t *tree) last() *node {
	s := t.root
	for s != nil && s.right != nil {
		s = s.right
	}
	return s
}

// at returns the lowest segment that ends after seq.
func (t *tree) at(seq uint32) (found *node) {
	for s := t.root; s != nil; {
		if after(s.end(), seq) > 0 {
			found, s = s, s.left
		} else {
			s = s.right
		}
	}
	return found
}

// removeFirst takes out the lowest segment.
func (t *tree) removeFirst() {
	t.remove(&t.root, true)
}

// removeLast takes out the highest segment.
func (t *tree) removeLast() {
	t.remove(&t.root, false)
}

func (t *tree) remove(at **node, lowest bool) {
	for *at != nil {
		s := *at
		next, rest := &s.left, s.right
		if !lowest {
			next, rest = &s.right, s.left
		}
		if *next == nil {
			*at = rest
			t.bytes -= s.cost()
			return
		}
		at = next
	}
}

// insert puts in a segment that overlaps none.
func (t *tree) insert(s *node) {
	s.priority = rand.Uint32()
	at := &t.root
	for *at != nil && (*at).priority >= s.priority {
		if after(s.seq, (*at).seq) > 0 {
			at = &(*at).right
		} else {
			at = &(*at).left
		}
	}
	s.left, s.right = split(*at, s.seq)
	*at = s
	t.bytes += s.cost()
}

// split divides what is below s into what lies before seq and what does not.
func split(s *node, seq uint32) (low, high *node) {
	toLow, toHigh := &low, &high
	for s != nil {
		if after(seq, s.seq) > 0 {
			*toLow, toLow, s = s, &s.right, s.right
		} else {
			*toHigh, toHigh, s = s, &s.left, s.left
		}
	}
	*toLow, *toHigh = nil, nil
	return low, high
}

// differs reports whether octets of s were captured in other too, with other
// content.
func (s *node) differs(other *node) bool {
	from := s.seq
	if after(other.seq, from) > 0 {
		from = other.seq
	}
	a, b := s.captured(from), other.captured(from)
	n := min(len(a), len(b))
	return !bytes.Equal(a[:n], b[:n])
}

// captured returns the octets of s from number seq on, which is not before it.
func (s *node) captured(seq uint32) []byte {
	skip := int64(after(seq, s.seq))
	if skip >= int64(len(s.data)) {
		return nil
	}
	return s.data[skip:]
}
