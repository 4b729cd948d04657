package afpacket

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/afpacket/internal/netnstest"
)

// patience is how long a test waits for something that should happen at once.
const patience = 20 * time.Second

// wire is a virtual cable: frames sent on "far" arrive at "near", where the
// capture is.
type wire struct {
	far, near *netnstest.Namespace
}

func newWire(t testing.TB) wire {
	t.Helper()
	w := wire{far: netnstest.New(t), near: netnstest.New(t)}
	netnstest.Veth(t, w.far, "far", w.near, "near")
	return w
}

// open opens a source at the near end.
func (w wire) open(t testing.TB, o Options) *Source {
	t.Helper()
	s, err := w.tryOpen(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func (w wire) tryOpen(o Options) (s *Source, err error) {
	if o.Interfaces == nil {
		o.Interfaces = []string{"near"}
	}
	w.near.Do(func() { s, err = Open(o) })
	return s, err
}

// seen is a packet that outlives its batch.
type seen struct {
	capture.Packet
	worker int
}

// recorder is a handler that keeps everything and checks what holds for every
// batch.
type recorder struct {
	t  testing.TB
	mu sync.Mutex

	packets []seen
	clocks  map[int]int64 // by worker
	beats   int           // empty batches
	changed chan struct{} // has room for one
}

func newRecorder(t testing.TB) *recorder {
	return &recorder{t: t, clocks: map[int]int64{}, changed: make(chan struct{}, 1)}
}

func (r *recorder) handle(worker int, b capture.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clock := r.clocks[worker]
	for _, p := range b.Packets {
		if p.Clock < clock || p.Time != p.Clock {
			r.t.Errorf("packet of time %d and clock %d after clock %d", p.Time, p.Clock, clock)
		}
		clock = p.Clock
		p.Data = append([]byte(nil), p.Data...)
		p.Payload = append([]byte(nil), p.Payload...)
		r.packets = append(r.packets, seen{p, worker})
	}
	if b.Clock < clock {
		r.t.Errorf("batch of clock %d after clock %d", b.Clock, clock)
	}
	r.clocks[worker] = b.Clock
	if len(b.Packets) == 0 {
		r.beats++
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// await returns when done, which is called with the recorder locked, is true.
func (r *recorder) await(what string, done func() bool) {
	r.t.Helper()
	limit := time.After(patience)
	for {
		r.mu.Lock()
		ok := done()
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-r.changed:
		case <-limit:
			require.FailNow(r.t, "it does not happen: "+what)
		}
	}
}

func (r *recorder) awaitPackets(n int) {
	r.t.Helper()
	r.await("packets come", func() bool { return len(r.packets) >= n })
}

// run is a source at work.
type run struct {
	*recorder
	source *Source
	cancel context.CancelFunc
	done   chan error
}

// start runs a source and records what it delivers.
func start(t testing.TB, s *Source) *run {
	t.Helper()
	r := &run{recorder: newRecorder(t), source: s, done: make(chan error, 1)}
	r.start(r.handle)
	return r
}

func (r *run) start(h capture.Handler) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.t.Cleanup(cancel)
	go func() { r.done <- r.source.Run(ctx, h) }()
}

// wait waits for Run to return.
func (r *run) wait() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		require.FailNow(r.t, "Run does not return")
		return nil
	}
}

// stop ends the capture in order, and checks that the books balance.
func (r *run) stop() []seen {
	r.t.Helper()
	r.cancel()
	require.NoError(r.t, r.wait())
	stats := r.source.Stats()
	var sum uint64
	for _, n := range stats.Frames {
		sum += n
	}
	assert.Equal(r.t, stats.Received, sum)
	assert.Len(r.t, r.packets, int(stats.Received))
	return r.packets
}

var (
	client4 = netip.MustParseAddr("198.51.100.7")
	server4 = netip.MustParseAddr("192.0.2.1")
	client6 = netip.MustParseAddr("2001:db8::7")
	server6 = netip.MustParseAddr("2001:db8:1::1")
)

// numbered builds n frames of a connection that carry their number.
func numbered(n, size int) [][]byte {
	frames := make([][]byte, n)
	for i := range frames {
		frames[i] = netnstest.TCP(netip.AddrPortFrom(client4, 40000), netip.AddrPortFrom(server4, 80),
			binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(i))[:size])
	}
	return frames
}

func octets(packets []seen) [][]byte {
	all := make([][]byte, len(packets))
	for i := range packets {
		all[i] = packets[i].Data
	}
	return all
}
