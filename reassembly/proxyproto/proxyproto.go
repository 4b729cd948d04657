// Package proxyproto reads the header that a proxy sends before what its client
// says, to tell whose connection it passes on: the PROXY protocol, versions 1 and
// 2, as HAProxy specifies it (doc/proxy-protocol.txt).
//
// [Parse] looks at the first octets of a connection; its views are into them, and
// it keeps nothing. Whether the header is to be believed is the caller's matter:
// anybody can send one, so only what comes from a trusted network counts.
//
// Headers longer than [MaxHeader] are not read: proxies send a few dozen octets, a
// few hundred where they tell of TLS.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strconv"
)

// MaxHeader is how many octets a header may have.
const MaxHeader = 4 << 10

// Verdict says whether octets begin with a header.
type Verdict uint8

// The verdicts.
const (
	No        Verdict = iota // they don't
	Undecided                // they may, if more octets follow suit
	Yes                      // they do
)

// Header is what a header says. Slices are views into the octets parsed; nil means
// that the thing was not told.
type Header struct {
	Version uint8 // 1 or 2
	Local   bool  // the proxy speaks for itself, as for a health check

	// Source is the client, Destination what it connected to; not valid where
	// the proxy does not know, or the protocol is not of the Internet.
	Source, Destination netip.AddrPort

	ALPN       []byte
	Authority  []byte // host name that the client asked for, as by SNI
	UniqueID   []byte
	TLS        bool   // the client speaks TLS with the proxy
	TLSVersion []byte // as "TLSv1.3"
}

const (
	prefix1 = "PROXY "
	prefix2 = "\r\n\r\n\x00\r\nQUIT\n"
	max1    = 107 // octets of a header of version 1, line end included
	fixed2  = 16  // octets of one of version 2 before the addresses
)

// Parse reads the header that data begins with, and returns its length in octets.
// It decides by the first octet in most cases, and always by MaxHeader octets.
func Parse(data []byte) (h Header, n int, v Verdict) {
	if len(data) == 0 {
		return Header{}, 0, Undecided
	}
	switch data[0] {
	case prefix1[0]:
		return parse1(data)
	case prefix2[0]:
		return parse2(data)
	}
	return Header{}, 0, No
}

// begins compares data with what a header begins with.
func begins(data []byte, prefix string) Verdict {
	switch {
	case string(data[:min(len(data), len(prefix))]) != prefix[:min(len(data), len(prefix))]:
		return No
	case len(data) < len(prefix):
		return Undecided
	}
	return Yes
}

// parse1 reads a line such as "PROXY TCP4 192.0.2.1 198.51.100.1 50000 443\r\n".
func parse1(data []byte) (h Header, n int, v Verdict) {
	if v := begins(data, prefix1); v != Yes {
		return Header{}, 0, v
	}
	end := bytes.Index(data[:min(len(data), max1)], []byte("\r\n"))
	switch {
	case end >= 0:
	case len(data) >= max1:
		return Header{}, 0, No
	default:
		return Header{}, 0, Undecided
	}
	line, n := data[len(prefix1):end], end+2
	h.Version = 1
	family, rest, more := bytes.Cut(line, []byte{' '})
	if string(family) == "UNKNOWN" {
		return h, n, Yes // what follows is to be ignored
	}
	words := bytes.Split(rest, []byte{' '})
	if !more || len(words) != 4 || string(family) != "TCP4" && string(family) != "TCP6" {
		return Header{}, 0, No
	}
	four := string(family) == "TCP4"
	var ok1, ok2 bool
	h.Source, ok1 = endpoint1(words[0], words[2], four)
	h.Destination, ok2 = endpoint1(words[1], words[3], four)
	if !ok1 || !ok2 {
		return Header{}, 0, No
	}
	return h, n, Yes
}

// endpoint1 reads address and port of version 1.
func endpoint1(address, port []byte, four bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(string(address))
	if err != nil || a.Is4() != four || a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	p, err := strconv.ParseUint(string(port), 10, 16)
	if err != nil || port[0] == '+' || port[0] == '0' && len(port) > 1 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}

// Fields of version 2.
const (
	version2     = 0x20
	commandLocal = 0x0
	commandProxy = 0x1
	familyINET   = 0x1
	familyINET6  = 0x2
	familyUNIX   = 0x3
	unixOctets   = 216 // of two addresses of AF_UNIX
)

// parse2 reads a binary header.
func parse2(data []byte) (h Header, n int, v Verdict) {
	if v := begins(data, prefix2); v != Yes {
		return Header{}, 0, v
	}
	if len(data) > len(prefix2) && data[len(prefix2)] != version2|commandLocal && data[len(prefix2)] != version2|commandProxy {
		return Header{}, 0, No
	}
	if len(data) < fixed2 {
		return Header{}, 0, Undecided
	}
	n = fixed2 + int(binary.BigEndian.Uint16(data[14:]))
	switch {
	case n > MaxHeader:
		return Header{}, 0, No
	case len(data) < n:
		return Header{}, 0, Undecided
	}
	h.Version = 2
	h.Local = data[12]&0xf == commandLocal
	family, body := data[13]>>4, data[fixed2:n:n]
	var octets int
	switch family {
	case familyINET:
		octets = 12
	case familyINET6:
		octets = 36
	case familyUNIX:
		octets = unixOctets
	}
	if h.Local {
		// The receiver uses the real endpoints and discards what follows.
		return h, n, Yes
	}
	if len(body) < octets {
		return Header{}, 0, No
	}
	switch family {
	case familyINET:
		h.Source = endpoint2(netip.AddrFrom4([4]byte(body)), body[8:])
		h.Destination = endpoint2(netip.AddrFrom4([4]byte(body[4:])), body[10:])
	case familyINET6:
		h.Source = endpoint2(netip.AddrFrom16([16]byte(body)), body[32:])
		h.Destination = endpoint2(netip.AddrFrom16([16]byte(body[16:])), body[34:])
	}
	if !h.extensions(data[:n], fixed2+octets) {
		return Header{}, 0, No
	}
	return h, n, Yes
}

func endpoint2(a netip.Addr, port []byte) netip.AddrPort {
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}

// Types of the extensions (TLVs) of version 2.
const (
	typeALPN       = 0x01
	typeAuthority  = 0x02
	typeCRC32C     = 0x03
	typeUniqueID   = 0x05
	typeSSL        = 0x20
	typeSSLVersion = 0x21

	sslFixed  = 5   // octets before the extensions inside typeSSL
	sslClient = 0x1 // the client speaks TLS
)

// extensions reads those of a header that begin at an offset. It returns false if
// the header's checksum is wrong: receivers refuse it. What is no extension ends
// them.
func (h *Header) extensions(header []byte, at int) bool {
	for {
		kind, value, next, ok := extension(header, at)
		if !ok {
			return true
		}
		switch kind {
		case typeALPN:
			h.ALPN = value
		case typeAuthority:
			h.Authority = value
		case typeUniqueID:
			h.UniqueID = value
		case typeCRC32C:
			if len(value) != 4 || checksum(header, next-4) != binary.BigEndian.Uint32(value) {
				return false
			}
		case typeSSL:
			if len(value) < sslFixed {
				break
			}
			h.TLS = value[0]&sslClient != 0
			for inner := sslFixed; ; {
				kind, v, next, ok := extension(value, inner)
				if !ok {
					break
				}
				if kind == typeSSLVersion {
					h.TLSVersion = v
				}
				inner = next
			}
		}
		at = next
	}
}

// extension reads the one at an offset.
func extension(data []byte, at int) (kind byte, value []byte, next int, ok bool) {
	if len(data)-at < 3 {
		return 0, nil, 0, false
	}
	from := at + 3
	next = from + int(binary.BigEndian.Uint16(data[at+1:]))
	if next > len(data) {
		return 0, nil, 0, false
	}
	return data[at], data[from:next:next], next, true
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeros      = make([]byte, 4)
)

// checksum is the CRC32c of a header, its own four octets at an offset taken as
// zeros.
func checksum(header []byte, at int) uint32 {
	sum := crc32.Update(0, castagnoli, header[:at])
	sum = crc32.Update(sum, castagnoli, zeros)
	return crc32.Update(sum, castagnoli, header[at+4:])
}
