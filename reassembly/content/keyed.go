package content

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"unicode"
	"unicode/utf8"
)

// Kind separates the keyed hashes: the same octets as account and as password
// have different hashes.
type Kind uint8

// The kinds. Their names enter the derivation of their keys.
const (
	KindAccount  Kind = iota // account names, normalised: white space around them removed, letters in lower case
	KindPassword             // passwords, raw
	KindToken                // bearer tokens, session cookies and other secrets, raw
	KindAPIKey               // API keys, raw
	KindCard                 // payment card numbers, digits only
	kinds        = iota
)

var kindNames = [kinds]string{"account", "password", "token", "apikey", "card"}

// String returns the name that enters the derivation of the kind's key.
func (k Kind) String() string {
	if int(k) < kinds {
		return kindNames[k]
	}
	return "unknown"
}

// KindKey derives the key of one kind from the site key; see [Extractor.Hash].
func KindKey(site []byte, k Kind) []byte {
	mac := hmac.New(sha256.New, site)
	mac.Write([]byte("offpath " + k.String()))
	return mac.Sum(nil)
}

// hasher makes keyed hashes. A token that is repeated from request to request
// is found in a table instead of hashed again.
type hasher struct {
	cleartext bool
	mac       [kinds]hash.Hash // crypto/hmac keeps the inner and outer state of its key
	sum       [sha256.Size]byte
	tokens    tokenTable
	account   []byte
}

func newHasher(site []byte, cleartext bool) hasher {
	h := hasher{cleartext: cleartext}
	if cleartext {
		return h
	}
	h.tokens = newTokenTable()
	for k := range h.mac {
		h.mac[k] = hmac.New(sha256.New, KindKey(site, Kind(k)))
	}
	return h
}

// append appends the hash of value, or value in cleartext mode. An empty value
// has no hash.
func (h *hasher) append(dst []byte, k Kind, value []byte) []byte {
	if len(value) == 0 || h.cleartext {
		return append(dst, value...)
	}
	switch k {
	case KindToken, KindAPIKey:
		return appendHex(dst, h.cached(k, value))
	case KindAccount:
		h.account = appendAccount(h.account[:0], value)
		value = h.account
	}
	return appendHex(dst, h.compute(k, value))
}

func (h *hasher) compute(k Kind, value []byte) uint64 {
	mac := h.mac[k]
	mac.Reset()
	mac.Write(value)
	return binary.BigEndian.Uint64(mac.Sum(h.sum[:0]))
}

func (h *hasher) cached(k Kind, value []byte) uint64 {
	if len(value) > maxCached {
		return h.compute(k, value)
	}
	found, set, tag := h.tokens.find(k, value)
	if found != nil {
		return found.keyed
	}
	keyed := h.compute(k, value)
	set.miss(tag, k, value, keyed)
	return keyed
}

// list returns the hash of a session token as a list of one, if that is at hand;
// nil if not. The list is shared and must not be changed.
func (h *hasher) list(token []byte) []string {
	if h.cleartext || len(token) > maxCached {
		return nil
	}
	if found, _, _ := h.tokens.find(KindToken, token); found != nil {
		return found.list
	}
	return nil
}

// appendAccount appends an account name as it is hashed: white space around it
// removed, every letter in lower case (Unicode's simple mapping); octets that
// are no UTF-8 stay as they are.
func appendAccount(dst, name []byte) []byte {
	if isASCII(name) {
		return appendLower(dst, bytes.TrimSpace(name))
	}
	start := len(dst)
	for len(name) > 0 {
		r, n := utf8.DecodeRune(name)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, name[0])
		case unicode.IsSpace(r) && len(dst) == start:
		default:
			dst = utf8.AppendRune(dst, unicode.ToLower(r))
		}
		name = name[n:]
	}
	for len(dst) > start {
		r, n := utf8.DecodeLastRune(dst[start:])
		if !unicode.IsSpace(r) {
			break
		}
		dst = dst[:len(dst)-n]
	}
	return dst
}
