package judge

import (
	"net/netip"

	"offpath/detect"
	"offpath/reassembly"
)

// member is one of those that a subject may have.
type member uint8

const (
	hasClient member = 1 << iota
	hasFingerprint
	hasUserAgent
	hasJA4
	hasEndpoint
	hasDomain
	hasSession
	hasUser
)

// shape is what subjects that are looked up together have in common.
type shape struct {
	members member
	bits    int  // length of the prefix
	six     bool // of IPv6
}

func shapeOf(s *detect.Subject) shape {
	var h shape
	set := func(m member, is bool) {
		if is {
			h.members |= m
		}
	}
	set(hasFingerprint, s.Fingerprint != "")
	set(hasUserAgent, s.UserAgent != "")
	set(hasJA4, s.JA4 != "")
	set(hasEndpoint, s.Endpoint != "")
	set(hasDomain, s.Domain != "")
	set(hasSession, s.Session != "")
	set(hasUser, s.UserHash != "")
	if s.Client.IsValid() {
		h.members |= hasClient
		h.bits, h.six = s.Client.Bits(), s.Client.Addr().Is6()
	}
	return h
}

// features are what subjects are compared with.
type features struct {
	client   netip.Addr
	looks    looks
	sessions []string
	user     string
}

// looks are the features that many requests share.
type looks struct{ fingerprint, userAgent, ja4, endpoint, domain string }

func featuresOf(tx *reassembly.Transaction) features {
	return features{
		client:   tx.Client.Unmap().WithZone(""),
		looks:    looks{tx.Fingerprint, tx.Request.UserAgent, tx.JA4, tx.Annotation.Endpoint, tx.Request.Domain},
		sessions: tx.Auth.SessionPresented, user: tx.Auth.UserHash,
	}
}

// index finds what is kept about the subjects that match a request, in time
// that grows with the number of their shapes only.
type index[T any] struct {
	shapes []shape
	of     map[shape]map[detect.Subject][]T
}

func (x *index[T]) add(s detect.Subject, t T) {
	s = canonical(s)
	h := shapeOf(&s)
	if h.members == 0 {
		return // it names nothing
	}
	if x.of == nil {
		x.of = make(map[shape]map[detect.Subject][]T)
	}
	if x.of[h] == nil {
		x.of[h] = make(map[detect.Subject][]T)
		x.shapes = append(x.shapes, h)
	}
	x.of[h][s] = append(x.of[h][s], t)
}

// remove takes out what was added for a subject and answers to which.
func (x *index[T]) remove(s detect.Subject, which func(T) bool) {
	s = canonical(s)
	list := x.of[shapeOf(&s)]
	kept := list[s][:0]
	for _, t := range list[s] {
		if !which(t) {
			kept = append(kept, t)
		}
	}
	if len(kept) == 0 {
		delete(list, s)
	} else {
		list[s] = kept
	}
}

func canonical(s detect.Subject) detect.Subject {
	if s.Client.IsValid() {
		s.Client = s.Client.Masked()
	}
	return s
}

// each calls f with all that is kept about subjects that match, until f says
// that it is enough.
func (x *index[T]) each(r *features, f func(T) (enough bool)) {
	for _, h := range x.shapes {
		list := x.of[h]
		if len(list) == 0 {
			continue
		}
		var key detect.Subject
		if h.members&hasClient != 0 {
			if r.client.Is6() != h.six || !r.client.IsValid() {
				continue
			}
			key.Client, _ = r.client.Prefix(h.bits)
		}
		if h.members&hasFingerprint != 0 {
			key.Fingerprint = r.looks.fingerprint
		}
		if h.members&hasUserAgent != 0 {
			key.UserAgent = r.looks.userAgent
		}
		if h.members&hasJA4 != 0 {
			key.JA4 = r.looks.ja4
		}
		if h.members&hasEndpoint != 0 {
			key.Endpoint = r.looks.endpoint
		}
		if h.members&hasDomain != 0 {
			key.Domain = r.looks.domain
		}
		if h.members&hasUser != 0 {
			key.UserHash = r.user
		}
		if h.members&hasSession == 0 {
			for _, t := range list[key] {
				if f(t) {
					return
				}
			}
			continue
		}
		for _, token := range r.sessions {
			key.Session = token
			for _, t := range list[key] {
				if f(t) {
					return
				}
			}
		}
	}
}
