package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// program is the one under test, built once.
var program string

func TestMain(m *testing.M) {
	if os.Geteuid() == 0 && os.Getenv(insideName) == "" {
		os.Exit(runInside())
	}
	os.Exit(buildAndRun(m))
}

const insideName = "OWN_NETWORK_NAMESPACE"

// runInside runs the tests in a network namespace of their own: those who listen to the
// loopback interface are not to hear the tests of other packages there.
func runInside() int {
	self := exec.Command("/proc/self/exe", os.Args[1:]...)
	self.Env = append(os.Environ(), insideName+"=1")
	self.Stdin, self.Stdout, self.Stderr = os.Stdin, os.Stdout, os.Stderr
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the signal is for the end of the thread that begot it
	err := self.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return self.ProcessState.ExitCode()
}

func buildAndRun(m *testing.M) int {
	if os.Getenv(insideName) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "loopback interface: %v: %s", err, out)
			return 1
		}
	}
	folder, err := os.MkdirTemp("", "offpath-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	// Whoever runs it must be able to: one test does as nobody.
	if err := os.Chmod(folder, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = filepath.Join(folder, "offpath")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if raceDetector {
		build = exec.Command("go", "build", "-race", "-o", program, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
		// By default each program waits for a second at its end.
		os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	}
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// result is what a run of the binary left.
type result struct {
	stdout, stderr string
	status         int
}

// command prepares a run of the binary, without the configuration that the
// machine may have.
func command(args ...string) *exec.Cmd {
	c := exec.Command(program, args...)
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "OFFPATH_") {
			c.Env = append(c.Env, entry)
		}
	}
	return c
}

// complete runs a command to its end.
func complete(c *exec.Cmd) (result, error) {
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return result{}, err
	}
	return result{stdout.String(), stderr.String(), c.ProcessState.ExitCode()}, nil
}

// finish is complete for a command that can be run.
func finish(t *testing.T, c *exec.Cmd) result {
	t.Helper()
	r, err := complete(c)
	require.NoError(t, err)
	return r
}

// run runs the binary with the given arguments to its end.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return finish(t, command(args...))
}

// runReplay runs `offpath replay`, which has to succeed or to complain of
// damage alone, and returns its standard output.
func runReplay(t *testing.T, args ...string) []byte {
	t.Helper()
	r := run(t, append([]string{"replay"}, args...)...)
	require.Contains(t, []int{0, 3}, r.status, r.stderr)
	return []byte(r.stdout)
}
