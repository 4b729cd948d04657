// Package scenario is the play that the laboratory performs: ordinary life at a
// bank, an attack, the product's answer to it, and what came of it, measured
// at the load balancer, the bank, the clients and the product itself.
//
// [Run] owns everything it starts: goroutines have ended and processes,
// namespaces and files are gone when it returns.
package scenario

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"offpath/cmd/lab/internal/attack"
	"offpath/cmd/lab/internal/balancer"
	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/child"
	"offpath/cmd/lab/internal/crowd"
	"offpath/cmd/lab/internal/internet"
	"offpath/cmd/lab/internal/lease"
	"offpath/cmd/lab/internal/netns"
	"offpath/cmd/lab/internal/report"
	"offpath/cmd/lab/internal/sensor"
	"offpath/cmd/lab/internal/software"
)

// ErrNotAccepted says that the play ended but a condition of the acceptance
// does not hold.
var ErrNotAccepted = errors.New("the acceptance does not hold")

// stage is the laboratory while it stands.
type stage struct {
	options Options
	pace    pace
	time    *report.Timeline

	lease    *lease.Lease
	nursery  *child.Nursery
	net      *internet.Internet
	balancer *balancer.Balancer
	sensor   *sensor.Sensor
	config   sensor.Config

	crowd      *crowd.Crowd
	books      attack.Books
	mirrorZero uint64 // frames mirrored before offpath was ready
	lostZero   uint64 // and lost
}

// Run performs the play and prints it to w.
func Run(ctx context.Context, o Options, w io.Writer) (err error) {
	o = o.withDefaults()
	if err := errors.Join(o.Validate(), Prepared(o.Balancer)); err != nil {
		return err
	}
	s := &stage{options: o, pace: o.pace(), time: report.NewTimeline(w)}
	if s.lease, err = lease.Take(o.Self, o.Janitor...); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	s.nursery = child.Open(s.lease.Dir)
	defer func() { err = errors.Join(err, s.strike()) }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := s.build(ctx); err != nil {
		return err
	}
	go func() {
		select {
		case err := <-s.nursery.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	result, err := s.play(ctx)
	if cause := context.Cause(ctx); cause != nil {
		// What failed, failed by this.
		return cause
	}
	if err != nil {
		return err
	}
	enforced := o.enforced()
	figures := result.figures()
	fmt.Fprintln(w)
	figures.table(enforced).Write(w)
	fmt.Fprintln(w)
	checks := figures.accept(enforced)
	checks.Write(w)
	if !checks.OK() {
		return ErrNotAccepted
	}
	return nil
}

// build makes the Internet, opens the bank and the load balancer, and starts
// offpath.
func (s *stage) build(ctx context.Context) error {
	var err error
	if s.net, err = internet.Build(internet.Config{Namespace: s.lease.Namespace, Tap: s.options.Tap}); err != nil {
		return err
	}
	_, err = s.nursery.Start(child.Spec{Name: "bank", Namespace: s.net.Name("bank"), Path: s.options.Self,
		Args: append(s.options.Bank, "--listen", bankInside.String(), "--books", s.bankBooks(), "--customers", fmt.Sprint(customers))})
	if err != nil {
		return err
	}
	outside := s.outside()
	s.config = sensor.Config{Dir: filepath.Join(s.lease.Dir, "sensor"), Namespace: s.net.Name("tap"), Interface: internet.TapInterface,
		Target: outside.Target(), Mode: s.options.Mode, VerdictTTL: s.pace.ttl, Record: s.options.Record}
	if s.options.Tap != internet.Front {
		s.config.TrustedProxies = []netip.Prefix{netip.PrefixFrom(internet.BalancerInside, 32)}
	}
	if err := os.Mkdir(s.config.Dir, 0o755); err != nil {
		return err
	}
	if s.config.Binary, err = s.binary(ctx); err != nil {
		return err
	}
	if err := s.config.Install(); err != nil {
		return fmt.Errorf("install offpath: %w", err)
	}
	setup, err := s.config.TargetConfig(ctx)
	if err != nil {
		return err
	}
	if s.balancer, err = balancer.Start(ctx, s.nursery, outside, setup); err != nil {
		return err
	}
	if s.sensor, err = sensor.Start(ctx, s.nursery, s.config); err != nil {
		return err
	}
	s.mirrorZero, s.lostZero, err = s.net.Mirrored()
	return err
}

// bankInside is where the bank listens.
var bankInside = netip.AddrPortFrom(internet.Bank, 8080)

// outside is the load balancer. Only where the tap is behind it may it speak
// TLS: offpath is not to see the keys.
func (s *stage) outside() balancer.Config {
	return balancer.Config{Kind: s.options.Balancer, Dir: s.lease.Dir, Namespace: s.net.Name("balancer"), Bank: bankInside,
		TLS: s.options.Tap == internet.Back, Hosts: software.Hosts[:], Forgetful: s.options.Silent}
}

func (s *stage) bankBooks() string { return filepath.Join(s.lease.Dir, "bank.sock") }

// binary returns the path of offpath, which is built if none was given.
func (s *stage) binary(ctx context.Context) (string, error) {
	if s.options.Offpath != "" {
		return filepath.Abs(s.options.Offpath)
	}
	s.time.Say("building offpath")
	path := filepath.Join(s.lease.Dir, "offpath")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "offpath/cmd/offpath")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build offpath: %w\n%s", err, out)
	}
	return path, nil
}

// strike takes the stage down.
func (s *stage) strike() error {
	s.nursery.Close()
	if s.balancer != nil {
		s.balancer.Close()
	}
	if s.net != nil {
		s.net.Close()
	}
	return s.lease.Release()
}

// dialler opens connections from a namespace to the bank's public address.
func (s *stage) dialler(space *netns.Space) func(ctx context.Context, from netip.Addr, host string) (net.Conn, error) {
	port := s.outside().Port()
	roots := s.balancer.Roots
	return func(ctx context.Context, from netip.Addr, host string) (net.Conn, error) {
		to := internet.Service
		if from.Is6() {
			to = internet.Service6
		}
		conn, err := space.Dial(ctx, from, netip.AddrPortFrom(to, port))
		if err != nil || roots == nil {
			return conn, err
		}
		secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: host, NextProtos: []string{"http/1.1"}})
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
	}
}

// play is the play itself.
func (s *stage) play(ctx context.Context) (*result, error) {
	var err error
	s.crowd, err = crowd.New(crowd.Config{Directory: s.directory(), Except: probeCustomer, Rate: s.pace.visits, Dial: s.dialler(s.net.Customers)})
	if err != nil {
		return nil, err
	}
	// The people of the play; they leave when it ends, however it does.
	var people sync.WaitGroup
	life, closing := context.WithCancel(ctx)
	defer people.Wait()
	defer closing()

	observer := newObserver(s)
	people.Go(func() { observer.run(life) })
	s.time.Say("%s, tap %s, mode %s: %d customers; ordinary time for %v", s.options.Balancer, s.options.Tap, s.options.Mode, customers, s.pace.leadIn)
	people.Go(func() { s.crowd.Run(life) })
	if !pause(ctx, s.pace.leadIn) {
		return nil, ctx.Err()
	}

	ends := time.Now().Add(s.pace.attack)
	observer.attackBegins()
	ceasefire, err := s.assault(life)
	if err != nil {
		return nil, err
	}
	if !pause(ctx, s.pace.manual) {
		return nil, errors.Join(ctx.Err(), ceasefire())
	}
	probe := newProbe(s)
	if s.options.enforced() {
		if err := probe.perform(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("refuse a customer by hand: %w", err), ceasefire())
		}
		people.Go(func() { probe.goOn(life) })
	}
	pause(ctx, time.Until(ends))
	observer.attackEnds()
	if err := errors.Join(ceasefire(), ctx.Err()); err != nil {
		return nil, err
	}
	s.time.Say("the attack ends")
	closing()
	people.Wait()
	return s.settle(ctx, observer, probe)
}

// assault begins the attack. The function that it returns ends it and waits
// for its last answer.
func (s *stage) assault(ctx context.Context) (ceasefire func() error, err error) {
	s.time.Say("the attack begins: hydra, and %d addresses with a list of stolen passwords within %v", bots, s.pace.rampUp)
	target := netip.AddrPortFrom(internet.Service, s.outside().Port())
	hydra, err := attack.Hydra{Directory: s.directory(), Target: target, TLS: s.outside().TLS,
		Dir: s.lease.Dir, Namespace: s.net.Name("attackers")}.Start(s.nursery)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stuffed := make(chan error, 1)
	go func() {
		stuffed <- attack.Stuffing{Directory: s.directory(), Addresses: bots, Rate: s.pace.rate, RampUp: s.pace.rampUp,
			Dial: s.dialler(s.net.Attackers)}.Run(ctx, &s.books)
	}()
	return func() error {
		cancel()
		return errors.Join(hydra.Stop(syscall.SIGKILL, 0), <-stuffed)
	}, nil
}

func (s *stage) directory() bank.Directory { return bank.Directory{Customers: customers} }

// pause waits; it reports false if ctx was done first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
