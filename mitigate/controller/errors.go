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
	RailPrefix    = "prefix"     // network wider than /24 or /48
	RailEverybody = "everybody"  // would keep everybody from an endpoint or domain
	RailAllowed   = "allow_list" // overlaps the allow-list
	RailOwn       = "own"        // covers an address of the installation
	RailFull      = "full"       // less important than everything that is active
)

// RailError says which rail a verdict broke.
type RailError struct {
	Rail   string
	Reason string // with the offending value
}

func (e *RailError) Error() string { return "verdict refused: " + e.Reason }
