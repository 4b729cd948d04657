package tls

import (
	"bytes"

	"offpath/reassembly/tls/hello"
	"offpath/reassembly/tls/internal/protection"
	"offpath/reassembly/tls/keylog"
)

// maxPasses is how many records are passed over until one authenticates, where
// some have keys that are not known: a flight of the handshake, or 0-RTT data.
const maxPasses = 256

// ready puts the keys of the next protected record in place, or says that they
// can't be made yet.
func (c *Conn) ready(r *Reader, i int) bool {
	if c.doomed != ReasonNone {
		return false
	}
	if c.version == hello.VersionTLS13 {
		return c.ready13(r, i)
	}
	return c.readyLegacy(r, i)
}

// ready13 is ready for TLS 1.3: the epochs follow each other, and each has its
// secret in the key log.
func (c *Conn) ready13(r *Reader, i int) bool {
	h, hs := &c.half[i], c.hs
	for h.opener == nil {
		if h.secret != nil { // after a key update
			return h.install(c, h.secret)
		}
		if hs == nil || !hs.haveClient || r.config.Secrets == nil {
			return false
		}
		if h.epoch == epochPlain {
			if i == fromClient && !c.settleEarly() {
				return false
			}
			h.epoch = epochHandshake
			if i == fromClient && hs.early != earlyNone {
				if hs.early == earlyAccepted {
					h.epoch = epochEarly
				} else {
					h.pass()
				}
			}
		}
		if secret, ok := c.lookup(r, labelOf(i, h.epoch)); ok {
			return h.install(c, bytes.Clone(secret.Bytes()))
		}
		// The secret of a later epoch is logged later: the one asked for is not
		// to come.
		if h.epoch == epochApplication || !c.logged(r, i, h.epoch+1) {
			return false
		}
		h.epoch++
		h.pass()
		c.progress = true // what the other direction waits for may never be read
	}
	return true
}

// settleEarly reports whether it is known what becomes of 0-RTT data. The server
// says so in its EncryptedExtensions.
func (c *Conn) settleEarly() bool {
	server := &c.half[fromServer]
	if c.hs.early == earlyOffered && (server.lost || server.closed || server.epoch == epochApplication) {
		c.hs.early = earlyUnknown
	}
	return c.hs.early != earlyOffered
}

// logged reports whether the secret of an epoch, or of one after it, is there.
func (c *Conn) logged(r *Reader, i int, e epoch) bool {
	for ; e <= epochApplication; e++ {
		if _, ok := r.config.Secrets.Lookup(labelOf(i, e), &c.hs.clientRandom); ok {
			return true
		}
	}
	return false
}

func (h *half) pass() { h.doubt, h.passes = true, maxPasses }

func labelOf(i int, e epoch) keylog.Label {
	switch {
	case e == epochEarly:
		return keylog.ClientEarly
	case e == epochHandshake && i == fromClient:
		return keylog.ClientHandshake
	case e == epochHandshake:
		return keylog.ServerHandshake
	case i == fromClient:
		return keylog.ClientApplication
	}
	return keylog.ServerApplication
}

func (c *Conn) lookup(r *Reader, label keylog.Label) (keylog.Secret, bool) {
	secret, ok := r.config.Secrets.Lookup(label, &c.hs.clientRandom)
	if ok {
		c.noteFound(r)
	}
	return secret, ok
}

func (c *Conn) noteFound(r *Reader) {
	if c.found {
		return
	}
	c.found = true
	r.Stats.SecretsFound++
	if c.since != 0 {
		r.Stats.SecretsLate++
	}
}

// install puts the keys of a traffic secret in place. A secret that does not fit
// the suite is a wrong one: nothing will authenticate.
func (h *half) install(c *Conn, secret []byte) bool {
	suite := c.suite()
	opener, err := suite.TrafficOpener(secret)
	if err != nil {
		c.doomed = ReasonWrongSecret
		return false
	}
	h.opener, h.secret = opener, secret
	return true
}

// readyLegacy is ready for TLS 1.0 to 1.2.
func (c *Conn) readyLegacy(r *Reader, i int) bool {
	h := &c.half[i]
	if h.opener != nil && !h.changed {
		return true
	}
	if !c.derive(r) || c.hs.openers[i] == nil {
		return false
	}
	h.opener, c.hs.openers[i] = c.hs.openers[i], nil
	h.changed, h.proven = false, false
	return true
}

// derive makes the openers of both directions of TLS 1.0 to 1.2.
func (c *Conn) derive(r *Reader) bool {
	hs := c.hs
	if hs == nil || !hs.haveClient || !hs.haveServer || c.doomed != ReasonNone {
		return false
	}
	if hs.haveMaster {
		return true
	}
	m, ok := c.findMaster(r)
	if !ok {
		return false
	}
	client, server, err := hs.suite.Openers(c.version, m[:], hs.clientRandom[:], hs.serverRandom[:], hs.encryptThenMAC)
	if err != nil {
		c.doomed = ReasonSuite
		return false
	}
	hs.openers = [2]protection.Opener{client, server}
	hs.master, hs.haveMaster = m, true
	return true
}

// findMaster looks for the master secret: in the key logs, among the sessions
// that can be resumed, and by decrypting the premaster secret.
func (c *Conn) findMaster(r *Reader) (m master, ok bool) {
	hs := c.hs
	if r.config.Secrets != nil {
		if secret, ok := c.lookup(r, keylog.Master); ok {
			return master(secret.Bytes()), true
		}
	}
	if !hs.exchanged && r.config.Sessions != nil {
		m, ok = c.resumed(r)
		if ok {
			r.Stats.SessionsFound++
			c.noteFound(r)
			return m, true
		}
	}
	premaster := c.premaster(r)
	if premaster == nil {
		return m, false
	}
	c.noteFound(r)
	if hs.extended {
		return master(hs.suite.ExtendedMasterSecret(c.version, premaster, hs.messages()...)), true
	}
	return master(hs.suite.MasterSecret(c.version, premaster, hs.clientRandom[:], hs.serverRandom[:])), true
}

// resumed returns the master secret of the session that the server resumed: that
// of the id which it repeats, or of the ticket that it was given.
func (c *Conn) resumed(r *Reader) (m master, ok bool) {
	hs := c.hs
	if hs.ticketOffered {
		if m, ok = r.config.Sessions.get(hs.offeredTicket); ok {
			return m, true
		}
	}
	if hs.sessionID.n > 0 && hs.sessionID == hs.offeredID {
		return r.config.Sessions.get(sessionKeyOf(bySessionID, hs.sessionID.bytes()))
	}
	return m, false
}

// premaster decrypts the premaster secret, once.
func (c *Conn) premaster(r *Reader) []byte {
	hs := c.hs
	if r.config.Keys == nil || !hs.suite.RSA || hs.tried || hs.noKey || hs.encrypted == nil {
		return nil
	}
	if hs.extended && (!hs.transcribes || !hs.helloDone) {
		return nil
	}
	hs.tried = true
	r.Stats.RSADecryptions++
	return r.config.Keys.premaster(hs.key, hs.encrypted)
}

// messages are those that the extended master secret is made of, in the order of
// the handshake: the server speaks between ClientHello and the client's rest.
func (hs *handshake) messages() [][]byte {
	client := hs.transcript[fromClient]
	first := 0
	if len(client) >= messageHeader {
		first = min(len(client), messageHeader+(int(client[1])<<16|int(client[2])<<8|int(client[3])))
	}
	return [][]byte{client[:first], hs.transcript[fromServer], client[first:]}
}

// remember keeps the master secret for resumption, once a record has proven it.
func (c *Conn) remember(r *Reader) {
	hs := c.hs
	if r.config.Sessions == nil || hs == nil || !hs.haveMaster || !c.half[fromClient].proven && !c.half[fromServer].proven {
		return
	}
	if hs.sessionID.n > 0 {
		r.config.Sessions.put(sessionKeyOf(bySessionID, hs.sessionID.bytes()), &hs.master)
	}
	if hs.ticketIssued {
		r.config.Sessions.put(hs.ticket, &hs.master)
	}
}

// update goes over to the next traffic secret (RFC 8446 section 4.6.3).
func (c *Conn) update(h *half) bool {
	suite := c.suite()
	next, err := suite.NextSecret(h.secret)
	if err != nil {
		return false
	}
	h.enter(epochApplication)
	h.secret = next
	return true
}
