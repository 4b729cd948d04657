package afpacket

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/afpacket/internal/netnstest"
)

// inVXLAN wraps a frame between two outer addresses.
func inVXLAN(src, dst netip.Addr, inner []byte) []byte {
	payload := append([]byte{8, 0, 0, 0, 0, 0, 1, 0}, inner...)
	f := netnstest.TCP(netip.AddrPortFrom(src, 50000), netip.AddrPortFrom(dst, 4789), nil)[:14+20+4]
	binary.BigEndian.PutUint16(f[16:], uint16(20+8+len(payload)))
	f[23] = 17
	f = binary.BigEndian.AppendUint16(f, uint16(8+len(payload)))
	return append(append(f, 0, 0), payload...)
}

// inFragments cuts an Ethernet frame with an IPv4 packet after its TCP header.
func inFragments(frame []byte, id uint16) [][]byte {
	const ip, cut = 14, 24
	var parts [][]byte
	for i, payload := range [][]byte{frame[ip+20 : ip+20+cut], frame[ip+20+cut:]} {
		f := append(append([]byte(nil), frame[:ip+20]...), payload...)
		binary.BigEndian.PutUint16(f[ip+2:], uint16(20+len(payload)))
		binary.BigEndian.PutUint16(f[ip+4:], id)
		binary.BigEndian.PutUint16(f[ip+6:], uint16([]int{0x2000, cut / 8}[i]))
		parts = append(parts, f)
	}
	return parts
}

// Tunnels come by their outer addresses, fragments by their addresses alone;
// the worker of the connection gets them all the same, in order and once.
func TestPacketsThatComeToAnotherWorkerAreHandedOver(t *testing.T) {
	const connections, rounds = 40, 30
	for _, hash := range []bool{false, true} {
		t.Run(fmt.Sprintf("by hash %t", hash), func(t *testing.T) {
			w := newWire(t)
			source := w.open(t, Options{Workers: 2, HashSteering: hash})
			if !hash {
				requireEBPF(t, source)
			}
			var frames [][]byte
			want := 0
			for n := range rounds {
				for c := range connections {
					src, dst := netip.AddrPortFrom(client4, uint16(40000+c)), netip.AddrPortFrom(server4, 80)
					outer := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
					if n%2 == 1 {
						src, dst = dst, src
						// The way back goes through another tunnel.
						outer[1] = netip.MustParseAddr("10.0.0.3")
					}
					frame := netnstest.TCP(src, dst, fmt.Appendf(nil, "%09d", n))
					switch {
					case c%2 == 0:
						frames = append(frames, inVXLAN(outer[0], outer[1], frame))
					case n%3 == 0 && !hash:
						frames = append(frames, inFragments(frame, uint16(len(frames)))...)
						want++ // one is left as a fragment
					default:
						frames = append(frames, frame)
					}
					want++
				}
			}
			r := start(t, source)
			w.far.NewSender(t, "far", false).Send(t, frames...)
			r.awaitPackets(want)
			packets := r.stop()

			assert.Equal(t, connections, requireTogether(t, packets, 2))
			next := map[string]int{}
			for i := range packets {
				p := &packets[i]
				if p.Disposition != capture.DispositionTCP {
					require.Equal(t, capture.DispositionFragment, p.Disposition)
					continue
				}
				if !hash {
					require.Equal(t, int(p.Shard)%2, p.worker)
				}
				// Packets of a connection that is fragmented now and then come
				// from two rings, so only their set is known.
				if c := int(p.SrcPort+p.DstPort-80) - 40000; c%2 == 0 {
					name := fmt.Sprint(p.Src, p.SrcPort, p.DstPort)
					require.Equal(t, fmt.Sprintf("%09d", 2*next[name]+map[bool]int{true: 1}[p.SrcPort == 80]), string(p.Payload))
					next[name]++
				}
			}
			stats := source.Stats()
			assert.Zero(t, stats.HandOverDrops)
			if !hash {
				assert.EqualValues(t, connections/2*rounds/3, stats.Fragments.Whole)
			}
		})
	}
}

func TestAnInboxThatIsFullDropsAndCounts(t *testing.T) {
	p := capture.Packet{Data: make([]byte, 1<<20), Time: 1}
	var box inbox
	for range 20 {
		c := &parcel{}
		c.add(&p)
		box.put(c)
	}
	list := box.empty(nil)
	assert.Len(t, list, inboxLimit>>20)
	assert.EqualValues(t, 20-inboxLimit>>20, box.dropped.Load())
	assert.Empty(t, box.empty(nil))

	put := func() {
		c := &parcel{}
		c.add(&p)
		box.put(c)
	}
	put()
	assert.Empty(t, box.empty(nil), "what was taken out waits still")
	box.delivered(list[0])
	put()
	assert.Len(t, box.empty(nil), 1)
}

func TestAPacketHandedOverWaitsForTheClockOfItsWorker(t *testing.T) {
	w := &worker{clock: 1000}
	for _, at := range []int64{900, 1000, 1001} {
		c := &parcel{}
		c.add(&capture.Packet{Time: at, Data: []byte("frame"), Payload: []byte("payload")})
		w.inbox.put(c)
	}
	var times []int64
	handle := func(_ int, b capture.Batch) {
		for _, p := range b.Packets {
			assert.Equal(t, "frame payload", string(p.Data)+" "+string(p.Payload))
			assert.Equal(t, p.Time, p.Clock)
			times = append(times, p.Time)
		}
	}
	for w.receive(handle, 1001, false) {
	}
	assert.Equal(t, []int64{1000, 1000}, times)
	assert.False(t, w.receive(handle, 1001+handOverDelay-1, false))
	assert.True(t, w.receive(handle, 1001+handOverDelay, false))
	assert.Equal(t, []int64{1000, 1000, 1001}, times)
}
