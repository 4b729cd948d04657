package afpacket

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/capture"
	"offpath/capture/afpacket/internal/netnstest"
)

func TestOpenSaysWhatIsWrongWithAnInterface(t *testing.T) {
	w := newWire(t)
	netnstest.Veth(t, w.far, "awake", w.near, "asleep")
	w.near.IP(t, "link", "set", "asleep", "down")
	tests := []struct {
		name    string
		options Options
		is      error
		want    string
	}{
		{
			"unknown, with those that exist", Options{Interfaces: []string{"near", "nope"}}, ErrNoInterface,
			"capture on nope: no such interface; there are: lo, near, asleep",
		},
		{
			"a name longer than the kernel has", Options{Interfaces: []string{"an-interface-name-too-long"}}, ErrNoInterface,
			"capture on an-interface-name-too-long: no such interface",
		},
		{"an empty name", Options{Interfaces: []string{""}}, ErrNoInterface, "no such interface"},
		{
			"down", Options{Interfaces: []string{"asleep"}}, ErrInterfaceDown,
			`capture on asleep: interface is down: bring it up with "ip link set asleep up"`,
		},
		{"more memory than is good", Options{RingMiB: MaxRingMiB, Workers: MaxWorkers}, nil, "256 rings of 4096 MiB take more than half of the memory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.tryOpen(tt.options)
			assert.ErrorContains(t, err, tt.want)
			if tt.is != nil {
				assert.ErrorIs(t, err, tt.is)
			}
			assert.NotContains(t, err.Error(), "\n", "an error is one line")
		})
	}
}

func TestOptionsOutOfRangeAreQuoted(t *testing.T) {
	one := []string{"eth0"}
	tests := []struct {
		name    string
		options Options
		want    string
	}{
		{"no interface", Options{}, "no interface"},
		{"the same interface twice", Options{Interfaces: []string{"eth0", "eth1", "eth0"}}, `"eth0" is named twice`},
		{"negative workers", Options{Interfaces: one, Workers: -1}, "workers is -1"},
		{"more workers than shards", Options{Interfaces: one, Workers: 257}, "workers is 257"},
		{"negative ring", Options{Interfaces: one, RingMiB: -5}, "ring size is -5 MiB"},
		{"huge ring", Options{Interfaces: one, RingMiB: 5000}, "ring size is 5000 MiB"},
		{"snap length that cuts headers", Options{Interfaces: one, SnapLength: 96}, "snap length is 96"},
		{"snap length beyond a block", Options{Interfaces: one, SnapLength: 1<<20 + 1}, "snap length is 1048577"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.options)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

func TestOnlyLinkTypesThatAreDecodedAreCaptured(t *testing.T) {
	for hardware, want := range map[uint16]capture.LinkType{
		1: capture.LinkEthernet, 772: capture.LinkEthernet, 0xfffe: capture.LinkRaw,
	} {
		link, err := linkType(hardware)
		assert.NoError(t, err)
		assert.Equal(t, want, link)
	}
	for _, hardware := range []uint16{0, 32, 512, 768, 776, 778, 801, 803, 824, 0xffff} {
		_, err := linkType(hardware)
		assert.ErrorIs(t, err, ErrLinkType)
		assert.ErrorContains(t, err, strconv.Itoa(int(hardware)))
	}
}
