package protection

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rc4"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// versionTLS12 is the first with a PRF of the suite's choice (RFC 5246).
const versionTLS12 = 0x0303

// masterLen is the length of a master secret in octets (RFC 5246 section 8.1).
const masterLen = 48

// pHash fills dst with P_hash (RFC 5246 section 5), XORed into what is there.
func pHash(dst []byte, h func() hash.Hash, secret, seed []byte) {
	m := hmac.New(h, secret)
	m.Write(seed)
	a := m.Sum(nil)
	var b []byte
	for len(dst) > 0 {
		m.Reset()
		m.Write(a)
		m.Write(seed)
		b = m.Sum(b[:0])
		n := min(len(b), len(dst))
		for i := range n {
			dst[i] ^= b[i]
		}
		dst = dst[n:]
		m.Reset()
		m.Write(a)
		a = m.Sum(a[:0])
	}
}

// prf is the pseudorandom function of TLS 1.0 to 1.2 (RFC 2246 section 5, RFC
// 5246 section 5).
func (s *Suite) prf(n int, version uint16, secret []byte, label string, seeds ...[]byte) []byte {
	out, seed := make([]byte, n), []byte(label)
	for _, part := range seeds {
		seed = append(seed, part...)
	}
	if version >= versionTLS12 {
		pHash(out, s.Hash.New, secret, seed)
		return out
	}
	half := (len(secret) + 1) / 2
	pHash(out, crypto.MD5.New, secret[:half], seed)
	pHash(out, crypto.SHA1.New, secret[len(secret)-half:], seed)
	return out
}

// MasterSecret derives the master secret of TLS 1.0 to 1.2 (RFC 5246 section 8.1).
func (s *Suite) MasterSecret(version uint16, premaster, clientRandom, serverRandom []byte) []byte {
	return s.prf(masterLen, version, premaster, "master secret", clientRandom, serverRandom)
}

// ExtendedMasterSecret derives it from the handshake messages up to and with
// ClientKeyExchange, headers included (RFC 7627 section 4).
func (s *Suite) ExtendedMasterSecret(version uint16, premaster []byte, messages ...[]byte) []byte {
	sum := func(kind crypto.Hash, dst []byte) []byte {
		h := kind.New()
		for _, m := range messages {
			h.Write(m)
		}
		return h.Sum(dst)
	}
	var session []byte
	if version >= versionTLS12 {
		session = sum(s.Hash, nil)
	} else {
		session = sum(crypto.SHA1, sum(crypto.MD5, nil))
	}
	return s.prf(masterLen, version, premaster, "extended master secret", session)
}

// Openers returns what opens the records of client and server under a master
// secret of TLS 1.0 to 1.2 (RFC 5246 section 6.3).
func (s *Suite) Openers(version uint16, master, clientRandom, serverRandom []byte, encryptThenMAC bool) (client, server Opener, err error) {
	mac := 0
	if s.mac != 0 {
		mac = s.mac.Size()
	}
	iv := 0
	switch s.bulk {
	case gcm, ccm, ccm8:
		iv = 4
	case chacha:
		iv = chacha20poly1305.NonceSize
	case aesCBC:
		iv = aes.BlockSize
	case tripleDES:
		iv = des.BlockSize
	}
	block := s.prf(2*(mac+s.key+iv), version, master, "key expansion", serverRandom, clientRandom)
	cut := func(n int) []byte {
		b := block[:n:n]
		block = block[n:]
		return b
	}
	var macs, keys, ivs [2][]byte
	macs[0], macs[1] = cut(mac), cut(mac)
	keys[0], keys[1] = cut(s.key), cut(s.key)
	ivs[0], ivs[1] = cut(iv), cut(iv)
	var openers [2]Opener
	for i := range openers {
		if openers[i], err = s.opener(version, macs[i], keys[i], ivs[i], encryptThenMAC); err != nil {
			return nil, nil, fmt.Errorf("records of TLS 1.0 to 1.2: %w", err)
		}
	}
	return openers[0], openers[1], nil
}

func (s *Suite) opener(version uint16, macKey, key, iv []byte, encryptThenMAC bool) (Opener, error) {
	switch s.bulk {
	case rc4Stream:
		c, err := rc4.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return &stream{cipher: *c, mac: newMAC(s.mac, macKey)}, nil
	case aesCBC, tripleDES:
		block, err := s.block(key)
		if err != nil {
			return nil, err
		}
		c := &cbc{mac: newMAC(s.mac, macKey), block: block, encryptThenMAC: encryptThenMAC}
		c.mode = cipher.NewCBCDecrypter(block, iv).(cbcMode)
		if version < versionTLS11 {
			c.implicit, c.iv = true, iv
		}
		return c, nil
	}
	a, err := s.aead(key)
	if err != nil {
		return nil, err
	}
	o := &aead{open: a, tag: s.tag()}
	copy(o.iv[:], iv)
	o.explicit = s.bulk != chacha
	return o, nil
}

func (s *Suite) block(key []byte) (cipher.Block, error) {
	if s.bulk == tripleDES {
		return des.NewTripleDESCipher(key)
	}
	return aes.NewCipher(key)
}

func (s *Suite) tag() int {
	if s.bulk == ccm8 {
		return 8
	}
	return 16
}

func (s *Suite) aead(key []byte) (openAEAD, error) {
	if s.bulk == chacha {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if s.bulk == gcm {
		return cipher.NewGCM(block)
	}
	return &ccmMode{block: block, tag: s.tag()}, nil
}

// ExpandLabel is HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
func ExpandLabel(h crypto.Hash, secret []byte, label string, length int) ([]byte, error) {
	info := make([]byte, 0, 4+6+len(label))
	info = append(info, byte(length>>8), byte(length), byte(6+len(label)))
	info = append(info, "tls13 "...)
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(h.New, secret, string(info), length)
}

// TrafficOpener returns what opens records under a traffic secret of TLS 1.3
// (RFC 8446 section 7.3). The secret must be as long as the suite's hash.
func (s *Suite) TrafficOpener(secret []byte) (Opener, error) {
	if len(secret) != s.Hash.Size() {
		return nil, fmt.Errorf("traffic secret of %d octets for %v", len(secret), s.Hash)
	}
	key, err := ExpandLabel(s.Hash, secret, "key", s.key)
	if err != nil {
		return nil, err
	}
	iv, err := ExpandLabel(s.Hash, secret, "iv", 12)
	if err != nil {
		return nil, err
	}
	a, err := s.aead(key)
	if err != nil {
		return nil, err
	}
	o := &aead{open: a, tag: s.tag(), tls13: true}
	copy(o.iv[:], iv)
	return o, nil
}

// NextSecret is the traffic secret after a key update (RFC 8446 section 7.2).
func (s *Suite) NextSecret(secret []byte) ([]byte, error) {
	return ExpandLabel(s.Hash, secret, "traffic upd", s.Hash.Size())
}
