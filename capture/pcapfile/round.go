package pcapfile

import (
	"context"
	"sync"
	"sync/atomic"

	"offpath/capture"
)

const (
	// roundSize is the length of a round's buffer, in octets. Buffer and
	// packets of one round fit into a core's second-level cache, as do, nearly,
	// those of all rounds in flight: packets are read while they are warm.
	roundSize = 128 << 10
	// roundsInFlight is how many rounds there are, with more than one worker:
	// reading is ahead of the slowest worker by fewer.
	roundsInFlight = 4
)

// round is what is handed to the workers at once: packets, and the buffer that
// they are views into.
type round struct {
	buf     []byte
	packets [][]capture.Packet // by worker
	clock   int64
	secrets []byte // key log that was read before the packets
	// Packets point to memory outside buf: datagrams put together.
	datagrams bool
	users     atomic.Int32 // workers that have not returned yet
}

func newRound(workers int) *round {
	return &round{buf: make([]byte, 0, roundSize), packets: make([][]capture.Packet, workers)}
}

// reset makes the round empty. Buffers that one long record has made large
// are not kept, nor are datagrams.
func (r *round) reset() {
	r.secrets = nil
	for i := range r.packets {
		if r.datagrams {
			clear(r.packets[i])
		}
		r.packets[i] = r.packets[i][:0]
	}
	if cap(r.buf) > 4*roundSize {
		r.buf = make([]byte, 0, roundSize)
	}
}

// crew takes rounds to the workers.
type crew interface {
	// next returns an empty round, or nil when ctx is done.
	next(ctx context.Context) *round
	// deliver gives each worker its batch of the round, which then belongs to
	// the crew.
	deliver(r *round)
	// wait returns when all workers have returned from all rounds.
	wait()
}

// newCrew returns the crew for a number of workers.
func newCrew(workers int, h capture.Handler) crew {
	if workers == 1 {
		return &soloCrew{handler: h, round: newRound(1)}
	}
	c := &teamCrew{handler: h, free: make(chan *round, roundsInFlight)}
	for range roundsInFlight {
		c.free <- newRound(workers)
	}
	for i := range workers {
		queue := make(chan *round, roundsInFlight)
		c.queues = append(c.queues, queue)
		c.group.Go(func() { c.work(i, queue) })
	}
	return c
}

// soloCrew is one worker on the goroutine of the reader.
type soloCrew struct {
	handler capture.Handler
	round   *round
}

func (c *soloCrew) next(ctx context.Context) *round {
	if ctx.Err() != nil {
		return nil
	}
	c.round.reset()
	return c.round
}

func (c *soloCrew) deliver(r *round) {
	c.handler(0, capture.Batch{Packets: r.packets[0], Clock: r.clock, Secrets: r.secrets})
}

func (c *soloCrew) wait() {}

// teamCrew is a goroutine for each worker. Every queue has room for all
// rounds, so only next ever waits.
type teamCrew struct {
	handler capture.Handler
	free    chan *round
	queues  []chan *round
	group   sync.WaitGroup
}

func (c *teamCrew) next(ctx context.Context) *round {
	if ctx.Err() != nil {
		return nil
	}
	select {
	case r := <-c.free:
		r.reset()
		return r
	case <-ctx.Done():
		return nil
	}
}

func (c *teamCrew) deliver(r *round) {
	r.users.Store(int32(len(c.queues)))
	for _, queue := range c.queues {
		queue <- r
	}
}

func (c *teamCrew) work(worker int, queue <-chan *round) {
	for r := range queue {
		c.handler(worker, capture.Batch{Packets: r.packets[worker], Clock: r.clock, Secrets: r.secrets})
		if r.users.Add(-1) == 0 {
			c.free <- r
		}
	}
}

func (c *teamCrew) wait() {
	for _, queue := range c.queues {
		close(queue)
	}
	c.group.Wait()
}
