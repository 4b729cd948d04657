package tls

import (
	"encoding/binary"

	"offpath/reassembly/tls/hello"
	"offpath/reassembly/tls/internal/protection"
)

// sslv2Header is the length of a record header of SSL 2.0 without padding.
const sslv2Header = 2

// frame takes octets of the record at hand, and returns it when it is whole. One
// that lies within the segment is a view into it.
func (c *Conn) frame(r *Reader, b Budget, i int, in *Input, out Consumer) (rec record, whole bool) {
	h := &c.half[i]
	if h.skip > 0 {
		n := min(h.skip, len(in.Data))
		h.skip -= n
		in.skip(n)
		return rec, false
	}
	if h.have == 0 {
		h.start = in.Position
		h.sslv2 = i == fromClient && !h.greeted && in.Data[0]&0x80 != 0
	}
	if want := h.headerWant(); h.have < want {
		n := copy(h.header[h.have:want], in.Data)
		h.have += uint8(n)
		in.skip(n)
		if h.have < want {
			return rec, false
		}
		if !h.plausible() {
			c.giveUp(r, b, i, ReasonProtocol)
			return rec, false
		}
	}
	length := h.length()
	body := in.Data
	if h.part != nil || len(body) < length {
		n := min(len(body), length-len(h.part))
		if n > 0 && !r.keep(b, &h.part, body[:n]) {
			r.Stats.BudgetLost++
			if !h.greeted {
				c.opaque(r, b, ReasonBudget)
				return rec, false
			}
			c.loseRecord(r, b, i, out)
			return rec, false
		}
		in.skip(n)
		if len(h.part) < length {
			return rec, false
		}
		body = h.part
	} else {
		in.skip(length)
	}
	rec = record{Record: protection.Record{Body: body[:length]}, start: h.start}
	if !h.sslv2 {
		rec.Type, rec.Version = h.header[0], binary.BigEndian.Uint16(h.header[1:])
	}
	h.have = 0
	return rec, true
}

func (h *half) headerWant() uint8 {
	if h.sslv2 {
		return sslv2Header
	}
	return headerLen
}

// length is the length of the record at hand after its header.
func (h *half) length() int {
	if h.sslv2 {
		return int(h.header[0]&0x7f)<<8 | int(h.header[1])
	}
	return int(binary.BigEndian.Uint16(h.header[3:]))
}

// plausible reports whether the header is that of a record.
func (h *half) plausible() bool {
	return h.sslv2 || typeChangeCipherSpec <= h.header[0] && h.header[0] <= typeHeartbeat &&
		h.header[1] == 3 && h.header[2] <= 4 && h.length() <= maxBody
}

// loseRecord passes over the record at hand, whose header is known.
func (c *Conn) loseRecord(r *Reader, b Budget, i int, out Consumer) {
	h := &c.half[i]
	h.skip = h.length() - len(h.part)
	h.have = 0
	r.release(b, &h.part)
	if h.held.any() {
		c.holdLost(r, b, i, h.header[0], h.length())
		return
	}
	c.recordLost(r, b, i, h.header[0], h.length(), out)
}

// recordLost says that a record with the given header will not come.
func (c *Conn) recordLost(r *Reader, b Budget, i int, kind uint8, length int, out Consumer) {
	h := &c.half[i]
	r.Stats.LostRecords++
	h.doubt = true
	if !h.greeted {
		c.opaque(r, b, ReasonHelloLost)
		return
	}
	h.messages.lose(r, b)
	legacy := c.version != 0 && c.version != hello.VersionTLS13
	switch {
	case legacy && h.opener == nil && !h.changed:
		if kind == typeChangeCipherSpec {
			h.change(r, b)
		}
		return
	case !legacy && kind != typeApplicationData:
		return // not protected
	}
	h.seq++
	if h.opener == nil {
		return
	}
	h.opener.Pass(nil, length)
	if kind == typeApplicationData && h.mayCarry(c) {
		n, exact := h.opener.PlainLen(length)
		out.Gap(i == fromClient, int64(n), exact)
	}
}

// mayCarry reports whether records of application data may be just that.
func (h *half) mayCarry(c *Conn) bool {
	return c.version != hello.VersionTLS13 || h.epoch != epochHandshake || h.passes > 0
}

// Missing says that the next n octets of a direction will not come. A record of
// which some are missing is lost, and those after it are found again if they can
// be proven: by their number, or by looking for one that authenticates.
func (c *Conn) Missing(r *Reader, b Budget, client bool, n int64, out Consumer) {
	i := side(client)
	h := &c.half[i]
	if h.refused != nil {
		c.offer(r, b, i, true, out)
	}
	if h.echo && n > 0 {
		h.echo = false
		n--
	}
	if n <= 0 || !c.reads(h) {
		return
	}
	if !h.seek.active {
		n = c.missingFramed(r, b, i, n, out)
	}
	if n > 0 && c.reads(h) {
		if !h.greeted {
			c.opaque(r, b, ReasonHelloLost)
			return
		}
		h.doubt = true
		h.messages.lose(r, b)
		h.seek.active = true
		h.seek.missed += n + int64(len(h.seek.octets))
		r.release(b, &h.seek.octets)
	}
	c.settle(r, b, out)
}

// missingFramed accounts for missing octets of the record at hand, and returns
// how many of the octets have no known place.
func (c *Conn) missingFramed(r *Reader, b Budget, i int, n int64, out Consumer) int64 {
	h := &c.half[i]
	if h.have > 0 && h.have < h.headerWant() {
		n += int64(h.have)
		h.have = 0
		return n
	}
	if h.have > 0 {
		c.loseRecord(r, b, i, out)
	}
	k := min(int64(h.skip), n)
	h.skip -= int(k)
	return n - k
}
