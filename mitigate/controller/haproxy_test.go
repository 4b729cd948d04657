package controller_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
	"offpath/mitigate/internal/targettest"
)

// These tests let the controller and a real HAProxy work together and look at
// what clients are answered.

const (
	attacker = "127.1.2.3"
	customer = "127.1.2.4"
)

func targetOf(t testing.TB, name, address string, s *haproxytest.Server) mitigate.Target {
	t.Helper()
	target, err := haproxy.New(haproxy.Options{Name: name, Address: address, MapDir: s.MapDir})
	require.NoError(t, err)
	return target
}

func eventually(t testing.TB, condition func() bool, message string) {
	t.Helper()
	require.Eventually(t, condition, targettest.Wait, 5*time.Millisecond, message)
}

func status(s *haproxytest.Server, from string) int { return s.Get(from, "/").Status }

func TestVerdictIsInForceWithinATenthOfASecondAndLiftedAgain(t *testing.T) {
	s := haproxytest.Start(t, haproxy.Setup{})
	c, _ := targettest.Running(t, controller.Config{
		Targets: []mitigate.Target{targetOf(t, "lb1", s.Socket, s)},
		Mode:    detect.ModeEnforce,
	})
	eventually(t, func() bool { return c.Targets()[0].Mode == detect.ModeEnforce && c.Targets()[0].Connected }, "connected")

	var took []time.Duration
	for i := range uint32(20) {
		from := fmt.Sprintf("127.1.5.%d", i+1)
		began := time.Now()
		require.NoError(t, c.Apply(targettest.Block(i+1, from)))
		eventually(t, func() bool { return status(s, from) == 403 }, "refused")
		took = append(took, time.Since(began))
	}
	var sum, slowest time.Duration
	for _, d := range took {
		sum += d
		slowest = max(slowest, d)
	}
	t.Logf("verdict to first 403: mean %s, slowest %s (asked every 5 ms)", sum/time.Duration(len(took)), slowest)
	assert.Equal(t, 200, status(s, customer))

	v := targettest.Block(1, "127.1.5.1")
	assert.Equal(t, v.ID, s.Get("127.1.5.1", "/").Marker)
	require.NoError(t, c.Lift(v.ID, "alice"))
	eventually(t, func() bool { return status(s, "127.1.5.1") == 200 }, "lifted")
	assert.ErrorIs(t, c.Lift(v.ID, "alice"), controller.ErrUnknownVerdict)
	assert.ErrorIs(t, c.Apply(v), controller.ErrStale, "a late copy does not bring it back")
}

func TestMonitorIsTheDefaultAndRefusesNobody(t *testing.T) {
	s := haproxytest.Start(t, haproxy.Setup{})
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{targetOf(t, "lb1", s.Socket, s)}})
	v := targettest.Block(1, attacker)
	require.NoError(t, c.Apply(v))
	eventually(t, func() bool { return s.Get(attacker, "/").Tag == v.ID }, "tagged")
	assert.Equal(t, 200, status(s, attacker))

	require.NoError(t, c.SetMode(detect.ModeEnforce, "alice"))
	eventually(t, func() bool { return status(s, attacker) == 403 }, "enforced")
	require.NoError(t, c.SetMode(detect.ModeMonitor, "alice"))
	eventually(t, func() bool { return status(s, attacker) == 200 }, "monitored again")
}

func TestKillSwitchHoldsThroughRestartsOfEveryone(t *testing.T) {
	s := haproxytest.Start(t, haproxy.Setup{})
	config := controller.Config{
		Targets:  []mitigate.Target{targetOf(t, "lb1", s.Socket, s)},
		Mode:     detect.ModeEnforce,
		StateDir: t.TempDir(),
	}
	c, stop := targettest.Running(t, config)
	require.NoError(t, c.Apply(targettest.Block(1, attacker)))
	eventually(t, func() bool { return status(s, attacker) == 403 }, "refused")

	began := time.Now()
	require.NoError(t, c.Off("alice"))
	eventually(t, func() bool { return status(s, attacker) == 200 }, "off")
	t.Logf("off after %s", time.Since(began).Round(time.Millisecond))

	stop()
	s.Down()
	s.Up()
	c, _ = targettest.Running(t, config)
	assert.True(t, c.Stats().Off)
	eventually(t, func() bool { return c.Targets()[0].InForce == 1 }, "the verdict is remembered")
	eventually(t, func() bool { return c.Targets()[0].Mode == detect.ModeOff }, "still off")
	assert.Equal(t, 200, status(s, attacker))

	require.NoError(t, c.On("alice"))
	eventually(t, func() bool { return status(s, attacker) == 403 }, "on")
}

func TestOffByHandAtTheLoadBalancerIsSeenAndStandsUntilOn(t *testing.T) {
	s := haproxytest.Start(t, haproxy.Setup{})
	c, _ := targettest.Running(t, controller.Config{
		Targets: []mitigate.Target{targetOf(t, "lb1", s.Socket, s)},
		Mode:    detect.ModeEnforce,
	})
	require.NoError(t, c.Apply(targettest.Block(1, attacker)))
	eventually(t, func() bool { return status(s, attacker) == 403 }, "refused")
	require.Empty(t, s.Command("set table offpath_verdicts key off data.gpt0 1"))
	eventually(t, func() bool { return c.Targets()[0].LocalOff }, "noticed")
	assert.Equal(t, 200, status(s, attacker))
	require.NoError(t, c.On("alice"))
	eventually(t, func() bool { return status(s, attacker) == 403 }, "on")
}

func TestRestartedHAProxyGetsEverythingBack(t *testing.T) {
	s := haproxytest.Start(t, haproxy.Setup{TrustedProxies: []netip.Prefix{targettest.Network("127.0.0.1")}})
	c, _ := targettest.Running(t, controller.Config{
		Targets: []mitigate.Target{targetOf(t, "lb1", s.Socket, s)},
		Mode:    detect.ModeEnforce,
		Allow:   []netip.Prefix{targettest.Network("192.0.2.0/24")},
	})
	require.NoError(t, c.Apply(targettest.Block(1, attacker)))
	require.NoError(t, c.Apply(targettest.Block(2, "2001:db8:1:2::/64")))
	all := func() bool {
		return status(s, attacker) == 403 &&
			s.Get("127.0.0.1", "/", "X-Forwarded-For", "2001:db8:1:2::9").Status == 403 &&
			s.Command("show map "+s.MapDir+"/allow-live.map") != ""
	}
	eventually(t, all, "in force")
	s.Down()
	eventually(t, func() bool { return !c.Targets()[0].Connected }, "noticed")
	require.NoError(t, c.Apply(targettest.Block(3, customer)))
	s.Up()
	began := time.Now()
	eventually(t, all, "put back")
	t.Logf("put back %s after HAProxy answered (looked at each 50 ms)", time.Since(began).Round(time.Millisecond))
	eventually(t, func() bool { return status(s, customer) == 403 }, "what came meanwhile too")
	assert.EqualValues(t, 1, c.Targets()[0].Restarts)
}

func TestWhatSomeoneChangedAtHAProxyIsMendedByTheNextComparison(t *testing.T) {
	s := haproxytest.Start(t, haproxy.Setup{})
	c, _ := targettest.Running(t, controller.Config{
		Targets:         []mitigate.Target{targetOf(t, "lb1", s.Socket, s)},
		Mode:            detect.ModeEnforce,
		CompareInterval: 50 * time.Millisecond,
	})
	require.NoError(t, c.Apply(targettest.Block(1, attacker)))
	eventually(t, func() bool { return status(s, attacker) == 403 }, "refused")
	s.Command("clear table offpath_verdicts key ip:" + attacker)
	s.Command("set table offpath_verdicts key ip:" + customer + " data.gpt0 1 data.gpc0 4294967295 data.conn_cnt 1 data.sess_cnt 1")
	eventually(t, func() bool { return status(s, attacker) == 403 }, "set again")
	eventually(t, func() bool { return status(s, customer) == 200 }, "removed")
	eventually(t, func() bool { return c.Targets()[0].Drift == 2 }, "and counted")

	s.Command("clear table offpath_verdicts key mode")
	eventually(t, func() bool { return status(s, attacker) == 403 }, "the mode too")
}

func TestReloadedHAProxyIsNoticedAndCompared(t *testing.T) {
	t.Parallel()
	s := haproxytest.Start(t, haproxy.Setup{TrustedProxies: []netip.Prefix{targettest.Network("127.0.0.1")}})
	c, _ := targettest.Running(t, controller.Config{
		Targets: []mitigate.Target{targetOf(t, "lb1", s.Socket, s)},
		Mode:    detect.ModeEnforce,
	})
	require.NoError(t, c.Apply(targettest.Block(1, attacker)))
	require.NoError(t, c.Apply(targettest.Block(2, "2001:db8:1:2::/64")))
	all := func() bool {
		return status(s, attacker) == 403 &&
			s.Get("127.0.0.1", "/", "X-Forwarded-For", "2001:db8:1:2::9").Status == 403
	}
	eventually(t, all, "in force")
	s.Reload()
	eventually(t, all, "still in force, the map that a reload empties too")
	eventually(t, func() bool { return c.Targets()[0].Restarts == 1 }, "noticed")
}

func TestAbsentSocketDelaysNobodyAndVerdictsArriveWhenItComesBack(t *testing.T) {
	up := haproxytest.Start(t, haproxy.Setup{})
	down := haproxytest.New(t, haproxy.Setup{})
	c, _ := targettest.Running(t, controller.Config{
		Targets: []mitigate.Target{targetOf(t, "down", down.Socket, down), targetOf(t, "up", up.TCP, up)},
		Mode:    detect.ModeEnforce,
	})
	require.NoError(t, c.Apply(targettest.Block(1, attacker)))
	eventually(t, func() bool { return status(up, attacker) == 403 }, "at the one that is up")
	eventually(t, func() bool { return c.Targets()[0].LastError != "" }, "the other says why")
	assert.False(t, c.Targets()[0].Connected)
	state := func(i int) controller.State { return c.Verdicts()[0].Targets[i].State }
	assert.Equal(t, controller.StatePending, state(0))
	eventually(t, func() bool { return state(1) == controller.StateInForce }, "confirmed")

	down.Up()
	eventually(t, func() bool { return status(down, attacker) == 403 }, "it has come back")
	eventually(t, func() bool { return state(0) == controller.StateInForce }, "confirmed")
	assert.Empty(t, c.Targets()[0].LastError)
}

func TestHungHAProxyDelaysNobody(t *testing.T) {
	well := haproxytest.Start(t, haproxy.Setup{})
	hung := haproxytest.Start(t, haproxy.Setup{})
	target, err := haproxy.New(haproxy.Options{Name: "hung", Address: hung.Socket, MapDir: hung.MapDir, Timeout: 300 * time.Millisecond})
	require.NoError(t, err)
	c, _ := targettest.Running(t, controller.Config{
		Targets: []mitigate.Target{target, targetOf(t, "well", well.Socket, well)},
		Mode:    detect.ModeEnforce,
	})
	eventually(t, func() bool { return c.Targets()[0].Connected && c.Targets()[1].Connected }, "both up")
	hung.Pause()
	t.Cleanup(hung.Resume)
	require.NoError(t, c.Apply(targettest.Block(1, attacker)))
	eventually(t, func() bool { return status(well, attacker) == 403 }, "at the well one")
	eventually(t, func() bool { return !c.Targets()[0].Connected }, "the hung one counts as down")
	hung.Resume()
	eventually(t, func() bool { return status(hung, attacker) == 403 }, "when it runs again")
}

func TestHitsReachTheEngineAsDifferences(t *testing.T) {
	s := haproxytest.Start(t, haproxy.Setup{})
	var mu sync.Mutex
	var refused, passed uint64
	c, _ := targettest.Running(t, controller.Config{
		Targets:      []mitigate.Target{targetOf(t, "lb1", s.Socket, s)},
		Mode:         detect.ModeEnforce,
		HitsInterval: 20 * time.Millisecond,
		OnHits: func(hits []detect.Hits) {
			mu.Lock()
			defer mu.Unlock()
			for _, h := range hits {
				refused += h.Refused
				passed += h.Passed
			}
		},
	})
	counted := func() [2]uint64 {
		mu.Lock()
		defer mu.Unlock()
		return [2]uint64{refused, passed}
	}
	v := targettest.Block(1, attacker)
	v.Action, v.Rate = detect.ActionRateLimit, detect.Rate{Requests: 2, Per: 60e9}
	require.NoError(t, c.Apply(v))
	eventually(t, func() bool { return c.Targets()[0].InForce == 1 && c.Targets()[0].Mode == detect.ModeEnforce }, "in force")
	for range 3 {
		s.Get(attacker, "/")
	}
	eventually(t, func() bool { return counted() == [2]uint64{1, 2} }, "counted")
	for range 3 {
		s.Get(attacker, "/")
	}
	eventually(t, func() bool { return counted() == [2]uint64{4, 2} }, "only what is new")
	got := c.Verdicts()[0].Targets[0]
	assert.Equal(t, [2]uint64{4, 2}, [2]uint64{got.Refused, got.Passed})
}

func TestHundredThousandVerdictsArriveAndTheKillSwitchDoesNotWaitForThem(t *testing.T) {
	const n = 100_000
	s := haproxytest.Start(t, haproxy.Setup{})
	c, _ := targettest.Running(t, controller.Config{
		MaxPerMinute: 2 * n,
		Targets:      []mitigate.Target{targetOf(t, "lb1", s.Socket, s)},
		Mode:         detect.ModeEnforce,
	})
	require.NoError(t, c.Apply(targettest.Block(n+1, attacker)))
	eventually(t, func() bool { return status(s, attacker) == 403 }, "refused")

	began := time.Now()
	for i := range uint32(n) {
		require.NoError(t, c.Apply(targettest.Block(i+1, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))))
	}
	accepted := time.Since(began)
	require.Positive(t, c.Targets()[0].Pending, "the load is under way")
	switched := time.Now()
	require.NoError(t, c.Off("alice"))
	eventually(t, func() bool { return status(s, attacker) == 200 }, "off")
	off := time.Since(switched)
	underWay := c.Targets()[0].Pending
	eventually(t, func() bool { return c.Targets()[0].InForce == n+1 }, "all in force")
	t.Logf("%d verdicts accepted in %s, in force after %s; kill switch after %s with %d still to come",
		n, accepted.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), off.Round(time.Millisecond), underWay)
}
