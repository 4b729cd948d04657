package targettest

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Wait is how long anything may take that a test waits for.
const Wait = time.Minute

// SpoofedMarker is what the backend sends as X-Offpath-Refused, which only the
// load balancer may.
const SpoofedMarker = "spoofed by the backend"

// Backend answers every request and says what tag it was handed, and which header fields.
type Backend struct {
	Address string // HOST:PORT

	served atomic.Int64
}

// NewBackend starts a backend that ends with the test.
func NewBackend(t testing.TB) *Backend {
	t.Helper()
	b := &Backend{}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.Address = server.Listener.Addr().String()
	return b
}

// ServeHTTP implements [http.Handler].
func (b *Backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.served.Add(1)
	w.Header().Set("X-Offpath-Refused", SpoofedMarker)
	w.Header().Set("Seen-Verdict", r.Header.Get("X-Offpath-Verdict"))
	w.Header().Set("Seen-Names", strings.Join(slices.Sorted(maps.Keys(r.Header)), ","))
	io.WriteString(w, "ok\n")
}

// Served counts the requests that reached it.
func (b *Backend) Served() int64 { return b.served.Load() }

// Answer is what a client got.
type Answer struct {
	Status  int
	Marker  string // X-Offpath-Refused
	Tag     string // X-Offpath-Verdict, as the backend saw it
	Retry   string // Retry-After
	Elapsed time.Duration
}

// Get asks as a client with the source address from, on a connection of its
// own. Headers are name and value in turn.
func Get(t testing.TB, from, url string, headers ...string) Answer {
	t.Helper()
	answer, err := TryGet(from, url, headers...)
	require.NoError(t, err)
	return answer
}

// TryGet is Get with the error.
func TryGet(from, url string, headers ...string) (Answer, error) {
	return TryGetWithin(Wait, from, url, headers...)
}

// TryGetWithin is TryGet that waits no longer than it is told.
func TryGetWithin(wait time.Duration, from, url string, headers ...string) (Answer, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: wait}
	client := http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
		Timeout:   wait,
	}
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return Answer{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
		request.Header.Add(headers[i], headers[i+1])
	}
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return Answer{
		Status:  response.StatusCode,
		Marker:  response.Header.Get("X-Offpath-Refused"),
		Tag:     response.Header.Get("Seen-Verdict"),
		Retry:   response.Header.Get("Retry-After"),
		Elapsed: time.Since(began),
	}, err
}

// Program finds a program, also where only root looks for programs. Without it the test
// is skipped; in CI, which installs all of them, it fails.
func Program(t testing.TB, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	Absent(t, "no "+name+" on this machine")
	return ""
}

// Absent ends a test that lacks something: it is skipped, in CI it fails.
func Absent(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what + ", and CI has to test it")
	}
	t.Skip(what)
}

// Ports that tests may listen on lie below those that the kernel gives to connections
// (net.ipv4.ip_local_port_range), which would take them while a server is down.
const firstPort, lastPort = 10_000, 32_000

var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32N(lastPort - firstPort)) }

// FreePorts finds TCP ports of 127.0.0.1 that nobody listens on, and that it has not
// found before.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for tries := 0; len(ports) < n; tries++ {
		require.Less(t, tries, lastPort-firstPort, "no port is free")
		port := firstPort + int(nextPort.Add(1)%(lastPort-firstPort))
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		require.NoError(t, l.Close())
		ports = append(ports, port)
	}
	return ports
}
