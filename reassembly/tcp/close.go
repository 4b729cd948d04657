package tcp

// close ends a flow, which is remembered for a while.
func (t *Table) close(f *Flow, why Reason) {
	t.end(f, why)
	t.index.close(f, t.clock)
	t.next = min(t.next, t.clock+t.linger)
	t.recycle(f)
}

// end ends a flow: what waits is handed on, with the holes before it declared
// missing.
func (t *Table) end(f *Flow, why Reason) {
	if f.state&stateResetting != 0 && why != ReasonReplaced {
		why = ReasonReset
	}
	for t.advance(f); f.state&stateIgnored == 0 && t.force(f); {
		t.advance(f)
	}
	t.release(f)
	t.stats.FlowsClosed[why]++
	if f.state&stateMidstream != 0 {
		t.stats.FlowsMidstream++
	}
	f.state |= stateClosed
	if f.state&stateData != 0 {
		t.consumer.Close(f, why)
	}
	f.Conn, f.deadline = nil, 0
	t.lists[f.in].remove(f)
}

// force overcomes one obstacle of a flow that is being closed: first a hole,
// then octets that were acknowledged and never came, then the consumer's
// refusal.
func (t *Table) force(f *Flow) bool {
	for d := range Direction(2) {
		h := f.side(d)
		if h.flags&halfEnded != 0 {
			continue
		}
		if h.flags&halfStarted == 0 {
			if h.wait != nil {
				h.hold = holdStart
				if t.step(f, d, true) {
					return true
				}
			}
			continue // refused: it waits for the other direction
		}
		limit, known := h.beyond()
		if known && after(limit, h.next) > 0 {
			if !near(limit, h.next) && (h.flags&halfAcked == 0 || after(h.acked, limit) < 0) {
				h.flags &^= halfFIN
				t.drop(h) // so far ahead, and never acknowledged: it was no part of the stream
				continue
			}
			t.missing(f, d, int64(after(limit, h.next)), CauseLost)
			return true
		}
		// A single one is taken for a FIN that was not seen.
		if n := after(h.acked, h.next); !known && h.flags&halfAcked != 0 && 1 < n && n < window {
			t.missing(f, d, int64(n), CauseLost)
			return true
		}
	}
	for d := range Direction(2) {
		if h := f.side(d); h.wait != nil && h.flags&halfRefused != 0 {
			h.hold = holdTurn
			return t.step(f, d, true)
		}
	}
	return false
}
