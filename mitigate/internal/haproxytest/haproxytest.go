// Package haproxytest runs a real HAProxy with offpath's rules in front of a
// small backend, for tests: what counts is what a client is answered.
//
// A test is skipped where the program is absent. Everything a Server starts
// ends with its test.
package haproxytest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/targettest"
)

// Deception is the body of the answer that deceives, where the setup has one.
const Deception = `{"error":"invalid_credentials"}`

// Server is an HAProxy, its configuration and its backend.
type Server struct {
	Dir    string
	Socket string // of the Runtime API, as a target's address
	TCP    string // the same over TCP
	URL    string // of the frontend
	MapDir string

	t       testing.TB
	master  bool // it runs as a master with a worker
	program string
	backend *targettest.Backend
	config  string
	process *process
}

// process is one life of HAProxy.
type process struct {
	cmd    *exec.Cmd
	output *bytes.Buffer
	done   chan struct{}
}

// Start runs HAProxy with the setup, of which the addresses and folders are
// filled in; with an address of the form master:… it has a master, as Debian's has.
func Start(t testing.TB, setup haproxy.Setup) *Server {
	t.Helper()
	s := New(t, setup)
	s.Up()
	return s
}

// New writes the configuration without starting HAProxy.
func New(t testing.TB, setup haproxy.Setup) *Server {
	t.Helper()
	program := Program(t)
	// A unix socket's path has to be short, which t.TempDir's is not.
	dir, err := os.MkdirTemp("", "offpath-haproxy-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })

	s := &Server{Dir: dir, MapDir: dir, t: t, program: program, config: filepath.Join(dir, "haproxy.cfg")}
	ports := targettest.FreePorts(t, 3)
	s.Socket = "unix:" + filepath.Join(dir, "admin.sock")
	if s.master = strings.HasPrefix(setup.Address, "master:"); s.master {
		s.Socket = "master:" + filepath.Join(dir, "master.sock")
	}
	s.TCP = fmt.Sprintf("tcp:127.0.0.1:%d", ports[0])
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	setup.Address = s.Socket
	setup.MapDir = dir
	setup.PeerAddress = cmp.Or(setup.PeerAddress, fmt.Sprintf("127.0.0.1:%d", ports[2]))
	config, err := setup.Render()
	require.NoError(t, err)
	for _, file := range config.Files {
		require.NoError(t, os.WriteFile(file, nil, 0o600))
	}
	require.NoError(t, os.WriteFile(config.ScriptFile, []byte(config.Script), 0o600))

	if config.DeceptionFile != "" {
		require.NoError(t, os.WriteFile(config.DeceptionFile, []byte(Deception), 0o600))
	}

	s.backend = targettest.NewBackend(t)
	text := "global\n" + config.Global +
		fmt.Sprintf("    stats socket ipv4@127.0.0.1:%d level admin\n", ports[0]) +
		"defaults\n    mode http\n    timeout connect 2s\n    timeout client 10s\n    timeout server 10s\n" +
		config.Sections +
		fmt.Sprintf("frontend bank\n    bind 127.0.0.1:%d\n", ports[1]) +
		config.Rules +
		"    default_backend bank\nbackend bank\n    server bank " + s.backend.Address + "\n"
	require.NoError(t, os.WriteFile(s.config, []byte(text), 0o600))
	t.Cleanup(s.Down)
	return s
}

// Program is the path of HAProxy.
func Program(t testing.TB) string {
	t.Helper()
	return targettest.Program(t, "haproxy")
}

// Backend is what it protects.
func (s *Server) Backend() *targettest.Backend { return s.backend }

// Served counts the requests that reached the backend.
func (s *Server) Served() int64 { return s.backend.Served() }

// Check runs HAProxy's own check of the configuration.
func (s *Server) Check() (string, error) {
	out, err := exec.Command(s.program, "-c", "-f", s.config).CombinedOutput()
	return string(out), err
}

// Config is the configuration.
func (s *Server) Config() string {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	require.NoError(s.t, err)
	return string(text)
}

// Configure replaces the configuration, for the next start.
func (s *Server) Configure(text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.config, []byte(text), 0o600))
}

// Up starts HAProxy and waits until it answers.
func (s *Server) Up() {
	s.t.Helper()
	s.process = s.start()
	s.await(s.process, "")
}

// Down kills HAProxy.
func (s *Server) Down() {
	if s.process != nil {
		s.process.cmd.Process.Kill()
		<-s.process.done
		s.process = nil
	}
}

// Reload starts a new process that takes over from the old one, as a service
// manager does, and waits until the old one has gone.
func (s *Server) Reload() {
	s.t.Helper()
	s.awaitPeers()
	if s.master {
		before := s.worker()
		require.NoError(s.t, s.process.cmd.Process.Signal(syscall.SIGUSR2))
		s.await(s.process, before)
		return
	}
	old := s.process
	s.process = s.start("-sf", fmt.Sprint(old.cmd.Process.Pid))
	select {
	case <-old.done:
	case <-time.After(targettest.Wait):
		require.FailNow(s.t, "the old haproxy stays")
	}
	s.await(s.process, "")
}

// worker is the pid of the process that serves.
func (s *Server) worker() string {
	s.t.Helper()
	identity, err := s.identity()
	require.NoError(s.t, err)
	pid, _, _ := strings.Cut(identity.Process, "/")
	return pid
}

func (s *Server) identity() (mitigate.Identity, error) {
	s.t.Helper()
	target, err := haproxy.New(haproxy.Options{Address: s.Socket, MapDir: s.MapDir, Timeout: time.Second})
	require.NoError(s.t, err)
	return target.Identity(context.Background())
}

// Pause stops HAProxy from running without ending it, Resume goes on.
func (s *Server) Pause()  { s.process.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *Server) Resume() { s.process.cmd.Process.Signal(syscall.SIGCONT) }

// PID is HAProxy's process.
func (s *Server) PID() int { return s.process.cmd.Process.Pid }

// CPU is the processor time that HAProxy has taken so far.
func (s *Server) CPU() time.Duration {
	s.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	require.NoError(s.t, err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on, proc(5)
	var ticks int64
	for _, text := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(text, 10, 64)
		require.NoError(s.t, err)
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}

func (s *Server) start(arguments ...string) *process {
	s.t.Helper()
	p := &process{output: new(bytes.Buffer), done: make(chan struct{})}
	if s.master {
		arguments = append(arguments, "-W", "-S", strings.TrimPrefix(s.Socket, "master:"))
	}
	p.cmd = exec.Command(s.program, append([]string{"-db", "-f", s.config}, arguments...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	require.NoError(s.t, p.cmd.Start())
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	return p
}

// await waits until the process answers on its socket and its frontend; with a master by
// another worker than before.
func (s *Server) await(p *process, before string) {
	s.t.Helper()
	serves := func(identity mitigate.Identity) bool {
		pid, _, _ := strings.Cut(identity.Process, "/")
		if s.master {
			return pid != before
		}
		return pid == strconv.Itoa(p.cmd.Process.Pid)
	}
	deadline := time.Now().Add(targettest.Wait)
	for {
		identity, err := s.identity()
		if err == nil && serves(identity) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
			if err == nil {
				conn.Close()
				return
			}
		}
		select {
		case <-p.done:
			require.FailNow(s.t, "haproxy ended", p.output.String())
		case <-time.After(5 * time.Millisecond):
		}
		require.True(s.t, time.Now().Before(deadline), "haproxy does not answer: %v", err)
	}
}

// awaitPeers waits until the process has given up looking for an elder that
// teaches it, ten seconds after a cold start: only then does it teach its rows
// to a successor. One without such peers has none.
func (s *Server) awaitPeers() {
	s.t.Helper()
	if !strings.Contains(s.Config(), "\npeers offpath\n") {
		return
	}
	const resyncFinished = 0x3 // PEERS_F_RESYNC_LOCAL|PEERS_F_RESYNC_REMOTE in HAProxy's peers.h
	require.Eventually(s.t, func() bool {
		_, rest, _ := strings.Cut(s.Command("show peers"), "id=offpath ")
		_, rest, _ = strings.Cut(rest, "flags=")
		text, _, _ := strings.Cut(rest, " ")
		flags, err := strconv.ParseUint(text, 0, 64)
		return err == nil && flags&resyncFinished == resyncFinished
	}, targettest.Wait, 50*time.Millisecond, "haproxy still looks for its elder")
}

// Get asks as a client with the source address from. Headers are name and value in turn.
func (s *Server) Get(from, path string, headers ...string) targettest.Answer {
	s.t.Helper()
	return targettest.Get(s.t, from, s.URL+path, headers...)
}

// TryGet is Get with the error.
func (s *Server) TryGet(from, path string, headers ...string) (targettest.Answer, error) {
	return targettest.TryGet(from, s.URL+path, headers...)
}

// Command sends a line to the Runtime API, as an operator would, and returns
// the answer without the empty line at its end.
func (s *Server) Command(line string) string {
	s.t.Helper()
	_, path, _ := strings.Cut(s.Socket, ":")
	conn, err := net.Dial("unix", path)
	require.NoError(s.t, err)
	defer conn.Close()
	if s.master {
		line = "@1 " + line
	}
	_, err = io.WriteString(conn, line+"\n")
	require.NoError(s.t, err)
	require.NoError(s.t, conn.(*net.UnixConn).CloseWrite())
	answer, err := io.ReadAll(conn)
	require.NoError(s.t, err)
	return strings.TrimRight(string(answer), "\n")
}

// NewBare is a Server whose HAProxy has none of offpath's configuration and
// answers by itself; of the setup counts whether it has a master.
func NewBare(t testing.TB, setup haproxy.Setup) *Server {
	return unprepared(t, setup, "    http-request return status 200\n")
}

// NewPlain is a Server whose HAProxy has none of offpath's configuration.
func NewPlain(t testing.TB) *Server {
	return unprepared(t, haproxy.Setup{}, "    default_backend bank\n")
}

func unprepared(t testing.TB, setup haproxy.Setup, rules string) *Server {
	t.Helper()
	s := New(t, setup)
	text := "global\n"
	if !s.master {
		text += "    stats socket " + strings.TrimPrefix(s.Socket, "unix:") + " level admin\n"
	}
	text += "defaults\n    mode http\n    timeout connect 2s\n    timeout client 10s\n    timeout server 10s\n" +
		"frontend bank\n    bind " + strings.TrimPrefix(s.URL, "http://") + "\n" + rules +
		"backend bank\n    server bank " + s.backend.Address + "\n"
	require.NoError(t, os.WriteFile(s.config, []byte(text), 0o600))
	return s
}
