package nftables_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"offpath/mitigate/internal/targettest"
)

// inside says, in the environment, that the process is in a network namespace of its own;
// child, that it is to do one thing.
const (
	inside = "OFFPATH_TEST_INSIDE"
	child  = "OFFPATH_TEST_CHILD"
)

// TestMain runs the tests in a network namespace of their own, which ends with them.
func TestMain(m *testing.M) {
	if what := os.Getenv(child); what != "" {
		if err := children[what](); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Geteuid() != 0 || os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	c := exec.Command(os.Args[0], os.Args[1:]...)
	c.Env = append(os.Environ(), inside+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil: // each test says what it lacks
		os.Exit(m.Run())
	}
}

// namespace makes sure that what a test does to the kernel's rules ends with it.
func namespace(t testing.TB) {
	t.Helper()
	if os.Getenv(inside) == "" {
		targettest.Absent(t, "no network namespace of our own: that needs root")
	}
	ip := targettest.Program(t, "ip")
	for _, c := range [][]string{
		{"link", "set", "lo", "up"}, {"-6", "route", "replace", "local", "2001:db8::/32", "dev", "lo"}, {"route", "replace", "local", "203.0.113.0/24", "dev", "lo"},
	} {
		if out, err := exec.Command(ip, c...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %s", c, out)
		}
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		if err := os.WriteFile("/proc/sys/net/"+family+"/ip_nonlocal_bind", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	clean := func() { exec.Command(targettest.Program(t, "nft"), "flush", "ruleset").Run() }
	clean()
	t.Cleanup(clean)
}
