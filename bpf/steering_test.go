package bpf

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/decode"
)

func load(t testing.TB, o SteeringOptions) *Steering {
	t.Helper()
	s, err := LoadSteering(o)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, ErrNotSupported) {
		t.Skipf("eBPF can't be loaded here: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// run gives the program one incoming frame, as a fanout group would: skb->data
// stands behind the Ethernet header. The kernel rejects test runs of frames
// that end inside the IP header their EtherType promises.
func (s *Steering) run(t testing.TB, frame []byte) uint32 {
	t.Helper()
	ret, err := s.programs.Steer.Run(&ebpf.RunOptions{Data: frame})
	require.NoError(t, err)
	return ret
}

func shardOf(frame []byte) (uint32, capture.Disposition) {
	p := capture.Packet{Data: frame, WireLen: len(frame), Link: capture.LinkEthernet}
	new(decode.Decoder).Decode(&p)
	return uint32(p.Shard), p.Disposition
}

// frame builds an Ethernet frame: tags are EtherTypes of VLAN tags.
func frame(tags []uint16, etherType uint16, packet ...[]byte) []byte {
	f := make([]byte, 12, 128)
	for i, tag := range tags {
		f = binary.BigEndian.AppendUint16(f, tag)
		f = binary.BigEndian.AppendUint16(f, uint16(100+i))
	}
	f = binary.BigEndian.AppendUint16(f, etherType)
	for _, p := range packet {
		f = append(f, p...)
	}
	return f
}

func ipv4(src, dst string, protocol byte, options int, fragment uint16, payload int) []byte {
	h := make([]byte, 20+options)
	h[0] = 0x40 | byte(len(h)/4)
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+payload))
	binary.BigEndian.PutUint16(h[6:], fragment)
	h[8], h[9] = 64, protocol
	copy(h[12:], netip.MustParseAddr(src).AsSlice())
	copy(h[16:], netip.MustParseAddr(dst).AsSlice())
	return h
}

func ipv6(src, dst string, next byte, payload int) []byte {
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(h[4:], uint16(payload))
	copy(h[8:], netip.MustParseAddr(src).AsSlice())
	copy(h[24:], netip.MustParseAddr(dst).AsSlice())
	return h
}

func extension(next byte, units int) []byte {
	h := make([]byte, 8+8*units)
	h[0], h[1] = next, byte(units)
	return h
}

func tcp(src, dst uint16) []byte {
	h := make([]byte, 20)
	binary.BigEndian.PutUint16(h, src)
	binary.BigEndian.PutUint16(h[2:], dst)
	h[12] = 5 << 4
	return h
}

const (
	client4, server4 = "198.51.100.7", "192.0.2.1"
	client6, server6 = "2001:db8::1", "2001:db8:1:2:3:4:5:6"
)

func TestSteeringComputesTheShardOfTheDecoder(t *testing.T) {
	steering := load(t, SteeringOptions{Workers: capture.Shards})
	tests := []struct {
		name  string
		frame []byte
		want  capture.Disposition
	}{
		{"IPv4 TCP", frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0, 20), tcp(49152, 80)), capture.DispositionTCP},
		{"IPv4 TCP, the other direction", frame(nil, 0x0800, ipv4(server4, client4, 6, 0, 0, 20), tcp(80, 49152)), capture.DispositionTCP},
		{"IPv4 with options", frame(nil, 0x0800, ipv4(client4, server4, 6, 24, 0, 20), tcp(49152, 80)), capture.DispositionTCP},
		{"IPv4 with the do-not-fragment bit", frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0x4000, 20), tcp(49152, 80)), capture.DispositionTCP},
		{"IPv4 with an authentication header", frame(nil, 0x0800, ipv4(client4, server4, 51, 0, 0, 44), append([]byte{6, 4}, make([]byte, 22)...), tcp(49152, 80)), capture.DispositionTCP},
		{"IPv4 first fragment goes by addresses", frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0x2000, 24), tcp(49152, 80), make([]byte, 4)), capture.DispositionFragment},
		{"IPv4 later fragment goes by addresses", frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0x0010, 20), tcp(49152, 80)), capture.DispositionFragment},
		{"IPv4 UDP goes by addresses", frame(nil, 0x0800, ipv4(client4, server4, 17, 0, 0, 20), tcp(49152, 80)), capture.DispositionNotTCP},
		{"IPv4 whose length was left 0", frame(nil, 0x0800, append(append([]byte{0x45, 0, 0, 0}, ipv4(client4, server4, 6, 0, 0, 20)[4:]...), tcp(49152, 80)...)), capture.DispositionTCP},
		{"IPv4 that ends before its TCP header", frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0, 10), tcp(49152, 80)), capture.DispositionMalformed},
		{"IPv4 with a header of 16 octets", frame(nil, 0x0800, append([]byte{0x44}, ipv4(client4, server4, 6, 0, 0, 20)[1:]...), tcp(49152, 80)), capture.DispositionMalformed},
		{"IPv4 whose frame ends in the TCP header", frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0, 20), tcp(49152, 80)[:13]), capture.DispositionTruncated},
		{"TCP header of 16 octets", frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0, 20), append(tcp(49152, 80)[:12], 0x40, 0, 0, 0, 0, 0, 0, 0)), capture.DispositionMalformed},
		{"TCP options beyond the packet", frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0, 20), append(tcp(49152, 80)[:12], 0xf0, 0, 0, 0, 0, 0, 0, 0)), capture.DispositionMalformed},
		{"IPv6 TCP", frame(nil, 0x86dd, ipv6(client6, server6, 6, 20), tcp(40000, 443)), capture.DispositionTCP},
		{"IPv6 TCP, the other direction", frame(nil, 0x86dd, ipv6(server6, client6, 6, 20), tcp(443, 40000)), capture.DispositionTCP},
		{"IPv6 behind hop-by-hop, routing and destination options", frame(nil, 0x86dd, ipv6(client6, server6, 0, 84), extension(43, 0), extension(60, 2), extension(6, 3), tcp(40000, 443)), capture.DispositionTCP},
		{"IPv6 atomic fragment", frame(nil, 0x86dd, ipv6(client6, server6, 44, 28), []byte{6, 0xff, 0, 0, 1, 2, 3, 4}, tcp(40000, 443)), capture.DispositionTCP},
		{"IPv6 first fragment goes by addresses", frame(nil, 0x86dd, ipv6(client6, server6, 44, 32), []byte{6, 0, 0, 1, 1, 2, 3, 4}, tcp(40000, 443), make([]byte, 4)), capture.DispositionFragment},
		{"IPv6 UDP goes by addresses", frame(nil, 0x86dd, ipv6(client6, server6, 17, 20), tcp(40000, 443)), capture.DispositionNotTCP},
		{"IPv6 extension beyond the packet", frame(nil, 0x86dd, ipv6(client6, server6, 0, 28), extension(6, 9)[:8], tcp(40000, 443)), capture.DispositionMalformed},
		{"VLAN tag", frame([]uint16{0x8100}, 0x0800, ipv4(client4, server4, 6, 0, 0, 20), tcp(49152, 80)), capture.DispositionTCP},
		{"service tag and VLAN tag", frame([]uint16{0x88a8, 0x8100}, 0x86dd, ipv6(client6, server6, 6, 20), tcp(40000, 443)), capture.DispositionTCP},
		{"three tags, old service tag outside", frame([]uint16{0x9100, 0x8100, 0x8100}, 0x0800, ipv4(client4, server4, 6, 0, 0, 20), tcp(49152, 80)), capture.DispositionTCP},
		{"four tags", frame([]uint16{0x8100, 0x8100, 0x8100, 0x8100}, 0x0800, ipv4(client4, server4, 6, 0, 0, 20), tcp(49152, 80)), capture.DispositionMalformed},
		{"frame that ends in a tag", frame([]uint16{0x8100}, 0x0800)[:17], capture.DispositionTruncated},
		{"ARP", frame(nil, 0x0806, make([]byte, 28)), capture.DispositionNotIP},
		{"IEEE 802.3 length in place of a type", frame(nil, 0x0026, make([]byte, 38)), capture.DispositionNotIP},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, disposition := shardOf(tt.frame)
			require.Equal(t, tt.want, disposition, "the frame is not what it is meant to be")
			assert.Equal(t, want, steering.run(t, tt.frame))
		})
	}
}

func TestSteeringFollowsAChainOfExtensionsAsFarAsTheDecoder(t *testing.T) {
	steering := load(t, SteeringOptions{Workers: capture.Shards})
	for _, n := range []int{1, 8, 31, 32, 33} {
		var chain []byte
		for i := range n {
			next := byte(60)
			if i == n-1 {
				next = 6
			}
			chain = append(chain, extension(next, 0)...)
		}
		f := frame(nil, 0x86dd, ipv6(client6, server6, 60, len(chain)+20), chain, tcp(40000, 443))
		want, _ := shardOf(f)
		assert.Equal(t, want, steering.run(t, f), "%d extension headers", n)
	}
}

// Frames that are nearly valid, with a few octets overwritten: the decoder is
// the model.
func TestSteeringAgreesWithTheDecoderOnDamagedFrames(t *testing.T) {
	steering := load(t, SteeringOptions{Workers: capture.Shards})
	rng := rand.New(rand.NewPCG(3, 4))
	seeds := [][]byte{
		frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0, 24), tcp(49152, 80), []byte("GET ")),
		frame(nil, 0x0800, ipv4(client4, server4, 6, 40, 0, 24), tcp(49152, 80), []byte("GET ")),
		frame([]uint16{0x8100}, 0x0800, ipv4(client4, server4, 6, 0, 0, 20), tcp(49152, 80)),
		frame([]uint16{0x88a8, 0x8100}, 0x86dd, ipv6(client6, server6, 6, 20), tcp(40000, 443)),
		frame(nil, 0x86dd, ipv6(client6, server6, 60, 68), extension(43, 0), extension(60, 2), extension(44, 0), []byte{6, 0, 0, 0, 1, 2, 3, 4}, tcp(40000, 443)),
	}
	used := 0
	for range 20000 {
		f := append([]byte(nil), seeds[rng.IntN(len(seeds))]...)
		for range rng.IntN(4) {
			f[rng.IntN(len(f)-12)+12] = byte(rng.Uint32())
		}
		if rng.IntN(4) == 0 {
			f = f[:54+rng.IntN(len(f)-53)]
		}
		want, disposition := shardOf(f)
		if disposition == capture.DispositionTCP {
			used++
		}
		if disposition == capture.DispositionMalformed && jumbo(f) {
			continue // the intended difference, see steering.c
		}
		require.Equal(t, want, steering.run(t, f), "%s frame %x", disposition, f)
	}
	assert.Greater(t, used, 5000, "too few of the frames are still TCP for the comparison to mean anything")
}

// jumbo tells whether the frame holds an IPv6 packet of length 0 with
// hop-by-hop options.
func jumbo(f []byte) bool {
	off := 14
	for off < len(f) && f[off]>>4 != 6 {
		off += 4
	}
	return off+7 <= len(f) && f[off+4] == 0 && f[off+5] == 0 && f[off+6] == 0
}

func TestSteeringGivesEachWorkerItsShards(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 8} {
		steering := load(t, SteeringOptions{Workers: workers})
		for port := range uint16(200) {
			f := frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0, 20), tcp(49152+port, 80))
			shard, _ := shardOf(f)
			assert.Equal(t, shard%uint32(workers), steering.run(t, f), "shard %d of %d workers", shard, workers)
		}
	}
}

func TestSteeringReadsRawIP(t *testing.T) {
	// A test run always takes an Ethernet header off first.
	steering := load(t, SteeringOptions{Workers: capture.Shards, RawIP: true})
	for _, f := range [][]byte{
		frame(nil, 0, ipv4(client4, server4, 6, 0, 0, 20), tcp(49152, 80)),
		frame(nil, 0, ipv6(client6, server6, 6, 20), tcp(40000, 443)),
		frame(nil, 0, []byte{0x50, 0, 0, 0}, make([]byte, 40)),
	} {
		p := capture.Packet{Data: f[14:], WireLen: len(f) - 14, Link: capture.LinkRaw}
		new(decode.Decoder).Decode(&p)
		assert.Equal(t, uint32(p.Shard), steering.run(t, f))
	}
}

func TestSteeringRejectsANumberOfWorkersOutOfRange(t *testing.T) {
	for _, workers := range []int{-1, 0, MaxWorkers + 1} {
		_, err := LoadSteering(SteeringOptions{Workers: workers})
		assert.ErrorContains(t, err, "must be 1 to 256")
	}
}

func BenchmarkSteering(b *testing.B) {
	steering := load(b, SteeringOptions{Workers: 2})
	f := frame(nil, 0x0800, ipv4(client4, server4, 6, 0, 0, 20), tcp(49152, 80))
	_, perRun, err := steering.programs.Steer.Benchmark(f, 1_000_000, nil)
	require.NoError(b, err)
	b.ReportMetric(float64(perRun.Nanoseconds()), "bpf_ns/op")
	b.ReportMetric(0, "ns/op")
}
