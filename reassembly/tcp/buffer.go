package tcp

// store puts a segment where it waits for its turn. If there is no room, waiting
// ends: what is missing before the segments that wait is declared so, as far as
// the hold would have done it. Failing that the highest segment goes, since its
// loss does the least harm.
func (t *Table) store(f *Flow, d Direction, s *node) bool {
	h := f.side(d)
	for pressed := false; ; {
		if h.wait == nil {
			h.wait = new(tree)
		}
		if h.wait.bytes+s.cost() <= t.config.FlowBuffer && t.budget.Take(s.cost()) {
			s.data = append(make([]byte, 0, len(s.data)), s.data...)
			h.wait.insert(s)
			t.stats.Buffered += uint64(len(s.data))
			return true
		}
		last := h.wait.last()
		switch {
		case last == nil:
			h.wait = nil
			return false
		case after(last.seq, s.seq) > 0:
			t.stats.Dropped += uint64(len(last.data))
			t.stats.SegmentsDropped++
			t.stats.Buffered -= uint64(len(last.data))
			t.budget.Give(last.cost())
			h.wait.removeLast()
		case pressed:
			return false
		default:
			pressed = true
			t.watch(f, d)
			h.since = t.clock - t.holdOneWay - t.hold
			t.advance(f)
			if f.state&stateIgnored != 0 {
				return false
			}
		}
	}
}

// removeFirst takes out the lowest waiting segment.
func (t *Table) removeFirst(h *half) {
	s := h.wait.first()
	t.stats.Buffered -= uint64(len(s.data))
	t.budget.Give(s.cost())
	h.wait.removeFirst()
	if h.wait.root == nil {
		h.wait = nil
	}
}
