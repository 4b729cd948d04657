// Package bpf holds the eBPF programs of offpath, their compiled objects and
// typed loaders for them. Nothing else imports cilium/ebpf.
//
// The objects are committed, for little-endian (bpfel) and big-endian (bpfeb)
// machines, so building needs no compiler. They are made from the C sources by
// clang 14 (Debian 12: packages clang-14, llvm-14, libbpf-dev,
// linux-libc-dev); another version gives other octets. "go generate ./bpf"
// makes them again.
//
// A loader needs CAP_BPF (CAP_SYS_ADMIN before Linux 5.8). What it returns
// owns file descriptors until Close, and may be used from any goroutine.
package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -no-global-types -target bpfel,bpfeb -cflags "-O2 -g -Wall -Wextra -Werror -mcpu=v2 -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" steering steering.c

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/rlimit"
)

// ErrNotSupported is returned by loaders if the kernel says that it lacks what
// the program needs. Any other error leaves it open: the privilege may be
// missing, or a policy forbids eBPF.
var ErrNotSupported = errors.New("not supported by this kernel")

// MaxWorkers is the highest number of workers that a Steering spreads over.
const MaxWorkers = 256

// SteeringOptions are what the steering program is told.
type SteeringOptions struct {
	Workers int  // rings of the fanout group, 1 to MaxWorkers
	RawIP   bool // the interface has no link-layer header (tun)
}

func (o SteeringOptions) validate() error {
	if o.Workers < 1 || o.Workers > MaxWorkers {
		return fmt.Errorf("workers is %d, must be 1 to %d", o.Workers, MaxWorkers)
	}
	return nil
}

// Steering is the socket filter that tells an AF_PACKET fanout group
// (PACKET_FANOUT_EBPF) which of its rings gets a frame: that of number shard %
// workers, in the order in which the rings joined. The shard is that of
// capture/decode.
type Steering struct {
	programs steeringPrograms
}

// LoadSteering loads the steering program into the kernel.
func LoadSteering(o SteeringOptions) (*Steering, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("steering program: %w", err)
	}
	spec, err := loadSteering()
	if err != nil {
		return nil, fmt.Errorf("read steering program: %w", err)
	}
	var variables steeringVariableSpecs
	if err := spec.Assign(&variables); err != nil {
		return nil, fmt.Errorf("read steering program: %w", err)
	}
	var rawIP uint32
	if o.RawIP {
		rawIP = 1
	}
	if err := errors.Join(variables.Workers.Set(uint32(o.Workers)), variables.RawIp.Set(rawIP)); err != nil {
		return nil, fmt.Errorf("set up steering program: %w", err)
	}

	// Needed before Linux 5.11 only, where memory of programs counts as locked;
	// without the privilege for it the small program may fit all the same.
	_ = rlimit.RemoveMemlock()

	s := &Steering{}
	if err := spec.LoadAndAssign(&s.programs, nil); err != nil {
		if lacking := lackingForSteering(); lacking != nil {
			err = lacking
		}
		return nil, fmt.Errorf("load steering program: %w", err)
	}
	return s, nil
}

// lackingForSteering asks the kernel for what the program is built from. It
// returns an error that is ErrNotSupported if one is certainly absent, else
// nil.
func lackingForSteering() error {
	if err := features.HaveProgramType(ebpf.SocketFilter); errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("%w: eBPF socket filter", ErrNotSupported)
	}
	if err := features.HaveProgramHelper(ebpf.SocketFilter, asm.FnSkbLoadBytes); errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("%w: bpf_skb_load_bytes in socket filters", ErrNotSupported)
	}
	return nil
}

// FD is the program's file descriptor, the value of PACKET_FANOUT_DATA. It is
// valid until Close; a fanout group that has got it keeps the program alive.
func (s *Steering) FD() int { return s.programs.Steer.FD() }

// Close gives up the program.
func (s *Steering) Close() error { return s.programs.Close() }
