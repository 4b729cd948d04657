package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// program is the one under test, built once.
var program string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
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
