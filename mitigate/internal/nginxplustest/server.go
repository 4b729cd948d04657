package nginxplustest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginxplus"
)

// Server is an open-source NGINX with the printed rules, in front of a backend, and the
// API that rules it.
type Server struct {
	URL     string // of what is protected
	Address string // of the API
	API     *API
	Backend *targettest.Backend

	t       testing.TB
	program string
	dir     string
	config  string
	control string       // where the generation is told
	server  *http.Server // of the API

	gate sync.RWMutex // held for writing while NGINX reads its configuration again
	wake chan struct{}

	process    sync.Mutex // held while it is started, ended or reloaded
	command    *exec.Cmd
	output     bytes.Buffer
	ended      chan struct{}
	generation int

	mu        sync.Mutex
	cond      *sync.Cond
	up        bool
	written   int         // changes of the zones
	effective int         // of them what requests are judged by
	lately    []time.Time // the last changes
}

// Program is the path of nginx; without it the test is skipped, or fails in CI.
func Program(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no nginx on this machine")
	}
	t.Skip("no nginx on this machine")
	return ""
}

// keyval is a directive that only NGINX Plus has.
var keyval = regexp.MustCompile(`(?m)^keyval (\S+) (\S+) zone=(\S+);$`)

// OpenSource replaces in the configuration what only NGINX Plus has: a zone of addresses by
// a geo block, another by a map, each of the files of a folder.
func OpenSource(config, dir string, api *API) string {
	config = regexp.MustCompile(`(?m)^keyval_zone .*;$`).ReplaceAllString(config, "")
	return keyval.ReplaceAllStringFunc(config, func(line string) string {
		m := keyval.FindStringSubmatch(line)
		block := "map"
		if api.zones[m[3]].address {
			block = "geo"
		}
		return fmt.Sprintf("%s %s %s {\n    default \"\";\n    include %s/%s.conf;\n}", block, m[1], m[2], dir, m[3])
	})
}

// Check has NGINX look at a printed configuration, the server of the API too, but for the
// line that only NGINX Plus has.
func Check(t testing.TB, parts nginxplus.Config) (string, error) {
	t.Helper()
	dir := t.TempDir()
	api := NewAPI(parts.HTTP)
	for name := range api.zones {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".conf"), nil, 0o600))
	}
	config := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(config, []byte("pid "+dir+"/pid; error_log stderr; events {} http { access_log off;\n"+OpenSource(parts.HTTP, dir, api)+
		strings.Replace(parts.API, "api write=on;", "", 1)+"server { listen 127.0.0.1:1;\n"+parts.Server+parts.Location+"} }\n"), 0o600))
	out, err := exec.Command(Program(t), "-t", "-q", "-p", dir, "-c", config).CombinedOutput()
	return string(out), err
}

// Start runs an NGINX with a setup, whose folders are filled in.
func Start(t testing.TB, setup nginxplus.Setup) *Server {
	t.Helper()
	s := &Server{t: t, program: Program(t), dir: t.TempDir(), wake: make(chan struct{}, 1)}
	s.cond = sync.NewCond(&s.mu)
	setup.StateDir, setup.AllowFile = s.dir, s.dir+"/allow-file.conf"
	parts, err := setup.Render()
	require.NoError(t, err)
	s.write("allow-file.conf", "203.0.113.99 1;\n")
	ports := targettest.FreePorts(t, 3)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	s.URL = "http://" + listener.Addr().String()
	protected := fmt.Sprintf("127.0.0.1:%d", ports[0])
	go s.forward(listener, protected)
	s.control = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	s.Address = fmt.Sprintf("http://127.0.0.1:%d", ports[2])
	s.Backend = targettest.NewBackend(t)
	s.API = NewAPI(parts.HTTP)
	s.API.changed = s.changed
	s.config = filepath.Join(s.dir, "nginx.conf")
	s.write("nginx.conf", fmt.Sprintf(`
daemon off;
user root;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr error;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
    map_hash_max_size 65536;
%[2]s
    server { listen %[3]s; location / { include %[1]s/generation.conf; } }
    server {
        listen %[4]s;
%[5]s
%[6]s
        location / { proxy_pass http://%[7]s; }
        # A location with lines of its own needs part 4 too.
        location /own/ {
            add_header X-Own 1;
            proxy_set_header X-Own 1;
%[6]s
            proxy_pass http://%[7]s;
        }
    }
}
`, s.dir, OpenSource(parts.HTTP, s.dir, s.API), strings.TrimPrefix(s.control, "http://"), protected,
		parts.Server, parts.Location, s.Backend.Address))
	t.Cleanup(s.Down)
	s.Up()
	return s
}

func (s *Server) write(name, text string) {
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
}

// writeZones writes what the zones hold, with a new generation.
func (s *Server) writeZones() {
	s.generation++
	for name := range s.API.zones {
		var b strings.Builder
		for key, value := range s.API.Records(name) {
			fmt.Fprintf(&b, "%q %q;\n", key, value)
		}
		s.write(name+".conf", b.String())
	}
	s.write("generation.conf", fmt.Sprintf("return 200 %d;\n", s.generation))
}

// Up starts NGINX and the API.
func (s *Server) Up() {
	s.t.Helper()
	s.process.Lock()
	defer s.process.Unlock()
	s.API.Restart()
	s.writeZones()
	s.output.Reset()
	s.command = exec.Command(s.program, "-p", s.dir, "-c", s.config)
	s.command.Stdout, s.command.Stderr = &s.output, &s.output
	require.NoError(s.t, s.command.Start())
	ended := make(chan struct{})
	s.ended = ended
	go func(command *exec.Cmd) {
		command.Wait()
		close(ended)
	}(s.command)
	s.awaitGeneration(nil)
	s.mu.Lock()
	s.effective, s.up = s.written, true
	s.mu.Unlock()
	listener, err := net.Listen("tcp", strings.TrimPrefix(s.Address, "http://"))
	require.NoError(s.t, err)
	s.server = &http.Server{Handler: s.API}
	go s.server.Serve(listener)
	go s.keepUp(ended)
}

// Down ends both, as a crash does: at once.
func (s *Server) Down() {
	s.mu.Lock()
	s.up = false
	s.cond.Broadcast()
	s.mu.Unlock()
	s.process.Lock()
	defer s.process.Unlock()
	if s.command == nil {
		return
	}
	s.server.Close()
	s.command.Process.Signal(syscall.SIGTERM)
	<-s.ended
	s.command = nil
}

// Reload has NGINX read its configuration again.
func (s *Server) Reload() {
	s.API.Reload()
	s.mu.Lock()
	s.written++
	s.mu.Unlock()
	s.await()
}

// workers are NGINX's: for a tenth of a second after a reload those of before go on.
func (s *Server) workers() []string {
	pid := s.command.Process.Pid
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}

// awaitGeneration waits until NGINX answers by the files as they are, and by no others;
// before are the workers of earlier ones.
func (s *Server) awaitGeneration(before []string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: targettest.Wait}
	for deadline := time.Now().Add(targettest.Wait); ; {
		now := s.workers()
		response, err := client.Get(s.control)
		if err == nil {
			got, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if len(now) == 1 && !slices.Contains(before, now[0]) && string(got) == fmt.Sprint(s.generation) {
				return
			}
		}
		select {
		case <-s.ended:
			s.t.Errorf("nginx ended: %s", s.output.String())
			return
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Errorf("nginx does not read its configuration again: %v", err)
			return
		}
	}
}

// keepUp brings changes of the zones into force, and ends of records, until NGINX ends.
func (s *Server) keepUp(ended chan struct{}) {
	for {
		var end <-chan time.Time
		if next := s.API.nextExpiry(); !next.IsZero() {
			end = time.After(time.Until(next))
		}
		select {
		case <-ended:
			return
		case <-s.wake:
		case <-end:
		}
		s.mu.Lock()
		written := s.written
		s.mu.Unlock()
		if !s.reload() {
			return
		}
		s.mu.Lock()
		s.effective = written
		s.cond.Broadcast()
		s.mu.Unlock()
	}
}

// reload has NGINX read what the zones hold; it returns false if NGINX has ended.
func (s *Server) reload() bool {
	s.process.Lock()
	defer s.process.Unlock()
	if s.command == nil {
		return false
	}
	s.gate.Lock()
	defer s.gate.Unlock()
	s.writeZones()
	before := s.workers()
	s.command.Process.Signal(syscall.SIGHUP)
	s.awaitGeneration(before)
	return true
}

// burst is how many changes a second are waited for: NGINX Plus has them in force when it
// answers, a reload takes each more than a tenth of a second.
const burst = 12

// changed is told of each change of the zones. It returns when NGINX is judging by it,
// unless it is one of many.
func (s *Server) changed() {
	s.mu.Lock()
	s.written++
	now := time.Now()
	s.lately = append(s.lately, now)
	if len(s.lately) > burst {
		s.lately = s.lately[1:]
	}
	many := len(s.lately) == burst && now.Sub(s.lately[0]) < time.Second
	s.mu.Unlock()
	if many {
		select {
		case s.wake <- struct{}{}:
		default:
		}
		return
	}
	s.await()
}

func (s *Server) await() {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := s.written
	select {
	case s.wake <- struct{}{}:
	default:
	}
	for s.effective < want && s.up {
		s.cond.Wait()
	}
}

// forward hands connections on to NGINX, from the same address: but none while it reads its
// configuration again, since then old and new workers answer in turn, as no key-value
// zone does.
func (s *Server) forward(listener net.Listener, to string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			s.gate.RLock()
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: client.RemoteAddr().(*net.TCPAddr).IP}}
			server, err := dialer.Dial("tcp", to)
			s.gate.RUnlock()
			if err != nil {
				return
			}
			defer server.Close()
			go io.Copy(server, client)
			io.Copy(client, server)
		}()
	}
}
