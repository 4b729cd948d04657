package tls

import (
	"encoding/binary"

	"offpath/reassembly/tls/hello"
	"offpath/reassembly/tls/internal/protection"
)

// seek looks for a record after octets that are missing.
type seek struct {
	active bool
	tries  uint8  // records that turned out to be none
	octets []byte // from a place on that may be a record's first octet
	before []byte // the last octets before that
	missed int64  // octets missing and passed over since the last record
	passed int64  // of these, passed over
}

const (
	// maxTries is how many places that look like a record are tried. Among
	// random octets there is one in millions.
	maxTries = 32
	// maxBefore is how many octets before a record may matter: the MAC and the
	// last block of another, with encrypt-then-MAC in TLS 1.0.
	maxBefore = 64
	// maxSought is how many octets are passed over while looking for a record;
	// more than two records of the longest kind are never needed.
	maxSought = 256 << 10
)

// sought looks for a record in a segment. It takes all of it.
func (c *Conn) sought(r *Reader, b Budget, i int, in *Input, out Consumer) {
	h := &c.half[i]
	data, at := in.Data, in.Position
	in.skip(len(data))
	if h.held.any() || !c.openable(r, i) {
		// Where records begin can't be proven without keys.
		h.seek.missed += int64(len(data))
		if h.held.any() {
			return
		}
		if h.seek.passed += int64(len(data)); h.seek.passed > maxSought {
			c.giveUp(r, b, i, ReasonNoSecret)
		}
		return
	}
	if !r.keep(b, &h.seek.octets, data) {
		c.giveUp(r, b, i, ReasonBudget)
		return
	}
	for c.reads(h) {
		n := c.candidate(h.seek.octets)
		c.passOver(h, n)
		r.Stats.SoughtOctets += uint64(n)
		octets := h.seek.octets
		if h.seek.passed > maxSought || h.seek.tries > maxTries {
			c.giveUp(r, b, i, ReasonGap)
			return
		}
		if len(octets) < headerLen {
			return
		}
		length := headerLen + int(binary.BigEndian.Uint16(octets[3:]))
		if len(octets) < length {
			return
		}
		rec := record{start: at, last: true, Record: protection.Record{
			Type: octets[0], Version: binary.BigEndian.Uint16(octets[1:]), Body: octets[headerLen:length],
		}}
		h.seek.octets = nil // they outlive what the record leads to
		if !c.resume(r, b, i, &rec, out) {
			h.seek.octets = octets
			if !c.reads(h) {
				r.release(b, &h.seek.octets)
				return
			}
			h.seek.tries++
			c.passOver(h, 1)
			continue
		}
		h.seek = seek{tries: h.seek.tries, before: h.seek.before[:0]}
		rest := Input{Data: octets[length:], Position: at}
		c.settle(r, b, out)
		c.Read(r, b, i == fromClient, &rest, true, out)
		r.release(b, &octets)
		return
	}
}

// passOver goes beyond n of the octets at hand.
func (c *Conn) passOver(h *half, n int) {
	s := &h.seek
	if n > 0 && h.opener != nil {
		s.before = append(s.before, s.octets[max(0, n-maxBefore):n]...)
		s.before = s.before[:copy(s.before, s.before[max(0, len(s.before)-maxBefore):])]
	}
	s.octets = s.octets[:copy(s.octets, s.octets[n:])]
	s.missed += int64(n)
	s.passed += int64(n)
}

// openable reports whether there are keys that can prove a record.
func (c *Conn) openable(r *Reader, i int) bool {
	h := &c.half[i]
	if c.version == 0 {
		return false
	}
	if c.version == hello.VersionTLS13 || h.changed || h.opener != nil {
		return c.ready(r, i)
	}
	return c.derive(r)
}

// candidate is where the first octets lie that may begin a record: its header, or
// as much of it as there is.
func (c *Conn) candidate(octets []byte) int {
	least := uint8(typeAlert)
	if c.version == hello.VersionTLS13 {
		least = typeApplicationData
	}
	for n, octet := range octets {
		if octet < least || octet > typeApplicationData {
			continue
		}
		rest := octets[n:]
		if len(rest) > 1 && rest[1] != 3 || len(rest) > 2 && rest[2] != uint8(min(c.version, hello.VersionTLS12)) ||
			len(rest) >= headerLen && (binary.BigEndian.Uint16(rest[3:]) > maxBody || binary.BigEndian.Uint16(rest[3:]) < minBody) {
			continue
		}
		return n
	}
	return len(octets)
}

// minBody is the length of the shortest protected record, an alert with the tag
// of CCM_8, after its header.
const minBody = 2 + 8

// resume tries whether octets are a record, and goes on with it.
func (c *Conn) resume(r *Reader, b Budget, i int, rec *record, out Consumer) bool {
	h := &c.half[i]
	// As many records may be missing as find room, and as few.
	shortest, longest := int64(headerLen+minBody), int64(headerLen+maxBody)
	skipped := h.seek.missed / longest
	before := h.seq
	h.seq += uint64(skipped)
	h.window = int(min(h.seek.missed/shortest-skipped, maxWindow))
	h.doubt = true
	missed := h.seek.missed
	if h.opener != nil && !h.opener.Resume(h.seek.before) {
		c.giveUp(r, b, i, ReasonGap)
		return false
	}
	plain, ok := c.open(r, b, i, rec)
	if !ok {
		h.seq = before
		return false
	}
	if h.mayCarry(c) {
		out.Gap(i == fromClient, missed, false)
	}
	c.unwrap(r, b, i, plain, rec, out)
	return true
}
