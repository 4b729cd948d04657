package policy

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tableOf makes the table of a policy with a condition and a window.
func tableOf(t *testing.T, when string, window time.Duration, limit int) *Table {
	t.Helper()
	s, err := New([]Statement{{Name: "a", When: when, Per: []string{"session"}, Window: window}})
	require.NoError(t, err)
	return NewTable(s.Own()[0], limit)
}

func key(n uint64) Key { return Key{{0, n}} }

const start = int64(1_770_000_000e9)

func TestCountsAreOfTheWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const window = 80 * time.Second
	table := tableOf(t, `entity.requests > 1`, window, 100)
	var times []int64
	now := start
	for range 20000 {
		now += rng.Int64N(int64(3 * time.Second))
		if rng.IntN(200) == 0 {
			now += rng.Int64N(int64(3 * window))
		}
		times = append(times, now)
		got := table.Count(key(1), now, &Seen{Login: true}).Requests
		most, least := int64(0), int64(0)
		for i := len(times) - 1; i >= 0 && times[i] > now-window.Nanoseconds(); i-- {
			most++
			if times[i] > now-window.Nanoseconds()*(parts-1)/parts {
				least++
			}
		}
		require.GreaterOrEqual(t, got, least, "what is younger than 7/8 of it counts")
		require.LessOrEqual(t, got, most, "what is older than all of it does not")
	}
}

func TestEachThingIsCountedByItself(t *testing.T) {
	table := tableOf(t, `entity.requests > 1`, time.Minute, 100)
	for i := range 100 {
		table.Count(key(1), start, &Seen{Login: i%2 == 0, Failure: i%4 == 0, Success: i%4 == 2, Error: i%5 == 0, Account: uint64(i + 1)})
		table.Count(key(2), start, &Seen{})
	}
	assert.Equal(t, Counts{Requests: 101, Logins: 50, Failures: 25, Successes: 25, Errors: 20}, table.Count(key(1), start, &Seen{}), "different things are not counted unless asked for")
	assert.Equal(t, Counts{Requests: 101}, table.Count(key(2), start, &Seen{}))
}

func TestDifferentThingsAreEstimated(t *testing.T) {
	for _, n := range []int{1, 2, 5, 20, 100, 300} {
		table := tableOf(t, `entity.accounts > 1`, time.Minute, 100)
		var c Counts
		for i := range 3 * n { // each three times
			c = table.Count(key(1), start+int64(i)*40e9/int64(3*n), &Seen{Account: uint64(i%n)*0x9e3779b97f4a7c15 + 1, Client: 7})
		}
		assert.InEpsilon(t, n, c.Accounts, 0.2, "%d", n)
		assert.Equal(t, int64(1), c.Clients)
		assert.Zero(t, c.Endpoints)
	}
	table := tableOf(t, `entity.accounts > 1`, time.Minute, 100)
	var c Counts
	for i := range 100000 {
		c = table.Count(key(1), start, &Seen{Account: uint64(i + 1)})
	}
	assert.Equal(t, MostDistinct, c.Accounts)
	assert.Equal(t, int64(1), table.Count(key(1), start+2*time.Minute.Nanoseconds(), &Seen{Account: 1}).Accounts, "the window is over")
}

func TestATableIsBoundedAndForgetsWhoWasSeenTheLongestAgo(t *testing.T) {
	table := tableOf(t, `entity.accounts > 1`, time.Minute, 64)
	for i := range uint64(1000) {
		table.Count(key(i+10), start+int64(i)*1e9, &Seen{Account: 1})
		table.Count(key(1), start+int64(i)*1e9, &Seen{Account: i + 1})
	}
	assert.Equal(t, 64, table.Len())
	assert.Equal(t, uint64(1001-64), table.Evictions())
	assert.GreaterOrEqual(t, table.Count(key(1), start+1000e9, &Seen{}).Requests, int64(52), "who is always there stays")
	assert.Equal(t, int64(1), table.Count(key(10), start+1000e9, &Seen{}).Requests, "who is long gone starts anew")
}

func TestInventedNamesPushOutNobodyWhoCounts(t *testing.T) {
	table := tableOf(t, `entity.requests > 1`, 24*time.Hour, 64)
	for range 40 {
		table.Count(key(1), start, &Seen{})
	}
	table.Count(key(2), start, &Seen{})
	table.Strike(key(2))
	for i := range uint64(10000) {
		table.Count(key(i+10), start+int64(i)*1e9, &Seen{})
	}
	assert.Equal(t, int64(41), table.Count(key(1), start+10000e9, &Seen{}).Requests, "who asked for more")
	assert.Equal(t, 1, table.Strike(key(2)), "who had a verdict")

	for i := range uint64(10000) {
		table.Count(key(i+20000), start+49*time.Hour.Nanoseconds()+int64(i)*1e9, &Seen{})
	}
	assert.Equal(t, int64(1), table.Count(key(1), start+52*time.Hour.Nanoseconds(), &Seen{}).Requests)
	assert.Zero(t, table.Strike(key(2)), "who has been gone for longer than a verdict lasts makes room")
}

func TestStrikesAreRememberedUntilAPardon(t *testing.T) {
	table := tableOf(t, `entity.requests > 1`, time.Minute, 64)
	assert.Zero(t, table.Strike(key(1)), "nobody")
	table.Count(key(1), start, &Seen{})
	for want := range 40 {
		assert.Equal(t, min(want, 32), table.Strike(key(1)))
	}
	table.Pardon(key(1))
	table.Pardon(key(2))
	assert.Zero(t, table.Strike(key(1)))
	assert.Equal(t, int64(1), table.Count(key(1), start, &Seen{}).Requests)
}

func TestCountingAllocatesNothing(t *testing.T) {
	table := tableOf(t, `entity.accounts > 1`, time.Minute, 64)
	now, seen := start, &Seen{Login: true, Account: 5}
	for i := range uint64(64) {
		table.Count(key(i), now, seen)
	}
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		now += 1e6
		table.Count(key(uint64(now)%64), now, seen)
	}))
}
