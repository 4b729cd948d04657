package controller

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
)

// TestDesiredStateAgreesWithALinearSearch puts, replaces and removes at random
// and compares every answer with the obvious one.
func TestDesiredStateAgreesWithALinearSearch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	actions := []detect.Action{detect.ActionBlock, detect.ActionRateLimit, detect.ActionTag, detect.ActionHold}
	d := newDesired()
	model := make(map[mitigate.ID]*item)
	for range 20_000 {
		id := mitigate.ID(1<<32 + random.IntN(60) + 1)
		if random.IntN(3) == 0 {
			if it := d.byID[id]; it != nil {
				d.remove(it)
			}
			delete(model, id)
		} else {
			it := &item{
				who: []string{"", "alice"}[random.IntN(2)],
				entry: mitigate.Entry{
					ID: id, Action: actions[random.IntN(len(actions))], Monitor: random.IntN(2) == 0,
					Subject: detect.Subject{Client: netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/32", random.IntN(10)))},
					Expires: int64(random.IntN(100)),
				},
			}
			it.verdict.Expected.AttackRequestsPerMinute = float64(random.IntN(5))
			d.put(it)
			model[id] = it
		}

		require.Len(t, d.byID, len(model))
		require.Len(t, d.expiry.items, len(model))
		require.Len(t, d.importance.items, len(model))
		bySubject := make(map[detect.Subject][]*item)
		first, least := (*item)(nil), (*item)(nil)
		for _, it := range model {
			bySubject[it.entry.Subject] = append(bySubject[it.entry.Subject], it)
			if first == nil || it.entry.Expires < first.entry.Expires {
				first = it
			}
			if least == nil || compareImportance(it, least) < 0 {
				least = it
			}
		}
		require.Len(t, d.bySubject, len(bySubject))
		for s, items := range bySubject {
			require.Same(t, slices.MaxFunc(items, compareForce), d.bySubject[s][0])
		}
		require.Same(t, least, d.importance.root())
		if first == nil {
			require.Nil(t, d.expiry.root())
		} else {
			require.Equal(t, first.entry.Expires, d.expiry.root().entry.Expires)
		}
	}
}

func TestALiftAlsoHoldsAgainstARenewalThatIsOnItsWayWhenTheVerdictWouldHaveEnded(t *testing.T) {
	c, err := New(Config{})
	require.NoError(t, err)
	now := time.Now()
	v := detect.Verdict{
		ID: "0000000100000001", Action: detect.ActionBlock, Mode: detect.ModeEnforce, Time: now.UnixNano(), Expires: now.Add(time.Minute).UnixNano(),
		Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.1/32")},
	}
	require.NoError(t, c.Apply(v))
	require.NoError(t, c.Lift(v.ID, "alice"))
	c.expire(now.Add(5 * time.Minute))
	v.Time, v.Expires = now.Add(5*time.Minute).UnixNano(), now.Add(15*time.Minute).UnixNano()
	assert.ErrorIs(t, c.Apply(v), ErrStale)
	c.expire(now.Add(2 * lateRenewal))
	assert.Empty(t, c.lifted.expires)
}

func TestLiftedVerdictsAreForgottenWhenTheyWouldHaveExpired(t *testing.T) {
	l := newTombstones()
	for i := range maxLifted + 10 {
		l.add(mitigate.ID(i+1), detect.Subject{}, int64(i+100), 0)
	}
	assert.Len(t, l.expires, maxLifted)
	assert.False(t, l.has(10, 0), "the first to expire made room")
	assert.True(t, l.has(11, 0))
	l.add(5, detect.Subject{}, 50, 60)
	assert.False(t, l.has(5, 0), "over already")
	l.expire(maxLifted + 108)
	assert.Len(t, l.expires, 1)
	assert.Len(t, l.order, 1)
}
