package tls

import (
	"encoding/binary"

	"offpath/reassembly/tls/hello"
)

// Content types of records (RFC 8446 section 5.1, RFC 6520).
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeApplicationData  = 23
	typeHeartbeat        = 24
)

const (
	headerLen = 5
	maxPlain  = 1 << 14         // octets of content of a record
	maxBody   = maxPlain + 2048 // octets of a record after its header, up to TLS 1.2
)

// Verdict is what octets look like.
type Verdict uint8

// The verdicts.
const (
	Unlike      Verdict = iota // no TLS
	Undecided                  // TLS may begin here, if more octets follow suit
	ClientHello                // a connection begins: give this and all that follows to a Conn
	ServerHello                // the server's first record, likewise
	Midstream                  // a record from within a connection: it can't be decrypted
)

// Looks says what begins with data, whatever the port: a TLS record, or a hello
// in the form of SSL 2.0. It reads 11 octets at most.
func Looks(data []byte) Verdict {
	switch {
	case len(data) == 0:
		return Undecided
	case data[0]&0x80 != 0:
		return looksSSLv2(data)
	case data[0] < typeChangeCipherSpec || data[0] > typeHeartbeat, len(data) > 1 && data[1] != 3, len(data) > 2 && data[2] > 4:
		return Unlike
	case len(data) < headerLen:
		return Undecided
	}
	if n := binary.BigEndian.Uint16(data[3:]); n == 0 && data[0] != typeApplicationData || n > maxBody {
		return Unlike
	}
	switch {
	case data[0] != typeHandshake:
		return Midstream
	case len(data) == headerLen:
		return Undecided
	case data[5] == messageClientHello:
		return ClientHello
	case data[5] == messageServerHello:
		return ServerHello
	}
	return Midstream
}

// sslv2Fixed is how many octets a hello in the form of SSL 2.0 has at least: its
// record header of two, message type, version, and three lengths.
const sslv2Fixed = 2 + 9

// looksSSLv2 recognises the ClientHello of RFC 5246 appendix E.2 by its lengths,
// which determine each other.
func looksSSLv2(data []byte) Verdict {
	if len(data) > 2 && data[2] != messageClientHello {
		return Unlike
	}
	if len(data) > 4 {
		if v := binary.BigEndian.Uint16(data[3:]); v != hello.VersionSSL2 && (v < hello.VersionSSL3 || v > hello.VersionTLS13) {
			return Unlike
		}
	}
	if len(data) < sslv2Fixed {
		return Undecided
	}
	length := int(data[0]&0x7f)<<8 | int(data[1])
	suites, id, challenge := int(binary.BigEndian.Uint16(data[5:])), int(binary.BigEndian.Uint16(data[7:])), int(binary.BigEndian.Uint16(data[9:]))
	if suites == 0 || suites%3 != 0 || id > 32 || challenge < 16 || challenge > 32 || 9+suites+id+challenge != length {
		return Unlike
	}
	return ClientHello
}
