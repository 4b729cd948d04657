package network_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/network"
)

// write makes a database of networks and their records.
func write(t testing.TB, kind string, version int, records map[string]mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, IPVersion: version, RecordSize: 24, IncludeReservedNetworks: true})
	require.NoError(t, err)
	for _, bits := range []string{"/8", "/16", "/20", "/24", "/26", "/32", "/48", "/56"} { // the larger first
		for text, record := range records {
			if strings.HasSuffix(text, bits) {
				_, n, err := net.ParseCIDR(text)
				require.NoError(t, err)
				require.NoError(t, tree.Insert(n, record))
			}
		}
	}
	path := filepath.Join(t.TempDir(), kind+".mmdb")
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = tree.WriteTo(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return path
}

func asRecord(number uint32, organisation string) mmdbtype.Map {
	return mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(number), "autonomous_system_organization": mmdbtype.String(organisation)}
}

func countryRecord(code string) mmdbtype.Map {
	return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}
}

func paths(t testing.TB) network.Paths {
	return network.Paths{
		AS: write(t, "Test-ASN", 6, map[string]mmdbtype.Map{
			"198.51.0.0/16":     asRecord(64500, "Example Net"),
			"198.51.100.0/26":   asRecord(64501, strings.Repeat("é", 100)),
			"203.0.113.0/24":    asRecord(64502, "bad \xff text"),
			"2001:db8::/32":     asRecord(64503, "Six"),
			"2001:db8:1:0::/56": asRecord(64504, "Part of a /48"),
		}),
		Country: write(t, "Test-Country", 4, map[string]mmdbtype.Map{
			"198.51.0.0/16":  countryRecord("NL"),
			"203.0.113.0/24": countryRecord("nl\x1b"),
		}),
	}
}

func TestWhoseNetworkAnAddressIsIn(t *testing.T) {
	d, err := network.Open(paths(t))
	require.NoError(t, err)
	require.NoError(t, d.Verify())
	assert.Equal(t, []string{"Test-ASN", "Test-Country"}, d.Types())
	long := strings.Repeat("é", 64)
	for _, c := range []struct{ name, of, want string }{
		{"an address", "198.51.7.1", "AS64500 Example Net, NL"},
		{"its neighbour, from memory", "198.51.7.2", "AS64500 Example Net, NL"},
		{"the same, mapped into IPv6", "::ffff:198.51.7.2", "AS64500 Example Net, NL"},
		{"a /24", "198.51.7.0/24", "AS64500 Example Net, NL"},
		{"one address of a /24 that is divided, whose organisation is too long", "198.51.100.1", "AS64501 " + long + ", NL"},
		{"one in its other part", "198.51.100.64", "AS64500 Example Net, NL"},
		{"one in the first part again", "198.51.100.63", "AS64501 " + long + ", NL"},
		{"that /24 as a whole", "198.51.100.0/24", "NL"},
		{"what is no text, and no code of a country", "203.0.113.1", "AS64502 bad  text"},
		{"an address that nothing is known of", "192.0.2.1", ""},
		{"IPv6, where the countries are of IPv4", "2001:db8:2::1", "AS64503 Six"},
		{"a part of a /48", "2001:db8:1::1", "AS64504 Part of a /48"},
		{"the rest of it", "2001:db8:1:100::1", "AS64503 Six"},
		{"a zone", "2001:db8:2::1%eth0", "AS64503 Six"},
	} {
		for range 2 {
			var got network.Info
			if p, err := netip.ParsePrefix(c.of); err == nil {
				got = d.Of(p)
			} else {
				got = d.Lookup(netip.MustParseAddr(c.of))
			}
			assert.Equal(t, c.want, got.String(), c.name)
		}
	}
	assert.Equal(t, network.Info{}, d.Lookup(netip.Addr{}))
}

func TestWhatIsRememberedIsWhatTheDatabaseSays(t *testing.T) {
	p := paths(t)
	d, err := network.Open(p)
	require.NoError(t, err)
	for i := range 3 * 256 {
		a := netip.AddrFrom4([4]byte{198, 51, 100, byte(7 * i)})
		fresh, err := network.Open(network.Paths{AS: p.AS})
		require.NoError(t, err)
		if i%32 == 0 { // opening takes its time
			assert.Equal(t, fresh.Lookup(a).AS, d.Lookup(a).AS, "%v", a)
		}
		d.Lookup(a)
	}
	assert.Zero(t, d.Stats().Hits, "no answer is that of the whole /24")
}

func TestMemoryIsBounded(t *testing.T) {
	d, err := network.Open(paths(t))
	require.NoError(t, err)
	const asked = 100_000
	for i := range asked {
		d.Lookup(netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}))
	}
	s := d.Stats()
	assert.EqualValues(t, asked, s.Lookups)
	assert.Zero(t, s.Hits)
	assert.GreaterOrEqual(t, s.Replaced, uint64(asked-1<<14), "all but those that found a free place")
	assert.Zero(t, s.Damaged)
}

func TestAnAddressWhoseNeighbourWasAskedForCostsNoAllocation(t *testing.T) {
	d, err := network.Open(paths(t))
	require.NoError(t, err)
	a, b := netip.MustParseAddr("198.51.7.1"), netip.MustParseAddr("198.51.7.2")
	d.Lookup(a)
	assert.Zero(t, testing.AllocsPerRun(100, func() { d.Lookup(b) }))
}

func TestOfNoDatabasesNothingIsKnown(t *testing.T) {
	d, err := network.Open(network.Paths{})
	require.NoError(t, err)
	assert.Equal(t, network.Info{}, d.Lookup(netip.MustParseAddr("198.51.7.1")))
	assert.NoError(t, d.Verify())
}

func TestBadFilesAreNamed(t *testing.T) {
	good := paths(t)
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	whole, err := os.ReadFile(good.AS)
	require.NoError(t, err)
	for _, c := range []struct {
		name  string
		paths network.Paths
		want  string
	}{
		{"that is not there", network.Paths{AS: filepath.Join(folder, "none")}, "no such file"},
		{"that is empty", network.Paths{AS: file("empty", "")}, "empty is no MMDB database"},
		{"that is text", network.Paths{Country: file("text", "country,NL")}, "text is no MMDB database"},
		{"that lacks its end", network.Paths{AS: file("cut", string(whole[:len(whole)/2]))}, "cut is no MMDB database"},
		{"of another kind", network.Paths{AS: good.Country}, `has no autonomous_system_number: it is a database of the type "Test-Country", not one of autonomous systems`},
		{"of another kind, the other way", network.Paths{Country: good.AS}, `has no country.iso_code: it is a database of the type "Test-ASN", not one of countries`},
		{"with other records", network.Paths{Country: write(t, "Other", 4, map[string]mmdbtype.Map{"198.51.0.0/16": {"country": mmdbtype.String("NL")}})}, "has other records than one of countries"},
	} {
		_, err := network.Open(c.paths)
		assert.ErrorContains(t, err, c.want, c.name)
	}
}

func TestADamagedRecordSaysNothing(t *testing.T) {
	path := write(t, "Test-ASN", 4, map[string]mmdbtype.Map{
		"192.0.0.0/8":    asRecord(64500, "first"),
		"198.51.0.0/16":  {"autonomous_system_number": mmdbtype.String("no number")},
		"203.0.113.0/24": asRecord(64501, "last"),
	})
	d, err := network.Open(network.Paths{AS: path})
	require.NoError(t, err)
	assert.ErrorContains(t, d.Verify(), "record of 198.51.0.0/16")
	assert.Equal(t, network.Info{}, d.Lookup(netip.MustParseAddr("198.51.7.1")))
	assert.Equal(t, "AS64501 last", d.Lookup(netip.MustParseAddr("203.0.113.9")).String())
	assert.EqualValues(t, 1, d.Stats().Damaged)
}

func BenchmarkLookup(b *testing.B) {
	d, err := network.Open(paths(b))
	require.NoError(b, err)
	for _, text := range []string{"198.51.7.1", "198.51.100.1"} { // remembered, and not
		a := netip.MustParseAddr(text)
		b.Run(fmt.Sprint(a), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.Lookup(a)
			}
		})
	}
}
