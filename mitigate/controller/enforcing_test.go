package controller_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/targettest"
)

func TestWhereAVerdictShouldBeEnforced(t *testing.T) {
	one, two, told := newFake("one"), newFake("two"), &informedTarget{fakeTarget: newFake("told")}
	c, _ := targettest.Running(t, controller.Config{
		Targets: []mitigate.Target{one, two, told}, Mode: detect.ModeEnforce, Modes: map[string]detect.Mode{"told": detect.ModeEnforce},
	})
	v := targettest.Block(1, attacker)
	require.NoError(t, c.Apply(v))
	both := controller.Enforcing{Wanted: true, By: []string{"one", "two"}}
	eventually(t, func() bool { return assert.ObjectsAreEqual(both, c.Enforcing(v.ID)) }, "by both load balancers")

	two.change(func() { two.down = errDown })
	eventually(t, func() bool {
		return assert.ObjectsAreEqual(controller.Enforcing{Wanted: true, By: []string{"one"}, Not: []string{"two"}}, c.Enforcing(v.ID))
	}, "by one of them")
	two.change(func() { two.down = nil })

	id := uint32(2)
	for name, change := range map[string]func(*detect.Verdict){
		"only watched":   func(v *detect.Verdict) { v.Mode = detect.ModeMonitor },
		"only tagged":    func(v *detect.Verdict) { v.Action = detect.ActionTag },
		"limited a rate": func(v *detect.Verdict) { v.Action, v.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 1e9} },
	} {
		id++
		other := with(targettest.Block(id, customer), change)
		require.NoError(t, c.Apply(other))
		assert.False(t, c.Enforcing(other.ID).Wanted, name)
		require.NoError(t, c.Lift(other.ID, "alice"))
	}
	assert.False(t, c.Enforcing("0000000100000002").Wanted, "unknown")
	require.NoError(t, c.Off("alice"))
	assert.False(t, c.Enforcing(v.ID).Wanted, "off")
}
