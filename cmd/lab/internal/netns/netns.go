// Package netns runs code and opens connections inside a named network
// namespace (ip-netns(8)) of the same process.
//
// A socket belongs to the namespace of the thread that made it, for good. A
// [Space] therefore keeps a few threads inside its namespace which do nothing
// but make sockets and write sysctls; the connections may then be used from
// any goroutine. The threads end with Close. Spaces are safe for concurrent
// use; memory is a goroutine a thread.
//
// It neither makes nor deletes namespaces.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Folder is where ip-netns(8) keeps its named namespaces.
const Folder = "/run/netns"

// ErrClosed is returned for work given to a Space after Close.
var ErrClosed = errors.New("namespace is closed")

// Space is a network namespace with threads inside it.
type Space struct {
	Name string

	jobs   chan func()
	closed chan struct{}
	once   sync.Once
	wait   sync.WaitGroup
}

// Open enters the named namespace with the given number of threads: so many
// connections can be opened at the same time.
func Open(name string, threads int) (*Space, error) {
	if threads < 1 {
		return nil, fmt.Errorf("open namespace %s: %d threads, want 1 or more", name, threads)
	}
	s := &Space{Name: name, jobs: make(chan func()), closed: make(chan struct{})}
	entered := make(chan error, threads)
	for range threads {
		s.wait.Go(func() { s.work(entered) })
	}
	for range threads {
		if err := <-entered; err != nil {
			s.Close()
			return nil, fmt.Errorf("enter namespace %s: %w", name, err)
		}
	}
	return s, nil
}

func (s *Space) work(entered chan<- error) {
	// Never unlocked: a thread that has changed its namespace must not go
	// back to the scheduler, and ends with its goroutine.
	runtime.LockOSThread()
	err := enter(filepath.Join(Folder, s.Name))
	entered <- err
	if err != nil {
		return
	}
	for {
		select {
		case job := <-s.jobs:
			job()
		case <-s.closed:
			return
		}
	}
}

func enter(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}

// Do runs f on a thread inside the namespace and returns its error.
func (s *Space) Do(f func() error) error {
	result := make(chan error, 1)
	select {
	case s.jobs <- func() { result <- f() }:
		return <-result
	case <-s.closed:
		return ErrClosed
	}
}

// Dial opens a TCP connection from the namespace. An invalid from leaves the
// choice of the source address to the kernel.
func (s *Space) Dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	if from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	var conn net.Conn
	err := s.Do(func() (err error) {
		conn, err = dialer.DialContext(ctx, "tcp", to.String())
		return err
	})
	return conn, err
}

// Sysctl sets a network sysctl of the namespace, such as
// "ipv6/ip_nonlocal_bind".
func (s *Space) Sysctl(name, value string) error {
	return s.Do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o644)
	})
}

// Close ends the threads; connections that were opened stay open.
func (s *Space) Close() {
	s.once.Do(func() { close(s.closed) })
	s.wait.Wait()
}
