package hello

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Transport is the first character of JA4: what carried the hello.
type Transport byte

// The transports.
const (
	TCP  Transport = 't'
	QUIC Transport = 'q'
)

// AppendJA4 appends the JA4 of a TLS client, 36 characters as in
// t13d1516h2_8daaf6152771_e5627efa2ab1: transport, version, whether there is a
// server name, numbers of suites and extensions, first and last character of the
// first ALPN protocol; the hash of the sorted suites; the hash of the sorted
// extensions, server name and ALPN left out, and of the signature algorithms as
// sent. A hello in the form of SSL 2.0 has none.
func (c *Client) AppendJA4(dst []byte, via Transport) []byte {
	if c.SSLv2 {
		return dst
	}
	var sorted [256]uint16
	suites := withoutGREASE(sorted[:0], c.Suites)
	number := len(suites)
	extensions := 0
	name := byte('i')
	for _, e := range c.Extensions {
		if !GREASE(e) {
			extensions++
		}
		if e == extServerName {
			name = 'd'
		}
	}
	dst = append(dst, byte(via))
	dst = append(dst, versionName(c.Version())...)
	dst = append(dst, name)
	dst = appendTwoDigits(dst, number)
	dst = appendTwoDigits(dst, extensions)
	dst = c.appendProtocol(dst)

	var space [2048]byte
	slices.Sort(suites)
	dst = append(dst, '_')
	dst = appendHash(dst, appendList(space[:0], suites))

	hashed := withoutGREASE(sorted[:0], c.Extensions)
	hashed = slices.DeleteFunc(hashed, func(e uint16) bool { return e == extServerName || e == extALPN })
	slices.Sort(hashed)
	list := appendList(space[:0], hashed)
	if algorithms := withoutGREASE(sorted[:0], c.SignatureAlgorithms); len(list) > 0 && len(algorithms) > 0 {
		list = append(list, '_')
		list = appendList(list, algorithms)
	}
	dst = append(dst, '_')
	return appendHash(dst, list)
}

// JA4 returns what AppendJA4 appends.
func (c *Client) JA4(via Transport) string {
	var space [36]byte
	return string(c.AppendJA4(space[:0], via))
}

func withoutGREASE(dst, list []uint16) []uint16 {
	for _, v := range list {
		if !GREASE(v) {
			dst = append(dst, v)
		}
	}
	return dst
}

func versionName(v uint16) string {
	switch v {
	case VersionTLS13:
		return "13"
	case VersionTLS12:
		return "12"
	case VersionTLS11:
		return "11"
	case VersionTLS10:
		return "10"
	case VersionSSL3:
		return "s3"
	case VersionSSL2:
		return "s2"
	}
	return "00"
}

func appendTwoDigits(dst []byte, n int) []byte {
	n = min(n, 99)
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}

// appendProtocol appends the first and last character of the first ALPN
// protocol, or of its hexadecimal form if either is not alphanumeric. An octet
// beyond ASCII counts as a 9: the specification would have the hexadecimal form
// there too, but its reference programs, whose fingerprints people compare with,
// write 9.
func (c *Client) appendProtocol(dst []byte) []byte {
	if len(c.Protocols) == 0 || len(c.Protocols[0]) == 0 {
		return append(dst, "00"...)
	}
	const digits = "0123456789abcdef"
	p := c.Protocols[0]
	first, last := ascii(p[0]), ascii(p[len(p)-1])
	if !alphanumeric(first) || !alphanumeric(last) {
		return append(dst, digits[first>>4], digits[last&15])
	}
	return append(dst, first, last)
}

func ascii(c byte) byte {
	if c >= 0x80 {
		return '9'
	}
	return c
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

func appendList(dst []byte, list []uint16) []byte {
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = hex.AppendEncode(dst, []byte{byte(v >> 8), byte(v)})
	}
	return dst
}

// appendHash appends the first 12 hex digits of SHA-256; zeros for nothing.
func appendHash(dst, list []byte) []byte {
	if len(list) == 0 {
		return append(dst, "000000000000"...)
	}
	sum := sha256.Sum256(list)
	return hex.AppendEncode(dst, sum[:6])
}
