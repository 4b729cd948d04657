package jsonl

import (
	"net/netip"

	"offpath/reassembly"
)

// Encoder writes lines as [AppendTransaction] does. What stays the same from line
// to line of a connection, of a client's software and of an endpoint's answers it
// keeps as text. The zero value is ready, a nil Encoder keeps nothing. It is for one
// goroutine, and keeps at most 1 MiB of text, and the strings and lists of the
// transactions that it was made of, which must not change.
type Encoder struct {
	connections []connectionText
	requests    []softwareText
	answers     []answerText
	times       instants
}

// Sizes of the tables, powers of two, and of a text, octets.
const (
	connectionSlots = 1 << 10
	requestSlots    = 1 << 8
	answerSlots     = 1 << 8
	maxText         = 512
)

// keepText keeps a text unless it is too long.
func keepText(kept *[]byte, text []byte) bool {
	if len(text) > maxText {
		return false
	}
	*kept = append((*kept)[:0], text...)
	return true
}

// slotOf returns the place of a hash in a table, made when it is needed first.
func slotOf[T any](table *[]T, size int, hash uint64) *T {
	if *table == nil {
		*table = make([]T, size)
	}
	return &(*table)[hash&uint64(size-1)]
}

// connectionText is the text of [appendAddresses] for a connection.
type connectionText struct {
	source, destination netip.AddrPort
	client              netip.Addr
	communityID         string
	text                []byte // nil in an empty slot
}

// appendConnection is appendAddresses. Of a connection's first request the text
// is not kept: it may be its only one.
func (e *Encoder) appendConnection(b []byte, tx *reassembly.Transaction) []byte {
	if e == nil || tx.Sequence == 0 || len(tx.VLAN) > 0 {
		return appendAddresses(b, tx)
	}
	slot := slotOf(&e.connections, connectionSlots, uint64(tx.Source.Port()))
	if slot.text != nil && slot.communityID == tx.CommunityID && slot.source == tx.Source &&
		slot.destination == tx.Destination && slot.client == tx.Client {
		return append(b, slot.text...)
	}
	start := len(b)
	b = appendAddresses(b, tx)
	if keepText(&slot.text, b[start:]) {
		slot.source, slot.destination, slot.client, slot.communityID = tx.Source, tx.Destination, tx.Client, tx.CommunityID
	}
	return b
}

// softwareText is what requests of one software have in common: the texts of
// [appendAgent] and [appendShape], empty before they were needed.
type softwareText struct {
	last      uint64 // hash of the last software that missed
	agent     string
	headers   []string
	signature reassembly.Signature

	agentText, shapeText []byte
}

// software returns the slot of a request; nil if it has none, as when its like
// did not come before.
func (e *Encoder) software(r *reassembly.Request) *softwareText {
	if e == nil {
		return nil
	}
	hash := spread(textHash(r.UserAgent) + textHash(r.Signature.Keys) + uint64(len(r.Headers)<<8+r.Signature.Length))
	slot := slotOf(&e.requests, requestSlots, hash)
	switch {
	case slot.agent == r.UserAgent && sameList(slot.headers, r.Headers) && sameSignature(&slot.signature, &r.Signature):
	case slot.last != hash:
		slot.last = hash
		return nil
	default:
		slot.agent, slot.headers, slot.signature = r.UserAgent, r.Headers, r.Signature
		slot.agentText, slot.shapeText = slot.agentText[:0], slot.shapeText[:0]
	}
	return slot
}

func (t *softwareText) appendAgent(b []byte, r *reassembly.Request) []byte {
	if t != nil && len(t.agentText) > 0 {
		return append(b, t.agentText...)
	}
	start := len(b)
	b = appendAgent(b, r.UserAgent)
	if t != nil {
		keepText(&t.agentText, b[start:])
	}
	return b
}

func (t *softwareText) appendShape(b []byte, r *reassembly.Request) []byte {
	if t != nil && len(t.shapeText) > 0 {
		return append(b, t.shapeText...)
	}
	start := len(b)
	b = appendShape(b, r)
	if t != nil {
		keepText(&t.shapeText, b[start:])
	}
	return b
}

// answerText is the text of [appendSignature] for answers that look alike.
type answerText struct {
	last      uint64 // hash of the last signature that missed
	signature reassembly.Signature
	text      []byte
}

// appendAnswer is appendSignature for a response.
func (e *Encoder) appendAnswer(b []byte, s *reassembly.Signature) []byte {
	if e == nil {
		return appendSignature(b, s)
	}
	hash := spread(textHash(s.Keys) + textHash(s.Location) + uint64(len(s.Media)<<8+s.Length))
	slot := slotOf(&e.answers, answerSlots, hash)
	if len(slot.text) > 0 && sameSignature(&slot.signature, s) {
		return append(b, slot.text...)
	}
	start := len(b)
	b = appendSignature(b, s)
	if slot.last != hash {
		slot.last = hash
	} else if keepText(&slot.text, b[start:]) {
		slot.signature = *s
	}
	return b
}

// sameSignature reports whether signatures are the same; of the lists it tells no
// more than sameList.
func sameSignature(a, b *reassembly.Signature) bool {
	return a.Length == b.Length && a.Keys == b.Keys && a.Order == b.Order && a.Media == b.Media &&
		a.Location == b.Location && a.Code == b.Code && sameList(a.Cookies, b.Cookies)
}

// sameList reports whether two lists, which nobody changes, are one.
func sameList(a, b []string) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// textHash tells texts apart by their length and the octets at their middle and
// end; those that it doesn't tell apart share a slot.
func textHash(s string) uint64 {
	n := len(s)
	if n < 16 {
		return uint64(n)
	}
	return uint64(n) + word(s[n/2:]) + 3*word(s[n-8:])
}

// spread makes the lowest bits depend on all.
func spread(hash uint64) uint64 {
	hash *= 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	return hash ^ hash>>32
}
