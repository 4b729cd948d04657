package haproxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
	"offpath/mitigate/internal/targettest"
)

// The programs that ask in these tests.
var program, browser, programCore, core = targettest.Cracker, targettest.Browser, targettest.CrackerCore, targettest.Core

func TestAnotherWayToWriteAnEndpointIsNoWayAroundAVerdict(t *testing.T) {
	s, target := enforcing(t)
	e := entry(client)
	e.Subject = detect.Subject{Endpoint: "GET bank.example/api/login"}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	for _, path := range []string{
		"/api/login", "/api/login/", "//api//login", "/api/./login", "/api/x/../login", "/api;v=1/login;jsessionid=1", "/api/%2e/login", "/../api/login", "/%61pi/%6C%6fgin", "/api%2Dx/%2E%2e/api/login",
		strings.Repeat("/;/.", 300) + "/api/login", strings.Repeat("/", 300) + "api/login", strings.Repeat("/x/..", 300) + "/api/login",
	} {
		assert.Equal(t, refused(403, e), get(s, client, path, "Host", "bank.example"), path)
	}
	for _, host := range []string{"bank.EXAMPLE", "bank.example:443", "bank.example.", "bank.example.:443"} {
		assert.Equal(t, refused(403, e), get(s, client, "/api/login", "Host", host), host)
	}
	for _, text := range []string{
		"GET /api/login HTTP/1.1\r\nHost: user@bank.example:80\r\n",
		"GET http://bank.example/api/login HTTP/1.1\r\nHost: bank.example\r\n",
		"GET http://Bank.example:80/api/login?x HTTP/1.0\r\n",
		"GET http:///api/login HTTP/1.1\r\nHost: bank.example\r\n",
	} {
		assert.Equal(t, 403, raw(t, s, text), text)
	}
	root := entry(client)
	root.Subject, root.ID = detect.Subject{Endpoint: "GET root.example/"}, root.ID+1
	bare := entry(client)
	bare.Subject, bare.ID = detect.Subject{Endpoint: "GET /api/login"}, bare.ID+2
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{root, bare}, nil))
	assert.Equal(t, 403, raw(t, s, "GET http://root.example HTTP/1.1\r\nHost: root.example\r\n"), "no path is the root")
	assert.Equal(t, 403, raw(t, s, "GET /api/login HTTP/1.0\r\n"), "no host is one too")
	assert.Equal(t, 200, raw(t, s, "OPTIONS * HTTP/1.1\r\nHost: root.example\r\n"))
	for _, host := range []string{"bank.example, other.example", "other.example, bank.example", "[::1]:443", "bank.example:80:80"} {
		assert.NotEqual(t, 403, raw(t, s, "GET /api/login HTTP/1.1\r\nHost: "+host+"\r\n"), "%s is named as it stands", host)
	}
	for _, path := range []string{"/api/login2", "/API/login", "/api/login/..", "/x/api/login", "/api%2Flogin", "/%2561pi/login", strings.Repeat("/x", 16) + strings.Repeat("/..", 14) + "/api/login"} {
		assert.Equal(t, passed, get(s, client, path, "Host", "bank.example"), path)
	}
}

// raw sends the lines of a request as they stand, and returns the status.
func raw(t *testing.T, s *haproxytest.Server, lines string) int {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, lines+"Connection: close\r\n\r\n")
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err, lines)
	answer.Body.Close()
	return answer.StatusCode
}

func TestNoRequestCostsTheLoadBalancerMuch(t *testing.T) {
	s, target := enforcing(t)
	endpoint, domain := entry(client), entry(client)
	endpoint.Subject = detect.Subject{Fingerprint: programCore, UserAgent: "x", Endpoint: "GET bank.example/api/login"}
	domain.Subject, domain.ID = detect.Subject{Domain: "bank.example"}, domain.ID+1
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{endpoint, domain}, nil))
	const octets = 14_000 // HAProxy's buffer holds 16,384
	long := func(piece string) string { return strings.Repeat(piece, octets/len(piece)) }
	for name, text := range map[string]string{
		"a Host with user information": "GET / HTTP/1.1\r\nHost: " + long("a") + "@x\r\n",
		"a Host of at signs":           "GET / HTTP/1.1\r\nHost: " + long("@") + "\r\n",
		"a Host of colons":             "GET / HTTP/1.1\r\nHost: " + long(":") + "\r\n",
		"a Host of brackets":           "GET / HTTP/1.1\r\nHost: " + long("[") + "\r\n",
		"a Host of dots":               "GET / HTTP/1.1\r\nHost: " + long(".") + "\r\n",
		"an authority":                 "GET http://" + long("a") + "@x/ HTTP/1.0\r\n",
		"a path of slashes":            "GET " + long("/") + " HTTP/1.0\r\n",
		"a path of dots":               "GET " + long("/.") + " HTTP/1.0\r\n",
		"a path of steps back":         "GET " + long("/a/..") + " HTTP/1.0\r\n",
		"a path of parameters":         "GET " + long("/;") + " HTTP/1.0\r\n",
		"a path of escapes":            "GET /" + long("%61") + " HTTP/1.0\r\n",
		"a User-Agent of Androids":     "GET / HTTP/1.0\r\nUser-Agent: " + long("Android (") + "\r\n",
		"a User-Agent of digits":       "GET / HTTP/1.0\r\nUser-Agent: " + long("1.") + "\r\n",
		"languages":                    "GET / HTTP/1.0\r\nAccept-Language: " + long("en-US,=") + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			const n = 20
			before := s.CPU()
			for range n {
				raw(t, s, text)
			}
			each := (s.CPU() - before) / n
			t.Logf("%v of processor time", each)
			assert.Less(t, each, 20*time.Millisecond)
		})
	}
}

func TestAPredicateIsEnforcedWhoeverClearedTheRowOfShapes(t *testing.T) {
	s, target := enforcing(t)
	one, two := entry(client), entry(client)
	one.Subject = detect.Subject{Fingerprint: programCore}
	two.Subject, two.ID = detect.Subject{Fingerprint: core("another")}, two.ID+1
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{one}, nil))
	s.Command("clear table offpath_verdicts key shapes")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{two}, nil))
	assert.Equal(t, refused(403, one), get(s, client, "/", program...))
}

func TestASyncMakesRoomForPredicates(t *testing.T) {
	s, target, _, _ := crowded(t)
	e := entry(client)
	e.Subject = detect.Subject{Fingerprint: programCore}
	_, err := target.Sync(t.Context(), []mitigate.Entry{e})
	require.NoError(t, err)
	assert.Equal(t, refused(403, e), get(s, client, "/", program...))
}

func TestSyncPutsPredicatesBack(t *testing.T) {
	s, target := enforcing(t)
	one, two := entry(client), entry(client)
	one.Subject = detect.Subject{Fingerprint: programCore}
	two.Subject, two.ID = detect.Subject{Domain: "a.example"}, two.ID+1
	both := []mitigate.Entry{one, two}
	_, err := target.Sync(t.Context(), both)
	require.NoError(t, err)
	check := func(when string) {
		t.Helper()
		assert.Equal(t, refused(403, one), get(s, client, "/", program...), when)
		assert.Equal(t, refused(403, two), get(s, client, "/", "Host", "a.example"), when)
	}
	check("at first")
	report, err := target.Sync(t.Context(), both)
	require.NoError(t, err)
	assert.Zero(t, report.Set+report.Removed, "nothing differs")

	s.Command("clear table offpath_verdicts")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	report, err = target.Sync(t.Context(), both)
	require.NoError(t, err)
	assert.Equal(t, 2, report.Set)
	check("after all rows were cleared")

	// A further one of another controller's life: the shapes of before must stay.
	three := entry(client)
	three.Subject, three.ID = detect.Subject{UserAgent: "x"}, three.ID+2
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{three}, nil))
	check("after a third")
	assert.Equal(t, refused(403, three), get(s, client, "/", "User-Agent", "x"))

	s.Reload()
	check("after a reload")

	report, err = target.Sync(t.Context(), both[:1])
	require.NoError(t, err)
	assert.Equal(t, 2, report.Removed)
	assert.Equal(t, passed, get(s, client, "/", "Host", "a.example"))
	_, err = target.Sync(t.Context(), nil)
	require.NoError(t, err)
	assert.NotContains(t, s.Command("show table offpath_verdicts"), "shapes", "Lua is no longer asked")
}

func TestPredicatesAFullTableHasNoRoomForAreRefused(t *testing.T) {
	s, target, filling, rejected := crowded(t)

	e := entry(client)
	e.Subject = detect.Subject{Fingerprint: programCore}
	apply := func() error { return target.Apply(t.Context(), []mitigate.Entry{e}, nil) }
	sync := func() error { _, err := target.Sync(t.Context(), append(filling, e)); return err }
	for name, order := range map[string]func() error{"apply": apply, "sync": sync} {
		require.ErrorAs(t, order(), &rejected, name)
		assert.True(t, slices.ContainsFunc(rejected.Rejections, func(r mitigate.Rejection) bool { return r.ID == e.ID }), "%s: %v", name, rejected)
		assert.Equal(t, passed, get(s, client, "/", program...), name)
	}
	s.Command("clear table offpath_verdicts data.gpt0 eq 1")
	require.NoError(t, apply())
	assert.Equal(t, refused(403, e), get(s, client, "/", program...), "once there is room")
}

func TestIgnoredHeaderFieldsDoNotCount(t *testing.T) {
	s := haproxytest.Start(t, haproxy.Setup{IgnoreHeaders: []string{"Accept-Language", "accept-encoding"}})
	target := newTarget(t, s.Socket, s)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	e := entry(client)
	e.Subject = detect.Subject{Fingerprint: core("core 1", "user-agent", "", "", "", "cracker/# (x)")}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	assert.Equal(t, refused(403, e), get(s, client, "/", program...))
	assert.Equal(t, refused(403, e), get(s, client, "/", program[:2]...))
	assert.Equal(t, passed, get(s, client, "/", browser...))
}
