package afpacket

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"offpath/capture"
	"offpath/capture/afpacket/internal/tpacket"
)

// Source captures from the interfaces it was opened on.
type Source struct {
	ifaces   []*iface
	workers  []*worker
	steering Steering
	devStats *devStats

	running sync.Mutex // held by Run
	ran     bool
	closed  bool
}

var _ capture.Source = (*Source)(nil)

// Open makes the rings, and returns when all of them capture. The rings fill
// from then on, so Run should follow soon.
//
// The interfaces are those of the network namespace of the calling thread; the
// Source stays there whatever threads it is used from.
func Open(o Options) (*Source, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	o = o.withDefaults()
	s := &Source{}
	if err := s.open(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Source) open(o Options) error {
	links := map[capture.LinkType]bool{}
	for _, name := range o.Interfaces {
		i, err := lookUp(name, o.IgnoreOutgoing)
		if err != nil {
			return fmt.Errorf("capture on %s: %w", name, err)
		}
		s.ifaces = append(s.ifaces, i)
		links[i.link] = true
	}
	if err := o.checkMemory(); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	s.devStats = newDevStats(o.Interfaces)

	steerer := newSteerer(o)
	steerer.prepare(links)
	defer steerer.close() //nolint:errcheck // the groups hold the programs
	s.steering = steerer.steering

	for _, i := range s.ifaces {
		if err := i.open(o, steerer); err != nil {
			return fmt.Errorf("capture on %s: %w", i.name, explain(err))
		}
	}
	for index := range o.Workers {
		w, err := newWorker(index, &o, s.ifaces)
		if err != nil {
			return fmt.Errorf("capture: %w", err)
		}
		s.workers = append(s.workers, w)
	}
	for _, w := range s.workers {
		w.method, w.peers, w.outgoing = s.steering.Method, s.workers, make([]*parcel, o.Workers)
	}
	for _, i := range s.ifaces {
		for _, ring := range i.rings {
			if err := ring.Start(o.SnapLength); err != nil {
				return fmt.Errorf("capture on %s: %w", i.name, err)
			}
		}
	}
	return nil
}

// open makes the rings of one interface.
func (i *iface) open(o Options, s *steerer) error {
	for range o.Workers {
		ring, err := tpacket.Open(tpacket.Options{
			Ifindex:        i.ifindex,
			Blocks:         o.RingMiB << 20 / tpacket.BlockSize,
			IgnoreOutgoing: i.ignoreOutgoing,
		})
		if err != nil {
			return err
		}
		i.rings = append(i.rings, ring)
	}
	if err := i.rings[0].Promiscuous(i.ifindex); err != nil {
		return err
	}
	return s.group(i.rings, i.link, i.ignoreOutgoing)
}

// Workers is the number of workers.
func (s *Source) Workers() int { return len(s.workers) }

// Steering says how connections are distributed over the workers.
func (s *Source) Steering() Steering { return s.steering }

// Run delivers packets to h until ctx is done. Then it takes no more frames,
// delivers those already taken, and returns nil. It returns an error if every
// interface is removed, and may be called once.
func (s *Source) Run(ctx context.Context, h capture.Handler) error {
	s.running.Lock()
	defer s.running.Unlock()
	if s.ran || s.closed {
		return errors.New("capture: it was run or closed before")
	}
	s.ran = true

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(s.workers))
	var workers sync.WaitGroup
	for i, w := range s.workers {
		workers.Go(func() {
			errs[i] = w.run(ctx, h)
			if errs[i] != nil && !errors.Is(errs[i], ErrInterfaceGone) {
				cancel() // the other workers would see a part of the traffic only
			}
		})
	}
	workers.Wait()
	for _, w := range s.workers { // what was read for those that had stopped already
		for w.receive(h, 0, true) {
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Stats returns the books up to now.
func (s *Source) Stats() capture.Stats {
	var stats capture.Stats
	for _, w := range s.workers {
		w.books.addTo(&stats)
		stats.HandOverDrops += w.inbox.dropped.Load()
	}
	for _, i := range s.ifaces {
		for _, ring := range i.rings {
			r := ring.Stats()
			stats.KernelDrops += r.Drops
			stats.RingFreezes += r.Freezes
		}
	}
	for _, n := range s.devStats.drops() {
		stats.InterfaceDrops += n
	}
	return stats
}

// Interfaces returns the state of each interface, in the order of
// Options.Interfaces, which is also that of Packet.Iface.
func (s *Source) Interfaces() []Interface {
	drops := s.devStats.drops()
	all := make([]Interface, len(s.ifaces))
	for n, i := range s.ifaces {
		all[n] = Interface{
			Name:  i.name,
			Link:  i.link,
			Up:    !i.down.Load(),
			Gone:  i.gone.Load(),
			Downs: i.downs.Load(),
			Drops: drops[i.name],
		}
	}
	return all
}

// Close gives back sockets and memory. If Run is running, Close waits for it
// to return. Stats and Interfaces go on to return the last state.
func (s *Source) Close() error {
	s.running.Lock()
	defer s.running.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, w := range s.workers {
		errs = append(errs, w.poller.Close())
	}
	for _, i := range s.ifaces {
		for _, ring := range i.rings {
			errs = append(errs, ring.Close())
		}
	}
	if s.devStats != nil {
		errs = append(errs, s.devStats.close())
	}
	return errors.Join(errs...)
}
