package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/stream/kafkatest"
)

// tries makes login attempts of a program, each from an address and at an account
// of its own.
func tries(t *testing.T, url, program string, network, from, to int, right bool) {
	t.Helper()
	for i := from; i < to; i++ {
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(network), byte(i), 1)}}).DialContext,
		}}
		user := fmt.Sprint("user", network, "-", i)
		password := user
		if !right {
			password = fmt.Sprint("leaked", i)
		}
		request, err := http.NewRequest("POST", url, strings.NewReader(fmt.Sprintf(`{"username":%q,"password":%q}`, user, password)))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("User-Agent", program)
		answer, err := client.Do(request)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, answer.Body)
		require.NoError(t, err)
		answer.Body.Close()
	}
}

// again is the same service once more, with all its files.
func again(t *testing.T, c *exec.Cmd) *running {
	t.Helper()
	next := command(c.Args[1:]...)
	next.Env = c.Env
	return startService(t, next)
}

// idsOf are the different ids in a file of findings or verdicts that hold a text.
func idsOf(t *testing.T, path, text string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	var ids []string
	known := map[string]bool{}
	for line := range strings.Lines(string(content)) {
		var l struct{ Event struct{ ID string } }
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		if strings.Contains(line, text) && !known[l.Event.ID] {
			known[l.Event.ID] = true
			ids = append(ids, l.Event.ID)
		}
	}
	return ids
}

// attempts is how many the last line of findings says of its campaign.
func attempts(t *testing.T, path string) int {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	var l struct {
		Offpath struct{ Campaign struct{ Attempts int } }
	}
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &l))
	return l.Offpath.Campaign.Attempts
}

func TestARestartInTheMiddleOfACampaignNeitherForgetsNorDoublesIt(t *testing.T) {
	needRoot(t)
	folder := t.TempDir()
	findings, verdicts := filepath.Join(folder, "f"), filepath.Join(folder, "v")
	c := service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_OUTPUT_FINDINGS="+findings, "OFFPATH_OUTPUT_VERDICTS="+verdicts, "OFFPATH_STATE_EVERY=10s", "OFFPATH_DETECT_VERDICT_TTL=40s")
	r := startService(t, c)
	url := loginSite(t)
	const campaign, block = `"kind":"campaign"`, `"action":"block"`
	tries(t, url, "App/1", 1, 0, 250, true)
	tries(t, url, "Tool/1", 2, 0, 60, false)
	eventually(t, func() bool { return len(idsOf(t, findings, campaign)) > 0 }, "a campaign")
	state := filepath.Join(setting(c, "OFFPATH_STATE_DIR"), "detection.state")
	eventually(t, func() bool {
		_, err := os.Stat(state)
		return err == nil
	}, "the state on the disk")
	_, ready := r.get("/readyz")
	assert.NotContains(t, ready, "restored")
	_, metrics := r.get("/metrics")
	for _, name := range []string{"offpath_state_age_seconds", "offpath_state_bytes", "offpath_state_pause_seconds", "offpath_state_errors_total 0"} {
		assert.Contains(t, metrics, "\n"+name)
	}
	require.NoError(t, r.cmd.Process.Kill())
	<-r.exited

	r = again(t, c)
	tries(t, url, "App/1", 1, 0, 250, true) // enough for an engine that knows nothing to find another one
	next := 60
	eventually(t, func() bool {
		tries(t, url, "Tool/1", 2, next, next+5, false)
		next += 5
		return attempts(t, findings) > 60
	}, "more attempts of the same campaign than were made since the restart")
	assert.Greater(t, attempts(t, findings), next-60)
	_, metrics = r.get("/metrics")
	assert.Contains(t, metrics, "\noffpath_state_restored_timestamp_seconds")
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
	assert.Len(t, idsOf(t, findings, campaign), 1, "it goes on under its id")
	assert.Len(t, idsOf(t, verdicts, block), 1, "and so does its verdict")

	r = again(t, c) // after an orderly stop nothing is missing at all
	_, ready = r.get("/readyz")
	assert.Contains(t, ready, `"restored":"20`)
	tries(t, url, "Tool/1", 2, next, next+10, false)
	_, list := r.get("/api/v1/verdicts")
	assert.Contains(t, list, idsOf(t, verdicts, block)[0])
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
	assert.Len(t, idsOf(t, findings, campaign), 1)
	assert.Len(t, idsOf(t, verdicts, block), 1)
}

func TestAStateThatCannotBeUsedIsSetAside(t *testing.T) {
	needRoot(t)
	c := service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo")
	r := startService(t, c)
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
	dir := setting(c, "OFFPATH_STATE_DIR")
	state := filepath.Join(dir, "detection.state")
	whole, err := os.ReadFile(state)
	require.NoError(t, err)

	for _, broken := range []struct {
		name, want, reason string
		content            []byte
		key                string
	}{
		{"damaged", "the file is damaged", "damaged", bytes.Repeat([]byte{0xff}, 100), ""},
		{"cut short", "the file is damaged", "damaged", whole[:len(whole)/2], ""},
		{"of another key", "the site key has changed", "other-key", whole, "another-key-of-the-site"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(state, broken.content, 0o600))
			next := command("run")
			next.Env = c.Env
			if broken.key != "" {
				next.Env = append(next.Env, "OFFPATH_HASH_KEY=env:SITE_KEY", "SITE_KEY="+broken.key)
			}
			var said bytes.Buffer
			stderr, err := next.StderrPipe()
			require.NoError(t, err)
			require.NoError(t, next.Start())
			ended := make(chan struct{})
			go func() {
				io.Copy(&said, stderr)
				next.Wait()
				close(ended)
			}()
			aside, err := []byte(nil), error(nil)
			eventually(t, func() bool {
				found, _ := filepath.Glob(state + "." + broken.reason + "*")
				for _, path := range found {
					if aside, err = os.ReadFile(path); err == nil && bytes.Equal(aside, broken.content) {
						return true
					}
				}
				return false
			}, "it is set aside")
			next.Process.Signal(syscall.SIGTERM)
			<-ended
			assert.Equal(t, 0, next.ProcessState.ExitCode(), said.String())
			assert.Equal(t, 1, strings.Count(said.String(), broken.want), said.String())
			assert.FileExists(t, state, "and it begins anew")
		})
	}
	require.NoError(t, os.WriteFile(state, whole, 0o600))
	r = again(t, c)
	status, body := r.get("/readyz")
	assert.Equal(t, 200, status, body)
}

func TestDetectionThatIsKilledReadsAgainWhatItsStateLacks(t *testing.T) {
	needRoot(t)
	broker := kafkatest.Start(t)
	verdicts := filepath.Join(t.TempDir(), "v")
	c := service(t, "detect", "OFFPATH_STREAM_BROKERS="+broker, "OFFPATH_OUTPUT_VERDICTS="+verdicts, "OFFPATH_STATE_EVERY=10s")
	r := startService(t, c)
	sensor := startService(t, service(t, "sensor", "OFFPATH_STREAM_BROKERS="+broker, "OFFPATH_CAPTURE_INTERFACES=lo"))
	url := loginSite(t)
	fail := func(from string, first, last int) {
		for i := first; i < last; i++ {
			logIn(t, url, from, fmt.Sprint("victim", i), "guess")
		}
	}
	for i := range 100 {
		user := fmt.Sprintf("customer%d", i)
		logIn(t, url, fmt.Sprintf("127.0.1.%d", i+1), user, user)
	}
	fail("127.0.2.1", 0, 20)
	eventually(t, func() bool { return subjects(t, verdicts)["127.0.2.1"] }, "a verdict")
	state := filepath.Join(setting(c, "OFFPATH_STATE_DIR"), "detection.state")
	eventually(t, func() bool {
		_, err := os.Stat(state)
		return err == nil
	}, "the state on the disk")
	fail("127.0.3.1", 100, 104) // too few to convict, and no snapshot knows of them
	eventually(t, func() bool {
		_, metrics := r.get("/metrics")
		for line := range strings.Lines(metrics) {
			if rest, ok := strings.CutPrefix(line, `offpath_detect_logins_total{outcome="rejected"} `); ok {
				n, err := strconv.Atoi(strings.TrimSpace(rest))
				return err == nil && n >= 24
			}
		}
		return false
	}, "they are detected")
	require.NoError(t, r.cmd.Process.Kill())
	<-r.exited

	r = again(t, c)
	fail("127.0.3.1", 104, 108)
	require.Eventually(t, func() bool { return subjects(t, verdicts)["127.0.3.1"] }, 3*patience, patience/100, "those of before and after together convict")
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
	assert.Equal(t, 0, sensor.stop(syscall.SIGTERM))
	assert.Len(t, idsOf(t, verdicts, "127.0.2.1"), 1)
	assert.Len(t, idsOf(t, verdicts, "127.0.3.1"), 1)
}
