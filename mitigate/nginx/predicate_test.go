package nginx_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginx"
)

// The programs that ask in these tests.
var program, browser, programCore, core = targettest.Cracker, targettest.Browser, targettest.CrackerCore, targettest.Core

func TestAnotherWayToWriteAnEndpointIsNoWayAroundAVerdict(t *testing.T) {
	s, target := enforcing(t)
	e := entry(client)
	e.Subject = detect.Subject{Endpoint: "GET bank.example/api/login"}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	for _, path := range []string{
		"/api/login", "/api/login/", "//api//login", "/api/./login", "/api/x/../login", "/api;v=1/login;jsessionid=1", "/api/%2e/login", "/%61pi/%6C%6fgin", "/api%2Dx/%2E%2e/api/login",
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
	for _, text := range []string{"OPTIONS * HTTP/1.1", "GET /../api/login HTTP/1.1", "GET http:///api/login HTTP/1.1"} {
		assert.Equal(t, 400, raw(t, s, text+"\r\nHost: bank.example\r\n"), "nginx refuses it by itself: %s", text)
	}
	for _, host := range []string{"bank.example, other.example", "other.example, bank.example", "[::1]:443", "bank.example:80:80"} {
		assert.NotEqual(t, 403, raw(t, s, "GET /api/login HTTP/1.1\r\nHost: "+host+"\r\n"), "%s is named as it stands", host)
	}
	for _, path := range []string{"/api/login2", "/API/login", "/api/login/..", "/x/api/login", "/api%2Flogin", "/%2561pi/login", strings.Repeat("/x", 16) + strings.Repeat("/..", 14) + "/api/login"} {
		assert.Equal(t, passed, get(s, client, path, "Host", "bank.example"), path)
	}
}

func TestIgnoredHeaderFieldsDoNotCount(t *testing.T) {
	s := nginxtest.Start(t, nginx.Setup{IgnoreHeaders: []string{"Accept-Language", "accept-encoding"}}, nginxtest.Options{})
	target := s.Target(t)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	e := entry(client)
	e.Subject = detect.Subject{Fingerprint: core("core 1", "user-agent", "", "", "", "cracker/# (x)")}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	assert.Equal(t, refused(403, e), get(s, client, "/", program...))
	assert.Equal(t, refused(403, e), get(s, client, "/", program[:2]...))
	assert.Equal(t, passed, get(s, client, "/", browser...))
}
