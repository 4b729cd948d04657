package tcp

import "offpath/capture"

// renewal is the connection that replaces another one on the same addresses
// and ports, where its SYN came in an earlier packet.
type renewal struct {
	valid  bool
	side   Direction
	number uint32 // initial sequence number
}

// synchronise takes the initial sequence number of a direction.
func (h *half) synchronise(isn uint32) {
	h.isn = isn
	h.flags |= halfSYN
	if h.flags&halfStarted == 0 {
		h.next = isn + 1
		h.flags |= halfStarted
	}
}

// infer takes the initial sequence number that the other side's SYN acknowledges,
// unless octets that wait belie it.
func (h *half) infer(isn uint32) {
	if h.flags&(halfStarted|halfSYN) == 0 && (h.wait == nil || after(h.wait.first().seq, isn) > 0) {
		h.synchronise(isn)
	}
}

// synchronise takes a SYN that belongs to the flow.
func (t *Table) synchronise(f *Flow, d Direction, p *capture.Packet) {
	h := f.side(d)
	if h.flags&halfSYN != 0 {
		return
	}
	f.state &^= stateMidstream
	h.synchronise(p.Seq)
	if p.Flags&capture.FlagACK != 0 {
		f.side(d.Other()).infer(p.Ack - 1) // it answers a SYN that did not come yet
	}
	if f.client >= 0 {
		return
	}
	f.client = int8(d)
	if p.Flags&capture.FlagACK != 0 {
		f.client = int8(d.Other())
	}
}

// mayRenew reports whether there is a reason to ask renewed of a flow that is not
// closed.
func mayRenew(f *Flow, p *capture.Packet) bool {
	return f.state&stateRenewing != 0 || p.Flags&capture.FlagSYN != 0
}

// reopened takes a packet of a flow that is remembered only, and reports whether
// it shows a new connection, for which the flow is forgotten.
func (t *Table) reopened(known slot, d Direction, p *capture.Packet) bool {
	var o doubt
	r := t.index.closed.get(known.at)
	f := r.flow(&o)
	if !t.renewed(&f, d, p) {
		r.half[d].flags |= halfSeen
		t.stats.Stray += uint64(len(p.Payload))
		return false
	}
	t.index.forget(known)
	t.stats.Flows--
	return true
}

// renew makes the flow of the connection whose SYN came earlier, if renewed found
// one; else nil.
func (t *Table) renew(k *key, hash uint32, p *capture.Packet) *Flow {
	r := t.renewal
	if !r.valid {
		return nil
	}
	f := t.open(k, hash, p)
	f.client = int8(r.side)
	f.half[r.side].flags |= halfSeen
	f.half[r.side].synchronise(r.number)
	return f
}

// renewed reports whether p shows that f's addresses and ports serve a new
// connection; if its SYN came earlier, t.renewal says what it was.
func (t *Table) renewed(f *Flow, d Direction, p *capture.Packet) bool {
	t.renewal = renewal{}
	h, peer := f.side(d), f.side(d.Other())
	switch {
	case p.Flags&(capture.FlagSYN|capture.FlagACK|capture.FlagRST) == capture.FlagSYN:
		if h.owns(p.Seq) {
			return false // sent again, or late
		}
		if f.state&(stateClosed|stateResetting) != 0 || f.state&stateData == 0 && f.state&stateIgnored == 0 ||
			(h.flags|peer.flags)&halfFIN != 0 {
			return true
		}
		if f.state&stateRenewing != 0 {
			t.stats.SYNsIgnored++
		}
		f.state |= stateRenewing
		o := f.doubted()
		o.newISN, o.renewSide = p.Seq, d
		return false
	case f.state&stateRenewing != 0 && f.doubt.renewSide != d && p.Flags&capture.FlagACK != 0 && p.Flags&capture.FlagRST == 0:
		if ahead := after(p.Ack, f.doubt.newISN); ahead < 1 || ahead > window {
			return false
		}
		if peer.flags&halfStarted != 0 && near(p.Ack, peer.next) {
			return false
		}
		t.renewal = renewal{true, f.doubt.renewSide, f.doubt.newISN}
		return true
	case f.state&stateRenewing != 0 && f.doubt.renewSide == d && p.PayloadLen > 0 && peer.flags&halfSeen == 0 && p.Seq == f.doubt.newISN+1:
		t.renewal = renewal{true, d, f.doubt.newISN} // nobody is there to acknowledge
		return true
	case f.state&stateClosed != 0 && opens(p):
		return h.flags&halfStarted == 0 || !near(p.Seq, h.next)
	}
	return false
}

// owns reports whether a SYN with the number seq can be the direction's own:
// the one that was seen, or one that comes after octets it should precede.
func (h *half) owns(seq uint32) bool {
	switch {
	case h.flags&halfSYN != 0:
		return h.isn == seq
	case h.flags&halfStarted != 0:
		return h.flags&halfEnded == 0 && seq+1 == h.next
	case h.wait != nil:
		return near(h.wait.first().seq, seq)
	}
	return true
}

// near reports whether two sequence numbers may belong to one connection.
func near(a, b uint32) bool {
	d := after(a, b)
	return -window < d && d < window
}

// inWindow reports whether an RST with the number seq would be obeyed: the next
// octet or one of the window after it, some of which we may have missed.
func (h *half) inWindow(seq uint32) bool {
	if h.flags&halfStarted == 0 {
		return true
	}
	d := after(seq, h.next)
	return d >= 0 && d < window
}

// reset takes an RST. On a connection that was answered it lies idle for a while,
// because mirrors let it overtake what was sent before it, and because it may be
// one that its receiver does not obey.
func (t *Table) reset(f *Flow, d Direction, p *capture.Packet) {
	h := f.side(d)
	if !h.inWindow(p.Seq) {
		t.stats.ResetsIgnored++
		return
	}
	if f.state&stateData == 0 && f.half[0].flags&f.half[1].flags&halfStarted == 0 && f.half[0].wait == nil && f.half[1].wait == nil {
		t.close(f, ReasonReset)
		return
	}
	if f.state&stateResetting == 0 {
		f.state |= stateResetting
		o := f.doubted()
		o.resetSide, o.resetSeq, o.resetDue = d, p.Seq, t.clock+t.hold
	}
}
