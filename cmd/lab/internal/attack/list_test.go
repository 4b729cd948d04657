package attack

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/internet"
)

func TestThreePairsOfAHundredAreRight(t *testing.T) {
	directory := bank.Directory{Customers: 6000}
	right := 0
	for n := range 1000 {
		pair := list(directory, n)
		_, opens := directory.Check(pair.User, pair.Password)
		assert.Equal(t, pair.Right, opens)
		if opens {
			right++
		}
	}
	assert.Equal(t, 30, right)
}

func TestEveryBotHasANetworkOfItsOwn(t *testing.T) {
	networks := map[netip.Prefix]bool{}
	for bot := range 256 {
		a := Address(bot)
		assert.True(t, internet.Attacker(a), a)
		bits := 24
		if a.Is6() {
			bits = 64
		}
		network, err := a.Prefix(bits)
		assert.NoError(t, err)
		assert.False(t, networks[network], "%v twice", network)
		networks[network] = true
	}
}
