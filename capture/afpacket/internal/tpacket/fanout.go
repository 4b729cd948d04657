package tpacket

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HashProgram in place of a program's file descriptor has a Fanout distribute
// by the kernel's symmetric flow hash.
const HashProgram = -1

// Fanout is a group of rings on one interface, each of which gets a part of
// the frames. Rings are numbered in the order in which they join; the kernel
// keeps that order when the interface goes down and up again, because it goes
// through sockets in the order of their creation.
type Fanout struct {
	program int
	mode    int // algorithm and flags
	id      int
	rings   int
}

// NewFanout describes a group that distributes by the eBPF socket filter with
// the given file descriptor, or by HashProgram. The group comes to exist when
// the first ring joins, and then holds the program itself. ignoreOutgoing must
// be as in the Options of its rings.
func NewFanout(program int, ignoreOutgoing bool) *Fanout {
	f := &Fanout{program: program, mode: unix.PACKET_FANOUT_EBPF}
	if program == HashProgram {
		f.mode = unix.PACKET_FANOUT_HASH
	}
	if ignoreOutgoing {
		f.mode |= unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING
	}
	return f
}

// Join adds a bound ring to the group.
func (f *Fanout) Join(r *Ring) error {
	mode := f.mode
	if f.rings == 0 {
		// The kernel chooses a number that no other process uses.
		mode |= unix.PACKET_FANOUT_FLAG_UNIQUEID
	}
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, f.id|mode<<16); err != nil {
		return fmt.Errorf("join fanout group: %w", err)
	}
	f.rings++
	if f.rings > 1 {
		return nil
	}
	v, err := unix.GetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	if err != nil {
		return fmt.Errorf("read number of fanout group: %w", err)
	}
	f.id = v & 0xffff
	if f.program == HashProgram {
		return nil
	}
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, f.program); err != nil {
		return fmt.Errorf("set program of fanout group: %w", err)
	}
	return nil
}
