package tls

import (
	"offpath/reassembly/tls/hello"
)

const (
	// maxFailed is how many records in a row may fail to authenticate. A damaged
	// or forged segment costs its records, a wrong secret the direction.
	maxFailed = 3
	// maxWindow is how many record numbers are tried after missing octets.
	maxWindow = 64
)

// open opens a record under the number and keys that it should have. If something
// is missing before it, numbers further on and the keys that follow are tried: the
// record itself proves which are right.
func (c *Conn) open(r *Reader, b Budget, i int, rec *record) (plain []byte, ok bool) {
	h := &c.half[i]
	window := 0
	if h.doubt {
		window = min(h.window, maxWindow)
	}
	if h.opener != nil {
		for k := 0; k <= window; k++ {
			if plain, ok = h.opener.Open(r.plain, h.seq+uint64(k), rec.Record); ok {
				h.seq += uint64(k)
				c.authenticated(r, i, rec)
				return plain, true
			}
		}
	}
	if !h.doubt || !c.following(r, b, i) {
		return nil, false
	}
	for k := 0; k <= window; k++ {
		if plain, ok = h.next.Open(r.plain, uint64(k), rec.Record); ok {
			c.follow(i, uint64(k))
			c.authenticated(r, i, rec)
			return plain, true
		}
	}
	return nil, false
}

// following makes the keys after those in place, and reports whether there are
// any, and room for them.
func (c *Conn) following(r *Reader, b Budget, i int) bool {
	h, hs := &c.half[i], c.hs
	if h.next != nil {
		return true
	}
	if c.version != hello.VersionTLS13 {
		if hs == nil || !hs.haveMaster || hs.openers[i] == nil {
			return false
		}
		h.next = hs.openers[i]
		return true
	}
	if !c.afford(b, 4) {
		return false
	}
	suite := c.suite()
	if h.epoch == epochApplication {
		next, err := suite.NextSecret(h.secret)
		if err != nil {
			return false
		}
		h.trial = next
	} else {
		if hs == nil {
			return false
		}
		secret, ok := c.lookup(r, labelOf(i, h.epoch+1))
		if !ok {
			return false
		}
		h.trial = append([]byte(nil), secret.Bytes()...)
	}
	opener, err := suite.TrafficOpener(h.trial)
	if err != nil {
		return false
	}
	h.next = opener
	return true
}

// follow goes over to the keys that follow, under which the record with the given
// number authenticated.
func (c *Conn) follow(i int, seq uint64) {
	h := &c.half[i]
	next, secret := h.next, h.trial
	if c.version == hello.VersionTLS13 {
		h.enter(min(h.epoch+1, epochApplication))
		c.progress = true
	} else {
		c.hs.openers[i] = nil
	}
	h.opener, h.secret, h.next, h.trial = next, secret, nil, nil
	h.seq, h.changed = seq, false
}

// authenticated notes that a record was opened.
func (c *Conn) authenticated(r *Reader, i int, rec *record) {
	h := &c.half[i]
	r.Stats.Records++
	h.opener.Pass(rec.Body, len(rec.Body))
	h.seq++
	if h.doubt {
		r.Stats.Recovered++
	}
	h.doubt, h.window, h.passes, h.failed = false, 0, 0, 0
	h.next, h.trial = nil, nil
	if !c.opened {
		c.opened = true
		r.Stats.Decrypted++
	}
	if hs := c.hs; h.proven || hs == nil {
		return
	} else if c.version == hello.VersionTLS13 && h.epoch != epochApplication {
		return
	} else if c.version != hello.VersionTLS13 && (!hs.haveMaster || hs.openers[i] != nil) {
		return // under the keys before a renegotiation
	}
	h.proven = true
	c.remember(r)
}

// unopened deals with a record that did not authenticate.
func (c *Conn) unopened(r *Reader, b Budget, i int, rec *record, out Consumer) {
	h := &c.half[i]
	if h.passes > 0 {
		h.passes--
		r.Stats.Skipped++
		if c.hs != nil && i == fromClient && (c.hs.early == earlyAccepted || c.hs.early == earlyUnknown) {
			n, _ := h.opener.PlainLen(len(rec.Body))
			out.Gap(true, int64(n), false)
		}
		if h.passes == 0 {
			c.giveUp(r, b, i, ReasonWrongSecret)
		}
		return
	}
	r.Stats.Unopened++
	h.seq++
	h.opener.Pass(rec.Body, len(rec.Body))
	h.doubt = true
	h.failed++
	if h.failed == maxFailed {
		c.giveUp(r, b, i, ReasonWrongSecret)
		return
	}
	if rec.Type == typeApplicationData && h.mayCarry(c) {
		n, exact := h.opener.PlainLen(len(rec.Body))
		out.Gap(i == fromClient, int64(n), exact)
	}
}
