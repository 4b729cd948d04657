package tls

import "offpath/reassembly/tls/hello"

// process deals with a record. It returns false if that can't be done yet.
func (c *Conn) process(r *Reader, b Budget, i int, rec *record, out Consumer) bool {
	h := &c.half[i]
	switch {
	case !c.reads(h):
		return true
	case h.sslv2:
		h.sslv2 = false
		hello.ParseSSLv2(rec.Body, &r.client)
		c.greetClient(r, b, nil, out)
		return true
	case !h.greeted && rec.Type != typeHandshake && rec.Type != typeAlert && !c.retried:
		c.opaque(r, b, ReasonMidstream)
		return true
	case c.version == 0:
		return c.beforeVersion(r, b, i, rec, out)
	case c.version == hello.VersionTLS13:
		return c.process13(r, b, i, rec, out)
	}
	return c.processLegacy(r, b, i, rec, out)
}

// beforeVersion deals with a record while the server's choice is not known.
func (c *Conn) beforeVersion(r *Reader, b Budget, i int, rec *record, out Consumer) bool {
	h := &c.half[i]
	switch rec.Type {
	case typeHandshake:
		if h.changed {
			return false // encrypted, or the second hello of TLS 1.3
		}
		c.feed(r, b, i, rec.Body, out)
	case typeChangeCipherSpec:
		h.changed = i == fromClient && !c.retried // behind a HelloRetryRequest it says nothing
	case typeAlert:
		c.plainAlert(r, b, rec.Body)
	default:
		return false
	}
	return true
}

// process13 deals with a record of TLS 1.3. After the hellos only records of
// application data are protected; a ChangeCipherSpec says nothing (RFC 8446
// appendix D.4).
func (c *Conn) process13(r *Reader, b Budget, i int, rec *record, out Consumer) bool {
	h := &c.half[i]
	h.changed = false
	switch {
	case rec.Type == typeApplicationData:
	case rec.Type == typeChangeCipherSpec:
		return true
	case h.epoch != epochPlain:
		r.Stats.Unprotected++
		return true
	case rec.Type == typeHandshake:
		c.feed(r, b, i, rec.Body, out)
		return true
	case rec.Type == typeAlert:
		c.plainAlert(r, b, rec.Body)
		return true
	}
	if !c.ready(r, i) {
		return false
	}
	c.protected(r, b, i, rec, out)
	return true
}

// processLegacy deals with a record of TLS 1.0 to 1.2.
func (c *Conn) processLegacy(r *Reader, b Budget, i int, rec *record, out Consumer) bool {
	h := &c.half[i]
	if h.changed && !c.ready(r, i) {
		return false
	}
	if h.opener != nil {
		c.protected(r, b, i, rec, out)
		return true
	}
	if h.doubt && rec.Type != typeChangeCipherSpec && c.derive(r) {
		// The ChangeCipherSpec may be what is missing: then it authenticates.
		if plain, ok := c.open(r, b, i, rec); ok {
			c.unwrap(r, b, i, plain, rec, out)
			return true
		}
	}
	switch rec.Type {
	case typeHandshake:
		c.feed(r, b, i, rec.Body, out)
	case typeChangeCipherSpec:
		h.change(r, b)
	case typeAlert:
		c.plainAlert(r, b, rec.Body)
	case typeApplicationData:
		if !h.doubt {
			c.opaque(r, b, ReasonProtocol)
		}
	}
	return true
}

// change notes a ChangeCipherSpec: the next record is under the new keys.
func (h *half) change(r *Reader, b Budget) {
	h.changed, h.seq = true, 0
	r.release(b, &h.messages.body)
	h.messages = messages{}
}

// Alerts (RFC 8446 section 6).
const (
	alertWarning     = 1
	alertFatal       = 2
	alertCloseNotify = 0
	alertCanceled    = 90
)

// plainAlert reads an alert before there are keys. The peers obey it, whoever
// sent it.
func (c *Conn) plainAlert(r *Reader, b Budget, body []byte) {
	if len(body) == 2 && (body[0] == alertFatal || body[1] == alertCloseNotify) {
		c.opaque(r, b, ReasonAlert)
	}
}

// protected opens a record and deals with its content.
func (c *Conn) protected(r *Reader, b Budget, i int, rec *record, out Consumer) {
	plain, ok := c.open(r, b, i, rec)
	if !ok {
		c.unopened(r, b, i, rec, out)
		return
	}
	c.unwrap(r, b, i, plain, rec, out)
}

// unwrap finds out what kind of content a record that was opened has.
func (c *Conn) unwrap(r *Reader, b Budget, i int, plain []byte, rec *record, out Consumer) {
	kind := rec.Type
	if c.version == hello.VersionTLS13 {
		n := len(plain) // RFC 8446 section 5.4
		for n > 0 && plain[n-1] == 0 {
			n--
		}
		if n == 0 {
			r.Stats.Unprotected++
			return
		}
		kind, plain = plain[n-1], plain[:n-1]
		if kind == typeApplicationData && c.half[i].epoch == epochHandshake {
			r.Stats.Unprotected++
			return
		}
	}
	c.content(r, b, i, kind, plain, rec, out)
}

// content deals with what a record held.
func (c *Conn) content(r *Reader, b Budget, i int, kind uint8, plain []byte, rec *record, out Consumer) {
	h := &c.half[i]
	switch kind {
	case typeApplicationData:
		c.deliver(r, b, i, plain, rec, out)
	case typeHandshake:
		c.feed(r, b, i, plain, out)
	case typeChangeCipherSpec:
		if c.version != hello.VersionTLS13 {
			h.change(r, b)
		}
	case typeAlert:
		if len(plain) != 2 || plain[1] == alertCanceled || plain[0] == alertWarning && plain[1] != alertCloseNotify {
			return
		}
		h.closed = true
		out.End(i == fromClient, plain[1] == alertCloseNotify)
	}
}
