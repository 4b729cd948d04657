package envoy

import (
	"errors"
	"fmt"
)

// ErrNoEnvoy says that no Envoy is connected: nothing is known to be in force.
var ErrNoEnvoy = errors.New("no Envoy is connected")

// ErrNotPrepared says that an Envoy lacks a part of the configuration that `offpath
// target-config` prints.
var ErrNotPrepared = errors.New("an Envoy is not prepared; install what offpath target-config prints")

// ErrTooMany says that an Envoy is not told anything, as there are enough without it.
var ErrTooMany = fmt.Errorf("more than %d Envoys connect", maxEnvoys)

// errUnknown says that the controller has not said yet what there is to be.
var errUnknown = errors.New("there are no orders yet")

// RefusedError says that an Envoy refused an update (a NACK): what it had before is still
// in force there.
type RefusedError struct {
	Envoy    string // its node id and address
	Resource string
	Reason   string // its words, cut to 500 octets
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("envoy %s refused %s: %s", e.Envoy, e.Resource, e.Reason)
}
