package afpacket

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/afpacket/internal/netnstest"
)

// connection names a TCP connection the same in both directions.
func connection(p *seen) string {
	a := netip.AddrPortFrom(p.Src.Netip(), p.SrcPort)
	b := netip.AddrPortFrom(p.Dst.Netip(), p.DstPort)
	if b.Compare(a) < 0 {
		a, b = b, a
	}
	return fmt.Sprint(a, " ", b)
}

// requireTogether checks that no connection is split between workers, that
// each has both directions, and that every worker has some. It returns the
// number of connections.
func requireTogether(t *testing.T, packets []seen, workers int) int {
	t.Helper()
	type what struct {
		worker     int
		directions map[capture.Addr]bool
	}
	connections := map[string]what{}
	used := map[int]bool{}
	for i := range packets {
		p := &packets[i]
		if p.Disposition != capture.DispositionTCP {
			continue
		}
		c, known := connections[connection(p)]
		if !known {
			c = what{p.worker, map[capture.Addr]bool{}}
			connections[connection(p)] = c
		}
		require.Equal(t, c.worker, p.worker, "connection %s is split", connection(p))
		c.directions[p.Src] = true
		used[p.worker] = true
	}
	for name, c := range connections {
		require.Len(t, c.directions, 2, "directions of %s", name)
	}
	require.Len(t, used, workers, "workers that got connections")
	return len(connections)
}

// requireShards checks that each packet went to the worker of its shard.
func requireShards(t *testing.T, packets []seen, workers int) {
	t.Helper()
	for _, p := range packets {
		require.Equal(t, int(p.Shard)%workers, p.worker, "worker of a %s packet in shard %d", p.Disposition, p.Shard)
	}
}

// requireEBPF skips the test if the kernel or our privileges don't allow it.
func requireEBPF(t *testing.T, s *Source) {
	t.Helper()
	if steering := s.Steering(); steering.Method != MethodEBPF {
		t.Skipf("no steering by eBPF here (support: %s): %v", steering.EBPF, steering.Reason)
	}
	require.Equal(t, Supported, s.Steering().EBPF)
	require.NoError(t, s.Steering().Reason)
}

// addresses gives both ends of the wire addresses and returns those of the far
// end.
func addresses(t *testing.T, w wire) []string {
	t.Helper()
	for link, n := range map[string]*netnstest.Namespace{"far": w.far, "near": w.near} {
		host := map[string]string{"far": "1", "near": "2"}[link]
		n.IP(t, "addr", "add", "10.9.0."+host+"/24", "dev", link)
		n.IP(t, "addr", "add", "2001:db8:9::"+host+"/64", "dev", link, "nodad")
	}
	return []string{"10.9.0.1", "2001:db8:9::1"}
}

// echo serves one connection after the other at the far end until the test is
// over.
func echo(t *testing.T, n *netnstest.Namespace, address string) net.Listener {
	var l net.Listener
	var err error
	n.Do(func() { l, err = net.Listen("tcp", net.JoinHostPort(address, "0")) })
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l
}

func dial(t *testing.T, n *netnstest.Namespace, l net.Listener) *net.TCPConn {
	var c net.Conn
	var err error
	n.Do(func() { c, err = net.Dial("tcp", l.Addr().String()) })
	require.NoError(t, err)
	return c.(*net.TCPConn)
}

// One direction of these connections is incoming, the other outgoing.
func TestNoConnectionIsSplitBetweenWorkers(t *testing.T) {
	const perAddress = 100
	for _, hash := range []bool{false, true} {
		t.Run(fmt.Sprintf("by hash %t", hash), func(t *testing.T) {
			w := newWire(t)
			far := addresses(t, w)
			source := w.open(t, Options{Workers: 2, HashSteering: hash})
			if hash {
				require.Equal(t, Steering{Method: MethodHash, EBPF: SupportUnknown}, source.Steering())
			} else {
				requireEBPF(t, source)
			}
			r := start(t, source)
			for _, address := range far {
				l := echo(t, w.far, address)
				for range perAddress {
					c := dial(t, w.near, l)
					_, err := c.Write([]byte("ping"))
					require.NoError(t, err)
					require.NoError(t, c.CloseWrite())
					answer, err := io.ReadAll(c)
					require.NoError(t, err)
					require.Equal(t, "ping", string(answer))
					require.NoError(t, c.Close())
				}
			}
			packets := r.stop()
			assert.Equal(t, perAddress*len(far), requireTogether(t, packets, 2))
			if !hash {
				requireShards(t, packets, 2)
			}
		})
	}
}

// mirrored builds both directions of n connections with 0 to 3 VLAN tags, as a
// mirror port shows them. With odd, some come a second time with a damaged
// header.
func mirrored(rng *rand.Rand, n int, odd bool) [][]byte {
	var frames [][]byte
	for i := range n {
		c, s := netip.AddrPortFrom(client4, uint16(1024+i)), netip.AddrPortFrom(server4, 443)
		if rng.IntN(2) == 0 {
			c, s = netip.AddrPortFrom(client6, uint16(1024+i)), netip.AddrPortFrom(server6, 443)
		}
		var tags [][2]uint16
		for range rng.IntN(4) {
			tags = append(tags, [2]uint16{[...]uint16{0x8100, 0x88a8, 0x9100}[rng.IntN(3)], uint16(1 + rng.IntN(4094))})
		}
		request := netnstest.TCP(c, s, []byte("GET / HTTP/1.1\r\n\r\n"), tags...)
		frames = append(frames, request, netnstest.TCP(s, c, []byte("HTTP/1.1 200 OK\r\n\r\n"), tags...))
		if odd && rng.IntN(3) == 0 {
			damaged := append([]byte(nil), request...)
			header := 14 + 4*len(tags)
			damaged[header+rng.IntN(len(damaged)-header)] ^= byte(1 + rng.IntN(255))
			frames = append(frames, damaged)
		}
	}
	return frames
}

func TestMirroredConnectionsAreNotSplit(t *testing.T) {
	for _, hash := range []bool{false, true} {
		t.Run(fmt.Sprintf("by hash %t", hash), func(t *testing.T) {
			w := newWire(t)
			source := w.open(t, Options{Workers: 2, HashSteering: hash})
			if !hash {
				requireEBPF(t, source)
			}
			r := start(t, source)
			frames := mirrored(rand.New(rand.NewPCG(3, 4)), 500, false)
			w.far.NewSender(t, "far", false).Send(t, frames...)
			r.awaitPackets(len(frames))
			assert.Equal(t, 500, requireTogether(t, r.stop(), 2))
		})
	}
}

func TestFramesGoToTheWorkerOfTheirShard(t *testing.T) {
	for _, workers := range []int{2, 3, 5} {
		for _, outgoing := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d workers, outgoing %t", workers, outgoing), func(t *testing.T) {
				w := newWire(t)
				source := w.open(t, Options{Workers: workers})
				requireEBPF(t, source)
				r := start(t, source)
				sender := w.far.NewSender(t, "far", false)
				if outgoing {
					sender = w.near.NewSender(t, "near", false)
				}
				frames := mirrored(rand.New(rand.NewPCG(5, 6)), 2000, true)
				sender.Send(t, frames...)
				r.awaitPackets(len(frames))
				packets := r.stop()
				assert.Len(t, packets, len(frames))
				requireShards(t, packets, workers)
			})
		}
	}
}

func TestRawIPOfATunnelIsCapturedAndSteered(t *testing.T) {
	w := newWire(t)
	tun := w.near.NewTun(t, "tunnel")
	source := w.open(t, Options{Workers: 2, Interfaces: []string{"tunnel"}})
	requireEBPF(t, source)
	r := start(t, source)
	const ethernet = 14
	var packets [][]byte
	for i := range uint16(200) {
		a, b := netip.AddrPortFrom(client4, 1024+i), netip.AddrPortFrom(server4, 443)
		if i%2 == 0 {
			a, b = netip.AddrPortFrom(client6, 1024+i), netip.AddrPortFrom(server6, 443)
		}
		packets = append(packets, netnstest.TCP(a, b, nil)[ethernet:], netnstest.TCP(b, a, nil)[ethernet:])
	}
	for _, p := range packets {
		_, err := tun.Write(p)
		require.NoError(t, err)
	}
	r.awaitPackets(len(packets))
	got := r.stop()
	assert.ElementsMatch(t, packets, octets(got))
	assert.Equal(t, capture.LinkRaw, got[0].Link)
	assert.Equal(t, 200, requireTogether(t, got, 2))
	requireShards(t, got, 2)
}

func TestFramesThatComeDuringOpenGoToTheirWorkerToo(t *testing.T) {
	w := newWire(t)
	sender := w.far.NewSender(t, "far", false)
	frames := mirrored(rand.New(rand.NewPCG(7, 8)), 64, false)
	for range 5 {
		opened, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for open := false; !open; {
				select {
				case <-opened:
					open = true
				default:
				}
				sender.Send(t, frames...)
			}
		}()
		source := w.open(t, Options{Workers: 4})
		close(opened)
		<-stopped
		requireEBPF(t, source)
		packets := start(t, source).stop()
		assert.GreaterOrEqual(t, len(packets), len(frames))
		requireShards(t, packets, 4)
	}
}

func TestSuperFramesOfSegmentationOffloadSurvive(t *testing.T) {
	w := newWire(t)
	far := addresses(t, w)
	source := w.open(t, Options{Workers: 2})
	r := start(t, source)
	const size = 8 << 20
	content := strings.Repeat("0123456789abcdef", size/16)
	for _, address := range far {
		c := dial(t, w.near, echo(t, w.far, address))
		go func() {
			_, _ = io.WriteString(c, content)
			_ = c.CloseWrite()
		}()
		back, err := io.ReadAll(c)
		require.NoError(t, err)
		require.True(t, content == string(back))
		require.NoError(t, c.Close())
	}
	packets := r.stop()

	longest := 0
	payload := map[[2]string]map[uint32]int{} // by direction, sequence number
	for _, p := range packets {
		longest = max(longest, len(p.Data))
		if p.Disposition != capture.DispositionTCP || len(p.Payload) == 0 {
			continue
		}
		require.Len(t, p.Payload, p.PayloadLen)
		direction := [2]string{p.Src.Netip().String(), p.Dst.Netip().String()}
		if payload[direction] == nil {
			payload[direction] = map[uint32]int{}
		}
		payload[direction][p.Seq] = max(payload[direction][p.Seq], len(p.Payload))
	}
	assert.Greater(t, longest, 9000, "no super-frame was sent: the test shows nothing")
	assert.Zero(t, source.Stats().SnapLengthCut)
	assert.Zero(t, source.Stats().KernelDrops)
	assert.Len(t, payload, 4)
	for direction, segments := range payload {
		sum := 0
		for _, n := range segments {
			sum += n
		}
		assert.GreaterOrEqual(t, sum, size, "octets from %s to %s", direction[0], direction[1])
	}
}
