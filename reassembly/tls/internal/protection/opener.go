package protection

import (
	"crypto"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rc4"
	"crypto/subtle"
	"encoding/binary"
	"hash"
)

// versionTLS11 is the first whose CBC records carry their initialisation vector
// (RFC 4346).
const versionTLS11 = 0x0302

// Record is a protected record as on the wire.
type Record struct {
	Type    uint8
	Version uint16
	Body    []byte
}

// Opener opens the records of one direction.
type Opener interface {
	// Open authenticates the record as number seq of its direction, and returns
	// its content in dst[:0], which must have room for the body. It changes no
	// state: it may be tried with other numbers, and with other records.
	Open(dst []byte, seq uint64, rec Record) (plain []byte, ok bool)
	// Pass goes beyond a record. One whose octets are lost has a nil body, of
	// the length given.
	Pass(body []byte, length int)
	// Resume goes on after octets of unknown number are missing, before a record
	// that follows the octets given. It returns false if that can't be.
	Resume(before []byte) bool
	// PlainLen is how many octets a record with a body of so many holds; exact
	// is false if it may be less.
	PlainLen(body int) (n int, exact bool)
}

// openAEAD is the half of cipher.AEAD that an observer needs.
type openAEAD interface {
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

// aead opens records of AEAD suites: RFC 5288 and 6655 (explicit nonce), RFC 7905,
// and RFC 8446 section 5.2.
type aead struct {
	open     openAEAD
	tag      int
	explicit bool // 8 octets of the nonce are in the record
	tls13    bool
	iv       [12]byte
	nonce    [12]byte
	data     [13]byte // additional data
}

func (a *aead) Open(dst []byte, seq uint64, rec Record) ([]byte, bool) {
	body, overhead := rec.Body, a.tag
	a.nonce = a.iv
	if a.explicit {
		overhead += 8
	}
	if len(body) < overhead {
		return nil, false
	}
	if a.explicit {
		copy(a.nonce[4:], body)
		body = body[8:]
	} else {
		binary.BigEndian.PutUint64(a.nonce[4:], binary.BigEndian.Uint64(a.nonce[4:])^seq)
	}
	data := a.data[:]
	if a.tls13 {
		data = data[:5]
		data[0] = rec.Type
		binary.BigEndian.PutUint16(data[1:], rec.Version)
		binary.BigEndian.PutUint16(data[3:], uint16(len(rec.Body)))
	} else {
		pseudoHeader(data, seq, rec, len(rec.Body)-overhead)
	}
	plain, err := a.open.Open(dst[:0], a.nonce[:], body, data)
	return plain, err == nil
}

func (a *aead) Pass([]byte, int) {}

func (a *aead) Resume([]byte) bool { return true }

func (a *aead) PlainLen(body int) (int, bool) {
	switch {
	case a.tls13:
		return max(0, body-a.tag-1), false
	case a.explicit:
		return max(0, body-a.tag-8), true
	}
	return max(0, body-a.tag), true
}

// pseudoHeader writes the 13 octets that are authenticated before the content
// up to TLS 1.2 (RFC 5246 sections 6.2.3.1 and 6.2.3.3).
func pseudoHeader(dst []byte, seq uint64, rec Record, length int) {
	binary.BigEndian.PutUint64(dst, seq)
	dst[8] = rec.Type
	binary.BigEndian.PutUint16(dst[9:], rec.Version)
	binary.BigEndian.PutUint16(dst[11:], uint16(length))
}

// mac is the MAC of CBC and stream suites.
type mac struct {
	hmac   hash.Hash
	header [13]byte
	sum    []byte
}

func newMAC(h crypto.Hash, key []byte) mac {
	return mac{hmac: hmac.New(h.New, key), sum: make([]byte, 0, h.Size())}
}

func (m *mac) size() int { return cap(m.sum) }

func (m *mac) verify(seq uint64, rec Record, content, tag []byte) bool {
	pseudoHeader(m.header[:], seq, rec, len(content))
	m.hmac.Reset()
	m.hmac.Write(m.header[:])
	m.hmac.Write(content)
	m.sum = m.hmac.Sum(m.sum[:0])
	return subtle.ConstantTimeCompare(m.sum, tag) == 1
}

// cbcMode is the decrypter of crypto/cipher, whose vector can be set.
type cbcMode interface {
	cipher.BlockMode
	SetIV([]byte)
}

// cbc opens records of block ciphers: RFC 5246 section 6.2.3.2, and RFC 7366 with
// encrypt-then-MAC.
type cbc struct {
	mac            mac
	block          cipher.Block
	mode           cbcMode
	encryptThenMAC bool
	implicit       bool   // TLS 1.0: the vector is the last block of the record before
	iv             []byte // of an implicit one; nil: lost
}

func (c *cbc) Open(dst []byte, seq uint64, rec Record) ([]byte, bool) {
	body := rec.Body
	size := c.block.BlockSize()
	if c.encryptThenMAC {
		n := len(body) - c.mac.size()
		if n < 0 || !c.mac.verify(seq, rec, body[:n], body[n:]) {
			return nil, false
		}
		body = body[:n]
	}
	iv := c.iv
	if !c.implicit && len(body) >= size {
		iv, body = body[:size], body[size:]
	}
	if len(iv) != size || len(body) == 0 || len(body)%size != 0 {
		return nil, false
	}
	plain := dst[:len(body)]
	c.mode.SetIV(iv)
	c.mode.CryptBlocks(plain, body)
	padding := int(plain[len(plain)-1])
	if padding+1 > len(plain) {
		return nil, false
	}
	content := len(plain) - padding - 1
	for _, b := range plain[content:] {
		if int(b) != padding {
			return nil, false
		}
	}
	if c.encryptThenMAC {
		return plain[:content], true
	}
	n := content - c.mac.size()
	if n < 0 || !c.mac.verify(seq, rec, plain[:n], plain[n:content]) {
		return nil, false
	}
	return plain[:n], true
}

func (c *cbc) Pass(body []byte, _ int) {
	if !c.implicit {
		return
	}
	if c.encryptThenMAC {
		body = body[:max(0, len(body)-c.mac.size())]
	}
	size := c.block.BlockSize()
	if len(body) < size {
		c.iv = nil
		return
	}
	c.iv = append(c.iv[:0], body[len(body)-size:]...)
}

func (c *cbc) Resume(before []byte) bool {
	c.Pass(before, 0)
	return true
}

func (c *cbc) PlainLen(body int) (int, bool) {
	n := body - c.mac.size() - 1
	if !c.implicit {
		n -= c.block.BlockSize()
	}
	return max(0, n), false
}

// stream opens records of RC4 suites (RFC 5246 section 6.2.3.1).
type stream struct {
	cipher rc4.Cipher // at the first octet of the next record
	trial  rc4.Cipher
	mac    mac
}

func (s *stream) Open(dst []byte, seq uint64, rec Record) ([]byte, bool) {
	n := len(rec.Body) - s.mac.size()
	if n < 0 {
		return nil, false
	}
	s.trial = s.cipher
	plain := dst[:len(rec.Body)]
	s.trial.XORKeyStream(plain, rec.Body)
	if !s.mac.verify(seq, rec, plain[:n], plain[n:]) {
		return nil, false
	}
	return plain[:n], true
}

func (s *stream) Pass(body []byte, length int) {
	if body != nil {
		length = len(body)
	}
	var octets [256]byte
	for length > 0 {
		n := min(length, len(octets))
		s.cipher.XORKeyStream(octets[:n], octets[:n])
		length -= n
	}
}

// Resume fails: the place in the key stream is lost.
func (s *stream) Resume([]byte) bool { return false }

func (s *stream) PlainLen(body int) (int, bool) { return max(0, body-s.mac.size()), true }
