package tls

import (
	"crypto/rsa"

	"offpath/reassembly/tls/hello"
	"offpath/reassembly/tls/internal/protection"
	"offpath/reassembly/tls/keylog"
)

// early is what becomes of 0-RTT data.
type early uint8

const (
	earlyNone     early = iota
	earlyOffered        // the client may send them; the server has not said what it does
	earlyAccepted       // it reads them
	earlyRejected       // it passes over them
	earlyUnknown        // what it says is not to be read
)

// handshake is what is kept of one until both directions are under its keys.
type handshake struct {
	clientRandom keylog.Random
	serverRandom [32]byte
	haveClient   bool
	haveServer   bool
	suite        protection.Suite
	early        early

	// Up to TLS 1.2.
	encryptThenMAC bool
	extended       bool // extended master secret
	offeredID      sessionID
	sessionID      sessionID
	offeredTicket  sessionKey
	ticketOffered  bool
	ticket         sessionKey // of the NewSessionTicket
	ticketIssued   bool
	openers        [2]protection.Opener // nil: not made, or in place
	master         master
	haveMaster     bool

	// RSA key exchange.
	key         *rsa.PrivateKey // of the certificate
	noKey       bool            // the certificate is not of any of the keys
	encrypted   []byte          // premaster secret
	exchanged   bool            // ClientKeyExchange was read
	helloDone   bool            // ServerHelloDone was read
	tried       bool            // the premaster secret was decrypted, or can't be
	transcribes bool            // the messages are kept for the extended master secret
	transcript  [2][]byte       // messages of client, up to ClientKeyExchange, and server
}

// handshakeCost is what a handshake is charged beside its transcript, octets.
const handshakeCost = 512

// shake returns the handshake at hand. It is nil if nothing can be made of it, or if
// there is no room for it: then the connection is given up.
func (c *Conn) shake(r *Reader, b Budget) *handshake {
	if c.hs == nil && r.learns() && c.status < Opaque {
		if !b.Take(handshakeCost) {
			c.opaque(r, b, ReasonBudget)
			return nil
		}
		c.hs = &handshake{transcribes: r.config.Keys != nil}
	}
	return c.hs
}

// dropHandshake gives back what is kept of a handshake.
func (c *Conn) dropHandshake(r *Reader, b Budget) {
	if hs := c.hs; hs != nil {
		hs.forgetTranscript(r, b)
		r.release(b, &hs.encrypted)
		b.Give(handshakeCost)
		c.hs = nil
	}
}

func (hs *handshake) forgetTranscript(r *Reader, b Budget) {
	hs.transcribes = false
	r.release(b, &hs.transcript[fromClient])
	r.release(b, &hs.transcript[fromServer])
}

// maxTranscript bounds the handshake messages kept of one direction, in octets.
const maxTranscript = 64 << 10

// transcribe keeps handshake messages as long as the extended master secret may be
// made of them (RFC 7627 section 3). Without them it is not known.
func (hs *handshake) transcribe(r *Reader, b Budget, i int, data []byte) {
	if hs == nil || !hs.transcribes || i == fromClient && hs.exchanged || i == fromServer && hs.helloDone {
		return
	}
	if len(hs.transcript[i])+len(data) > maxTranscript || !r.keep(b, &hs.transcript[i], data) {
		hs.forgetTranscript(r, b)
	}
}

// message reads a handshake message that is of interest. It is followed by rest
// octets in its record.
func (c *Conn) message(r *Reader, b Budget, i int, kind uint8, body []byte, rest int, out Consumer) {
	h := &c.half[i]
	tls13 := c.version == hello.VersionTLS13
	switch kind {
	case messageClientHello:
		if i == fromClient {
			c.clientHello(r, b, body, out)
		}
	case messageServerHello:
		if i == fromServer {
			c.serverHello(r, b, body, out)
		}
	case messageEncryptedExtensions:
		if tls13 && i == fromServer && h.epoch == epochHandshake {
			c.encryptedExtensions(body)
		}
	case messageEndOfEarlyData:
		if tls13 && i == fromClient && h.epoch == epochEarly {
			h.enter(epochHandshake)
		}
	case messageFinished:
		if tls13 && h.epoch == epochHandshake {
			h.enter(epochApplication)
			c.progress = true
		}
	case messageKeyUpdate:
		if tls13 && h.epoch == epochApplication && c.update(h) {
			r.Stats.KeyUpdates++
		}
	case messageNewSessionTicket:
		const lifetimeAndLength = 4 + 2 // RFC 5077 section 3.3
		if c.hs != nil && i == fromServer && len(body) > lifetimeAndLength {
			c.hs.ticket, c.hs.ticketIssued = sessionKeyOf(byTicket, body[lifetimeAndLength:]), true
			c.remember(r)
		}
	case messageCertificate:
		if i == fromServer {
			c.certificate(r, body)
		}
	case messageServerHelloDone:
		if c.hs != nil && i == fromServer {
			c.hs.helloDone = true
			c.progress = true
		}
	case messageClientKeyExchange:
		if c.hs != nil && i == fromClient {
			c.keyExchange(r, b, body, rest)
		}
	}
}

// enter goes over to the keys of another epoch of TLS 1.3.
func (h *half) enter(e epoch) {
	h.epoch, h.opener, h.secret, h.next, h.trial, h.seq = e, nil, nil, nil, nil, 0
}

func (c *Conn) clientHello(r *Reader, b Budget, body []byte, out Consumer) {
	hello.ParseClient(body, &r.client)
	c.greetClient(r, b, body, out)
}

// greetClient takes the ClientHello that was just read; body is its message.
func (c *Conn) greetClient(r *Reader, b Budget, body []byte, out Consumer) {
	h, m := &c.half[fromClient], &r.client
	again := h.greeted
	switch {
	case !again:
		r.Stats.ClientHellos++
		if m.Malformed {
			r.Stats.Malformed++
		}
		out.ClientHello(m)
	case c.retried && !c.answered:
		c.answered = true
		out.ClientHello(m)
	}
	h.greeted, c.progress = true, true
	hs := c.shake(r, b)
	switch {
	case hs == nil:
		return
	case hs.haveClient && h.opener == nil:
		return // the second one, after a HelloRetryRequest
	case again && c.version == hello.VersionTLS13:
		return
	case again: // renegotiation (RFC 5246 section 7.4.1.1)
		out.ClientHello(m)
		hs.forgetTranscript(r, b)
		r.release(b, &hs.encrypted)
		*hs = handshake{transcribes: r.config.Keys != nil}
		hs.transcribe(r, b, fromClient, []byte{messageClientHello, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))})
		hs.transcribe(r, b, fromClient, body)
		c.half[fromClient].proven, c.half[fromServer].proven = false, false
	}
	hs.clientRandom, hs.haveClient = keylog.Random(m.Random), true
	hs.offeredID = sessionIDOf(m.SessionID)
	if len(m.Ticket) > 0 {
		hs.offeredTicket, hs.ticketOffered = sessionKeyOf(byTicket, m.Ticket), true
	}
	if m.EarlyData && hs.early == earlyNone {
		hs.early = earlyOffered
	}
}

func (c *Conn) serverHello(r *Reader, b Budget, body []byte, out Consumer) {
	m, h := &r.server, &c.half[fromServer]
	hello.ParseServer(body, m)
	c.progress = true
	if m.Retry {
		c.retried = true
		if hs := c.shake(r, b); hs != nil {
			hs.early = earlyRejected // RFC 8446 section 4.2.10
		}
		return
	}
	if !h.greeted {
		r.Stats.ServerHellos++
		if m.Malformed {
			r.Stats.Malformed++
		}
		out.ServerHello(m)
	}
	before := c.version
	h.greeted = true
	c.version, c.suiteID, c.protocol = m.Version(), m.Suite, protocolName(m.Protocol)
	c.doomed = c.doom(r, m)
	if before != 0 && before != c.version { // no renegotiation changes it
		c.doomed = ReasonProtocol
	}
	hs := c.shake(r, b)
	if hs == nil || hs.haveServer {
		return
	}
	if c.doomed == ReasonNone {
		directions := 2
		if before != 0 { // a renegotiation: those in place live on until it ends
			directions = 4
		}
		if !c.afford(b, directions) {
			c.opaque(r, b, ReasonBudget)
			return
		}
	}
	hs.suite, _ = protection.ByID(m.Suite)
	hs.serverRandom, hs.haveServer = m.Random, true
	hs.encryptThenMAC, hs.extended = m.EncryptThenMAC, m.ExtendedMasterSecret
	hs.sessionID = sessionIDOf(m.SessionID)
	if !hs.suite.RSA || !hs.extended {
		hs.forgetTranscript(r, b)
	}
}

// doom says why a connection can't be decrypted, as far as the hellos tell.
func (c *Conn) doom(r *Reader, m *hello.Server) Reason {
	suite, known := protection.ByID(m.Suite)
	switch v := m.Version(); {
	case v < hello.VersionTLS10 || v > hello.VersionTLS13:
		return ReasonVersion
	case !known:
		return ReasonSuite
	case suite.TLS13 != (v == hello.VersionTLS13):
		return ReasonProtocol
	case m.Compression != 0:
		return ReasonCompression
	case r.config.Secrets == nil && (v == hello.VersionTLS13 || r.config.Keys == nil || !suite.RSA && r.config.Sessions == nil):
		return ReasonNoSecret
	}
	return ReasonNone
}

// maxProtocol is the length of the longest name of a protocol that is kept, octets.
// No registered one is longer.
const maxProtocol = 32

// protocolName makes a string of a protocol's name, without allocating for the
// usual ones.
func protocolName(name []byte) string {
	switch string(name) {
	case "h2":
		return "h2"
	case "http/1.1":
		return "http/1.1"
	}
	if len(name) > maxProtocol {
		return ""
	}
	return string(name)
}

func (c *Conn) encryptedExtensions(body []byte) {
	var e hello.Encrypted
	hello.ParseEncrypted(body, &e)
	c.protocol = protocolName(e.Protocol)
	if hs := c.hs; hs != nil && hs.early == earlyOffered {
		hs.early = earlyRejected
		if e.EarlyData {
			hs.early = earlyAccepted
		}
	}
	c.progress = true
}

// certificate finds the server's key by the first certificate of the list (RFC
// 5246 section 7.4.2).
func (c *Conn) certificate(r *Reader, body []byte) {
	if c.hs == nil || r.config.Keys == nil || !c.hs.suite.RSA || len(body) < 6 {
		return
	}
	n := int(body[3])<<16 | int(body[4])<<8 | int(body[5])
	if n <= len(body)-6 {
		c.hs.key = r.keyOf(body[6 : 6+n])
		c.hs.noKey = c.hs.key == nil
	}
}

// keyExchange takes the encrypted premaster secret (RFC 5246 section 7.4.7.1).
// The transcript of the client ends with it.
func (c *Conn) keyExchange(r *Reader, b Budget, body []byte, rest int) {
	hs := c.hs
	hs.exchanged, c.progress = true, true
	if t := &hs.transcript[fromClient]; rest > 0 && rest <= len(*t) {
		*t = (*t)[:len(*t)-rest]
	}
	if r.config.Keys != nil && len(body) > 2 && int(body[0])<<8|int(body[1]) == len(body)-2 {
		r.release(b, &hs.encrypted)
		if !r.keep(b, &hs.encrypted, body[2:]) {
			c.opaque(r, b, ReasonBudget)
		}
	}
}
