package nginx_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginx"
)

// relay stands between a target and its endpoint, and does to connections what networks do.
type relay struct {
	to string
	mu sync.Mutex
	// dice says what becomes of a connection; nil: nothing.
	dice *rand.Rand
}

// startRelay returns a relay, and the address of it.
func startRelay(t *testing.T, s *nginxtest.Server) (*relay, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{to: strings.TrimPrefix(s.Address, "tcp:")}
	var all sync.WaitGroup
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
		all.Wait()
	})
	return r, "tcp:" + l.Addr().String()
}

// set turns the faults on or off.
func (r *relay) set(dice *rand.Rand) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dice = dice
}

// fate is how many octets of the order and of the answer pass.
func (r *relay) fate() (order, answer int64) {
	const all = 1 << 40
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dice == nil {
		return all, all
	}
	switch r.dice.IntN(60) {
	case 0:
		return 0, 0 // refused
	case 1:
		return r.dice.Int64N(600), all // cut in the order
	case 2:
		return all, 0 // carried out, but nobody says so
	case 3:
		return all, r.dice.Int64N(300) // cut in the answer
	}
	return all, all
}

func (r *relay) serve(c net.Conn) {
	defer c.Close()
	order, answer := r.fate()
	if order == 0 {
		return
	}
	up, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	deadline := time.Now().Add(5 * time.Second)
	c.SetDeadline(deadline)
	up.SetDeadline(deadline)
	ordered := make(chan struct{})
	go func() {
		defer close(ordered)
		if n, _ := io.Copy(up, io.LimitReader(c, order)); n == order {
			up.Close()
		}
	}()
	io.Copy(c, io.LimitReader(up, answer))
	if answer == 0 {
		io.Copy(io.Discard, up) // it is carried out
	}
	c.Close()
	up.Close()
	<-ordered
}

func TestAfterRandomFaultsNginxHoldsExactlyWhatIsWanted(t *testing.T) {
	t.Parallel()
	const seed = 11
	dice := rand.New(rand.NewPCG(seed, 0))
	s := nginxtest.Start(t, proxied, nginxtest.Options{Endpoint: "tcp"})
	between, address := startRelay(t, s)
	target := s.Target(t, func(o *nginx.Options) { o.Address, o.Timeout = address, 500*time.Millisecond })

	// What may be wanted, and a request of each that nothing else concerns.
	type candidate struct {
		subject detect.Subject
		ask     func() targettest.Answer
	}
	var all []candidate
	for i := range 12 {
		one, host := fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("h%d.example", i)
		six, agent := fmt.Sprintf("2001:db8:%d::1", i), fmt.Sprintf("agent-%d", i)
		all = append(all,
			candidate{subject(one), func() targettest.Answer { return via(s, one) }},
			candidate{subject(fmt.Sprintf("2001:db8:%d::/%d", i, 48+i)), func() targettest.Answer { return via(s, six) }},
			candidate{detect.Subject{Domain: host}, func() targettest.Answer { return get(s, client, "/", "Host", host) }},
			candidate{detect.Subject{UserAgent: agent, Endpoint: "GET x.example/a"}, func() targettest.Answer {
				return get(s, client, "/a", "Host", "x.example", "User-Agent", agent)
			}})
	}
	wanted := map[int]mitigate.Entry{}
	entries := func() (list []mitigate.Entry) {
		for i := range all {
			if e, is := wanted[i]; is {
				list = append(list, e)
			}
		}
		return list
	}
	failed := false // as with the controller, a comparison follows a failure
	orders := func() error {
		for _, order := range []func() error{
			func() error { _, err := target.Sync(t.Context(), entries()); return err },
			func() error { return target.SetMode(t.Context(), detect.ModeEnforce, false) },
		} {
			if err := order(); err != nil {
				return err
			}
		}
		return nil
	}
	between.set(rand.New(rand.NewPCG(seed, 1)))
	failures, applied := 0, 0
	for range 150 {
		var set []mitigate.Entry
		var remove []detect.Subject
		for _, i := range dice.Perm(len(all))[:1+dice.IntN(4)] {
			if _, is := wanted[i]; is && dice.IntN(2) == 0 {
				delete(wanted, i)
				remove = append(remove, all[i].subject)
				continue
			}
			e := entry(client)
			e.Subject, e.ID = all[i].subject, mitigate.ID(dice.Uint64()|1<<32|1)
			wanted[i] = e
			set = append(set, e)
		}
		switch dice.IntN(25) {
		case 0:
			s.Reload()
		case 1:
			s.Down()
			s.Up()
			failed = true // by the identity
		case 2: // somebody else writes
			other := s.Target(t)
			require.NoError(t, other.Apply(t.Context(), []mitigate.Entry{entry("203.0.113.9")}, []detect.Subject{all[dice.IntN(len(all))].subject}))
			failed = true // found at the next comparison
		}
		var err error
		if failed {
			err = orders()
		} else {
			err = target.Apply(t.Context(), set, remove)
		}
		if failed = err != nil; failed {
			failures++
		} else {
			applied++
		}
	}
	t.Logf("%d orders failed, %d did not", failures, applied)
	require.Greater(t, failures, 15, "the faults are there")
	require.Greater(t, applied, 15)

	between.set(nil)
	require.NoError(t, orders())
	for i, c := range all {
		want := passed
		if e, is := wanted[i]; is {
			want = refused(403, e)
		}
		assert.Equal(t, want, c.ask(), "%+v", c.subject)
	}
	assert.Equal(t, passed, via(s, "203.0.113.9"), "what somebody else wrote is gone")
	report, err := target.Sync(t.Context(), entries())
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: len(wanted), Compared: true}, report)
}
