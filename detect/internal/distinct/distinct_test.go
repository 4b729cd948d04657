package distinct

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDifferentNumbersAreCountedToWithinAFewPerCent(t *testing.T) {
	for _, n := range []int{0, 1, 10, 1000, 100_000, 1_000_000} {
		var whole, even, odd Counter
		for i := range n {
			for _, number := range []uint64{uint64(i) + 1, uint64(i/2) + 1} {
				whole.Add(number)
				if number%2 == 0 {
					even.Add(number)
				} else {
					odd.Add(number)
				}
			}
		}
		assert.InDelta(t, n, whole.Count(), float64(n)*0.08+0.5, n)
		even.Merge(&odd)
		assert.Equal(t, whole, even, "parts add up to the whole")
	}
}

func TestWhatIsNotKnownIsNotCounted(t *testing.T) {
	var c Counter
	c.Add(0)
	assert.Zero(t, c.Count())
	c.Merge(&Counter{})
	assert.Equal(t, Counter{}, c, "nothing needs no memory")
}

func TestAnAddressOfIPv6StandsForItsNetwork(t *testing.T) {
	var c Counter
	for i := range 1000 {
		c.AddAddress(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)}))
	}
	assert.Equal(t, 1, c.Count())
	c.AddAddress(netip.MustParseAddr("192.0.2.1"))
	c.AddAddress(netip.MustParseAddr("::ffff:192.0.2.1"))
	assert.Equal(t, 2, c.Count(), "an address of IPv4 is the same in either form")
	c.AddAddress(netip.MustParseAddr("192.0.2.2"))
	assert.Equal(t, 3, c.Count())
}

func TestCountingAllocatesNothing(t *testing.T) {
	var c Counter
	c.Add(1)
	assert.Zero(t, testing.AllocsPerRun(100, func() { c.AddAddress(netip.AddrFrom4([4]byte{192, 0, 2, 1})) }))
}
