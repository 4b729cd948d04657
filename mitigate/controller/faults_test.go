package controller_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
	"offpath/mitigate/internal/targettest"
)

// fault is what happens to a connection between controller and load balancer.
type fault int

const (
	faultNone    fault = iota
	faultRefused       // closed before a word is said
	faultOrders        // what the load balancer is told is cut short
	faultAnswers       // what it answers is cut short
	faultSlow          // it answers late
	faultWrong         // it answers something else
	faults
)

// brokenWire stands between controller and HAProxy and breaks, by chance.
type brokenWire struct {
	address string // of a unix socket, for the controller

	mu   sync.Mutex
	rng  *rand.Rand
	well bool
	seen [faults]int
}

func newBrokenWire(t *testing.T, s *haproxytest.Server, seed uint64) *brokenWire {
	path := filepath.Join(s.Dir, "wire.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	w := &brokenWire{address: "unix:" + path, rng: rand.New(rand.NewPCG(seed, 7))}
	there := strings.TrimPrefix(s.Socket, "unix:")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f, after := w.choose()
			go w.carry(conn.(*net.UnixConn), there, f, after)
		}
	}()
	return w
}

// choose says what happens to a connection, and after how many octets.
func (w *brokenWire) choose() (f fault, after int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.well && w.rng.IntN(3) == 0 {
		f = fault(1 + w.rng.IntN(int(faults)-1))
	}
	w.seen[f]++
	return f, int64(w.rng.IntN(400))
}

// heal ends all faults.
func (w *brokenWire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.well = true
}

// faults are the connections so far, by what happened to them.
func (w *brokenWire) faults() [faults]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

func (w *brokenWire) carry(near *net.UnixConn, there string, f fault, after int64) {
	defer near.Close()
	if f == faultRefused {
		return
	}
	conn, err := net.Dial("unix", there)
	if err != nil {
		return // HAProxy is down
	}
	far := conn.(*net.UnixConn)
	defer far.Close()
	var both sync.WaitGroup
	both.Go(func() {
		if f == faultOrders {
			io.CopyN(far, near, after)
			near.Close()
		} else {
			io.Copy(far, near)
		}
		far.CloseWrite()
	})
	both.Go(func() {
		switch f {
		case faultAnswers:
			io.CopyN(near, far, after)
			near.Close()
		case faultSlow:
			time.Sleep(150 * time.Millisecond) // half of the target's patience
			io.Copy(near, far)
		case faultWrong:
			io.WriteString(near, "[3]: Unknown command.\n\nPid: x\n\n")
		default:
			io.Copy(near, far)
		}
		near.CloseWrite()
	})
	both.Wait()
}

// model is what a controller was told, and so what a load balancer is to hold.
type model struct {
	rng    *rand.Rand
	active map[string]detect.Verdict // by id
	next   uint32
	told   map[string][]string // what the audit has to say of each id, in this order
	mode   detect.Mode
	off    bool
}

// step does something at random, through the controller and to the model.
func (m *model) step(t *testing.T, c *controller.Controller) {
	any := func() (v detect.Verdict, ok bool) {
		for _, v = range m.active {
			return v, true
		}
		return v, false
	}
	switch k := m.rng.IntN(20); {
	case k < 11:
		m.next++
		v := targettest.Block(m.next, fmt.Sprintf("127.9.%d.%d", m.next>>8, m.next&255))
		switch m.rng.IntN(5) {
		case 0:
			v.Subject.Client = targettest.Network(fmt.Sprintf("127.%d.%d.0/24", 16+m.next>>8, m.next&255))
		case 1:
			v.Action, v.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1 + m.rng.IntN(9), Per: int64(10 * time.Second)}
		case 2:
			v.Subject.Fingerprint = fmt.Sprintf("%016x", m.next)
		}
		require.NoError(t, c.Apply(v))
		m.active[v.ID] = v
		m.told[v.ID] = []string{"accepted"}
	case k < 14:
		if v, ok := any(); ok { // renewed, and sometimes changed
			v.Time++
			v.Expires += int64(time.Minute)
			if m.rng.IntN(2) == 0 && v.Action != detect.ActionTag {
				v.Action, v.Rate = detect.ActionTag, detect.Rate{}
				m.told[v.ID] = append(m.told[v.ID], "changed")
			}
			require.NoError(t, c.Apply(v))
			m.active[v.ID] = v
		}
	case k < 17:
		if v, ok := any(); ok {
			require.NoError(t, c.Lift(v.ID, "alice"))
			delete(m.active, v.ID)
			m.told[v.ID] = append(m.told[v.ID], "lifted")
		}
	case k == 17:
		m.off = !m.off
		var err error
		if m.off {
			err = c.Off("alice")
		} else {
			err = c.On("alice")
		}
		if err != nil { // the disk is full: what could not be written down is off all the same
			m.off = true
		}
	case k == 18:
		m.mode = []detect.Mode{detect.ModeMonitor, detect.ModeEnforce}[m.rng.IntN(2)]
		require.NoError(t, c.SetMode(m.mode, "alice"))
	}
}

// entries are what the load balancer is to hold.
func (m *model) entries() (entries []mitigate.Entry) {
	for id, v := range m.active {
		parsed, _ := mitigate.ParseID(id)
		entries = append(entries, mitigate.Entry{
			ID: parsed, Action: v.Action, Subject: v.Subject, Rate: v.Rate, Expires: (v.Expires + 1e9 - 1) / 1e9,
		})
	}
	return entries
}

// TestWhateverBreaksTheLoadBalancerHoldsInTheEndWhatIsActive runs orders at random while
// the wire breaks, HAProxy and the controller end and start, and the disk is full.
func TestWhateverBreaksTheLoadBalancerHoldsInTheEndWhatIsActive(t *testing.T) {
	for _, tt := range []struct {
		seed       uint64
		comparable int
	}{{seed: 0}, {seed: 1}, {seed: 2}, {seed: 3, comparable: 5}, {seed: 4, comparable: 5}, {seed: 5, comparable: 5}} {
		seed := tt.seed
		t.Run(fmt.Sprintf("seed %d, comparing %d at most", seed, tt.comparable), func(t *testing.T) {
			t.Parallel()
			s := haproxytest.Start(t, haproxy.Setup{})
			wire := newBrokenWire(t, s, seed)
			folder := smallDisk(t)
			m := &model{rng: rand.New(rand.NewPCG(seed, 8)), active: map[string]detect.Verdict{}, told: map[string][]string{}, mode: detect.ModeEnforce}
			begin := func() (*controller.Controller, func()) {
				target, err := haproxy.New(haproxy.Options{Name: "lb1", Address: wire.address, MapDir: s.MapDir, Timeout: 300 * time.Millisecond, CompareLimit: tt.comparable})
				require.NoError(t, err)
				c, err := controller.New(controller.Config{
					Targets: []mitigate.Target{target}, Mode: m.mode, StateDir: folder, Private: true,
					PollInterval: 30 * time.Millisecond, CompareInterval: 500 * time.Millisecond, Settle: 200 * time.Millisecond, OrderTimeout: 2 * time.Second,
				})
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- c.Run(ctx) }()
				return c, func() { cancel(); require.NoError(t, <-ended) }
			}
			c, stop := begin()
			for i := range 600 {
				m.step(t, c)
				if m.rng.IntN(4) == 0 {
					time.Sleep(time.Duration(m.rng.IntN(20)) * time.Millisecond)
				}
				switch {
				case i%150 == 75:
					s.Down() // in the middle of what it was told
				case i%150 == 90:
					s.Up()
				case i%200 == 120:
					fill(t, folder)
				case i%200 == 160:
					require.NoError(t, os.Remove(filepath.Join(folder, "filler")))
					// Before the next step may end the controller, the disk catches up.
					targettest.Eventually(t, func() bool { return c.Stats().StateError == "" }, func() string { return "written: " + c.Stats().StateError })
				case i%200 == 180:
					stop()
					c, stop = begin()
				}
			}
			wire.heal()
			done := func() bool {
				at := c.Targets()[0]
				return at.Connected && at.Pending == 0 && at.InForce == len(m.active) && at.Mode == at.Wanted
			}
			targettest.Eventually(t, done, func() string { return fmt.Sprintf("all in force: %+v, of %d", c.Targets()[0], len(m.active)) })
			wanted := m.mode
			if m.off {
				wanted = detect.ModeOff
			}
			assert.Equal(t, wanted, c.Targets()[0].Mode)
			stop()

			target := targetOf(t, "lb1", s.Socket, s)
			report, err := target.Sync(t.Context(), m.entries())
			require.NoError(t, err)
			assert.True(t, report.Compared)
			assert.Zero(t, report.Set, "what was missing at the load balancer, or other than it should be")
			assert.Zero(t, report.Removed, "what should not have been there")

			c, stop = begin()
			assert.Len(t, c.Verdicts(), len(m.active), "the state folder has them all")
			stop()
			m.audited(t, folder)
			t.Logf("%d verdicts in the end; connections by fault: %v", len(m.active), wire.faults())
			for f, n := range wire.faults() {
				assert.Positive(t, n, "fault %d", f)
			}
		})
	}
}

// audited asserts that the audit log has every step, in order.
func (m *model) audited(t *testing.T, folder string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "audit.jsonl"))
	require.NoError(t, err)
	said := map[string][]string{}
	for line := range bytes.Lines(text) {
		var e controller.AuditEntry
		require.NoError(t, json.Unmarshal(line, &e), "%s", line)
		switch e.What {
		case "accepted", "changed", "lifted":
			said[e.Verdict] = append(said[e.Verdict], e.What)
		}
	}
	assert.Equal(t, m.told, said)
}

// smallDisk is a folder on a file system of its own.
func smallDisk(t *testing.T) string {
	folder := t.TempDir()
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=2m"); err != nil {
		targettest.Absent(t, fmt.Sprintf("a small file system can't be mounted (%v): that needs root", err))
	}
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(folder, 0)) })
	return folder
}

// fill leaves no room in a folder.
func fill(t *testing.T, folder string) {
	f, err := os.Create(filepath.Join(folder, "filler"))
	require.NoError(t, err)
	defer f.Close()
	_, err = io.Copy(f, bytes.NewReader(make([]byte, 4<<20)))
	require.True(t, errors.Is(err, unix.ENOSPC), "%v", err)
}
