package afpacket

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestReceivedFindsTheDropsOfAnInterface(t *testing.T) {
	const content = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1296      16    0    0    0     0          0         0     1296      16    0    0    0     0       0          0
  eth1:9876543210 5 1 42 3 4 5 6 7 8 9 10 11 12 13 14
 eth10: 1 2 3 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0
 short: 1 2 3
`
	tests := []struct {
		name, iface string
		want        uint64
		found       bool
	}{
		{"first", "lo", 0, true},
		{"no space behind the colon", "eth1", 42, true},
		{"the name of another is its beginning", "eth10", 1<<64 - 1, true},
		{"absent", "eth", 0, false},
		{"fewer columns than known", "short", 0, false},
		{"words of the head are no interface", "face |bytes    packets errs drop", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, found := received([]byte(content), tt.iface)
			assert.Equal(t, tt.found, found)
			assert.Equal(t, tt.want, n)
		})
	}
}
