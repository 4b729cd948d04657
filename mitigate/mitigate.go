// Package mitigate makes load balancers agree with the active verdicts,
// safely, and reports what they answered.
//
// The root holds what its rooms share: the [Target] interface to a load
// balancer, the [Entry] that is put in force there, and the errors by which a
// target says what it can't do. mitigate/haproxy is a target;
// mitigate/controller keeps the desired state and makes every target agree
// with it.
//
// This is the only part of the product that lives in wall time: an Entry
// expires by the load balancer's own clock, so that a dead controller fails
// open. Nothing here decides: a verdict that a target can't carry exactly is
// reported, never widened or narrowed to fit.
package mitigate

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"offpath/detect"
)

// ID is the 64 bits of a verdict's id. Neither half is ever 0, so that a load
// balancer whose integers have 32 bits can tell an id from no id.
type ID uint64

// ParseID reads the 16 hex digits of a verdict's id.
func ParseID(s string) (ID, error) {
	v, err := strconv.ParseUint(s, 16, 64)
	switch {
	case err != nil || len(s) != 16:
		return 0, fmt.Errorf("verdict id %q is not 16 hex digits", s)
	case v>>32 == 0 || v&0xffffffff == 0:
		return 0, fmt.Errorf("verdict id %q has an empty half", s)
	}
	return ID(v), nil
}

// String is the id as findings, verdicts and markers show it.
func (id ID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// Halves are the upper and the lower 32 bits.
func (id ID) Halves() (upper, lower uint32) { return uint32(id >> 32), uint32(id) }

// Entry is one verdict as a target is to hold it. It is comparable: two equal
// entries are the same order.
type Entry struct {
	ID      ID
	Action  detect.Action
	Subject detect.Subject
	Rate    detect.Rate // with detect.ActionRateLimit
	// Monitor asks that this entry only tags and counts, whatever the
	// target's mode.
	Monitor bool
	// Expires is the second of the wall clock, since the epoch, from which on
	// the target no longer acts on the entry.
	Expires int64
}

// OneAddress says that the subject is one address and nothing else.
func (e *Entry) OneAddress() bool {
	return e.Subject.Client.IsSingleIP() && e.Subject == detect.Subject{Client: e.Subject.Client}
}

// Identity tells one life of a load balancer from the next: when it changes,
// what the target held has to be put back.
type Identity struct {
	Process string // what names this life, such as pid and start time
	Version string // of the software, as it says
	// Skew is how far the target's clock is ahead of ours, in seconds, as
	// exactly as the target can tell.
	Skew int64
}

// Hits is what a target has counted for one verdict since the counters began.
// Counters may begin anew at any time.
type Hits struct {
	ID      ID
	Refused uint64 // requests refused
	Passed  uint64 // requests of the subject let through and tagged
}

// Target is one load balancer, or one cluster that shares its verdicts.
//
// Methods may be called concurrently: the kill switch does not wait for a bulk
// load. Each returns within the context's deadline and may be repeated: a
// repeated order changes nothing. Errors are those below, or of the transport.
type Target interface {
	// Name is the operator's name of the target; Kind its type in the
	// configuration.
	Name() string
	Kind() string
	// Addresses are the target's own, as far as they are known; no verdict
	// may cover them.
	Addresses() []netip.Addr
	// Capacity is the number of entries it can hold.
	Capacity() int
	// Carries says whether the target can enforce an entry exactly; the error
	// is an [*UnsupportedError]. It does no I/O.
	Carries(e *Entry) error

	// Identity asks the target who it is: the cheapest question that shows it
	// is alive.
	Identity(ctx context.Context) (Identity, error)
	// Prepared says whether the load balancer has the configuration that
	// enforces verdicts, as far as it can be asked; the error says what is
	// missing. It changes nothing.
	Prepared(ctx context.Context) error
	// Apply puts entries in force and takes others out, by subject: an entry
	// of a subject replaces the one before. When it returns nil, requests are
	// already treated so. A [*RejectedError] lists the entries that failed;
	// all others were applied.
	Apply(ctx context.Context, set []Entry, remove []detect.Subject) error
	// Sync makes the target hold exactly these entries, whatever it held
	// before; see [SyncReport] for how far it goes where there are very many.
	Sync(ctx context.Context, entries []Entry) (SyncReport, error)
	// Sweep removes what has expired by the target's clock.
	Sweep(ctx context.Context) error
	// SetAllow replaces the networks that are never acted against.
	SetAllow(ctx context.Context, allow []netip.Prefix) error
	// SetMode sets what is done about entries. detect.ModeOff is the kill
	// switch: one short order, whatever the number of entries. With release
	// an off that was ordered at the load balancer itself is ended too.
	SetMode(ctx context.Context, mode detect.Mode, release bool) error
	// Mode reads the mode in force. local says that it is off by order at the
	// load balancer itself, which SetMode without release leaves standing.
	Mode(ctx context.Context) (mode detect.Mode, local bool, err error)
	// Hits reads the counters of entries that were lately hit.
	Hits(ctx context.Context) ([]Hits, error)
}

// Rewriter is a target that can hold more entries than it can compare at once. Where more
// are wanted, the controller has Rewrite in place of Sync, and then puts every entry again
// by Apply, after what is new.
type Rewriter interface {
	// Comparable is the most entries that Sync compares.
	Comparable() int
	// Rewrite puts the entries in force that are not about one address alone
	// ([Entry.OneAddress]), and takes out others of that kind as far as they can be
	// listed. It leaves those that are about one address.
	Rewrite(ctx context.Context, entries []Entry) (SyncReport, error)
}

// Faulter is a target that knows how often what offpath has in the load balancer failed
// there, so that a request was let through or an entry forgotten.
type Faulter interface {
	// Faults is how often, as far as was asked; it goes on over the load balancer's
	// restarts. It does no I/O.
	Faults() uint64
}

// Runner is a target with work of its own beside orders, such as a server that load
// balancers ask. The controller runs it as long as itself, and again when it ended with
// an error.
type Runner interface {
	Run(ctx context.Context) error
}

// Informer is a target that hands verdicts on to others, who do with them as they see
// fit: that it carries one does not mean that anybody is kept out.
type Informer interface {
	// Inform gives the way to look up why there is an entry. The controller
	// calls it once, before any order.
	Inform(verdict func(ID) (detect.Verdict, bool))
}

// SyncReport says what a full comparison found.
type SyncReport struct {
	Held     int  // entries found at the target, ours or not
	Compared bool // entry by entry; false: too many to list or to write at once, the wanted ones are still to be put by Apply
	Set      int  // entries missing or different, now set
	Removed  int  // entries not wanted, now removed
}
