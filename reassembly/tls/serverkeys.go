package tls

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ErrNoKey: the PEM text holds no RSA private key.
var ErrNoKey = errors.New("no RSA private key in the PEM text")

// maxServerKeys bounds what a connection without a certificate may cost: each key
// is tried.
const maxServerKeys = 64

// ServerKeys are the private keys of servers. Once filled it is safe for
// concurrent use.
type ServerKeys struct {
	keys []*rsa.PrivateKey
}

// Add takes the RSA keys of PEM text: PKCS#1 (RSA PRIVATE KEY) and PKCS#8
// (PRIVATE KEY). Certificates and other kinds of keys beside them are passed over.
func (k *ServerKeys) Add(text []byte) error {
	found := false
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		var key any
		var err error
		switch block.Type {
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			err = errors.New("it is encrypted")
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", block.Type, err)
		}
		if key, ok := key.(*rsa.PrivateKey); ok {
			if len(k.keys) == maxServerKeys {
				return fmt.Errorf("more than %d keys", maxServerKeys)
			}
			k.keys, found = append(k.keys, key), true
		}
	}
	if !found {
		return ErrNoKey
	}
	return nil
}

// forLeaf returns the key of a certificate; nil if it is not there.
func (k *ServerKeys) forLeaf(der []byte) *rsa.PrivateKey {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	for _, key := range k.keys {
		if key.PublicKey.Equal(leaf.PublicKey) {
			return key
		}
	}
	return nil
}

// premaster decrypts the premaster secret of a ClientKeyExchange (RFC 5246
// section 7.4.7.1) with the key given, or with any if it is nil.
func (k *ServerKeys) premaster(key *rsa.PrivateKey, encrypted []byte) []byte {
	const length = 48
	keys := k.keys
	if key != nil {
		keys = []*rsa.PrivateKey{key}
	}
	for _, key := range keys {
		if key.Size() != len(encrypted) {
			continue
		}
		// No options: PKCS #1 v1.5. Nobody sees how long it takes.
		if secret, err := key.Decrypt(nil, encrypted, nil); err == nil && len(secret) == length {
			return secret
		}
	}
	return nil
}
