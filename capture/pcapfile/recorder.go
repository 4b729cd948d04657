package pcapfile

import (
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"offpath/capture"
)

// RecorderOptions say what a Recorder records.
type RecorderOptions struct {
	// Workers is the number of workers that call Batch, 1 to capture.Shards.
	Workers int
	// Interfaces are those of the source, by Packet.Iface. Frames of one that
	// is not listed are dropped.
	Interfaces []Interface
	// QueueMiB bounds the frames that wait to be written, in MiB; 0 means 64.
	QueueMiB int
}

func (o *RecorderOptions) validate() error {
	switch {
	case o.Workers < 1 || o.Workers > capture.Shards:
		return fmt.Errorf("workers must be 1 to %d, not %d", capture.Shards, o.Workers)
	case len(o.Interfaces) < 1 || len(o.Interfaces) > maxInterfaces:
		return fmt.Errorf("interfaces must be 1 to %d, not %d", maxInterfaces, len(o.Interfaces))
	case o.QueueMiB < 0:
		return fmt.Errorf("queue must be 0 MiB or more, not %d", o.QueueMiB)
	}
	return nil
}

const (
	defaultQueueMiB = 64
	// maxSpare and maxSpareOctets bound the runs that are kept to be used again.
	maxSpare       = 64
	maxSpareOctets = 4 << 20
)

// Recorder writes the frames that workers see as one pcapng with nanoseconds.
// Reading it back gives every flow the same packets in the same order: frames
// are merged by clock, those of equal clock by worker.
//
// Batch is called by each worker with what it got; it copies the frames and
// never waits. The recorder's own goroutine writes what lies before the lowest
// clock of all workers, so each worker has to call Batch now and then also
// when it has no packets. Frames that wait for that, or for the disk, are
// bounded by QueueMiB; what doesn't fit is dropped, a batch at a time, and
// counted.
type Recorder struct {
	links []capture.LinkType // by interface
	limit int                // octets that may be queued
	ended chan struct{}      // closed when the goroutine has returned

	mu      sync.Mutex
	changed sync.Cond      // something for the goroutine to do
	arrived []*recordedRun // not yet seen by the goroutine
	clocks  []int64        // by worker
	queued  int            // octets of all runs accepted and not yet written
	spare   []*recordedRun // to be used again
	closed  bool           // no more runs are accepted
	err     error          // of the file
	stats   RecorderStats

	// Owned by the goroutine.
	w       *Writer
	waiting [][]*recordedRun // by worker, in order of arrival
}

// RecorderStats are a recorder's books. Frames given to Batch = Written +
// Dropped + those still waiting.
type RecorderStats struct {
	Written uint64 // frames handed to the file
	Dropped uint64 // frames that found the queue full, the file failed or the interface unknown
}

// recordedRun is a copy of one batch's frames.
type recordedRun struct {
	worker int
	octets []byte
	frames []recordedFrame
	next   int // the first of frames that is not written
	weight int // what it takes of the queue, in octets
}

type recordedFrame struct {
	time, clock int64
	end         int // in octets; a frame begins where the one before it ends
	wireLen     int
	iface       int
}

// recordedFrameSize is what a frame costs beside its octets.
const recordedFrameSize = 40

// NewRecorder begins a recording on w, which remains the caller's to close
// after the recorder.
func NewRecorder(w io.Writer, opts RecorderOptions) (*Recorder, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if opts.QueueMiB == 0 {
		opts.QueueMiB = defaultQueueMiB
	}
	file, err := NewWriter(w, PcapNG, opts.Interfaces[0])
	if err != nil {
		return nil, err
	}
	r := &Recorder{
		limit:   opts.QueueMiB << 20,
		ended:   make(chan struct{}),
		clocks:  make([]int64, opts.Workers),
		w:       file,
		waiting: make([][]*recordedRun, opts.Workers),
	}
	for i := range r.clocks {
		r.clocks[i] = math.MinInt64
	}
	r.changed.L = &r.mu
	for i, in := range opts.Interfaces {
		r.links = append(r.links, in.Link)
		if i > 0 {
			if _, err := file.AddInterface(in); err != nil {
				return nil, err
			}
		}
	}
	if err := file.Flush(); err != nil {
		return nil, err
	}
	go r.run()
	return r, nil
}

// Batch records a batch of the given worker. It may be called by different
// workers at the same time.
func (r *Recorder) Batch(worker int, b capture.Batch) {
	run := r.accept(worker, b)
	if run == nil {
		return
	}
	for i := range b.Packets {
		p := &b.Packets[i]
		if int(p.Iface) >= len(r.links) || p.Time < 0 || len(p.Data) > maxRecord/2 {
			continue // nothing that a file could hold
		}
		run.octets = append(run.octets, p.Data...)
		run.frames = append(run.frames, recordedFrame{
			time: p.Time, clock: p.Clock, end: len(run.octets), iface: int(p.Iface),
			wireLen: p.WireLen,
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clocks[worker] = max(r.clocks[worker], b.Clock)
	if r.closed { // meanwhile
		r.stats.Dropped += uint64(len(b.Packets))
		return
	}
	r.stats.Dropped += uint64(len(b.Packets) - len(run.frames))
	r.arrived = append(r.arrived, run)
	r.changed.Signal()
}

// accept returns a run with room for the batch's frames, which then counts in
// the queue, or nil if there is nothing to record: the clock has moved, and
// frames without room are dropped.
func (r *Recorder) accept(worker int, b capture.Batch) *recordedRun {
	octets := 0
	for i := range b.Packets {
		octets += len(b.Packets[i].Data)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	weight := octets + recordedFrameSize*len(b.Packets)
	full := r.queued+weight > r.limit
	if full || r.closed || r.err != nil {
		r.stats.Dropped += uint64(len(b.Packets))
	}
	if full || r.closed || r.err != nil || len(b.Packets) == 0 {
		r.clocks[worker] = max(r.clocks[worker], b.Clock)
		r.changed.Signal()
		return nil
	}
	run := &recordedRun{}
	if n := len(r.spare); n > 0 {
		run, r.spare = r.spare[n-1], r.spare[:n-1]
	}
	run.worker, run.next, run.weight = worker, 0, weight
	run.octets = slices.Grow(run.octets[:0], octets)
	run.frames = slices.Grow(run.frames[:0], len(b.Packets))
	r.queued += weight
	return run
}

// Stats may be called at any time from any goroutine.
func (r *Recorder) Stats() RecorderStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Close writes what is queued, whatever the workers' clocks, and returns the
// first error of the file. Batches that come later are dropped and counted.
func (r *Recorder) Close() error {
	r.mu.Lock()
	r.closed = true
	r.changed.Signal()
	r.mu.Unlock()
	<-r.ended
	return r.err
}

// run is the writing goroutine.
func (r *Recorder) run() {
	defer close(r.ended)
	horizon := int64(math.MinInt64)
	for {
		r.mu.Lock()
		for len(r.arrived) == 0 && slices.Min(r.clocks) <= horizon && !r.closed {
			r.changed.Wait()
		}
		arrived, closed := r.arrived, r.closed
		r.arrived = nil
		horizon = slices.Min(r.clocks)
		failed := r.err
		r.mu.Unlock()

		for _, run := range arrived {
			r.waiting[run.worker] = append(r.waiting[run.worker], run)
		}
		if closed {
			horizon = math.MaxInt64
		}
		if failed == nil {
			written, err := r.merge(horizon, closed)
			if err == nil {
				err = r.w.Flush()
			}
			r.settle(written, err)
			failed = err
		}
		if failed != nil {
			r.discard()
		}
		if closed {
			return
		}
	}
}

// merge writes the waiting frames whose clock is below horizon, or all of them.
func (r *Recorder) merge(horizon int64, all bool) (written uint64, err error) {
	for {
		var first *recordedFrame
		worker := 0
		for i, runs := range r.waiting {
			for len(runs) > 0 && runs[0].next == len(runs[0].frames) {
				r.release(runs[0])
				runs = runs[1:]
				r.waiting[i] = runs
			}
			if len(runs) == 0 {
				continue
			}
			if f := &runs[0].frames[runs[0].next]; first == nil || f.clock < first.clock {
				first, worker = f, i
			}
		}
		if first == nil || !all && first.clock >= horizon {
			return written, nil
		}
		run := r.waiting[worker][0]
		start := 0
		if run.next > 0 {
			start = run.frames[run.next-1].end
		}
		if err := r.w.WriteInterfacePacket(first.iface, first.time, run.octets[start:first.end], first.wireLen); err != nil {
			return written, err
		}
		run.next++
		written++
	}
}

// settle enters what merge did into the books.
func (r *Recorder) settle(written uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Written += written
	if err != nil {
		r.err = fmt.Errorf("write recording: %w", err)
	}
}

// discard drops all that waits, after the file failed.
func (r *Recorder) discard() {
	for i, runs := range r.waiting {
		for _, run := range runs {
			r.mu.Lock()
			r.stats.Dropped += uint64(len(run.frames) - run.next)
			r.mu.Unlock()
			r.release(run)
		}
		r.waiting[i] = nil
	}
}

// release takes a run out of the queue.
func (r *Recorder) release(run *recordedRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queued -= run.weight
	if len(r.spare) < maxSpare && cap(run.octets) <= maxSpareOctets {
		r.spare = append(r.spare, run)
	}
}
