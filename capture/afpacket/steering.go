package afpacket

import (
	"errors"

	"offpath/bpf"
	"offpath/capture"
	"offpath/capture/afpacket/internal/tpacket"
)

// Method is how frames are distributed over the workers.
type Method string

const (
	MethodSingle Method = "single" // one worker gets all
	MethodEBPF   Method = "ebpf"   // worker = decode.Shard % workers
	MethodHash   Method = "hash"   // the kernel's symmetric flow hash
)

// Support says what is known about a feature of the kernel.
type Support string

const (
	SupportUnknown Support = "unknown" // not tried, or it could not be told, for instance for lack of a privilege
	Supported      Support = "yes"
	NotSupported   Support = "no"
)

// Steering is how frames are distributed, and if not by eBPF, why.
type Steering struct {
	Method Method
	EBPF   Support // whether the kernel can steer by the eBPF program
	Reason error   // why it doesn't although it was tried; else nil
}

// steerer has the fanout groups made. Programs are loaded at most once for
// each kind of link and belong to the groups: close gives up only our hold.
type steerer struct {
	options  Options
	steering Steering
	programs map[capture.LinkType]*bpf.Steering
}

func newSteerer(o Options) *steerer {
	s := &steerer{options: o, programs: map[capture.LinkType]*bpf.Steering{}}
	s.steering = Steering{Method: MethodEBPF, EBPF: SupportUnknown}
	switch {
	case o.Workers == 1:
		s.steering.Method = MethodSingle
	case o.HashSteering:
		s.steering.Method = MethodHash
	}
	return s
}

// prepare loads the programs for all links. If one can't be loaded, all
// interfaces are steered by hash: a connection whose directions come from two
// interfaces must meet in one worker.
func (s *steerer) prepare(links map[capture.LinkType]bool) {
	if s.steering.Method != MethodEBPF {
		return
	}
	for link := range links {
		program, err := bpf.LoadSteering(bpf.SteeringOptions{Workers: s.options.Workers, RawIP: link == capture.LinkRaw})
		if err != nil {
			s.steering = Steering{Method: MethodHash, EBPF: SupportUnknown, Reason: err}
			if errors.Is(err, bpf.ErrNotSupported) {
				s.steering.EBPF = NotSupported
			}
			return
		}
		s.programs[link] = program
	}
	s.steering.EBPF = Supported
}

// group makes a fanout group of the rings of one interface, in their order.
func (s *steerer) group(rings []*tpacket.Ring, link capture.LinkType, ignoreOutgoing bool) error {
	program := tpacket.HashProgram
	switch s.steering.Method {
	case MethodSingle:
		return nil
	case MethodEBPF:
		program = s.programs[link].FD()
	}
	fanout := tpacket.NewFanout(program, ignoreOutgoing)
	for _, ring := range rings {
		if err := fanout.Join(ring); err != nil {
			return err
		}
	}
	return nil
}

func (s *steerer) close() error {
	var errs []error
	for _, program := range s.programs {
		errs = append(errs, program.Close())
	}
	return errors.Join(errs...)
}
