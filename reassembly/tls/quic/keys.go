package quic

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"encoding/binary"

	"offpath/reassembly/tls/internal/protection"
)

// Salts of the initial secret: RFC 9001 section 5.2 (drafts 33 and 34 too), RFC
// 9369 section 3.3.1, draft-ietf-quic-tls-29 section 5.2.
var (
	salt1  = []byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}
	salt2  = []byte{0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9}
	salt29 = []byte{0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99}
)

// keys open the Initial packets of a client.
type keys struct {
	aead   cipher.AEAD
	header cipher.Block
	iv     [12]byte
}

// clientKeys derives them from the connection id of the client's first packet.
func clientKeys(version uint32, destination []byte) (*keys, error) {
	key, iv, hp, err := clientSecrets(version, destination)
	if err != nil {
		return nil, err
	}
	k := &keys{iv: [12]byte(iv)}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	if k.header, err = aes.NewCipher(hp); err != nil {
		return nil, err
	}
	return k, nil
}

// clientSecrets derives the packet key, vector and header protection key.
func clientSecrets(version uint32, destination []byte) (key, iv, hp []byte, err error) {
	salt, prefix := salt1, "quic "
	switch {
	case version == version2:
		salt, prefix = salt2, "quicv2 "
	case draft29 <= version && version <= draft32:
		salt = salt29
	}
	secret, err := hkdf.Extract(crypto.SHA256.New, destination, salt)
	if err != nil {
		return nil, nil, nil, err
	}
	expand := func(secret []byte, label string, length int) (out []byte) {
		if err == nil {
			out, err = protection.ExpandLabel(crypto.SHA256, secret, label, length)
		}
		return out
	}
	client := expand(secret, "client in", 32)
	key, iv, hp = expand(client, prefix+"key", 16), expand(client, prefix+"iv", 12), expand(client, prefix+"hp", 16)
	return key, iv, hp, err
}

// sampleOffset is where the sample for header protection lies after the start of
// the packet number (RFC 9001 section 5.4.2).
const sampleOffset = 4

// open removes the header protection (RFC 9001 section 5.4) and opens the packet,
// using scratch; the packet stays as it is. The packet number is taken as sent:
// those of a first flight have nothing before them to abbreviate.
func (k *keys) open(scratch []byte, h *longHeader) (payload, used []byte, ok bool) {
	packet := append(scratch[:0], h.packet...)
	at := h.numberOffset
	if len(packet) < at+sampleOffset+aes.BlockSize {
		return nil, packet, false
	}
	var mask [aes.BlockSize]byte
	k.header.Encrypt(mask[:], packet[at+sampleOffset:][:aes.BlockSize])
	packet[0] ^= mask[0] & 0x0f
	n := int(packet[0]&3) + 1
	number := uint32(0)
	for i := range n {
		packet[at+i] ^= mask[1+i]
		number = number<<8 | uint32(packet[at+i])
	}
	nonce := k.iv
	low := binary.BigEndian.Uint32(nonce[8:])
	binary.BigEndian.PutUint32(nonce[8:], low^number)
	payload, err := k.aead.Open(packet[at+n:at+n], nonce[:], packet[at+n:], packet[:at+n])
	return payload, packet, err == nil
}
