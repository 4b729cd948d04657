package tcp

import (
	"hash/maphash"

	"offpath/capture"
)

// Packet takes the next TCP packet of the shard. Timers that are due by its
// clock fire before it is looked at.
func (t *Table) Packet(p *capture.Packet) {
	if t.next <= p.Clock {
		t.Advance(p.Clock)
	}
	t.clock = max(t.clock, p.Clock)
	t.stats.Packets++
	t.stats.Octets += uint64(len(p.Payload))
	var k key
	d := k.of(p)
	hash := t.index.hash(&k)
	known := t.index.find(&k, hash)
	f := known.flow
	switch {
	case f == nil && known.hash != 0:
		if !t.reopened(known, d, p) {
			return
		}
		f = t.renew(&k, hash, p)
	case f != nil && mayRenew(f, p) && t.renewed(f, d, p):
		t.remove(f, ReasonReplaced)
		f = t.renew(&k, hash, p)
	}
	if f == nil {
		if !opens(p) {
			t.stats.PacketsStray++
			t.stats.Stray += uint64(len(p.Payload))
			return
		}
		f = t.open(&k, hash, p)
		if p.Flags&capture.FlagSYN == 0 {
			f.state |= stateMidstream
		}
	}
	f.packets++
	f.side(d).flags |= halfSeen
	if t.clock-f.listed >= refresh {
		t.place(f, f.in)
	}
	if f.state&stateIgnored != 0 {
		t.skim(f, d, p)
	} else {
		t.receive(f, d, p)
	}
}

// opens reports whether p may belong to a connection that is not known: bare
// acknowledgements, such as the last one after both FINs, don't.
func opens(p *capture.Packet) bool {
	return p.Flags&capture.FlagRST == 0 && (p.Flags&capture.FlagSYN != 0 || p.PayloadLen > 0)
}

// receive takes a packet of an open flow.
func (t *Table) receive(f *Flow, d Direction, p *capture.Packet) {
	h, peer := f.side(d), f.side(d.Other())
	seq, n := p.Seq, uint32(p.PayloadLen)
	if p.Flags&capture.FlagSYN != 0 {
		if !h.owns(seq) {
			t.stats.Stray += uint64(len(p.Payload))
			return
		}
		t.synchronise(f, d, p)
		seq++
	}
	if p.Flags&capture.FlagACK != 0 && (peer.flags&halfAcked == 0 || after(p.Ack, peer.acked) > 0) {
		peer.acked = p.Ack
		peer.flags |= halfAcked
	}
	if p.Flags&capture.FlagRST != 0 {
		t.stats.Stray += uint64(len(p.Payload)) // RFC 9293 section 3.5.2: text, not data
		t.reset(f, d, p)
		t.settle(f)
		return
	}
	if n > 0 {
		if f.in == listOpen {
			t.place(f, listIdle)
		}
		if h.flags&(halfStarted|halfEnded) == halfStarted && h.wait == nil && seq == h.next {
			t.inOrder(f, d, p, seq)
		} else {
			t.outOfOrder(f, d, p, seq)
		}
	}
	if p.Flags&capture.FlagFIN != 0 && h.flags&halfFIN == 0 && (h.flags&halfStarted == 0 || after(seq+n, h.next) >= 0) {
		h.fin = seq + n
		h.flags |= halfFIN
	}
	if h.quiet() && peer.quiet() && f.deadline == 0 && f.timer < 0 && f.state&stateResetting == 0 {
		return
	}
	t.settle(f)
}

// quiet reports whether nothing of the direction waits or could have to.
func (h *half) quiet() bool {
	switch {
	case h.wait != nil || h.hold != holdNone:
		return false
	case h.flags&(halfFIN|halfEnded) != 0:
		return h.flags&halfEnded != 0
	}
	return h.flags&(halfStarted|halfAcked) != halfStarted|halfAcked || after(h.acked, h.next) <= 0
}

// inOrder hands on a segment that is next, without a copy.
func (t *Table) inOrder(f *Flow, d Direction, p *capture.Packet, seq uint32) {
	h := f.side(d)
	if data := p.Payload; len(data) > 0 {
		s := &t.segment
		*s = Segment{Data: data, Position: Position{Time: p.Time, Seq: seq, Ack: p.Ack, HasAck: p.Flags&capture.FlagACK != 0}}
		taken := t.deliver(f, d, s)
		t.remember(h, seq, data, s.Unread)
		if f.state&stateIgnored != 0 {
			t.stats.Ignored += uint64(len(data) - taken)
			t.release(f)
			return
		}
		if taken < len(data) {
			h.flags |= halfRefused
			t.keep(f, d, p, seq+uint32(taken), uint32(p.PayloadLen-taken), data[taken:])
			return
		}
	}
	if cut := p.PayloadLen - len(p.Payload); cut > 0 {
		t.missing(f, d, int64(cut), CauseCut)
	}
}

// deliver hands on a segment and moves the stream forward by what was taken.
func (t *Table) deliver(f *Flow, d Direction, s *Segment) int {
	h := f.side(d)
	f.state |= stateData
	// The consumer sees the stream as it is before the octets.
	taken := t.consumer.Data(f, d, s)
	if s.Last {
		taken = len(s.Data)
	}
	if taken > 0 {
		f.side(d.Other()).flags &^= halfRefused // it may be its turn now
		if h.hold == holdTurn {
			h.hold = holdNone // what is refused next is held anew
		}
	}
	h.next += uint32(taken)
	t.stats.Delivered += uint64(taken)
	if f.state&stateResetting != 0 && f.doubt.resetSide == d && taken > 0 && after(h.next, f.doubt.resetSeq) > 0 {
		f.state &^= stateResetting // whoever sends on was not reset
		t.stats.ResetsIgnored++
	}
	return taken
}

// missing moves the stream forward over octets that will not come.
func (t *Table) missing(f *Flow, d Direction, n int64, why Cause) {
	f.side(d).next += uint32(n)
	f.side(d.Other()).flags &^= halfRefused
	f.state |= stateData
	t.stats.Gap += uint64(n)
	t.stats.Gaps++
	if why == CauseCut {
		t.stats.GapCut += uint64(n)
	}
	t.consumer.Missing(f, d, n, why)
}

// remember keeps the digest of a segment handed on, unless it was not read.
func (t *Table) remember(h *half, seq uint32, data []byte, unread bool) {
	r := &h.recent[h.recentAt]
	h.recentAt ^= 1
	if unread {
		*r = digest{}
		return
	}
	*r = digest{seq, uint32(len(data)), uint32(maphash.Bytes(t.digests, data))}
}

// outOfOrder takes a segment that is not next, or not only: it repeats octets,
// or comes too early, or must wait behind others.
func (t *Table) outOfOrder(f *Flow, d Direction, p *capture.Packet, seq uint32) {
	h, n, data := f.side(d), uint32(p.PayloadLen), p.Payload
	if h.flags&halfEnded != 0 {
		t.stats.Stray += uint64(len(data))
		return
	}
	if h.flags&halfFIN != 0 && after(seq, h.fin) >= 0 {
		h.flags &^= halfFIN // whoever sends on had not finished
	}
	if h.flags&halfStarted != 0 {
		if old := after(h.next, seq); old > 0 {
			t.compare(f, d, seq, data)
			if uint32(old) >= n {
				t.stats.Duplicate += uint64(len(data))
				return
			}
			repeated := min(int(old), len(data))
			t.stats.Duplicate += uint64(repeated)
			seq, n, data = seq+uint32(old), n-uint32(old), data[repeated:]
		}
	}
	t.keep(f, d, p, seq, n, data)
}

// compare says so if a segment that is sent again has other octets.
func (t *Table) compare(f *Flow, d Direction, seq uint32, data []byte) {
	if len(data) <= 1 {
		return // a keep-alive probe has any octet (RFC 9293 section 3.8.4)
	}
	for _, r := range f.side(d).recent {
		if r.n == uint32(len(data)) && r.seq == seq && r.sum != uint32(maphash.Bytes(t.digests, data)) {
			t.conflict(f, d)
		}
	}
}

func (t *Table) conflict(f *Flow, d Direction) {
	t.stats.Conflicts++
	t.consumer.Conflict(f, d)
}

// keep copies a segment, n octets from seq on of which data was captured, to
// wait. Where it overlaps what waits already, the first copy wins.
func (t *Table) keep(f *Flow, d Direction, p *capture.Packet, seq, n uint32, data []byte) {
	h := f.side(d)
	t.stats.SegmentsOutOfOrder++
	whole := node{seq: seq, n: n, data: data}
	for from, end := seq, seq+n; after(end, from) > 0; {
		var next *node
		if h.wait != nil {
			next = h.wait.at(from)
		}
		if next != nil && after(next.seq, from) <= 0 {
			if whole.differs(next) {
				t.conflict(f, d)
			}
			repeated := next.end()
			if after(repeated, end) > 0 {
				repeated = end
			}
			t.stats.Duplicate += uint64(len(whole.captured(from)) - len(whole.captured(repeated)))
			from = next.end()
			continue
		}
		to := end
		if next != nil && after(next.seq, end) < 0 {
			to = next.seq
		}
		part := whole.captured(from)
		part = part[:min(len(part), int(to-from))]
		if !t.store(f, d, &node{
			seq: from, n: to - from, ack: p.Ack, hasAck: p.Flags&capture.FlagACK != 0, time: p.Time, data: part,
		}) {
			t.stats.SegmentsDropped++
			t.stats.Dropped += uint64(len(part))
		}
		from = to
	}
}

// skim follows a flow that nobody reads only as far as to see it end.
func (t *Table) skim(f *Flow, d Direction, p *capture.Packet) {
	h := f.side(d)
	t.stats.Ignored += uint64(len(p.Payload))
	h.flags |= halfStarted
	if end := p.Seq + uint32(p.PayloadLen); after(end, h.next) > 0 {
		h.next = end
	}
	if f.in == listOpen && p.PayloadLen > 0 {
		t.place(f, listIdle)
	}
	if p.Flags&capture.FlagFIN != 0 {
		h.flags |= halfFIN | halfEnded
	}
	switch {
	case p.Flags&capture.FlagRST != 0:
		if h.inWindow(p.Seq) {
			t.close(f, ReasonReset)
		} else {
			t.stats.ResetsIgnored++
		}
	case f.half[0].flags&f.half[1].flags&halfEnded != 0:
		t.close(f, ReasonFIN)
	}
}

// release drops what waits, of a flow that nobody reads any more.
func (t *Table) release(f *Flow) {
	for d := range f.half {
		h := &f.half[d]
		for h.wait != nil && h.wait.root != nil {
			s := h.wait.first()
			t.stats.Ignored += uint64(len(s.data))
			t.removeFirst(h)
		}
		h.wait, h.hold = nil, holdNone
	}
	f.deadline = 0
	f.state &^= stateResetting
	t.timers.set(f, 0)
}
