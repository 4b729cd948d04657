package engine

import (
	"encoding/binary"
	"net/netip"

	"offpath/detect/login"
	"offpath/reassembly"
)

// maxIssued is how many issued sessions wait for their use; beyond it the
// oldest is forgotten.
const maxIssued = 1 << 16

// sessions remembers the sessions that logins issued, until their client uses
// them: the anchor by which an endpoint's success is known.
type sessions struct {
	byToken map[uint64]issued
	waiting sieve // of the tokens in byToken that were not used yet
	ring    []uint64
	next    int
}

type issued struct {
	by      *place
	cluster uint32
	client  netip.Addr
	token   bool // no cookie alone: to be sent as a bearer token
}

func newSessions() *sessions { return &sessions{byToken: make(map[uint64]issued)} }

// issue remembers the sessions that a response issued.
func (s *sessions) issue(tx *reassembly.Transaction, by *place, cluster uint32) {
	for _, token := range tx.Auth.SessionIssued {
		key := number(token)
		before, known := s.byToken[key]
		if !known {
			if len(s.ring) < maxIssued {
				s.ring = append(s.ring, key)
			} else {
				s.forget(s.ring[s.next])
				s.ring[s.next] = key
				s.next = (s.next + 1) % maxIssued
			}
		}
		if before.by == nil {
			s.waiting.add(key)
		}
		s.byToken[key] = issued{by: by, cluster: cluster, client: tx.Client, token: tx.Auth.TokenIssued}
	}
}

// forget makes room for another token.
func (s *sessions) forget(key uint64) {
	if s.byToken[key].by != nil {
		s.waiting.remove(key)
	}
	delete(s.byToken, key)
}

// use looks for sessions that a request presents and their client was issued.
// A request that was not answered well, or that goes to a login, is no use. Nor
// is it one that a cookie, which a failed login may set too, goes along with a
// request for what is open to everybody.
func (s *sessions) use(tx *reassembly.Transaction, at *place) {
	status := tx.Response.Status
	if len(s.byToken) == 0 || status < 200 || status >= 400 || isLoginPath(at.kind) {
		return
	}
	if status >= 300 && isLoginPath(login.PathKind(tx.Response.Signature.Location)) {
		return
	}
	for _, token := range tx.Auth.SessionPresented {
		key := number(token)
		if !s.waiting.has(key) {
			continue
		}
		i, ok := s.byToken[key]
		i.by = i.by.now()
		if !ok || i.client != tx.Client || i.by == at || i.by == nil {
			continue
		}
		bearer := i.token && tx.Auth.Carrier == "bearer"
		if !bearer && !at.closed {
			continue
		}
		s.byToken[key] = issued{} // used: its place in the ring stays taken
		s.waiting.remove(key)
		i.by.learned |= login.IssuedUsed
		i.by.model.Used(i.cluster, clientNumber(tx.Client), bearer)
	}
}

// turnsAway reports whether an endpoint is shown to be closed without a session:
// a request that brought nothing was sent to the login. One with a cookie or
// credentials of any kind shows nothing, as an open page may refuse bad ones.
func turnsAway(tx *reassembly.Transaction) bool {
	r := &tx.Response
	if r.Status != 401 && (r.Status < 300 || r.Status >= 400 || !isLoginPath(login.PathKind(r.Signature.Location))) {
		return false
	}
	if tx.Auth.Carrier != "" || len(tx.Auth.SessionPresented) > 0 {
		return false
	}
	for _, name := range tx.Request.Headers {
		if name == "authorization" || name == "cookie" {
			return false
		}
	}
	return true
}

func isLoginPath(kind login.Kind) bool { return kind == login.KindLogin || kind == login.KindToken }

// clientNumber stands for a client's address; for IPv6 for its /64, whose
// addresses are one client's.
func clientNumber(a netip.Addr) uint64 {
	b := a.As16()
	if a.Is6() && !a.Is4In6() {
		clear(b[8:])
	}
	return binary.BigEndian.Uint64(b[:8])*0x9e3779b97f4a7c15 ^ binary.BigEndian.Uint64(b[8:])
}
