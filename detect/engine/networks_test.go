package engine

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/network"
	"offpath/detect/plain"
)

func TestMessagesNameTheNetworkAndNothingIsDecidedByIt(t *testing.T) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-ASN"})
	require.NoError(t, err)
	_, all, err := net.ParseCIDR("45.0.0.0/8")
	require.NoError(t, err)
	require.NoError(t, tree.Insert(all, mmdbtype.Map{
		"autonomous_system_number": mmdbtype.Uint32(64500), "autonomous_system_organization": mmdbtype.String("Example \x1b Net"),
	}))
	path := filepath.Join(t.TempDir(), "as.mmdb")
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = tree.WriteTo(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	d, err := network.Open(network.Paths{AS: path})
	require.NoError(t, err)

	a := attack{seed: 1, addresses: 5, from: 20 * second, ramp: second, length: minute, period: 1200 * 1e6}
	scene := func(b *bench) *bench { return b.run(customers(1, 1000, 0, 90*second, 0.08), a.tries()) }
	without := scene(newBench(t))
	with := scene(newBench(t, func(c *Config) { c.Networks = d }))
	require.NotEmpty(t, without.found)
	require.Len(t, with.found, len(without.found))
	named := 0
	for i, f := range with.found {
		if f.Subject.Client.IsValid() {
			named++
			assert.Contains(t, f.Message, plain.Client(f.Subject.Client)+` ("AS64500 Example \x1b Net") tried `)
			assert.NotContains(t, without.found[i].Message, "AS64500")
		}
		f.Message, without.found[i].Message = "", ""
		assert.Equal(t, without.found[i], f)
	}
	assert.NotZero(t, named)
	require.Equal(t, len(without.decided), len(with.decided))
	for i := range with.decided {
		assert.Equal(t, without.decided[i], with.decided[i])
	}
	with.SetNetworks(nil)
	assert.Equal(t, without.Stats(), with.Stats())
}
