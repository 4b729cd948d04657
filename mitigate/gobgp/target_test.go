package gobgp_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/gobgp"
	"offpath/mitigate/internal/targettest"
)

func TestWhatTheNeighbourHoldsIsWhatEveryTargetHasToDo(t *testing.T) {
	t.Parallel()
	for _, method := range []string{gobgp.FlowSpec, gobgp.RTBH} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			targettest.Conform(t, targettest.Traits{}, func(t testing.TB) *targettest.Balancer {
				return newPair(t).balancer(t, method)
			})
		})
	}
}

// others starts what an operator has announced by the same gobgpd.
func (p *pair) others(t testing.TB) {
	t.Helper()
	p.ours.cli("global", "rib", "add", "-a", "ipv4", "203.0.113.9/32", "nexthop", "192.0.2.9", "community", "65535:666")
	p.ours.cli("global", "rib", "add", "-a", "ipv4-flowspec", "match", "source", "203.0.113.9/32", "destination", "198.51.100.0/24", "then", "discard")
}

func TestRoutesThatAreNotOursAreLeftAlone(t *testing.T) {
	t.Parallel()
	for _, method := range []string{gobgp.FlowSpec, gobgp.RTBH} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.others(t)
			p.holds(t, method, "203.0.113.9")
			o := p.options(method)
			o.Ports = nil // so that a rule of ours is the operator's very rule
			target := newTarget(t, o)
			require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
			_, err := target.Sync(t.Context(), []mitigate.Entry{entry(1, "203.0.113.9"), entry(2, "203.0.113.10")})
			require.NoError(t, err)
			p.holds(t, method, "203.0.113.9", "203.0.113.10")
			require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
			p.holds(t, method, "203.0.113.9")
			_, err = target.Sync(t.Context(), nil)
			require.NoError(t, err)
			p.holds(t, method, "203.0.113.9")
			family := map[string]string{gobgp.FlowSpec: "ipv4-flowspec", gobgp.RTBH: "ipv4"}[method]
			assert.Len(t, p.ours.paths(family), 1, "the operator's alone")
		})
	}
}

func TestARuleOfFlowSpecNamesClientDestinationAndPorts(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	target := p.enforced(t, gobgp.FlowSpec)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, "203.0.113.7"), entry(2, "2001:db8:1::/48")}, nil))
	p.holds(t, gobgp.FlowSpec, "203.0.113.7", "2001:db8:1::/48")
	list := p.neighbor.cli("global", "rib", "-a", "ipv4-flowspec")
	assert.Contains(t, list, "[destination: 198.51.100.0/24][source: 203.0.113.7/32][protocol: ==tcp ==udp][destination-port: ==80 ==443]")
	assert.Contains(t, list, "[discard]")
	assert.Contains(t, list, "no-export")
	assert.Contains(t, p.neighbor.cli("global", "rib", "-a", "ipv6-flowspec"), "[destination: 2001:db8:ffff::/48/0][source: 2001:db8:1::/48/0][protocol: ==tcp ==udp][destination-port: ==80 ==443]")
}

func TestARouteOfRTBHHasTheCommunitiesAndTheNextHop(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	target := p.enforced(t, gobgp.RTBH)
	e := entry(1, "203.0.113.7")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e, entry(2, "2001:db8:1::/48")}, nil))
	p.holds(t, gobgp.RTBH, "203.0.113.7", "2001:db8:1::/48")
	list := p.neighbor.cli("global", "rib", "-a", "ipv4")
	assert.Regexp(t, `203\.0\.113\.7/32 +192\.0\.2\.1 +64512 .*blackhole, no-export`, list)
	assert.Contains(t, list, fmt.Sprintf("64512:1868955651:%d", e.Expires), "when it ends, for whom it may help")
	assert.Regexp(t, `2001:db8:1::/48 +100::1 .*blackhole, no-export`, p.neighbor.cli("global", "rib", "-a", "ipv6"))
}

func TestWhenGoBGPEndsTheNeighbourDropsNobody(t *testing.T) {
	t.Parallel()
	// As it does with offpath, where the unit says BindsTo=.
	p := newPair(t)
	target := p.enforced(t, gobgp.FlowSpec)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, "203.0.113.7")}, nil))
	p.holds(t, gobgp.FlowSpec, "203.0.113.7")
	p.ours.kill()
	p.holds(t, gobgp.FlowSpec)
	p.ours.start()
	p.ours.connected()
	mode, _, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeOff, mode, "a missing mode means off")
	p.holds(t, gobgp.FlowSpec)
}

func TestWhatExpiredWithTheControllerDeadEndsWhenItStarts(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	target := p.enforced(t, gobgp.RTBH)
	short := entry(1, "203.0.113.7", func(e *mitigate.Entry) { e.Expires = time.Now().Unix() + 2 })
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{short, entry(2, "203.0.113.8")}, nil))
	p.holds(t, gobgp.RTBH, "203.0.113.7", "203.0.113.8")
	next := p.target(t, gobgp.RTBH)
	targettest.Eventually(t, func() bool { return time.Now().Unix() >= short.Expires }, func() string { return "time" })
	require.NoError(t, next.Sweep(t.Context()), "its second stands in the route: no journal is needed")
	p.holds(t, gobgp.RTBH, "203.0.113.8")
}

func TestTheControllerWithdrawsWhatExpires(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{p.target(t, gobgp.FlowSpec)}, Mode: detect.ModeEnforce})
	v := targettest.Block(1, targettest.Attacker)
	v.Expires = time.Now().Add(4 * time.Second).UnixNano()
	require.NoError(t, c.Apply(v))
	p.holds(t, gobgp.FlowSpec, targettest.Attacker)
	p.holds(t, gobgp.FlowSpec)
	assert.GreaterOrEqual(t, time.Now().UnixNano(), v.Expires)
}

func TestAPersonTurnsItOffAtGoBGPUntilItIsReleased(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	target := p.enforced(t, gobgp.FlowSpec)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, "203.0.113.7")}, nil))
	p.holds(t, gobgp.FlowSpec, "203.0.113.7")
	p.ours.cli("policy", "large-community", "add", "offpath-off", "0:0:0")
	mode, local, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeOff, mode)
	assert.True(t, local)
	p.holds(t, gobgp.FlowSpec)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	p.holds(t, gobgp.FlowSpec)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	p.holds(t, gobgp.FlowSpec, "203.0.113.7")
}

func TestAnOffOfAnotherProcessHoldsForThisOne(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	target, other := p.enforced(t, gobgp.RTBH), p.target(t, gobgp.RTBH)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, "203.0.113.7")}, nil))
	p.holds(t, gobgp.RTBH, "203.0.113.7")
	require.NoError(t, other.SetMode(t.Context(), detect.ModeOff, false))
	p.holds(t, gobgp.RTBH)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(2, "203.0.113.8")}, nil))
	p.holds(t, gobgp.RTBH)
	require.NoError(t, other.SetMode(t.Context(), detect.ModeEnforce, false))
	_, _, err := target.Mode(t.Context())
	require.NoError(t, err)
	p.holds(t, gobgp.RTBH, "203.0.113.7", "203.0.113.8")
}

func TestTheAllowListWinsAndWhatItHoldsBackIsSaid(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	target := p.enforced(t, gobgp.RTBH)
	wide := entry(1, "203.0.113.0/24")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{wide, entry(2, "203.0.112.1")}, nil))
	p.holds(t, gobgp.RTBH, "203.0.113.0/24", "203.0.112.1")
	require.NoError(t, p.target(t, gobgp.RTBH).SetAllow(t.Context(), []netip.Prefix{targettest.Network("203.0.113.77")}), "also of one that knows no verdict")
	p.holds(t, gobgp.RTBH, "203.0.112.1")
	require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{targettest.Network("203.0.113.77")}))
	var rejected *mitigate.RejectedError
	_, err := target.Sync(t.Context(), []mitigate.Entry{wide})
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, []mitigate.Rejection{{ID: wide.ID, Answer: "203.0.113.0/24 overlaps 203.0.113.77/32, which is allowed"}}, rejected.Rejections)
	p.holds(t, gobgp.RTBH)
}

func TestNoRouteCoversANeighbourAndNoneExceedsTheCapacity(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	o := p.options(gobgp.RTBH)
	o.Capacity = 2
	target := newTarget(t, o)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	var rejected *mitigate.RejectedError
	_, err := target.Sync(t.Context(), []mitigate.Entry{entry(1, "127.0.0.0/8"), entry(2, "203.0.113.7"), entry(3, "203.0.113.8"), entry(4, "203.0.113.9")})
	require.ErrorAs(t, err, &rejected)
	require.Len(t, rejected.Rejections, 2)
	assert.Contains(t, rejected.Rejections[0].Answer, "127.0.0.0/8 covers 127.0.0.")
	assert.Equal(t, "there is room for 2 routes", rejected.Rejections[1].Answer)
	p.holds(t, gobgp.RTBH, "203.0.113.7", "203.0.113.8")
}

func TestAFamilyThatNobodyTakesAndNoNeighbourAreSaid(t *testing.T) {
	t.Parallel()
	p := newPair(t, "ipv4-flowspec")
	target := p.enforced(t, gobgp.FlowSpec)
	assert.ErrorContains(t, target.Prepared(t.Context()), "no connected neighbour takes ipv6-flowspec")
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, "203.0.113.7"), entry(2, "2001:db8::7")}, nil), &rejected)
	assert.Equal(t, []mitigate.Rejection{{ID: 1<<32 | 2, Answer: "no connected neighbour takes ipv6-flowspec"}}, rejected.Rejections)
	p.holds(t, gobgp.FlowSpec, "203.0.113.7")
	p.neighbor.kill()
	targettest.Eventually(t, func() bool { _, err := target.Identity(t.Context()); return err != nil }, func() string { return "noticed" })
	assert.ErrorContains(t, target.Apply(t.Context(), []mitigate.Entry{entry(3, "203.0.113.8")}, nil), "no neighbour of gobgpd is connected")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false), "off needs nobody")
	assert.Empty(t, p.ours.paths("ipv4-flowspec"))
}

func TestItIsPreparedUnlessARestartWouldKeepBlocks(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	require.NoError(t, p.target(t, gobgp.FlowSpec).Prepared(t.Context()))
	p.ours.kill()
	text, err := os.ReadFile(p.ours.config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.ours.config, []byte(strings.Replace(string(text), "  [[neighbors.afi", "  [neighbors.graceful-restart.config]\n    enabled = true\n    restart-time = 60\n  [[neighbors.afi", 1)), 0o600))
	p.ours.start()
	assert.ErrorContains(t, p.target(t, gobgp.FlowSpec).Prepared(t.Context()), "graceful restart with neighbour 127.0.0.2")
}

func TestItTellsOneLifeOfGoBGPFromTheNext(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	target := p.target(t, gobgp.FlowSpec)
	first, err := target.Identity(t.Context())
	require.NoError(t, err)
	again, err := p.target(t, gobgp.RTBH).Identity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, first, again)
	p.ours.kill()
	_, err = target.Identity(t.Context())
	require.Error(t, err)
	p.ours.start()
	p.ours.connected()
	next, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, first.Process, next.Process)
}

func TestItCarriesBlocksOfAddressesAndNetworksAndNothingElse(t *testing.T) {
	t.Parallel()
	target := newTarget(t, gobgp.Options{Name: "edge", Method: gobgp.FlowSpec, Destinations: []netip.Prefix{targettest.Network("198.51.100.0/24")}})
	for reason, change := range map[string]func(*mitigate.Entry){
		"": func(*mitigate.Entry) {},
		"octets of all packets": func(e *mitigate.Entry) {
			e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 1e9}
		},
		`no action "tag"`:                 func(e *mitigate.Entry) { e.Action = detect.ActionTag },
		"an address and nothing else":     func(e *mitigate.Entry) { e.Subject.UserAgent = "x" },
		"0.0.0.0/0 is no network":         func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix("0.0.0.0/0") },
		"of the family of 2001:db8::/64":  func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix("2001:db8::/64") },
		"has more than 32 bits":           func(e *mitigate.Entry) { e.Expires = 1 << 32 },
		"192.0.2.1/24 is no network":      func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix("192.0.2.1/24") },
		"::ffff:192.0.2.1/128 is no netw": func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix("::ffff:192.0.2.1/128") },
	} {
		e := entry(1, "203.0.113.7")
		change(&e)
		err := target.Carries(&e)
		if reason == "" {
			assert.NoError(t, err)
			continue
		}
		assert.ErrorIs(t, err, mitigate.ErrUnsupported)
		assert.ErrorContains(t, err, reason)
	}
}

func TestThePrintedConfigurationIsAcceptedByGoBGP(t *testing.T) {
	t.Parallel()
	for _, s := range []gobgp.Setup{{}, {Method: gobgp.RTBH, Address: "unix:/run/gobgpd.sock"}} {
		c, err := s.Render()
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "offpath.conf")
		require.NoError(t, os.WriteFile(path, []byte(c.Guide), 0o600))
		out, err := exec.Command(targettest.Program(t, "gobgpd"), "-d", "-f", path).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}

// No systemd runs in tests; its own parser reads the lines of the guide.
func TestSystemdAcceptsTheLinesThatBindGoBGPToOffpath(t *testing.T) {
	t.Parallel()
	program := targettest.Program(t, "systemd-analyze")
	c, err := gobgp.Setup{Address: "unix:/run/gobgpd.sock"}.Render()
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(c.Guide) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		if line == "[Unit]" || line == "[Install]" || line == "[Service]" || len(lines) > 0 && strings.Contains(line, "=") {
			lines = append(lines, line)
		} else if len(lines) > 0 {
			break
		}
	}
	require.Len(t, lines, 7)
	folder := t.TempDir()
	unit := filepath.Join(folder, "gobgpd.service")
	offpath := filepath.Join(folder, "offpath.service")
	require.NoError(t, os.WriteFile(offpath, []byte("[Service]\nExecStart=/bin/true\n"), 0o600))
	require.NoError(t, os.WriteFile(unit, []byte(strings.Join(lines, "\n")+"\nExecStart=/bin/true\n"), 0o600))
	out, err := exec.Command(program, "verify", "--man=no", offpath, unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), folder, "what it warns of names the file")
}
