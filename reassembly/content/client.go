package content

import (
	"bytes"
	"net/netip"
	"slices"

	"offpath/reassembly"
)

// client sets the effective client. The peer is the address that PROXY
// protocol gave (tx.Client, if set) or else the source. Only if it is in a
// trusted network are forwarding headers believed, the first that is there of
//
//	X-Forwarded-For, Forwarded (RFC 7239), X-Real-IP, CF-Connecting-IP, True-Client-IP
//
// in that order: proxies that append to X-Forwarded-For are many, and pass on
// whatever else a client made up.
func (e *Extractor) client(tx *reassembly.Transaction, f *fields) {
	peer := tx.Client
	if !peer.IsValid() {
		peer = tx.Source.Addr()
	}
	peer = peer.Unmap()
	tx.Client = peer
	if !e.Trusts(peer) {
		return
	}
	if addr, ok := e.walk(peer, f, roleForwardedFor, e.plainElement); ok {
		tx.Client = addr
		return
	}
	if addr, ok := e.walk(peer, f, roleForwarded, e.forwardedElement); ok {
		tx.Client = addr
		return
	}
	for _, r := range [...]role{roleRealIP, roleCFConnectingIP, roleTrueClientIP} {
		if addr, ok := e.walk(peer, f, r, e.plainElement); ok {
			tx.Client = addr
			return
		}
	}
}

// Trusts reports whether an address is in a network whose word on who the client
// is counts.
func (e *Extractor) Trusts(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, p := range e.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// walk goes through the elements of all fields in that role, as if joined by
// commas (RFC 9110 section 5.3), from the right: the last was added by the peer
// itself. An element in a trusted network leads on to the one before it; the
// first that isn't is the client. If one doesn't say an address (unknown,
// _obfuscated, garbage) the proxy that wrote it is the last thing known. Not ok
// if there is no such field.
func (e *Extractor) walk(peer netip.Addr, f *fields, r role, parse func([]byte) (netip.Addr, bool)) (client netip.Addr, ok bool) {
	client = peer
	if !f.shape.has(r) {
		return client, false
	}
	for _, u := range slices.Backward(f.shape.used) {
		if u.role != r {
			continue
		}
		ok = true
		rest := f.head.Fields[u.index].Value
		for more := true; more; {
			var element []byte
			rest, element, more = lastElement(rest)
			if len(element) == 0 {
				continue // empty elements say nothing (RFC 9110 section 5.6.1)
			}
			addr, known := parse(element)
			if !known {
				return client, true
			}
			client = addr
			if !e.Trusts(addr) {
				return client, true
			}
		}
	}
	return client, ok
}

// lastElement cuts the last element off a comma-separated list. It is found
// from the right, so that nothing a client put before what the proxy appended
// (an opening quote, say) can swallow it.
func lastElement(list []byte) (rest, element []byte, more bool) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch list[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return list[:i], trim(list[i+1:]), true
			}
		}
	}
	return nil, trim(list), false
}

// plainElement parses an element of X-Forwarded-For and its like: an address,
// IPv6 with or without brackets, with or without a port.
func (e *Extractor) plainElement(element []byte) (netip.Addr, bool) {
	return e.address(unquote(element))
}

// forwardedElement parses an element of Forwarded: for=192.0.2.43;proto=http,
// For="[2001:db8:cafe::17]:4711" (RFC 7239 section 4).
func (e *Extractor) forwardedElement(element []byte) (netip.Addr, bool) {
	for len(element) > 0 {
		var pair []byte
		pair, element = cutPair(element)
		name, value, found := bytes.Cut(pair, []byte{'='})
		if !found || !equalFold(trim(name), "for") {
			continue
		}
		value = trim(value)
		if len(value) >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') >= 0 {
			e.value = e.value[:0]
			for i := 0; i < len(value); i++ {
				if value[i] == '\\' && i+1 < len(value) {
					i++
				}
				e.value = append(e.value, value[i])
			}
			value = e.value
		}
		return e.address(unquote(value))
	}
	return netip.Addr{}, false
}

// cutPair cuts at the first semicolon outside quotes.
func cutPair(b []byte) (pair, rest []byte) {
	quoted := false
	for i, c := range b {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return trim(b[:i]), b[i+1:]
		}
	}
	return trim(b), nil
}

// address parses 192.0.2.1, 192.0.2.1:80, [2001:db8::1], [2001:db8::1]:80 and
// 2001:db8::1. IPv4-mapped addresses become IPv4, zones are dropped, addresses
// that no client can have are refused.
func (e *Extractor) address(b []byte) (netip.Addr, bool) {
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || !isPort(b[end+1:]) {
			return netip.Addr{}, false
		}
		b = b[1:end]
	} else if colon := bytes.IndexByte(b, ':'); colon >= 0 && bytes.LastIndexByte(b, ':') == colon {
		if !isPort(b[colon:]) {
			return netip.Addr{}, false
		}
		b = b[:colon]
	}
	addr, ok := parseIPv4(b)
	if !ok {
		if len(b) > 64 || bytes.IndexByte(b, ':') < 0 {
			return netip.Addr{}, false
		}
		s, interned := e.strings.get(b)
		if !interned {
			s = string(b)
		}
		var err error
		if addr, err = netip.ParseAddr(s); err != nil {
			return netip.Addr{}, false
		}
		addr = addr.WithZone("").Unmap()
	}
	return addr, !addr.IsUnspecified() && !addr.IsMulticast()
}

// isPort reports whether b is empty or a colon and what RFC 7239 section 6
// allows for a port: digits, or an obfuscated one.
func isPort(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if b[0] != ':' {
		return false
	}
	for _, c := range b[1:] {
		if !isAlnum(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// parseIPv4 parses four decimal octets without leading zeros, as
// netip.ParseAddr does, without making a string.
func parseIPv4(b []byte) (netip.Addr, bool) {
	var octets [4]byte
	n, value, digits := 0, 0, 0
	for _, c := range b {
		switch {
		case isDigit(c):
			if digits > 0 && value == 0 {
				return netip.Addr{}, false
			}
			value = value*10 + int(c-'0')
			digits++
			if value > 255 {
				return netip.Addr{}, false
			}
		case c == '.' && digits > 0 && n < 3:
			octets[n] = byte(value)
			n, value, digits = n+1, 0, 0
		default:
			return netip.Addr{}, false
		}
	}
	if n != 3 || digits == 0 {
		return netip.Addr{}, false
	}
	octets[3] = byte(value)
	return netip.AddrFrom4(octets), true
}

// unmapAll returns the networks with IPv4-mapped ones as IPv4, masked.
func unmapAll(list []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out
}
