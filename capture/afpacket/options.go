package afpacket

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"offpath/bpf"
	"offpath/capture/afpacket/internal/tpacket"
)

// DefaultRingMiB is the size of a ring unless Options say otherwise.
const DefaultRingMiB = 64

// Limits of Options.
const (
	MaxWorkers    = bpf.MaxWorkers
	MaxRingMiB    = 4096
	MinSnapLength = 256 // the headers of any frame that is decoded fit in
)

// wholeFrames is the snap length that cuts nothing: no frame is as long as a
// block of the ring.
const wholeFrames = 1 << 20

// Options are what Open captures from, and how.
type Options struct {
	// Interfaces are the names of the interfaces, in the network namespace of
	// the calling thread. At least one.
	Interfaces []string

	// Workers is the number of rings on each interface, and of handlers that
	// run at the same time, up to MaxWorkers; 0 means the number of cores.
	Workers int

	// RingMiB is the size of each ring in MiB, up to MaxRingMiB; 0 means
	// DefaultRingMiB. The rings take Workers * len(Interfaces) times this of
	// the kernel's memory; more than half of all there is is refused.
	RingMiB int

	// SnapLength is the number of octets that are captured of each frame, at
	// least MinSnapLength; 0 means all.
	SnapLength int

	// IgnoreOutgoing leaves out frames that this host sends.
	IgnoreOutgoing bool

	// Tunnels are the networks whose tunnels in IP are read, both addresses
	// around a tunnel being in one of them; none means all.
	Tunnels []netip.Prefix

	// Secret keys the division of flows into shards; empty means decode.Shard. To
	// which worker they go does not depend on it.
	Secret []byte

	// HashSteering distributes connections by the kernel's flow hash without
	// trying to load the eBPF program.
	HashSteering bool
}

func (o Options) validate() error {
	if len(o.Interfaces) == 0 {
		return errors.New("no interface to capture from")
	}
	seen := map[string]bool{}
	for _, name := range o.Interfaces {
		if seen[name] {
			return fmt.Errorf("interface %q is named twice", name)
		}
		seen[name] = true
	}
	if o.Workers < 0 || o.Workers > MaxWorkers {
		return fmt.Errorf("workers is %d, must be 1 to %d, or 0 for the number of cores", o.Workers, MaxWorkers)
	}
	if o.RingMiB < 0 || o.RingMiB > MaxRingMiB {
		return fmt.Errorf("ring size is %d MiB, must be 1 to %d, or 0 for %d", o.RingMiB, MaxRingMiB, DefaultRingMiB)
	}
	if o.SnapLength != 0 && (o.SnapLength < MinSnapLength || o.SnapLength > wholeFrames) {
		return fmt.Errorf("snap length is %d, must be %d to %d, or 0 for whole frames", o.SnapLength, MinSnapLength, wholeFrames)
	}
	return nil
}

// withDefaults replaces zeros by what they stand for.
func (o Options) withDefaults() Options {
	if o.Workers == 0 {
		o.Workers = min(runtime.NumCPU(), MaxWorkers)
	}
	if o.RingMiB == 0 {
		o.RingMiB = DefaultRingMiB
	}
	if o.SnapLength == 0 {
		o.SnapLength = wholeFrames
	}
	return o
}

// checkMemory refuses rings of more than half of the machine's memory: the
// kernel would give it, and kill processes afterwards.
func (o Options) checkMemory() error {
	total, err := tpacket.Memory()
	if err != nil {
		return err
	}
	rings := o.Workers * len(o.Interfaces)
	if uint64(rings)*uint64(o.RingMiB) > total>>20/2 {
		return fmt.Errorf("%d rings of %d MiB take more than half of the memory of %d MiB", rings, o.RingMiB, total>>20)
	}
	return nil
}
