package afpacket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/afpacket/internal/netnstest"
)

func TestCaptureGoesOnWithoutPrivileges(t *testing.T) {
	n := netnstest.New(t)
	var output []byte
	var err error
	n.Do(func() {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), child+"=drop privileges")
		output, err = c.CombinedOutput()
	})
	if exit := (&exec.ExitError{}); errors.As(err, &exit) && exit.ExitCode() == unsupported {
		t.Skip("built with cgo, as the race detector wants: privileges can't be dropped on all threads")
	}
	require.NoError(t, err, "%s", output)
}

func TestCaptureNeedsNoPrivilegeButRawSockets(t *testing.T) {
	n := netnstest.New(t)
	// The test binary lies in a folder that only we may enter, and so do
	// t.TempDir's.
	folder, err := os.MkdirTemp("", "offpath")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	require.NoError(t, os.Chmod(folder, 0o755))
	binary := filepath.Join(folder, "child")
	content, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(binary, content, 0o755))
	const nobody, capNetRaw = 65534, 13
	var output []byte
	n.Do(func() {
		c := exec.Command(binary)
		c.Env = append(os.Environ(), child+"=raw sockets alone")
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
			AmbientCaps: []uintptr{capNetRaw},
		}
		output, err = c.CombinedOutput()
	})
	require.NoError(t, err, "%s", output)
}

// rawSocketsChild opens a capture with CAP_NET_RAW and nothing else: it works,
// and if users may not load eBPF, steers by hash and says why.
func rawSocketsChild() error {
	source, err := Open(Options{Interfaces: []string{"lo"}, Workers: 2, RingMiB: 2})
	if err != nil {
		return err
	}
	defer source.Close()
	forbidden, err := os.ReadFile("/proc/sys/kernel/unprivileged_bpf_disabled")
	if err != nil || string(forbidden) == "0\n" {
		return nil
	}
	s := source.Steering()
	if s.Method != MethodHash || s.EBPF != SupportUnknown || !errors.Is(s.Reason, os.ErrPermission) {
		return fmt.Errorf("steering is %+v", s)
	}
	return nil
}

// dropPrivilegesChild captures on the loopback interface, drops its privileges
// on the way, and captures its own connection.
func dropPrivilegesChild() error {
	source, err := Open(Options{Interfaces: []string{"lo"}, Workers: 2, RingMiB: 2})
	if err != nil {
		return err
	}
	defer source.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	syn := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() {
		done <- source.Run(ctx, func(_ int, b capture.Batch) {
			for _, p := range b.Packets {
				if p.Disposition == capture.DispositionTCP {
					select {
					case syn <- struct{}{}:
					default:
					}
				}
			}
		})
	}()
	const capNetRaw = 13
	if err := DropPrivileges(capNetRaw); err != nil {
		return err
	}
	second, err := Open(Options{Interfaces: []string{"lo"}, Workers: 1, RingMiB: 1})
	if err != nil {
		return fmt.Errorf("what was kept is not there: %w", err)
	}
	if err := second.Close(); err != nil {
		return err
	}
	if _, err := exec.Command("ip", "link", "set", "lo", "down").CombinedOutput(); err == nil {
		return errors.New("what was not kept is there")
	}
	if err := DropPrivileges(64); err == nil {
		return errors.New("capability 64 was kept")
	}
	for range 2 { // the second time there is nothing left to drop
		if err := DropPrivileges(); err != nil {
			return err
		}
	}
	statuses, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(statuses) < 2 {
		return fmt.Errorf("%d threads: %w", len(statuses), err)
	}
	for _, status := range statuses {
		text, err := os.ReadFile(status)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		for _, want := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(text), want) {
				return fmt.Errorf("%s lacks %q:\n%s", status, want, text)
			}
		}
	}
	if output, err := exec.Command("ip", "link", "set", "lo", "down").CombinedOutput(); err == nil {
		return fmt.Errorf("an executed program got privileges: %s", output)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer connection.Close()
	select {
	case <-syn:
	case <-ctx.Done():
		return errors.New("nothing is captured after privileges were dropped")
	}
	cancel()
	if err := <-done; err != nil {
		return err
	}

	_, err = Open(Options{Interfaces: []string{"lo"}})
	if !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("open without privileges: %v", err)
	}
	for _, want := range []string{"capture on lo: ", "CAP_NET_RAW", "CAP_BPF", "root"} {
		if !strings.Contains(err.Error(), want) {
			return fmt.Errorf("error %q lacks %q", err, want)
		}
	}
	return nil
}
