package feed_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/feed"
	"offpath/mitigate/internal/targettest"
)

const token = "a token of the tests"

// lists is a target that runs, in mode enforce.
type lists struct {
	*feed.Target
	url string
}

func serve(t *testing.T) *lists {
	t.Helper()
	port := targettest.FreePorts(t, 1)[0]
	target, err := feed.New(feed.Options{Address: fmt.Sprintf("tcp:127.0.0.1:%d", port), Keys: func() ([]byte, error) { return []byte("other\n" + token + "\n"), nil }})
	require.NoError(t, err)
	run(t, target)
	return &lists{target, fmt.Sprintf("http://127.0.0.1:%d", port)}
}

func run(t *testing.T, target *feed.Target) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); target.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	_, err := target.Identity(ctx)
	require.NoError(t, err)
}

func (l *lists) hold(t *testing.T, clients ...string) {
	t.Helper()
	var entries []mitigate.Entry
	for i, c := range clients {
		entries = append(entries, mitigate.Entry{
			ID: mitigate.ID(1<<32 | uint64(i+1)), Action: detect.ActionBlock, Subject: detect.Subject{Client: targettest.Network(c)}, Expires: time.Now().Add(time.Hour).Unix(),
		})
	}
	_, err := l.Sync(t.Context(), entries)
	require.NoError(t, err)
	require.NoError(t, l.SetMode(t.Context(), detect.ModeEnforce, false))
}

// get fetches; headers are name and value in turn.
func (l *lists) get(t *testing.T, path string, headers ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest("GET", l.url+path, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	before := fetches(l.Target)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	if answer.StatusCode < 400 {
		targettest.Eventually(t, func() bool { return fetches(l.Target) > before }, func() string { return "noted" })
	}
	return answer.StatusCode, answer.Header, string(text)
}

func fetches(target *feed.Target) (n uint64) {
	for _, c := range target.Fetching().Consumers {
		n += c.Fetches
	}
	return n
}

func TestEachFormIsTheListTheNewestFirst(t *testing.T) {
	l := serve(t)
	l.hold(t, "192.0.2.1", "198.51.100.0/24", "2001:db8::1")
	for path, want := range map[string]string{
		"/plain":                  "2001:db8::1/128\n198.51.100.0/24\n192.0.2.1/32\n",
		"/edl":                    "2001:db8::1\n198.51.100.0/24\n192.0.2.1\n",
		"/f5":                     "2001:db8::1,128,BL,offpath\n198.51.100.0,24,BL,offpath\n192.0.2.1,32,BL,offpath\n",
		"/f5?category=scanners":   "2001:db8::1,128,BL,scanners\n198.51.100.0,24,BL,scanners\n192.0.2.1,32,BL,scanners\n",
		"/edl?family=4":           "198.51.100.0/24\n192.0.2.1\n",
		"/edl?family=6":           "2001:db8::1\n",
		"/edl?lines=2":            "2001:db8::1\n198.51.100.0/24\n",
		"/edl?lines=2&page=2":     "192.0.2.1\n",
		"/edl?lines=2&page=3":     "",
		"/plain?family=4&lines=1": "198.51.100.0/24\n",
		"/plain?lines=9&family=6": "2001:db8::1/128\n",
	} {
		status, header, text := l.get(t, path)
		assert.Equal(t, 200, status, path)
		assert.Equal(t, want, text, path)
		assert.Equal(t, "text/plain; charset=utf-8", header.Get("Content-Type"))
	}
	for _, path := range []string{"/edl?line=2", "/edl?lines=0", "/edl?lines=x", "/edl?page=2", "/edl?family=5", "/edl?category=a", "/f5?category=a,b", "/f5?category=a%0ab", "/edl?lines=1&lines=2", "/edl?" + strings.Repeat("a", 300)} {
		status, _, _ := l.get(t, path)
		assert.Equal(t, 400, status, path)
	}
	status, _, _ := l.get(t, "/other")
	assert.Equal(t, 404, status)
}

func TestWhoHasTheListIsToldThatItIsTheSame(t *testing.T) {
	l := serve(t)
	l.hold(t, "192.0.2.1")
	var many []string
	for i := range 500 {
		many = append(many, fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
	}
	l.hold(t, many...)
	_, header, text := l.get(t, "/plain")
	tag := header.Get("ETag")
	assert.NotEmpty(t, tag)
	assert.Empty(t, header.Get("Last-Modified"), "within the second of a change, a time says nothing")
	for _, encoding := range []string{"gzip", "identity"} {
		status, header, body := l.get(t, "/plain", "If-None-Match", tag, "Accept-Encoding", encoding)
		assert.Equal(t, 304, status, encoding)
		assert.Empty(t, body)
		assert.Equal(t, tag, header.Get("ETag"))
	}
	status, header, body := l.get(t, "/plain", "Accept-Encoding", "gzip", "Range", "bytes=0-9")
	assert.Equal(t, 200, status, "never a part")
	assert.Equal(t, "gzip", header.Get("Content-Encoding"))
	assert.Equal(t, fmt.Sprint(len(body)), header.Get("Content-Length"))
	assert.Less(t, len(body), len(text))

	time.Sleep(1100 * time.Millisecond)
	_, header, _ = l.get(t, "/plain")
	modified := header.Get("Last-Modified")
	require.NotEmpty(t, modified)
	status, _, _ = l.get(t, "/plain", "If-Modified-Since", modified)
	assert.Equal(t, 304, status)
	l.hold(t, many[1:]...)
	status, _, text = l.get(t, "/plain", "If-Modified-Since", modified, "If-None-Match", tag)
	assert.Equal(t, 200, status)
	assert.Equal(t, 499, strings.Count(text, "\n"))
}

func TestTheListIsEmptyInOtherModesAndNotThereUntilItIsKnown(t *testing.T) {
	l := serve(t)
	status, _, _ := l.get(t, "/plain")
	assert.Equal(t, 503, status)
	l.hold(t, "192.0.2.1")
	for _, mode := range []detect.Mode{detect.ModeMonitor, detect.ModeOff} {
		require.NoError(t, l.SetMode(t.Context(), mode, false))
		status, _, text := l.get(t, "/plain")
		assert.Equal(t, 200, status)
		assert.Empty(t, text, mode)
	}
	require.NoError(t, l.SetMode(t.Context(), detect.ModeEnforce, false))
	_, _, text := l.get(t, "/plain")
	assert.Equal(t, "192.0.2.1/32\n", text)
}

func TestTheKeyIsABearerTokenAPasswordOrInAHeader(t *testing.T) {
	l := serve(t)
	l.hold(t)
	for _, tt := range []struct {
		name   string
		set    func(r *http.Request)
		status int
	}{
		{"a bearer token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }, 200},
		{"a password", func(r *http.Request) { r.SetBasicAuth("anybody", token) }, 200},
		{"X-Api-Key", func(r *http.Request) { r.Header.Set("X-Api-Key", "other") }, 200},
		{"none", func(*http.Request) {}, 401},
		{"a wrong password", func(r *http.Request) { r.SetBasicAuth(token, "x") }, 401},
		{"both keys as one", func(r *http.Request) { r.Header.Set("X-Api-Key", "other\n"+token) }, 0},
	} {
		r, err := http.NewRequest("GET", l.url+"/plain", nil)
		require.NoError(t, err)
		tt.set(r)
		answer, err := http.DefaultClient.Do(r)
		if tt.status == 0 {
			assert.Error(t, err)
			continue
		}
		require.NoError(t, err)
		answer.Body.Close()
		assert.Equal(t, tt.status, answer.StatusCode, tt.name)
	}
}

func TestAConsumerWithLessRoomLacksTheRest(t *testing.T) {
	l := serve(t)
	l.hold(t, "192.0.2.1", "192.0.2.2", "192.0.2.3")
	l.get(t, "/plain?lines=2")
	l.get(t, "/plain?lines=2")
	assert.Equal(t, 1, l.Fetching().Consumers[0].Behind)
	assert.Equal(t, "published; 1 of 1 consumers have not fetched it", l.Unfetched(1<<32|1), "the oldest")
	assert.Empty(t, l.Unfetched(1<<32|3))
	l.get(t, "/plain?lines=2&page=2")
	assert.Empty(t, l.Unfetched(1<<32|1))
}

func TestTwoListsByFamilyAreOneConsumer(t *testing.T) {
	l := serve(t)
	l.hold(t, "192.0.2.1", "2001:db8::1")
	l.get(t, "/plain?family=4")
	assert.Equal(t, 1, l.Fetching().Behind)
	l.get(t, "/plain?family=6")
	f := l.Fetching()
	assert.Len(t, f.Consumers, 1)
	assert.Equal(t, 0, f.Behind)
}

func TestCurlFetchesOverTLSAndOverASocket(t *testing.T) {
	curl := targettest.Program(t, "curl")
	openssl := targettest.Program(t, "openssl")
	folder := t.TempDir()
	cert, key := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	out, err := exec.Command(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
		"-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1").CombinedOutput()
	require.NoError(t, err, string(out))
	port := targettest.FreePorts(t, 1)[0]
	keys := func() ([]byte, error) { return []byte(token), nil }
	secure, err := feed.New(feed.Options{Address: fmt.Sprintf("tcp:127.0.0.1:%d", port), Keys: keys, Certificate: cert, Key: func() ([]byte, error) { return os.ReadFile(key) }})
	require.NoError(t, err)
	socket := filepath.Join(folder, "feed.sock")
	local, err := feed.New(feed.Options{Address: "unix:" + socket, Keys: keys})
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		target *feed.Target
		args   []string
	}{
		"TLS":      {secure, []string{"--cacert", cert, "-u", "fw:" + token, fmt.Sprintf("https://127.0.0.1:%d/edl", port)}},
		"a socket": {local, []string{"--unix-socket", socket, "-H", "Authorization: Bearer " + token, "http://localhost/edl"}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, tt.target)
			(&lists{tt.target, ""}).hold(t, "192.0.2.1")
			out, err := exec.Command(curl, append([]string{"-sS", "--fail", "--compressed", "--max-time", "10"}, tt.args...)...).CombinedOutput()
			require.NoError(t, err, string(out))
			assert.Equal(t, "192.0.2.1\n", string(out))
			text, err := tt.target.Look(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "feed, 1 listed, 1 consumers", text)
		})
	}
}

func TestSetupNamesTheURLs(t *testing.T) {
	c, err := feed.Setup{}.Render()
	require.NoError(t, err)
	assert.Contains(t, c.Guide, "http://127.0.0.1:9322/edl ")
}
