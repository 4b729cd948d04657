package pcapfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// seen is a copy of what a handler was given.
type seen struct {
	Worker int
	capture.Packet
}

// collect runs a source and returns copies of all packets by worker.
func collect(t testing.TB, s *Source) ([][]seen, error) {
	t.Helper()
	all := make([][]seen, s.Workers())
	clocks := make([]int64, s.Workers())
	var mu sync.Mutex
	err := s.Run(context.Background(), func(worker int, b capture.Batch) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range b.Packets {
			if p.Clock > b.Clock || p.Clock < clocks[worker] {
				t.Errorf("packet with clock %d in a batch of clock %d after one of %d", p.Clock, b.Clock, clocks[worker])
			}
			p.Data, p.Payload = bytes.Clone(p.Data), bytes.Clone(p.Payload)
			if p.Disposition != capture.DispositionTCP {
				// The rest means nothing and may be of an earlier packet.
				p = capture.Packet{Time: p.Time, Clock: p.Clock, Data: p.Data, WireLen: p.WireLen, Link: p.Link, Iface: p.Iface,
					Shard: p.Shard, Disposition: p.Disposition, Wrapping: p.Wrapping}
			}
			all[worker] = append(all[worker], seen{worker, p})
		}
		clocks[worker] = b.Clock
	})
	return all, err
}

// read collects the packets of some inputs with one worker.
func read(t testing.TB, opts Options, paths ...string) ([]seen, *Source, error) {
	t.Helper()
	opts.Workers = 1
	s, err := Open(paths, opts)
	require.NoError(t, err)
	all, err := collect(t, s)
	return all[0], s, err
}

// write puts content into a new file.
func write(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func gzipped(t testing.TB, content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func zstded(t testing.TB, content []byte) []byte {
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	defer w.Close()
	return w.EncodeAll(content, nil)
}

// pcapBytes makes a pcap file by hand: header of the given magic and order,
// then a record for each frame, at start + n*step in units of the file.
type pcapBytes struct {
	order binary.AppendByteOrder
	magic uint32
	link  uint32
}

func (f pcapBytes) file(frames ...pcapRecord) []byte {
	b := f.order.AppendUint32(nil, f.magic)
	b = f.order.AppendUint16(b, 2)
	b = f.order.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = f.order.AppendUint32(b, 65535)
	b = f.order.AppendUint32(b, f.link)
	for _, r := range frames {
		b = f.order.AppendUint32(b, r.seconds)
		b = f.order.AppendUint32(b, r.fraction)
		b = f.order.AppendUint32(b, uint32(len(r.data)))
		b = f.order.AppendUint32(b, uint32(len(r.data)+r.cut))
		if f.magic == magicModified {
			b = append(b, 2, 0, 0, 0, 8, 0, 4, 0)
		}
		b = append(b, r.data...)
	}
	return b
}

type pcapRecord struct {
	seconds, fraction uint32
	data              []byte
	cut               int
}

// pcapngBytes makes a pcapng file by hand, block by block.
type pcapngBytes struct {
	order interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}
	b []byte
}

func (f *pcapngBytes) block(kind uint32, body ...[]byte) *pcapngBytes {
	all := bytes.Join(body, nil)
	all = append(all, make([]byte, -len(all)&3)...)
	f.b = f.order.AppendUint32(f.b, kind)
	f.b = f.order.AppendUint32(f.b, uint32(12+len(all)))
	f.b = append(f.b, all...)
	f.b = f.order.AppendUint32(f.b, uint32(12+len(all)))
	return f
}

func (f *pcapngBytes) u16(values ...uint16) (b []byte) {
	for _, v := range values {
		b = f.order.AppendUint16(b, v)
	}
	return b
}

func (f *pcapngBytes) u32(values ...uint32) (b []byte) {
	for _, v := range values {
		b = f.order.AppendUint32(b, v)
	}
	return b
}

func (f *pcapngBytes) section() *pcapngBytes {
	return f.block(blockSection, f.u32(sectionMagic), f.u16(1, 0), f.u32(0xffffffff, 0xffffffff))
}

func (f *pcapngBytes) option(code uint16, value []byte) []byte {
	b := append(f.u16(code, uint16(len(value))), value...)
	return append(b, make([]byte, -len(value)&3)...)
}

func (f *pcapngBytes) iface(link capture.LinkType, snapLen uint32, options ...[]byte) *pcapngBytes {
	return f.block(blockInterface, f.u16(uint16(link), 0), f.u32(snapLen), bytes.Join(options, nil))
}

func (f *pcapngBytes) enhanced(iface uint32, t uint64, data []byte) *pcapngBytes {
	return f.block(blockEnhanced, f.u32(iface, uint32(t>>32), uint32(t), uint32(len(data)), uint32(len(data))), data)
}

// requireSame compares packet by packet: a diff of all of them takes minutes.
func requireSame(t testing.TB, want, got []seen) {
	t.Helper()
	require.Equal(t, len(want), len(got))
	for i := range want {
		require.Equal(t, want[i], got[i], "packet %d", i)
	}
}
