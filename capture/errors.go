package capture

import "fmt"

// DamageError says that an input is cut short or damaged: everything before
// Offset was delivered.
type DamageError struct {
	File   string // as named by the user; "-" is standard input
	Offset int64  // octets from the start of the (decompressed) file to the first unreadable one
	Err    error  // what is wrong there
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: damaged at byte %d: %v", e.File, e.Offset, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }
