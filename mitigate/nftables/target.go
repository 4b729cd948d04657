package nftables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/nftables/internal/netfilter"
)

// Kind is the type of this target in the configuration.
const Kind = "nftables"

// Defaults of [Options].
const (
	DefaultTimeout  = 10 * time.Second
	DefaultCapacity = 200_000
)

// MaxPorts is the most ports that may be named.
const MaxPorts = 64

// maxBatch is the most elements that one transaction writes: what the kill switch may
// have to wait for.
const maxBatch = 2000

// verifyInterval is the least time between two looks at what is in the kernel after
// somebody changed its rules.
const verifyInterval = 5 * time.Second

// skew is how far the end of an element may be from what is wanted.
const skew = 1500 * time.Millisecond

// Options of a target. Ports are needed.
type Options struct {
	Name string // of the target; default: nftables
	// Ports are those, of TCP and UDP, that refused clients can't reach.
	Ports []uint16
	// Timeout is for one exchange with the kernel; default [DefaultTimeout].
	Timeout time.Duration
	// Capacity is the most verdicts; default [DefaultCapacity].
	Capacity int
}

// client is one of those in force.
type client struct {
	prefix netip.Prefix
	watch  bool
}

// Target is the kernel's packet filter in this network namespace.
type Target struct {
	options Options

	// mu is held while clients are written, and guards what is known of them.
	mu     sync.Mutex
	places map[place]bool   // sets that there are
	held   map[client]int64 // second of expiry

	// writing is held for one transaction, and guards what tells of those of others.
	writing    sync.Mutex
	generation uint32 // if nobody else wrote
	handle     uint64 // of the table; 0: there is none, or it is not known
	rows       int    // rules in the chains enforce and monitor each

	looking sync.Mutex // held while the identity is looked at
	every   time.Duration
	lives   int       // of the table: changes when something was lost
	next    time.Time // look at what somebody else did

	counting counting
}

var _ mitigate.Target = (*Target)(nil)

// New makes a target; it does not speak to the kernel.
func New(options Options) (*Target, error) {
	options.Name = cmp.Or(options.Name, Kind)
	options.Timeout = cmp.Or(options.Timeout, DefaultTimeout)
	options.Capacity = cmp.Or(options.Capacity, DefaultCapacity)
	options.Ports = slices.Compact(slices.Sorted(slices.Values(options.Ports)))
	switch {
	case len(options.Ports) == 0 || options.Ports[0] == 0:
		return nil, fmt.Errorf("nftables ports %v: name those that clients reach the load balancer at, 1 to 65535", options.Ports)
	case len(options.Ports) > MaxPorts:
		return nil, fmt.Errorf("nftables has %d ports, more than %d", len(options.Ports), MaxPorts)
	case options.Timeout < 0 || options.Capacity < 0:
		return nil, fmt.Errorf("nftables timeout %s or capacity %d is negative", options.Timeout, options.Capacity)
	}
	return &Target{options: options, every: verifyInterval, places: map[place]bool{}, held: map[client]int64{}}, nil
}

// Name implements [mitigate.Target].
func (t *Target) Name() string { return t.options.Name }

// Kind implements [mitigate.Target].
func (t *Target) Kind() string { return Kind }

// Capacity implements [mitigate.Target].
func (t *Target) Capacity() int { return t.options.Capacity }

// Addresses implements [mitigate.Target]: it has none of its own.
func (t *Target) Addresses() []netip.Addr { return nil }

// Carries implements [mitigate.Target]: blocks of an address or a network.
func (t *Target) Carries(e *mitigate.Entry) error {
	if _, _, reason := locate(e); reason != "" {
		return &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return nil
}

// dial opens a socket for as long as the context lasts.
func (t *Target) dial(ctx context.Context) (*netfilter.Conn, error) {
	timeout := t.options.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return netfilter.Dial(timeout)
}

// permitted says what to do about a missing privilege.
func permitted(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("nftables needs the capability CAP_NET_ADMIN: run offpath as root or grant it: %w", err)
	}
	return err
}

// with runs one exchange with the kernel.
func (t *Target) with(ctx context.Context, f func(c *netfilter.Conn) error) error {
	c, err := t.dial(ctx)
	if err != nil {
		return err
	}
	return permitted(errors.Join(f(c), c.Close()))
}

// commit carries out one transaction on top of the foundation; anew says that it may
// throw away a table that is not as it has to be. The table's handle is looked up once
// it is there.
func (t *Target) commit(c *netfilter.Conn, anew bool, add func(b *netfilter.Batch)) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	write := func(drop bool) error {
		b := new(netfilter.Batch)
		if drop {
			b.AddTable(table)
			b.DropTable(table)
		}
		if anew {
			t.foundation(b)
		}
		add(b)
		return c.Commit(b)
	}
	err := write(false)
	if anew && err != nil && misfit(err) {
		t.handle = 0
		err = write(true)
	}
	if err == nil {
		t.generation++
	}
	return err
}

// misfit says whether an error is of a table that holds something else by our names.
func misfit(err error) bool {
	for _, e := range []unix.Errno{unix.EEXIST, unix.EOPNOTSUPP, unix.EINVAL, unix.EBUSY, unix.ELOOP} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Identity implements [mitigate.Target]: changes when the table is no longer what was
// written.
func (t *Target) Identity(ctx context.Context) (id mitigate.Identity, err error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		id.Version = "Linux " + unix.ByteSliceToString(name.Release[:])
	}
	t.looking.Lock()
	defer t.looking.Unlock()
	err = t.with(ctx, func(c *netfilter.Conn) error {
		t.writing.Lock()
		generation, err := c.Generation()
		same := generation == t.generation
		t.writing.Unlock()
		if err != nil || same || time.Now().Before(t.next) {
			return err
		}
		began := time.Now()
		whole, err := t.verify(c)
		if err != nil {
			return err
		}
		if !whole {
			t.lives++
		}
		t.writing.Lock()
		t.generation = generation
		t.writing.Unlock()
		t.next = time.Now().Add(max(t.every, readShare*time.Since(began)))
		return nil
	})
	id.Process = fmt.Sprint(t.lives)
	return id, err
}

// verify says whether table, rules and elements are as they were written.
func (t *Target) verify(c *netfilter.Conn) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing.Lock()
	wanted, rows := t.handle, t.rows
	t.writing.Unlock()
	handle, err := c.Table(table)
	if err != nil || handle != wanted {
		return false, err
	}
	for _, chain := range []string{enforce, monitor} {
		if jumps, err := c.Jumps(table, chain); err != nil || len(jumps) != rows {
			return false, err
		}
	}
	there, held := 0, 0
	for _, p := range slices.SortedFunc(maps.Keys(t.places), compare) {
		list, err := c.Elements(table, p.String())
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		there += len(list)
	}
	soon := time.Now().Add(skew).Unix()
	for _, expires := range t.held {
		if expires > soon {
			held++
		}
	}
	return there >= held, nil
}

// Prepared implements [mitigate.Target]: the kernel needs nothing but the privilege.
func (t *Target) Prepared(ctx context.Context) error {
	return t.with(ctx, func(c *netfilter.Conn) error { _, err := c.Table(table); return err })
}

// Sweep implements [mitigate.Target]: the kernel has removed what has expired; here it is
// forgotten.
func (t *Target) Sweep(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now().Unix()
	maps.DeleteFunc(t.held, func(_ client, expires int64) bool { return expires <= now })
	return nil
}

// SetAllow implements [mitigate.Target].
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.with(ctx, func(c *netfilter.Conn) error {
		return t.commit(c, true, func(b *netfilter.Batch) {
			for _, name := range []string{allowIPv4, allowIPv6} {
				b.FlushSet(table, name)
				b.AddElements(table, name, ranges(allow, name == allowIPv6))
			}
		})
	})
}

// SetMode implements [mitigate.Target]: one transaction. With the table missing it is off
// already.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	if mode != detect.ModeOff && mode != detect.ModeMonitor && mode != detect.ModeEnforce {
		return fmt.Errorf("unknown mode %q", mode)
	}
	return t.with(ctx, func(c *netfilter.Conn) error {
		return t.commit(c, true, func(b *netfilter.Batch) {
			t.mode(b, mode)
			if release {
				b.FlushSet(table, offSet)
			}
		})
	})
}

// Mode implements [mitigate.Target].
func (t *Target) Mode(ctx context.Context) (mode detect.Mode, local bool, err error) {
	mode = detect.ModeOff
	err = t.with(ctx, func(c *netfilter.Conn) error {
		jumps, err := c.Jumps(table, guard)
		if err != nil {
			return err
		}
		if len(jumps) == 2 && jumps[0] == jumps[1] && (jumps[0] == enforce || jumps[0] == monitor) {
			mode = detect.Mode(jumps[0])
		}
		off, err := c.Elements(table, offSet)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		local = len(off) > 0
		return err
	})
	if local {
		mode = detect.ModeOff
	}
	if err == nil {
		t.counting.refusing.Store(mode == detect.ModeEnforce)
	}
	return mode, local, err
}
