package sequential

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const second = int64(time.Second)

func config() Config {
	return Config{Entities: 1 << 12, Dossiers: 64, Repeats: 1 << 14, Baseline: 0.08, FalseAlarm: 1e-6, KnownGoodShare: 0.2}
}

// desk is a detector with one login endpoint.
type desk struct {
	*Detector
	stratum Stratum
	now     int64
	n       uint64
}

func newDesk() *desk { return &desk{Detector: New(config()), now: 1e18} }

// try is an attempt a second after the one before. Account and password 0 are
// ever new ones.
func (d *desk) try(client string, account, password uint64, right bool) Result {
	d.now += second
	d.n++
	if account == 0 {
		account = 1<<40 + d.n
	}
	if password == 0 {
		password = 1<<41 + d.n
	}
	return d.Observe(&Attempt{
		Time: d.now, Event: fmt.Sprint(d.n), Client: netip.MustParseAddr(client), Account: account, Password: password, Right: right, Stratum: &d.stratum,
	})
}

// failuresToConvict is how many accounts in a row convict an unknown client.
func (d *desk) failuresToConvict(t *testing.T) int {
	t.Helper()
	for n := 1; n < 1000; n++ {
		if d.try("45.0.0.1", 0, 0, false).Address.Guilty {
			return n
		}
	}
	t.Fatal("never convicted")
	return 0
}

func client(i int) string { return fmt.Sprintf("81.%d.%d.%d", i>>16&255, i>>8&255, i&255) }

func TestFailuresThatConvictByBaseline(t *testing.T) {
	assert.InDelta(t, 13.8, Threshold(1e-6), 0.01)
	for _, c := range []struct {
		baseline float64
		want     int
	}{{0.02, 5}, {0.05, 5}, {0.08, 6}, {0.3, 12}, {0.57, 28}, {0.6, 31}} {
		d := newDesk()
		d.cfg.Baseline = c.baseline
		d.stratum.accepted = true
		assert.InDelta(t, c.want, d.failuresToConvict(t), 1, "at %v", c.baseline)
	}
}

func TestABaselineIsLearnedFromClientsThatSucceedInTheEnd(t *testing.T) {
	d := newDesk()
	for i := range 4000 { // three attempts of ten fail
		d.try(client(i), uint64(i+1), 0, i%10 >= 4)
		if i%10 < 4 {
			d.try(client(i), uint64(i+1), 0, true)
		}
	}
	assert.InDelta(t, 0.286, d.stratum.baseline(d.site.shrunk(d.cfg.Baseline), seconds(d.now)), 0.02)
}

func TestAnAttackDoesNotTrainTheBaseline(t *testing.T) {
	for _, c := range []struct {
		name   string
		attack func(*desk, int)
	}{
		{"one try for each of thousands of addresses", func(d *desk, i int) { d.try("45.1."+fmt.Sprint(i>>8)+"."+fmt.Sprint(i&255), 0, 0, i%33 == 0) }},
		{"many tries for each of a few addresses", func(d *desk, i int) { d.try("45.1.0."+fmt.Sprint(i%40), 0, 0, i%33 == 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk()
			for i := range 9000 {
				if i%10 == 0 {
					d.try(client(i), uint64(i+1), 0, i%120 != 0)
				} else {
					c.attack(d, i)
				}
			}
			p := d.stratum.baseline(d.site.shrunk(d.cfg.Baseline), seconds(d.now))
			assert.InDelta(t, 0.06, p, 0.03)
		})
	}
}

func TestOneClientContributesLittle(t *testing.T) {
	d := newDesk()
	for i := range 1000 {
		d.try("81.0.0.1", uint64(i+1), 0, i%2 == 0)
	}
	assert.LessOrEqual(t, d.stratum.learned.outcomes, float64(maxGiven))
}

func TestAnAnchoredBaselineDriftsSlowly(t *testing.T) {
	var s Stratum
	for range 2000 {
		s.learned.add(0)
	}
	s.learned.failures = 400
	now := uint32(1e9)
	anchored := s.baseline(0.08, now)
	s.learned.failures = 1500
	assert.InDelta(t, anchored, s.baseline(0.08, now), 1e-9)
	week := uint32((7 * 24 * time.Hour).Seconds())
	assert.InDelta(t, anchored*1.05, s.baseline(0.08, now+week), 1e-6)
	assert.InDelta(t, anchored*1.10, s.baseline(0.08, now+2*week), 1e-6)
}

func TestTheSameAttemptCountsOnce(t *testing.T) {
	d := newDesk()
	d.stratum.accepted = true
	assert.False(t, d.try("45.0.0.1", 1, 2, false).Repeated)
	for range 100 {
		assert.True(t, d.try("45.0.0.1", 1, 2, false).Repeated)
	}
	assert.InDelta(t, failureTerm(0.08), d.Evidence(netip.MustParsePrefix("45.0.0.1/32")).Score, 0.01)
}

func TestFurtherPasswordsForTheSameAccountCountLessAndLess(t *testing.T) {
	d := newDesk()
	d.stratum.accepted = true
	subject := netip.MustParsePrefix("45.0.0.1/32")
	before := 0.0
	for k, weight := range []float64{1, 0.5, 1.0 / 3, 0.25, 0.2, 1.0 / 6, 1.0 / 7, 0.125, 1.0 / 9, 0.1, 0.1, 0.1} {
		d.try("45.0.0.1", 1, 0, false)
		score := d.Evidence(subject).Score
		assert.InDelta(t, weight*failureTerm(0.08), score-before, 0.01, "password %d", k+1)
		before = score
	}
}

func TestASuccessPaysBackOncePerTenMinutes(t *testing.T) {
	d := newDesk()
	for k := range uint64(3) {
		d.try("81.0.0.1", k+1, 9, false)
	}
	subject := netip.MustParsePrefix("81.0.0.1/32")
	before := d.Evidence(subject).Score
	d.try("81.0.0.1", 7, 7, true)
	after := d.Evidence(subject).Score
	assert.InDelta(t, 2.9, before-after, 0.1)
	assert.True(t, d.try("81.0.0.1", 7, 7, true).Repeated)
	assert.InDelta(t, after, d.Evidence(subject).Score, 0.01)
	d.now += vouchWindow * second
	assert.False(t, d.try("81.0.0.1", 7, 7, true).Repeated)
	assert.Less(t, d.Evidence(subject).Score, after-2.5)
}

func TestScoresFade(t *testing.T) {
	d := newDesk()
	for k := range uint64(4) {
		d.try("81.0.0.1", k+1, 9, false)
	}
	before := d.Evidence(netip.MustParsePrefix("81.0.0.1/32")).Score
	d.now += halfLife.Nanoseconds()
	d.try("81.0.0.1", 9, 9, false)
	after := d.Evidence(netip.MustParsePrefix("81.0.0.1/32")).Score
	assert.InDelta(t, before/2+failureTerm(0.08), after, 0.05)
}

func TestKnownGoodClientsAreNotConvicted(t *testing.T) {
	d := newDesk()
	for k := range uint64(10) {
		d.try("82.0.0.1", 100+k, 1, true)
	}
	var last Result
	for range 20 {
		last = d.try("82.0.0.1", 0, 0, false)
		assert.False(t, last.Address.Guilty)
	}
	assert.Equal(t, VetoKnownGood, last.Address.Veto, "10 of 30 succeeded")
	for !last.Address.Guilty && d.n < 200 {
		last = d.try("82.0.0.1", 0, 0, false)
	}
	assert.InDelta(t, 50, d.n, 2, "a fifth is the limit")
}

func TestAnEndpointThatFailsForEverybodyConvictsNobody(t *testing.T) {
	t.Run("known-good clients get server errors", func(t *testing.T) {
		d := newDesk()
		for i := range 20 {
			d.try(client(i), uint64(2*i+1), 1, true)
			d.try(client(i), uint64(2*i+2), 1, true)
		}
		d.now += 2 * vouchWindow * second
		for i := range 20 {
			d.Down(&d.stratum, netip.MustParseAddr(client(i)), d.now)
		}
		for range 50 {
			assert.False(t, d.try("45.0.0.1", 0, 0, false).Address.Guilty)
		}
	})
	t.Run("but not when strangers get server errors, or one client again and again", func(t *testing.T) {
		d := newDesk()
		for i := range 2 {
			d.try("81.0.0.1", uint64(i+1), 1, true)
		}
		d.now += 2 * vouchWindow * second
		for i := range 1000 {
			d.Down(&d.stratum, netip.MustParseAddr(client(100+i)), d.now)
			d.Down(&d.stratum, netip.MustParseAddr("81.0.0.1"), d.now)
		}
		assert.Equal(t, 6, d.failuresToConvict(t))
	})
	t.Run("known-good clients fail", func(t *testing.T) {
		d := newDesk()
		for i := range 20 {
			d.try(client(i), uint64(2*i+1), 1, true)
			d.try(client(i), uint64(2*i+2), 1, true)
		}
		d.now += 2 * vouchWindow * second
		for i := range 20 {
			d.try(client(i), uint64(2*i+1), 3, false)
		}
		for range 50 {
			assert.False(t, d.try("45.0.0.1", 0, 0, false).Address.Guilty)
		}
		d.now += 2 * vouchWindow * second
		assert.Equal(t, 6, d.failuresToConvict(t), "an hour later it is over")
	})
	t.Run("nobody has ever succeeded", func(t *testing.T) {
		d := newDesk()
		for i := range 60 {
			assert.False(t, d.try("45.0.0."+fmt.Sprint(i%3), 0, 0, false).Address.Guilty)
		}
		assert.Equal(t, VetoUnanchored, d.try("45.0.0.0", 0, 0, false).Address.Veto)
		d.try("81.0.0.1", 0, 0, true)
		assert.True(t, d.try("45.0.0.0", 0, 0, false).Address.Guilty)
	})
	t.Run("a single client at a login that nobody else uses", func(t *testing.T) {
		assert.Equal(t, 6, newDesk().failuresToConvict(t))
	})
}

func TestAttackersDoNotPassForKnownGoodClients(t *testing.T) {
	d := newDesk()
	d.stratum.accepted = true
	for i := range 20000 { // a few per cent succeed at first
		d.try(fmt.Sprintf("45.0.%d.%d", i%3000>>8, i%3000&255), 0, 0, i%33 == 0)
	}
	assert.False(t, d.stratum.guard.outage(seconds(d.now)))
}

func TestEvidenceAddsUp(t *testing.T) {
	d := newDesk()
	for i := range 60 {
		d.try("45.0.0.1", 0, 0, i%20 == 10)
		e := d.Evidence(netip.MustParsePrefix("45.0.0.1/32"))
		var sum float64
		for _, term := range e.Terms {
			sum += term.Value
		}
		assert.InDelta(t, e.Score, sum, 1e-6)
		assert.LessOrEqual(t, e.Score, 2*e.Threshold+1e-3)
		assert.LessOrEqual(t, len(e.Events), maxEvents)
	}
	e := d.Evidence(netip.MustParsePrefix("45.0.0.1/32"))
	assert.Equal(t, "60", e.Events[len(e.Events)-1], "the latest last")
	assert.InDelta(t, 63, e.AttemptsPerMinute, 1, "20 in 19 seconds")
	assert.Equal(t, 57, e.Accounts)
	assert.InDelta(t, 1e6, e.LegitimatePerMillion, 1, "nobody else has succeeded")
	assert.Equal(t, Evidence{Threshold: d.threshold}, d.Evidence(netip.MustParsePrefix("9.9.9.9/32")))
}

func TestTheTableKeepsWhatTellsMost(t *testing.T) {
	cfg := config()
	cfg.Entities = 64
	d := &desk{Detector: New(cfg), now: 1e18}
	d.stratum.accepted = true
	for range 6 {
		d.try("45.0.0.1", 0, 0, false)
	}
	d.Begin(netip.MustParsePrefix("45.0.0.1/32"), d.now)
	for range 4 {
		d.try("45.0.0.2", 0, 0, false)
	}
	for i := range 5000 {
		d.try(client(i), 0, 0, i%2 == 0)
	}
	assert.Equal(t, 64, d.Stats().Entities)
	assert.EqualValues(t, 5000-62, d.Stats().EntityEvictions)
	assert.Equal(t, 64, d.entities.count)
	assert.NotNil(t, d.entities.find(addressKey(netip.MustParseAddr("45.0.0.1"))), "under a verdict")
	assert.NotNil(t, d.entities.find(addressKey(netip.MustParseAddr("45.0.0.2"))), "a suspect")
	assert.Greater(t, (&entity{pinned: true}).information(1), (&entity{score: 28, good: 4, strikes: 32}).information(1))
	assert.True(t, d.entities.find(addressKey(netip.MustParseAddr("45.0.0.1"))).pinned)
	open := len(d.dossiers.list) - len(d.dossiers.free)
	assert.LessOrEqual(t, open, 64, "what is forgotten has no dossier")
}

func TestDossiersAreBoundedAndTheThinnestGoesFirst(t *testing.T) {
	d := newDesk()
	for range 10 {
		d.try("45.0.0.1", 0, 0, false)
	}
	for i := range 1000 {
		d.try(client(i), 0, 0, false)
	}
	assert.Len(t, d.dossiers.list, 64)
	assert.NotZero(t, d.Stats().DossierEvictions)
	assert.Len(t, d.Evidence(netip.MustParsePrefix("45.0.0.1/32")).Events, 10)
	owners := 0
	for i := range d.entities.count {
		if e := d.entities.at(i); d.dossier(e) != nil {
			owners++
			require.Equal(t, e.key(), d.dossier(e).owner)
		}
	}
	assert.Equal(t, 64, owners)
}

func TestASixtyFourIsJudgedWhenThreeOfItsAddressesFailed(t *testing.T) {
	d := newDesk()
	d.stratum.accepted = true
	for k := range 20 {
		r := d.try(fmt.Sprintf("2001:db8::%d", k%2+1), 0, 0, false)
		assert.Equal(t, "2001:db8::/64", r.Network.Subject.String())
		assert.False(t, r.Network.Guilty, "two addresses")
	}
	assert.True(t, d.try("2001:db8::3", 0, 0, false).Network.Guilty)
	assert.False(t, d.try("2001:db8:0:1::3", 0, 0, false).Network.Guilty, "its neighbour")
}

func TestAStalePasswordFromChangingAddressesCountsOnceForTheNetwork(t *testing.T) {
	d := newDesk()
	d.stratum.accepted = true
	for k := range 100 {
		assert.False(t, d.try(fmt.Sprintf("2001:db8::%x", k+1), 1, 2, false).Network.Guilty)
	}
}

func TestLiftingANetworkClearsItsAddresses(t *testing.T) {
	d := newDesk()
	d.stratum.accepted = true
	for k := range 15 {
		d.try(fmt.Sprintf("2001:db8::%d", k%3+1), 0, 0, false)
	}
	d.Pardon(netip.MustParsePrefix("2001:db8::/64"), d.now)
	r := d.try("2001:db8::1", 0, 0, false)
	assert.False(t, r.Network.Guilty || r.Address.Guilty)
	assert.InDelta(t, failureTerm(0.08), d.Evidence(netip.MustParsePrefix("2001:db8::1/128")).Score, 0.01)
}

func TestTheTableIsAMapWhileItGrowsAndForgets(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	const limit = 5000
	held := map[key]*entity{}
	table := newTable(limit, func(e *entity) {
		require.Same(t, held[e.key()], e)
		delete(held, e.key())
	})
	for range 30000 {
		k := addressKey(netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(60)), byte(rng.IntN(256))}))
		k.network = rng.IntN(8) == 0
		require.Same(t, held[k], table.find(k))
		e := table.get(k, 1, nil)
		require.Equal(t, k, e.key())
		held[k] = e
		require.Len(t, held, table.count)
	}
	require.Equal(t, limit, table.count)
	require.NotZero(t, table.evictions)
	for k, e := range held {
		require.Same(t, e, table.find(k))
	}
}

// A million clients cost 64 MiB: what is held for each of them, its place in
// the index included.
func TestMemoryPerClient(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const clients = 1 << 18
	before := heap()
	cfg := config()
	cfg.Entities, cfg.Repeats = clients, 1<<10
	d := New(cfg)
	var stratum Stratum
	for i := range clients {
		client := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		d.Observe(&Attempt{Time: 1e18 + int64(i)*1e6, Client: client, Account: uint64(i) + 1, Password: 1, Right: i%10 != 0, Stratum: &stratum})
	}
	held := heap() - before
	require.Equal(t, clients, d.Stats().Entities)
	t.Logf("%d octets per client", held/clients)
	assert.LessOrEqual(t, held/clients, int64(64))
	runtime.KeepAlive(d)
}

func TestTimesOutOfRangeAreBounded(t *testing.T) {
	for _, at := range []int64{math.MinInt64, -1, 0, 1, math.MaxInt64} {
		d := newDesk()
		d.now = at
		if at == math.MaxInt64 {
			d.now -= 100 * second
		}
		d.stratum.accepted = true
		assert.Equal(t, 6, d.failuresToConvict(t), "at %d", at)
	}
}

func BenchmarkObserve(b *testing.B) {
	d := newDesk()
	clients := make([]netip.Addr, 1<<16)
	for i := range clients {
		clients[i] = netip.AddrFrom4([4]byte{81, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		i++
		d.now += 1e6
		d.Observe(&Attempt{Time: d.now, Client: clients[i&(1<<16-1)], Account: i, Password: 1, Right: i%10 != 0, Stratum: &d.stratum})
	}
}
