package bench_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"offpath/capture"
	"offpath/capture/afpacket"
	"offpath/cmd/lab/internal/bench"
	"offpath/cmd/lab/internal/netns"
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/pipeline"
)

// BenchmarkRings is the small API calls from the kernel's rings to transactions,
// as fast as the workers go: the rings are filled first, and nothing is sent while
// they are emptied. One ring against two says what a second worker gains.
func BenchmarkRings(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root, for a network namespace")
	}
	shape := bench.API
	shape.Transactions /= 2
	var frames [][]byte
	octets := 0
	transactions, err := bench.Generate(shape, func(_ int64, frame []byte) error {
		frames = append(frames, append([]byte(nil), frame...))
		octets += len(frame)
		return nil
	})
	require.NoError(b, err)
	cable := newCable(b)
	for i, name := range []string{"one", "two"} {
		rings := i + 1
		b.Run(name, func(b *testing.B) {
			var sum spent
			for b.Loop() {
				source := cable.open(b, rings)
				cable.send(b, frames)
				made, took := empty(b, source, rings, len(frames))
				require.Equal(b, transactions, made)
				sum.wall += took.wall
				sum.processor += took.processor
				require.Zero(b, source.Stats().KernelDrops)
				require.NoError(b, source.Close())
			}
			each := float64(b.N * transactions)
			b.ReportMetric(float64(sum.wall)/float64(b.N), "ns/op")
			b.ReportMetric(float64(b.N*octets)/1e6/sum.wall.Seconds(), "MB/s")
			b.ReportMetric(float64(sum.processor)/each, "cpu-ns/tx")
			b.ReportMetric(each/sum.wall.Seconds(), "tx/s")
		})
	}
}

// spent is time and processor time.
type spent struct{ wall, processor time.Duration }

// empty reads the rings until it has so many frames, and returns how many
// transactions there were and what the frames took: not what follows, when the source
// waits for those that the kernel may still hold.
func empty(b *testing.B, source *afpacket.Source, rings, frames int) (transactions int, took spent) {
	var seen, made atomic.Int64
	p, err := pipeline.New(pipeline.Config{Workers: rings, Content: content.Config{Key: make([]byte, 32)}},
		func(_ int, txs []*reassembly.Transaction, _ int64) {
			made.Add(int64(len(txs)))
			reassembly.Release(txs)
		})
	require.NoError(b, err)
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	before, start := processorTime(), time.Now()
	require.NoError(b, source.Run(ctx, func(worker int, batch capture.Batch) {
		p.Handle(worker, batch)
		if seen.Add(int64(len(batch.Packets))) == int64(frames) && len(batch.Packets) > 0 {
			took = spent{time.Since(start), processorTime() - before}
			cancel()
		}
	}))
	p.Close()
	require.EqualValues(b, frames, seen.Load())
	return int(made.Load()), took
}

// cable is a virtual cable in a namespace of its own: what is sent at its far end
// can be captured at the near one.
type cable struct {
	space *netns.Space
	far   int // a packet socket
}

func newCable(b *testing.B) *cable {
	name := fmt.Sprintf("offpath-bench-%d", os.Getpid())
	ip := func(args ...string) {
		out, err := exec.Command("ip", args...).CombinedOutput()
		require.NoError(b, err, "ip %v: %s", args, out)
	}
	ip("netns", "add", name)
	b.Cleanup(func() { ip("netns", "del", name) })
	space, err := netns.Open(name, 1)
	require.NoError(b, err)
	b.Cleanup(space.Close)
	c := &cable{space: space}
	require.NoError(b, space.Sysctl("ipv6/conf/default/disable_ipv6", "1"))
	ip("-n", name, "link", "add", "near", "type", "veth", "peer", "name", "far")
	ip("-n", name, "link", "set", "near", "up")
	ip("-n", name, "link", "set", "far", "up")
	require.Eventually(b, func() bool { return c.runs("far") }, 5*time.Second, 10*time.Millisecond, "until then it throws away what is sent")
	require.NoError(b, space.Do(func() error {
		far, err := net.InterfaceByName("far")
		if err != nil {
			return err
		}
		if c.far, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(c.far, &unix.SockaddrLinklayer{Ifindex: far.Index})
	}))
	b.Cleanup(func() { require.NoError(b, unix.Close(c.far)) })
	return c
}

// runs reports whether the kernel has made an interface ready.
func (c *cable) runs(name string) (running bool) {
	err := c.space.Do(func() error {
		i, err := net.InterfaceByName(name)
		running = err == nil && i.Flags&net.FlagRunning != 0
		return err
	})
	return err == nil && running
}

func (c *cable) open(b *testing.B, rings int) (source *afpacket.Source) {
	require.NoError(b, c.space.Do(func() (err error) {
		source, err = afpacket.Open(afpacket.Options{Interfaces: []string{"near"}, Workers: rings, RingMiB: 256})
		return err
	}))
	return source
}

func (c *cable) send(b *testing.B, frames [][]byte) {
	for _, f := range frames {
		_, err := unix.Write(c.far, f)
		require.NoError(b, err)
	}
}

// processorTime is what the process has used.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
