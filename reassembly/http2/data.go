package http2

import "offpath/reassembly/message"

// readData reads on in a DATA frame; more is false if there is not enough input.
func (c *Conn) readData(r *Reader, b Budget, side Side, in *Input) (event Event, more bool) {
	d := &c.dir[side]
	s := d.target
	if d.missed > 0 {
		missed := d.missed
		d.missed = 0
		if s != nil {
			r.Stream, r.Side, r.Data, r.Missing = s, side, nil, missed
			return Tunnel, true
		}
	}
	if d.remain > 0 {
		if len(in.Data) == 0 {
			return More, false
		}
		if d.padding {
			d.padding = false
			d.pad = uint32(d.take(r, in, 1)[0])
			if d.remain--; d.pad > d.remain {
				c.frameError(r)
				d.pad = d.remain
			}
			return More, true
		}
		content := d.remain - d.pad
		n := d.pad
		if content > 0 {
			n = content
		}
		data := d.take(r, in, int(min(uint64(n), uint64(len(in.Data)))))
		d.remain -= uint32(len(data))
		if content == 0 {
			d.pad -= uint32(len(data))
		}
		if s == nil {
			return More, true
		}
		s.half[side].Last = max(s.half[side].Last, in.Time)
		if content > 0 {
			return c.content(r, b, side, s, data), true
		}
		return More, true
	}
	c.endData(side, s, in.Time)
	if d.lostAfter {
		c.lose(r, b, side)
	}
	return More, true
}

// endData ends a DATA frame.
func (c *Conn) endData(side Side, s *Stream, time int64) {
	d := &c.dir[side]
	d.state, d.target = stateFrame, nil
	if s != nil {
		h := &s.half[side]
		h.Last = max(h.Last, time)
		if d.frame.has(flagEndStream) {
			h.finished = true
			c.pending = s
		}
	}
}

// content takes octets of a message's content, or of a tunnel.
func (c *Conn) content(r *Reader, b Budget, side Side, s *Stream, data []byte) Event {
	d := &c.dir[side]
	h := &s.half[side]
	if h.state == halfTunnel {
		r.Stream, r.Side, r.Data, r.Missing = s, side, data, 0
		return Tunnel
	}
	if h.RPC.Is {
		h.rpc.read(&h.RPC, data)
	}
	first := h.Bytes == 0
	h.Bytes += int64(len(data))
	if h.state != halfOpen || h.capped {
		return More
	}
	if first && d.remain == 0 && d.frame.has(flagEndStream) && r.bodyLimit > 0 {
		c.view = upTo(data, r.bodyLimit) // the whole content is at hand
		return More
	}
	if keep := upTo(data, r.bodyLimit-len(h.body)); !r.keep(b, &h.body, keep) {
		h.capped = true
		r.Stats.BudgetCut++
	}
	return More
}

// upTo returns the first octets, as many as are within a limit.
func upTo(data []byte, limit int) []byte { return data[:min(len(data), limit)] }

// body makes the event's body of what was kept of it.
func (c *Conn) body(h *half) message.Body {
	body := h.sofar()
	if c.view != nil {
		body.Prefix, c.view = c.view, nil
	}
	c.shown[shownBody], h.body = h.body, nil
	body.Whole = int64(len(body.Prefix)) == body.Bytes && !h.Broken
	return body
}

// sofar is the body as far as it has come.
func (h *half) sofar() message.Body {
	return message.Body{Bytes: h.Bytes, Prefix: h.body}
}
