package controller_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"sync"

	"offpath/detect"
	"offpath/mitigate"
)

// fakeTarget holds its entries in memory and breaks on demand.
type fakeTarget struct {
	name       string
	address    netip.Addr
	capacity   int
	unlisted   bool // Sync finds too many, and does nothing
	carriesAll bool
	blocked    chan struct{} // while not nil and open, orders wait for it

	mu     sync.Mutex
	down   error
	noHits error
	refuse map[mitigate.ID]string
	held   map[detect.Subject]mitigate.Entry
	allow  []netip.Prefix
	mode   detect.Mode
	counts []mitigate.Hits
	life   string

	// onApply is called before an Apply, without the lock.
	onApply func(set []mitigate.Entry, remove []detect.Subject)
}

func newFake(name string) *fakeTarget {
	return &fakeTarget{
		name: name, capacity: 1000, life: "1", mode: detect.ModeOff,
		held: make(map[detect.Subject]mitigate.Entry), refuse: make(map[mitigate.ID]string),
	}
}

func (f *fakeTarget) Name() string  { return f.name }
func (f *fakeTarget) Kind() string  { return "fake" }
func (f *fakeTarget) Capacity() int { return f.capacity }

func (f *fakeTarget) Addresses() []netip.Addr {
	if f.address.IsValid() {
		return []netip.Addr{f.address}
	}
	return nil
}

func (f *fakeTarget) Carries(e *mitigate.Entry) error {
	if f.carriesAll {
		return nil
	}
	if e.Action == detect.ActionHold || !e.Subject.Client.IsValid() {
		return &mitigate.UnsupportedError{Target: f.name, Reason: "it can't"}
	}
	return nil
}

func (f *fakeTarget) Prepared(context.Context) error { return nil }

// enter begins an order.
func (f *fakeTarget) enter(ctx context.Context) error {
	if f.blocked != nil {
		select {
		case <-f.blocked:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	if f.down != nil {
		defer f.mu.Unlock()
		return f.down
	}
	return nil
}

func (f *fakeTarget) Identity(ctx context.Context) (mitigate.Identity, error) {
	if err := f.enter(ctx); err != nil {
		return mitigate.Identity{}, err
	}
	defer f.mu.Unlock()
	return mitigate.Identity{Process: f.life}, nil
}

func (f *fakeTarget) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	f.mu.Lock()
	told := f.onApply
	f.mu.Unlock()
	if told != nil {
		told(set, remove)
	}
	if err := f.enter(ctx); err != nil {
		return err
	}
	defer f.mu.Unlock()
	for _, s := range remove {
		delete(f.held, s)
	}
	return f.set(set)
}

func (f *fakeTarget) set(entries []mitigate.Entry) error {
	rejected := &mitigate.RejectedError{Target: f.name}
	for _, e := range entries {
		if answer, ok := f.refuse[e.ID]; ok {
			rejected.Rejections = append(rejected.Rejections, mitigate.Rejection{ID: e.ID, Answer: answer})
			continue
		}
		f.held[e.Subject] = e
	}
	if len(rejected.Rejections) > 0 {
		return rejected
	}
	return nil
}

func (f *fakeTarget) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	if err := f.enter(ctx); err != nil {
		return mitigate.SyncReport{}, err
	}
	defer f.mu.Unlock()
	if f.unlisted {
		return mitigate.SyncReport{Held: len(f.held)}, nil
	}
	clear(f.held)
	return mitigate.SyncReport{Compared: true, Set: len(entries)}, f.set(entries)
}

func (f *fakeTarget) Sweep(ctx context.Context) error {
	if err := f.enter(ctx); err != nil {
		return err
	}
	defer f.mu.Unlock()
	return nil
}

func (f *fakeTarget) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	if err := f.enter(ctx); err != nil {
		return err
	}
	defer f.mu.Unlock()
	f.allow = allow
	return nil
}

func (f *fakeTarget) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	if err := f.enter(ctx); err != nil {
		return err
	}
	defer f.mu.Unlock()
	f.mode = mode
	return nil
}

func (f *fakeTarget) Mode(ctx context.Context) (detect.Mode, bool, error) {
	if err := f.enter(ctx); err != nil {
		return "", false, err
	}
	defer f.mu.Unlock()
	return f.mode, false, nil
}

func (f *fakeTarget) Hits(ctx context.Context) ([]mitigate.Hits, error) {
	if err := f.enter(ctx); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	return f.counts, f.noHits
}

// change alters the fake between orders.
func (f *fakeTarget) change(g func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g()
}

// holds are the ids in force, by client.
func (f *fakeTarget) holds() map[string]mitigate.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	held := make(map[string]mitigate.Entry, len(f.held))
	for s, e := range maps.All(f.held) {
		held[s.Client.String()] = e
	}
	return held
}

// informedTarget is a fakeTarget that hands verdicts on.
type informedTarget struct {
	*fakeTarget
	verdict func(mitigate.ID) (detect.Verdict, bool)
}

func (i *informedTarget) Inform(verdict func(mitigate.ID) (detect.Verdict, bool)) {
	i.verdict = verdict
}

var errDown = errors.New("connection refused")
