package internet

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/lease"
	"offpath/cmd/lab/internal/netns"
)

// The test binary stands for the laboratory's as a janitor.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "janitor" {
		if err := lease.Janitor(os.Args[2]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func build(t *testing.T, tap Placement) *Internet {
	if os.Geteuid() != 0 {
		t.Skip("makes network namespaces: needs root")
	}
	for _, program := range []string{"ip", "tc", "ethtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs ip, tc and ethtool (Debian packages iproute2 and ethtool)")
		}
	}
	l, err := lease.Take(os.Args[0], "janitor")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Release()) })
	i, err := Build(Config{Namespace: l.Namespace, Tap: tap})
	require.NoError(t, err)
	t.Cleanup(i.Close)
	return i
}

// serve answers every connection in a namespace with the client's address,
// and closes it.
func serve(t *testing.T, i *Internet, part, address string) {
	space, err := netns.Open(i.Name(part), 1)
	require.NoError(t, err)
	t.Cleanup(space.Close)
	var listener net.Listener
	require.NoError(t, space.Do(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}))
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte(netip.MustParseAddrPort(conn.RemoteAddr().String()).Addr().String()))
			conn.Close()
		}
	}()
}

// ask connects and returns what the server says.
func ask(t *testing.T, space *netns.Space, from netip.Addr, to netip.AddrPort) string {
	conn, err := space.Dial(t.Context(), from, to)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	b := make([]byte, 100)
	n, err := conn.Read(b)
	require.NoError(t, err)
	return string(b[:n])
}

func TestEverybodyReachesTheServiceFromTheirOwnAddress(t *testing.T) {
	i := build(t, Front)
	serve(t, i, "balancer", netip.AddrPortFrom(Service, 80).String())
	serve(t, i, "balancer", netip.AddrPortFrom(Service6, 80).String())
	for _, test := range []struct {
		name  string
		space *netns.Space
		from  string
		want  string
	}{
		{"a customer at home", i.Customers, "198.18.77.3", "198.18.77.3"},
		{"a customer behind a carrier's address", i.Customers, "198.51.100.12", "198.51.100.12"},
		{"a customer with IPv6", i.Customers, "2001:db8:c000:77::1", "2001:db8:c000:77::1"},
		{"a bot", i.Attackers, "198.19.4.20", "198.19.4.20"},
		{"a bot with IPv6", i.Attackers, "2001:db8:a000:5::1", "2001:db8:a000:5::1"},
		{"a program that leaves the choice to the kernel, as hydra does", i.Attackers, "", Hydra.String()},
	} {
		t.Run(test.name, func(t *testing.T) {
			var from netip.Addr
			to := netip.AddrPortFrom(Service, 80)
			if test.from != "" {
				from = netip.MustParseAddr(test.from)
				if from.Is6() {
					to = netip.AddrPortFrom(Service6, 80)
				}
			}
			assert.Equal(t, test.want, ask(t, test.space, from, to))
		})
	}
}

func TestTheMirrorShowsTheLegsOfItsPlacement(t *testing.T) {
	for _, test := range []struct {
		tap                 Placement
		customers, balancer bool // whose connections it shows
	}{{Front, true, false}, {Back, false, true}, {Both, true, true}} {
		t.Run(string(test.tap), func(t *testing.T) {
			i := build(t, test.tap)
			inside := netip.AddrPortFrom(Bank, 8080)
			serve(t, i, "balancer", netip.AddrPortFrom(Service, 80).String())
			serve(t, i, "bank", inside.String())
			balancer, err := netns.Open(i.Name("balancer"), 1)
			require.NoError(t, err)
			defer balancer.Close()

			// A connection is three frames of the handshake and the answer, at
			// least. Interfaces that come up send a few of their own.
			const connections, frames = 25, 25 * 4
			before, early, err := i.Mirrored()
			require.NoError(t, err)
			for range connections {
				ask(t, i.Customers, netip.MustParseAddr("198.18.0.1"), netip.AddrPortFrom(Service, 80))
			}
			between := mirrored(t, i, early)
			for range connections {
				ask(t, balancer, netip.Addr{}, inside)
			}
			after := mirrored(t, i, early)
			assert.Equal(t, test.customers, between-before >= frames, "%d frames", between-before)
			assert.Equal(t, test.balancer, after-between >= frames, "%d frames", after-between)
		})
	}
}

func mirrored(t *testing.T, i *Internet, early uint64) uint64 {
	sent, lost, err := i.Mirrored()
	require.NoError(t, err)
	assert.Equal(t, early, lost, "frames lost")
	return sent
}

func TestAnUnknownPlacementIsQuoted(t *testing.T) {
	_, err := Build(Config{Tap: "side"})
	require.Error(t, err)
	assert.ErrorContains(t, err, `"side"`)
}
