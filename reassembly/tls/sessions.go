package tls

import (
	"crypto/sha256"
	"fmt"
	"sync"
)

// sessionKey is the hash of a session id or ticket.
type sessionKey [sha256.Size]byte

type master [48]byte

// sessionID is a session id as it was sent (RFC 5246 section 7.4.1.2).
type sessionID struct {
	octets [32]byte
	n      uint8
}

func sessionIDOf(id []byte) (s sessionID) {
	s.n = uint8(copy(s.octets[:], id))
	return s
}

func (s *sessionID) bytes() []byte { return s.octets[:s.n] }

// The kinds of names that a session goes by.
const (
	bySessionID = 'i'
	byTicket    = 't'
)

func sessionKeyOf(kind byte, name []byte) sessionKey {
	h := sha256.New()
	h.Write([]byte{kind})
	h.Write(name)
	return sessionKey(h.Sum(nil))
}

// Sessions remembers the master secrets of sessions that can be resumed up to TLS
// 1.2, by session id (RFC 5246 section 7.4.1.2) and ticket (RFC 5077). It is safe
// for concurrent use. Only secrets that opened a record are put in.
type Sessions struct {
	mu      sync.Mutex
	masters map[sessionKey]master
	order   []sessionKey // in order of arrival, a ring once it is full
	oldest  int
	max     int
}

// NewSessions returns a Sessions that remembers up to max names of sessions, about
// 200 octets each; 0 means 65,536. The oldest give way.
func NewSessions(max int) (*Sessions, error) {
	if max < 0 {
		return nil, fmt.Errorf("max sessions %d is negative", max)
	}
	if max == 0 {
		max = 1 << 16
	}
	return &Sessions{masters: map[sessionKey]master{}, max: max}, nil
}

func (s *Sessions) put(k sessionKey, m *master) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.masters[k]; !there {
		if len(s.order) < s.max {
			s.order = append(s.order, k)
		} else {
			delete(s.masters, s.order[s.oldest])
			s.order[s.oldest] = k
			s.oldest = (s.oldest + 1) % s.max
		}
	}
	s.masters[k] = *m
}

func (s *Sessions) get(k sessionKey) (master, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.masters[k]
	return m, ok
}
