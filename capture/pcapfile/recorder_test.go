package pcapfile

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/decode"
)

// liveTraffic makes what live workers would see: for each worker, batches of
// packets whose times don't go back, of two interfaces, some with a VLAN tag.
func liveTraffic(workers, packets int) [][]capture.Batch {
	rng := rand.New(rand.NewPCG(7, 7))
	all := make([][]capture.Batch, workers)
	var now int64 = 1_700_000_000 * second
	for i := range packets {
		now += rng.Int64N(3) // often the same time at several workers
		p := capture.Packet{Time: now, Clock: now, Data: apiFrame(rng.IntN(2000), i%2 == 1), Link: capture.LinkEthernet}
		p.WireLen = len(p.Data)
		switch rng.IntN(5) {
		case 0:
			p.Iface, p.Link, p.Data = 1, capture.LinkRaw, p.Data[14:]
			p.WireLen = len(p.Data)
		case 1:
			p.Data = slices.Insert(p.Data, 12, 0x81, 0x00, byte(rng.IntN(16)), byte(rng.IntN(256))) // IEEE 802.1Q
			p.WireLen = len(p.Data)
		case 2:
			p.Data = p.Data[:100] // cut by the snap length
		case 3:
			p.Data = p.Data[:14+rng.IntN(50)] // often no TCP
		}
		new(decode.Decoder).Decode(&p)
		worker := int(p.Shard) % workers
		batches := &all[worker]
		if len(*batches) == 0 || rng.IntN(50) == 0 {
			*batches = append(*batches, capture.Batch{})
		}
		b := &(*batches)[len(*batches)-1]
		b.Packets = append(b.Packets, p)
		b.Clock = now
	}
	return all
}

// asReplayed is what a packet looks like when it comes from a recording.
func asReplayed(p capture.Packet) seen {
	if p.Disposition != capture.DispositionTCP {
		p = capture.Packet{Time: p.Time, Clock: p.Clock, Data: p.Data, WireLen: p.WireLen, Link: p.Link, Iface: p.Iface,
			Shard: p.Shard, Disposition: p.Disposition, Wrapping: p.Wrapping}
	}
	p.Data, p.Payload = bytes.Clone(p.Data), bytes.Clone(p.Payload)
	return seen{0, p}
}

func TestReplayOfARecordingGivesWhatTheWorkersSaw(t *testing.T) {
	const workers, packets = 3, 5000
	traffic := liveTraffic(workers, packets)
	var file bytes.Buffer
	r, err := NewRecorder(&file, RecorderOptions{
		Workers: workers, Interfaces: []Interface{{"eth0", capture.LinkEthernet}, {"tun0", capture.LinkRaw}},
	})
	require.NoError(t, err)
	var group sync.WaitGroup
	for worker, batches := range traffic {
		group.Go(func() {
			for _, b := range batches {
				// The source's buffers are used again after the call.
				mine := capture.Batch{Packets: slices.Clone(b.Packets), Clock: b.Clock}
				for i := range mine.Packets {
					mine.Packets[i].Data = bytes.Clone(mine.Packets[i].Data)
				}
				r.Batch(worker, mine)
				for _, p := range mine.Packets {
					clear(p.Data)
				}
			}
		})
	}
	group.Wait()
	require.NoError(t, r.Close())
	assert.Equal(t, RecorderStats{Written: packets}, r.Stats())

	got, s, err := read(t, Options{}, write(t, t.TempDir(), "recording", file.Bytes()))
	require.NoError(t, err)
	assert.Zero(t, s.Stats().TimeBackwards)
	var want, replayed [capture.Shards][]seen
	for _, batches := range traffic {
		for _, b := range batches {
			for _, p := range b.Packets {
				want[p.Shard] = append(want[p.Shard], asReplayed(p))
			}
		}
	}
	for _, p := range got {
		replayed[p.Shard] = append(replayed[p.Shard], p)
	}
	for shard := range want {
		requireSame(t, want[shard], replayed[shard])
	}
}

// gate is a file whose writes wait until it is opened.
type gate struct {
	open chan struct{}
	bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.Buffer.Write(p)
}

func packet(time int64) capture.Packet {
	data := apiFrame(0, false)
	return capture.Packet{Time: time, Clock: time, Data: data, WireLen: len(data), Link: capture.LinkEthernet}
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	file := &gate{open: make(chan struct{})}
	first := make(chan struct{})
	go func() { // the header
		file.open <- struct{}{}
		close(first)
	}()
	r, err := NewRecorder(struct{ *gate }{file}, RecorderOptions{Workers: 2, Interfaces: []Interface{{"eth0", capture.LinkEthernet}}, QueueMiB: 1})
	require.NoError(t, err)
	<-first
	// Worker 1 has said nothing yet, so nothing may be written: 1 MiB fills up.
	batch := capture.Batch{Packets: slices.Repeat([]capture.Packet{packet(5)}, 100), Clock: 5}
	const batches = 50
	for range batches {
		r.Batch(0, batch)
	}
	dropped := r.Stats().Dropped
	assert.Positive(t, dropped)
	assert.Zero(t, dropped%100, "whole batches")
	close(file.open)
	r.Batch(1, capture.Batch{Clock: 10})
	require.NoError(t, r.Close())
	assert.Equal(t, RecorderStats{Written: batches*100 - dropped, Dropped: dropped}, r.Stats())
	assert.Greater(t, batches*100-dropped, uint64(1<<20/600), "the queue was used")

	r.Batch(0, batch)
	assert.Equal(t, dropped+100, r.Stats().Dropped, "after Close")
}

func TestFramesAreWrittenOnceEveryWorkerIsPastThem(t *testing.T) {
	written := make(chan []byte, 100)
	r, err := NewRecorder(writerFunc(func(p []byte) (int, error) {
		written <- bytes.Clone(p)
		return len(p), nil
	}), RecorderOptions{Workers: 2, Interfaces: []Interface{{"eth0", capture.LinkEthernet}}})
	require.NoError(t, err)
	file := <-written // header
	r.Batch(0, capture.Batch{Packets: []capture.Packet{packet(5), packet(8)}, Clock: 8})
	r.Batch(1, capture.Batch{Packets: []capture.Packet{packet(6)}, Clock: 7})
	file = append(file, <-written...)
	assert.Equal(t, 2, bytes.Count(file, apiFrame(0, false)), "those of 5 and 6 are below the lowest clock")
	// Clocks alone are enough for the rest.
	r.Batch(1, capture.Batch{Clock: 9})
	r.Batch(0, capture.Batch{Clock: 9})
	file = append(file, <-written...)
	require.NoError(t, r.Close())
	got, _, err := read(t, Options{}, write(t, t.TempDir(), "x", file))
	require.NoError(t, err)
	require.Len(t, got, 3)
	for i, want := range []int64{5, 6, 8} {
		assert.Equal(t, want, got[i].Time)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestAFullDiskIsReportedByCloseAndCounted(t *testing.T) {
	full := errors.New("no space left")
	calls := 0
	r, err := NewRecorder(writerFunc(func(p []byte) (int, error) {
		if calls++; calls > 1 {
			return 0, full
		}
		return len(p), nil
	}), RecorderOptions{Workers: 1, Interfaces: []Interface{{"eth0", capture.LinkEthernet}}})
	require.NoError(t, err)
	const packets = 20_000 // more than the file's buffer
	for i := range packets {
		r.Batch(0, capture.Batch{Packets: []capture.Packet{packet(int64(i))}, Clock: int64(i)})
	}
	assert.ErrorIs(t, r.Close(), full)
	stats := r.Stats()
	assert.EqualValues(t, packets, stats.Written+stats.Dropped)
	assert.Positive(t, stats.Dropped)
}

func TestFramesThatAFileCannotHoldAreDropped(t *testing.T) {
	var file bytes.Buffer
	r, err := NewRecorder(&file, RecorderOptions{Workers: 1, Interfaces: []Interface{{"eth0", capture.LinkEthernet}}})
	require.NoError(t, err)
	unknown, early := packet(5), packet(-1)
	unknown.Iface = 1
	r.Batch(0, capture.Batch{Packets: []capture.Packet{early, unknown, packet(6)}, Clock: 6})
	require.NoError(t, r.Close())
	assert.Equal(t, RecorderStats{Written: 1, Dropped: 2}, r.Stats())
}

func TestRecorderOptionsAreChecked(t *testing.T) {
	one := []Interface{{"eth0", capture.LinkEthernet}}
	for want, opts := range map[string]RecorderOptions{
		"workers must be 1 to 256, not 0":       {Interfaces: one},
		"interfaces must be 1 to 65536, not 0":  {Workers: 1},
		"queue must be 0 MiB or more, not -1":   {Workers: 1, Interfaces: one, QueueMiB: -1},
		"workers must be 1 to 256, not 1000000": {Workers: 1_000_000, Interfaces: one},
	} {
		_, err := NewRecorder(&bytes.Buffer{}, opts)
		assert.EqualError(t, err, want)
	}
}

func TestWriterRefusesWhatTheFormatCannotHold(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, Pcap, Interface{"eth0", capture.LinkEthernet})
	require.NoError(t, err)
	_, err = w.AddInterface(Interface{})
	assert.EqualError(t, err, "a pcap file has one interface")
	assert.EqualError(t, w.WriteSecrets(nil), "a pcap file holds no secrets")
	assert.EqualError(t, w.WriteInterfacePacket(1, 0, nil, 0), "packet of interface 1 of 1")
	assert.ErrorIs(t, w.WritePacket(-1, nil, 0), errTime)
	assert.ErrorContains(t, w.WritePacket(1<<32*second, nil, 0), "pcap ends in 2106")
	_, err = NewWriter(&b, 7, Interface{})
	assert.EqualError(t, err, "unknown capture file format 7")
}

func BenchmarkRecorder(b *testing.B) {
	packets := make([]capture.Packet, 500)
	octets := 0
	for i := range packets {
		packets[i] = packet(int64(i))
		octets += len(packets[i].Data)
	}
	r, err := NewRecorder(writerFunc(func(p []byte) (int, error) { return len(p), nil }),
		RecorderOptions{Workers: 1, Interfaces: []Interface{{"eth0", capture.LinkEthernet}}, QueueMiB: 1024})
	require.NoError(b, err)
	b.SetBytes(int64(octets))
	b.ReportAllocs()
	clock := int64(500)
	for b.Loop() {
		clock += 500
		r.Batch(0, capture.Batch{Packets: packets, Clock: clock})
	}
	require.NoError(b, r.Close())
	b.ReportMetric(float64(r.Stats().Dropped)/float64(r.Stats().Dropped+r.Stats().Written), "dropped/frame")
}
