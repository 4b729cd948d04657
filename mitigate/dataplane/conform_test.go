package dataplane_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate"
	"offpath/mitigate/dataplane"
	"offpath/mitigate/internal/dataplanetest"
	"offpath/mitigate/internal/targettest"
)

var proxied = dataplane.Setup{TrustedProxies: []netip.Prefix{targettest.Network(targettest.Proxy)}}

func password() ([]byte, error) { return []byte(dataplanetest.Password), nil }

// newTarget makes a target of an API at an address.
func newTarget(t testing.TB, s *dataplanetest.Server, address string) *dataplane.Target {
	t.Helper()
	target, err := dataplane.New(dataplane.Options{
		Name: "lb1", Address: address, User: dataplanetest.User, Password: password, MapDir: s.MapDir,
	})
	require.NoError(t, err)
	return target
}

// conforming starts one for the tests of every target.
func conforming(version int) func(t testing.TB) *targettest.Balancer {
	return func(t testing.TB) *targettest.Balancer {
		s := dataplanetest.Start(t, proxied, version)
		return &targettest.Balancer{
			URL: s.URL, Backend: s.Backend(), Down: s.Down, Up: s.Up, Reload: s.Reload,
			Target: func(t testing.TB) mitigate.Target { return newTarget(t, s, s.Address) },
		}
	}
}

func TestTheDataPlaneAPIIsATarget(t *testing.T) {
	for _, version := range []int{2, 3} {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			targettest.Conform(t, targettest.Traits{
				Rates: []time.Duration{time.Second, 10 * time.Second, time.Minute}, Networks: true, Expires: true, Tags: true, Counts: true,
			}, conforming(version))
		})
	}
	t.Run("predicates", func(t *testing.T) { targettest.Predicates(t, conforming(3)) })
}
