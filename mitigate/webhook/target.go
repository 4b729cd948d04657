package webhook

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// Kind is the type of this target in the configuration.
const Kind = "webhook"

// Defaults of [Options].
const (
	DefaultTimeout      = 10 * time.Second
	DefaultPingInterval = 30 * time.Second
	DefaultCapacity     = 100_000
)

// maxHalves is how many more messages a rejected one may cost to find out which of its
// verdicts it was rejected for.
const maxHalves = 64

// Options of a target. URL and Secrets are needed.
type Options struct {
	Name string // of the target; receivers see it as the source. Default: the URL
	URL  string // http or https
	// Secrets are what messages are signed with, one signature for each; see
	// [Key]. It is asked at each message, so they may change.
	Secrets func() ([][]byte, error)
	// CA is a PEM file with the certificates that may vouch for the receiver;
	// empty: those that the system trusts.
	CA string
	// Timeout is for one request with its answer; default [DefaultTimeout].
	Timeout time.Duration
	// PingInterval is after how long without a message the receiver is asked
	// whether it is there; default [DefaultPingInterval].
	PingInterval time.Duration
	// Capacity is the most verdicts; default [DefaultCapacity].
	Capacity int
}

// Target is one receiver.
type Target struct {
	options     Options
	repetitions []time.Duration
	firstPause  time.Duration

	life   string                     // random, so that message ids of two processes differ
	last   atomic.Uint64              // sequence number
	remote atomic.Pointer[netip.Addr] // of the receiver
	why    func(mitigate.ID) (detect.Verdict, bool)

	sending sync.Mutex // held while messages that have to keep their order are sent
	held    held       // what was acknowledged; needs sending

	mu       sync.Mutex
	client   *http.Client
	identity mitigate.Identity
	alive    time.Time   // of the last message that was taken; zero: the last one was not
	ordered  detect.Mode // as last ordered; "": not yet
	mode     detect.Mode // as last acknowledged; "": not yet
	off      bool        // turned off at the receiver
	pause    pause
	modes    pause // of messages of modes, which wait for no others
}

var (
	_ mitigate.Target   = (*Target)(nil)
	_ mitigate.Informer = (*Target)(nil)
)

// CheckURL says what is wrong with the address of a receiver; "" if nothing is.
func CheckURL(address string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "is not http://HOST… or https://HOST…"
	case u.User != nil:
		return "holds a user or password"
	case u.Fragment != "":
		return "has a fragment"
	}
	return ""
}

// New makes a target; it does not connect.
func New(options Options) (*Target, error) {
	options.Name = cmp.Or(options.Name, options.URL)
	options.Timeout = cmp.Or(options.Timeout, DefaultTimeout)
	options.PingInterval = cmp.Or(options.PingInterval, DefaultPingInterval)
	options.Capacity = cmp.Or(options.Capacity, DefaultCapacity)
	switch problem := CheckURL(options.URL); {
	case problem != "":
		return nil, fmt.Errorf("webhook address %q %s", options.URL, problem)
	case options.Secrets == nil:
		return nil, errors.New("webhook has no secret")
	case options.Timeout < 0 || options.PingInterval < 0 || options.Capacity < 0:
		return nil, fmt.Errorf("webhook timeout %s, ping interval %s or capacity %d is negative", options.Timeout, options.PingInterval, options.Capacity)
	}
	var life [8]byte
	rand.Read(life[:])
	t := &Target{options: options, repetitions: repetitions, firstPause: firstPause, life: hex.EncodeToString(life[:]), held: newHeld()}
	t.why = func(mitigate.ID) (detect.Verdict, bool) { return detect.Verdict{}, false }
	t.last.Store(uint64(time.Now().UnixMicro())) // so that they grow from process to process
	return t, nil
}

// Name implements [mitigate.Target].
func (t *Target) Name() string { return t.options.Name }

// Kind implements [mitigate.Target].
func (t *Target) Kind() string { return Kind }

// Capacity implements [mitigate.Target].
func (t *Target) Capacity() int { return t.options.Capacity }

// Carries implements [mitigate.Target]: everything.
func (t *Target) Carries(*mitigate.Entry) error { return nil }

// Inform implements [mitigate.Informer].
func (t *Target) Inform(verdict func(mitigate.ID) (detect.Verdict, bool)) { t.why = verdict }

// message begins a message. A mode that was ordered goes with each.
func (t *Target) message(kind string) *message {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &message{
		Type: kind, Timestamp: time.Now().UTC().Format(time.RFC3339Nano),
		Data: data{Source: t.options.Name, Sequence: t.last.Add(1), Mode: t.ordered},
	}
}

// Identity implements [mitigate.Target]: the name that the receiver gives its state. It
// asks by a ping if nothing was heard lately.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	t.mu.Lock()
	fresh := !t.alive.IsZero() && time.Since(t.alive) < t.options.PingInterval
	t.mu.Unlock()
	if !fresh {
		if err := t.deliver(ctx, t.message(typePing), 1); err != nil {
			return mitigate.Identity{}, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.identity, nil
}

// Prepared implements [mitigate.Target]: a ping that is signed by a wrong key has to be
// refused, and one by the right key taken.
func (t *Target) Prepared(ctx context.Context) error {
	body, err := t.message(typePing).encode()
	if err != nil {
		return err
	}
	var key [32]byte
	rand.Read(key[:])
	if _, err := t.post(ctx, [][]byte{key[:]}, t.life+"_0", body); err == nil {
		return errors.New("the receiver takes a message that is signed by a wrong key: whoever reaches it can give it orders")
	}
	return t.deliver(ctx, t.message(typePing), 1)
}

// Apply implements [mitigate.Target].
func (t *Target) Apply(ctx context.Context, set []mitigate.Entry, remove []detect.Subject) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	var gone, events []event
	staying := make(map[mitigate.ID]bool, len(set))
	for i := range set {
		staying[set[i].ID] = true
	}
	for _, s := range remove {
		if id, ok := t.held.bySubject[s]; ok && !staying[id] {
			gone = append(gone, t.held.byID[id])
		}
	}
	slices.SortFunc(gone, byID)
	now := time.Now()
	for _, g := range gone {
		reason := reasonLifted
		if g.entry.Expires <= now.Unix() {
			reason = reasonExpired
		}
		events = append(events, t.ended(reason, g, now))
	}
	for _, e := range set {
		if id, ok := t.held.bySubject[e.Subject]; ok && id != e.ID && !staying[id] {
			events = append(events, t.ended(reasonReplaced, t.held.byID[id], now))
		}
		reason := reasonNew
		if held, ok := t.held.byID[e.ID]; ok {
			reason = reasonChanged
			if held.entry.Expires = e.Expires; held.entry == e {
				reason = reasonRenewed
			}
		}
		events = append(events, t.active(reason, e, now))
	}
	_, err := t.tell(ctx, events)
	return err
}

func byID(a, b event) int { return cmp.Compare(a.entry.ID, b.entry.ID) }

// active is the event of a verdict in force.
func (t *Target) active(reason string, e mitigate.Entry, now time.Time) event {
	why, _ := t.why(e.ID)
	return event{Event: eventActive, Reason: reason, Sequence: t.last.Add(1), Verdict: verdictOf(&e, why, now), entry: e, why: why}
}

// ended is the event of the end of one.
func (t *Target) ended(reason string, of event, now time.Time) event {
	return event{Event: eventEnded, Reason: reason, Sequence: t.last.Add(1), Verdict: verdictOf(&of.entry, of.why, now), entry: of.entry, why: of.why}
}

// tell sends events in their order and notes what the receiver holds by then. It returns
// how many verdicts that are in force it took; the error may be a
// [*mitigate.RejectedError].
func (t *Target) tell(ctx context.Context, events []event) (active int, err error) {
	var rejections []mitigate.Rejection
	for _, batch := range batches(events) {
		halves := maxHalves
		taken, refused, err := t.tellBatch(ctx, batch, &halves)
		if err != nil {
			return active, err
		}
		active += taken
		rejections = append(rejections, refused...)
	}
	if len(rejections) > 0 {
		return active, &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
	}
	return active, nil
}

// tellBatch sends one message, and halves of it where it is refused for its content.
func (t *Target) tellBatch(ctx context.Context, batch []event, halves *int) (active int, rejections []mitigate.Rejection, err error) {
	m := t.message(typeVerdicts)
	m.Data.Events = batch
	err = t.deliver(ctx, m, len(t.repetitions)+1)
	var refused *refusedError
	if errors.As(err, &refused) {
		if *halves >= 2 && len(batch) > 1 && ofContent(refused.answer.status) {
			*halves -= 2
			for _, half := range [][]event{batch[:len(batch)/2], batch[len(batch)/2:]} {
				taken, no, err := t.tellBatch(ctx, half, halves)
				active += taken
				rejections = append(rejections, no...)
				if err != nil {
					return active, rejections, err
				}
			}
			return active, rejections, nil
		}
		for i := range batch {
			if batch[i].Event == eventEnded {
				t.held.drop(batch[i].entry.ID) // there is nothing more to be said of it
			}
			rejections = append(rejections, mitigate.Rejection{ID: batch[i].entry.ID, Answer: refused.answer.String()})
		}
		return 0, rejections, nil
	}
	if err != nil {
		return 0, nil, err
	}
	for i := range batch {
		if batch[i].Event == eventActive {
			t.held.put(batch[i])
			active++
		} else {
			t.held.drop(batch[i].entry.ID)
		}
	}
	return active, nil, nil
}

// ofContent says whether a status speaks of what is in a message, rather than of who
// sends it or where.
func ofContent(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// Sync implements [mitigate.Target]: everything is sent, and then that it was everything.
func (t *Target) Sync(ctx context.Context, entries []mitigate.Entry) (mitigate.SyncReport, error) {
	t.sending.Lock()
	defer t.sending.Unlock()
	before := t.held
	report := mitigate.SyncReport{Held: len(before.byID)}
	since := t.last.Add(1)
	now := time.Now()
	events := make([]event, len(entries))
	for i, e := range slices.SortedFunc(slices.Values(entries), func(a, b mitigate.Entry) int { return cmp.Compare(a.ID, b.ID) }) {
		events[i] = t.active(reasonSnapshot, e, now)
	}
	t.held = newHeld()
	active, rejected := t.tell(ctx, events)
	if rejected != nil && !errors.As(rejected, new(*mitigate.RejectedError)) {
		return report, rejected
	}
	m := t.message(typeSnapshot)
	m.Data.Since, m.Data.Count = since, &active
	if err := t.deliver(ctx, m, len(t.repetitions)+1); err != nil {
		return report, fmt.Errorf("the receiver does not confirm that it has %d verdicts: %w", active, err)
	}
	report.Set = active
	for id := range before.byID {
		if _, still := t.held.byID[id]; !still {
			report.Removed++
		}
	}
	return report, rejected
}

// Sweep implements [mitigate.Target]: says what has expired.
func (t *Target) Sweep(ctx context.Context) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	now := time.Now()
	var events []event
	for _, h := range t.held.byID {
		if h.entry.Expires <= now.Unix() {
			events = append(events, h)
		}
	}
	slices.SortFunc(events, byID)
	for i := range events {
		events[i] = t.ended(reasonExpired, events[i], now)
	}
	_, err := t.tell(ctx, events)
	return err
}

// Hits implements [mitigate.Target]: a receiver is not asked to count.
func (t *Target) Hits(context.Context) ([]mitigate.Hits, error) { return nil, nil }
