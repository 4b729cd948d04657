package netscaler_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/netscalertest"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/netscaler"
)

// These tests look at what clients are answered by the policies as they are printed; see
// netscalertest for what stands in for a NetScaler.

func newTarget(t testing.TB, address string, change ...func(*netscaler.Options)) *netscaler.Target {
	t.Helper()
	o := netscaler.Options{
		Name: "lb1", Address: address, User: netscalertest.User,
		Password: func() ([]byte, error) { return []byte(netscalertest.Password), nil },
	}
	for _, f := range change {
		f(&o)
	}
	target, err := netscaler.New(o)
	require.NoError(t, err)
	return target
}

func balancer(s *netscalertest.Server) *targettest.Balancer {
	return &targettest.Balancer{
		URL: s.URL, Backend: s.Backend, Down: s.Down, Up: s.Up, Reload: s.API.EndSessions,
		Target: func(t testing.TB) mitigate.Target { return newTarget(t, s.Address) },
	}
}

func TestItDoesWhatEveryTargetHasToDo(t *testing.T) {
	targettest.Conform(t, targettest.Traits{Networks: true, Expires: true, Tags: true}, func(t testing.TB) *targettest.Balancer {
		return balancer(netscalertest.Start(t))
	})
}

// enforcing is a fresh load balancer in mode enforce.
func enforcing(t testing.TB) (*netscalertest.Server, *targettest.Balancer, *netscaler.Target) {
	t.Helper()
	s := netscalertest.Start(t)
	target := newTarget(t, s.Address)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return s, balancer(s), target
}

// entry is a block of an address or network for an hour.
func entry(id uint32, client string) mitigate.Entry {
	return mitigate.Entry{
		ID: mitigate.ID(0xabcd<<32 | uint64(id)), Action: detect.ActionBlock,
		Subject: detect.Subject{Client: targettest.Network(client)}, Expires: time.Now().Add(time.Hour).Unix(),
	}
}

func watched(e mitigate.Entry) mitigate.Entry { e.Monitor = true; return e }

func tagged(e mitigate.Entry) mitigate.Entry { e.Action = detect.ActionTag; return e }

func apply(t testing.TB, target *netscaler.Target, set ...mitigate.Entry) {
	t.Helper()
	require.NoError(t, target.Apply(t.Context(), set, nil))
}

// get asks without the time it took.
func get(t testing.TB, b *targettest.Balancer, client string, headers ...string) targettest.Answer {
	t.Helper()
	a := b.Get(t, client, headers...)
	a.Elapsed = 0
	return a
}

var passed = targettest.Answer{Status: 200}

func refused(e mitigate.Entry) targettest.Answer {
	return targettest.Answer{Status: 403, Marker: e.ID.String()}
}

func seen(e mitigate.Entry) targettest.Answer {
	return targettest.Answer{Status: 200, Tag: e.ID.String()}
}

func TestTheNarrowestThatIsEnforcedApplies(t *testing.T) {
	_, b, target := enforcing(t)
	wide, narrow, address := entry(1, "198.51.0.0/16"), tagged(entry(2, "198.51.100.0/24")), entry(3, "198.51.100.7")
	watch := watched(entry(4, "198.51.1.1"))
	wide6, narrow6, address6 := entry(5, "2001:db8::/48"), watched(entry(6, "2001:db8:0:100::/56")), tagged(entry(7, "2001:db8:0:100::7"))
	middle6 := tagged(entry(8, "2001:db8:0:200::/64"))
	apply(t, target, wide, narrow, address, watch, wide6, narrow6, address6, middle6)
	for client, want := range map[string]targettest.Answer{
		"198.51.100.7":      refused(address),
		"198.51.100.8":      seen(narrow),
		"198.51.101.8":      refused(wide),
		"198.51.1.1":        refused(wide),
		"198.52.1.1":        passed,
		"2001:db8:0:100::7": seen(address6),
		"2001:db8:0:100::8": refused(wide6),
		"2001:db8:0:200::8": seen(middle6),
		"2001:db8:1::1":     passed,
	} {
		assert.Equal(t, want, get(t, b, client, "X-Offpath-Verdict", "forged"), client)
	}
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{wide.Subject, wide6.Subject}))
	assert.Equal(t, seen(watch), get(t, b, "198.51.1.1"))
	assert.Equal(t, seen(narrow6), get(t, b, "2001:db8:0:100::8"))
	assert.Equal(t, passed, get(t, b, "198.51.101.8"))
}

func TestTheOperatorsOwnAllowListAndOffAreTheirs(t *testing.T) {
	s, b, target := enforcing(t)
	e, e6 := entry(1, "198.51.100.7"), entry(2, "2001:db8::7")
	apply(t, target, e, e6)
	require.Equal(t, refused(e), get(t, b, "198.51.100.7"))
	require.Equal(t, refused(e6), get(t, b, "2001:db8::7"))
	s.API.Bind("offpath_allow_own4", "198.51.100.0/25", "")
	s.API.Bind("offpath_allow_own6", "2001:db8::7", "")
	assert.Equal(t, passed, get(t, b, "198.51.100.7"))
	assert.Equal(t, passed, get(t, b, "2001:db8::7"))
	require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}))
	require.NoError(t, target.SetAllow(t.Context(), nil))
	assert.Empty(t, s.API.Values("offpath_allow4"))
	assert.Len(t, s.API.Values("offpath_allow_own4"), 1)

	e = entry(3, "203.0.113.1")
	apply(t, target, e)
	require.Equal(t, refused(e), get(t, b, "203.0.113.1"))
	s.API.Bind("offpath_off", "off", "1")
	assert.Equal(t, passed, get(t, b, "203.0.113.1"))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	mode, local, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeOff, mode)
	assert.True(t, local)
	assert.Equal(t, passed, get(t, b, "203.0.113.1"), "off at the load balancer stands")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	assert.Equal(t, refused(e), get(t, b, "203.0.113.1"))
	mode, local, err = target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeEnforce, mode)
	assert.False(t, local)
}

func TestARebootKeepsTheModeAndIsSeenByTheNumberOfTheChange(t *testing.T) {
	s, b, target := enforcing(t)
	before, err := target.Identity(t.Context())
	require.NoError(t, err)
	e := entry(1, "198.51.100.7")
	apply(t, target, e)
	same, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before.Process, same.Process)
	s.API.Reboot()
	assert.Equal(t, passed, get(t, b, "198.51.100.7"), "verdicts are not saved")
	after, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, before.Process, after.Process)
	_, err = target.Sync(t.Context(), []mitigate.Entry{e})
	require.NoError(t, err)
	assert.Equal(t, refused(e), get(t, b, "198.51.100.7"), "the mode was saved")

	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	s.API.Reboot()
	assert.Equal(t, passed, get(t, b, "198.51.100.7"), "and so is off")
}

func TestSweepUnbindsWhatNoLongerActs(t *testing.T) {
	s, _, target := enforcing(t)
	kept, lifted, over := entry(1, "198.51.100.1"), entry(2, "198.51.100.2"), entry(3, "198.51.100.3")
	over.Expires = time.Now().Add(2 * time.Second).Unix()
	apply(t, target, kept, lifted, over)
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{lifted.Subject}))
	assert.Len(t, s.API.Values("offpath_verdicts"), 3)
	time.Sleep(time.Until(time.Unix(over.Expires+1, 0)))
	require.NoError(t, target.Sweep(t.Context()))
	assert.Equal(t, map[string]string{"198.51.100.1": fmt.Sprintf("e:block:%d:%s", kept.Expires, kept.ID)}, s.API.Values("offpath_verdicts"))
}

func TestWhatWasLiftedTakesNoMoreRoomThanThereMayBeVerdicts(t *testing.T) {
	s, _, _ := enforcing(t)
	const capacity = 10
	target := newTarget(t, s.Address, func(o *netscaler.Options) { o.Capacity = capacity })
	for round := range 5 {
		var set []mitigate.Entry
		var gone []detect.Subject
		for i := range capacity {
			e := entry(uint32(round*capacity+i+1), fmt.Sprintf("203.0.%d.%d", round, i))
			set = append(set, e)
			gone = append(gone, e.Subject)
		}
		require.NoError(t, target.Apply(t.Context(), set, nil))
		require.NoError(t, target.Apply(t.Context(), nil, gone))
		assert.LessOrEqual(t, len(s.API.Values("offpath_verdicts")), 2*capacity)
	}
}

func TestOnlyWhatChangedIsSaved(t *testing.T) {
	s, _, target := enforcing(t)
	saves := s.API.Saves()
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	require.NoError(t, target.SetAllow(t.Context(), nil))
	assert.Equal(t, saves, s.API.Saves())
	allow := []netip.Prefix{targettest.Network("198.51.100.0/24")}
	for range 2 {
		require.NoError(t, target.SetAllow(t.Context(), allow))
	}
	assert.Equal(t, saves+1, s.API.Saves())
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, saves+2, s.API.Saves())
}

func TestWhatThereIsNoRoomForIsSaid(t *testing.T) {
	s, _, _ := enforcing(t)
	target := newTarget(t, s.Address, func(o *netscaler.Options) { o.Capacity = 2 })
	err := target.Apply(t.Context(), []mitigate.Entry{entry(1, "192.0.2.1"), watched(entry(2, "192.0.2.2")), entry(3, "192.0.2.3")}, nil)
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, err, &rejected)
	require.Len(t, rejected.Rejections, 1)
	assert.Equal(t, mitigate.ID(0xabcd<<32|2), rejected.Rejections[0].ID)
}
