package nginx_test

import (
	"net/netip"
	"testing"
	"time"

	"offpath/mitigate"
	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginx"
)

// conforming starts one for the tests of every target.
func conforming(t testing.TB) *targettest.Balancer {
	s := nginxtest.Start(t, nginx.Setup{TrustedProxies: []netip.Prefix{targettest.Network(targettest.Proxy)}}, nginxtest.Options{})
	return &targettest.Balancer{
		URL: s.URL, Backend: s.Backend(), Down: s.Down, Up: s.Up, Reload: s.Reload,
		Target: func(t testing.TB) mitigate.Target { return s.Target(t) },
	}
}

func TestNginxIsATarget(t *testing.T) {
	t.Parallel()
	targettest.Conform(t, targettest.Traits{
		Rates: []time.Duration{time.Second, 7 * time.Second, time.Minute}, Networks: true, Expires: true, Tags: true, Counts: true,
	}, conforming)

	t.Run("predicates", func(t *testing.T) { targettest.Predicates(t, conforming) })
}

func BenchmarkDecisionToRefusal(b *testing.B) { targettest.DecisionToRefusal(b, conforming) }
