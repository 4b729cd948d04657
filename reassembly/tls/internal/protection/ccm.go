package protection

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

var errTag = errors.New("message authentication failed")

// ccmMode opens AES-CCM with a nonce of 12 octets (RFC 3610; L = 3).
type ccmMode struct {
	block   cipher.Block
	tag     int
	counter [16]byte
	pad     [16]byte
	chain   [16]byte
}

func (c *ccmMode) Open(dst, nonce, ciphertext, additional []byte) ([]byte, error) {
	n := len(ciphertext) - c.tag
	if n < 0 || n >= 1<<24 {
		return nil, errTag
	}
	tag := ciphertext[n:]
	c.counter = [16]byte{0: 2}
	copy(c.counter[1:13], nonce)
	start := len(dst)
	dst = append(dst, ciphertext[:n]...)
	plain := dst[start:]

	// The first block of the chain: flags, nonce, length (RFC 3610 section 2.2).
	c.chain = c.counter
	c.chain[0] = 2 | byte(c.tag-2)/2<<3
	if len(additional) > 0 {
		c.chain[0] |= 1 << 6
	}
	c.chain[13], c.chain[14], c.chain[15] = byte(n>>16), byte(n>>8), byte(n)
	c.block.Encrypt(c.chain[:], c.chain[:])
	if len(additional) > 0 { // at most 14 octets: one block with its length
		var first [16]byte
		binary.BigEndian.PutUint16(first[:], uint16(len(additional)))
		copy(first[2:], additional)
		c.absorb(first[:])
	}
	for i := 0; i < n; i += 16 {
		c.count(uint32(i/16 + 1))
		part := plain[i:min(i+16, n)]
		subtle.XORBytes(part, part, c.pad[:])
		c.absorb(part)
	}
	c.count(0)
	subtle.XORBytes(c.chain[:], c.chain[:], c.pad[:])
	if subtle.ConstantTimeCompare(c.chain[:c.tag], tag) != 1 {
		clear(plain)
		return nil, errTag
	}
	return dst, nil
}

// count makes pad the key stream of block i.
func (c *ccmMode) count(i uint32) {
	c.counter[13], c.counter[14], c.counter[15] = byte(i>>16), byte(i>>8), byte(i)
	c.block.Encrypt(c.pad[:], c.counter[:])
}

// absorb takes a block, or the last octets, into the chain.
func (c *ccmMode) absorb(part []byte) {
	subtle.XORBytes(c.chain[:], c.chain[:], part)
	c.block.Encrypt(c.chain[:], c.chain[:])
}
