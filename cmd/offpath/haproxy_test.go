package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// balancer is a real HAProxy in front of a site, configured by what
// `offpath target-config` prints.
type balancer struct {
	t      *testing.T
	folder string // of its socket and files
	config string
	url    string
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// newBalancer prepares an HAProxy that is not started yet.
func newBalancer(t *testing.T, site string, offpath ...string) *balancer {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip("needs haproxy")
	}
	b := &balancer{t: t, folder: t.TempDir()}
	c := command("target-config", "lb1")
	c.Env = append(append(c.Env, b.setting()), offpath...)
	printed := finish(t, c)
	require.Equal(t, 0, printed.status, printed.stderr)
	text := strings.ReplaceAll(printed.stdout, "127.0.0.1:10077", "127.0.0.1:"+freePort(t))
	_, text, _ = strings.Cut(text, "# ===== part 1")
	global, text, _ := strings.Cut(text, "# ===== part 2")
	sections, text, _ := strings.Cut(text, "# ===== part 3")
	rules, script, found := strings.Cut(text, "# ===== part 4")
	require.True(t, found)
	body := func(part string) string { _, rest, _ := strings.Cut(part, "\n"); return rest }

	for _, name := range []string{"allow.map", "allow-live.map", "networks.map"} {
		require.NoError(t, os.WriteFile(filepath.Join(b.folder, name), nil, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(b.folder, "offpath.lua"), []byte(body(script)), 0o600))
	backend, err := url.Parse(site)
	require.NoError(t, err)
	port := freePort(t)
	b.url = "http://127.0.0.1:" + port + backend.Path
	b.config = filepath.Join(b.folder, "haproxy.cfg")
	require.NoError(t, os.WriteFile(b.config, []byte(fmt.Sprintf(`global
%s
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
%s
frontend bank
    bind 127.0.0.1:%s
%s
    option forwardfor
    default_backend bank_api
backend bank_api
    server api %s
`, body(global), body(sections), port, body(rules), backend.Host)), 0o600))
	return b
}

// setting names this load balancer to offpath.
func (b *balancer) setting() string {
	return fmt.Sprintf("OFFPATH_MITIGATE_TARGETS=[{name: lb1, type: haproxy, address: 'unix:%s/admin.sock', map_dir: '%s'}]", b.folder, b.folder)
}

// start starts HAProxy and waits until it answers. It returns what ends it.
func (b *balancer) start() (stop func()) {
	b.t.Helper()
	var complaints strings.Builder
	c := exec.Command("haproxy", "-db", "-f", b.config)
	c.Stderr = &complaints
	require.NoError(b.t, c.Start())
	stop = sync.OnceFunc(func() {
		c.Process.Kill()
		c.Wait()
	})
	b.t.Cleanup(stop)
	address := strings.TrimPrefix(b.url, "http://")
	address, _, _ = strings.Cut(address, "/")
	eventually(b.t, func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}, "haproxy listens: "+complaints.String())
	return stop
}

// ask makes a login attempt from an address and returns the status.
func ask(t *testing.T, url, from string) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
	}}
	answer, err := client.Post(url, "application/json", strings.NewReader(`{"username":"somebody","password":"guess"}`))
	require.NoError(t, err)
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	return answer.StatusCode
}

func TestAnAttackerIsRefusedOnceTheLoadBalancerIsThere(t *testing.T) {
	needRoot(t)
	const attacker, customer, proxy = "127.0.2.1", "127.0.1.1", "OFFPATH_CLIENT_TRUSTED_PROXIES=127.0.0.1"
	site := loginSite(t)
	b := newBalancer(t, site, proxy)
	r := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_MITIGATE_MODE=enforce", proxy, b.setting()))

	// The load balancer is down: what it will refuse is decided all the same.
	for i := range 40 {
		user := fmt.Sprintf("customer%d", i)
		logIn(t, site, fmt.Sprintf("127.0.1.%d", i+1), user, user)
	}
	for i := range 60 {
		logIn(t, site, attacker, fmt.Sprintf("victim%d", i), "guess")
	}
	var list struct {
		Verdicts []struct {
			Verdict struct {
				Event   struct{ ID string }
				Offpath struct {
					Subject struct{ Client struct{ IP string } }
				}
			}
			Enforcement struct {
				State   string
				Refused int
			}
			Targets []struct{ State string }
		}
	}
	load := func() bool {
		_, body := r.get("/api/v1/verdicts")
		require.NoError(t, json.Unmarshal([]byte(body), &list))
		return len(list.Verdicts) == 1
	}
	eventually(t, load, "one verdict")
	assert.Equal(t, attacker, list.Verdicts[0].Verdict.Offpath.Subject.Client.IP)
	assert.Equal(t, "pending", list.Verdicts[0].Targets[0].State)
	status, body := r.get("/readyz")
	assert.Equal(t, 503, status, body)

	stop := b.start()
	r.await("lb1 is reachable")
	eventually(t, func() bool { status, _ := r.get("/readyz"); return status == 200 }, "ready once the load balancer is there")
	eventually(t, func() bool { return ask(t, b.url, attacker) == 403 }, "the attacker is refused")
	assert.Equal(t, 401, ask(t, b.url, customer), "others are not")
	eventually(t, func() bool { return load() && list.Verdicts[0].Enforcement.Refused > 0 }, "the refusal is seen on the wire")
	assert.Equal(t, "refused", list.Verdicts[0].Enforcement.State)
	assert.Equal(t, "in_force", list.Verdicts[0].Targets[0].State)
	eventually(t, func() bool {
		_, metrics := r.get("/metrics")
		return strings.Contains(metrics, "\noffpath_verdict_first_refusal_seconds_count 1\n")
	}, "the time to it is measured")

	stop()
	assert.Regexp(t, "connection (refused|reset)", r.await("lb1 is unreachable").Error)
	b.start()
	r.await("lb1 is reachable")
	eventually(t, func() bool { return ask(t, b.url, attacker) == 403 }, "a load balancer that comes back refuses as before")

	order := func(args ...string) {
		c := command(args...)
		c.Env = append(c.Env, "OFFPATH_ADMIN_SOCKET="+setting(r.cmd, "OFFPATH_ADMIN_SOCKET"))
		done := finish(t, c)
		require.Equal(t, 0, done.status, done.stderr)
	}
	order("off")
	eventually(t, func() bool { return ask(t, b.url, attacker) == 401 }, "off lets everybody through")
	order("on")
	eventually(t, func() bool { return ask(t, b.url, attacker) == 403 }, "on refuses again")
	order("lift", list.Verdicts[0].Verdict.Event.ID)
	eventually(t, func() bool { return ask(t, b.url, attacker) == 401 }, "lift ends it")
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
}

func TestALoadBalancerThatTakesVerdictsAndDoesNothingRaisesAnAlarm(t *testing.T) {
	needRoot(t)
	const attacker, proxy = "127.0.2.1", "OFFPATH_CLIENT_TRUSTED_PROXIES=127.0.0.1"
	site := loginSite(t)
	b := newBalancer(t, site, proxy)
	text, err := os.ReadFile(b.config)
	require.NoError(t, err)
	port := freePort(t)
	forgotten := "frontend forgotten\n    bind 127.0.0.1:" + port + "\n    option forwardfor\n    default_backend bank_api\n"
	require.NoError(t, os.WriteFile(b.config, append(text, forgotten...), 0o600), "its rules were never put there")
	away := "http://127.0.0.1:" + port + "/api/login"
	b.start()
	r := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_MITIGATE_MODE=enforce", proxy, b.setting()))
	r.await("lb1 is reachable")
	for i := range 40 {
		user := fmt.Sprintf("customer%d", i)
		logIn(t, site, fmt.Sprintf("127.0.1.%d", i+1), user, user)
	}
	n := 0
	alarm := func() bool {
		for range 10 {
			logIn(t, away, attacker, fmt.Sprintf("victim%d", n), "guess")
			n++
		}
		_, findings := r.get("/api/v1/findings")
		return strings.Contains(findings, "verdict_not_enforced")
	}
	eventually(t, alarm, "the alarm")
	_, findings := r.get("/api/v1/findings")
	assert.Regexp(t, `Verdict [0-9a-f]{16} is not enforced: requests of 127\.0\.2\.1 are still answered, \d+ within \d+ s\. It is confirmed by lb1: see that the rules that .offpath target-config. prints come first in every frontend`, findings)
	status, body := r.get("/readyz")
	assert.Equal(t, 503, status)
	assert.Contains(t, body, "1 verdict is not enforced on the wire")
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
}

func TestCheckSaysWhetherTheLoadBalancerIsPrepared(t *testing.T) {
	b := newBalancer(t, "http://127.0.0.1:1/login")
	b.start()
	check := func(setting string) result {
		c := command("check")
		c.Env = append(c.Env, setting, "OFFPATH_STATE_DIR="+t.TempDir())
		return finish(t, c)
	}
	good := check(b.setting())
	assert.Equal(t, 0, good.status, good.stdout+good.stderr)
	assert.Regexp(t, `(?m)^ok +target lb1 +haproxy [0-9.]+.*, mode there: off`, good.stdout)
	elsewhere := check(strings.Replace(b.setting(), "map_dir: '"+b.folder, "map_dir: '/srv/maps", 1))
	assert.Equal(t, 1, elsewhere.status)
	assert.Regexp(t, `(?m)^FAILED  target lb1 +load balancer is not prepared: .*no map /srv/maps/networks.map, but `+b.folder, elsewhere.stdout)
}

func TestAReplaySendsItsVerdictsOnlyWhenAskedTo(t *testing.T) {
	const proxy = "OFFPATH_CLIENT_TRUSTED_PROXIES=127.0.0.1"
	b := newBalancer(t, loginSite(t), proxy)
	b.start()
	capture := attack(t).save("attack.pcapng")
	status := func(client string) int {
		request, err := http.NewRequest(http.MethodGet, b.url, nil)
		require.NoError(t, err)
		request.Header.Set("X-Forwarded-For", client)
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		answer.Body.Close()
		return answer.StatusCode
	}
	replay := func(args ...string) {
		c := service(t, "replay", "OFFPATH_MITIGATE_MODE=enforce", proxy, b.setting())
		c.Args = append(c.Args, args...)
		done := finish(t, c)
		require.Equal(t, 0, done.status, done.stderr)
	}
	replay("--verdicts", "-", capture)
	assert.Equal(t, 401, status("192.0.2.1"))
	replay("--mitigate", "--verdicts", "-", capture)
	assert.Equal(t, 403, status("192.0.2.1"))
	assert.Equal(t, 403, status("192.0.2.2"))
	assert.Equal(t, 401, status("198.51.100.1"), "customers are not refused")
}

func TestAReplayDoesNotMitigateBesideARunningOffpath(t *testing.T) {
	needRoot(t)
	targets := "OFFPATH_MITIGATE_TARGETS=[{name: lb1, type: haproxy, address: 'unix:" + t.TempDir() + "/none.sock'}]"
	r := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", targets))
	c := service(t, "replay", targets, "OFFPATH_ADMIN_SOCKET="+setting(r.cmd, "OFFPATH_ADMIN_SOCKET"))
	c.Args = append(c.Args, "--mitigate", attack(t).save("attack.pcapng"))
	done := finish(t, c)
	assert.Equal(t, 2, done.status)
	assert.Regexp(t, "^offpath replay: --mitigate: an offpath is running here .* and rules the load balancers; stop it first\n$", done.stderr)
}
