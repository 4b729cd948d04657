package http2

// maxLeap is by how much stream ids may have grown while octets were missing.
const maxLeap = 1 << 20

// proves reports whether a segment begins at a frame boundary: whether it is a
// chain of frames that make sense on this connection.
func (c *Conn) proves(r *Reader, side Side, in *Input) bool {
	if in.Inside {
		return false
	}
	wrong := chainRequest
	if side == Client {
		wrong = chainResponse
	}
	what := r.chain(in.Data, int(max(c.dir[side].max, defaultMaxFrame)), func(f *frame) bool {
		return c.plausible(side, f)
	})
	return what != chainBroken && what != wrong
}

// Prove says which side a segment from the middle of a connection comes from, if
// it is nothing else by chance than frames of HTTP/2 with a head among them.
func (r *Reader) Prove(data []byte) (side Side, ok bool) {
	switch r.chain(data, defaultMaxFrame, func(f *frame) bool { return true }) {
	case chainRequest:
		return Client, true
	case chainResponse:
		return Server, true
	}
	return 0, false
}

// plausible reports whether a frame makes sense where frames before it may have
// been missed.
func (c *Conn) plausible(side Side, f *frame) bool {
	client := &c.dir[Client]
	switch {
	case f.stream == 0:
		return true
	case f.stream%2 == 0:
		return side == Server || f.kind == kindWindowUpdate || f.kind == kindReset || f.kind == kindPriority
	case client.newest > 0 && f.stream > client.newest+maxLeap:
		return false
	case f.kind != kindData && f.kind != kindHeaders:
		return true
	}
	if s := c.streams[f.stream]; s != nil {
		return s.half[side].state != halfOver
	}
	return f.stream > client.newest || side == Server && client.unsure()
}

// chained is what octets are as a chain of frames.
type chained uint8

const (
	chainBroken   chained = iota // none
	chainFrames                  // frames of either side
	chainRequest                 // and a request's head among them
	chainResponse                // and a response's head among them
)

// chain walks the frames that data consists of. It is a chain if all of them are
// sane, and if it ends with data, or goes on beyond with at least two frame
// headers or a readable head within.
func (r *Reader) chain(data []byte, maxFrame int, plausible func(*frame) bool) chained {
	frames, what := 0, chainFrames
	open := uint32(0) // the stream whose header block goes on
	for len(data) >= headerOctets {
		f := frameFrom(data)
		if !f.sane() || int(f.length) > maxFrame || !plausible(&f) {
			return chainBroken
		}
		if (f.kind == kindContinuation) != (open != 0) || open != 0 && open != f.stream {
			return chainBroken
		}
		frames++
		data = data[headerOctets:]
		if int(f.length) > len(data) {
			if frames > 1 {
				return what
			}
			return chainBroken
		}
		payload := data[:f.length]
		data = data[f.length:]
		switch f.kind {
		case kindHeaders, kindPushPromise, kindContinuation:
			open = f.stream
			if f.has(flagEndHeaders) {
				open = 0
			}
		}
		if f.kind == kindHeaders && open == 0 {
			head := r.prove(&f, payload)
			switch {
			case head == chainBroken, head != chainFrames && what != chainFrames && head != what:
				return chainBroken
			case head != chainFrames:
				what = head
			}
		}
	}
	if frames == 0 || len(data) > 0 && frames < 2 && what == chainFrames {
		return chainBroken
	}
	return what
}

// prove decodes a HEADERS frame without a table.
func (r *Reader) prove(f *frame, payload []byte) chained {
	fragment, _, _, ok := f.fragment(payload)
	if !ok || len(fragment) > MaxHead {
		return chainBroken
	}
	table := table{partial: true, sized: true}
	r.decoder.block(&table, noBudget{}, &r.section, fragment, false)
	s := &r.section
	switch {
	case !s.whole:
		return chainBroken
	case s.has(roleMethod), s.has(rolePath):
		return chainRequest
	case s.has(roleStatus):
		return chainResponse
	}
	return chainFrames
}

// noBudget is the Budget of a table that holds nothing.
type noBudget struct{}

func (noBudget) Take(int) bool { return false }
func (noBudget) Give(int)      {}
