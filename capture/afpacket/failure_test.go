package afpacket

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture/afpacket/internal/netnstest"
)

func (r *run) awaitInterface(what string, n int, done func(Interface) bool) {
	r.t.Helper()
	// Idle workers beat, which wakes the recorder.
	r.await(what, func() bool { return done(r.source.Interfaces()[n]) })
}

func TestCaptureGoesOnAfterTheInterfaceWasDown(t *testing.T) {
	w := newWire(t)
	source := w.open(t, Options{Workers: 3})
	requireEBPF(t, source)
	r := start(t, source)
	frames := mirrored(rand.New(rand.NewPCG(9, 10)), 200, true)
	w.far.NewSender(t, "far", false).Send(t, frames...)
	r.awaitPackets(len(frames))

	w.near.IP(t, "link", "set", "near", "down")
	r.awaitInterface("the interface is seen to be down", 0, func(i Interface) bool { return !i.Up })
	w.near.IP(t, "link", "set", "near", "up")
	r.awaitInterface("the interface is seen to be up", 0, func(i Interface) bool { return i.Up })
	w.far.AwaitLink(t, "far")

	w.far.NewSender(t, "far", false).Send(t, frames...)
	r.awaitPackets(2 * len(frames))
	packets := r.stop()
	assert.Len(t, packets, 2*len(frames))
	requireShards(t, packets, 3)
	state := source.Interfaces()[0]
	assert.EqualValues(t, 1, state.Downs)
	assert.False(t, state.Gone)
}

func TestRunEndsWhenTheInterfaceIsRemoved(t *testing.T) {
	for _, workers := range []int{1, 2} {
		w := newWire(t)
		source := w.open(t, Options{Workers: workers})
		r := start(t, source)
		frames := numbered(500, 100)
		w.far.NewSender(t, "far", false).Send(t, frames...)
		w.near.IP(t, "link", "del", "near")
		err := r.wait()
		assert.ErrorIs(t, err, ErrInterfaceGone)
		assert.ErrorContains(t, err, "capture on near: ")
		assert.Equal(t, frames, octets(r.packets), "what came before is delivered")
		assert.True(t, source.Interfaces()[0].Gone)
	}
}

func TestOtherInterfacesGoOnWhenOneIsRemoved(t *testing.T) {
	w := newWire(t)
	netnstest.Veth(t, w.far, "far2", w.near, "near2")
	source := w.open(t, Options{Workers: 2, Interfaces: []string{"near", "near2"}})
	r := start(t, source)
	w.near.IP(t, "link", "del", "near")
	r.awaitInterface("the interface is seen to be gone", 0, func(i Interface) bool { return i.Gone && !i.Up })
	sender := w.far.NewSender(t, "far2", false)
	frames := numbered(100, 100)
	sender.Send(t, frames...)
	r.awaitPackets(len(frames))
	assert.True(t, source.Interfaces()[1].Up)
	assert.Equal(t, frames, octets(r.stop()))
}

// A worker whose interface is down must wait, not spin.
func TestWorkersOfADownInterfaceDoNotSpin(t *testing.T) {
	w := newWire(t)
	r := start(t, w.open(t, Options{Workers: 2}))
	w.near.IP(t, "link", "set", "near", "down")
	r.awaitInterface("the interface is seen to be down", 0, func(i Interface) bool { return !i.Up })
	r.mu.Lock()
	beats, cpu := r.beats, processTime(t)
	r.mu.Unlock()
	r.await("some heartbeats", func() bool { return r.beats >= beats+20 })
	// 20 beats of two workers take half a second; a spinning worker would take
	// as much of a processor.
	assert.Less(t, processTime(t)-cpu, 200*time.Millisecond)
	r.stop()
}

// processTime is the processor time that this process has used.
func processTime(t *testing.T) time.Duration {
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func TestOpenAndCloseLeakNoDescriptors(t *testing.T) {
	w := newWire(t)
	before := descriptors()
	for _, o := range []Options{
		{Workers: 2, RingMiB: 2},
		{Workers: 1, RingMiB: 2},
		{Workers: 2, RingMiB: 2, HashSteering: true},
	} {
		source, err := w.tryOpen(o)
		require.NoError(t, err)
		require.NoError(t, source.Close())
		require.NoError(t, source.Close(), "closing again is harmless")
		require.ErrorContains(t, source.Run(t.Context(), nil), "closed")
	}
	_, err := w.tryOpen(Options{Interfaces: []string{"near", "nope"}, RingMiB: 2})
	require.Error(t, err)
	assert.ElementsMatch(t, before, descriptors())
}
