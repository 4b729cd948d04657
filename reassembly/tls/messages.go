package tls

import "offpath/reassembly/tls/hello"

// Handshake message types (RFC 8446 section 4, RFC 5246 section 7.4).
const (
	messageHelloRequest        = 0
	messageClientHello         = 1
	messageServerHello         = 2
	messageNewSessionTicket    = 4
	messageEndOfEarlyData      = 5
	messageEncryptedExtensions = 8
	messageCertificate         = 11
	messageServerHelloDone     = 14
	messageClientKeyExchange   = 16
	messageFinished            = 20
	messageKeyUpdate           = 24
)

const messageHeader = 4

// messages puts the handshake messages of a direction together, which may lie in
// one record or in many.
type messages struct {
	header [messageHeader]byte
	have   uint8  // octets of it
	kept   bool   // the message at hand is of interest
	loose  bool   // a part is missing: only whole messages in a record are read
	left   int    // octets of the message at hand that are still to come
	body   []byte // of it, as far as it has come
}

// lose says that a part is missing.
func (m *messages) lose(r *Reader, b Budget) {
	r.release(b, &m.body)
	*m = messages{loose: true}
}

// feed reads handshake messages from the content of a record.
func (c *Conn) feed(r *Reader, b Budget, i int, data []byte, out Consumer) {
	m := &c.half[i].messages
	if m.loose && !wholeMessages(data) {
		return
	}
	m.loose = false
	if !c.half[i].proven {
		c.shake(r, b)
	}
	c.hs.transcribe(r, b, i, data)
	for len(data) > 0 && c.reads(&c.half[i]) {
		if m.left == 0 && m.have < messageHeader {
			n := copy(m.header[m.have:], data)
			m.have += uint8(n)
			data = data[n:]
			if m.have < messageHeader {
				return
			}
			m.left = int(m.header[1])<<16 | int(m.header[2])<<8 | int(m.header[3])
			m.kept = c.wants(m.header[0])
			if !c.half[i].greeted && m.header[0] != messageHelloRequest && int(m.header[0]) != messageClientHello+i {
				c.opaque(r, b, ReasonMidstream)
				return
			}
			if m.kept && m.left > hello.MaxMessage-messageHeader {
				m.kept = false
				if m.header[0] <= messageServerHello {
					c.opaque(r, b, ReasonProtocol)
					return
				}
			}
		}
		n := min(m.left, len(data))
		body := data[:n]
		if m.kept && (m.body != nil || n < m.left) {
			if !r.keep(b, &m.body, body) {
				c.opaque(r, b, ReasonBudget)
				return
			}
			body = m.body
		}
		m.left -= n
		data = data[n:]
		if m.left > 0 {
			return
		}
		m.have = 0
		before := c.half[i].epoch
		if m.kept {
			c.message(r, b, i, m.header[0], body, len(data), out)
			r.release(b, &m.body)
		}
		if c.half[i].epoch != before {
			return // a message after which keys change ends its record (RFC 8446 section 5.1)
		}
	}
}

// wholeMessages reports whether data consists of whole handshake messages.
func wholeMessages(data []byte) bool {
	for len(data) >= messageHeader {
		n := messageHeader + (int(data[1])<<16 | int(data[2])<<8 | int(data[3]))
		if n > len(data) {
			return false
		}
		data = data[n:]
	}
	return len(data) == 0
}

// wants reports whether a message is of interest.
func (c *Conn) wants(kind uint8) bool {
	switch kind {
	case messageClientHello, messageServerHello, messageEndOfEarlyData, messageEncryptedExtensions,
		messageFinished, messageKeyUpdate:
		return true
	case messageNewSessionTicket, messageCertificate, messageServerHelloDone, messageClientKeyExchange:
		return c.hs != nil && c.version != hello.VersionTLS13
	}
	return false
}
