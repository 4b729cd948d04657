package haproxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
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

// deceiving is a fresh HAProxy in the mode enforce that has an answer that deceives.
func deceiving(t *testing.T, change func(*haproxy.Setup)) (*haproxytest.Server, *haproxy.Target) {
	t.Helper()
	setup := proxied
	setup.Deception = &haproxy.Deception{Status: 401}
	change(&setup)
	s := haproxytest.Start(t, setup)
	target := newTarget(t, s.Socket, s, func(o *haproxy.Options) { o.Deceives = true })
	require.NoError(t, target.Prepared(t.Context()))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return s, target
}

func deception(client string) mitigate.Entry {
	e := entry(client)
	e.Action = detect.ActionDeceive
	return e
}

func TestADeceivedClientGetsTheSitesOwnAnswerAndTheBackendNothing(t *testing.T) {
	s, target := deceiving(t, func(*haproxy.Setup) {})
	e, network, program := deception(client), deception("127.1.3.0/24"), deception(client)
	network.ID, program.ID = e.ID+1, e.ID+2
	program.Subject = detect.Subject{Fingerprint: programCore, Endpoint: "GET bank.example/login"}
	require.NoError(t, target.Carries(&e))
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e, network, program}, nil))
	assert.Equal(t, passed, get(s, other, "/"))
	served := s.Served()

	assert.Equal(t, refused(401, e), get(s, client, "/"))
	assert.Equal(t, refused(401, network), get(s, "127.1.3.77", "/"))
	assert.Equal(t, refused(401, program), get(s, other, "/login", targettest.At("bank.example", targettest.Cracker)...))
	request, err := http.NewRequest(http.MethodPost, s.URL+"/login", strings.NewReader(`{"user":"alice"}`))
	require.NoError(t, err)
	request.Header.Set("X-Forwarded-For", client)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	assert.Equal(t, haproxytest.Deception, string(body))
	assert.Equal(t, "application/json", answer.Header.Get("Content-Type"))
	assert.Equal(t, served, s.Served())

	hits, err := target.Hits(t.Context())
	require.NoError(t, err)
	assert.Contains(t, hits, mitigate.Hits{ID: e.ID, Refused: 2})
}

func TestDeceptionObeysModeMonitorAndAllowList(t *testing.T) {
	s, target := deceiving(t, func(*haproxy.Setup) {})
	e, watched := deception(client), deception(other)
	watched.ID, watched.Monitor = e.ID+1, true
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e, watched}, nil))
	tagged := func(e mitigate.Entry) targettest.Answer {
		return targettest.Answer{Status: 200, Tag: e.ID.String()}
	}
	assert.Equal(t, refused(401, e), get(s, client, "/"))
	assert.Equal(t, tagged(watched), get(s, other, "/"))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	assert.Equal(t, tagged(e), get(s, client, "/"))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, passed, get(s, client, "/"))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{targettest.Network(client)}))
	assert.Equal(t, passed, get(s, client, "/"))

	report, err := target.Sync(t.Context(), []mitigate.Entry{e, watched})
	require.NoError(t, err)
	assert.Zero(t, report.Set+report.Removed, "a comparison finds them as they are")
}

func TestWhereNoAnswerDeceivesTheVerdictIsUnsupported(t *testing.T) {
	s, target := enforcing(t)
	e := deception(client)
	var unsupported *mitigate.UnsupportedError
	require.ErrorAs(t, target.Carries(&e), &unsupported)
	assert.Contains(t, unsupported.Reason, "deceive_status")

	expects := newTarget(t, s.Socket, s, func(o *haproxy.Options) { o.Deceives = true })
	assert.ErrorIs(t, expects.Prepared(t.Context()), haproxy.ErrNotPrepared)
	assert.ErrorContains(t, expects.Prepared(t.Context()), "offpath_deception")
	require.NoError(t, expects.Apply(t.Context(), []mitigate.Entry{e}, nil))
	assert.Equal(t, targettest.Answer{Status: 200, Tag: e.ID.String()}, get(s, client, "/"), "rules that know of no deception let it pass")
}

func TestWhatIsBlockedOrDeceivedWaitsInTheTarpit(t *testing.T) {
	const wait = 300 * time.Millisecond
	s, target := deceiving(t, func(setup *haproxy.Setup) { setup.Tarpit, setup.TarpitConnections = wait, 5 })
	blocked, deceived, limited := entry(client), deception(other), entry("127.1.2.5")
	deceived.ID, limited.ID = blocked.ID+1, blocked.ID+2
	limited.Action, limited.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: int64(time.Minute)}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{blocked, deceived, limited}, nil))
	waits := func(from string, status int, e mitigate.Entry) bool {
		answer := s.Get(from, "/")
		assert.Equal(t, [2]any{status, e.ID.String()}, [2]any{answer.Status, answer.Marker})
		return answer.Elapsed >= wait
	}
	assert.True(t, waits(client, 403, blocked))
	assert.True(t, waits(other, 401, deceived))
	s.Get("127.1.2.5", "/")
	assert.Equal(t, "60", s.Get("127.1.2.5", "/").Retry, "a client that is told when to come again")

	// With as many connections as the frontend may have for it, nobody is held.
	for range 5 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		require.NoError(t, err)
		defer conn.Close()
	}
	targettest.Eventually(t, func() bool { return !waits(client, 403, blocked) }, func() string { return "refused at once" })
	assert.False(t, waits(other, 401, deceived))
}

// A connection of HTTP/2 could hold as many requests as it has streams.
func TestNothingWaitsInTheTarpitOverHTTP2(t *testing.T) {
	const wait = 30 * time.Second
	setup := proxied
	setup.Tarpit = wait
	s := haproxytest.New(t, setup)
	bind := "bind " + strings.TrimPrefix(s.URL, "http://") + "\n"
	require.Contains(t, s.Config(), bind)
	h2 := fmt.Sprintf("127.0.0.1:%d", targettest.FreePorts(t, 1)[0])
	s.Configure(strings.Replace(s.Config(), bind, bind+"    bind "+h2+" proto h2\n", 1))
	s.Up()
	target := newTarget(t, s.Socket, s)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(client)}, nil))
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	c := &http.Client{Transport: &http.Transport{Protocols: &protocols, DialContext: dialer.DialContext}, Timeout: wait / 2}
	r, err := c.Get("http://" + h2 + "/")
	require.NoError(t, err)
	r.Body.Close()
	assert.Equal(t, 2, r.ProtoMajor)
	assert.Equal(t, 403, r.StatusCode)
}
