package envoy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate"
	"offpath/mitigate/envoy"
	"offpath/mitigate/internal/envoytest"
	"offpath/mitigate/internal/targettest"
)

// conforming starts one for the tests of every target.
func conforming(t testing.TB) *targettest.Balancer {
	address := envoytest.Address(t)
	s := envoytest.Start(t, envoy.Setup{Address: address, TrustedProxies: []netip.Prefix{targettest.Network(targettest.Proxy)}})
	return &targettest.Balancer{
		URL: s.URL, Backend: s.Backend(), Down: s.Down, Up: s.Up,
		Target: func(t testing.TB) mitigate.Target {
			target, err := envoy.New(envoy.Options{Name: "lb1", Address: address})
			require.NoError(t, err)
			return target
		},
	}
}

func TestEnvoyIsATarget(t *testing.T) {
	t.Parallel()
	targettest.Conform(t, targettest.Traits{
		Rates: []time.Duration{time.Second, 7 * time.Second, time.Minute}, Networks: true, Expires: true, Tags: true, Counts: true,
	}, conforming)
}

func BenchmarkDecisionToRefusal(b *testing.B) { targettest.DecisionToRefusal(b, conforming) }
