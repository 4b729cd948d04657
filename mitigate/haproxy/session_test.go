package haproxy_test

import (
	"fmt"
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
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/message"
)

var siteKey = []byte("the key of the keyed hashes")

// knowingSessions is a fresh HAProxy in the mode enforce that knows sessions.
func knowingSessions(t *testing.T) (*haproxytest.Server, *haproxy.Target) {
	t.Helper()
	setup := proxied
	setup.SessionKey = content.KindKey(siteKey, content.KindToken)
	s := haproxytest.Start(t, setup)
	target := newTarget(t, s.Socket, s, func(o *haproxy.Options) { o.SessionKey = setup.SessionKey })
	require.NoError(t, target.Prepared(t.Context()))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return s, target
}

// presented are the sessions that the sensor finds in a request with these header fields.
func presented(t *testing.T, fields ...string) []string {
	t.Helper()
	extractor, err := content.New(content.Config{Key: siteKey})
	require.NoError(t, err)
	head := &message.Head{Version: "1.1", Method: []byte("GET"), Target: []byte("/")}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ":")
		head.Fields = append(head.Fields, message.Field{Name: []byte(name), Value: []byte(strings.Trim(value, " \t"))})
	}
	head.Shape = message.NewShapes(nil).Find(head.Fields)
	var tx reassembly.Transaction
	extractor.Request(&tx, head, message.Body{Whole: true})
	return tx.Auth.SessionPresented
}

func ofSession(id mitigate.ID, hash string) mitigate.Entry {
	return mitigate.Entry{
		ID: id, Action: detect.ActionBlock, Subject: detect.Subject{Session: hash},
		Expires: time.Now().Add(time.Hour).Unix(),
	}
}

func TestEverySessionThatTheSensorSeesInAHeadIsTheLoadBalancersToo(t *testing.T) {
	s, target := knowingSessions(t)
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
	for i, tt := range []struct {
		name     string
		sessions int
		fields   []string
	}{
		{"a bearer token", 1, []string{"Authorization: Bearer " + token}},
		{"a scheme in other letters, spaces", 1, []string{"Authorization: bEARER  \t" + token + " "}},
		{"the scheme Token", 1, []string{"Authorization: Token 0123456789"}},
		{"the scheme JWT", 1, []string{"Authorization: JWT " + token + "x"}},
		{"fields of their own", 1, []string{"X-Auth-Token: abc"}},
		{"another", 1, []string{"x-session-id: 4711"}},
		{"access", 1, []string{"X-Access-Token: aaaa"}},
		{"session", 1, []string{"X-Session-Token: bbbb"}},
		{"subject", 1, []string{"X-Subject-Token: cccc"}},
		{"a cookie of a session's name", 1, []string{"Cookie: sessionid=abcdefgh"}},
		{"a cookie in quotes among others", 1, []string{`Cookie: theme=dark; csrf=0123456789;  PHPSESSID = "q1w2e3r4t5" ;last=1`}},
		{"random cookies, whatever their names", 2, []string{"Cookie: a=K2f9Qz81LmNp7Xc4Vb6TyU0w; b=Zz12Yy34Xx56Ww78Vv90UuTt"}},
		{"two cookie fields", 2, []string{"Cookie: sid=aaaaaaaa1", "Cookie: token=bbbbbbbb2"}},
		{"a cookie without a name", 1, []string{"Cookie: Mm12Nn34Oo56Pp78Qq90RrSs"}},
		{"a value with an equals sign, a comma and octets beyond ASCII", 1, []string{"Cookie: login_ticket=a=b,c\xe4\xf6\xfc=="}},
		{"bearer and cookie", 2, []string{"Authorization: Bearer both-of-them", "Cookie: sid=and-this-one"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hashes := presented(t, tt.fields...)
			require.Len(t, hashes, tt.sessions)
			text := "GET / HTTP/1.1\r\nHost: bank.example\r\n" + strings.Join(tt.fields, "\r\n") + "\r\n"
			require.Equal(t, 200, raw(t, s, text))
			for k, hash := range hashes {
				e := ofSession(mitigate.ID(uint64(i+1)<<32|uint64(k+1)), hash)
				require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
				assert.Equal(t, 403, raw(t, s, text), "session %d", k)
				require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{e.Subject}))
				assert.Equal(t, 200, raw(t, s, text), "lifted")
			}
		})
	}
	assert.Equal(t, 200, raw(t, s, "GET / HTTP/1.1\r\nHost: bank.example\r\nAuthorization: Basic YTpi\r\n"))
}

func TestASessionIsRefusedWithTheVerdictsIDWhereverItComesFrom(t *testing.T) {
	s, target := knowingSessions(t)
	e := ofSession(0xfedcba9876543210, presented(t, "Cookie: sid=stolen-session")[0])
	limited := ofSession(e.ID+1, presented(t, "Cookie: sid=greedy-session")[0])
	limited.Action, limited.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: int64(time.Minute)}
	watched := ofSession(e.ID+2, presented(t, "Cookie: sid=watched-session")[0])
	watched.Monitor = true
	program := entry(client)
	program.ID, program.Subject = e.ID+3, detect.Subject{Fingerprint: programCore}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e, limited, watched, program}, nil))

	for _, from := range []string{client, other} {
		assert.Equal(t, refused(403, e), get(s, from, "/", "Cookie", "sid=stolen-session"))
		assert.Equal(t, passed, get(s, from, "/", "Cookie", "sid=ordinary-session"))
		assert.Equal(t, targettest.Answer{Status: 200, Tag: watched.ID.String()}, get(s, from, "/", "Cookie", "sid=watched-session"))
	}
	assert.Equal(t, refused(403, program), get(s, client, "/", append([]string{"Cookie", "sid=watched-session"}, targettest.Cracker...)...), "what is enforced goes before what watches")
	get(s, client, "/", "Cookie", "sid=greedy-session")
	assert.Equal(t, targettest.Answer{Status: 429, Marker: limited.ID.String(), Retry: "60"}, get(s, client, "/", "Cookie", "sid=greedy-session"))

	report, err := target.Sync(t.Context(), []mitigate.Entry{e})
	require.NoError(t, err)
	assert.Equal(t, 3, report.Removed)
	assert.Equal(t, refused(403, e), get(s, client, "/", "Cookie", "sid=stolen-session"))
	assert.Equal(t, passed, get(s, client, "/", "Cookie", "sid=greedy-session"))
	_, err = target.Sync(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, passed, get(s, client, "/", "Cookie", "sid=stolen-session"))
	assert.NotContains(t, s.Command("show table offpath_verdicts"), "shapes", "Lua is no longer asked")
}

func TestWithoutTheSensorsKeyNoSessionIsCarried(t *testing.T) {
	s, target := enforcing(t)
	e := ofSession(1<<32|1, "0123456789abcdef")
	var unsupported *mitigate.UnsupportedError
	require.ErrorAs(t, target.Carries(&e), &unsupported)
	assert.Contains(t, unsupported.Reason, "set sessions")

	other := newTarget(t, s.Socket, s, func(o *haproxy.Options) { o.SessionKey = []byte("another") })
	require.NoError(t, other.Carries(&e))
	assert.ErrorIs(t, other.Prepared(t.Context()), haproxy.ErrNotPrepared)
	for _, subject := range []detect.Subject{
		{Session: "0123456789ABCDEF"}, {Session: "0123"}, {Session: "0123456789abcdef", Endpoint: "GET bank.example/"},
		{Session: "0123456789abcdef", Client: targettest.Network(client)},
	} {
		e.Subject = subject
		assert.ErrorAs(t, other.Carries(&e), &unsupported, "%+v", subject)
	}
}

func TestNoNumberOfTokensCostsTheLoadBalancerMuch(t *testing.T) {
	s, target := knowingSessions(t)
	e := ofSession(1<<32|1, "0123456789abcdef")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	const octets = 14_000 // HAProxy's buffer holds 16,384
	long := func(piece string) string { return strings.Repeat(piece, octets/len(piece)) }
	var many strings.Builder
	for range 95 { // HAProxy takes 101 fields
		fmt.Fprintf(&many, "Cookie: %s\r\n", strings.Repeat("12345678;", 15))
	}
	for name, lines := range map[string]string{
		"short cookies":       "Cookie: " + long("a=12345678;") + "\r\n",
		"cookie fields":       many.String(),
		"semicolons":          "Cookie: " + long(";") + "\r\n",
		"equals signs":        "Cookie: " + long("=") + "\r\n",
		"blanks":              "Cookie: a=" + long(" \t") + "b\r\n",
		"one long token":      "Authorization: Bearer " + long("x") + "\r\n",
		"blanks and a scheme": "Authorization: " + long("bearer ") + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			const n = 20
			before := s.CPU()
			for range n {
				raw(t, s, "GET / HTTP/1.0\r\n"+lines)
			}
			each := (s.CPU() - before) / n
			t.Logf("%v of processor time", each)
			assert.Less(t, each, 20*time.Millisecond)
		})
	}
}
