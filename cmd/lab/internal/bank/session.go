package bank

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// sessions issues and recognises session tokens. A token carries its customer
// and is signed, so that the bank keeps no table of them.
type sessions struct{ key [32]byte }

func newSessions() *sessions {
	s := &sessions{}
	rand.Read(s.key[:]) // never fails (crypto/rand)
	return s
}

const (
	tokenPlain  = 4 + 8 // customer, nonce
	tokenOctets = tokenPlain + 20
)

// issue makes a fresh token.
func (s *sessions) issue(c Customer) string {
	token := binary.BigEndian.AppendUint32(make([]byte, 0, tokenOctets), uint32(c.Index))
	token = append(token, make([]byte, 8)...)
	rand.Read(token[4:])
	return base64.RawURLEncoding.EncodeToString(append(token, s.sign(token)...))
}

// customer returns the index of the customer a token was issued to.
func (s *sessions) customer(token string) (index int, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenOctets || !hmac.Equal(b[tokenPlain:], s.sign(b[:tokenPlain])) {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(b)), true
}

func (s *sessions) sign(plain []byte) []byte {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write(plain)
	return mac.Sum(nil)[:20]
}
