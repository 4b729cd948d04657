// Package predicate writes the subject of a verdict that is more than an address as the
// text that a script at a load balancer makes of a request: mitigate/internal/lua has the
// other side of it. Equal texts mean that the request is one of the subject. What a target
// stores is a hash of the text: what an attacker chooses (paths, User-Agents) is no word of
// any protocol, and no key that could be cut.
//
// Pure functions. How an address is written is the target's own.
package predicate

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"offpath/detect"
	"offpath/mitigate"
)

// Shape is which members a predicate has, as shared.lua numbers them: who it is about, by
// which program, asking where.
type Shape uint8

// The members, in the order of the text.
const (
	Address     Shape = 1
	Network64   Shape = 2 // an IPv6 client's /64
	Fingerprint Shape = 4
	UserAgent   Shape = 8
	Endpoint    Shape = 16
	Domain      Shape = 32
)

// maxUserAgent bounds a User-Agent that is compared, octets: load balancers keep a value in
// a buffer.
const maxUserAgent = 4096

// Of returns the text of a subject and its shape; address writes an address. A reason says
// why the subject has no exact text.
func Of(s detect.Subject, address func(netip.Addr) string) (text string, of Shape, reason string) {
	var b strings.Builder
	add := func(member Shape, name, value string) {
		of |= member
		b.WriteString(name + " " + value + "\n")
	}
	switch {
	case !s.Client.IsValid():
	case s.Client.IsSingleIP():
		add(Address, "address", address(s.Client.Addr()))
	case s.Client.Addr().Is6() && s.Client.Bits() == 64:
		add(Network64, "network", address(s.Client.Masked().Addr()))
	default:
		return "", 0, "beside an endpoint or a program it matches single addresses and IPv6 networks of 64 bits"
	}
	if s.Fingerprint != "" {
		if !isFingerprint(s.Fingerprint) {
			return "", 0, fmt.Sprintf("%q is no fingerprint of 16 hex digits in lower case", s.Fingerprint)
		}
		add(Fingerprint, "fingerprint", s.Fingerprint)
	}
	if s.UserAgent != "" {
		if len(s.UserAgent) > maxUserAgent {
			return "", 0, fmt.Sprintf("a user agent of %d octets is too long", len(s.UserAgent))
		}
		if strings.ContainsFunc(s.UserAgent, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return "", 0, fmt.Sprintf("user agent %q holds what no header field does", s.UserAgent)
		}
		add(UserAgent, "user_agent", s.UserAgent)
	}
	switch {
	case s.Endpoint != "" && s.Domain != "":
		return "", 0, "an endpoint names its domain; it does not match both"
	case s.Endpoint != "":
		request, ok := literalEndpoint(s.Endpoint)
		if !ok {
			return "", 0, fmt.Sprintf("endpoint %q is not one literal path as offpath names it", s.Endpoint)
		}
		add(Endpoint, "endpoint", request)
	case s.Domain != "":
		domain := mitigate.Domain(s.Domain)
		if strings.ContainsAny(domain, "@:/") && domain[0] != '[' {
			return "", 0, fmt.Sprintf("domain %q is more than a name", s.Domain)
		}
		add(Domain, "domain", domain)
	}
	return b.String(), of, ""
}

// Client is the address or network that a subject is, for targets that match nothing else;
// reason says why it is none.
func Client(s detect.Subject) (client netip.Prefix, reason string) {
	switch {
	case s == detect.Subject{}:
		return client, "the subject names nothing"
	case s != detect.Subject{Client: s.Client}:
		return client, "it matches addresses and networks alone"
	case !s.Client.IsValid() || s.Client.Addr().Zone() != "" || s.Client.Addr().Is4In6():
		return client, fmt.Sprintf("%s is not an address as seen on the wire", s.Client)
	}
	return s.Client.Masked(), ""
}

// PlainClient reports whether a subject is an address or a network and nothing else:
// those have places of their own.
func PlainClient(s detect.Subject) bool {
	return s.Client.IsValid() && s == detect.Subject{Client: s.Client}
}

// maxSegments is how many segments a path has at most that shared.lua names.
const maxSegments = 16

// literalEndpoint turns `METHOD host/path` into what shared.lua makes of a
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
