package mitigate

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnsupported is what every [*UnsupportedError] is.
var ErrUnsupported = errors.New("target can't carry the verdict")

// ErrIncomplete says that a target stopped answering in the middle: orders may
// or may not have been carried out.
var ErrIncomplete = errors.New("target's answer is incomplete")

// ErrConnectsItself says that a target asks instead of being asked: without the
// offpath that runs, nothing is known of it.
var ErrConnectsItself = errors.New("it connects to the offpath that runs by itself")

// UnsupportedError says that a target has no exact form for an entry.
type UnsupportedError struct {
	Target string // name
	Reason string // what it can't do, quoting the value
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("target %s can't carry the verdict: %s", e.Target, e.Reason)
}

// Is makes the error one of [ErrUnsupported].
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }

// RejectedError says that a target refused orders it understood how to read,
// such as when a table is full.
type RejectedError struct {
	Target     string
	Rejections []Rejection // in the order of the entries
}

// Rejection is a target's answer to one entry.
type Rejection struct {
	ID     ID // 0: an order without a verdict
	Answer string
}

func (e *RejectedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "target %s rejected %d orders", e.Target, len(e.Rejections))
	if len(e.Rejections) > 0 {
		fmt.Fprintf(&b, ", first: %s", e.Rejections[0].Answer)
	}
	return b.String()
}
