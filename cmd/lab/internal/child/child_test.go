package child

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sh(t *testing.T, n *Nursery, name, script string, finite bool) *Child {
	c, err := n.Start(Spec{Name: name, Path: "sh", Args: []string{"-c", script}, Finite: finite})
	require.NoError(t, err)
	return c
}

func TestAChildThatEndsUnaskedIsReportedWithItsLastWords(t *testing.T) {
	n := Open(t.TempDir())
	defer n.Close()
	sh(t, n, "weak", "echo goodbye; exit 3", false)
	err := <-n.Failed()
	assert.ErrorContains(t, err, "weak ended unasked: exit status 3")
	assert.ErrorContains(t, err, "goodbye")
}

func TestAFiniteChildMayEndWellButNotBadly(t *testing.T) {
	n := Open(t.TempDir())
	defer n.Close()
	<-sh(t, n, "good", "exit 0", true).Done()
	sh(t, n, "bad", "exit 1", true)
	assert.ErrorContains(t, <-n.Failed(), "bad ended unasked")
}

func TestStopReachesTheWholeGroup(t *testing.T) {
	n := Open(t.TempDir())
	defer n.Close()
	c := sh(t, n, "parent", "sleep 300 & echo $!; wait", false)
	require.Eventually(t, func() bool { return len(c.Log()) > 0 }, 5*time.Second, time.Millisecond)
	assert.NoError(t, c.Stop(syscall.SIGTERM, 5*time.Second))
	// The group is empty as soon as its last member is reaped.
	require.Eventually(t, func() bool { return syscall.Kill(-c.cmd.Process.Pid, 0) == syscall.ESRCH }, 5*time.Second, time.Millisecond)
	select {
	case err := <-n.Failed():
		t.Fatalf("a child that was stopped is reported: %v", err)
	default:
	}
}

func TestAStubbornChildIsKilledAndSaidSo(t *testing.T) {
	n := Open(t.TempDir())
	defer n.Close()
	c := sh(t, n, "stubborn", "trap '' TERM; echo ready; while :; do sleep 0.01; done", false)
	require.Eventually(t, func() bool { return len(c.Log()) > 0 }, 5*time.Second, time.Millisecond)
	assert.ErrorContains(t, c.Stop(syscall.SIGTERM, 50*time.Millisecond), "did not end")
	select {
	case <-c.Done():
	default:
		t.Fatal("the child lives")
	}
}
