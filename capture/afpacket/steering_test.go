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

// addresses gives both ends of the wire addresses: plain, in a VLAN, and in a
// VLAN within a service VLAN. It returns those of the far end.
func addresses(t *testing.T, w wire) []string {
	var far []string
	for side, n := range map[int]*netnstest.Namespace{1: w.far, 2: w.near} {
		name := map[int]string{1: "far", 2: "near"}[side]
		n.IP(t, "link", "add", "link", name, "name", "v7", "type", "vlan", "id", "7")
		n.IP(t, "link", "add", "link", name, "name", "s9", "type", "vlan", "proto", "802.1ad", "id", "9")
		n.IP(t, "link", "add", "link", "s9", "name", "q9", "type", "vlan", "id", "8")
		for i, link := range []string{name, "v7", "s9", "q9"} {
			n.IP(t, "link", "set", link, "up")
			if link == "s9" {
				continue
			}
			v4, v6 := fmt.Sprintf("10.9.%d.%d", i, side), fmt.Sprintf("2001:db8:9:%d::%d", i, side)
			n.IP(t, "addr", "add", v4+"/24", "dev", link)
			n.IP(t, "addr", "add", v6+"/64", "dev", link, "nodad")
			if side == 1 {
				far = append(far, v4, v6)
			}
		}
	}
	return far
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

func TestNoConnectionIsSplitBetweenWorkers(t *testing.T) {
	const perAddress = 40
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
			tags := map[uint8]int{}
			for _, p := range packets {
				tags[p.Wrapping.Tags]++
			}
			assert.Len(t, tags, 3, "packets with no, one and two tags")
		})
	}
}

// mirrored builds both directions of n connections, as a mirror port shows
// them, with the odd packets that come along.
func mirrored(rng *rand.Rand, n int) [][]byte {
	var frames [][]byte
	for range n {
		c, s := netip.AddrPortFrom(client4, uint16(rng.Uint32())), netip.AddrPortFrom(server4, 443)
		if rng.IntN(2) == 0 {
			c, s = netip.AddrPortFrom(client6, uint16(rng.Uint32())), netip.AddrPortFrom(server6, 443)
		}
		var tags [][2]uint16
		for range rng.IntN(4) {
			tags = append(tags, [2]uint16{[...]uint16{0x8100, 0x88a8, 0x9100}[rng.IntN(3)], uint16(1 + rng.IntN(4094))})
		}
		request := netnstest.TCP(c, s, []byte("GET / HTTP/1.1\r\n\r\n"), tags...)
		frames = append(frames, request, netnstest.TCP(s, c, []byte("HTTP/1.1 200 OK\r\n\r\n"), tags...))
		if rng.IntN(3) == 0 { // the same with a damaged header
			odd := append([]byte(nil), request...)
			odd[14+4*len(tags)+rng.IntN(len(odd)-14-4*len(tags))] ^= byte(1 + rng.IntN(255))
			frames = append(frames, odd)
		}
	}
	return frames
}

func TestMirroredFramesGoToTheWorkerOfTheirShard(t *testing.T) {
	for _, workers := range []int{2, 3, 5} {
		w := newWire(t)
		source := w.open(t, Options{Workers: workers, RingMiB: 4})
		requireEBPF(t, source)
		r := start(t, source)
		frames := mirrored(rand.New(rand.NewPCG(5, 6)), 2000)
		w.far.NewSender(t, "far", false).Send(t, frames...)
		r.awaitPackets(len(frames))
		packets := r.stop()
		assert.Len(t, packets, len(frames))
		requireShards(t, packets, workers)
	}
}

func TestFramesThatComeDuringOpenGoToTheirWorkerToo(t *testing.T) {
	w := newWire(t)
	sender := w.far.NewSender(t, "far", false)
	frames := mirrored(rand.New(rand.NewPCG(7, 8)), 64)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				sender.Send(t, frames...)
			}
		}
	}()
	for range 5 {
		source := w.open(t, Options{Workers: 4, RingMiB: 4})
		requireEBPF(t, source)
		r := start(t, source)
		r.awaitPackets(1000)
		requireShards(t, r.stop(), 4)
	}
	close(stop)
	<-stopped
}

func TestSuperFramesOfSegmentationOffloadSurvive(t *testing.T) {
	w := newWire(t)
	far := addresses(t, w)
	source := w.open(t, Options{Workers: 2})
	r := start(t, source)
	const size = 8 << 20
	content := strings.Repeat("0123456789abcdef", size/16)
	for _, address := range far[:2] {
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
