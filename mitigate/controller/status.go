package controller

import (
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// State is what became of a verdict at one target.
type State string

// The states of a verdict at a target.
const (
	StatePending     State = "pending"     // not yet sent or fetched, or the target is down
	StateInForce     State = "in_force"    // the target has confirmed it, or every consumer fetched it
	StateShadowed    State = "shadowed"    // a stricter verdict on the same subject is sent instead
	StateUnsupported State = "unsupported" // the target has no exact form for it
	StateRejected    State = "rejected"    // the target refused it, or has no room
)

// Verdict is an active verdict.
type Verdict struct {
	Verdict detect.Verdict
	Who     string    // the operator; "" if detection decided it
	Since   time.Time // when it first arrived
	Targets []TargetVerdict
}

// TargetVerdict is a verdict at one target.
type TargetVerdict struct {
	Target  string // name
	State   State
	Detail  string // the target's answer, where there is one
	Refused uint64 // requests refused, as far as the target's counters tell
	Passed  uint64 // requests of the subject let through
}

// Target is how one load balancer is.
type Target struct {
	Name, Kind string
	Connected  bool      // reachable, and holds what it should; of one that is fetched from: somebody does
	Since      time.Time // of the last change of Connected
	Identity   mitigate.Identity
	Mode       detect.Mode // in force, as last read
	Wanted     detect.Mode // that it should be in
	LocalOff   bool        // turned off at the load balancer itself

	InForce     int // verdicts the target has confirmed
	Pending     int // subjects with changes not yet sent, or that some consumer has not fetched
	Unsupported int // active verdicts that it can't carry
	Rejected    int // active verdicts that it refused or has no room for

	Lag         time.Duration // age of the oldest change not yet sent or fetched
	LastLatency time.Duration // from a verdict's arrival to the target's confirmation, last delta
	MaxLatency  time.Duration // the same, highest so far

	Errors    uint64 // failed exchanges
	LastError string // of the last failed exchange since the last full comparison
	LastSync  time.Time
	Syncs     uint64 // full comparisons
	Drift     uint64 // entries that full comparisons of an unchanged process had to mend
	Restarts  uint64 // changes of identity noticed
	Faults    uint64 // of what offpath has in the load balancer, see [mitigate.Faulter]

	Fetching *mitigate.Fetching // of a [mitigate.Publisher]; else nil
}

// Stats count what happened since the start.
type Stats struct {
	Accepted   uint64            // verdicts accepted that were new
	Renewed    uint64            // verdicts accepted that replaced one of the same id
	Refused    map[string]uint64 // by rail
	Stale      uint64            // older than what is known of the same id, or lifted
	Shortened  uint64            // lifetime cut
	Evicted    uint64            // made room for more important ones
	Expired    uint64
	Lifted     uint64
	AuditLost  uint64 // audit entries not written to the log
	StateLost  uint64 // writings of the state folder that failed
	Active     int
	Waiting    int     // for approval
	Harm       float64 // legitimate logins that the verdicts that act about more than single clients are expected to hit, per million
	Off        bool    // the kill switch
	StateError string
}
