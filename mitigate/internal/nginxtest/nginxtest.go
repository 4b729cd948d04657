// Package nginxtest runs a real nginx with the Lua module and offpath's rules in front of a
// small backend, for tests: what counts is what a client is answered.
//
// A test is skipped where the program or the module is absent, but not under CI. Everything
// a Server starts ends with its test.
package nginxtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
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
	"offpath/mitigate/nginx"
)

// Token is the bearer token of every Server.
const Token = "a-token-for-tests"

// modules is where Debian keeps dynamic modules.
const modules = "/usr/lib/nginx/modules/"

// Server is an nginx, its configuration and its backend.
type Server struct {
	Dir     string
	Address string // of the endpoint
	CA      []byte // who signed the endpoint's certificate
	URL     string // of the protected site, HTTP/1
	H2      string // HOST:PORT of it, HTTP/2 without TLS

	t       testing.TB
	program string
	backend *targettest.Backend
	config  string
	bare    bool
	process *process
}

// process is one life of nginx.
type process struct {
	cmd    *exec.Cmd
	output *os.File
	done   chan struct{}
}

// Options of a Server beside the setup.
type Options struct {
	Extra string // lines for the protected server
	Bare  bool   // without anything of offpath
	// Endpoint is unix (the default), tcp or https.
	Endpoint string
}

// Start runs nginx with the setup, of which addresses and folders are filled in.
func Start(t testing.TB, setup nginx.Setup, options Options) *Server {
	t.Helper()
	s := New(t, setup, options)
	s.Up()
	return s
}

// New writes the configuration without starting nginx.
func New(t testing.TB, setup nginx.Setup, options Options) *Server {
	t.Helper()
	program := Program(t)
	// A unix socket's path has to be short, which t.TempDir's is not.
	dir, err := os.MkdirTemp("", "offpath-nginx-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755)) // for the workers

	s := &Server{Dir: dir, t: t, program: program, config: filepath.Join(dir, "nginx.conf"), backend: targettest.NewBackend(t)}
	ports := targettest.FreePorts(t, 3)
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	s.H2 = fmt.Sprintf("127.0.0.1:%d", ports[1])
	switch options.Endpoint {
	case "tcp":
		s.Address = fmt.Sprintf("tcp:127.0.0.1:%d", ports[2])
	case "https":
		s.Address = fmt.Sprintf("https://127.0.0.1:%d", ports[2])
	default:
		s.Address = "unix:" + filepath.Join(dir, "orders.sock")
	}
	setup.Address, setup.Dir = s.Address, dir
	config, err := setup.Render()
	require.NoError(t, err)
	if options.Endpoint == "https" {
		s.CA = s.certificate()
	}
	for file, text := range map[string]string{config.ScriptFile: config.Script, config.RulesFile: config.Rules, config.TokenFile: Token + "\n"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	include := "    include " + config.RulesFile + ";\n"
	if s.bare = options.Bare; s.bare {
		config.HTTP, include = "", ""
	}
	s.Configure(`load_module ` + modules + `ndk_http_module.so;
load_module ` + modules + `ngx_http_lua_module.so;
daemon off;
worker_processes 2;
pid ` + dir + `/pid;
error_log ` + dir + `/error.log;
events { worker_connections 512; }
http {
access_log off;
client_body_temp_path ` + dir + `/body;
proxy_temp_path ` + dir + `/proxy;
fastcgi_temp_path ` + dir + `/fastcgi;
uwsgi_temp_path ` + dir + `/uwsgi;
scgi_temp_path ` + dir + `/scgi;
` + config.HTTP + `
upstream bank { server ` + s.backend.Address + `; keepalive 8; }
server {
    listen 127.0.0.1:` + fmt.Sprint(ports[0]) + `;
    listen ` + s.H2 + ` http2;
` + include + options.Extra + `
    location / {
        proxy_pass http://bank;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }
}
}
`)
	t.Cleanup(s.Down)
	return s
}

// Program is the path of nginx; without it or its Lua module the test is skipped, but not
// under CI.
func Program(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if _, err := os.Stat(modules + "ngx_http_lua_module.so"); err == nil {
			return path
		}
	}
	require.Empty(t, os.Getenv("CI"), "no nginx with the Lua module, and tests must not be skipped here")
	t.Skip("no nginx with the Lua module on this machine: apt-get install nginx libnginx-mod-http-lua")
	return ""
}

// Backend is what is protected.
func (s *Server) Backend() *targettest.Backend { return s.backend }

// Check runs nginx's own check of the configuration.
func (s *Server) Check() (string, error) {
	out, err := exec.Command(s.program, "-t", "-c", s.config, "-p", s.Dir).CombinedOutput()
	return string(out), err
}

// Config is the configuration.
func (s *Server) Config() string {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	require.NoError(s.t, err)
	return string(text)
}

// Configure replaces the configuration, for the next start or reload.
func (s *Server) Configure(text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.config, []byte(text), 0o600))
}

// Target is a target of it.
func (s *Server) Target(t testing.TB, change ...func(*nginx.Options)) *nginx.Target {
	t.Helper()
	options := nginx.Options{Name: "lb1", Address: s.Address, Token: Secret(Token), CA: s.CA}
	for _, f := range change {
		f(&options)
	}
	target, err := nginx.New(options)
	require.NoError(t, err)
	return target
}

// Up starts nginx and waits until it answers.
func (s *Server) Up() {
	s.t.Helper()
	os.Remove(strings.TrimPrefix(s.Address, "unix:")) // which a killed nginx leaves
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
	s.await("tcp", strings.TrimPrefix(s.URL, "http://"))
	// Before it has workers the master would die of a signal.
	targettest.Eventually(s.t, func() bool { return len(s.workers()) > 0 }, func() string { return "workers: " + s.Log() })
	if s.bare {
		return
	}
	if path, ok := strings.CutPrefix(s.Address, "unix:"); ok {
		s.await("unix", path)
	} else {
		_, address, _ := strings.Cut(s.Address, ":")
		s.await("tcp", strings.TrimPrefix(address, "//"))
	}
}

func (s *Server) await(network, address string) {
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
func (s *Server) Down() {
	if s.process != nil {
		syscall.Kill(-s.process.cmd.Process.Pid, syscall.SIGKILL)
		<-s.process.done
		s.process.output.Close()
		s.process = nil
	}
}

// Reload has nginx read its configuration again, and waits until the old workers have gone.
func (s *Server) Reload() {
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
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.Dir, "error.log"))
	return string(text)
}

// CPU is the processor time that nginx has taken so far.
func (s *Server) CPU() time.Duration {
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

// Get asks as a client with the source address from. Headers are name and value in turn.
func (s *Server) Get(from, path string, headers ...string) targettest.Answer {
	s.t.Helper()
	return targettest.Get(s.t, from, s.URL+path, headers...)
}

// Secret is a token as a target reads it.
func Secret(token string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(token), nil }
}

// workers are the processes that the master has started.
func (s *Server) workers() (pids []int) {
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

// certificate makes one for the endpoint, and returns it.
func (s *Server) certificate() []byte {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nginx"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(s.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s.t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(s.t, os.WriteFile(filepath.Join(s.Dir, "server.pem"), text, 0o600))
	require.NoError(s.t, os.WriteFile(filepath.Join(s.Dir, "server.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return text
}
