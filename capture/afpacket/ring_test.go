package afpacket

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/afpacket/internal/netnstest"
)

func TestRingSeesExactlyTheFramesSent(t *testing.T) {
	w := newWire(t)
	source := w.open(t, Options{Workers: 1})
	assert.Equal(t, MethodSingle, source.Steering().Method)
	sender := w.far.NewSender(t, "far", false)

	rng := rand.New(rand.NewPCG(1, 1))
	var frames [][]byte
	for i := range 20000 {
		src, dst := netip.AddrPortFrom(client4, uint16(1024+i)), netip.AddrPortFrom(server4, 80)
		if i%2 == 0 {
			src, dst = netip.AddrPortFrom(client6, uint16(1024+i)), netip.AddrPortFrom(server6, 80)
		}
		var tags [][2]uint16
		switch i % 5 {
		case 1:
			tags = [][2]uint16{{0x8100, 0xb064}} // priority 5, VLAN 100
		case 2:
			tags = [][2]uint16{{0x88a8, 0x3007}, {0x8100, 0x1fff}}
		}
		frames = append(frames, netnstest.TCP(src, dst, bytes.Repeat([]byte{byte(i)}, 4+rng.IntN(1400)), tags...))
	}

	before := time.Now().UnixNano()
	r := start(t, source)
	sender.Send(t, frames...)
	r.awaitPackets(len(frames))
	after := time.Now().UnixNano()
	packets := r.stop()

	require.Equal(t, frames, octets(packets))
	for _, p := range packets {
		require.Equal(t, len(p.Data), p.WireLen)
		require.Equal(t, capture.DispositionTCP, p.Disposition)
		require.True(t, before <= p.Time && p.Time <= after, "the time is that of the frame")
	}
	stats := source.Stats()
	assert.EqualValues(t, len(frames), stats.Received)
	assert.Zero(t, stats.KernelDrops+stats.RingFreezes+stats.SnapLengthCut)
}

func TestTagsAreSeenThoughTheKernelStripsThem(t *testing.T) {
	w := newWire(t)
	r := start(t, w.open(t, Options{Workers: 1}))
	from, to := netip.AddrPortFrom(client4, 40000), netip.AddrPortFrom(server4, 80)
	w.far.NewSender(t, "far", false).Send(t,
		netnstest.TCP(from, to, nil, [2]uint16{0x8100, 0xe064}),
		netnstest.TCP(from, to, nil, [2]uint16{0x88a8, 7}, [2]uint16{0x8100, 100}),
	)
	r.awaitPackets(2)
	packets := r.stop()

	assert.Equal(t, []uint16{100}, packets[0].Wrapping.VLAN[:packets[0].Wrapping.Tags])
	assert.Equal(t, []uint16{7, 100}, packets[1].Wrapping.VLAN[:packets[1].Wrapping.Tags])
	assert.Equal(t, []capture.Encapsulation{capture.EncapsulationQinQ, capture.EncapsulationVLAN},
		packets[1].Wrapping.Layers[:packets[1].Wrapping.Depth])
}

func TestSnapLengthCutsAndCounts(t *testing.T) {
	w := newWire(t)
	source := w.open(t, Options{Workers: 1, SnapLength: MinSnapLength})
	r := start(t, source)
	w.far.NewSender(t, "far", false).Send(t, numbered(1, 1000)[0], numbered(1, 100)[0])
	r.awaitPackets(2)
	packets := r.stop()

	assert.Len(t, packets[0].Data, MinSnapLength)
	assert.Equal(t, 1054, packets[0].WireLen)
	assert.Equal(t, 1000, packets[0].PayloadLen)
	assert.Len(t, packets[1].Data, 154)
	assert.EqualValues(t, 1, source.Stats().SnapLengthCut)
}

func TestFramesFromBeforeOpenAndOfOtherInterfacesDoNotCome(t *testing.T) {
	w := newWire(t)
	netnstest.Veth(t, w.far, "other-far", w.near, "other-near")
	other := w.far.NewSender(t, "other-far", false)
	stray := numbered(1, 99)

	// Another interface is busy all the time.
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				other.Send(t, stray...)
			}
		}
	}()
	sender := w.far.NewSender(t, "far", false)
	sender.Send(t, numbered(1000, 50)...)
	source := w.open(t, Options{Workers: 2})
	r := start(t, source)
	frames := numbered(1000, 60)
	sender.Send(t, frames...)
	r.awaitPackets(len(frames))
	close(stop)
	<-stopped
	assert.Equal(t, frames, octets(r.stop()))
}

func TestCountersBalanceWhenTheRingOverflows(t *testing.T) {
	w := newWire(t)
	source := w.open(t, Options{Workers: 1, RingMiB: 2})
	sender := w.far.NewSender(t, "far", false)

	// The ring fills, since nobody reads it.
	const sent = 5000
	sender.Send(t, numbered(sent, 1400)...)
	r := start(t, source)
	r.await("the ring is read to its end", func() bool {
		return uint64(len(r.packets))+source.Stats().KernelDrops == sent
	})
	r.stop()
	stats := source.Stats()
	assert.EqualValues(t, sent, stats.Received+stats.KernelDrops)
	assert.NotZero(t, stats.KernelDrops)
	assert.NotZero(t, stats.RingFreezes)
	assert.Equal(t, stats, source.Stats(), "reading the counters does not reset them")

	require.NoError(t, source.Close())
	assert.Equal(t, stats, source.Stats(), "the counters outlive the sockets")
}

func TestStopDeliversWhatWasTaken(t *testing.T) {
	for _, workers := range []int{1, 2} {
		w := newWire(t)
		source := w.open(t, Options{Workers: workers})
		frames := numbered(3000, 700)
		r := start(t, source)
		w.far.NewSender(t, "far", false).Send(t, frames...)
		assert.Equal(t, frames, octets(r.stop()), "%d workers", workers)
	}
}

func TestRunIsForOnce(t *testing.T) {
	w := newWire(t)
	source := w.open(t, Options{Workers: 1})
	start(t, source).stop()
	assert.ErrorContains(t, source.Run(t.Context(), nil), "before")
}

func TestIdleRingMovesItsClock(t *testing.T) {
	w := newWire(t)
	source := w.open(t, Options{Workers: 2})
	opened := time.Now().UnixNano()
	r := start(t, source)
	for range 3 {
		r.mu.Lock()
		from := [2]int64{r.clocks[0], r.clocks[1]}
		r.mu.Unlock()
		r.await("both clocks move", func() bool { return r.clocks[0] > from[0] && r.clocks[1] > from[1] })
	}
	r.await("the clocks reach the time of the start", func() bool { return min(r.clocks[0], r.clocks[1]) > opened })
	r.mu.Lock()
	for _, clock := range r.clocks {
		assert.LessOrEqual(t, clock, time.Now().Add(-idleMargin).UnixNano(), "an idle clock keeps its distance")
	}
	r.mu.Unlock()

	// Frames after idleness are not taken for late ones.
	w.far.NewSender(t, "far", false).Send(t, numbered(10, 50)...)
	r.awaitPackets(10)
	r.stop()
	assert.Zero(t, source.Stats().TimeBackwards)
}

func TestOutgoingFramesAreCapturedUnlessIgnored(t *testing.T) {
	for _, workers := range []int{1, 2} {
		for _, ignore := range []bool{false, true} {
			w := newWire(t)
			r := start(t, w.open(t, Options{Workers: workers, IgnoreOutgoing: ignore}))
			out, in := numbered(1, 100)[0], numbered(1, 200)[0]
			w.near.NewSender(t, "near", false).Send(t, out)
			w.far.NewSender(t, "far", false).Send(t, in)
			want := [][]byte{out, in}
			if ignore {
				want = [][]byte{in}
			}
			r.awaitPackets(len(want))
			assert.Equal(t, want, octets(r.stop()), "%d workers, ignore %t", workers, ignore)
		}
	}
}

func TestLoopbackShowsEachFrameOnce(t *testing.T) {
	w := newWire(t)
	r := start(t, w.open(t, Options{Workers: 2, Interfaces: []string{"lo"}}))
	frames := numbered(100, 80)
	w.near.NewSender(t, "lo", false).Send(t, frames...)
	r.awaitPackets(len(frames))
	assert.Equal(t, frames, octets(r.stop()))
}

func TestFramesOfTwoInterfacesAreMergedByTime(t *testing.T) {
	w := newWire(t)
	netnstest.Veth(t, w.far, "far2", w.near, "near2")
	source := w.open(t, Options{Workers: 2, Interfaces: []string{"near", "near2"}})
	one, two := w.far.NewSender(t, "far", false), w.far.NewSender(t, "far2", false)
	r := start(t, source)

	// Requests come from one interface, responses from the other.
	client, server := netip.AddrPortFrom(client4, 40000), netip.AddrPortFrom(server4, 80)
	var frames [][]byte
	for i := range 500 {
		request := netnstest.TCP(client, server, []byte{byte(i), byte(i >> 8), 'q'})
		response := netnstest.TCP(server, client, []byte{byte(i), byte(i >> 8), 's'})
		one.Send(t, request)
		two.Send(t, response)
		frames = append(frames, request, response)
	}
	r.awaitPackets(len(frames))
	packets := r.stop()
	require.Equal(t, frames, octets(packets))
	for i, p := range packets {
		require.EqualValues(t, i%2, p.Iface)
		require.Equal(t, packets[0].worker, p.worker)
	}
	assert.Zero(t, source.Stats().TimeBackwards)
}

func TestNothingIsSent(t *testing.T) {
	w := newWire(t)
	far := start(t, wire{near: w.far}.open(t, Options{Workers: 1, Interfaces: []string{"far"}, IgnoreOutgoing: true}))
	r := start(t, w.open(t, Options{Workers: 2}))
	w.far.NewSender(t, "far", false).Send(t, numbered(100, 100)...)
	r.awaitPackets(100)
	r.stop()
	assert.Empty(t, far.stop(), "the near end sent something")
}

func TestStepDoesNotAllocate(t *testing.T) {
	w := newWire(t)
	source := w.open(t, Options{Workers: 1})
	frames := numbered(batchSize, 400)
	frames[7] = netnstest.TCP(netip.AddrPortFrom(client6, 1), netip.AddrPortFrom(server6, 2), nil, [2]uint16{0x8100, 7})
	sender := w.far.NewSender(t, "far", false)
	for range 200 {
		sender.Send(t, frames...)
	}
	worker := source.workers[0]
	packets := 0
	handle := func(_ int, b capture.Batch) { packets += len(b.Packets) }
	assert.Zero(t, testing.AllocsPerRun(100, func() { worker.step(handle) }))
	assert.Greater(t, packets, 100*batchSize/2, "the ring was empty")
}
