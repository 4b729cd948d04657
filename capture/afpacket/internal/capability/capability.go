// Package capability gives up the capabilities of a process (capabilities(7)).
package capability

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's structures, from include/uapi/linux/capability.h:
//
//	typedef struct __user_cap_header_struct {
//		__u32 version;
//		int pid;
//	} *cap_user_header_t;
//
//	struct __user_cap_data_struct {
//		__u32 effective;
//		__u32 permitted;
//		__u32 inheritable;
//	};
//
// Version 3 takes two data structures, for 64 capabilities.
type (
	header = unix.CapUserHeader
	data   = unix.CapUserData
)

// Drop gives up every capability but those to keep (their numbers) on every
// thread of the process, in all sets, and sees to it that neither it nor what it
// executes gets one again, set-uid programs and root included. Threads made later
// inherit that. What the process has not got, it does not get by keeping it.
//
// It does not change user or group, so files that the user owns stay
// accessible. It fails in a process with cgo.
func Drop(keep ...int) error {
	if err := onAllThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := onAllThreads(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	h := header{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has, left [2]data
	if err := unix.Capget(&h, &has[0]); err != nil {
		return fmt.Errorf("get capabilities: %w", err)
	}
	for _, c := range keep {
		if c < 0 || c > 63 {
			return fmt.Errorf("capability %d is not between 0 and 63", c)
		}
		left[c/32].Permitted |= has[c/32].Permitted & (1 << (c % 32))
		left[c/32].Effective = left[c/32].Permitted
	}
	if err := onAllThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&left[0])), 0); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	return nil
}

// onAllThreads makes a system call that concerns the calling thread on each
// thread. A process whose threads do not agree is of no use: the runtime ends
// it.
//
//go:uintptrescapes
func onAllThreads(number, a1, a2, a3 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(number, a1, a2, a3, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
