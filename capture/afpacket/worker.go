package afpacket

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"

	"offpath/capture"
	"offpath/capture/afpacket/internal/tpacket"
	"offpath/capture/decode"
)

const (
	// batchSize bounds a batch, so that its packets stay in the processor's
	// cache between the decoder and the handler.
	batchSize = 256

	// idleMargin is how far the clock of an idle ring stays behind the wall
	// clock. The kernel hands a frame over at most tpacket.RetireAfter after
	// it came; the rest is for a kernel timer that is late.
	idleMargin = 200 * time.Millisecond

	// heartbeat is how often an idle worker moves its clock.
	heartbeat = 50 * time.Millisecond

	// drainLimit bounds how long a worker that stops waits for the kernel to
	// hand over the frames it has already taken.
	drainLimit = 2 * time.Second
)

// worker reads one ring of each interface.
type worker struct {
	index   int
	inputs  []*input
	poller  *tpacket.Poller
	packets [batchSize]capture.Packet
	decoder *decode.Decoder
	whole   uint64 // datagrams that the decoder has put together
	clock   int64  // of the last packet or heartbeat, ns since the epoch
	tally   tally
	books   books

	// For packets that one worker reads and another is to get.
	method   Method
	peers    []*worker // all workers
	outgoing []*parcel // to each of them, nil if there is none
	inbox    inbox
	incoming []*parcel
	opened   int // packets of the first of incoming that were delivered
	unpacked int // their octets
}

// input is one of a worker's rings.
type input struct {
	iface *iface
	index uint16 // of the interface
	ring  *tpacket.Ring

	frames  tpacket.Frames
	head    tpacket.Frame // the next frame, if pending
	pending bool
	holding bool // a block of the ring is ours

	taken uint64 // frames read from the ring
	down  bool   // the interface is down
	ended bool   // no frame will come any more
}

func newWorker(index int, o *Options, ifaces []*iface) (*worker, error) {
	w := &worker{index: index, decoder: decode.New(decode.Memory/o.Workers, o.Secret, o.Tunnels...)}
	rings := make([]*tpacket.Ring, len(ifaces))
	for n, i := range ifaces {
		rings[n] = i.rings[index]
		w.inputs = append(w.inputs, &input{iface: i, index: uint16(n), ring: rings[n]})
	}
	var err error
	w.poller, err = tpacket.NewPoller(rings)
	return w, err
}

// run delivers batches until ctx is done or every interface is gone.
func (w *worker) run(ctx context.Context, h capture.Handler) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		w.poller.Wake()
		close(woken)
	})
	defer func() {
		if !stop() {
			<-woken // the poller may be closed after that
		}
	}()

	for ctx.Err() == nil {
		if w.step(h) {
			continue
		}
		if err := w.wait(heartbeat); err != nil {
			return err
		}
		if w.ended() {
			return fmt.Errorf("capture on %s: %w", w.names(), ErrInterfaceGone)
		}
	}
	return w.drain(h)
}

// drain stops taking frames and delivers those that were taken.
func (w *worker) drain(h capture.Handler) error {
	for _, in := range w.inputs {
		if err := in.ring.Reject(); err != nil {
			return err
		}
	}
	// A frame that passed the filter on another processor may not be in the
	// ring yet, and the block it is in is handed over when it retires.
	settled := time.Now().Add(tpacket.RetireAfter)
	limit := settled.Add(drainLimit)
	for !w.ended() {
		if w.step(h) {
			continue
		}
		if err := w.wait(tpacket.RetireAfter); err != nil {
			return err
		}
		now := time.Now()
		for _, in := range w.inputs {
			if now.After(settled) && in.empty() || now.After(limit) {
				in.ended = true
			}
		}
	}
	for w.step(h) {
	}
	return nil
}

// step delivers the packets that are there, or moves the clock on if there are
// none. It returns false if there is nothing to do until the kernel hands over
// a block or time passes.
func (w *worker) step(h capture.Handler) bool {
	// The wall clock is read before the rings: a ring that is found empty then
	// has no frame older than idleMargin before now.
	now := time.Now().UnixNano()
	n, taken := w.gather(now)
	if taken == 0 {
		if w.receive(h, now, false) {
			return true
		}
		if idle := now - int64(idleMargin); idle-w.clock >= int64(heartbeat) {
			w.clock = idle
			h(w.index, capture.Batch{Clock: w.clock})
		}
		return false
	}
	h(w.index, capture.Batch{Packets: w.packets[:n], Clock: w.clock})
	w.books.post(&w.tally, w.decoder.Fragments())
	w.tally = tally{}
	for _, in := range w.inputs {
		in.release()
	}
	w.send()
	for range w.peers { // as many as may have come while this one read a batch
		if !w.receive(h, now, false) {
			break
		}
	}
	return true
}

// gather decodes the next frames in order of time into packets, up to the end
// of a block. It returns how many packets are there, and how many frames it took:
// more, if some are for other workers.
func (w *worker) gather(now int64) (n, taken int) {
	horizon := int64(math.MaxInt64) // frames up to here can't be preceded by one that is still to come
	for _, in := range w.inputs {
		if !in.pending && !in.open() && !in.ended {
			horizon = now - int64(idleMargin)
		}
	}
	for taken < batchSize {
		in := w.earliest()
		// A frame stamped later than now was so before the wall clock was set
		// back; there is no point in waiting for that time to come again.
		if in == nil || in.head.Time > horizon && in.head.Time <= now {
			break
		}
		p := &w.packets[n]
		w.take(p, in)
		taken++
		if !w.handOver(p) {
			n++
		}
		if !in.advance() {
			break
		}
	}
	return n, taken
}

// earliest returns the input whose next frame is the earliest, nil if none has
// one.
func (w *worker) earliest() *input {
	var first *input
	for _, in := range w.inputs {
		if in.pending && (first == nil || in.head.Time < first.head.Time) {
			first = in
		}
	}
	return first
}

// take makes a packet of the next frame of an input.
func (w *worker) take(p *capture.Packet, in *input) {
	if in.head.Time < w.clock {
		w.tally.timeBackwards++
	} else {
		w.clock = in.head.Time
	}
	p.Time, p.Clock = w.clock, w.clock
	p.Data, p.WireLen = in.head.Data, in.head.WireLen
	p.Link, p.Iface = in.iface.link, in.index
	w.decoder.Decode(p)
	if w.homeless(p) {
		p.Disposition, p.Payload, p.PayloadLen = capture.DispositionFragment, nil, 0
	}

	w.tally.frames[p.Disposition]++
	w.tally.bytes += uint64(len(p.Data))
	if p.WireLen > len(p.Data) {
		w.tally.snapLengthCut++
	}
}

// wait returns when an empty ring has a block, ctx is done, or the timeout is
// over. Rings whose frames wait for those of others are not waited for.
func (w *worker) wait(timeout time.Duration) error {
	for n, in := range w.inputs {
		w.poller.Watch(n, !in.pending && !in.ended)
	}
	if err := w.poller.Wait(timeout); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	for n, in := range w.inputs {
		if failed := w.poller.Failed(n) != nil; failed || in.down {
			in.examine(failed)
		}
	}
	return nil
}

// ended tells whether no frame can come any more.
func (w *worker) ended() bool {
	for _, in := range w.inputs {
		if !in.ended || in.pending {
			return false
		}
	}
	return true
}

// names lists the interfaces.
func (w *worker) names() string {
	names := make([]string, len(w.inputs))
	for n, in := range w.inputs {
		names[n] = in.iface.name
	}
	return strings.Join(names, ", ")
}

// open takes over the next block of the ring that has a frame, if the kernel
// has handed one over.
func (in *input) open() bool {
	for {
		frames, ready := in.ring.Block()
		if !ready {
			return false
		}
		in.frames, in.holding = frames, true
		if in.advance() {
			return true
		}
		in.release()
	}
}

// advance moves head to the next frame of the block.
func (in *input) advance() bool {
	in.pending = in.frames.Next(&in.head)
	if in.pending {
		in.taken++
	}
	return in.pending
}

// release gives the block back when its frames are delivered.
func (in *input) release() {
	if in.holding && !in.pending {
		in.ring.Release()
		in.holding = false
	}
}

// empty tells whether every frame that the kernel put into the ring was read.
func (in *input) empty() bool {
	return !in.pending && in.ring.Stats().Packets == in.taken
}

// examine looks at the interface after its socket failed, which it does once
// when the interface goes down, and from then on until it is up again. The ring
// of the first worker keeps the state that others see.
func (in *input) examine(failed bool) {
	gone := in.ring.Gone()
	link, err := in.ring.LinkByIndex(in.iface.ifindex)
	down := gone || err != nil || !link.Up

	if in.ring == in.iface.rings[0] {
		if failed {
			in.iface.downs.Add(1)
		}
		in.iface.down.Store(down)
		in.iface.gone.Store(gone)
	}
	in.down = down
	if gone && in.empty() {
		in.ended = true
	}
}
