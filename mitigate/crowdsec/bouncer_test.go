package crowdsec_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate"
	"offpath/mitigate/crowdsec"
	"offpath/mitigate/internal/targettest"
)

// pipe names, in the environment, the socket that this program, called by a bouncer,
// hands its input on to.
const pipe = "OFFPATH_TEST_PIPE"

const apiKey = "a key of the tests"

func TestMain(m *testing.M) {
	path := os.Getenv(pipe)
	if path == "" {
		os.Exit(m.Run())
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_, err = io.Copy(c, os.Stdin)
	}
	if err != nil {
		os.Exit(1)
	}
}

// newTarget is a target on a port of the loopback.
func newTarget(t testing.TB, port int, journal string) *crowdsec.Target {
	t.Helper()
	target, err := crowdsec.New(crowdsec.Options{
		Name: "bouncers", Address: fmt.Sprintf("tcp:127.0.0.1:%d", port), Journal: journal,
		Keys: func() ([]byte, error) { return []byte(apiKey + "\n"), nil },
	})
	require.NoError(t, err)
	return target
}

// startCustom starts crowdsec-custom-bouncer and the program that it is there for: one that
// refuses clients in front of a backend.
func startCustom(t testing.TB) *targettest.Balancer {
	t.Helper()
	program := targettest.Program(t, "crowdsec-custom-bouncer")
	port := targettest.FreePorts(t, 1)[0]
	folder := t.TempDir()
	backend := targettest.NewBackend(t)
	b := &targettest.Balancer{
		Backend: backend,
		Target:  func(t testing.TB) mitigate.Target { return newTarget(t, port, filepath.Join(folder, "published")) },
	}
	w := &wall{bans: make(map[netip.Prefix]ban)}
	b.URL = w.serve(t, backend.Address)
	feed := filepath.Join(folder, "feed")
	l, err := net.Listen("unix", feed)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go w.take(l)
	own, err := os.Executable()
	require.NoError(t, err)
	config := filepath.Join(folder, "bouncer.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `bin_path: %s
feed_via_stdin: true
total_retries: -1
scenarios_containing: []
scenarios_not_containing: []
origins: []
piddir: %s
update_frequency: 1s
cache_retention_duration: 1ms
daemonize: false
log_mode: stdout
log_level: warning
api_url: http://127.0.0.1:%d/
api_key: %s
prometheus:
  enabled: false
`, own, folder, port, apiKey), 0o600))
	b.Up, b.Down = supervise(t, func() *exec.Cmd {
		c := exec.Command(program, "-c", config)
		c.Env = append(os.Environ(), pipe+"="+feed)
		return c
	})
	b.Up()
	return b
}

// supervise runs a program from up to down, again when it ended, as systemd does with a
// bouncer that found no Local API.
func supervise(t testing.TB, command func() *exec.Cmd) (up, down func()) {
	var quit chan struct{}
	var done sync.WaitGroup
	up = func() {
		q := make(chan struct{})
		quit = q
		done.Go(func() { keep(t, command, q) })
	}
	down = func() {
		if quit != nil {
			close(quit)
			quit = nil
			done.Wait()
		}
	}
	t.Cleanup(down)
	return up, down
}

func keep(t testing.TB, command func() *exec.Cmd, quit <-chan struct{}) {
	for {
		c := command()
		var output strings.Builder
		c.Stdout, c.Stderr = &output, &output
		c.WaitDelay = time.Second // what it started has its output, too
		if err := c.Start(); err != nil {
			t.Errorf("start %s: %v", c.Path, err)
			return
		}
		ended := make(chan struct{})
		go func() { c.Wait(); close(ended) }()
		select {
		case <-quit:
			c.Process.Kill()
			<-ended
			if t.Failed() {
				t.Logf("%s said: %s", filepath.Base(c.Path), output.String())
			}
			return
		case <-ended:
		}
		select {
		case <-quit:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// wall refuses whom it was told to, as the scripts do that people write for
// crowdsec-custom-bouncer: by value, until a duration is over.
type wall struct {
	mu   sync.Mutex
	bans map[netip.Prefix]ban
}

type ban struct {
	id    string
	until time.Time
}

// take reads what bouncers hand on. One that begins anew begins with nothing.
func (w *wall) take(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for lines := bufio.NewScanner(c); lines.Scan(); {
				w.line(lines.Bytes())
			}
		}()
	}
}

func (w *wall) line(text []byte) {
	var d struct{ Duration, Scenario, Value, Type, Action string }
	if json.Unmarshal(text, &d) != nil || d.Type != "ban" {
		panic("the bouncer handed on " + string(text))
	}
	left, err := time.ParseDuration(d.Duration)
	if err != nil {
		panic(err)
	}
	_, id, _ := strings.Cut(d.Scenario, "-")
	client := targettest.Network(d.Value)
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.Action == "add" {
		w.bans[client] = ban{id, time.Now().Add(left)}
	} else {
		delete(w.bans, client)
	}
}

// refuses says by which verdict a client is refused: that of the smallest network.
func (w *wall) refuses(a netip.Addr) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for bits := a.BitLen(); bits >= 0; bits-- {
		if b, ok := w.bans[netip.PrefixFrom(a, bits).Masked()]; ok && time.Now().Before(b.until) {
			return b.id
		}
	}
	return ""
}

func (w *wall) serve(t testing.TB, backend string) string {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: backend})
	proxy.ModifyResponse = func(r *http.Response) error { r.Header.Del("X-Offpath-Refused"); return nil }
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.Header.Del("X-Offpath-Verdict")
		client := netip.MustParseAddrPort(r.RemoteAddr).Addr()
		if named := r.Header.Get("X-Forwarded-For"); named != "" && client.String() == targettest.Proxy {
			client = netip.MustParseAddr(named)
		}
		if id := w.refuses(client); id != "" {
			rw.Header().Set("X-Offpath-Refused", id)
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(rw, r)
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String()
}

func TestConformsWithCustomBouncer(t *testing.T) {
	targettest.Conform(t, targettest.Traits{Networks: true, Expires: true}, startCustom)
}
