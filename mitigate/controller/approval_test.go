package controller_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/targettest"
)

// waits asserts that a verdict waits for approval because of a rail.
func waits(t *testing.T, err error, rail string) {
	t.Helper()
	var e *controller.RailError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, rail, e.Rail, e.Reason)
	assert.True(t, e.Waits, e.Error())
}

// harmful is a block that is expected to hit so many of a million legitimate logins.
func harmful(id uint32, client string, perMillion float64) detect.Verdict {
	return with(targettest.Block(id, client), func(v *detect.Verdict) { v.Expected.LegitimateRequestsPerMillion = perMillion })
}

func waitingIDs(c *controller.Controller) (ids []string) {
	for _, w := range c.Waiting() {
		ids = append(ids, w.Verdict.ID)
	}
	return ids
}

func TestAVerdictAgainstAFifthOfTheCustomersWaitsForAPerson(t *testing.T) {
	lb := newFake("lb1")
	folder := t.TempDir()
	c, stop := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}, StateDir: folder})
	wide, narrow := harmful(1, "44.0.1.0/24", 200_000), harmful(2, "44.0.2.0/29", 20)
	waits(t, c.Apply(wide), controller.RailHarm)
	require.NoError(t, c.Apply(narrow))
	eventually(t, func() bool { return len(lb.holds()) == 1 }, "the other one is in force")
	assert.Equal(t, []string{wide.ID}, waitingIDs(c))
	assert.EqualValues(t, 1, c.Stats().Waiting)
	assert.InDelta(t, 20, c.Stats().Harm, 1e-9)
	waits(t, c.Apply(wide), controller.RailHarm)
	assert.EqualValues(t, 1, c.Stats().Refused[controller.RailHarm], "a renewal is no other verdict")
	stop()

	c, _ = targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}, StateDir: folder})
	require.Equal(t, []string{wide.ID}, waitingIDs(c), "it waits through a restart")
	assert.Contains(t, c.Waiting()[0].Reason, "it would hit 200000 of a million legitimate logins, more than 50000")
	require.NoError(t, c.Approve(wide.ID, "alice"))
	eventually(t, func() bool { return len(lb.holds()) == 2 }, "approved")
	assert.ErrorIs(t, c.Approve(wide.ID, "alice"), controller.ErrNotWaiting)
	require.NoError(t, c.Apply(with(wide, func(v *detect.Verdict) { v.Expires += int64(time.Minute) })), "and is renewed without being asked for again")
	assert.Empty(t, c.Waiting())
	assert.True(t, slices.ContainsFunc(c.Audit(), func(e controller.AuditEntry) bool {
		return e.What == "approved" && e.Verdict == wide.ID && e.Who == "alice"
	}), "the audit says who")
}

func TestManySmallHarmsAreOneGreatOne(t *testing.T) {
	c, _ := targettest.Running(t, controller.Config{MaxHarm: 100})
	for i := range uint32(9) {
		require.NoError(t, c.Apply(harmful(i+1, fmt.Sprintf("44.0.%d.0/24", i+1), 11)))
	}
	waits(t, c.Apply(harmful(100, "44.0.100.0/24", 11)), controller.RailHarm)
	assert.Contains(t, c.Waiting()[0].Reason, "with the others in force it would hit 110 of a million")
	for i := range uint32(100) {
		require.NoError(t, c.Apply(harmful(1000+i, fmt.Sprintf("44.1.0.%d", i+1), 90)), "single addresses, with an attacker's hit each")
	}
	waits(t, c.Apply(harmful(2000, "44.1.1.1", 101)), controller.RailHarm)
	require.NoError(t, c.Lift(harmful(2000, "44.1.1.1", 0).ID, "alice"))
	watched := with(harmful(101, "44.0.101.0/24", 1e6), func(v *detect.Verdict) { v.Mode = detect.ModeMonitor })
	assert.NoError(t, c.Apply(watched), "what is only watched hits nobody")
	tag := with(harmful(102, "44.0.102.0/24", 1e6), func(v *detect.Verdict) { v.Action = detect.ActionTag })
	assert.NoError(t, c.Apply(tag))
	waits(t, c.Apply(with(watched, func(v *detect.Verdict) { v.Mode = detect.ModeEnforce })), controller.RailHarm)

	require.NoError(t, c.Lift(harmful(1, "44.0.1.0/24", 0).ID, "alice"))
	require.NoError(t, c.Apply(harmful(100, "44.0.100.0/24", 11)), "there is room again")
	waits(t, c.Apply(harmful(2, "44.0.2.0/24", 12.5)), controller.RailHarm)
	assert.InDelta(t, 99, c.Stats().Harm, 1e-9, "the one in force stays as it was")
}

func TestAFloodOfVerdictsIsHeldUp(t *testing.T) {
	const flood = 100_000
	c, _ := targettest.Running(t, controller.Config{})
	accepted := 0
	for i := range uint32(flood) {
		if c.Apply(targettest.Block(i+1, fmt.Sprintf("44.%d.%d.%d", i>>16, i>>8&255, i&255))) == nil {
			accepted++
		}
	}
	assert.GreaterOrEqual(t, accepted, controller.DefaultMaxPerMinute)
	assert.Less(t, accepted, flood/5)
	assert.Len(t, c.Waiting(), 1024)
	assert.EqualValues(t, flood-accepted, c.Stats().Refused[controller.RailPace])
}

func TestAWideNetworkIsForAPersonToApprove(t *testing.T) {
	c, _ := targettest.Running(t, controller.Config{})
	four, six := targettest.Block(1, "44.4.0.0/16"), targettest.Block(2, "2001:db8::/32")
	waits(t, c.Apply(four), controller.RailPrefix)
	_, err := c.Decide(six, "alice")
	waits(t, err, controller.RailPrefix)
	require.NoError(t, c.Approve(four.ID, "alice"))
	require.NoError(t, c.Apply(with(four, func(v *detect.Verdict) { v.Expires++ })))
	require.NoError(t, c.Lift(six.ID, "alice"), "not to approve is to lift")
	assert.Empty(t, c.Waiting())
	assert.ErrorIs(t, c.Approve(six.ID, "alice"), controller.ErrNotWaiting)
	assert.ErrorIs(t, c.Apply(six), controller.ErrStale, "it does not come back")

	five := targettest.Block(3, "44.5.0.0/16")
	waits(t, c.Apply(five), controller.RailPrefix)
	require.NoError(t, c.SetAllow([]netip.Prefix{targettest.Network("44.5.6.0/24")}, "alice"))
	assert.Empty(t, c.Waiting(), "the allow-list wins")

	soon := with(targettest.Block(4, "44.6.0.0/16"), func(v *detect.Verdict) { v.Expires = time.Now().Add(time.Second).UnixNano() })
	waits(t, c.Apply(soon), controller.RailPrefix)
	eventually(t, func() bool { return len(c.Waiting()) == 0 }, "nobody approved it in time")
	assert.Len(t, c.Verdicts(), 1)
}

func TestATargetHasAModeOfItsOwn(t *testing.T) {
	trial, live := newFake("trial"), newFake("live")
	c, _ := targettest.Running(t, controller.Config{
		Targets: []mitigate.Target{trial, live}, Mode: detect.ModeEnforce,
		Modes: map[string]detect.Mode{"trial": detect.ModeMonitor},
	})
	modes := func(want ...detect.Mode) func() bool {
		return func() bool {
			for i, at := range c.Targets() {
				if at.Mode != want[i] || at.Wanted != want[i] {
					return false
				}
			}
			return true
		}
	}
	eventually(t, modes(detect.ModeMonitor, detect.ModeEnforce), "each its own")
	require.NoError(t, c.Off("alice"))
	eventually(t, modes(detect.ModeOff, detect.ModeOff), "off is for all")
	require.NoError(t, c.On("alice"))
	eventually(t, modes(detect.ModeMonitor, detect.ModeEnforce), "and on for each as before")
}
