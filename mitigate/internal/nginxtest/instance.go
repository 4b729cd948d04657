package nginxtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/targettest"
)

// instance is a program, its folder and configuration, and the process while it runs.
type instance struct {
	Dir string

	t       testing.TB
	program string
	config  string
	process *process
}

// process is one life of nginx.
type process struct {
	cmd    *exec.Cmd
	output *os.File
	done   chan struct{}
}

func newInstance(t testing.TB, program string) instance {
	t.Helper()
	// A unix socket's path has to be short, which t.TempDir's is not.
	dir, err := os.MkdirTemp("", "offpath-nginx-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755)) // for the workers
	return instance{Dir: dir, t: t, program: program, config: filepath.Join(dir, "nginx.conf")}
}

// preamble is how each configuration begins, up to the start of the http block.
func (s *instance) preamble() string {
	return `daemon off;
worker_processes 2;
pid ` + s.Dir + `/pid;
error_log ` + s.Dir + `/error.log;
events { worker_connections 512; }
http {
access_log off;
client_body_temp_path ` + s.Dir + `/body;
proxy_temp_path ` + s.Dir + `/proxy;
fastcgi_temp_path ` + s.Dir + `/fastcgi;
uwsgi_temp_path ` + s.Dir + `/uwsgi;
scgi_temp_path ` + s.Dir + `/scgi;
`
}

// Check runs nginx's own check of the configuration.
func (s *instance) Check() (string, error) {
	out, err := exec.Command(s.program, "-t", "-c", s.config, "-p", s.Dir).CombinedOutput()
	return string(out), err
}

// Config is the configuration.
func (s *instance) Config() string {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	require.NoError(s.t, err)
	return string(text)
}

// Configure replaces the configuration, for the next start or reload.
func (s *instance) Configure(text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.config, []byte(text), 0o600))
}

// start starts nginx, without waiting for it.
func (s *instance) start() {
	s.t.Helper()
	p := &process{done: make(chan struct{})}
	var err error
	p.output, err = os.OpenFile(filepath.Join(s.Dir, "error.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	p.cmd = exec.Command(s.program, "-c", s.config, "-p", s.Dir)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(s.t, p.cmd.Start())
	s.process = p
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
}

// awaitWorkers waits until it has workers: before that the master would die of a signal.
func (s *instance) awaitWorkers() {
	s.t.Helper()
	targettest.Eventually(s.t, func() bool { return len(s.workers()) > 0 }, func() string { return "workers: " + s.Log() })
}

func (s *instance) await(network, address string) {
	s.t.Helper()
	targettest.Eventually(s.t, func() bool {
		select {
		case <-s.process.done:
			require.FailNow(s.t, "nginx ended", s.Log())
		default:
		}
		conn, err := net.Dial(network, address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, func() string { return "nginx answers: " + s.Log() })
}

// Down kills nginx, master and workers.
func (s *instance) Down() {
	if s.process != nil {
		syscall.Kill(-s.process.cmd.Process.Pid, syscall.SIGKILL)
		<-s.process.done
		s.process.output.Close()
		s.process = nil
	}
}

// Reload has nginx read its configuration again, and waits until the old workers have gone.
func (s *instance) Reload() {
	s.t.Helper()
	old := s.workers()
	require.NoError(s.t, s.process.cmd.Process.Signal(syscall.SIGHUP))
	targettest.Eventually(s.t, func() bool {
		now := s.workers()
		for _, pid := range old {
			if slices.Contains(now, pid) {
				return false
			}
		}
		return len(now) > 0
	}, func() string { return "new workers: " + s.Log() })
}

// Log is what nginx has complained of.
func (s *instance) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.Dir, "error.log"))
	return string(text)
}

// CPU is the processor time that nginx has taken so far.
func (s *instance) CPU() time.Duration {
	s.t.Helper()
	var all time.Duration
	for _, pid := range append(s.workers(), s.process.cmd.Process.Pid) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		require.NoError(s.t, err)
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on, proc(5)
		for _, text := range fields[11:13] {                                      // utime, stime
			n, err := strconv.ParseInt(text, 10, 64)
			require.NoError(s.t, err)
			all += time.Duration(n) * (time.Second / 100)
		}
	}
	return all
}

// workers are the processes that the master has started.
func (s *instance) workers() (pids []int) {
	s.t.Helper()
	master := s.process.cmd.Process.Pid
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", master, master))
	require.NoError(s.t, err, "nginx ended: %s", s.Log())
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		require.NoError(s.t, err)
		pids = append(pids, pid)
	}
	return pids
}
