package traffic

import (
	"net/netip"
	"strings"
)

// Text is the messages of the transaction that Next gave out last, as they would
// stand on the wire, with names, passwords and tokens in clear.
func (s *Stream) Text() (ask, reply string) {
	v, t := s.current, &s.step
	id := make([]byte, len(example.id))
	number(id, mix(v.account, ofBankAccount))
	own := values{
		user: "u" + hex(t.user)[:len(example.user)-1], password: hex(t.password)[:len(example.password)],
		issued: token(v.token), id: string(id),
	}
	if t.session {
		own.session = token(v.token)
	}
	ask = request(v.software, v.endpoint, t.call, &own)
	if len(s.world.proxies) > 0 {
		ask = forward(ask, v.client.String())
	}
	return ask, response(v.endpoint, t.call, t.answer, &own)
}

// forward makes of a request what a load balancer sends on.
func forward(request, client string) string {
	head, body, _ := strings.Cut(request, "\r\n\r\n")
	return head + "\r\nX-Forwarded-For: " + client + "\r\n\r\n" + body
}

// token is what a session is known by.
func token(h uint64) string { return hex(mix(h, ofToken)) + hex(mix(h, ofToken+1<<32)) }

// Peer is who connects to which of the bank's servers for the transaction that
// Next gave out last: the client, or the load balancer that it came by.
func (s *Stream) Peer() (from netip.Addr, to netip.AddrPort) {
	v, w := s.current, s.world
	to = w.servers[v.serial%uint64(len(w.servers))]
	if len(w.proxies) > 0 {
		return w.proxies[v.serial%uint64(len(w.proxies))], to
	}
	if v.client.Is6() {
		to = netip.AddrPortFrom(netip.MustParseAddr("2001:db8:b::1"), to.Port())
	}
	return v.client, to
}
