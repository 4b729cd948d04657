package http2

import "offpath/reassembly"

// block is a header block that comes in one frame or more.
type block struct {
	octets   []byte    // fragments so far, if there will be more
	overflow *overflow // nil: they are all
	began    int64     // capture time of the first octet of its first frame
	stream   uint32
	promised uint32 // of a PUSH_PROMISE
	missing  int64  // octets of it that will not come, as far as known
	kind     kind   // of its first frame
	end      bool   // END_STREAM
	open     bool   // CONTINUATION must follow
	lost     bool   // it can't be decoded
	cut      bool   // it goes on beyond what is kept of a frame
}

// beginBlock takes a HEADERS or PUSH_PROMISE frame.
func (c *Conn) beginBlock(r *Reader, b Budget, side Side, payload []byte, time int64) Event {
	d := &c.dir[side]
	f := &d.frame
	d.block = block{
		began: d.began, stream: f.stream, kind: f.kind, end: f.kind == kindHeaders && f.has(flagEndStream),
		open: !f.has(flagEndHeaders), lost: d.damaged, missing: d.absent,
	}
	var fragment []byte
	if !d.damaged {
		var ok bool
		if fragment, d.block.promised, d.block.cut, ok = f.fragment(payload); !ok {
			d.block.lost = true
			if f.wellFormed() {
				c.frameError(r) // padding longer than the frame
			}
		}
	}
	return c.addFragment(r, b, side, fragment, time)
}

// continueBlock takes a CONTINUATION frame.
func (c *Conn) continueBlock(r *Reader, b Budget, side Side, payload []byte, time int64) Event {
	d := &c.dir[side]
	if !d.block.open {
		c.frameError(r)
		c.loseTable(r, b, d)
		return More
	}
	d.block.open = !d.frame.has(flagEndHeaders)
	d.block.lost = d.block.lost || d.damaged
	d.block.missing += d.absent
	if d.block.cut {
		payload = nil // what comes before it is not there
	}
	d.block.cut = d.block.cut || int(d.frame.length) > len(payload) && !d.damaged
	return c.addFragment(r, b, side, payload, time)
}

// addFragment adds to the block at hand, and takes it if it is whole.
func (c *Conn) addFragment(r *Reader, b Budget, side Side, fragment []byte, time int64) Event {
	d := &c.dir[side]
	k := &d.block
	switch {
	case k.lost:
		k.release(r, b)
		fragment = nil
	case k.octets != nil || k.open || len(fragment) > MaxHead:
		partial := d.table.partial
		if !r.gather(b, d, fragment) {
			r.Stats.BudgetAbandoned++
			k.lost = true
			k.release(r, b)
			break
		}
		r.noteLost(d, partial)
		fragment = k.octets
	}
	if k.open {
		return More
	}
	whole := *k
	d.block = block{}
	return c.takeBlock(r, b, side, &whole, fragment, time)
}

// dropBlock gives up the block at hand.
func (c *Conn) dropBlock(r *Reader, b Budget, d *direction) {
	d.block.release(r, b)
	d.block = block{}
	c.loseTable(r, b, d)
}

// loseTable forgets a direction's compression table.
func (c *Conn) loseTable(r *Reader, b Budget, d *direction) {
	r.Stats.TablesLost++
	d.table.lose(b)
}

// noteLost counts a direction's compression table that is known in part, if it was known
// whole before.
func (r *Reader) noteLost(d *direction, partial bool) {
	if d.table.partial && !partial {
		r.Stats.TablesLost++
	}
}

// takeBlock decodes a block and gives it to its stream.
func (c *Conn) takeBlock(r *Reader, b Budget, side Side, k *block, octets []byte, time int64) Event {
	d := &c.dir[side]
	partial := d.table.partial
	switch {
	case k.lost:
		c.loseTable(r, b, d)
		r.section.reset()
	case k.overflow != nil:
		k.overflow.finish(r, b, d, k)
		c.shown[shownBlock], k.overflow.kept = k.overflow.kept, nil
		k.release(r, b)
	default:
		r.decoder.block(&d.table, b, &r.section, octets, k.cut)
		c.shown[shownBlock] = k.octets
	}
	if !k.lost {
		r.Stats.FieldsUnknown += uint64(r.section.unknown)
		r.noteLost(d, partial)
	}
	if k.kind == kindPushPromise {
		return c.promise(r, b, side, k, time)
	}
	s := c.streams[k.stream]
	fresh := s == nil
	if fresh {
		if !c.opens(side, k.stream) {
			r.Stats.StrayFrames++
			return More
		}
		s = c.open(r, b, k.stream, time)
	}
	if side == Client {
		d.newest = max(d.newest, k.stream)
	}
	if s == nil {
		r.Stats.HeadsLost++
		return More
	}
	c.touch(s, time)
	h := &s.half[side]
	h.Last = max(h.Last, time)
	h.Gap += k.missing
	if k.end {
		h.finished = true
		c.pending = s
	}
	switch h.state {
	case halfIdle:
		if !k.lost && (c.first(d, side, h, fresh) || r.section.begins(side)) {
			return c.head(r, b, side, s, k)
		}
		h.headless = true
		r.Stats.HeadsLost++
	case halfOpen:
		return c.trailers(r, b, side, s, k)
	case halfOver:
		c.frameError(r)
	}
	return More
}

// opens reports whether a header block of a side may open a stream that is not
// known. A response does so if its request was lost, or is late on a mirror that
// races the directions.
func (c *Conn) opens(side Side, id uint32) bool {
	client := &c.dir[Client]
	return id%2 == 1 && (id > client.newest || side == Server && client.unsure())
}

// first reports whether the header block of an idle half is certain to be the
// first one of its message, so that it need not prove it.
func (c *Conn) first(d *direction, side Side, h *half, fresh bool) bool {
	if fresh {
		return !d.unsure()
	}
	return !h.headless && h.losses == d.losses
}

// begins reports whether the section has what only a head of that side has.
func (s *section) begins(side Side) bool {
	if side == Server {
		return s.has(roleStatus)
	}
	return s.has(roleMethod) || s.has(rolePath)
}

// promise takes a PUSH_PROMISE (RFC 9113 section 6.6): a request that the server
// makes for the client.
func (c *Conn) promise(r *Reader, b Budget, side Side, k *block, time int64) Event {
	switch {
	case k.lost:
		r.Stats.HeadsLost++
		return More
	case side == Client || k.promised == 0 || k.promised%2 == 1 || k.promised <= c.dir[Server].newest:
		c.frameError(r)
		return More
	}
	c.dir[Server].newest = k.promised
	s := c.open(r, b, k.promised, time)
	if s == nil {
		r.Stats.HeadsLost++
		return More
	}
	s.Push = k.stream
	s.half[Client].finished = true
	s.half[Client].Last = time
	r.Stats.Pushed++
	k.end = true
	c.pending = s
	return c.head(r, b, Client, s, k)
}

// head takes the header section that begins a message.
func (c *Conn) head(r *Reader, b Budget, side Side, s *Stream, k *block) Event {
	section := &r.section
	h := &s.half[side]
	r.Stream, r.Side, r.Message = s, side, &h.Message
	if side == Client {
		r.Head = section.request()
		method := string(r.Head.Method)
		s.connect, s.head = method == "CONNECT", method == "HEAD"
	} else {
		r.Head = section.response()
		if 0 < section.status && section.status < 200 {
			r.Stats.Informational++
			h.Anomalies |= section.anomalies
			if k.end {
				c.frameError(r)
			}
			s.told = true
			return Head
		}
		s.tunnel = s.connect && 200 <= section.status && section.status < 300
		if s.tunnel {
			c.pending = s
		}
	}
	if !k.end || s.connect {
		if h.head = r.keepHead(b); h.head == nil {
			r.Stats.BudgetAbandoned++
			r.Stats.HeadsLost++
			h.headless = true
			return More
		}
	}
	if side == Client {
		r.Stats.Requests++
	} else {
		r.Stats.Responses++
	}
	h.shape = r.shapes.Find(section.fields)
	r.Head.Shape = h.shape
	h.First, h.state, h.status, h.length = k.began, halfOpen, section.status, section.length
	h.Unknown += section.unknown
	h.Anomalies |= section.anomalies
	h.RPC.Is = section.isGRPC
	h.RPC.Status = section.grpc
	c.holding = h.head == nil
	s.told = true
	return Head
}

// trailers takes a header section that comes after a head.
func (c *Conn) trailers(r *Reader, b Budget, side Side, s *Stream, k *block) Event {
	section := &r.section
	h := &s.half[side]
	interim := side == Server && h.status == 0 && h.Bytes == 0 // that may be what the head was
	if interim && !k.lost && (section.has(roleStatus) || !k.end) {
		r.release(b, &h.head) // and was
		return c.head(r, b, side, s, k)
	}
	h.Unknown += section.unknown
	h.Anomalies |= section.anomalies
	if section.special != [rolePseudo]int{} {
		h.Anomalies |= reassembly.AnomalyInvalidPseudoHeader
	}
	// The final head may have been lost, or be this block.
	h.doubtful = h.doubtful || interim && (k.lost || !section.complete())
	if !k.end {
		if !k.lost {
			c.frameError(r) // RFC 9113 section 8.1
		}
		return More
	}
	if section.grpc != unknown {
		h.RPC.Status = section.grpc
	}
	c.trailing = !k.lost && !h.doubtful
	c.holding = true
	return More
}
