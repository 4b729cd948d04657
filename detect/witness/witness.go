// Package witness follows each active verdict on the wire: are the requests of
// its subject refused with its marker, still answered, or have they ceased?
// It decides nothing; it is how an operator learns that a load balancer does
// not enforce what it was told.
//
// A [Book] belongs to one goroutine and is as large as the verdicts that are
// put into it: its owner bounds them. A transaction costs a look-up per prefix
// length and two per kind of member in use, and one comparison for each verdict whose
// first member and endpoint it has; see members.
package witness

import (
	"net/netip"
	"slices"
	"strings"

	"offpath/detect"
	"offpath/reassembly"
)

const (
	// underway is how long after the decision requests may still be answered
	// before that means anything, ns: verdicts take a moment to arrive.
	underway = 2e9
	// ceased is how long the subject must be silent to be gone, ns.
	ceased = 60e9
)

// Book holds what is followed.
type Book struct {
	byID       map[string]*watch
	byClient   map[netip.Prefix][]*watch
	lengths    [2][]length                      // in use: of IPv4, of IPv6 prefixes
	byMember   [len(members)]map[place][]*watch // subjects without a client, by the first of the members that they have
	others     []*watch                         // subjects with a domain alone
	clientless int                              // how many there are in the last two
}

// members are those of a subject beside the client, the ones that tell most first.
var members = [...]func(s *detect.Subject) string{
	func(s *detect.Subject) string { return s.Session },
	func(s *detect.Subject) string { return s.Fingerprint },
	func(s *detect.Subject) string { return s.UserAgent },
	func(s *detect.Subject) string { return s.JA4 },
	func(s *detect.Subject) string { return s.Endpoint },
}

// place is a member's value and an endpoint: an attack on fifty of them has a verdict
// for each about the same program. Without the endpoint it is of verdicts about any.
type place struct{ value, endpoint string }

// first is the first member that a subject has, and where that is; not ok if it has none.
func first(s *detect.Subject) (member int, at place, ok bool) {
	for i, of := range members {
		if value := of(s); value != "" {
			return i, place{value, s.Endpoint}, true
		}
	}
	return 0, place{}, false
}

// length is a prefix length and how many followed prefixes have it.
type length struct{ bits, count int }

// watch is one verdict that is followed.
type watch struct {
	subject detect.Subject
	decided int64
	seen    detect.Enforcement // all but Time and State
	late    int64              // last answer after underway
}

// NewBook makes an empty Book.
func NewBook() *Book {
	b := &Book{byID: make(map[string]*watch), byClient: make(map[netip.Prefix][]*watch)}
	for i := range b.byMember {
		b.byMember[i] = make(map[place][]*watch)
	}
	return b
}

// Len is how many verdicts are followed.
func (b *Book) Len() int { return len(b.byID) }

// Has reports whether a verdict is followed.
func (b *Book) Has(id string) bool { return b.byID[id] != nil }

// Add follows a verdict from its decision on. One that is followed already
// goes on as it is. One about an account is not followed: no load balancer can
// match it.
func (b *Book) Add(v *detect.Verdict) {
	if b.byID[v.ID] != nil || v.Subject.UserHash != "" {
		return
	}
	b.follow(&watch{subject: v.Subject, decided: v.Time, seen: detect.Enforcement{Verdict: v.ID}})
}

// follow puts a verdict where its requests are looked for.
func (b *Book) follow(w *watch) {
	b.byID[w.seen.Verdict] = w
	client := w.subject.Client
	if !client.IsValid() {
		b.clientless++
		if m, at, ok := first(&w.subject); ok {
			b.byMember[m][at] = append(b.byMember[m][at], w)
		} else {
			b.others = append(b.others, w)
		}
		return
	}
	client = client.Masked()
	w.subject.Client = client
	b.byClient[client] = append(b.byClient[client], w)
	b.countLength(client, +1)
}

// Remove ends the following of a verdict.
func (b *Book) Remove(id string) {
	w := b.byID[id]
	if w == nil {
		return
	}
	delete(b.byID, id)
	is := func(o *watch) bool { return o == w }
	client := w.subject.Client
	if !client.IsValid() {
		b.clientless--
		if m, at, ok := first(&w.subject); !ok {
			b.others = slices.DeleteFunc(b.others, is)
		} else if rest := slices.DeleteFunc(b.byMember[m][at], is); len(rest) > 0 {
			b.byMember[m][at] = rest
		} else {
			delete(b.byMember[m], at)
		}
		return
	}
	b.countLength(client, -1)
	if rest := slices.DeleteFunc(b.byClient[client], is); len(rest) > 0 {
		b.byClient[client] = rest
	} else {
		delete(b.byClient, client)
	}
}

// Observe takes a transaction into account: for the verdict whose marker it
// carries, or else for every verdict whose subject it matches.
func (b *Book) Observe(tx *reassembly.Transaction) {
	if len(b.byID) == 0 {
		return
	}
	if tx.RefusedBy != "" {
		if w := b.byID[tx.RefusedBy]; w != nil {
			w.refused(tx.End)
		}
		return
	}
	if tx.Response.Status == 0 {
		return
	}
	if tx.Client.IsValid() {
		client := tx.Client.Unmap()
		for _, length := range b.lengths[family(client)] {
			prefix, err := client.WithZone("").Prefix(length.bits)
			if err != nil {
				continue
			}
			for _, w := range b.byClient[prefix] {
				w.answered(tx)
			}
		}
	}
	if b.clientless > 0 {
		b.observeAnybodys(tx)
	}
}

// observeAnybodys is Observe for verdicts about whatever client.
func (b *Book) observeAnybodys(tx *reassembly.Transaction) {
	if len(b.byMember[0]) > 0 {
		for i, session := range tx.Auth.SessionPresented {
			if slices.Contains(tx.Auth.SessionPresented[:i], session) {
				continue
			}
			b.answered(tx, 0, session)
		}
	}
	for i, value := range [...]string{tx.Fingerprint, tx.Request.UserAgent, tx.JA4, tx.Annotation.Endpoint} {
		if value != "" {
			b.answered(tx, 1+i, value)
		}
	}
	for _, w := range b.others {
		w.answered(tx)
	}
}

// answered is for the verdicts about whatever client that have a member first, at the
// transaction's endpoint or at any.
func (b *Book) answered(tx *reassembly.Transaction, member int, value string) {
	of := b.byMember[member]
	if len(of) == 0 {
		return
	}
	for _, w := range of[place{value, ""}] {
		w.answered(tx)
	}
	if endpoint := tx.Annotation.Endpoint; endpoint != "" {
		for _, w := range of[place{value, endpoint}] {
			w.answered(tx)
		}
	}
}

// countLength counts prefixes by their lengths.
func (b *Book) countLength(client netip.Prefix, by int) {
	list := &b.lengths[family(client.Addr())]
	i := slices.IndexFunc(*list, func(l length) bool { return l.bits == client.Bits() })
	if i < 0 {
		i = len(*list)
		*list = append(*list, length{bits: client.Bits()})
	}
	if (*list)[i].count += by; (*list)[i].count == 0 {
		*list = slices.Delete(*list, i, i+1)
	}
}

func (w *watch) refused(at int64) {
	w.seen.Refused++
	if w.seen.FirstRefused == 0 {
		w.seen.FirstRefused = at
	}
	w.seen.LastRefused = at
}

func (w *watch) answered(tx *reassembly.Transaction) {
	if tx.Start < w.decided || !matches(&w.subject, tx) {
		return
	}
	w.seen.Answered++
	w.seen.LastAnswered = tx.End
	if tx.Start >= w.decided+underway {
		w.late = tx.End
	}
}

// matches compares what a subject names beside the client.
func matches(s *detect.Subject, tx *reassembly.Transaction) bool {
	return member(s.Fingerprint, tx.Fingerprint) &&
		member(s.UserAgent, tx.Request.UserAgent) &&
		member(s.JA4, tx.JA4) &&
		member(s.Endpoint, tx.Annotation.Endpoint) &&
		(s.Domain == "" || strings.EqualFold(s.Domain, tx.Request.Domain)) &&
		(s.Session == "" || slices.Contains(tx.Auth.SessionPresented, s.Session)) &&
		member(s.UserHash, tx.Auth.UserHash)
}

func member(want, is string) bool { return want == "" || want == is }

// Enforcements says how each verdict stands at an event time, in the order of
// their ids.
func (b *Book) Enforcements(now int64) []detect.Enforcement {
	list := make([]detect.Enforcement, 0, len(b.byID))
	for id := range b.byID {
		e, _ := b.Enforcement(id, now)
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b detect.Enforcement) int { return strings.Compare(a.Verdict, b.Verdict) })
	return list
}

// Enforcement says how one verdict stands at an event time; not ok if it is not
// followed.
func (b *Book) Enforcement(id string, now int64) (e detect.Enforcement, ok bool) {
	w := b.byID[id]
	if w == nil {
		return e, false
	}
	e = w.seen
	e.Time, e.State = now, w.state(now)
	return e, true
}

func (w *watch) state(now int64) detect.WireState {
	s := &w.seen
	switch last := max(s.LastRefused, s.LastAnswered); {
	case s.Refused == 0 && s.Answered == 0:
		return detect.WireUnseen
	case now-last >= ceased:
		return detect.WireGone
	case w.late > s.LastRefused:
		return detect.WireAnswered
	case s.Refused > 0:
		return detect.WireRefused
	}
	return detect.WireUnseen // all of it was under way
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
