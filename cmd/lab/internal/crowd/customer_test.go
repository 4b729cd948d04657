package crowd

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/internet"
)

func TestCustomersShareCarriersAddressesAndNothingElse(t *testing.T) {
	directory := bank.Directory{Customers: 6000}
	networks := map[netip.Prefix]int{}
	six, shared := 0, 0
	for index := range directory.Customers {
		a := Address(directory.Customer(index))
		assert.False(t, internet.Attacker(a), a)
		bits := 32
		if a.Is6() {
			bits = 64
			six++
		}
		network, err := a.Prefix(bits)
		assert.NoError(t, err)
		networks[network]++
		if internet.Carriers.Contains(a) {
			shared++
			continue
		}
		assert.Equal(t, 1, networks[network], "%v is shared", network)
		assert.True(t, internet.Homes.Contains(a) || internet.Homes6.Contains(a), a)
	}
	assert.Equal(t, 1000, six)
	assert.Equal(t, 1000, shared)
	assert.Len(t, networks, 5000+carriers)
}
