package pcapfile

import (
	"sync"

	"offpath/capture"
)

// work has workers handle the rounds that fill makes, until that returns false and all
// are handled.
func work(workers int, fill func(*round) bool, h capture.Handler) {
	if workers == 1 {
		r := newRound(1)
		for r.reset(); fill(r); r.reset() {
			h(0, r.batch(0))
		}
		return
	}
	c := &crew{fill: fill, handler: h, free: make(chan *round, roundsInFlight), turn: make(chan struct{}, 1)}
	for range roundsInFlight {
		c.free <- newRound(workers)
	}
	for range workers {
		c.queues = append(c.queues, make(chan *round, roundsInFlight))
	}
	c.turn <- struct{}{}
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { c.work(i) })
	}
	all.Wait()
}

// crew is workers that take turns at filling rounds: whoever has nothing to handle
// fills the next. So none waits for another one that does nothing but read, and none
// has to be woken while there is something to do.
type crew struct {
	fill    func(*round) bool
	handler capture.Handler
	free    chan *round   // empty rounds
	queues  []chan *round // of each worker, with room for all rounds
	turn    chan struct{} // holds one: who takes it may fill, and is the only one to add to queues
	ended   bool          // there are no more rounds; of whose turn it is
}

// work is one worker.
func (c *crew) work(worker int) {
	queue := c.queues[worker]
	for {
		select { // what is filled comes before the turn to fill
		case r, more := <-queue:
			if !more {
				return
			}
			c.handle(worker, r)
			continue
		default:
		}
		select {
		case r, more := <-queue:
			if !more {
				return
			}
			c.handle(worker, r)
		case <-c.turn:
			if len(queue) > 0 || c.ended {
				c.turn <- struct{}{} // what was filled before comes first
				continue
			}
			r := <-c.free // those in use wait for other workers: this one has none
			r.reset()
			if c.ended = !c.fill(r); c.ended {
				for _, q := range c.queues {
					close(q)
				}
				c.turn <- struct{}{}
				continue
			}
			r.users.Store(int32(len(c.queues)))
			for i, q := range c.queues {
				if i != worker {
					q <- r
				}
			}
			c.turn <- struct{}{}
			c.handle(worker, r)
		}
	}
}

// handle hands a worker its batch of a round. The last one to do so frees the round.
func (c *crew) handle(worker int, r *round) {
	c.handler(worker, r.batch(worker))
	if r.users.Add(-1) == 0 {
		c.free <- r
	}
}
