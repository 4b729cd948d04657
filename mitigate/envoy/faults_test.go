package envoy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	locks "sync" // sync is a function of these tests
	"syscall"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/envoy"
	"offpath/mitigate/internal/envoytest"
	"offpath/mitigate/internal/targettest"
)

// relay stands between Envoys and their target, and cuts connections.
type relay struct {
	to   string
	mu   locks.Mutex
	dice *rand.Rand // says which connections will be cut; nil: none
	live map[net.Conn]bool
}

// startRelay returns a relay to the target that listens at an address, and its own address.
func startRelay(t *testing.T, to string) (*relay, string) {
	t.Helper()
	address := envoytest.Address(t)
	l, err := net.Listen("unix", strings.TrimPrefix(address, "unix:"))
	require.NoError(t, err)
	r := &relay{to: strings.TrimPrefix(to, "unix:"), live: map[net.Conn]bool{}}
	var all locks.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.cut()
		all.Wait()
	})
	return r, address
}

// set says what becomes of connections from now on; those that are there end.
func (r *relay) set(dice *rand.Rand) {
	r.mu.Lock()
	r.dice = dice
	r.mu.Unlock()
	r.cut()
}

// cut ends all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.live {
		c.Close()
	}
}

// connections is how many it carries.
func (r *relay) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.live)
}

// serve carries a connection; of one in four only so many octets reach Envoy.
func (r *relay) serve(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("unix", r.to)
	if err != nil {
		return
	}
	defer up.Close()
	most := int64(1 << 40)
	r.mu.Lock()
	if r.dice != nil && r.dice.IntN(4) == 0 {
		most = r.dice.Int64N(30_000)
	}
	r.live[c] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.live, c)
	}()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		io.Copy(up, c)
		up.Close()
	}()
	io.Copy(c, io.LimitReader(up, most))
	c.Close()
	up.Close()
	<-asked
}

// refuse is an Envoy that refuses all it is sent, from now until end.
func refuse(t *testing.T, address string) (end func()) {
	t.Helper()
	s := connect(t, address)
	s.ask(all, "", "")
	r, err := s.Recv()
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for err == nil {
			if s.Send(&discovery.DiscoveryRequest{
				ResourceNames: all, ResponseNonce: r.Nonce, ErrorDetail: &rpcstatus.Status{Message: "refused"},
			}) != nil {
				return
			}
			r, err = s.Recv()
		}
	}()
	return func() {
		s.end()
		<-done
	}
}

func TestAfterRandomFaultsEveryEnvoyHoldsExactlyWhatIsWanted(t *testing.T) {
	t.Parallel()
	const seed = 11
	dice, faults := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 2))
	address := envoytest.Address(t)
	between, relayed := startRelay(t, address)
	target := run(t, envoy.Options{Name: "lb1", Address: address})
	setup := proxied
	setup.Address = relayed
	envoys := []*envoytest.Server{envoytest.Start(t, setup), envoytest.Start(t, setup)}
	connected(t, target, len(envoys))

	// What may be wanted, and a request of each that nothing else concerns.
	type candidate struct {
		subject    detect.Subject
		from, path string
		headers    []string
	}
	var candidates []candidate
	for i := range 10 {
		one, host := fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("h%d.example", i)
		six, agent := fmt.Sprintf("2001:db8:%d::1", i), fmt.Sprintf("agent-%d", i)
		candidates = append(candidates,
			candidate{of(one), targettest.Proxy, "/", []string{"X-Forwarded-For", one}},
			candidate{of(fmt.Sprintf("2001:db8:%d::/%d", i, 48+i)), targettest.Proxy, "/", []string{"X-Forwarded-For", six}},
			candidate{detect.Subject{Domain: host}, client, "/", []string{"Host", host}},
			candidate{detect.Subject{UserAgent: agent, Endpoint: "GET x.example/a"}, client, "/a", []string{"Host", "x.example", "User-Agent", agent}})
	}
	wanted := map[int]mitigate.Entry{}
	entries := func() (list []mitigate.Entry) {
		for i := range candidates {
			if e, is := wanted[i]; is {
				list = append(list, e)
			}
		}
		return list
	}
	// As with the controller, a comparison follows a failure.
	orders := func(ctx context.Context, list []mitigate.Entry) error {
		if _, err := target.Sync(ctx, list); err != nil {
			return err
		}
		return target.SetMode(ctx, detect.ModeEnforce, false)
	}
	require.NoError(t, orders(within(t, targettest.Wait), nil))

	between.set(rand.New(rand.NewPCG(seed, 1)))
	failed, failures, applied := false, 0, 0
	for range 60 {
		if faults.IntN(3) == 0 {
			connected(t, target, len(envoys))
		}
		var set []mitigate.Entry
		var remove []detect.Subject
		for _, i := range dice.Perm(len(candidates))[:1+dice.IntN(4)] {
			if _, is := wanted[i]; is && dice.IntN(2) == 0 {
				delete(wanted, i)
				remove = append(remove, candidates[i].subject)
				continue
			}
			e := block(mitigate.ID(1+dice.IntN(1<<30)), candidates[i].subject)
			wanted[i] = e
			set = append(set, e)
		}
		fault, one, pause := faults.IntN(12), envoys[faults.IntN(len(envoys))], time.Duration(faults.IntN(700))*time.Millisecond
		end := func() {}
		if fault < 2 {
			end = refuse(t, address)
		}
		if fault == 2 {
			one.Signal(syscall.SIGSTOP)
		}
		compare, list, done := failed, entries(), make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if compare {
				done <- orders(ctx, list)
			} else {
				done <- target.Apply(ctx, set, remove)
			}
		}()
		switch fault {
		case 2: // slow to acknowledge
			time.Sleep(pause)
			one.Signal(syscall.SIGCONT)
		case 3, 4: // while it is told
			between.cut()
		case 5:
			one.Down()
			one.Up()
		}
		err := <-done
		end()
		if failed = err != nil; failed {
			failures++
		} else {
			applied++
		}
	}
	t.Logf("%d orders failed, %d did not", failures, applied)
	require.Greater(t, failures, 3, "the faults are there")
	require.Greater(t, applied, 3)

	between.set(nil)
	targettest.Eventually(t, func() bool { // the connections that were cut are still being noticed
		connected(t, target, len(envoys))
		return orders(within(t, targettest.Wait), entries()) == nil
	}, func() string { return "the orders are carried out" })
	connected(t, target, len(envoys))
	for _, s := range envoys {
		for i, c := range candidates {
			want := passed
			if e, is := wanted[i]; is {
				want = refused(e)
			}
			answers(t, s, want, c.from, c.path, c.headers...)
		}
		assert.NotContains(t, s.Log(), "let through", "the script made no mistake")
	}
	report, err := target.Sync(within(t, targettest.Wait), entries())
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: len(wanted), Compared: true}, report)
}
