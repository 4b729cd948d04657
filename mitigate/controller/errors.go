package controller

import "errors"

// ErrUnknownVerdict is returned for an id that no active verdict has.
var ErrUnknownVerdict = errors.New("no active verdict has this id")

// ErrStale is returned for a verdict that is older than what is known of its
// id: replaced by a later one, or lifted.
var ErrStale = errors.New("a later decision on this verdict is known")

// The rails, by which refusals are counted.
const (
	RailMalformed = "malformed"  // id, action, rate or subject make no sense
	RailExpired   = "expired"    // over before it arrived
	RailPrefix    = "prefix"     // too wide a network
	RailEverybody = "everybody"  // would keep everybody from an endpoint or domain
	RailAllowed   = "allow_list" // overlaps the allow-list
	RailOwn       = "own"        // covers an address of the installation
	RailPrivate   = "private"    // an address that no client on the Internet has
	RailFull      = "full"       // less important than everything that is active

	// A verdict beyond one of these waits for a person's approval, and so does a network
	// wider than /24 or /48 up to /16 or /32.
	RailHarm = "harm" // with the others in force it would hit too many customers
	RailPace = "pace" // too many new verdicts in a minute
)

// RailError says which rail a verdict broke.
type RailError struct {
	Rail   string
	Reason string // with the offending value
	Waits  bool   // for approval, instead of being refused
}

func (e *RailError) Error() string {
	if e.Waits {
		return "verdict waits for approval: " + e.Reason
	}
	return "verdict refused: " + e.Reason
}

// ErrNotWaiting is returned for the approval of a verdict that does not wait for one.
var ErrNotWaiting = errors.New("no verdict of this id waits for approval")
