package afpacket

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Errors of Open, and ErrInterfaceGone of Run; each is wrapped with the name
// of the interface. A missing privilege is os.ErrPermission.
var (
	// ErrNoInterface means that no interface has this name.
	ErrNoInterface = errors.New("no such interface")

	// ErrInterfaceDown means that the interface is not up.
	ErrInterfaceDown = errors.New("interface is down")

	// ErrLinkType means that frames of this kind of interface can't be decoded.
	ErrLinkType = errors.New("interface has neither Ethernet nor raw IP frames")

	// ErrInterfaceGone means that the interface was removed during the capture.
	ErrInterfaceGone = errors.New("interface was removed")
)

// explain adds what the user can do about an error of the kernel.
func explain(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: capture needs the privilege CAP_NET_RAW (and CAP_BPF to steer by eBPF): run as root or grant them", err)
	case errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("%w: make the ring smaller", err)
	}
	return err
}
