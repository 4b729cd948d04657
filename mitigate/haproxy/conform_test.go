package haproxy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
	"offpath/mitigate/internal/targettest"
)

// conforming starts one for the tests of every target, underMaster one that is reached by
// its master.
func conforming(t testing.TB) *targettest.Balancer { return conformingAt(t, "") }

func underMaster(t testing.TB) *targettest.Balancer { return conformingAt(t, "master:") }

func conformingAt(t testing.TB, address string) *targettest.Balancer {
	s := haproxytest.Start(t, haproxy.Setup{Address: address, TrustedProxies: []netip.Prefix{targettest.Network(targettest.Proxy)}})
	return &targettest.Balancer{
		URL: s.URL, Backend: s.Backend(), Down: s.Down, Up: s.Up, Reload: s.Reload,
		Target: func(t testing.TB) mitigate.Target {
			target, err := haproxy.New(haproxy.Options{Name: "lb1", Address: s.Socket, MapDir: s.MapDir})
			require.NoError(t, err)
			return target
		},
	}
}

func TestHAProxyIsATarget(t *testing.T) {
	targettest.Conform(t, traits, conforming)
	t.Run("predicates", func(t *testing.T) { targettest.Predicates(t, conforming) })
}

func TestHAProxyIsATargetByWayOfItsMaster(t *testing.T) {
	targettest.Conform(t, traits, underMaster)
}

var traits = targettest.Traits{
	Rates: []time.Duration{time.Second, 10 * time.Second, time.Minute}, Networks: true, Expires: true, Tags: true, Counts: true,
}

func BenchmarkDecisionToRefusal(b *testing.B) { targettest.DecisionToRefusal(b, conforming) }
