package afpacket

import (
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/afpacket/internal/netnstest"
)

// BenchmarkRing sends small API traffic over a virtual cable as fast as one
// core can, and captures it: ring, merge and decoder, with a handler that does
// nothing. The sender's core also runs the kernel's receive path.
//
//	kpps           frames a second; the sender is the limit while drops is 0
//	drops          frames lost in the ring, of all that were sent
//	reader-ns/pkt  processor time of the workers
func BenchmarkRing(b *testing.B) {
	benchmarks := []struct {
		name    string
		options Options
	}{
		{"one worker", Options{Workers: 1, RingMiB: 64}},
		{"two workers by eBPF", Options{Workers: 2, RingMiB: 64}},
		{"two workers by hash", Options{Workers: 2, RingMiB: 64, HashSteering: true}},
	}
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) { benchmarkRing(b, bm.options) })
	}
}

func benchmarkRing(b *testing.B, o Options) {
	w := newWire(b)
	source := w.open(b, o)
	sender := w.far.NewSender(b, "far", true)

	// Request, response, and an acknowledgement of 256 connections.
	var frames [][]byte
	octets := 0
	for i := range 256 {
		client, server := netip.AddrPortFrom(client4, uint16(20000+i)), netip.AddrPortFrom(server4, 80)
		frames = append(frames,
			netnstest.TCP(client, server, make([]byte, 408)),
			netnstest.TCP(server, client, make([]byte, 800)),
			netnstest.TCP(client, server, nil),
		)
	}
	for _, f := range frames {
		octets += len(f)
	}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := startQuiet(b, source)
	b.SetBytes(int64(octets))
	all, own := cpu(b, syscall.RUSAGE_SELF), cpu(b, syscall.RUSAGE_THREAD)
	b.ReportAllocs()
	sent := 0
	for b.Loop() {
		sender.Send(b, frames...)
		sent += len(frames)
	}
	seconds := b.Elapsed().Seconds()
	own = cpu(b, syscall.RUSAGE_THREAD) - own
	r.cancel()
	require.NoError(b, r.wait())
	all = cpu(b, syscall.RUSAGE_SELF) - all

	stats := source.Stats()
	require.EqualValues(b, sent, stats.Received+stats.KernelDrops)
	b.ReportMetric(float64(sent)/seconds/1e3, "kpps")
	b.ReportMetric(float64(stats.KernelDrops), "drops")
	b.ReportMetric(float64(all-own)/float64(stats.Received), "reader-ns/pkt")
}

// startQuiet runs a source whose packets nobody looks at.
func startQuiet(b *testing.B, s *Source) *run {
	r := &run{recorder: newRecorder(b), source: s, done: make(chan error, 1)}
	r.start(func(int, capture.Batch) {})
	return r
}

// cpu is the processor time that the process or the calling thread has used,
// in ns.
func cpu(b *testing.B, who int) int64 {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(who, &usage))
	return usage.Utime.Nano() + usage.Stime.Nano()
}
