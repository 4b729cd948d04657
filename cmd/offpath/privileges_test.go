package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Without a target that goes on needing one, no privilege is left once everything is
// open; with nftables, one: the packet filter takes orders of nobody else.
func TestPrivilegesAreKeptAsFarAsATargetGoesOnNeedingThem(t *testing.T) {
	needRoot(t)
	if raceDetector {
		t.Skip("built with cgo, as the race detector wants: privileges can't be dropped on all threads")
	}
	for _, tt := range []struct{ name, targets, left string }{
		{"no target", "[]", "0000000000000000"},
		{"a load balancer", "[{name: lb1, type: haproxy, address: 'unix:/nowhere'}]", "0000000000000000"},
		{"the packet filter", "[{name: host, type: nftables, ports: [80, 443]}]", fmt.Sprintf("%016x", 1<<12)}, // CAP_NET_ADMIN
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_MITIGATE_MODE=enforce", "OFFPATH_MITIGATE_TARGETS="+tt.targets)
			// In a network namespace of its own.
			c.Path, c.Args = "/bin/sh", []string{"sh", "-c", `ip link set lo up && exec "$0" run`, program}
			c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
			r := startService(t, c)
			statuses, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", c.Process.Pid))
			require.NoError(t, err)
			require.NotEmpty(t, statuses)
			for _, path := range statuses {
				text, err := os.ReadFile(path)
				if os.IsNotExist(err) {
					continue
				}
				for _, line := range []string{"CapPrm:\t" + tt.left, "CapEff:\t" + tt.left, "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
					assert.Contains(t, string(text), line)
				}
			}
			if tt.name == "the packet filter" {
				status, body := r.do("POST", "/api/v1/verdicts", `{"action":"block","subject":{"client.ip":"44.7.0.1"},"ttl":"10m","reason":"a test"}`)
				require.Equal(t, 201, status, body)
				eventually(t, func() bool {
					out, err := exec.Command("nsenter", "-t", itoa(c.Process.Pid), "-n", "nft", "list", "table", "inet", "offpath").CombinedOutput()
					return err == nil && strings.Contains(string(out), "44.7.0.1 ") && strings.Contains(string(out), "jump enforce")
				}, "the verdict is in force")
			}
			assert.Equal(t, 0, r.stop(syscall.SIGTERM))
		})
	}
}
