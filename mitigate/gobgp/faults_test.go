package gobgp_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	gosync "sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/gobgp"
	"offpath/mitigate/internal/targettest"
)

// proxy stands between offpath and gobgpd, and does what networks and restarts do.
type proxy struct {
	to, address string

	mu   gosync.Mutex
	rand *rand.Rand
	on   bool
}

func newProxy(t testing.TB, to string, seed uint64) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	p := &proxy{to: to, address: "tcp:" + l.Addr().String(), rand: rand.New(rand.NewPCG(seed, 1))}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) set(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = on
}

// fault says what happens to some octets; none, mostly.
func (p *proxy) fault() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on {
		return -1
	}
	return p.rand.IntN(60)
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	if p.fault() < 0 || p.fault() > 5 {
		if s, err := net.Dial("tcp", p.to); err == nil {
			defer s.Close()
			done := make(chan bool, 2)
			for _, way := range [][2]net.Conn{{c, s}, {s, c}} {
				go func() {
					p.pass(way[1], way[0])
					done <- true
				}()
			}
			<-done
		}
	}
}

func (p *proxy) pass(to io.Writer, from io.Reader) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		switch p.fault() {
		case 0: // reset
			return
		case 1: // half
			to.Write(b[:n/2])
			return
		case 2: // wrong
			to.Write([]byte("HTTP/1.1 502 Bad Gateway\r\n\r\n"))
			return
		case 3, 4: // slow
			time.Sleep(20 * time.Millisecond)
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func TestAfterFaultsTheNeighbourHoldsExactlyWhatIsWanted(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 7))
		method := []string{gobgp.FlowSpec, gobgp.RTBH}[seed%2]
		f := newProxy(t, p.ours.apiAt, seed)
		o := p.options(method)
		o.Address, o.Timeout = f.address, 2*time.Second
		target := newTarget(t, o)
		require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
		wanted := map[detect.Subject]mitigate.Entry{}
		all := func() (list []mitigate.Entry) {
			for _, e := range wanted {
				list = append(list, e)
			}
			return list
		}
		holds := func() {
			var clients []string
			for s := range wanted {
				clients = append(clients, s.Client.String())
			}
			p.holds(t, method, clients...)
		}
		f.set(true)
		broken, failures := true, 0 // as the controller does: after a failure all is compared
		for step := range uint64(60) {
			client := fmt.Sprintf("203.0.113.%d", random.IntN(12))
			if random.IntN(4) == 0 {
				client = fmt.Sprintf("2001:db8:%d::/48", random.IntN(3))
			}
			e := entry(step+1, client)
			var err error
			if random.IntN(3) == 0 {
				delete(wanted, e.Subject)
				if !broken {
					err = target.Apply(t.Context(), nil, []detect.Subject{e.Subject})
				}
			} else {
				wanted[e.Subject] = e
				if !broken {
					err = target.Apply(t.Context(), []mitigate.Entry{e}, nil)
				}
			}
			if broken {
				_, err = target.Sync(t.Context(), all())
			}
			if broken = err != nil; broken {
				failures++
			} else if step%10 == 0 {
				holds()
			}
		}
		f.set(false)
		var err error
		targettest.Eventually(t, func() bool { // a connection of before may have to end first
			_, err = target.Sync(t.Context(), all())
			return err == nil
		}, func() string { return fmt.Sprint(err) })
		holds()
		require.Positive(t, failures, "seed %d", seed)
		_, err = target.Sync(t.Context(), nil)
		require.NoError(t, err)
		p.holds(t, method)
	}
}

func TestTheKillSwitchEndsALoadUnderWay(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	target := p.enforced(t, gobgp.RTBH)
	var list []mitigate.Entry
	for i := range uint64(10_000) {
		list = append(list, entry(i+1, fmt.Sprintf("203.%d.%d.1", i>>8, i&255)))
	}
	loaded := make(chan error, 1)
	go func() {
		_, err := target.Sync(t.Context(), list)
		loaded <- err
	}()
	time.Sleep(50 * time.Millisecond)
	began := time.Now()
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	t.Logf("off in the middle of a load after %s", time.Since(began).Round(time.Millisecond))
	if err := <-loaded; err != nil {
		require.True(t, errors.Is(err, mitigate.ErrIncomplete), "%v", err)
	}
	p.holds(t, gobgp.RTBH)

	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	_, err := target.Sync(t.Context(), list)
	require.NoError(t, err)
	require.Len(t, p.ours.paths("ipv4"), len(list))
	began = time.Now()
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	t.Logf("%d routes are off after %s", len(list), time.Since(began).Round(time.Millisecond))
	p.holds(t, gobgp.RTBH)
}
