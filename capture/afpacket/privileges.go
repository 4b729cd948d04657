package afpacket

import (
	"fmt"

	"offpath/capture/afpacket/internal/capability"
)

// DropPrivileges gives up every capability of the process but those to keep (the
// numbers of linux/capability.h, of which others have need), on all its threads
// and for good, programs that it executes included. Open sources go on
// capturing; Open fails from then on. The user stays the same, so files that
// belong to it stay accessible, but root is then bound by file modes like
// anybody else.
//
// Call it when everything that needs a privilege is open. It may be called
// again, and by a process without privileges. In a binary that was built with
// cgo it fails with errors.ErrUnsupported and changes nothing.
func DropPrivileges(keep ...int) error {
	if err := capability.Drop(keep...); err != nil {
		return fmt.Errorf("drop privileges: %w", err)
	}
	return nil
}
