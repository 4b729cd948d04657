package webhook_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/webhook"
)

func secrets(all ...string) func() ([][]byte, error) {
	return func() (list [][]byte, err error) {
		for _, s := range all {
			list = append(list, []byte(s))
		}
		return list, nil
	}
}

func targetOf(t testing.TB, options webhook.Options) *webhook.Target {
	t.Helper()
	if options.Secrets == nil {
		options.Secrets = secrets(secret)
	}
	options.Name = "fraud"
	target, err := webhook.New(options)
	require.NoError(t, err)
	return target
}

func connected(t testing.TB, r *receiver, options webhook.Options, change ...func(*controller.Config)) *controller.Controller {
	t.Helper()
	options.URL = r.server.URL
	config := controller.Config{Targets: []mitigate.Target{targetOf(t, options)}, Mode: detect.ModeEnforce}
	for _, f := range change {
		f(&config)
	}
	c, _ := targettest.Running(t, config)
	targettest.Eventually(t, func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == config.Mode },
		func() string { return "connected: " + c.Targets()[0].LastError })
	return c
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	targettest.Eventually(t, condition, func() string { return what })
}

// hold is a verdict against an account.
func hold(id uint32) detect.Verdict {
	v := targettest.Block(id, "192.0.2.1")
	v.Action, v.Subject = detect.ActionHold, detect.Subject{UserHash: fmt.Sprintf("%016x", id)}
	v.Findings, v.Policy, v.Message = []string{"00000000000000aa"}, "account-takeover", "its password was right in a campaign"
	return v
}

// canonical is a verdict as a target gets it: its expiry a whole second.
func canonical(v detect.Verdict) *detect.Verdict {
	v.Expires = (v.Expires + 1e9 - 1) / 1e9 * 1e9
	return &v
}

func TestAHoldArrivesWholeIsChangedRenewedAndLifted(t *testing.T) {
	r := newReceiver(t)
	c := connected(t, r, webhook.Options{})
	v := hold(1)
	require.NoError(t, c.Apply(v))
	eventually(t, "told", func() bool { return len(r.active()) == 1 })
	assert.Equal(t, canonical(v), r.active()[v.ID], "with what explains it")

	v.Time++
	v.Expires += 60e9
	require.NoError(t, c.Apply(v))
	eventually(t, "renewed", func() bool { return r.active()[v.ID].Expires == canonical(v).Expires })
	v.Time++
	v.Mode = detect.ModeMonitor
	require.NoError(t, c.Apply(v))
	eventually(t, "changed", func() bool { return r.active()[v.ID].Mode == detect.ModeMonitor })
	v.Time++
	v.Subject.UserHash = "ffffffffffffffff"
	require.NoError(t, c.Apply(v))
	eventually(t, "of another subject", func() bool { return r.active()[v.ID].Subject == v.Subject })
	require.NoError(t, c.Lift(v.ID, "alice"))
	eventually(t, "lifted", func() bool { return len(r.active()) == 0 })
	r.with(func() {
		assert.Equal(t, []string{
			"active new " + v.ID, "active renewed " + v.ID, "active changed " + v.ID, "active changed " + v.ID, "ended lifted " + v.ID,
		}, r.log)
		assert.Empty(t, r.problem)
		assert.Equal(t, detect.ModeEnforce, r.mode)
	})
}

func TestEveryActionAndSubjectIsCarried(t *testing.T) {
	r := newReceiver(t)
	target := targetOf(t, webhook.Options{URL: r.server.URL})
	subjects := []detect.Subject{
		{Client: netip.MustParsePrefix("192.0.2.0/24")}, {Client: netip.MustParsePrefix("2001:db8::/64")}, {Fingerprint: "0123456789abcdef"},
		{UserAgent: "a\"\\\u2028</script>\xff"}, {JA4: "t13d1516h2_8daaf6152771_b186095e22b6"}, {Endpoint: "GET bank.example/{id}"}, {Domain: "bank.example"},
		{Session: "0123456789abcdef"}, {UserHash: "0123456789abcdef"}, {JA4: "x", Endpoint: "POST bank.example/login", Session: "1"},
	}
	var entries []mitigate.Entry
	for i, action := range []detect.Action{detect.ActionBlock, detect.ActionRateLimit, detect.ActionChallenge, detect.ActionDeceive, detect.ActionTag, detect.ActionHold} {
		for j, s := range subjects {
			e := mitigate.Entry{ID: mitigate.ID(uint64(i+1)<<32 | uint64(j+1)), Action: action, Subject: s, Monitor: j%2 == 0, Expires: time.Now().Unix() + 60}
			if action == detect.ActionRateLimit {
				e.Rate = detect.Rate{Requests: 7, Per: 60e9}
			}
			s.Domain += fmt.Sprint(i) // of its own
			e.Subject = s
			require.NoError(t, target.Carries(&e))
			entries = append(entries, e)
		}
	}
	require.NoError(t, target.Apply(t.Context(), entries, nil))
	active := r.active()
	require.Len(t, active, len(entries))
	for _, e := range entries {
		v := active[e.ID.String()]
		assert.Equal(t, e, mitigate.Entry{ID: e.ID, Action: v.Action, Subject: v.Subject, Rate: v.Rate, Monitor: v.Mode == detect.ModeMonitor, Expires: v.Expires / 1e9})
	}
	r.with(func() { assert.Empty(t, r.problem) })
}

func TestWithModeOffTheReceiverIsToldAtOnceAlsoWhenItAskedToBeLeftAlone(t *testing.T) {
	r := newReceiver(t)
	c := connected(t, r, webhook.Options{})
	require.NoError(t, c.Apply(hold(1)))
	eventually(t, "told", func() bool { return len(r.active()) == 1 })
	refused := make(chan struct{}, 100)
	r.with(func() {
		r.refuse = func(m *received) (int, string) {
			if m.Type == "mode" {
				return 0, ""
			}
			refused <- struct{}{}
			return http.StatusServiceUnavailable, "maintenance"
		}
	})
	require.NoError(t, c.Apply(hold(2)))
	<-refused
	require.NoError(t, c.Off("alice"))
	eventually(t, "off", func() (off bool) { r.with(func() { off = r.mode == detect.ModeOff }); return off })
	r.with(func() { r.refuse = nil })
	require.NoError(t, c.On("alice"))
	eventually(t, "on again, with what came meanwhile", func() (on bool) {
		r.with(func() { on = r.mode == detect.ModeEnforce })
		return on && len(r.active()) == 2
	})
}

func TestAnOffAtTheReceiverIsSeenAndStandsUntilOn(t *testing.T) {
	r := newReceiver(t)
	c := connected(t, r, webhook.Options{PingInterval: 50 * time.Millisecond})
	r.with(func() { r.off = true })
	eventually(t, "noticed", func() bool { return c.Targets()[0].LocalOff })
	require.NoError(t, c.SetMode(detect.ModeMonitor, "alice"))
	eventually(t, "another mode", func() (is bool) { r.with(func() { is = r.mode == detect.ModeMonitor }); return is })
	r.with(func() { assert.True(t, r.off) })
	require.NoError(t, c.On("alice"))
	eventually(t, "released", func() bool { return !c.Targets()[0].LocalOff })
}

func TestAReceiverThatLostItsStateHasEverythingSentAtOnce(t *testing.T) {
	r := newReceiver(t)
	r.name = "first"
	c := connected(t, r, webhook.Options{PingInterval: 50 * time.Millisecond}, func(c *controller.Config) {
		c.Allow = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	})
	for id := range uint32(20) {
		require.NoError(t, c.Apply(hold(id+1)))
	}
	eventually(t, "told", func() bool { return len(r.active()) == 20 })
	r.with(func() { // it is another one now
		r.name, r.verdicts, r.mode, r.modeAt, r.since, r.networks = "second", map[string]*kept{"ffff": {1, canonical(hold(77))}}, detect.ModeOff, 0, 0, nil
	})
	eventually(t, "whole again", func() (whole bool) {
		r.with(func() { whole = r.mode == detect.ModeEnforce && slices.Equal(r.networks, []string{"198.51.100.0/24"}) })
		return whole && len(r.active()) == 20
	})
	assert.NotContains(t, r.active(), "ffff")
	assert.EqualValues(t, 1, c.Targets()[0].Restarts)
}

func TestWhatHasExpiredIsToldAndWhatTakesItsPlace(t *testing.T) {
	r := newReceiver(t)
	target := targetOf(t, webhook.Options{URL: r.server.URL})
	entry := func(id, account uint32, expires time.Duration) mitigate.Entry {
		v := hold(id)
		return mitigate.Entry{ID: mitigate.ID(0xabcd<<32 | uint64(id)), Action: v.Action, Subject: hold(account).Subject, Expires: time.Now().Add(expires).Unix()}
	}
	short, long, other := entry(1, 1, -time.Second), entry(2, 2, time.Hour), entry(3, 2, time.Hour)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{short, long}, nil))
	require.NoError(t, target.Sweep(t.Context()))
	require.NoError(t, target.Sweep(t.Context()))
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{other}, nil))
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{short.Subject, long.Subject, hold(9).Subject}))
	r.with(func() {
		assert.Equal(t, []string{
			"active new " + short.ID.String(), "active new " + long.ID.String(), "ended expired " + short.ID.String(),
			"ended replaced " + long.ID.String(), "active new " + other.ID.String(), "ended lifted " + other.ID.String(),
		}, r.log)
	})
}

func TestARejectedVerdictDoesNotTakeOthersWithIt(t *testing.T) {
	r := newReceiver(t)
	bad := hold(300)
	r.refuse = func(m *received) (int, string) {
		for _, e := range m.Data.Events {
			if strings.Contains(string(e.Verdict), bad.ID) {
				return http.StatusUnprocessableEntity, "no such\n account\x1b[31m " + strings.Repeat("long ", 1000)
			}
		}
		return 0, ""
	}
	c := connected(t, r, webhook.Options{})
	for id := range uint32(600) {
		require.NoError(t, c.Apply(hold(id+1)))
	}
	eventually(t, "all others", func() bool { return len(r.active()) == 599 })
	verdicts := c.Verdicts()
	is := verdicts[slices.IndexFunc(verdicts, func(v controller.Verdict) bool { return v.Verdict.ID == bad.ID })].Targets[0]
	eventually(t, "shown as rejected", func() bool { return c.Targets()[0].Rejected == 1 })
	for _, v := range c.Verdicts() {
		if v.Verdict.ID == bad.ID {
			is = v.Targets[0]
		}
	}
	assert.Equal(t, controller.StateRejected, is.State)
	assert.Regexp(t, `^receiver answered 422 Unprocessable Entity: no such account\?\[31m long long`, "receiver answered "+is.Detail)
	assert.Less(t, len(is.Detail), 300)
}

func TestAReceiverThatWantsNothingIsNotAskedWithoutEnd(t *testing.T) {
	r := newReceiver(t)
	r.refuse = func(m *received) (int, string) {
		if m.Type == "verdicts" {
			return http.StatusBadRequest, "no"
		}
		return 0, ""
	}
	target := targetOf(t, webhook.Options{URL: r.server.URL})
	var entries []mitigate.Entry
	for id := range uint64(500) {
		entries = append(entries, mitigate.Entry{ID: mitigate.ID(1<<32 | (id + 1)), Action: detect.ActionHold, Subject: hold(uint32(id)).Subject, Expires: time.Now().Unix() + 60})
	}
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, target.Apply(t.Context(), entries, nil), &rejected)
	assert.Len(t, rejected.Rejections, 500)
	assert.LessOrEqual(t, r.messages("verdicts"), 65)

	r.with(func() { r.refuse = func(*received) (int, string) { return http.StatusForbidden, "who are you?" } })
	before := r.messages("verdicts")
	require.ErrorAs(t, target.Apply(t.Context(), entries, nil), &rejected)
	assert.Equal(t, before+1, r.messages("verdicts"), "403 does not speak of one verdict")
	_, err := target.Identity(t.Context())
	assert.ErrorContains(t, err, "403 Forbidden: who are you?", "and the next look shows it")
}

func TestRetryAfterIsObeyed(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		wait         time.Duration
	}{
		{"in seconds", "120", 120 * time.Second},
		{"a date", time.Now().Add(120 * time.Second).UTC().Format(http.TimeFormat), 120 * time.Second},
		{"longer than an hour", "999999999999999999", time.Hour},
		{"of no sense", "soon", time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.Header().Set("Retry-After", tt.header)
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
			defer server.Close()
			target := targetOf(t, webhook.Options{URL: server.URL})
			_, err := target.Identity(t.Context())
			require.ErrorContains(t, err, "503")
			_, err = target.Identity(t.Context())
			require.Error(t, err)
			_, text, _ := strings.Cut(err.Error(), "(next try in ")
			wait, err := time.ParseDuration(strings.TrimSuffix(text, ")"))
			require.NoError(t, err, text)
			assert.InDelta(t, tt.wait.Seconds(), wait.Seconds(), 3)
			assert.Equal(t, 1, asked)
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	r := newReceiver(t)
	r.fault = func(*received) fault { return redirects }
	target := targetOf(t, webhook.Options{URL: r.server.URL})
	err := target.Apply(t.Context(), []mitigate.Entry{{ID: 1<<32 | 1, Action: detect.ActionHold, Subject: hold(1).Subject, Expires: time.Now().Unix() + 60}}, nil)
	assert.ErrorContains(t, err, `a redirect to "/elsewhere", which is not followed`)
	assert.Equal(t, 1, r.messages("verdicts"))
}

func TestAnAnswerWithoutEndIsNotReadToItsEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte(strings.Repeat("x", 1<<16))); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	_, err := targetOf(t, webhook.Options{URL: server.URL}).Identity(t.Context())
	require.ErrorContains(t, err, "400 Bad Request: xxx")
	assert.Less(t, len(err.Error()), 300)
}

func TestTheReceiverIsKnownByItsCertificate(t *testing.T) {
	r := prepareReceiver(t)
	r.server = httptest.NewTLSServer(r)
	defer r.server.Close()
	r.server.Config.ErrorLog = nil
	ca := filepath.Join(t.TempDir(), "ca.pem")
	target := targetOf(t, webhook.Options{URL: r.server.URL, CA: ca})
	_, err := target.Identity(t.Context())
	assert.ErrorContains(t, err, "no such file")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw}), 0o600))
	eventually(t, "once the file is there", func() bool { _, err = target.Identity(t.Context()); return err == nil })
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, target.Addresses())

	_, err = targetOf(t, webhook.Options{URL: r.server.URL}).Identity(t.Context())
	assert.ErrorContains(t, err, "certificate signed by unknown authority")
}

func TestOneSecretFollowsTheOther(t *testing.T) {
	const next = "sixteen octets or more"
	r := newReceiver(t)
	_, err := targetOf(t, webhook.Options{URL: r.server.URL, Secrets: secrets(next)}).Identity(t.Context())
	assert.ErrorContains(t, err, "401 Unauthorized: no signature fits")
	both := secrets(next, secret)
	_, err = targetOf(t, webhook.Options{URL: r.server.URL, Secrets: both}).Identity(t.Context())
	assert.NoError(t, err, "by the old one")
	r.with(func() { r.key = []byte(next) })
	_, err = targetOf(t, webhook.Options{URL: r.server.URL, Secrets: both}).Identity(t.Context())
	assert.NoError(t, err, "by the new one")
	_, err = targetOf(t, webhook.Options{URL: r.server.URL, Secrets: secrets("too short")}).Identity(t.Context())
	assert.ErrorContains(t, err, "the key has 9 octets; it needs 16 or more")
	_, err = targetOf(t, webhook.Options{URL: r.server.URL, Secrets: secrets("whsec_?")}).Identity(t.Context())
	assert.ErrorContains(t, err, "not base64")
}

func TestAReceiverThatTakesWhatNobodySignedIsNotPrepared(t *testing.T) {
	r := newReceiver(t)
	assert.NoError(t, targetOf(t, webhook.Options{URL: r.server.URL}).Prepared(t.Context()))
	r.with(func() { assert.Equal(t, 1, r.wrong) })
	careless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	defer careless.Close()
	assert.ErrorContains(t, targetOf(t, webhook.Options{URL: careless.URL}).Prepared(t.Context()), "signed by a wrong key")
	assert.ErrorContains(t, targetOf(t, webhook.Options{URL: "http://127.0.0.1:1/"}).Prepared(t.Context()), "refused")
}

// A random sequence of verdicts and lifts over a connection that fails in every way: in
// the end the receiver has exactly what is active, and never saw anything out of order.
func TestWhateverHappensOnTheWayTheReceiverHasWhatIsActive(t *testing.T) {
	r := newReceiver(t)
	random := rand.New(rand.NewPCG(1, 2))
	// One by one between good answers, and then so many on end that a message is given up.
	var faults []fault
	for range 4 {
		for _, f := range random.Perm(int(last)) {
			faults = append(faults, fault(f), none)
		}
	}
	for i := range 24 {
		faults = append(faults, fault(1+i%int(last)))
	}
	r.fault = func(*received) (f fault) {
		if len(faults) > 0 {
			f, faults = faults[0], faults[1:]
		}
		return f
	}
	options := webhook.Options{URL: r.server.URL, Timeout: 200 * time.Millisecond, PingInterval: 100 * time.Millisecond}
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{targetOf(t, options).Hasten(20)}, Mode: detect.ModeEnforce})
	active := map[string]bool{}
	met := func() (all bool) { r.with(func() { all = len(faults) == 0 }); return all }
	for id := uint32(0); !met(); id++ {
		require.Less(t, id, uint32(10_000), "not all faults happened")
		require.NoError(t, c.Apply(hold(id+1)))
		active[hold(id+1).ID] = true
		if back := uint32(random.IntN(int(id + 1))); active[hold(back+1).ID] && random.IntN(2) == 0 {
			require.NoError(t, c.Lift(hold(back+1).ID, "alice"))
			delete(active, hold(back+1).ID)
		}
		time.Sleep(20 * time.Millisecond)
	}
	eventually(t, "agrees", func() bool {
		got := r.active()
		for id := range active {
			if got[id] == nil {
				return false
			}
		}
		return len(got) == len(active) && c.Targets()[0].Mode == detect.ModeEnforce
	})
	r.with(func() { assert.Empty(t, r.problem) })
}

func TestTheKillSwitchDoesNotWaitForABulkLoad(t *testing.T) {
	r := newReceiver(t)
	block := make(chan struct{})
	entered := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.ContentLength > 1000 {
			entered <- struct{}{}
			<-block
		}
		r.ServeHTTP(w, q)
	}))
	defer server.Close()
	target := targetOf(t, webhook.Options{URL: server.URL})
	done := make(chan error, 1)
	var entries []mitigate.Entry
	for id := range uint64(100) {
		entries = append(entries, mitigate.Entry{ID: mitigate.ID(1<<32 | (id + 1)), Action: detect.ActionHold, Subject: hold(uint32(id)).Subject, Expires: time.Now().Unix() + 60})
	}
	go func() { _, err := target.Sync(context.WithoutCancel(t.Context()), entries); done <- err }()
	<-entered
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	mode, _, err := target.Mode(t.Context())
	require.NoError(t, err)
	assert.Equal(t, detect.ModeOff, mode)
	close(block)
	require.NoError(t, <-done)
	assert.Len(t, r.active(), 100)
	r.with(func() { assert.Equal(t, detect.ModeOff, r.mode, "a message from before the switch does not undo it") })
}

func TestWrongOptionsAreSaid(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		options    webhook.Options
	}{
		{"no scheme", "is not http://HOST", webhook.Options{URL: "fraud.example/x"}},
		{"another scheme", "is not http://HOST", webhook.Options{URL: "ftp://fraud.example/x"}},
		{"no host", "is not http://HOST", webhook.Options{URL: "https:///x"}},
		{"a password", "holds a user or password", webhook.Options{URL: "https://u:p@fraud.example/"}},
		{"a fragment", "has a fragment", webhook.Options{URL: "https://fraud.example/#x"}},
		{"no secret", "webhook has no secret", webhook.Options{URL: "https://fraud.example/"}},
		{"a negative timeout", "is negative", webhook.Options{URL: "https://fraud.example/", Secrets: secrets("x"), Timeout: -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := webhook.New(tt.options)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}
