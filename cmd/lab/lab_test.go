package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/scenario"
)

// patience is the most that a short run may take, with the machine busy.
const patience = 2 * time.Minute

// binaries is the folder of the two binaries; "" as long as no test needed
// them.
var binaries string

// laboratory builds the binaries, once.
var laboratory = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "labtest-"); err != nil {
		return "", err
	}
	binaries = dir
	for _, name := range []string{"lab", "offpath"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "offpath/cmd/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
		if out, err := build.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	os.RemoveAll(binaries)
	os.Exit(status)
}

// output collects what the laboratory prints and tells when it says a thing.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	told map[string]chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	for what, told := range o.told {
		if strings.Contains(o.text.String(), what) {
			close(told)
			delete(o.told, what)
		}
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// when returns a channel that is closed once the laboratory has said it.
func (o *output) when(what string) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	told := make(chan struct{})
	if strings.Contains(o.text.String(), what) {
		close(told)
		return told
	}
	if o.told == nil {
		o.told = map[string]chan struct{}{}
	}
	o.told[what] = told
	return told
}

// run is the laboratory under test.
type run struct {
	*output
	cmd  *exec.Cmd
	done chan error
}

// kind is the load balancer of a run.
func kind(args []string) string {
	if i := slices.Index(args, "--lb"); i >= 0 {
		return args[i+1]
	}
	return "haproxy"
}

func start(t *testing.T, args ...string) *run {
	t.Helper()
	if testing.Short() {
		t.Skip("the laboratory takes half a minute a run: not with -short")
	}
	if err := scenario.Prepared(kind(args)); err != nil {
		require.Empty(t, os.Getenv("CI"), "there it must run: %v", err)
		t.Skip(err)
	}
	dir, err := laboratory()
	require.NoError(t, err)
	r := &run{output: &output{}, done: make(chan error, 1)}
	r.cmd = exec.Command(filepath.Join(dir, "lab"), append([]string{"--short", "--offpath", filepath.Join(dir, "offpath")}, args...)...)
	r.cmd.Stdout, r.cmd.Stderr = r.output, r.output
	require.NoError(t, r.cmd.Start())
	go func() { r.done <- r.cmd.Wait() }()
	t.Cleanup(func() { r.cmd.Process.Kill() })
	return r
}

// await returns the error with which the laboratory ended.
func (r *run) await(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		r.cmd.Process.Signal(syscall.SIGQUIT)
		<-r.done
		require.FailNow(t, "the laboratory does not end", "%s", r)
		return nil
	}
}

// traces lists what the laboratory has left behind.
func (r *run) traces(t *testing.T) []string {
	t.Helper()
	var left []string
	for _, pattern := range []string{"/run/netns/offlab-%d-*", filepath.Join(os.TempDir(), "offlab-%d")} {
		found, err := filepath.Glob(fmt.Sprintf(pattern, r.cmd.Process.Pid))
		require.NoError(t, err)
		left = append(left, found...)
	}
	return left
}

func TestLabInShortForm(t *testing.T) {
	for _, run := range [][2]string{{"haproxy", "front"}, {"haproxy", "back"}, {"haproxy", "both"}, {"nginx", "both"}, {"envoy", "front"}} {
		t.Run("the attack is refused by "+run[0]+" with the tap at "+run[1], func(t *testing.T) {
			r := start(t, "--lb", run[0], "--tap", run[1], "--record", filepath.Join(t.TempDir(), "lab.pcapng"))
			err := r.await(t)
			t.Logf("\n%s", r)
			assert.NoError(t, err)
			for _, condition := range []string{"first refusal within 10 s", "at least 99 % refused", "no customer refused",
				"no packet dropped", "each login counted once", "not refused again", "the recording gives the same verdicts"} {
				assert.Regexp(t, `(?m)^ ok +[^:]*`+condition, r.String())
			}
			assert.Empty(t, r.traces(t))
		})
	}
}

func TestLabInMonitorModeRefusesNothing(t *testing.T) {
	r := start(t, "--mode", "monitor")
	err := r.await(t)
	t.Logf("\n%s", r)
	assert.NoError(t, err)
	assert.Regexp(t, `(?m)^ ok +monitor refuses nothing`, r.String())
}

func TestLabRaisesTheAlarmWhereEnforcementSilentlyFails(t *testing.T) {
	for _, kind := range []string{"haproxy", "envoy"} {
		t.Run(kind, func(t *testing.T) {
			r := start(t, "--lb", kind, "--silent", "--seconds", "35")
			err := r.await(t)
			t.Logf("\n%s", r)
			assert.NoError(t, err)
			assert.Regexp(t, `(?m)^ ok +an alarm says that verdicts are not enforced: 0 refused under \d+ verdicts; Verdict [0-9a-f]{16} is not enforced`, r.String())
		})
	}
}

func TestLabLeavesNothingBehind(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(t *testing.T, r *run)
		says string
	}{
		{"after Ctrl-C", func(t *testing.T, r *run) {
			require.NoError(t, r.cmd.Process.Signal(os.Interrupt))
		}, "interrupted"},
		{"after being killed", func(t *testing.T, r *run) {
			require.NoError(t, r.cmd.Process.Kill())
		}, ""},
		{"after the load balancer has died", func(t *testing.T, r *run) {
			name := fmt.Sprintf("offlab-%d-balancer", r.cmd.Process.Pid)
			pids, err := exec.Command("ip", "netns", "pids", name).Output()
			require.NoError(t, err)
			var pid int
			_, err = fmt.Sscan(string(pids), &pid)
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}, "haproxy ended unasked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := start(t)
			select {
			case <-r.when("ordinary time"):
			case err := <-r.done:
				require.FailNow(t, "the laboratory ended too early", "%v\n%s", err, r)
			}
			require.NotEmpty(t, r.traces(t))
			test.end(t, r)
			var exit *exec.ExitError
			require.True(t, errors.As(r.await(t), &exit), "%s", r)
			assert.Contains(t, r.String(), test.says)
			// A killed laboratory is tidied up after by its janitor.
			require.Eventually(t, func() bool { return len(r.traces(t)) == 0 }, 10*time.Second, 20*time.Millisecond)
		})
	}
}

func TestWrongUsageIsToldInOneLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--tap", "side"}, `tap "side" is none of front, back, both`},
		{[]string{"--lb", "apache"}, `load balancer "apache" is none of haproxy, nginx, envoy`},
		{[]string{"--mode", "on"}, `mode "on" is neither enforce nor monitor`},
		{[]string{"--silent", "--lb", "nginx"}, "silent goes with haproxy or envoy, mode"},
		{[]string{"--silent", "--tap", "back"}, "silent goes with haproxy or envoy, mode enforce and a tap at the front or both"},
		{[]string{"--seconds", "3"}, "length 3s is not between"},
		{[]string{"extra"}, `"extra" is no flag`},
	} {
		err := command(t.Context(), test.args)
		require.ErrorIs(t, err, errUsage)
		assert.ErrorContains(t, err, test.want)
	}
}
