package scenario

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/balancer"
)

func TestFateOfAnAddressIsCountedFromWhenItWasStopped(t *testing.T) {
	zero := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	address := netip.MustParseAddr("2001:db8:a000:5::1")
	network := netip.MustParsePrefix("2001:db8:a000:5::/64")
	entry := func(after time.Duration, status int) balancer.Entry {
		return balancer.Entry{Time: zero.Add(after), Client: address, Status: status}
	}
	for _, test := range []struct {
		name    string
		inForce time.Time
		entries []balancer.Entry
		stopped time.Time
		want    fate
	}{
		{"without a verdict everything came before it", time.Time{},
			[]balancer.Entry{entry(0, 401), entry(time.Second, 401)}, time.Time{},
			fate{requests: 2, before: 2}},
		{"what was under way has the grace", zero,
			[]balancer.Entry{entry(-time.Second, 401), entry(grace, 401), entry(grace+time.Millisecond, 403)}, zero,
			fate{requests: 3, refused: 1, before: 2, after: 1}},
		{"an answer after the verdict leaked", zero,
			[]balancer.Entry{entry(time.Second, 401), entry(2*time.Second, 403)}, zero,
			fate{requests: 2, refused: 1, after: 2, leaked: 1}},
		{"a verdict about its program stops it when it first refuses", time.Time{},
			[]balancer.Entry{entry(0, 401), entry(time.Second, 403), entry(2*time.Second, 403), entry(3*time.Second, 401)}, zero.Add(time.Second),
			fate{requests: 4, refused: 2, before: 1, after: 2, leaked: 1, flaps: 1}},
		{"and before its own verdict does", zero.Add(time.Minute),
			[]balancer.Entry{entry(0, 401), entry(time.Second, 403), entry(2*time.Second, 403)}, zero.Add(time.Second),
			fate{requests: 3, refused: 2, before: 1, after: 1}},
		{"an answer after a refusal is a flap, whatever the order of the journal", zero,
			[]balancer.Entry{entry(2*time.Second, 200), entry(time.Second, 403)}, zero,
			fate{requests: 2, refused: 1, after: 2, leaked: 1, flaps: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &result{attack: test.entries, observer: &observer{verdicts: map[string]*sighting{
				"later":     {client: network, inForce: test.inForce.Add(time.Hour)},
				"own":       {client: network, inForce: test.inForce},
				"elsewhere": {client: netip.MustParsePrefix("2001:db8:a000:6::/64"), inForce: zero.Add(-time.Hour)},
			}}}
			if test.inForce.IsZero() {
				delete(r.observer.verdicts, "later")
				r.observer.verdicts["own"].inForce = time.Time{}
			}
			got := r.fates()[address]
			require.NotNil(t, got)
			test.want.stopped = test.stopped
			assert.Equal(t, test.want, *got)
		})
	}
}

func TestSummaryJudgesOnlyAddressesThatWentOn(t *testing.T) {
	stopped := time.Unix(1, 0)
	address := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{198, 19, n, 1}) }
	assert.Equal(t, summary{addresses: 4, stopped: 3, idle: 1, refused: 199, flaps: 1, lowest: 99, median: 100, judged: 2},
		summarise(map[netip.Addr]*fate{
			address(1): {requests: 5, before: 5},
			address(2): {requests: 5, before: 5, stopped: stopped},
			address(3): {requests: 100, refused: 99, after: 100, leaked: 1, flaps: 1, stopped: stopped},
			address(4): {requests: 100, refused: 100, after: 100, stopped: stopped},
		}))
	assert.Zero(t, summarise(nil))
}

func TestPaceFitsTheLength(t *testing.T) {
	for _, o := range []Options{{}, {Short: true}, {Length: MinLength}, {Length: 10 * time.Minute}, {Length: MinLength, Short: true}} {
		o = o.withDefaults()
		p := o.pace()
		assert.Equal(t, o.Length, p.leadIn+p.attack)
		assert.Less(t, p.rampUp, p.attack)
		assert.Less(t, p.manual, p.attack)
		assert.GreaterOrEqual(t, p.rate, 30.0)
		assert.GreaterOrEqual(t, p.leadIn, 8*time.Second)
		assert.LessOrEqual(t, p.ttl, p.attack/2, "verdicts have to be renewed")
	}
	assert.Equal(t, 30*time.Second, Options{}.withDefaults().pace().rampUp)
}

func TestWrongOptionsAreQuoted(t *testing.T) {
	for _, test := range []struct {
		options Options
		want    string
	}{
		{Options{Tap: "side", Mode: "enforce"}, `"side"`},
		{Options{Tap: "front", Mode: "on"}, `"on"`},
		{Options{Tap: "front", Mode: "enforce", Length: time.Second}, "1s"},
		{Options{Tap: "front", Mode: "enforce", Length: 3 * time.Hour}, "3h0m0s"},
	} {
		assert.ErrorContains(t, test.options.Validate(), test.want)
	}
}
