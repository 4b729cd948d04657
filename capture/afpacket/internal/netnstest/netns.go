// Package netnstest makes network namespaces, virtual links and raw senders
// for tests of live capture. Only tests import it.
//
// A namespace lives in a thread of its own and has no name; it is gone, with
// the links in it, when the test is over.
package netnstest

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace.
type Namespace struct {
	work chan func()
	tid  int
}

// New makes a namespace with only its loopback interface, which is up, and
// without IPv6 addresses made up by the kernel, so that links are silent. It
// skips the test if that takes privileges that the process hasn't got.
func New(t testing.TB) *Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	n := &Namespace{work: make(chan func())}
	made := make(chan error)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Never unlocked: the thread ends with the goroutine, and the namespace
		// with the thread.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		n.tid = unix.Gettid()
		made <- err
		for f := range n.work {
			f()
		}
	}()
	err := <-made
	t.Cleanup(func() {
		close(n.work)
		<-ended
	})
	if err != nil {
		t.Skipf("network namespaces can't be made here: %v", err)
	}
	n.IP(t, "link", "set", "lo", "up")
	n.Do(func() {
		err = os.WriteFile("/proc/sys/net/ipv6/conf/default/addr_gen_mode", []byte("1"), 0)
	})
	require.NoError(t, err)
	return n
}

// Do calls f in a thread that is in the namespace. Sockets that f opens stay
// in it. f must not end the test: it runs in another goroutine.
func (n *Namespace) Do(f func()) {
	done := make(chan struct{})
	n.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// IP runs the command ip in the namespace.
func (n *Namespace) IP(t testing.TB, arguments ...string) {
	t.Helper()
	n.Command(t, "ip", arguments...)
}

// Command runs a command in the namespace.
func (n *Namespace) Command(t testing.TB, name string, arguments ...string) {
	t.Helper()
	var output []byte
	var err error
	n.Do(func() { output, err = exec.Command(name, arguments...).CombinedOutput() })
	require.NoError(t, err, "%s %v: %s", name, arguments, output)
}

// Veth joins a and b by a virtual cable whose ends are up.
func Veth(t testing.TB, a *Namespace, nameA string, b *Namespace, nameB string) {
	t.Helper()
	a.IP(t, "link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", strconv.Itoa(b.tid))
	a.IP(t, "link", "set", nameA, "up")
	b.IP(t, "link", "set", nameB, "up")
	a.AwaitLink(t, nameA)
	b.AwaitLink(t, nameB)
}

// AwaitLink returns when the interface sends. The kernel makes it ready up to
// a second after its other end came up (net/core/link_watch.c) and until then
// throws away what it shall send (qdisc noop).
func (n *Namespace) AwaitLink(t testing.TB, name string) {
	t.Helper()
	var output []byte
	var err error
	require.Eventually(t, func() bool {
		n.Do(func() { output, err = exec.Command("ip", "-o", "link", "show", "dev", name).CombinedOutput() })
		return err == nil && bytes.Contains(output, []byte(",LOWER_UP>")) && !bytes.Contains(output, []byte(" qdisc noop "))
	}, 10*time.Second, 2*time.Millisecond, "%s is not ready", name)
}
