package content

import (
	"bytes"
	"encoding/base64"
)

// hideTokens hashes the JSON Web Tokens (RFC 7519) that stand in dst[from:], whatever
// they are called, percent-encoded or not. A token has the hash there that it has
// everywhere.
func (e *Extractor) hideTokens(dst []byte, from int) []byte {
	begin, end, found := nextToken(dst, from)
	if !found {
		return dst
	}
	hidden, kept := e.structure[:0], from
	for ; found; begin, end, found = nextToken(dst, end) {
		e.value = e.value[:0]
		for at := begin; at < end; {
			c, width := unescapedByte(dst[at:])
			e.value = append(e.value, c)
			at += width
		}
		hidden = e.hash.append(append(hidden, dst[kept:begin]...), KindToken, e.value)
		kept = end
	}
	e.structure = append(hidden, dst[kept:]...)
	return append(dst[:from], e.structure...)
}

// nextToken finds the first JSON Web Token in b[from:], and says where it stands in b.
func nextToken(b []byte, from int) (begin, end int, found bool) {
	for begin = from; begin < len(b); begin = max(end, begin+1) {
		if b[begin] != 'e' && b[begin] != '%' {
			continue
		}
		length, dots := webToken(b[begin:])
		if end = begin + length; dots >= tokenDots {
			return begin, end, true
		}
	}
	return 0, 0, false
}

// tokenDots is how many dots a JSON Web Token has at least.
const tokenDots = 2

// inToken are the octets of base64url (RFC 4648 section 5).
var inToken = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		t[c] = true
	}
	return t
}()

// webToken returns how much of b may be the JSON Web Token that it begins with,
// percent-encoded or not, and the dots in that: 0 if it does not begin with one, all up
// to what can't be in one if its first part does. One has three parts or five of
// base64url with dots between, of which the first is a JSON object (RFC 7515 section
// 7.1, RFC 7516 section 7.1).
func webToken(b []byte) (length, dots int) {
	var head [12]byte // of the first part, which is no shorter: an object of one member
	for n := range head {
		if length == len(b) {
			return 0, 0
		}
		c, width := unescapedByte(b[length:])
		if n == 0 && c != 'e' || n == 1 && c != 'y' && c != 'w' || !inToken[c] {
			return 0, 0 // a brace comes first, and then a quote or white space
		}
		head[n] = c
		length += width
	}
	var begin [9]byte
	if _, err := base64.RawURLEncoding.Decode(begin[:], head[:]); err != nil || begin[0] != '{' {
		return 0, 0
	}
	if inside := bytes.TrimLeft(begin[1:], " \t\r\n"); len(inside) > 0 && inside[0] != '"' {
		return 0, 0
	}
	for length < len(b) {
		c, width := unescapedByte(b[length:])
		if c == '.' {
			dots++
		} else if !inToken[c] {
			break
		}
		length += width
	}
	return length, dots
}

// appendProtocols appends a list of WebSocket subprotocols (RFC 6455 section 11.3.4)
// with the credentials in it hashed, which are passed there as scripts can set no other
// field: as an element of their own, behind one that announces it (bearer, TOKEN), or
// as the rest of one (base64url.bearer.authorization.k8s.io.TOKEN). What looks like no
// name is taken for a credential.
func (e *Extractor) appendProtocols(dst, list []byte) []byte {
	announced := false
	for {
		element, rest, more := bytes.Cut(list, []byte{','})
		name := trim(element)
		before := len(element) - len(bytes.TrimLeft(element, " \t"))
		dst = append(dst, element[:before]...)
		dst, announced = e.appendProtocol(dst, name, announced)
		dst = append(dst, element[min(len(element), before+len(name)):]...)
		if !more {
			return dst
		}
		dst, list = append(dst, ','), rest
	}
}

// kubernetes is what comes before a token in the subprotocol that the API server of
// Kubernetes reads it from. The token is encoded once more.
const kubernetes = "base64url.bearer.authorization.k8s.io."

// appendProtocol appends one subprotocol. secret says that the one before announces it
// as a credential, announces that this one does so of the next.
func (e *Extractor) appendProtocol(dst, name []byte, secret bool) (_ []byte, announces bool) {
	from := 0
	switch {
	case len(name) == 0:
		return dst, secret
	case secret:
	case hasPrefixFold(name, kubernetes):
		token := name[len(kubernetes):]
		if decoded := e.decodeBase64(token); len(decoded) > 0 {
			token = decoded
		}
		return e.hash.append(append(dst, name[:len(kubernetes)]...), KindToken, token), false
	default:
		for !announces && from < len(name) && len(name) <= maxProtocol {
			word := name[from:]
			if end := bytes.IndexByte(word, '.'); end >= 0 {
				word = word[:end]
			}
			if !isWord(word) {
				break
			}
			announces = announcesSecret(word)
			from = min(len(name), from+len(word)+1)
		}
		if from == len(name) {
			return append(dst, name...), announces
		}
	}
	return e.hash.append(append(dst, name[:from]...), KindToken, name[from:]), false
}

const (
	maxProtocol = 1 << 10 // octets of an element of which a part may be a name
	maxWord     = 24      // of a part
	maxVersion  = 3       // digits in it
)

// isWord reports whether a part of a subprotocol looks like a part of a name: words
// and a version, not what is random.
func isWord(part []byte) bool {
	upper, lower, digits, turns := 0, 0, 0, 0
	for i, c := range part {
		switch {
		case 'A' <= c && c <= 'Z':
			if upper++; i > 0 && 'a' <= part[i-1] && part[i-1] <= 'z' {
				turns++ // camelCase
			}
		case 'a' <= c && c <= 'z':
			lower++
		case isDigit(c):
			digits++
		case c != '-' && c != '_' && c != '/' && c != ':' && c != '+':
			return false
		}
	}
	return len(part) <= maxWord && digits <= maxVersion && (upper == 0 || lower == 0 || upper <= turns+1 && turns <= 3)
}

// announcesSecret reports whether a part of a subprotocol says that a credential
// follows.
func announcesSecret(word []byte) bool {
	if isBearer(word) || equalFold(word, "authorization") || equalFold(word, "auth") {
		return true
	}
	_, secret := classify(word).hashed()
	return secret
}
