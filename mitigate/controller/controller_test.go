package controller_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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

const day = 24 * time.Hour

func with(v detect.Verdict, change func(*detect.Verdict)) detect.Verdict {
	change(&v)
	return v
}

func TestRailsRefuseWhatWouldHarm(t *testing.T) {
	lb := newFake("lb1")
	lb.address = netip.MustParseAddr("192.0.2.53")
	c, err := controller.New(controller.Config{
		Targets: []mitigate.Target{lb},
		Allow:   []netip.Prefix{targettest.Network("203.0.113.64/26"), targettest.Network("::ffff:198.51.100.128/121"), targettest.Network("2001:db8:a::/48")},
		Own:     []netip.Prefix{targettest.Network("192.0.2.80/29")},
	})
	require.NoError(t, err)
	edit := func(change func(*detect.Verdict)) detect.Verdict {
		return with(targettest.Block(1, "198.51.100.7"), change)
	}
	tests := []struct {
		name    string
		verdict detect.Verdict
		rail    string
	}{
		{"an address on the allow-list", targettest.Block(1, "203.0.113.64"), controller.RailAllowed},
		{"a network that holds an allowed one", targettest.Block(1, "203.0.113.0/24"), controller.RailAllowed},
		{"an allow-list in IPv4-mapped form", targettest.Block(1, "198.51.100.129"), controller.RailAllowed},
		{"an address in IPv4-mapped form", targettest.Block(1, "::ffff:203.0.113.65"), controller.RailAllowed},
		{"a network within an allowed one", targettest.Block(1, "2001:db8:a:1::/64"), controller.RailAllowed},
		{"an allowed address at one endpoint", edit(func(v *detect.Verdict) {
			v.Subject.Client, v.Subject.Endpoint = targettest.Network("203.0.113.64"), "GET a/"
		}), controller.RailAllowed},
		{"the load balancer's address", targettest.Block(1, "192.0.2.53"), controller.RailOwn},
		{"a network that holds the load balancer", targettest.Block(1, "192.0.2.0/25"), controller.RailOwn},
		{"an address of the installation", targettest.Block(1, "192.0.2.81"), controller.RailOwn},
		{"IPv4 /15", targettest.Block(1, "44.4.0.0/15"), controller.RailPrefix},
		{"a /8", targettest.Block(1, "44.0.0.0/8"), controller.RailPrefix},
		{"a proxy in the house", targettest.Block(1, "10.20.30.40"), controller.RailPrivate},
		{"a provider's shared addresses", targettest.Block(1, "100.64.3.0/24"), controller.RailPrivate},
		{"a local address of IPv6", targettest.Block(1, "fd00::/64"), controller.RailPrivate},
		{"everything", targettest.Block(1, "0.0.0.0/0"), controller.RailPrefix},
		{"IPv6 /31", targettest.Block(1, "2001:db8::/31"), controller.RailPrefix},
		{"all of IPv4 in IPv6", targettest.Block(1, "::ffff:0:0/96"), controller.RailPrefix},
		{"no address at all", targettest.Block(1, "0.0.0.0"), controller.RailMalformed},
		{"multicast", targettest.Block(1, "ff02::1"), controller.RailMalformed},
		{"an empty subject", edit(func(v *detect.Verdict) { v.Subject = detect.Subject{} }), controller.RailMalformed},
		{"an endpoint for everybody", edit(func(v *detect.Verdict) { v.Subject = detect.Subject{Endpoint: "POST bank.example/login"} }), controller.RailEverybody},
		{"a domain for everybody, only watched", edit(func(v *detect.Verdict) {
			v.Subject, v.Mode = detect.Subject{Domain: "bank.example"}, detect.ModeMonitor
		}), controller.RailEverybody},
		{"an id that is none", edit(func(v *detect.Verdict) { v.ID = "; clear" }), controller.RailMalformed},
		{"an id with an empty half", edit(func(v *detect.Verdict) { v.ID = "0000000000000001" }), controller.RailMalformed},
		{"an unknown action", edit(func(v *detect.Verdict) { v.Action = "nuke" }), controller.RailMalformed},
		{"no mode", edit(func(v *detect.Verdict) { v.Mode = "" }), controller.RailMalformed},
		{"a rate of nothing", edit(func(v *detect.Verdict) { v.Action = detect.ActionRateLimit }), controller.RailMalformed},
		{"over", edit(func(v *detect.Verdict) { v.Expires = time.Now().Add(-time.Second).UnixNano() }), controller.RailExpired},
	}
	refused := make(map[string]uint64)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := c.Apply(tt.verdict)
			var rail *controller.RailError
			require.ErrorAs(t, err, &rail)
			assert.Equal(t, tt.rail, rail.Rail, rail.Reason)
			refused[tt.rail]++
		})
	}
	assert.Equal(t, refused, c.Stats().Refused)
	assert.Empty(t, c.Verdicts())

	for i, client := range []string{"198.51.100.7", "198.51.100.0/25", "203.0.113.63", "2001:db8::/48", "2001:db8:b:1::/64", "::ffff:198.51.100.9"} {
		assert.NoError(t, c.Apply(targettest.Block(uint32(i+1), client)), client)
	}
	assert.Equal(t, targettest.Network("198.51.100.9"), c.Verdicts()[5].Verdict.Subject.Client)
	for i, change := range []func(*detect.Verdict){
		func(v *detect.Verdict) {
			v.Action, v.Rate = detect.ActionRateLimit, detect.Rate{Requests: 60, Per: 60e9}
		},
		func(v *detect.Verdict) { v.Action = detect.ActionTag },
		func(v *detect.Verdict) { v.Subject.Fingerprint = "0123456789abcdef" },
		func(v *detect.Verdict) { v.Subject.Client = targettest.Network("44.1.2.3") },
	} {
		v := targettest.Block(uint32(100+i), "44.1.2.3")
		v.Subject = detect.Subject{Endpoint: "POST bank.example/login"}
		change(&v)
		assert.NoError(t, c.Apply(v), "%v", v)
	}
}

func TestNoVerdictLivesLongerThanADay(t *testing.T) {
	c, err := controller.New(controller.Config{Private: true})
	require.NoError(t, err)
	v, err := c.Decide(with(targettest.Block(1, attacker), func(v *detect.Verdict) { v.Expires += 30 * int64(day); v.ID = "" }), "alice")
	require.NoError(t, err)
	assert.InDelta(t, time.Now().Add(day).UnixNano(), v.Expires, float64(time.Minute))
	assert.EqualValues(t, 1, c.Stats().Shortened)
	assert.Equal(t, "alice", c.Verdicts()[0].Who)
	_, err = mitigate.ParseID(v.ID)
	assert.NoError(t, err)
}

func TestOnOneSubjectTheStrictestIsInForce(t *testing.T) {
	lb := newFake("lb1")
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}})
	limit := with(targettest.Block(1, attacker), func(v *detect.Verdict) {
		v.Action, v.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 1e9}
	})
	watch := with(targettest.Block(2, attacker), func(v *detect.Verdict) { v.Mode = detect.ModeMonitor })
	strict := targettest.Block(3, attacker)
	for _, v := range []detect.Verdict{limit, watch, strict} {
		require.NoError(t, c.Apply(v))
	}
	inForce := func(want detect.Verdict) {
		t.Helper()
		eventually(t, func() bool { return lb.holds()[attacker+"/32"].ID.String() == want.ID }, want.ID)
	}
	inForce(strict)
	states := func() (s []controller.State) {
		for _, v := range c.Verdicts() {
			s = append(s, v.Targets[0].State)
		}
		return s
	}
	eventually(t, func() bool {
		return slices.Equal(states(), []controller.State{controller.StateShadowed, controller.StateShadowed, controller.StateInForce})
	}, "states")
	require.NoError(t, c.Lift(strict.ID, "alice"))
	inForce(limit)
	require.NoError(t, c.Lift(limit.ID, "alice"))
	inForce(watch)
	assert.True(t, lb.holds()[attacker+"/32"].Monitor)
	require.NoError(t, c.Apply(with(watch, func(v *detect.Verdict) { v.Action = detect.ActionLift })))
	eventually(t, func() bool { return len(lb.holds()) == 0 }, "none left")
}

func TestWhereATargetCannotCarryTheStrictestItHasTheNextOfTheSameSubject(t *testing.T) {
	lb, hook := newFake("lb1"), newFake("hook")
	hook.carriesAll = true
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb, hook}})
	hold := with(targettest.Block(1, attacker), func(v *detect.Verdict) { v.Action = detect.ActionHold })
	tag := with(targettest.Block(2, attacker), func(v *detect.Verdict) { v.Action = detect.ActionTag })
	require.NoError(t, c.Apply(hold))
	require.NoError(t, c.Apply(tag))
	states := func() (s []controller.State) {
		for _, v := range c.Verdicts() {
			s = append(s, v.Targets[0].State, v.Targets[1].State)
		}
		return s
	}
	eventually(t, func() bool {
		return slices.Equal(states(), []controller.State{
			controller.StateUnsupported, controller.StateInForce, // the hold
			controller.StateInForce, controller.StateShadowed, // the tag
		})
	}, "each has what it can carry")
	assert.Equal(t, tag.ID, lb.holds()[attacker+"/32"].ID.String())
	assert.Equal(t, hold.ID, hook.holds()[attacker+"/32"].ID.String())
	require.NoError(t, c.Lift(hold.ID, "alice"))
	eventually(t, func() bool { return hook.holds()[attacker+"/32"].ID.String() == tag.ID }, "the tag is all there is")
}

func TestAHoldOfAnAccountIsTheLastToMakeRoom(t *testing.T) {
	c, err := controller.New(controller.Config{MaxVerdicts: 2})
	require.NoError(t, err)
	hold := with(targettest.Block(1, attacker), func(v *detect.Verdict) {
		v.Action, v.Subject = detect.ActionHold, detect.Subject{UserHash: "0123456789abcdef"}
	})
	require.NoError(t, c.Apply(hold))
	for id := range uint32(5) {
		require.NoError(t, c.Apply(with(targettest.Block(id+2, fmt.Sprintf("198.51.100.%d", id+1)), func(v *detect.Verdict) {
			v.Expected.AttackRequestsPerMinute = float64(1000 + id)
		})))
	}
	assert.Equal(t, hold.ID, c.Verdicts()[0].Verdict.ID)
	assert.EqualValues(t, 4, c.Stats().Evicted)
}

func TestATargetThatHandsVerdictsOnCanLookUpWhyThereIsOne(t *testing.T) {
	hook := &informedTarget{fakeTarget: newFake("hook")}
	c, err := controller.New(controller.Config{Private: true, Targets: []mitigate.Target{hook}})
	require.NoError(t, err)
	v := targettest.Block(1, attacker)
	require.NoError(t, c.Apply(v))
	id, err := mitigate.ParseID(v.ID)
	require.NoError(t, err)
	found, ok := hook.verdict(id)
	assert.True(t, ok)
	assert.Equal(t, v, found)
	_, ok = hook.verdict(id + 1)
	assert.False(t, ok)
}

func TestTwoSpellingsOfADomainAreOneSubject(t *testing.T) {
	lb := newFake("lb1")
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}})
	of := func(id uint32, change func(*detect.Verdict)) detect.Verdict {
		return with(targettest.Block(id, attacker), change)
	}
	require.NoError(t, c.Apply(of(1, func(v *detect.Verdict) { v.Subject.Domain, v.Mode = "Bank.example.", detect.ModeMonitor })))
	require.NoError(t, c.Apply(of(2, func(v *detect.Verdict) { v.Subject.Domain = "bank.example" })))
	require.NoError(t, c.Apply(of(3, func(v *detect.Verdict) { v.Subject.Endpoint = "GET Bank.EXAMPLE/Path" })))
	verdicts := c.Verdicts()
	assert.Equal(t, verdicts[0].Verdict.Subject, verdicts[1].Verdict.Subject)
	assert.Equal(t, "GET bank.example/Path", verdicts[2].Verdict.Subject.Endpoint)
	eventually(t, func() bool {
		states := []controller.State{c.Verdicts()[0].Targets[0].State, c.Verdicts()[1].Targets[0].State}
		return slices.Equal(states, []controller.State{controller.StateShadowed, controller.StateInForce})
	}, "the stricter is in force")
}

func TestLaterLineOfAVerdictReplacesTheEarlier(t *testing.T) {
	lb := newFake("lb1")
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}})
	v := targettest.Block(1, attacker)
	require.NoError(t, c.Apply(v))
	renewed := with(v, func(v *detect.Verdict) { v.Time++; v.Expires += int64(time.Hour) })
	require.NoError(t, c.Apply(renewed))
	eventually(t, func() bool {
		return lb.holds()[attacker+"/32"].Expires > v.Expires/1e9+3000
	}, "renewed")
	widened := with(renewed, func(v *detect.Verdict) { v.Time++; v.Subject.Client = targettest.Network("127.1.2.0/24") })
	require.NoError(t, c.Apply(widened))
	eventually(t, func() bool {
		held := lb.holds()
		return len(held) == 1 && held["127.1.2.0/24"].ID.String() == v.ID
	}, "widened")
	assert.ErrorIs(t, c.Apply(v), controller.ErrStale)
	assert.EqualValues(t, 2, c.Stats().Renewed)
	assert.Len(t, c.Verdicts(), 1)
}

func TestWithoutRoomTheLeastImportantGoes(t *testing.T) {
	c, err := controller.New(controller.Config{MaxVerdicts: 2})
	require.NoError(t, err)
	attack := func(id uint32, perMinute float64) detect.Verdict {
		return with(targettest.Block(id, fmt.Sprintf("198.51.100.%d", id)), func(v *detect.Verdict) {
			v.Expected.AttackRequestsPerMinute = perMinute
		})
	}
	require.NoError(t, c.Apply(attack(1, 10)))
	require.NoError(t, c.Apply(attack(2, 20)))
	var rail *controller.RailError
	require.ErrorAs(t, c.Apply(attack(3, 5)), &rail)
	assert.Equal(t, controller.RailFull, rail.Rail)
	require.NoError(t, c.Apply(attack(4, 30)))
	_, err = c.Decide(attack(5, 0), "alice")
	require.NoError(t, err, "a person's own verdict comes first")
	var ids []string
	for _, v := range c.Verdicts() {
		ids = append(ids, v.Verdict.ID)
	}
	assert.ElementsMatch(t, []string{attack(4, 0).ID, attack(5, 0).ID}, ids)
	assert.EqualValues(t, 2, c.Stats().Evicted)
}

func TestSmallTargetHoldsTheMostImportant(t *testing.T) {
	lb := newFake("small")
	lb.capacity = 2
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}})
	for id := range uint32(4) {
		require.NoError(t, c.Apply(with(targettest.Block(id+1, fmt.Sprintf("198.51.100.%d", id+1)), func(v *detect.Verdict) {
			v.Expected.AttackRequestsPerMinute = float64(id)
		})))
	}
	holds := func(want ...string) {
		t.Helper()
		eventually(t, func() bool {
			held := lb.holds()
			for _, w := range want {
				if _, ok := held[w]; !ok {
					return false
				}
			}
			return len(held) == len(want)
		}, fmt.Sprint(want))
	}
	holds("198.51.100.3/32", "198.51.100.4/32")
	eventually(t, func() bool { return c.Targets()[0].Rejected == 2 }, "the others are shown")
	assert.Equal(t, controller.StateRejected, c.Verdicts()[0].Targets[0].State)
	require.NoError(t, c.Lift(targettest.Block(4, "198.51.100.4").ID, "alice"))
	holds("198.51.100.2/32", "198.51.100.3/32")
}

func TestWhatATargetCanNotDoOrRefusesIsShown(t *testing.T) {
	lb := newFake("lb1")
	refused := targettest.Block(2, "198.51.100.2")
	id, err := mitigate.ParseID(refused.ID)
	require.NoError(t, err)
	lb.refuse[id] = "Unable to allocate a new entry"
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}})
	require.NoError(t, c.Apply(with(targettest.Block(1, "198.51.100.1"), func(v *detect.Verdict) { v.Action = detect.ActionHold })))
	require.NoError(t, c.Apply(refused))
	require.NoError(t, c.Apply(targettest.Block(3, "198.51.100.3")))
	state := func(id uint32) controller.TargetVerdict {
		list := c.Verdicts()
		return list[slices.IndexFunc(list, func(v controller.Verdict) bool { return v.Verdict.ID == targettest.Block(id, attacker).ID })].Targets[0]
	}
	eventually(t, func() bool { return state(3).State == controller.StateInForce }, "in force")
	eventually(t, func() bool { return state(2).State == controller.StateRejected }, "rejected")
	assert.Equal(t, "Unable to allocate a new entry", state(2).Detail)
	assert.Equal(t, controller.StateUnsupported, state(1).State)
	assert.Contains(t, state(1).Detail, "it can't")
	status := c.Targets()[0]
	assert.Equal(t, [3]int{1, 1, 1}, [3]int{status.InForce, status.Unsupported, status.Rejected})
	assert.True(t, status.Connected, "a refusal is no failure of the connection")
}

func TestNewAllowListLiftsWhatOverlapsIt(t *testing.T) {
	lb := newFake("lb1")
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}})
	require.NoError(t, c.Apply(targettest.Block(1, "198.51.100.1")))
	require.NoError(t, c.Apply(targettest.Block(2, "203.0.113.1")))
	eventually(t, func() bool { return len(lb.holds()) == 2 }, "in force")
	require.NoError(t, c.SetAllow([]netip.Prefix{targettest.Network("198.51.100.0/24")}, "alice"))
	eventually(t, func() bool {
		_, ok := lb.holds()["198.51.100.1/32"]
		return !ok
	}, "lifted")
	assert.Len(t, c.Verdicts(), 1)
	eventually(t, func() bool {
		lb.mu.Lock()
		defer lb.mu.Unlock()
		return slices.Equal(lb.allow, []netip.Prefix{targettest.Network("198.51.100.0/24")})
	}, "at the load balancer")
	assert.Error(t, c.SetAllow([]netip.Prefix{{}}, "alice"))
}

func TestApplyWaitsForNoTarget(t *testing.T) {
	stuck, well := newFake("stuck"), newFake("well")
	stuck.blocked = make(chan struct{})
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{stuck, well}, Mode: detect.ModeEnforce})
	for id := range uint32(500) {
		require.NoError(t, c.Apply(targettest.Block(id+1, fmt.Sprintf("198.51.%d.%d", id>>8, id&255))))
	}
	eventually(t, func() bool { return len(well.holds()) == 500 }, "the well one has all")
	assert.Equal(t, 500, c.Targets()[0].Pending)
	assert.Positive(t, c.Targets()[0].Lag)
	close(stuck.blocked)
	eventually(t, func() bool { return len(stuck.holds()) == 500 }, "then the other")
	eventually(t, func() bool { return c.Targets()[0].Pending == 0 }, "nothing left")
	assert.Zero(t, c.Targets()[0].Lag)
}

func TestTargetThatFailsGetsEverythingWhenItAnswersAgain(t *testing.T) {
	lb := newFake("lb1")
	told := make(chan controller.Target, 10)
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}, Mode: detect.ModeEnforce, OnTarget: func(t controller.Target) { told <- t }})
	require.NoError(t, c.Apply(targettest.Block(1, "198.51.100.1")))
	eventually(t, func() bool { return len(lb.holds()) == 1 }, "in force")
	lb.change(func() { lb.down = errDown })
	require.NoError(t, c.Apply(targettest.Block(2, "198.51.100.2")))
	require.NoError(t, c.Lift(targettest.Block(1, attacker).ID, "alice"))
	eventually(t, func() bool { return !c.Targets()[0].Connected }, "down")
	assert.Contains(t, c.Targets()[0].LastError, "connection refused")
	lb.change(func() { lb.down = nil })
	eventually(t, func() bool {
		held := lb.holds()
		return len(held) == 1 && held["198.51.100.2/32"].ID != 0
	}, "put right")
	var what []string
	for _, e := range c.Audit() {
		if e.Target == "lb1" && e.What != "mode" && e.What != "in_force" {
			what = append(what, e.What)
		}
	}
	assert.Equal(t, []string{"connected", "disconnected", "connected"}, what)
	for _, connected := range []bool{true, false, true} {
		state := <-told
		assert.Equal(t, connected, state.Connected)
		assert.Equal(t, connected, state.LastError == "", state.LastError)
	}
}

func TestHitsOfCountersThatBeginAnewAreNotLost(t *testing.T) {
	lb := newFake("lb1")
	hits := make(chan detect.Hits, 100)
	c, _ := targettest.Running(t, controller.Config{
		Targets:      []mitigate.Target{lb},
		HitsInterval: 5 * time.Millisecond,
		OnHits: func(list []detect.Hits) {
			for _, h := range list {
				hits <- h
			}
		},
	})
	v := targettest.Block(1, attacker)
	require.NoError(t, c.Apply(v))
	id, err := mitigate.ParseID(v.ID)
	require.NoError(t, err)
	for _, step := range []struct{ counter, news uint64 }{{5, 5}, {7, 2}, {3, 3}, {4, 1}} {
		lb.change(func() {
			lb.counts = []mitigate.Hits{{ID: id, Refused: step.counter}, {ID: 0x100000001, Refused: 9}}
		})
		h := <-hits
		assert.Equal(t, step.news, h.Refused)
		assert.Equal(t, v.ID, h.Verdict)
		assert.Equal(t, "lb1", h.Target)
	}
	assert.EqualValues(t, 11, c.Verdicts()[0].Targets[0].Refused)
}

func TestACounterThatIsNotAmongThoseLatelyHitHasNotBegunAnew(t *testing.T) {
	lb := newFake("lb1")
	hits := make(chan detect.Hits, 100)
	c, _ := targettest.Running(t, controller.Config{
		Targets:      []mitigate.Target{lb},
		HitsInterval: 5 * time.Millisecond,
		OnHits:       func(list []detect.Hits) { hits <- list[0] },
	})
	v := targettest.Block(1, attacker)
	require.NoError(t, c.Apply(v))
	id, err := mitigate.ParseID(v.ID)
	require.NoError(t, err)
	for _, step := range []struct{ refused, passed, newRefused, newPassed uint64 }{{5, 3, 5, 3}, {0, 4, 0, 1}, {6, 0, 1, 0}, {7, 1, 1, 1}} {
		lb.change(func() { lb.counts = []mitigate.Hits{{ID: id, Refused: step.refused, Passed: step.passed}} })
		h := <-hits
		assert.Equal(t, [2]uint64{step.newRefused, step.newPassed}, [2]uint64{h.Refused, h.Passed})
	}
}

func TestRestartedControllerRemembers(t *testing.T) {
	folder := t.TempDir()
	config := controller.Config{StateDir: folder, Targets: []mitigate.Target{newFake("lb1")}}
	c, stop := targettest.Running(t, config)
	full := with(targettest.Block(1, "198.51.100.1"), func(v *detect.Verdict) {
		v.Action, v.Rate = detect.ActionRateLimit, detect.Rate{Requests: 3, Per: 60e9}
		v.Subject.Endpoint, v.Subject.UserAgent = "POST bank.example/login", "curl\\x00\n\xff"
		v.Findings = []string{"f1", "f2"}
		v.Expected = detect.Expected{AttackRequestsPerMinute: 1.5, LegitimateRequestsPerMillion: 2}
		v.Message = "a \"sentence\"\nand more"
	})
	lifted, soon := targettest.Block(2, "198.51.100.2"), targettest.Block(3, "198.51.100.3")
	soon.Expires = time.Now().Add(20 * time.Millisecond).UnixNano()
	require.NoError(t, c.Apply(full))
	require.NoError(t, c.Apply(lifted))
	require.NoError(t, c.Apply(soon))
	own, err := c.Decide(with(targettest.Block(4, "198.51.100.4"), func(v *detect.Verdict) { v.ID = "" }), "alice")
	require.NoError(t, err)
	require.NoError(t, c.Lift(lifted.ID, "bob"))
	stop()
	remembered := c.Verdicts()

	file := filepath.Join(folder, "verdicts.jsonl")
	journal, err := os.ReadFile(file)
	require.NoError(t, err)
	eventually(t, func() bool { return time.Now().UnixNano() > soon.Expires }, "time passes")
	for _, tail := range []string{"", `{"id":"0000abcd000000`, "garbage\n"} {
		t.Run(fmt.Sprintf("with the last line %q", tail), func(t *testing.T) {
			require.NoError(t, os.WriteFile(file, append(slices.Clone(journal), tail...), 0o600))
			again, err := controller.New(config)
			require.NoError(t, err)
			var got []detect.Verdict
			who := make(map[string]string)
			for _, v := range again.Verdicts() {
				got = append(got, v.Verdict)
				who[v.Verdict.ID] = v.Who
			}
			assert.Equal(t, []detect.Verdict{full, own}, got)
			assert.Equal(t, map[string]string{full.ID: "", own.ID: "alice"}, who)
			assert.ErrorIs(t, again.Apply(lifted), controller.ErrStale)
		})
	}
	assert.NotEmpty(t, remembered)
}

func TestJournalStaysInProportionToTheVerdicts(t *testing.T) {
	folder := t.TempDir()
	c, stop := targettest.Running(t, controller.Config{StateDir: folder})
	v := targettest.Block(1, attacker)
	for range 30 {
		for range 1000 {
			v.Time++
			v.Expires++
			require.NoError(t, c.Apply(v))
		}
	}
	stop()
	journal, err := os.ReadFile(filepath.Join(folder, "verdicts.jsonl"))
	require.NoError(t, err)
	assert.Less(t, bytes.Count(journal, []byte("\n")), 11_000)
}

func TestUnreadableStateIsAnErrorAtTheStart(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "switch.json"), []byte("{\"off\":"), 0o600))
	_, err := controller.New(controller.Config{StateDir: folder})
	assert.ErrorContains(t, err, "kill switch")
}

func TestOffTakesEffectAlsoWhenItCanNotBeWrittenDown(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	lb := newFake("lb1")
	c, _ := targettest.Running(t, controller.Config{StateDir: folder, Targets: []mitigate.Target{lb}, Mode: detect.ModeEnforce})
	mode := func() detect.Mode {
		lb.mu.Lock()
		defer lb.mu.Unlock()
		return lb.mode
	}
	eventually(t, func() bool { return mode() == detect.ModeEnforce }, "on")
	require.NoError(t, os.Mkdir(filepath.Join(folder, "switch.json"), 0o700))
	assert.Error(t, c.Off("alice"))
	assert.True(t, c.Stats().Off)
	eventually(t, func() bool { return mode() == detect.ModeOff }, "off")
	assert.Error(t, c.On("alice"))
	assert.True(t, c.Stats().Off, "on would not outlive a restart, so it stays off")
	require.NoError(t, os.Remove(filepath.Join(folder, "switch.json")))
	require.NoError(t, c.On("alice"))
	eventually(t, func() bool { return mode() == detect.ModeEnforce }, "on again")
}

func TestAuditIsARingInMemoryAndAppendOnlyOnDisk(t *testing.T) {
	folder := t.TempDir()
	config := controller.Config{StateDir: folder, AuditRing: 3, AuditFileBytes: 2000, Targets: []mitigate.Target{newFake("lb1")}}
	total := 0
	for range 3 {
		c, stop := targettest.Running(t, config)
		for id := range uint32(20) {
			v := targettest.Block(id+1, "198.51.100.1")
			require.NoError(t, c.Apply(v))
			require.NoError(t, c.Lift(v.ID, "alice"))
		}
		audit := c.Audit()
		assert.Len(t, audit, 3)
		stop()
		require.NoError(t, os.Remove(filepath.Join(folder, "verdicts.jsonl")))
		total += 40
	}
	files, err := filepath.Glob(filepath.Join(folder, "audit*.jsonl"))
	require.NoError(t, err)
	assert.Greater(t, len(files), 1, "put aside")
	ordered := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range bytes.Lines(text) {
			var e controller.AuditEntry
			require.NoError(t, json.Unmarshal(line, &e), "%s", line)
			if e.What == "accepted" || e.What == "lifted" && e.Who == "alice" {
				ordered++
			}
		}
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	assert.Equal(t, total, ordered)
}

func TestWhatWasDoneAboutAVerdictIsKnownAfterARestart(t *testing.T) {
	v := targettest.Block(1, "198.51.100.1")
	run := func(config controller.Config) (done []string) {
		c, stop := targettest.Running(t, config)
		defer stop()
		require.NoError(t, c.Apply(v))
		for id := range uint32(20) {
			require.NoError(t, c.Apply(targettest.Block(id+2, "198.51.100.1")))
		}
		require.NoError(t, c.Lift(v.ID, "alice"))
		list, err := c.AuditOf(v.ID)
		require.NoError(t, err)
		for i, e := range list {
			assert.Equal(t, v.ID, e.Verdict)
			assert.False(t, i > 0 && e.Time.Before(list[i-1].Time), "oldest first")
			if e.What == "accepted" || e.What == "lifted" {
				done = append(done, e.What)
			}
		}
		return done
	}
	assert.Equal(t, []string{"accepted", "lifted"}, run(controller.Config{}), "from memory")
	folder := t.TempDir()
	for times := 1; times <= 3; times++ { // each puts an audit log aside
		assert.Equal(t, slices.Repeat([]string{"accepted", "lifted"}, times), run(controller.Config{StateDir: folder, AuditFileBytes: 2000}))
		require.NoError(t, os.Remove(filepath.Join(folder, "verdicts.jsonl")), "or the lifted verdict would be remembered")
	}
}

func TestConfigQuotesWhatIsWrong(t *testing.T) {
	same := newFake("lb1")
	tests := []struct {
		config controller.Config
		quote  string
	}{
		{controller.Config{Mode: "block"}, `"block"`},
		{controller.Config{Targets: []mitigate.Target{same, same}}, `"lb1"`},
		{controller.Config{Allow: []netip.Prefix{{}}}, "invalid Prefix"},
		{controller.Config{Own: []netip.Prefix{{}}}, "invalid Prefix"},
		{controller.Config{MaxVerdicts: -1}, "-1"},
		{controller.Config{MaxLifetime: 25 * time.Hour}, "25h0m0s"},
		{controller.Config{Coalesce: time.Second}, "1s"},
		{controller.Config{PollInterval: -time.Second}, "-1s"},
	}
	for _, tt := range tests {
		_, err := controller.New(tt.config)
		assert.ErrorContains(t, err, tt.quote)
	}
}

func TestLiftsWhileATargetWasAwayAreMadeGoodAlsoWhenItIsTooFullToBeListed(t *testing.T) {
	lb := newFake("lb1")
	lb.unlisted = true
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}})
	require.NoError(t, c.Apply(targettest.Block(1, "198.51.100.1")))
	require.NoError(t, c.Apply(targettest.Block(2, "198.51.100.2")))
	eventually(t, func() bool { return len(lb.holds()) == 2 }, "in force")
	lb.change(func() { lb.down = errDown })
	require.NoError(t, c.Lift(targettest.Block(1, attacker).ID, "alice"))
	eventually(t, func() bool { return !c.Targets()[0].Connected }, "down")
	lb.change(func() { lb.down = nil })
	eventually(t, func() bool { return len(lb.holds()) == 1 }, "lifted")
}

func TestWhatIsNewDoesNotWaitForWhatIsWrittenAgain(t *testing.T) {
	const n = 20_000
	lb := newFake("lb1")
	lb.unlisted, lb.capacity = true, 2*n
	c, stop := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}, MaxPerMinute: 2 * n})
	of := func(i uint32) detect.Verdict {
		return targettest.Block(i+1, fmt.Sprintf("44.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	for i := range uint32(n) {
		require.NoError(t, c.Apply(of(i)))
	}
	eventually(t, func() bool { return c.Targets()[0].InForce == n }, "in force")

	// It ends, begins anew and is written all that it held.
	fresh, over := of(n), of(0)
	third, changed := make(chan bool), make(chan bool)
	orders, when := 0, 0
	lb.change(func() {
		lb.life = "2"
		clear(lb.held)
		lb.onApply = func(set []mitigate.Entry, _ []detect.Subject) {
			if orders++; orders == 3 {
				close(third)
				<-changed
			}
			if slices.ContainsFunc(set, func(e mitigate.Entry) bool { return e.ID.String() == fresh.ID }) {
				when = orders
			}
		}
	})
	<-third
	require.NoError(t, c.Apply(fresh))
	require.NoError(t, c.Lift(over.ID, "alice"))
	close(changed)
	eventually(t, func() bool { return c.Targets()[0].Pending == 0 && len(lb.holds()) == n }, "all in the end")
	stop()
	_, was := lb.holds()[over.Subject.Client.String()]
	assert.False(t, was, "what was lifted meanwhile is not there")
	assert.Equal(t, 4, when, "the new one went with the next order, of %d", orders)
}

func TestASmallTargetThatCanNotBeListedHoldsTheMostImportant(t *testing.T) {
	lb := newFake("lb1")
	lb.unlisted, lb.capacity = true, 3
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}})
	for i := range uint32(6) {
		v := targettest.Block(i+1, fmt.Sprintf("44.0.0.%d", i+1))
		v.Expected.AttackRequestsPerMinute = float64(i)
		require.NoError(t, c.Apply(v))
	}
	eventually(t, func() bool {
		holds := lb.holds()
		for _, client := range []string{"44.0.0.4/32", "44.0.0.5/32", "44.0.0.6/32"} {
			if _, ok := holds[client]; !ok {
				return false
			}
		}
		return len(holds) == 3
	}, "the three that stop most")
}

func TestMoreChangesThanAnAbsentTargetMayHaveNotedAreMadeGood(t *testing.T) {
	lb := newFake("lb1")
	lb.down = errDown
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}, MaxVerdicts: 10})
	for id := range uint32(100) {
		v := targettest.Block(id+1, fmt.Sprintf("198.51.100.%d", id))
		require.NoError(t, c.Apply(v))
		if id < 95 {
			require.NoError(t, c.Lift(v.ID, "alice"))
		}
	}
	assert.Equal(t, 10, c.Targets()[0].Pending)
	lb.change(func() { lb.down = nil })
	eventually(t, func() bool { return len(lb.holds()) == 5 }, "all that are active")
	eventually(t, func() bool { return c.Targets()[0].Pending == 0 }, "nothing left")
}

func TestCountersThatCanNotBeReadDisconnectNobody(t *testing.T) {
	lb := newFake("lb1")
	lb.noHits = errDown
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}, HitsInterval: 5 * time.Millisecond, SweepInterval: 5 * time.Millisecond})
	require.NoError(t, c.Apply(targettest.Block(1, attacker)))
	eventually(t, func() bool { return c.Targets()[0].Errors > 3 }, "tried")
	status := c.Targets()[0]
	assert.True(t, status.Connected)
	assert.EqualValues(t, 1, status.Syncs, "and calls for no comparison")
	assert.Contains(t, status.LastError, "connection refused")
}

func TestRowsThatAnOldProcessTeachesLateAreRemoved(t *testing.T) {
	lb := newFake("lb1")
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}, Settle: 100 * time.Millisecond})
	require.NoError(t, c.Apply(targettest.Block(1, attacker)))
	eventually(t, func() bool { return c.Targets()[0].Syncs == 2 }, "compared twice after the connect")
	lb.change(func() { lb.life = "2" })
	eventually(t, func() bool { return c.Targets()[0].Syncs == 3 }, "compared after the restart")
	lb.change(func() { lb.held[detect.Subject{Client: targettest.Network(customer)}] = mitigate.Entry{ID: 1<<32 + 1} })
	eventually(t, func() bool { return len(lb.holds()) == 1 }, "removed")
	assert.Contains(t, lb.holds(), attacker+"/32")
}

// patient is a target of which every order waits as long as its context lets it, but for the
// kill switch.
type patient struct {
	*fakeTarget
	waits chan struct{} // one that waits
}

func (p patient) wait(ctx context.Context) error {
	select {
	case p.waits <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

func (p patient) Mode(ctx context.Context) (detect.Mode, bool, error) {
	return "", false, p.wait(ctx)
}

func (p patient) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	if mode != detect.ModeOff {
		return p.wait(ctx)
	}
	return p.fakeTarget.SetMode(ctx, mode, release)
}

func TestTheKillSwitchWaitsForNothingThatIsUnderWay(t *testing.T) {
	p := patient{newFake("lb"), make(chan struct{})}
	p.mode = detect.ModeEnforce
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{p}, Mode: detect.ModeEnforce, OrderTimeout: time.Hour})
	for range 3 { // an order of the mode, a look at it, or both
		<-p.waits
		require.NoError(t, c.Off("alice"))
		eventually(t, func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.mode == detect.ModeOff
		}, "it is off")
		p.change(func() { p.mode = detect.ModeEnforce })
		require.NoError(t, c.On("alice"))
	}
}

func TestAVerdictThatHadNoPlaceIsInForceAsSoonAsAnotherMakesOne(t *testing.T) {
	for name, end := range map[string]func(*controller.Controller, detect.Verdict) error{
		"which is lifted": func(c *controller.Controller, v detect.Verdict) error { return c.Lift(v.ID, "alice") },
		"which ends":      func(*controller.Controller, detect.Verdict) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lb := newFake("lb")
			wide, narrow := targettest.Block(1, "198.51.100.0/24"), targettest.Block(2, "198.51.100.0/26")
			wide.Expires = time.Now().Add(8 * time.Second).UnixNano()
			id, err := mitigate.ParseID(narrow.ID)
			require.NoError(t, err)
			lb.refuse[id] = "overlaps"
			c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}, Mode: detect.ModeEnforce, CompareInterval: time.Hour})
			require.NoError(t, c.Apply(wide))
			require.NoError(t, c.Apply(narrow))
			eventually(t, func() bool { return c.Targets()[0].Rejected == 1 && len(lb.holds()) == 1 }, "one of the two is in force")
			lb.change(func() { delete(lb.refuse, id) })
			require.NoError(t, end(c, wide))
			eventually(t, func() bool {
				v, _ := c.Verdict(narrow.ID)
				_, held := lb.holds()["198.51.100.0/26"]
				return held && v.Targets[0].State == controller.StateInForce
			}, "then the other is")
		})
	}
}
