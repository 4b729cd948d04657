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

// conforming starts one for the tests of every target.
func conforming(t testing.TB) *targettest.Balancer {
	s := haproxytest.Start(t, haproxy.Setup{TrustedProxies: []netip.Prefix{targettest.Network(targettest.Proxy)}})
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
	targettest.Conform(t, targettest.Traits{
		Rates: []time.Duration{time.Second, 10 * time.Second, time.Minute}, Networks: true, Expires: true, Tags: true, Counts: true,
	}, conforming)

	t.Run("predicates", func(t *testing.T) { targettest.Predicates(t, conforming) })
}

func BenchmarkDecisionToRefusal(b *testing.B) { targettest.DecisionToRefusal(b, conforming) }
