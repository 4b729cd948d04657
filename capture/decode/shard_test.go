package decode

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
)

func addr(s string) capture.Addr { return capture.AddrFrom(netip.MustParseAddr(s)) }

// The vectors are the definition for other implementations (bpf/).
func TestShardVectors(t *testing.T) {
	tests := []struct {
		name             string
		src, dst         string
		srcPort, dstPort uint16
		want             uint8
	}{
		{"all words cancel out", "192.0.2.1", "192.0.2.1", 0, 0, 0},
		{"IPv4 to a web server", "198.51.100.7", "192.0.2.1", 49152, 80, 23},
		{"IPv4 without ports", "198.51.100.7", "192.0.2.1", 0, 0, 232},
		{"sum of the ports beyond 16 bits", "198.51.100.7", "192.0.2.1", 65535, 65535, 33},
		{"IPv6", "2001:db8::1", "2001:db8:1:2:3:4:5:6", 40000, 443, 191},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, Shard(addr(tt.src), addr(tt.dst), tt.srcPort, tt.dstPort))
			assert.Equal(t, tt.want, Shard(addr(tt.dst), addr(tt.src), tt.dstPort, tt.srcPort), "the other direction")
		})
	}
}

// A second implementation, word by word as the documentation of Shard has it.
func TestShardFollowsItsDefinition(t *testing.T) {
	words := []uint32{0x20010db8, 0, 0, 1, 0x20010db8, 0x00010002, 0x00030004, 0x00050006}
	var x uint32
	for _, w := range words {
		x ^= w
	}
	for _, ports := range [][2]uint32{{0, 0}, {40000, 443}, {65535, 65534}, {1, 65535}} {
		h := x ^ ((ports[0]^ports[1])<<16 | ((ports[0] + ports[1]) & 0xffff))
		h ^= h >> 16
		h *= 0x85ebca6b
		h ^= h >> 13
		h *= 0xc2b2ae35
		h ^= h >> 16
		assert.Equal(t, uint8(h&0xff), Shard(addr("2001:db8::1"), addr("2001:db8:1:2:3:4:5:6"), uint16(ports[0]), uint16(ports[1])))
	}
}

func TestShardSpreadsClientsOfOneServerEvenly(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	server := addr("192.0.2.1")
	populations := map[string]func() (capture.Addr, uint16){
		"many addresses, ephemeral ports": func() (capture.Addr, uint16) {
			return capture.AddrFrom(netip.AddrFrom4([4]byte{198, 51, byte(rng.Uint32()), byte(rng.Uint32())})), uint16(32768 + rng.UintN(28232))
		},
		"one address, ephemeral ports": func() (capture.Addr, uint16) {
			return addr("198.51.100.7"), uint16(32768 + rng.UintN(28232))
		},
		"one network of IPv6, one port": func() (capture.Addr, uint16) {
			a := addr("2001:db8::")
			binary.BigEndian.PutUint32(a[12:], rng.Uint32())
			return a, 50000
		},
	}
	for name, client := range populations {
		for hash, shard := range map[string]func(capture.Addr, capture.Addr, uint16, uint16) uint8{
			"without a key": Shard, "with one": keyed("0123456789abcdef"), "with another": keyed("fedcba9876543210"),
		} {
			t.Run(name+" "+hash, func(t *testing.T) {
				const flows = 256 * 400
				var count [capture.Shards]int
				for range flows {
					a, port := client()
					count[shard(a, server, port, 443)]++
				}
				for shard, n := range count {
					// 400 expected, standard deviation 20; one address draws with
					// replacement from 28232 ports, which doubles the spread.
					assert.InDelta(t, 400, n, 200, "shard %d", shard)
				}
			})
		}
	}
}

// keyed is the hash of a Decoder with a secret.
func keyed(secret string) func(src, dst capture.Addr, srcPort, dstPort uint16) uint8 {
	d := New(MinMemory, []byte(secret))
	return func(src, dst capture.Addr, srcPort, dstPort uint16) uint8 {
		return d.shard(&capture.Packet{Src: src, Dst: dst}, srcPort, dstPort)
	}
}

func TestBothDirectionsHaveTheSameKeyedShard(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	shard := keyed("0123456789abcdef")
	for range 1000 {
		var a, b capture.Addr
		binary.BigEndian.PutUint64(a[:], rng.Uint64())
		binary.BigEndian.PutUint64(a[8:], rng.Uint64())
		binary.BigEndian.PutUint64(b[8:], 0xffff<<32|uint64(rng.Uint32()))
		source, destination := uint16(rng.Uint32()), uint16(rng.Uint32())
		require.Equal(t, shard(a, b, source, destination), shard(b, a, destination, source))
	}
}

// Flows that somebody aimed at one shard are all over the others under a key, and
// elsewhere under another one.
func TestNobodyWithoutTheKeyAimsAtAShard(t *testing.T) {
	client, server := addr("198.51.100.7"), addr("192.0.2.1")
	victim := Shard(addr("203.0.113.9"), server, 50000, 443)
	one, other := keyed("0123456789abcdef"), keyed("0123456789abcdeg")
	var met [capture.Shards]int
	aimed, same := 0, 0
	for port := range uint16(60000) {
		if Shard(client, server, port, 443) != victim {
			continue
		}
		aimed++
		shard := one(client, server, port, 443)
		met[shard]++
		if shard == other(client, server, port, 443) {
			same++
		}
	}
	require.Greater(t, aimed, 200)
	assert.Less(t, slices.Max(met[:]), 10, "of %d in one shard", aimed)
	assert.Less(t, same, 10)
}

func TestWhatIsAroundAConnectionDoesNotChangeItsKeyedShard(t *testing.T) {
	secret := []byte("0123456789abcdef")
	for _, link := range []string{"v4", "v6"} {
		var want *uint8
		for _, wrap := range []string{"", "vlan", "6in4"} {
			packet := ip4tcp
			etherType := []byte{0x08, 0}
			if link == "v6" {
				packet, etherType = ip6tcp, []byte{0x86, 0xdd}
			}
			frame := make([]byte, 12)
			switch wrap {
			case "vlan":
				frame = append(frame, 0x81, 0, 0, 5)
			case "6in4":
				protocol := byte(4)
				if link == "v6" {
					protocol = 41
				}
				outer := []byte{0x45, 0, 0, byte(20 + len(packet)), 0, 0, 0, 0, 64, protocol, 0, 0, 203, 0, 113, 1, 203, 0, 113, 2}
				packet, etherType = append(outer, packet...), []byte{0x08, 0}
			}
			frame = append(append(frame, etherType...), packet...)
			p := capture.Packet{Data: frame, WireLen: len(frame), Link: capture.LinkEthernet}
			New(MinMemory, secret).Decode(&p)
			require.Equal(t, capture.DispositionTCP, p.Disposition)
			if want == nil {
				want = &p.Shard
			}
			assert.Equal(t, *want, p.Shard, "%s in %q", link, wrap)
		}
	}
}

var (
	tcpHeader = []byte{0xc0, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0}
	ip4tcp    = append([]byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 198, 51, 100, 7, 192, 0, 2, 1}, tcpHeader...)
	ip6tcp    = append(append(append([]byte{0x60, 0, 0, 0, 0, 20, 6, 64}, ip6Client[:]...), ip6Server[:]...), tcpHeader...)
	ip6Client = addr("2001:db8::1")
	ip6Server = addr("2001:db8:1:2:3:4:5:6")
)
