package decode

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

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
	}
	for name, client := range populations {
		t.Run(name, func(t *testing.T) {
			const flows = 256 * 400
			var count [capture.Shards]int
			for range flows {
				a, port := client()
				count[Shard(a, server, port, 443)]++
			}
			for shard, n := range count {
				// 400 expected, standard deviation 20; one address draws with
				// replacement from 28232 ports, which doubles the spread.
				assert.InDelta(t, 400, n, 200, "shard %d", shard)
			}
		})
	}
}
