package tcp

// settle hands on everything that has become possible, in both directions, and
// says what the flow waits for.
func (t *Table) settle(f *Flow) {
	t.advance(f)
	switch {
	case f.state&stateClosed != 0:
		return
	case f.state&stateIgnored != 0:
		for d := range f.half {
			if f.half[d].flags&halfFIN != 0 {
				f.half[d].flags |= halfEnded
			}
		}
		t.release(f)
	}
	if f.half[0].flags&f.half[1].flags&halfEnded != 0 {
		t.close(f, ReasonFIN)
		return
	}
	if f.state&stateIgnored == 0 {
		t.watch(f, 0)
		t.watch(f, 1)
		t.arm(f)
	}
}

// advance hands on everything that has become possible, in both directions
// alternately, so that requests and responses keep about their order.
func (t *Table) advance(f *Flow) {
	for moved := true; moved; {
		moved = false
		for d := range Direction(2) {
			if f.state&(stateIgnored|stateClosed) == 0 && t.step(f, d, false) {
				moved = true
			}
		}
	}
}

// step hands on at most one segment, gap or FIN of a direction and reports
// whether it did. With over, the hold is over: what stands in the way is
// declared missing, and what the consumer refuses is urged on it.
func (t *Table) step(f *Flow, d Direction, over bool) bool {
	h := f.side(d)
	over = over || t.overdue(f, h)
	if h.flags&halfStarted == 0 {
		lowest, known := h.beyond()
		if !known || !over {
			return false
		}
		h.next = lowest
		h.flags |= halfStarted
		h.hold = holdNone
		over = false
	}
	if h.flags&halfEnded != 0 {
		return false
	}
	s := h.first()
	if s != nil && after(s.seq, h.next) <= 0 {
		return t.offer(f, d, s, over)
	}
	if h.flags&halfFIN != 0 && after(h.fin, h.next) <= 0 {
		h.next = h.fin + 1
		h.flags |= halfEnded
		t.drop(h)
		f.side(d.Other()).flags &^= halfRefused
		if f.state&stateData != 0 {
			t.consumer.End(f, d)
		}
		return true
	}
	if !over {
		return false
	}
	if n := t.gone(f, d); n > 0 {
		t.missing(f, d, n, CauseLost)
		return true
	}
	return false
}

// offer hands on the lowest waiting segment.
func (t *Table) offer(f *Flow, d Direction, s *node, over bool) bool {
	h := f.side(d)
	over = over && h.hold == holdTurn
	if h.flags&halfRefused != 0 {
		if !over || t.precedes(f, d.Other()) {
			return false
		}
		h.hold = holdNone
	}
	if repeated := after(h.next, s.seq); repeated > 0 { // a gap was declared over it
		t.stats.Duplicate += uint64(len(s.data) - len(s.captured(h.next)))
		if uint32(repeated) >= s.n {
			t.removeFirst(h)
			return true
		}
		t.trim(h, s, h.next)
	}
	if len(s.data) > 0 {
		g := &t.segment
		*g = Segment{Data: s.data, Position: Position{Time: s.time, Seq: s.seq, Ack: s.ack, HasAck: s.hasAck}, Last: over}
		taken := t.deliver(f, d, g)
		switch {
		case f.state&stateIgnored != 0:
			t.trim(h, s, s.seq+uint32(taken))
			return true
		case taken < len(s.data):
			h.flags |= halfRefused
			t.trim(h, s, s.seq+uint32(taken))
			return taken > 0
		}
	}
	cut := int64(s.n) - int64(len(s.data))
	t.removeFirst(h)
	if cut > 0 {
		t.missing(f, d, cut, CauseCut)
	}
	return true
}

// precedes reports whether the hold of direction d, which the other one waits
// for, is over as well, so that it can move first.
func (t *Table) precedes(f *Flow, d Direction) bool {
	h := f.side(d)
	return h.flags&halfEnded == 0 && t.overdue(f, h) && (h.hold == holdStart || t.gone(f, d) > 0)
}

// trim cuts off what of the lowest waiting segment lies before seq.
func (t *Table) trim(h *half, s *node, seq uint32) {
	skip := len(s.data) - len(s.captured(seq))
	t.stats.Buffered -= uint64(skip)
	t.budget.Give(skip)
	h.wait.bytes -= skip
	s.data, s.n, s.seq = s.data[skip:], s.n-(seq-s.seq), seq
}

// drop forgets what waits beyond the end of a direction.
func (t *Table) drop(h *half) {
	for h.wait != nil {
		t.stats.Stray += uint64(len(h.wait.first().data))
		t.removeFirst(h)
	}
}

// first returns the lowest waiting segment.
func (h *half) first() *node {
	if h.wait == nil {
		return nil
	}
	return h.wait.first()
}

// gone returns how many octets, from the next on, are missing for good once the
// hold is over: up to what waits beyond them, and no more than was acknowledged
// when the hold began.
func (t *Table) gone(f *Flow, d Direction) int64 {
	h := f.side(d)
	limit, known := h.beyond()
	switch h.hold {
	case holdAcked:
		if !known && f.side(d.Other()).hold != holdTurn {
			return 0 // nobody waits for them
		}
		if !known || after(h.mark, limit) < 0 {
			limit = h.mark
		}
	case holdOneWay:
		if !known {
			return 0
		}
	default:
		return 0
	}
	return int64(after(limit, h.next))
}

// beyond returns the number of the lowest octet or FIN known to follow a hole.
func (h *half) beyond() (limit uint32, known bool) {
	if s := h.first(); s != nil {
		return s.seq, true
	}
	return h.fin, h.flags&halfFIN != 0
}

// watch says what a direction waits for, and since when.
func (t *Table) watch(f *Flow, d Direction) {
	h, peer := f.side(d), f.side(d.Other())
	kind := holdNone
	switch {
	case h.flags&halfEnded != 0:
	case h.flags&halfStarted == 0:
		if _, known := h.beyond(); known {
			kind = holdStart
		}
	case h.wait != nil && h.flags&halfRefused != 0 && after(h.wait.first().seq, h.next) <= 0:
		kind = holdTurn
	case h.flags&halfAcked != 0 && after(h.acked, h.next) > 0:
		kind = holdAcked
	case peer.flags&halfSeen == 0:
		if _, known := h.beyond(); known {
			kind = holdOneWay
		}
	}
	if kind != h.hold || kind == holdAcked && after(h.next, h.mark) >= 0 {
		h.hold, h.mark = kind, h.acked
		h.since, h.sincePackets = t.clock, f.packets
	}
}

// waits reports whether anything would be gained by the end of the hold.
func (t *Table) waits(f *Flow, d Direction) bool {
	h := f.side(d)
	if h.hold != holdAcked {
		return h.hold != holdNone
	}
	_, known := h.beyond()
	return known || f.side(d.Other()).hold == holdTurn
}

// dueAt returns when the hold of a direction is over by time.
func (t *Table) dueAt(h *half) int64 {
	if h.hold == holdOneWay {
		return h.since + t.holdOneWay
	}
	return h.since + t.hold
}

// overdue reports whether the hold of a direction is over, by time or packets.
func (t *Table) overdue(f *Flow, h *half) bool {
	return h.hold != holdNone && (t.clock >= t.dueAt(h) ||
		h.hold != holdOneWay && f.packets-h.sincePackets >= uint32(t.config.HoldPackets))
}

// arm sets the flow's timer to the earliest time that it waits for.
func (t *Table) arm(f *Flow) {
	due := f.deadline
	sooner := func(at int64) {
		if due == 0 || at < due {
			due = at
		}
	}
	for d := range Direction(2) {
		if t.waits(f, d) {
			sooner(t.dueAt(f.side(d)))
		}
	}
	if f.state&stateResetting != 0 {
		sooner(f.doubt.resetDue)
	}
	if due != 0 {
		due = max(due, t.clock+1)
		t.next = min(t.next, due)
	}
	if due != f.due {
		t.timers.set(f, due)
	}
}

// fire does what the flow's timer was set for.
func (t *Table) fire(f *Flow) {
	t.timers.set(f, 0)
	if f.state&stateResetting != 0 && f.doubt.resetDue <= t.clock {
		t.close(f, ReasonReset)
		return
	}
	if f.deadline != 0 && f.deadline <= t.clock {
		f.deadline = 0
		t.consumer.Timeout(f)
	}
	t.settle(f)
}
