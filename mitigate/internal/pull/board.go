package pull

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// DefaultCapacity is the most entries of [Options].
const DefaultCapacity = 100_000

// Options of a board.
type Options struct {
	Name    string // of the target; default: the address
	Kind    string
	Address string // to listen on, as [CheckAddress] has it
	// Certificate is a PEM file of what the server shows, Key gives its key; empty: no TLS.
	Certificate string
	Key         func() ([]byte, error)
	Keys        func() ([][]byte, error) // that a request may come with; asked now and then
	Journal     string                   // path of the journal; empty: none, and what was published before a restart is not taken back
	Capacity    int                      // most entries; default [DefaultCapacity]
}

// Board is the part of a [mitigate.Target] whose consumers fetch that does not depend on
// the format.
type Board struct {
	options Options
	life    string
	server  *server
	denied  atomic.Uint64

	mu      sync.Mutex
	journal *journal // nil: not opened yet
	entries map[netip.Prefix]mitigate.Entry
	byID    map[mitigate.ID]netip.Prefix
	allow   allowList
	mode    detect.Mode // "": not ordered yet
	moded   uint64      // the change that a mode came with
	synced  bool
	failed  bool // something was not published, since it could not be written down
	list    *list

	consumers map[string]*consumer
	forgotten uint64
	ranked    []int64 // numbers of what is on the list, at the change rankedAt
	rankedAt  uint64
}

// NewBoard makes a board; it does not listen.
func NewBoard(o Options) (*Board, error) {
	o.Name = cmp.Or(o.Name, o.Address)
	o.Capacity = cmp.Or(o.Capacity, DefaultCapacity)
	switch problem := CheckAddress(o.Address); {
	case problem != "":
		return nil, fmt.Errorf("%s address %q %s", o.Kind, o.Address, problem)
	case o.Capacity < 0:
		return nil, fmt.Errorf("%s capacity %d is negative", o.Kind, o.Capacity)
	case o.Keys == nil:
		return nil, fmt.Errorf("%s at %s has no key", o.Kind, o.Address)
	case o.Certificate != "" && o.Key == nil:
		return nil, fmt.Errorf("%s at %s has a certificate and no key of it", o.Kind, o.Address)
	case o.Certificate == "" && !Local(o.Address):
		return nil, fmt.Errorf("%s at %s is not loopback and so needs a certificate", o.Kind, o.Address)
	}
	var life [8]byte
	rand.Read(life[:])
	b := &Board{
		options: o, life: hex.EncodeToString(life[:]),
		entries: make(map[netip.Prefix]mitigate.Entry), byID: make(map[mitigate.ID]netip.Prefix),
		list: newList(o.Capacity), allow: newAllowList(nil), consumers: make(map[string]*consumer),
	}
	b.server = newServer(&b.options)
	return b, nil
}

// Name implements [mitigate.Target].
func (b *Board) Name() string { return b.options.Name }

// Kind implements [mitigate.Target].
func (b *Board) Kind() string { return b.options.Kind }

// Capacity implements [mitigate.Target].
func (b *Board) Capacity() int { return b.options.Capacity }

// Addresses implements [mitigate.Target]: those that consumers come from. One that kept
// itself out would fetch nothing more.
func (b *Board) Addresses() []netip.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []netip.Addr
	for _, c := range b.consumers {
		if a, err := netip.ParseAddr(c.asks.Source); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// Carries implements [mitigate.Target]: blocks of addresses and networks, whole.
func (b *Board) Carries(e *mitigate.Entry) error {
	reason := ""
	switch {
	case e.Action != detect.ActionBlock:
		reason = fmt.Sprintf("a list says who is blocked, it has no form for %s", e.Action)
	case !e.Subject.Client.IsValid() || e.Subject != (detect.Subject{Client: e.Subject.Client}):
		reason = "a list has addresses and networks alone, and nothing of what they ask or with which program"
	case e.Subject.Client.Bits() == 0:
		reason = "a list does not have everybody"
	}
	if reason == "" {
		return nil
	}
	return &mitigate.UnsupportedError{Target: b.options.Name, Reason: reason}
}

// Identity implements [mitigate.Target]: that it listens, as long as this process lives.
func (b *Board) Identity(ctx context.Context) (mitigate.Identity, error) {
	if err := b.server.listening(ctx); err != nil {
		return mitigate.Identity{}, err
	}
	return mitigate.Identity{Process: b.life, Version: "its own server"}, nil
}

// Prepared implements [mitigate.Target]: somebody fetches.
func (b *Board) Prepared(context.Context) error {
	f := b.Fetching()
	if f.Current() == 0 {
		return fmt.Errorf("nobody fetches from %s", b.options.Address)
	}
	return nil
}

// Apply implements [mitigate.Target]: as a [mitigate.Publisher].
func (b *Board) Apply(_ context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	for i := range set {
		if err := b.Carries(&set[i]); err != nil {
			return err
		}
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.open(now); err != nil {
		return err
	}
	var touched []netip.Prefix
	for _, s := range remove {
		p := canonical(s.Client)
		b.without(p)
		touched = append(touched, p)
	}
	fresh := make([]netip.Prefix, 0, len(set))
	for i := range set {
		p := canonical(set[i].Subject.Client)
		b.without(p)
		b.entries[p] = set[i]
		b.byID[set[i].ID] = p
		fresh = append(fresh, p)
	}
	return b.publish(append(touched, fresh...), fresh, now)
}

func (b *Board) without(p netip.Prefix) {
	if e, ok := b.entries[p]; ok {
		delete(b.entries, p)
		if b.byID[e.ID] == p {
			delete(b.byID, e.ID)
		}
	}
}

// publish brings these items to what they should be; fresh are those that were ordered,
// whose rejection it returns. What can't be written down is not published, what goes goes
// all the same. The lock is held.
func (b *Board) publish(touched, fresh []netip.Prefix, now time.Time) error {
	ends := make(map[netip.Prefix]int64)
	for _, p := range touched {
		e, ok := b.entries[p]
		it := b.list.items[p]
		if ok && b.wanted(p, &e, now) && (it == nil || it.held < e.Expires) {
			ends[p] = e.Expires
		}
	}
	err := b.journal.add(ends, b.list.items)
	b.failed = err != nil
	for _, p := range touched {
		e, ok := b.entries[p]
		it := b.list.items[p]
		switch {
		case !ok || !b.wanted(p, &e, now):
			if it != nil {
				b.list.drop(it, now)
			}
		case err == nil || ends[p] == 0:
			b.list.put(p, &e, now)
		}
	}
	b.list.close(now)
	if err != nil {
		return err
	}
	var rejections []mitigate.Rejection
	for _, p := range fresh {
		if b.allow.overlaps(p) {
			rejections = append(rejections, mitigate.Rejection{ID: b.entries[p].ID, Answer: "it overlaps the allow-list"})
		}
	}
	if len(rejections) > 0 {
		return &mitigate.RejectedError{Target: b.options.Name, Rejections: rejections}
	}
	return nil
}

// wanted says whether an entry belongs on the list.
func (b *Board) wanted(p netip.Prefix, e *mitigate.Entry, now time.Time) bool {
	return b.mode == detect.ModeEnforce && !e.Monitor && e.Expires > now.Unix() && !b.allow.overlaps(p)
}

// everything are all items and entries, always in the same order; the lock is held.
func (b *Board) everything() []netip.Prefix {
	all := make([]netip.Prefix, 0, len(b.entries)+len(b.list.items))
	for p := range b.entries {
		all = append(all, p)
	}
	for p := range b.list.items {
		if _, ok := b.entries[p]; !ok {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(p, q netip.Prefix) int {
		return cmp.Or(cmp.Compare(b.entries[p].ID, b.entries[q].ID), p.Addr().Compare(q.Addr()), cmp.Compare(p.Bits(), q.Bits()))
	})
	return all
}

// Sync implements [mitigate.Target].
func (b *Board) Sync(_ context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	for i := range entries {
		if err := b.Carries(&entries[i]); err != nil {
			return mitigate.SyncReport{}, err
		}
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.open(now); err != nil {
		return mitigate.SyncReport{}, err
	}
	before := b.entries
	report := mitigate.SyncReport{Held: len(before), Compared: true}
	b.entries = make(map[netip.Prefix]mitigate.Entry, len(entries))
	clear(b.byID)
	fresh := make([]netip.Prefix, 0, len(entries))
	for i := range entries {
		p := canonical(entries[i].Subject.Client)
		b.entries[p] = entries[i]
		b.byID[entries[i].ID] = p
		fresh = append(fresh, p)
		if before[p] != entries[i] {
			report.Set++
		}
	}
	for p, e := range before {
		if _, ok := b.entries[p]; !ok && e.Expires > now.Unix() {
			report.Removed++
		}
	}
	err := b.publish(b.everything(), fresh, now)
	if err == nil || errors.As(err, new(*mitigate.RejectedError)) {
		b.synced = true
	}
	return report, err
}

// open reads the journal, once; the lock is held.
func (b *Board) open(now time.Time) error {
	if b.journal != nil {
		return nil
	}
	j, held, err := openJournal(b.options.Journal, now)
	if err != nil {
		return err
	}
	b.journal = j
	for p, end := range held {
		b.list.number++
		b.list.items[p] = &Item{Client: p, Number: b.list.number, Expires: min(end, now.Unix()), Gone: true, held: end, changed: 1, since: now}
		b.list.gone++
	}
	return nil
}

// Sweep implements [mitigate.Target].
func (b *Board) Sweep(context.Context) error {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list.advance(now)
	b.list.close(now)
	for p, e := range b.entries {
		if e.Expires <= now.Unix() {
			b.without(p)
		}
	}
	return nil
}

// SetAllow implements [mitigate.Target].
func (b *Board) SetAllow(_ context.Context, allow []netip.Prefix) error {
	for _, p := range allow {
		if !p.IsValid() {
			return errors.New("allow-list holds an invalid network")
		}
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.open(now); err != nil {
		return err
	}
	b.allow = newAllowList(allow)
	return b.publish(b.everything(), nil, now)
}

// SetMode implements [mitigate.Target]. All that is published is taken back in every mode
// but enforce.
func (b *Board) SetMode(_ context.Context, mode detect.Mode, _ bool) error {
	switch mode {
	case detect.ModeOff, detect.ModeMonitor, detect.ModeEnforce:
	default:
		return fmt.Errorf("unknown mode %q", mode)
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.open(now); err != nil {
		return err
	}
	if mode == b.mode && !b.failed {
		return nil
	}
	b.mode = mode
	err := b.publish(b.everything(), nil, now)
	b.moded = b.list.change
	return err
}

// Mode implements [mitigate.Target]: once it has reached every consumer. Before, it is not
// known what mode is in force.
func (b *Board) Mode(context.Context) (detect.Mode, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	groups, lacking := b.groups(time.Now()), 0
	for _, g := range groups {
		if slices.ContainsFunc(g.members, func(c *consumer) bool { return c.fetched < b.moded && !c.asks.Every }) {
			lacking++
		}
	}
	if lacking > 0 {
		return "", false, fmt.Errorf("%d of %d consumers have not fetched since the mode was set", lacking, len(groups))
	}
	return cmp.Or(b.mode, detect.ModeOff), false, nil
}

// Hits implements [mitigate.Target]: no consumer says what single entries hit.
func (b *Board) Hits(context.Context) ([]mitigate.Hits, error) { return nil, nil }

// Answer is a part of the list for one request.
type Answer struct {
	Items   []Item // by number
	Change  uint64 // the last change in it
	Changed time.Time
	all     bool // it has everything, not what changed
	key     string
	via     *connection
}

func (b *Board) ready() bool { return b.synced && b.mode != "" }

// Changes is what a consumer has to hear of: what changed since the answer before its last
// one, and what it may not have received before; with all, or if it is not known,
// everything. False: the list is not ready.
func (b *Board) Changes(a *Asks, all bool) (Answer, bool) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ready() {
		return Answer{}, false
	}
	b.list.advance(now)
	b.list.close(now)
	c := b.seen(a, now)
	since := c.since()
	if all {
		since = 0
	}
	return Answer{Items: b.list.since(since), Change: b.list.change, Changed: b.list.changed, all: all, key: a.key(), via: a.via}, true
}

// List is all that is on the list.
func (b *Board) List(a *Asks) (Answer, bool) {
	answer, ok := b.Changes(a, true)
	kept := answer.Items[:0]
	for _, it := range answer.Items {
		if !it.Gone {
			kept = append(kept, it)
		}
	}
	answer.Items = kept
	return answer, ok
}

// Find returns what is on the list and covers a network, the widest first. It is for
// consumers that ask about each client.
func (b *Board) Find(a *Asks, p netip.Prefix) ([]Item, bool) {
	now := time.Now()
	p = canonical(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ready() {
		return nil, false
	}
	b.list.advance(now)
	b.list.close(now)
	b.seen(a, now).fetches++
	var found []Item
	for bits := range p.Bits() + 1 {
		if it := b.list.items[netip.PrefixFrom(p.Addr(), bits).Masked()]; it != nil && !it.Gone {
			found = append(found, *it)
		}
	}
	return found, true
}

// Took notes that a consumer took an answer whole; room is how many items it and those
// before that it goes on with have at most, 0 without a limit.
func (b *Board) Took(answer *Answer, room int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.consumers[answer.key]; c != nil {
		c.took(answer)
		answer.via.answered(answer.key, answer.Change)
		c.fetches++
		if c.asks.Part {
			room = max(c.room, room)
		}
		c.room = room
	}
}

// Refused adds what a consumer says that it refused.
func (b *Board) Refused(a *Asks, n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.consumers {
		if c.asks.Name() == a.Name() {
			c.refused += n
			return
		}
	}
}
