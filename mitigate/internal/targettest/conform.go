package targettest

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
)

// Proxy is the address that a load balancer under test trusts to name clients in
// X-Forwarded-For.
const Proxy = "127.0.0.1"

// Clients of the tests.
const (
	Attacker = "127.1.2.3"
	Customer = "127.1.2.4"
)

// Balancer is a load balancer under test, with nothing in force.
type Balancer struct {
	URL     string // of what it protects
	Backend *Backend
	// Target makes the target that a controller which starts would have.
	Target func(t testing.TB) mitigate.Target
	// Down ends the load balancer as a crash does, Up starts it again; nil: it has no
	// life of its own.
	Down, Up func()
	// Reload has it read its configuration again; nil: it can't.
	Reload func()
	// Deaf says that it refuses connections, not requests: there is no answer, and no
	// header, only the client's address. Ask is then how a client asks.
	Deaf bool
	Ask  func(client string) (Answer, error)
}

// Get asks as the client with an address: one of 127.0.0.0/8 comes by itself, others by
// way of the proxy.
func (b *Balancer) Get(t testing.TB, client string, headers ...string) Answer {
	t.Helper()
	if b.Deaf {
		answer, err := b.Ask(client)
		if err != nil {
			return Answer{}
		}
		return answer
	}
	if a := netip.MustParseAddr(client); a.Is4() && a.IsLoopback() {
		return Get(t, client, b.URL+"/", headers...)
	}
	return Get(t, Proxy, b.URL+"/", append(headers, "X-Forwarded-For", client)...)
}

// Traits say what kind of a load balancer it is.
type Traits struct {
	// RateLimits that it carries, by their period.
	Rates []time.Duration
	// Networks says that it carries networks as well as addresses.
	Networks bool
	// NoIPv6Addresses says that it carries of IPv6 networks of 64 bits and no addresses.
	NoIPv6Addresses bool
	// Expires says that it ends a verdict by its own clock.
	Expires bool
	// Tags says that it tags for the backend what is only watched.
	Tags bool
	// Counts says that it counts what each verdict hits.
	Counts bool
}

// Block is a verdict against an address or network, for an hour.
func Block(id uint32, client string) detect.Verdict {
	now := time.Now()
	return detect.Verdict{
		Time:    now.UnixNano(),
		ID:      mitigate.ID(uint64(0xabcd)<<32 | uint64(id)).String(),
		Action:  detect.ActionBlock,
		Subject: detect.Subject{Client: Network(client)},
		Mode:    detect.ModeEnforce,
		Expires: now.Add(time.Hour).UnixNano(),
		Message: "too many failed logins",
	}
}

// Network is an address as the network that it alone is in, or a network.
func Network(text string) netip.Prefix {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.MustParsePrefix(text)
}

// Conform tests a kind of load balancer; start starts one.
func Conform(t *testing.T, traits Traits, start func(t testing.TB) *Balancer) {
	for _, tt := range []struct {
		name  string
		needs bool
		test  func(t *testing.T, b *Balancer, traits Traits)
	}{
		{"a blocked client is refused with the verdict's id, nobody else is, until it is lifted", true, blocks},
		{"a monitored verdict and a monitored target refuse nobody", true, monitors},
		{"a rate is each client's own", len(traits.Rates) > 0, limits},
		{"a network is refused but for whom the allow-list has", traits.Networks, blocksNetworks},
		{"a verdict ends by itself with the controller stopped", traits.Expires, expires},
		{"a load balancer that was down gets everything back", true, comesBack},
		{"a reload lets nobody in", true, reloads},
		{"a controller that starts anew ends what it does not know", true, startsAnew},
		{"ten thousand verdicts are in force, off in one step, and gone when lifted", true, holdsMany},
		{"what is refused is counted", traits.Counts, counts},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !tt.needs {
				t.Skip("it does not carry this")
			}
			tt.test(t, start(t), traits)
		})
	}
}

// Running is a controller that runs until the test ends, or stop is called.
func Running(t testing.TB, config controller.Config) (c *controller.Controller, stop func()) {
	t.Helper()
	config.Private = true // where tests have their clients
	if config.PollInterval == 0 {
		config.PollInterval = 100 * time.Millisecond
	}
	c, err := controller.New(config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			assert.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return c, stop
}

// enforcing is a running controller of one load balancer, connected and in mode enforce.
func enforcing(t testing.TB, b *Balancer, change ...func(*controller.Config)) (c *controller.Controller, stop func()) {
	t.Helper()
	config := controller.Config{Targets: []mitigate.Target{b.Target(t)}, Mode: detect.ModeEnforce, MaxPerMinute: 1 << 20}
	for _, f := range change {
		f(&config)
	}
	c, stop = Running(t, config)
	Eventually(t, func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == config.Mode }, func() string {
		return "connected: " + c.Targets()[0].LastError
	})
	return c, stop
}

// Eventually waits for what has to happen; why says what did not.
func Eventually(t testing.TB, condition func() bool, why func() string) {
	t.Helper()
	deadline := time.Now().Add(Wait)
	for !condition() {
		if time.Now().After(deadline) {
			require.FailNow(t, "never happened: "+why())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// answered waits until a client gets an answer, the time it took aside.
func answered(t testing.TB, b *Balancer, client string, want Answer) {
	t.Helper()
	var got Answer
	Eventually(t, func() bool {
		got = b.Get(t, client)
		got.Elapsed, got.Retry = 0, ""
		return got == want
	}, func() string { return fmt.Sprintf("%s is answered %+v, not %+v", client, got, want) })
}

// passes waits until a client is answered as if there were no verdict.
func passes(t testing.TB, b *Balancer, client string) {
	t.Helper()
	answered(t, b, client, Answer{Status: 200})
}

// refused waits until a client is refused by a verdict.
func refused(t testing.TB, b *Balancer, client string, status int, v detect.Verdict) {
	t.Helper()
	if b.Deaf {
		answered(t, b, client, Answer{})
		return
	}
	answered(t, b, client, Answer{Status: status, Marker: v.ID})
}

// inForce waits until a number of verdicts is said to be in force: from then on none of
// their requests gets through. Before that a load balancer that reloads refuses some.
func inForce(t testing.TB, c *controller.Controller, n int) {
	t.Helper()
	Eventually(t, func() bool { return c.Targets()[0].InForce == n }, func() string {
		s := c.Targets()[0]
		return fmt.Sprintf("%d are in force, not %d, %d rejected, %q", s.InForce, n, s.Rejected, s.LastError)
	})
}

func blocks(t *testing.T, b *Balancer, traits Traits) {
	c, _ := enforcing(t, b)
	passes(t, b, Attacker)
	v := Block(1, Attacker)
	require.NoError(t, c.Apply(v))
	refused(t, b, Attacker, 403, v)
	inForce(t, c, 1)
	served := b.Backend.Served()
	refused(t, b, Attacker, 403, v)
	assert.Equal(t, served, b.Backend.Served(), "the backend sees nothing of it")
	passes(t, b, Customer)
	assert.Empty(t, b.Get(t, Customer, "X-Offpath-Verdict", "chosen by a client").Tag)

	six, other := Block(2, "2001:db8::7"), "2001:db8::8"
	if traits.NoIPv6Addresses {
		six, other = Block(2, "2001:db8::/64"), "2001:db8:0:1::7"
	}
	require.NoError(t, c.Apply(six))
	refused(t, b, "2001:db8::7", 403, six)
	passes(t, b, other)
	require.NoError(t, c.Lift(v.ID, "alice"))
	passes(t, b, Attacker)
	refused(t, b, "2001:db8::7", 403, six)
}

func monitors(t *testing.T, b *Balancer, traits Traits) {
	c, _ := enforcing(t, b)
	watched, enforced := Block(1, Attacker), Block(2, Customer)
	watched.Mode = detect.ModeMonitor
	require.NoError(t, c.Apply(watched))
	require.NoError(t, c.Apply(enforced))
	refused(t, b, Customer, 403, enforced)
	seen := func(v detect.Verdict) Answer {
		if traits.Tags {
			return Answer{Status: 200, Tag: v.ID}
		}
		return Answer{Status: 200}
	}
	answered(t, b, Attacker, seen(watched))
	require.NoError(t, c.SetMode(detect.ModeMonitor, "alice"))
	answered(t, b, Customer, seen(enforced))
	require.NoError(t, c.SetMode(detect.ModeOff, "alice"))
	passes(t, b, Customer)
	passes(t, b, Attacker)
}

func limits(t *testing.T, b *Balancer, traits Traits) {
	c, _ := enforcing(t, b)
	longest := traits.Rates[len(traits.Rates)-1]
	v := Block(1, Attacker)
	v.Action, v.Rate = detect.ActionRateLimit, detect.Rate{Requests: 3, Per: int64(longest)}
	require.NoError(t, c.Apply(v))
	inForce(t, c, 1)
	var statuses []int
	for range 5 {
		statuses = append(statuses, b.Get(t, Attacker).Status)
	}
	assert.Equal(t, []int{200, 200, 200, 429, 429}, statuses)
	last := b.Get(t, Attacker)
	assert.Equal(t, v.ID, last.Marker)
	assert.NotEmpty(t, last.Retry, "Retry-After")
	passes(t, b, Customer)
	for i, per := range traits.Rates {
		v := Block(uint32(i+2), fmt.Sprintf("127.1.9.%d", i+1))
		v.Action, v.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: int64(per)}
		require.NoError(t, c.Apply(v))
		refused(t, b, v.Subject.Client.Addr().String(), 429, v)
	}
}

func blocksNetworks(t *testing.T, b *Balancer, _ Traits) {
	allowed := Network("203.0.113.77")
	c, stop := enforcing(t, b)
	four, six := Block(1, "203.0.113.0/25"), Block(2, "2001:db8:1:2::/64")
	require.NoError(t, c.Apply(four))
	require.NoError(t, c.Apply(six))
	refused(t, b, "203.0.113.5", 403, four)
	refused(t, b, "203.0.113.77", 403, four)
	passes(t, b, "203.0.113.200")
	refused(t, b, "2001:db8:1:2:3::4", 403, six)
	passes(t, b, "2001:db8:1:3::4")
	stop()

	// The controller accepts no verdict that overlaps the allow-list; the load balancer
	// does not depend on that.
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	target := b.Target(t)
	if _, ok := target.(mitigate.Runner); ok {
		return // it takes orders from a controller alone
	}
	require.NoError(t, target.SetAllow(ctx, []netip.Prefix{allowed}))
	passes(t, b, "203.0.113.77")
	refused(t, b, "203.0.113.5", 403, four)
}

func expires(t *testing.T, b *Balancer, _ Traits) {
	c, stop := enforcing(t, b)
	v := Block(1, Attacker)
	v.Expires = time.Now().Add(5 * time.Second).UnixNano()
	require.NoError(t, c.Apply(v))
	refused(t, b, Attacker, 403, v)
	inForce(t, c, 1)
	stop()
	if time.Now().UnixNano() < v.Expires-int64(2*time.Second) {
		refused(t, b, Attacker, 403, v) // the controller's end ends no verdict
	}
	passes(t, b, Attacker)
	// Some are told whole seconds, of which none may be too many.
	assert.GreaterOrEqual(t, time.Now().UnixNano(), v.Expires-int64(time.Second))
}

func comesBack(t *testing.T, b *Balancer, _ Traits) {
	if b.Down == nil {
		t.Skip("it has no life of its own")
	}
	c, _ := enforcing(t, b)
	before, meanwhile, over := Block(1, Attacker), Block(2, Customer), Block(3, "127.1.2.5")
	require.NoError(t, c.Apply(before))
	require.NoError(t, c.Apply(over))
	refused(t, b, Attacker, 403, before)
	refused(t, b, "127.1.2.5", 403, over)
	b.Down()
	Eventually(t, func() bool { return !c.Targets()[0].Connected }, func() string { return "noticed" })
	assert.NotEmpty(t, c.Targets()[0].LastError)
	require.NoError(t, c.Apply(meanwhile))
	require.NoError(t, c.Lift(over.ID, "alice"))
	b.Up()
	refused(t, b, Attacker, 403, before)
	refused(t, b, Customer, 403, meanwhile)
	passes(t, b, "127.1.2.5")
}

func reloads(t *testing.T, b *Balancer, _ Traits) {
	if b.Reload == nil {
		t.Skip("it has no reload")
	}
	c, _ := enforcing(t, b)
	v := Block(1, Attacker)
	require.NoError(t, c.Apply(v))
	refused(t, b, Attacker, 403, v)
	b.Reload()
	refused(t, b, Attacker, 403, v)
	require.NoError(t, c.Off("alice"))
	passes(t, b, Attacker)
	b.Reload()
	assert.Equal(t, 200, b.Get(t, Attacker).Status, "off survives a reload")
}

func startsAnew(t *testing.T, b *Balancer, _ Traits) {
	folder := t.TempDir()
	keeps := func(c *controller.Config) { c.StateDir = folder }
	c, stop := enforcing(t, b, keeps)
	kept, unknown := Block(1, Attacker), Block(2, Customer)
	require.NoError(t, c.Apply(kept))
	refused(t, b, Attacker, 403, kept)
	stop()

	other, stop := enforcing(t, b)
	require.NoError(t, other.Apply(unknown))
	refused(t, b, Customer, 403, unknown)
	passes(t, b, Attacker)
	stop()

	enforcing(t, b, keeps)
	refused(t, b, Attacker, 403, kept)
	passes(t, b, Customer)
}

func holdsMany(t *testing.T, b *Balancer, _ Traits) {
	const n = 10_000
	c, _ := enforcing(t, b)
	of := func(i uint32) detect.Verdict { return Block(i+1, fmt.Sprintf("127.2.%d.%d", i>>8, i&255)) }
	began := time.Now()
	for i := range uint32(n) {
		require.NoError(t, c.Apply(of(i)))
	}
	inForce(t, c, n)
	took := time.Since(began)
	for i := uint32(0); i < n; i += 997 {
		v := of(i)
		refused(t, b, v.Subject.Client.Addr().String(), 403, v)
	}
	passes(t, b, "127.2.255.1")
	last := of(n - 1)
	began = time.Now()
	require.NoError(t, c.Off("alice"))
	passes(t, b, last.Subject.Client.Addr().String())
	t.Logf("%d verdicts in force after %s, off after %s", n, took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	require.NoError(t, c.On("alice"))
	refused(t, b, last.Subject.Client.Addr().String(), 403, last)
	for i := range uint32(n) {
		if i != 5000 {
			require.NoError(t, c.Lift(of(i).ID, "alice"))
		}
	}
	for i := uint32(0); i < n; i += 997 {
		passes(t, b, of(i).Subject.Client.Addr().String())
	}
	left := of(5000)
	refused(t, b, left.Subject.Client.Addr().String(), 403, left)
}

func counts(t *testing.T, b *Balancer, _ Traits) {
	var c *controller.Controller
	c, _ = enforcing(t, b, func(config *controller.Config) { config.HitsInterval = 50 * time.Millisecond })
	v := Block(1, Attacker)
	require.NoError(t, c.Apply(v))
	refused(t, b, Attacker, 403, v)
	counted := func() uint64 { return c.Verdicts()[0].Targets[0].Refused }
	Eventually(t, func() bool { return counted() > 0 }, func() string { return "counted" })
	time.Sleep(200 * time.Millisecond) // what the wait above asked
	before := counted()
	for range 7 {
		b.Get(t, Attacker)
	}
	Eventually(t, func() bool { return counted() == before+7 }, func() string { return fmt.Sprintf("%d, not %d", counted(), before+7) })
}
