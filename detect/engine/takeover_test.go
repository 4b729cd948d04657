package engine

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
)

// convicted is a bench with one verdict, against 45.0.0.1, decided after a
// minute and five seconds.
func convicted(t *testing.T, change ...func(*Config)) (*bench, string) {
	b := newBench(t, change...)
	b.run(customers(1, 100, 0, minute, 0.08))
	for k := range 6 {
		b.try(try{at: minute + time.Duration(k)*second, client: "45.0.0.1", account: fmt.Sprint(k), password: "p"})
	}
	require.Len(t, b.decided, 1)
	return b, b.decided[0].ID
}

func TestAMarkerOfAnothersVerdictKeepsItNotAlive(t *testing.T) {
	proxy := netip.MustParsePrefix("10.0.0.0/8")
	for _, c := range []struct {
		name, client string
		want         uint64 // renewals
	}{
		{"its own client", "45.0.0.1", 1},
		{"a server of the attacker's, asked by the bank's own", "198.51.100.7", 0},
		{"a proxy whose header was not seen", "10.0.0.1", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, id := convicted(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{proxy} })
			tx := b.try(try{at: 8 * minute, client: c.client, account: "x", password: "p", refused: id})
			assert.Equal(t, "unknown", tx.Annotation.EventOutcome)
			assert.Equal(t, c.want, b.Stats().Renewals)
			assert.Equal(t, 1-c.want, b.Stats().RefusedStale)
			assert.Equal(t, c.want, b.Enforcements()[0].Refused)
		})
	}
}

func TestHitsKeepAVerdictAliveWhenItsRefusalsAreNoLongerSeen(t *testing.T) {
	b, id := convicted(t)
	b.try(try{at: 2 * minute, client: "45.0.0.1", refused: id})
	b.Advance(at(2*minute + 30*second))
	before := b.verdicts.byID[id].since
	b.Hits([]detect.Hits{{Verdict: id, Refused: 100}})
	b.Advance(at(2*minute + 35*second))
	assert.Equal(t, before, b.verdicts.byID[id].since, "hits beside refusals say nothing new")
	b.Advance(at(6 * minute))
	b.Hits([]detect.Hits{{Verdict: id, Refused: 100}})
	b.Advance(at(6*minute + second))
	assert.EqualValues(t, 1, b.Stats().Renewals)
}

func TestRefusalsThatAreCountedBeforeTheMirrorShowsThemCountOnce(t *testing.T) {
	b, id := convicted(t)
	before := b.verdicts.byID[id].since
	b.Advance(at(2 * minute))
	b.Hits([]detect.Hits{{Verdict: id, Refused: 1}})
	b.try(try{at: 2*minute + 300*time.Millisecond, client: "45.0.0.1", refused: id})
	b.Advance(at(3 * minute))
	assert.Equal(t, before+1, b.verdicts.byID[id].since)
}

func TestHitsThatAreReadAheadOfDetectionWaitForItsClock(t *testing.T) {
	b, id := convicted(t)
	before := b.verdicts.byID[id].since
	b.Advance(at(2 * minute))
	b.Hits([]detect.Hits{{Verdict: id, Refused: 1, Time: at(2*minute + 30*second)}})
	b.Advance(at(2*minute + 20*second))
	assert.Equal(t, before, b.verdicts.byID[id].since, "detection lags: what the mirror shows is still to come")
	b.Advance(at(2*minute + 31*second))
	assert.Equal(t, before+1, b.verdicts.byID[id].since)
	b.Hits([]detect.Hits{{Verdict: id, Refused: 1, Time: at(9 * hour)}})
	b.Advance(at(3*minute + 32*second))
	assert.Equal(t, before+2, b.verdicts.byID[id].since, "a clock that is wrong does not keep them for ever")
}

func TestHitsThatWaitAreBounded(t *testing.T) {
	b, id := convicted(t)
	before := b.verdicts.byID[id].since
	for range maxHits + 3 {
		b.Hits([]detect.Hits{{Verdict: id, Refused: 1}})
	}
	assert.Len(t, b.hits, maxHits)
	assert.Equal(t, before+3, b.verdicts.byID[id].since, "the oldest count at once")
}

func TestAChangeOfModeConcernsTheVerdictsInForce(t *testing.T) {
	b, id := convicted(t)
	operators := &detect.Verdict{ID: "00000001000000aa", Time: b.clock + 1e6, Expires: at(hour), Action: detect.ActionBlock, Mode: detect.ModeMonitor}
	operators.Subject.Client = netip.MustParsePrefix("83.0.0.0/24")
	b.Watch(operators)
	b.SetMode(detect.ModeMonitor)
	require.Len(t, b.decided, 1, "no change")
	b.SetMode(detect.ModeEnforce)
	require.Len(t, b.decided, 3)
	assert.Equal(t, operators.ID, b.decided[1].ID)
	assert.Equal(t, operators.Time, b.decided[1].Time, "never older than it was")
	assert.Equal(t, operators.Expires, b.decided[1].Expires)
	assert.Equal(t, id, b.decided[2].ID)
	for _, v := range b.decided[1:] {
		assert.Equal(t, detect.ModeEnforce, v.Mode)
	}
	assert.Equal(t, b.decided[0].Expires, b.decided[2].Expires, "it lasts no longer")
	assert.Zero(t, b.Stats().Renewals)
}

func TestAnAllowListThatGrowsEndsAnOperatorsVerdictToo(t *testing.T) {
	b := newBench(t)
	b.Advance(at(0))
	b.Watch(&detect.Verdict{ID: "00000001000000aa", Time: at(0), Expires: at(hour), Action: detect.ActionBlock, Mode: detect.ModeMonitor,
		Subject: detect.Subject{Client: netip.MustParsePrefix("83.0.0.0/24")}})
	b.Watch(&detect.Verdict{ID: "00000001000000ab", Time: at(0), Expires: at(hour), Action: detect.ActionTag, Mode: detect.ModeMonitor,
		Subject: detect.Subject{Endpoint: "POST a/login"}})
	b.SetAllow([]netip.Prefix{netip.MustParsePrefix("83.0.0.7/32")})
	require.Len(t, b.decided, 1)
	assert.Equal(t, detect.ActionLift, b.decided[0].Action)
	assert.Equal(t, "00000001000000aa", b.decided[0].ID)
	assert.Len(t, b.Enforcements(), 1)
	assert.Zero(t, b.Stats().Lifted, "it had not been counted")
}

func TestVerdictsOfAnEarlierRunAreCarriedOn(t *testing.T) {
	first, id := convicted(t)
	old := *first.decided[0]
	for _, c := range []struct {
		name     string
		evidence func(b *bench)
		findings int
	}{
		{"by refusals", func(b *bench) { b.try(try{at: 8 * minute, client: "45.0.0.1", refused: id}) }, 0},
		{"by hits", func(b *bench) {
			b.Advance(at(8*minute - second))
			b.Hits([]detect.Hits{{Verdict: id, Refused: 3}})
			b.Advance(at(8 * minute))
		}, 0},
		{"by failures", func(b *bench) {
			b.try(try{at: 8*minute - second, client: "81.0.0.1", account: "c", password: "p", right: true})
			for k := range 6 {
				b.try(try{at: 8 * minute, client: "45.0.0.1", account: fmt.Sprint(k), password: "p"})
			}
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			v := old
			b.Restore(&v)
			b.Restore(&v)
			assert.Empty(t, b.decided)
			require.Len(t, b.Active(), 1)
			c.evidence(b)
			require.Len(t, b.decided, 1)
			assert.Equal(t, id, b.decided[0].ID, "the same verdict")
			assert.Equal(t, at(18*minute), b.decided[0].Expires)
			require.Len(t, b.found, c.findings)
			for _, f := range b.found {
				assert.Equal(t, old.Findings, []string{f.ID})
			}
			b.Advance(at(hour))
			assert.Empty(t, b.Active())
			for k := range 12 {
				b.try(try{at: hour + time.Duration(k)*second, client: "45.0.0.1", account: fmt.Sprint("again", k), password: "p"})
			}
			last := b.decided[len(b.decided)-1]
			assert.NotEqual(t, id, last.ID)
			assert.Equal(t, 20*minute.Nanoseconds(), last.Expires-last.Time, "the second time lasts twice as long")
			s := b.Stats()
			assert.Equal(t, s.Verdicts+s.Restored, s.Expired+s.Lifted+uint64(s.ActiveVerdicts))
		})
	}
	t.Run("in the mode of now", func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Mode = detect.ModeEnforce })
		v := old
		b.Restore(&v)
		require.Len(t, b.decided, 1)
		assert.Equal(t, detect.ModeEnforce, b.decided[0].Mode)
		assert.Equal(t, old.Time, b.decided[0].Time)
	})
	t.Run("unless the allow-list has grown, or they have ended", func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Allow = []netip.Prefix{netip.MustParsePrefix("45.0.0.1/32")} })
		v := old
		b.Restore(&v)
		assert.Empty(t, b.Active())
		b = newBench(t)
		b.Advance(at(hour))
		b.Restore(&v)
		assert.Empty(t, b.Active())
	})
}
