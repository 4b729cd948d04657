package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func itoa(n int) string { return strconv.Itoa(n) }

// patience bounds the wait for anything that has to happen.
const patience = 20 * time.Second

// service prepares a long-running command with all its files in a fresh
// folder that anybody may use; env comes last.
func service(t *testing.T, name string, env ...string) *exec.Cmd {
	t.Helper()
	folder, err := os.MkdirTemp("", "offpath-service-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	require.NoError(t, os.Chmod(folder, 0o777))
	c := command(name)
	c.Env = append(c.Env,
		"OFFPATH_ADMIN_SOCKET="+filepath.Join(folder, "admin.sock"), "OFFPATH_ADMIN_LISTEN=127.0.0.1:0",
		"OFFPATH_MITIGATE_PRIVATE_CLIENTS=true",
		"OFFPATH_STATE_DIR="+filepath.Join(folder, "state"), "OFFPATH_CAPTURE_WORKERS=1", "OFFPATH_CAPTURE_RING_MIB=4",
	)
	c.Env = append(c.Env, env...)
	return c
}

// setting is the value of a variable in a command's environment.
func setting(c *exec.Cmd, name string) string {
	value := ""
	for _, entry := range c.Env {
		if rest, ok := strings.CutPrefix(entry, name+"="); ok {
			value = rest
		}
	}
	return value
}

// entry is one line of the log.
type entry struct {
	Level, Message, Listen, Error string
}

// running is a service at work.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    chan entry
	exited chan struct{}
	listen string
}

// startService starts a service and waits until it is ready.
func startService(t *testing.T, c *exec.Cmd) *running {
	t.Helper()
	stderr, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	r := &running{t: t, cmd: c, log: make(chan entry, 1000), exited: make(chan struct{})}
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var e entry
			if json.Unmarshal(lines.Bytes(), &e) != nil {
				e.Message = lines.Text()
			}
			r.log <- e
		}
		c.Wait()
		close(r.exited)
	}()
	t.Cleanup(func() {
		c.Process.Kill()
		<-r.exited
	})
	r.listen = r.await("ready").Listen
	return r
}

// await waits for a line of the log that holds text.
func (r *running) await(text string) entry {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e := <-r.log:
			if strings.Contains(e.Message, text) {
				return e
			}
			r.t.Logf("log: %s %s", e.Level, e.Message)
		case <-r.exited:
			r.t.Fatalf("it ended, status %d, before it logged %q", r.cmd.ProcessState.ExitCode(), text)
		case <-timeout:
			r.t.Fatalf("it did not log %q in time", text)
		}
	}
}

// stop sends a signal and waits for the end.
func (r *running) stop(signal os.Signal) int {
	r.t.Helper()
	require.NoError(r.t, r.cmd.Process.Signal(signal))
	select {
	case <-r.exited:
	case <-time.After(patience):
		r.t.Fatal("it did not stop in time")
	}
	return r.cmd.ProcessState.ExitCode()
}

// get asks the TCP address.
func (r *running) get(path string) (int, string) {
	r.t.Helper()
	answer, err := http.Get("http://" + r.listen + path)
	require.NoError(r.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(r.t, err)
	return answer.StatusCode, string(body)
}

// do sends a request over the admin socket.
func (r *running) do(method, path, body string) (int, string) {
	r.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", setting(r.cmd, "OFFPATH_ADMIN_SOCKET"))
	}}}
	request, err := http.NewRequest(method, "http://offpath"+path, strings.NewReader(body))
	require.NoError(r.t, err)
	answer, err := client.Do(request)
	require.NoError(r.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(r.t, err)
	return answer.StatusCode, string(text)
}

// eventually waits until ok says so.
func eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	require.Eventually(t, ok, patience, 20*time.Millisecond, what)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to capture on the loopback interface")
	}
}

// site is a web server on loopback that refuses every login.
func site(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"path":"`+r.URL.Path+`"}`)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String()
}

func TestRunCapturesLiveAndStopsInGoodOrder(t *testing.T) {
	needRoot(t)
	folder := t.TempDir()
	transactions, record := filepath.Join(folder, "t.jsonl"), filepath.Join(folder, "all.pcapng")
	r := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo",
		"OFFPATH_OUTPUT_TRANSACTIONS="+transactions, "OFFPATH_CAPTURE_RECORD="+record))

	status, body := r.get("/readyz")
	assert.Equal(t, 200, status, body)
	url := site(t)
	const marker = "/made-for-this-test"
	for i := range 20 {
		answer, err := http.Get(url + marker + itoa(i))
		require.NoError(t, err)
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	assert.Equal(t, 0, r.stop(syscall.SIGTERM), "nothing in flight is lost, and the status says so")

	content, err := os.ReadFile(transactions)
	require.NoError(t, err)
	assert.Equal(t, 20, strings.Count(string(content), `"path":"`+marker), "every request, the last ones included")
	again := runReplay(t, "--transactions", "-", record)
	assert.Equal(t, 20, strings.Count(string(again), `"path":"`+marker), "the recording replays to the same")
	assert.NoFileExists(t, setting(r.cmd, "OFFPATH_ADMIN_SOCKET"))
}

func TestALiveRunRecordedAndReplayedGivesTheSameLines(t *testing.T) {
	needRoot(t)
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	r := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_CAPTURE_WORKERS=2",
		"OFFPATH_CAPTURE_RECORD="+path("all.pcapng"), "OFFPATH_OUTPUT_TRANSACTIONS="+path("t"),
		"OFFPATH_OUTPUT_FINDINGS="+path("f"), "OFFPATH_OUTPUT_VERDICTS="+path("v")))
	url := loginSite(t)
	for i := range 40 {
		user := "customer" + itoa(i)
		logIn(t, url, "127.0.1."+itoa(i+1), user, user)
	}
	for i := range 60 {
		logIn(t, url, "127.0.2."+itoa(i%2+1), "victim"+itoa(i), "guess")
	}
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))

	replayed, done := replayAll(t, "--hash-key", "file:"+filepath.Join(setting(r.cmd, "OFFPATH_STATE_DIR"), "hash.key"), path("all.pcapng"))
	assert.Equal(t, 0, done.status, done.stderr)
	live := func(name string) string {
		content, err := os.ReadFile(path(name))
		require.NoError(t, err)
		return string(content)
	}
	assert.Equal(t, live("v"), replayed.verdicts)
	assert.NotEmpty(t, replayed.verdicts)
	assert.Equal(t, live("f"), replayed.findings)
	assert.Equal(t, live("t"), replayed.transactions)
}

func TestRunGoesOnWithoutItsLoadBalancerAndSaysSo(t *testing.T) {
	needRoot(t)
	socket := filepath.Join(t.TempDir(), "haproxy.sock")
	r := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo",
		"OFFPATH_MITIGATE_TARGETS=[{name: lb1, type: haproxy, address: 'unix:"+socket+"'}]"))
	eventually(t, func() bool {
		status, body := r.get("/readyz")
		return status == 503 && strings.Contains(body, "target lb1") && strings.Contains(body, "no such file")
	}, "readiness names the target")
	status, _ := r.get("/healthz")
	assert.Equal(t, 200, status)
	_, metrics := r.get("/metrics")
	assert.Contains(t, metrics, `offpath_target_up{target="lb1"} 0`)
	assert.Contains(t, metrics, "offpath_ready 0")
	assert.Equal(t, 0, r.stop(syscall.SIGINT))
}

func TestMetricsHaveBooksThatBalance(t *testing.T) {
	needRoot(t)
	r := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo"))
	r.get("/healthz") // frames on the loopback interface
	text := ""
	eventually(t, func() bool {
		_, text = r.get("/metrics")
		return !strings.Contains(text, "\noffpath_capture_frames_total 0\n")
	}, "frames are seen")
	var frames, sum float64
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		number, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case name == "offpath_capture_frames_total":
			frames = number
		case strings.HasPrefix(name, "offpath_capture_disposition_total{"):
			sum += number
		}
	}
	assert.Positive(t, frames)
	assert.Equal(t, frames, sum)
	for _, name := range []string{
		"offpath_build_info", "offpath_queue_shed_total", "offpath_detect_transactions_total", "offpath_mitigate_active",
		"offpath_verdict_first_refusal_seconds_count", "go_goroutines", "process_resident_memory_bytes",
	} {
		assert.Contains(t, text, "\n"+name)
	}
}

func TestWhatIsBeyondARailWaitsForAPerson(t *testing.T) {
	needRoot(t)
	r := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_MITIGATE_MODE=enforce"))
	order := func(args ...string) result {
		c := command(args...)
		c.Env = append(c.Env, "OFFPATH_ADMIN_SOCKET="+setting(r.cmd, "OFFPATH_ADMIN_SOCKET"))
		return finish(t, c)
	}
	assert.Equal(t, result{}, order("approve"), "nothing waits")
	status, body := r.do("POST", "/api/v1/verdicts", `{"action":"block","subject":{"client.ip":"44.7.0.0/16"},"ttl":"10m","reason":"a test"}`)
	require.Equal(t, 422, status, body)
	said := regexp.MustCompile("verdict ([0-9a-f]{16}) waits for approval: network 44.7.0.0/16 is wider than /24; `offpath approve ([0-9a-f]{16})` puts it in force").FindStringSubmatch(body)
	require.Len(t, said, 3, body)
	id := said[1]
	_, list := r.get("/api/v1/verdicts")
	assert.JSONEq(t, `{"verdicts":[]}`, list)
	assert.Regexp(t, `"id":"`+id+`".*\n  waits since .*: network 44.7.0.0/16 is wider than /24\n`, order("approve").stdout)
	_, metrics := r.get("/metrics")
	assert.Contains(t, metrics, "\noffpath_mitigate_waiting 1\n")

	assert.Equal(t, result{stdout: "verdict " + id + " is in force\n"}, order("approve", id))
	_, list = r.get("/api/v1/verdicts")
	assert.Contains(t, list, id)
	twice := order("approve", id)
	assert.Equal(t, 1, twice.status)
	assert.Contains(t, twice.stderr, "no verdict of this id waits for approval")
	assert.Equal(t, 2, order("approve", "everything").status)
	assert.Equal(t, 2, order("approve", id, id).status)

	status, _ = r.do("POST", "/api/v1/verdicts", `{"action":"block","subject":{"client.ip":"44.0.0.0/8"},"ttl":"10m","reason":"a test"}`)
	assert.Equal(t, 422, status, "so wide a one no approval puts in force")
	assert.Empty(t, order("approve").stdout)
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
}

func TestOperatorsRuleOverTheSocket(t *testing.T) {
	needRoot(t)
	verdicts := filepath.Join(t.TempDir(), "v.jsonl")
	r := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_OUTPUT_VERDICTS="+verdicts))
	status, body := r.do("POST", "/api/v1/verdicts", `{"action":"block","subject":{"client.ip":"192.0.2.99"},"ttl":"10m","reason":"a test"}`)
	require.Equal(t, 201, status, body)
	var made struct {
		Verdict struct{ Event struct{ ID string } }
		Who     string
	}
	require.NoError(t, json.Unmarshal([]byte(body), &made))
	assert.Equal(t, "operator", made.Who)
	_, list := r.get("/api/v1/verdicts")
	assert.Contains(t, list, made.Verdict.Event.ID)

	order := func(args ...string) result {
		c := command(args...)
		c.Env = append(c.Env, "OFFPATH_ADMIN_SOCKET="+setting(r.cmd, "OFFPATH_ADMIN_SOCKET"))
		return finish(t, c)
	}
	lifted := order("lift", made.Verdict.Event.ID)
	assert.Equal(t, result{stdout: "verdict " + made.Verdict.Event.ID + " is lifted\n"}, lifted)
	_, list = r.get("/api/v1/verdicts")
	assert.JSONEq(t, `{"verdicts":[]}`, list)
	twice := order("lift", made.Verdict.Event.ID)
	assert.Equal(t, 1, twice.status)
	assert.Contains(t, twice.stderr, "no active verdict has this id")

	assert.Equal(t, 0, order("off").status)
	_, metrics := r.get("/metrics")
	assert.Contains(t, metrics, "offpath_mitigate_off 1")
	assert.Equal(t, 0, order("on").status)
	_, audit := r.get("/api/v1/audit")
	for _, what := range []string{`"what":"accepted"`, `"what":"lifted"`, `"what":"off"`, `"what":"on"`, `"who":"operator"`} {
		assert.Contains(t, audit, what)
	}
	for body, want := range map[string]string{
		`{"action":"block","subject":{},"ttl":"10m","reason":"r"}`:                            "subject is empty",
		`{"action":"block","subject":{"ip":"192.0.2.1"},"ttl":"10m","reason":"r"}`:            `subject has no member \"ip\"`,
		`{"action":"block","subject":{"client.ip":"192.0.2.1"},"ttl":"25h","reason":"r"}`:     `ttl \"25h\" is not a duration from 1s to 24h`,
		`{"action":"block","subject":{"client.ip":"192.0.2.1"},"ttl":"1h"}`:                   "reason is missing",
		`{"action":"rate_limit","subject":{"client.ip":"192.0.2.1"},"ttl":"1h","reason":"r"}`: "rate_limit needs a rate",
		`{"action":"block","subject":{"client.ip":"192.0.2.0/8"},"ttl":"1h","reason":"r"}`:    "bits set beyond",
		`{"action":"block","subject":{"client.ip":"10.0.0.0/8"},"ttl":"1h","reason":"r"}`:     "verdict refused",
	} {
		status, answer := r.do("POST", "/api/v1/verdicts", body)
		assert.Equal(t, 422, status, body)
		assert.Contains(t, answer, want)
	}
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
	content, err := os.ReadFile(verdicts)
	require.NoError(t, err)
	assert.Contains(t, string(content), `"action":"block"`)
	assert.Contains(t, string(content), `"action":"lift"`)
}

func TestAReloadAppliesWhatItCanAndKeepsTheOldOnAMistake(t *testing.T) {
	needRoot(t)
	config := save(t, "c.yaml", []byte("mitigate: {mode: monitor}\n"))
	c := service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo")
	c.Args = append(c.Args, "--config", config)
	r := startService(t, c)
	reload := func(text string) {
		require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
		require.NoError(t, r.cmd.Process.Signal(syscall.SIGHUP))
	}
	reload("mitigate: {mode: enforce}\nreassembly: {memory_mib: 64}\ndetect: {policies: [{name: account-takeover, action: none}]}\n")
	assert.Equal(t, "changed settings need a restart: reassembly.memory_mib", r.await("need a restart").Message)
	r.await("configuration read again")
	_, audit := r.get("/api/v1/audit")
	assert.Contains(t, audit, "enforce, was monitor")

	reload("detect: {as_database: " + config + "}\n")
	assert.Equal(t, "error", r.await("a database of networks could not be read again; the old ones stay in use").Level)
	reload("mitigate: {mod: off}\n")
	assert.Equal(t, "error", r.await("the old one stays in force").Level)
	status, _ := r.get("/readyz")
	assert.Equal(t, 200, status)
}

func TestTwoDoNotShareASocket(t *testing.T) {
	needRoot(t)
	first := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo"))
	second := finish(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_ADMIN_SOCKET="+setting(first.cmd, "OFFPATH_ADMIN_SOCKET")))
	assert.Equal(t, 1, second.status)
	assert.Contains(t, second.stderr, "belongs to another offpath that is running")
	status, _ := first.get("/readyz")
	assert.Equal(t, 200, status)
}
