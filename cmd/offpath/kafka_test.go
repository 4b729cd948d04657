package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/stream/kafkatest"
)

// loginSite is a bank on loopback where the password is the name of the user.
func loginSite(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var given struct{ Username, Password string }
		json.NewDecoder(r.Body).Decode(&given)
		w.Header().Set("Content-Type", "application/json")
		if given.Username == "" || given.Username != given.Password {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":"invalid_credentials"}`)
			return
		}
		fmt.Fprintf(w, `{"access_token":"token-of-%s-0123456789abcdef"}`, given.Username)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String() + "/api/login"
}

// logIn makes one login attempt from an address of the loopback network.
func logIn(t *testing.T, url, from, user, password string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
	}}
	answer, err := client.Post(url, "application/json", strings.NewReader(fmt.Sprintf(`{"username":%q,"password":%q}`, user, password)))
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	answer.Body.Close()
}

// subjects are the addresses that verdicts of a file are about.
func subjects(t *testing.T, path string) map[string]bool {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	found := map[string]bool{}
	for line := range strings.Lines(string(content)) {
		var v struct {
			Offpath struct {
				Subject struct{ Client struct{ IP string } }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(line), &v))
		found[v.Offpath.Subject.Client.IP] = true
	}
	return found
}

func TestSensorAndDetectionJoinedByKafkaDecideLikeOneProcess(t *testing.T) {
	needRoot(t)
	broker := kafkatest.Start(t)
	folder := t.TempDir()
	apart, together := filepath.Join(folder, "apart.jsonl"), filepath.Join(folder, "together.jsonl")
	url := loginSite(t)

	detect := startService(t, service(t, "detect", "OFFPATH_STREAM_BROKERS="+broker, "OFFPATH_OUTPUT_VERDICTS="+apart))
	sensor := startService(t, service(t, "sensor", "OFFPATH_STREAM_BROKERS="+broker, "OFFPATH_CAPTURE_INTERFACES=lo"))
	whole := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_OUTPUT_VERDICTS="+together))
	for i := range 40 {
		user := fmt.Sprintf("customer%d", i)
		logIn(t, url, fmt.Sprintf("127.0.1.%d", i+1), user, user)
	}
	for i := range 60 {
		logIn(t, url, "127.0.2.1", fmt.Sprintf("victim%d", i), "guess")
	}

	eventually(t, func() bool { return len(subjects(t, together)) > 0 && len(subjects(t, apart)) > 0 }, "verdicts of both")
	eventually(t, func() bool {
		a, _, _ := logins(t, detect)
		b, _, _ := logins(t, whole)
		return a == 100 && b == 100
	}, "the site maps of both")
	status, text := sensor.do("GET", "/api/v1/sitemap", "")
	assert.Equal(t, 409, status)
	assert.Contains(t, text, "it is a sensor alone")
	for _, r := range []*running{sensor, detect, whole} {
		assert.Equal(t, 0, r.stop(syscall.SIGTERM))
	}
	assert.Equal(t, map[string]bool{"127.0.2.1": true}, subjects(t, together))
	assert.Equal(t, subjects(t, together), subjects(t, apart))
}
