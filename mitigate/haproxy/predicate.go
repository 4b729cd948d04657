package haproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"offpath/detect"
	"offpath/mitigate"
)

// shape is which members a predicate has, as offpath.lua numbers them: who it is
// about, by which program, asking where.
type shape uint8

const (
	ofAddress     shape = 1
	ofNetwork64   shape = 2 // an IPv6 client's /64
	ofFingerprint shape = 4
	ofUserAgent   shape = 8
	ofEndpoint    shape = 16
	ofDomain      shape = 32
)

// maxUserAgent bounds a User-Agent that is compared, octets: HAProxy keeps a value
// in a buffer.
const maxUserAgent = 4096

// predicate finds the row of a subject that is more than an address or a network,
// and its shape. The row's key is a hash of the subject's text: a key has at most
// 72 octets, and what an attacker chooses is no word for the command line.
func predicate(s detect.Subject) (key string, of shape, reason string) {
	var text strings.Builder
	add := func(member shape, name, value string) {
		of |= member
		text.WriteString(name + " " + value + "\n")
	}
	switch {
	case !s.Client.IsValid():
	case s.Client.IsSingleIP():
		add(ofAddress, "address", addressText(s.Client.Addr()))
	case s.Client.Addr().Is6() && s.Client.Bits() == 64:
		add(ofNetwork64, "network", addressText(s.Client.Masked().Addr()))
	default:
		return "", 0, "beside an endpoint or a program it matches single addresses and IPv6 networks of 64 bits"
	}
	if s.Fingerprint != "" {
		if !isFingerprint(s.Fingerprint) {
			return "", 0, fmt.Sprintf("%q is no fingerprint of 16 hex digits in lower case", s.Fingerprint)
		}
		add(ofFingerprint, "fingerprint", s.Fingerprint)
	}
	if s.UserAgent != "" {
		if len(s.UserAgent) > maxUserAgent {
			return "", 0, fmt.Sprintf("a user agent of %d octets is too long", len(s.UserAgent))
		}
		if strings.ContainsFunc(s.UserAgent, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return "", 0, fmt.Sprintf("user agent %q holds what no header field does", s.UserAgent)
		}
		add(ofUserAgent, "user_agent", s.UserAgent)
	}
	switch {
	case s.Endpoint != "" && s.Domain != "":
		return "", 0, "an endpoint names its domain; it does not match both"
	case s.Endpoint != "":
		request, ok := literalEndpoint(s.Endpoint)
		if !ok {
			return "", 0, fmt.Sprintf("endpoint %q is not one literal path as offpath names it", s.Endpoint)
		}
		add(ofEndpoint, "endpoint", request)
	case s.Domain != "":
		domain := mitigate.Domain(s.Domain)
		if strings.ContainsAny(domain, "@:/") && domain[0] != '[' {
			return "", 0, fmt.Sprintf("domain %q is more than a name", s.Domain)
		}
		add(ofDomain, "domain", domain)
	}
	sum := sha256.Sum256([]byte(text.String()))
	return "p:" + hex.EncodeToString(sum[:]), of, ""
}

// plainClient reports whether a subject is an address or a network and nothing else:
// those have places of their own, which HAProxy finds without Lua.
func plainClient(s detect.Subject) bool {
	return s.Client.IsValid() && s == detect.Subject{Client: s.Client}
}

// maxSegments is how many segments a path has at most that offpath.lua names.
const maxSegments = 16

// literalEndpoint turns `METHOD host/path` into what offpath.lua makes of a
// request. Templates, operations and what no request is named are none.
func literalEndpoint(endpoint string) (string, bool) {
	method, rest, ok := strings.Cut(mitigate.Endpoint(endpoint), " ")
	slash := strings.IndexByte(rest, '/')
	if !ok || method == "" || slash < 0 || strings.ContainsAny(rest, " {}#*;") || strings.ContainsAny(rest[:slash], "@:") && rest[0] != '[' {
		return "", false
	}
	if path := rest[slash+1:]; path != "" {
		segments := strings.Split(path, "/")
		if len(segments) > maxSegments {
			return "", false
		}
		for _, segment := range segments {
			if segment == "" || segment == "." || segment == ".." || needlesslyEncoded(segment) {
				return "", false
			}
		}
	}
	return method + " " + rest, true
}

// needlesslyEncoded reports an unreserved octet that is percent-encoded (RFC 3986 section
// 6.2.2.2): offpath names no endpoint so.
func needlesslyEncoded(segment string) bool {
	for i := strings.IndexByte(segment, '%'); i >= 0 && i+2 < len(segment); i++ {
		if segment[i] != '%' {
			continue
		}
		if octet, err := hex.DecodeString(segment[i+1 : i+3]); err == nil && unreserved(octet[0]) {
			return true
		}
	}
	return false
}

func unreserved(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte("-._~", c) >= 0
}

func isFingerprint(s string) bool {
	return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == ""
}

// shapes are the shapes in force at HAProxy, as its row of that name tells
// offpath.lua: which there are, and until when any is.
type shapes struct {
	set     uint64
	expires uint32
}

// with are the shapes with a further entry of shape of.
func (s shapes) with(of shape, expires uint32) shapes { return s.and(shapes{1 << of, expires}) }

// and are both together.
func (s shapes) and(other shapes) shapes {
	return shapes{s.set | other.set, max(s.expires, other.expires)}
}

// row is how they lie in the verdict table: the first 32 in the action, the others
// in the limit. It has an id so that it is swept when the last has expired; without
// shapes it is to go.
func (s shapes) row() row {
	if s.set == 0 {
		return row{key: shapesKey}
	}
	return row{shapesKey, record{code: uint32(s.set), limit: uint32(s.set >> 32), expires: s.expires, id: shapesID}}
}

// shapesID is no verdict's: ids are drawn, and one that has two halves of 1 is not
// worth a thought.
const shapesID mitigate.ID = 1<<32 | 1
