package haproxy_test

import (
	"fmt"
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

// two are HAProxies that teach each other their rows.
func two(t *testing.T) (a, b *haproxytest.Server) {
	t.Helper()
	ports := targettest.FreePorts(t, 2)
	peers := []haproxy.Peer{{Name: "lb1", Address: fmt.Sprintf("127.0.0.1:%d", ports[0])}, {Name: "lb2", Address: fmt.Sprintf("127.0.0.1:%d", ports[1])}}
	start := func(own, other haproxy.Peer) *haproxytest.Server {
		setup := proxied
		setup.PeerName, setup.PeerAddress, setup.Peers = own.Name, own.Address, []haproxy.Peer{other}
		return haproxytest.Start(t, setup)
	}
	return start(peers[0], peers[1]), start(peers[1], peers[0])
}

func TestWhatIsLiftedAtPeersStaysLifted(t *testing.T) {
	first, second := two(t)
	nodes := []*haproxytest.Server{first, second}
	c, _ := targettest.Running(t, controller.Config{
		Targets: []mitigate.Target{
			newTarget(t, first.Socket, first), newTarget(t, second.Socket, second, func(o *haproxy.Options) { o.Name = "lb2" }),
		},
		Mode: detect.ModeEnforce, MaxPerMinute: 1 << 20,
	})
	both := func(what string, client string, want targettest.Answer) {
		t.Helper()
		for i, s := range nodes {
			targettest.Eventually(t, func() bool { return get(s, client, "/") == want }, func() string {
				return fmt.Sprintf("%s: node %d answers %+v", what, i, get(s, client, "/"))
			})
		}
	}
	kept, lifted := targettest.Block(1, client), targettest.Block(2, other)
	require.NoError(t, c.Apply(kept))
	require.NoError(t, c.Apply(lifted))
	both("blocked", client, targettest.Answer{Status: 403, Marker: kept.ID})
	both("blocked", other, targettest.Answer{Status: 403, Marker: lifted.ID})
	require.NoError(t, c.Lift(lifted.ID, "alice"))
	both("lifted", other, passed)

	// What one learns anew from the other is what is in force.
	for _, s := range nodes {
		s.Down()
		s.Up()
		targettest.Eventually(t, func() bool { return get(s, client, "/").Status == 403 }, func() string { return "blocked after a restart" })
		for range 20 {
			assert.Equal(t, passed, get(s, other, "/"), "lifted stays lifted")
			time.Sleep(5 * time.Millisecond)
		}
	}
	require.NoError(t, c.Off("alice"))
	both("off", client, passed)
	first.Down()
	first.Up()
	for range 20 {
		assert.Equal(t, passed, get(first, client, "/"), "off outlives a restart")
		time.Sleep(5 * time.Millisecond)
	}
	require.NoError(t, c.On("alice"))
	both("on", client, targettest.Answer{Status: 403, Marker: kept.ID})
}

func TestANodeThatStartsIsTaughtByItsPeerWithoutTheController(t *testing.T) {
	first, second := two(t)
	target := newTarget(t, first.Socket, first)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	e := entry(client)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	blocked := func(s *haproxytest.Server) {
		t.Helper()
		targettest.Eventually(t, func() bool { return get(s, client, "/") == refused(403, e) }, func() string { return "blocked" })
	}
	blocked(second)
	second.Down()
	second.Up()
	blocked(second)
}

func TestAKillSwitchByHandAtOneNodeIsOneAtAll(t *testing.T) {
	first, second := two(t)
	target := newTarget(t, first.Socket, first)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	e := entry(client)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	for _, s := range []*haproxytest.Server{first, second} {
		targettest.Eventually(t, func() bool { return get(s, client, "/").Status == 403 }, func() string { return "blocked" })
	}
	first.Command("set table offpath_verdicts key off data.gpt0 1")
	for _, s := range []*haproxytest.Server{first, second} {
		targettest.Eventually(t, func() bool { return get(s, client, "/") == passed }, func() string { return "off" })
	}
}

// Each look at the row "off" once wrote it, and so brought it back where it had been ended.
func TestALookAtOnePeerDoesNotTurnOffAnotherThatWasReleased(t *testing.T) {
	first, second := two(t)
	one, two := newTarget(t, first.Socket, first), newTarget(t, second.Socket, second)
	require.NoError(t, one.SetMode(t.Context(), detect.ModeEnforce, false))
	require.NoError(t, two.SetMode(t.Context(), detect.ModeEnforce, false))
	first.Command("set table offpath_verdicts key off data.gpt0 1")
	off := func(target *haproxy.Target) bool {
		_, local, err := target.Mode(t.Context())
		return err == nil && local
	}
	targettest.Eventually(t, func() bool { return off(one) && off(two) }, func() string { return "off at both" })
	require.NoError(t, one.SetMode(t.Context(), detect.ModeEnforce, true))
	assert.False(t, off(one))
	for range 20 {
		assert.True(t, off(two), "until it is released as well")
		time.Sleep(50 * time.Millisecond)
		require.False(t, off(one), "it was released")
	}
}
