package afpacket

import (
	"sync"
	"sync/atomic"

	"offpath/capture"
	"offpath/capture/afpacket/internal/tpacket"
	"offpath/capture/decode"
)

const (
	// inboxLimit bounds the octets that wait for a worker, those that it has
	// taken from its inbox and not delivered yet among them.
	inboxLimit = 16 << 20

	// handOverDelay is how long a packet waits for the clock of its worker to
	// reach it: the worker's own frames of that time are handed over by the
	// kernel until then.
	handOverDelay = int64(2 * tpacket.RetireAfter)
)

// parcel is a copy of packets that one worker has read for another. The
// packets' slices are nil; their octets stand one after the other, Data before
// Payload.
type parcel struct {
	packets []capture.Packet
	sizes   [][2]int // octets of Data and of Payload
	octets  []byte
}

var parcels = sync.Pool{New: func() any { return new(parcel) }}

func (c *parcel) add(p *capture.Packet) {
	c.sizes = append(c.sizes, [2]int{len(p.Data), len(p.Payload)})
	c.octets = append(append(c.octets, p.Data...), p.Payload...)
	c.packets = append(c.packets, *p)
	last := &c.packets[len(c.packets)-1]
	last.Data, last.Payload = nil, nil
}

func (c *parcel) recycle() {
	c.packets, c.sizes, c.octets = c.packets[:0], c.sizes[:0], c.octets[:0]
	parcels.Put(c)
}

// inbox is where a worker gets parcels, in the order in which they came.
type inbox struct {
	filled  atomic.Bool
	dropped atomic.Uint64 // packets that found it full

	mu      sync.Mutex
	arrived []*parcel
	octets  int // of these, and of those taken out that were not delivered yet
}

func (b *inbox) put(c *parcel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.octets+len(c.octets) > inboxLimit {
		b.dropped.Add(uint64(len(c.packets)))
		c.recycle()
		return
	}
	b.octets += len(c.octets)
	b.arrived = append(b.arrived, c)
	b.filled.Store(true)
}

// empty moves what has arrived to the end of list.
func (b *inbox) empty(list []*parcel) []*parcel {
	if !b.filled.Load() {
		return list
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list = append(list, b.arrived...)
	clear(b.arrived)
	b.arrived = b.arrived[:0]
	b.filled.Store(false)
	return list
}

// delivered makes room for another parcel.
func (b *inbox) delivered(c *parcel) {
	b.mu.Lock()
	b.octets -= len(c.octets)
	b.mu.Unlock()
	c.recycle()
}

// handOver keeps a copy of a packet that belongs to another worker, for send to
// deliver. It returns false if the packet stays here.
func (w *worker) handOver(p *capture.Packet) bool {
	if len(w.peers) < 2 || p.Disposition != capture.DispositionTCP || w.method == MethodHash && !inTunnel(p) {
		return false
	}
	owner := int(decode.Shard(p.Src, p.Dst, p.SrcPort, p.DstPort)) % len(w.peers)
	if owner == w.index {
		return false
	}
	if w.outgoing[owner] == nil {
		w.outgoing[owner] = parcels.Get().(*parcel)
	}
	w.outgoing[owner].add(p)
	return true
}

// homeless tells of a datagram put together from fragments that the kernel's
// flow hash has brought here, while the other packets of its connection go who
// knows where.
func (w *worker) homeless(p *capture.Packet) bool {
	whole := w.decoder.Fragments().Whole
	together := whole != w.whole
	w.whole = whole
	return together && w.method == MethodHash && p.Disposition == capture.DispositionTCP && !inTunnel(p)
}

func inTunnel(p *capture.Packet) bool { return p.Wrapping.Depth > p.Wrapping.Tags }

// send gives the parcels of a batch to their workers.
func (w *worker) send() {
	for owner, c := range w.outgoing {
		if c != nil {
			w.peers[owner].inbox.put(c)
			w.outgoing[owner] = nil
		}
	}
}

// receive delivers packets that others have read for this worker and whose time
// has come, or all. Their times become the clock of this worker where that is
// later. It returns false if there are none.
func (w *worker) receive(h capture.Handler, now int64, all bool) bool {
	w.incoming = w.inbox.empty(w.incoming)
	if len(w.incoming) == 0 {
		return false
	}
	c := w.incoming[0]
	n := 0
	for n < batchSize && w.opened < len(c.packets) {
		p := &w.packets[n]
		*p = c.packets[w.opened]
		if !all && p.Time > w.clock && now-p.Time < handOverDelay {
			break
		}
		w.clock = max(w.clock, p.Time)
		p.Time, p.Clock = w.clock, w.clock
		data, payload := c.sizes[w.opened][0], c.sizes[w.opened][1]
		p.Data = c.octets[w.unpacked:][:data:data]
		p.Payload = c.octets[w.unpacked+data:][:payload:payload]
		w.unpacked += data + payload
		w.opened++
		n++
	}
	if n == 0 {
		return false
	}
	h(w.index, capture.Batch{Packets: w.packets[:n], Clock: w.clock})
	if w.opened == len(c.packets) {
		w.inbox.delivered(c)
		w.incoming = w.incoming[:copy(w.incoming, w.incoming[1:])]
		w.opened, w.unpacked = 0, 0
	}
	return true
}
