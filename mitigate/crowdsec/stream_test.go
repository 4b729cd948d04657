package crowdsec_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/crowdsec"
	"offpath/mitigate/internal/targettest"
)

// lapi is a target that runs, and what tests ask it.
type lapi struct {
	*crowdsec.Target
	url  string
	stop func()
}

func serve(t *testing.T, journal string) *lapi {
	t.Helper()
	port := targettest.FreePorts(t, 1)[0]
	target := newTarget(t, port, journal)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); target.Run(ctx) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	_, err := target.Identity(ctx)
	require.NoError(t, err)
	return &lapi{target, fmt.Sprintf("http://127.0.0.1:%d", port), stop}
}

// enforcing is one that holds nothing, in mode enforce.
func enforcing(t *testing.T, journal string) *lapi {
	t.Helper()
	l := serve(t, journal)
	l.sync(t)
	require.NoError(t, l.SetMode(t.Context(), detect.ModeEnforce, false))
	return l
}

func (l *lapi) sync(t *testing.T, entries ...mitigate.Entry) {
	t.Helper()
	_, err := l.Sync(t.Context(), entries)
	require.NoError(t, err)
}

func (l *lapi) set(t *testing.T, entries ...mitigate.Entry) {
	t.Helper()
	require.NoError(t, l.Apply(t.Context(), entries, nil))
}

func (l *lapi) lift(t *testing.T, clients ...string) {
	t.Helper()
	var subjects []detect.Subject
	for _, c := range clients {
		subjects = append(subjects, detect.Subject{Client: targettest.Network(c)})
	}
	require.NoError(t, l.Apply(t.Context(), nil, subjects))
}

func entry(id uint32, client string, life time.Duration) mitigate.Entry {
	return mitigate.Entry{
		ID: mitigate.ID(uint64(0xabcd)<<32 | uint64(id)), Action: detect.ActionBlock,
		Subject: detect.Subject{Client: targettest.Network(client)}, Expires: time.Now().Add(life).Unix(),
	}
}

// ask makes a request as a bouncer; headers are name and value in turn.
func (l *lapi) ask(t *testing.T, method, path, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(method, l.url+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("X-Api-Key", apiKey)
	r.Header.Set("User-Agent", "crowdsec-test-bouncer/v1")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, answer.Header, string(text)
}

type told struct {
	Deleted, New []struct {
		Duration, Origin, Scenario, Scope, Type, Value string
		ID                                             int64
	}
}

// pull is a pull of the stream: the values that are new and those that are deleted.
func (l *lapi) pull(t *testing.T, query string, headers ...string) (fresh, deleted []string) {
	t.Helper()
	before := l.fetches()
	status, _, text := l.ask(t, "GET", "/v1/decisions/stream"+query, "", headers...)
	require.Equal(t, 200, status, text)
	targettest.Eventually(t, func() bool { return l.fetches() > before }, func() string { return "noted" })
	var a told
	require.NoError(t, json.Unmarshal([]byte(text), &a))
	for _, d := range a.New {
		fresh = append(fresh, d.Value)
	}
	for _, d := range a.Deleted {
		deleted = append(deleted, d.Value)
		assert.NotContains(t, fresh, d.Value, "no value is new and deleted at once")
	}
	return fresh, deleted
}

func (l *lapi) fetches() (n uint64) {
	for _, c := range l.Fetching().Consumers {
		n += c.Fetches
	}
	return n
}

func TestAnswersAreShapedAsThoseOfTheLocalAPI(t *testing.T) {
	l := enforcing(t, "")
	l.set(t, entry(1, "192.0.2.1", time.Hour), entry(2, "198.51.100.0/24", 2*time.Hour), entry(3, "2001:db8::1", time.Hour))
	status, header, text := l.ask(t, "GET", "/v1/decisions/stream?startup=true", "")
	assert.Equal(t, 200, status)
	assert.Equal(t, "application/json; charset=utf-8", header.Get("Content-Type"))
	assert.Equal(t, fmt.Sprint(len(text)), header.Get("Content-Length"))
	ids := regexp.MustCompile(`"id":(\d+)`)
	assert.Regexp(t, `^\{"deleted":\[\],"new":\[`+
		`\{"duration":"59m5\ds","id":\d+,"origin":"offpath","scenario":"offpath/block-0000abcd00000001","scope":"Ip","type":"ban","value":"192\.0\.2\.1"\},`+
		`\{"duration":"1h59m5\ds","id":\d+,"origin":"offpath","scenario":"offpath/block-0000abcd00000002","scope":"Range","type":"ban","value":"198\.51\.100\.0/24"\},`+
		`\{"duration":"59m5\ds","id":\d+,"origin":"offpath","scenario":"offpath/block-0000abcd00000003","scope":"Ip","type":"ban","value":"2001:db8::1"\}\]\}$`, text)
	for _, id := range ids.FindAllStringSubmatch(text, -1) {
		assert.LessOrEqual(t, len(id[1]), 16, "it fits a float of 64 bits")
	}
	l.lift(t, "192.0.2.1")
	_, _, text = l.ask(t, "GET", "/v1/decisions/stream", "")
	assert.Contains(t, text, `"deleted":[{"duration":"0s","id":`)
}

func TestWhoHasNoKeyIsToldNothing(t *testing.T) {
	l := enforcing(t, "")
	for name, path := range map[string]string{"the stream": "/v1/decisions/stream", "live": "/v1/decisions?ip=192.0.2.1", "its state": "/offpath", "anything": "/"} {
		for _, key := range []string{"", "wrong"} {
			status, _, text := l.ask(t, "GET", path, "", "X-Api-Key", key)
			assert.Equal(t, 403, status, name)
			assert.Equal(t, `{"message":"access forbidden"}`, text, name)
		}
	}
	assert.Equal(t, uint64(8), l.Fetching().Denied)
	assert.Empty(t, l.Fetching().Consumers)
	status, _, _ := l.ask(t, "HEAD", "/v1/decisions/stream", "")
	assert.Equal(t, 200, status, "HEAD tries a key")
	assert.Empty(t, l.Fetching().Consumers, "and changes nothing")
}

func TestUntilModeAndVerdictsAreKnownBouncersKeepWhatTheyHave(t *testing.T) {
	l := serve(t, "")
	unavailable := func() {
		for _, path := range []string{"/v1/decisions/stream?startup=true", "/v1/decisions?ip=192.0.2.1"} {
			status, _, _ := l.ask(t, "GET", path, "")
			assert.Equal(t, 503, status)
		}
	}
	unavailable()
	require.NoError(t, l.SetMode(t.Context(), detect.ModeEnforce, false))
	unavailable()
	l.sync(t, entry(1, "192.0.2.1", time.Hour))
	fresh, _ := l.pull(t, "?startup=true")
	assert.Equal(t, []string{"192.0.2.1"}, fresh)
}

func TestADeltaTellsAgainWhatTheOneBeforeTold(t *testing.T) {
	l := enforcing(t, "")
	l.set(t, entry(1, "192.0.2.1", time.Hour))
	l.pull(t, "?startup=true")
	l.pull(t, "")
	fresh, _ := l.pull(t, "")
	assert.Empty(t, fresh)
	l.set(t, entry(2, "192.0.2.2", time.Hour))
	l.lift(t, "192.0.2.1")
	for range 2 {
		fresh, deleted := l.pull(t, "")
		assert.Equal(t, []string{"192.0.2.2"}, fresh)
		assert.Equal(t, []string{"192.0.2.1"}, deleted)
	}
	fresh, deleted := l.pull(t, "?startup=false")
	assert.Empty(t, fresh)
	assert.Empty(t, deleted)
	fresh, deleted = l.pull(t, "", "User-Agent", "crowdsec-other/v1")
	assert.Equal(t, []string{"192.0.2.2"}, fresh, "another program at the same address has a state of its own")
	assert.Equal(t, []string{"192.0.2.1"}, deleted)
	fresh, deleted = l.pull(t, "?startup=true")
	assert.Equal(t, []string{"192.0.2.2"}, fresh, "one that begins is told everything")
	assert.Equal(t, []string{"192.0.2.1"}, deleted, "since scripts forget nothing")
}

func TestWhatANetworkStillCoversIsNotTakenBack(t *testing.T) {
	l := enforcing(t, "")
	l.set(t, entry(1, "198.51.100.0", time.Hour), entry(2, "198.51.100.0/24", time.Hour))
	for range 3 {
		l.pull(t, "")
	}
	l.lift(t, "198.51.100.0")
	_, deleted := l.pull(t, "")
	assert.Empty(t, deleted)
	l.pull(t, "")
	l.pull(t, "")
	l.lift(t, "198.51.100.0/24")
	_, deleted = l.pull(t, "")
	assert.ElementsMatch(t, []string{"198.51.100.0", "198.51.100.0/24"}, deleted)
}

func TestARenewedVerdictIsToldAgainWhenItsEarlierEndHasCome(t *testing.T) {
	l := enforcing(t, "")
	l.set(t, entry(1, "192.0.2.1", 3*time.Second))
	l.pull(t, "")
	l.set(t, entry(1, "192.0.2.1", time.Hour))
	for range 2 {
		fresh, _ := l.pull(t, "")
		assert.Equal(t, []string{"192.0.2.1"}, fresh, "the later end")
	}
	fresh, _ := l.pull(t, "")
	assert.Empty(t, fresh)
	targettest.Eventually(t, func() bool {
		fresh, deleted := l.pull(t, "")
		assert.Empty(t, deleted)
		return len(fresh) == 1
	}, func() string { return "told again" })
}

func TestWhatHasExpiredIsDeletedToo(t *testing.T) {
	l := enforcing(t, "")
	l.set(t, entry(1, "192.0.2.1", 3*time.Second))
	fresh, _ := l.pull(t, "")
	assert.Len(t, fresh, 1)
	targettest.Eventually(t, func() bool {
		_, deleted := l.pull(t, "")
		return len(deleted) == 1
	}, func() string { return "deleted" })
}

func TestOnlyEnforcedBlocksOutsideTheAllowListAreTold(t *testing.T) {
	l := enforcing(t, "")
	watched := entry(2, "192.0.2.2", time.Hour)
	watched.Monitor = true
	l.set(t, entry(1, "192.0.2.1", time.Hour), watched)
	fresh, _ := l.pull(t, "")
	assert.Equal(t, []string{"192.0.2.1"}, fresh)
	require.NoError(t, l.SetAllow(t.Context(), []netip.Prefix{targettest.Network("192.0.2.0/28")}))
	fresh, deleted := l.pull(t, "")
	assert.Empty(t, fresh)
	assert.Equal(t, []string{"192.0.2.1"}, deleted)
	err := l.Apply(t.Context(), []mitigate.Entry{entry(3, "192.0.2.0/24", time.Hour)}, nil)
	assert.ErrorContains(t, err, "overlaps the allow-list")
	require.NoError(t, l.SetAllow(t.Context(), nil))
	for _, mode := range []detect.Mode{detect.ModeMonitor, detect.ModeOff} {
		require.NoError(t, l.SetMode(t.Context(), detect.ModeEnforce, false))
		fresh, _ = l.pull(t, "")
		assert.Len(t, fresh, 2, mode)
		require.NoError(t, l.SetMode(t.Context(), mode, false))
		_, _, err := l.Mode(t.Context())
		assert.ErrorContains(t, err, "1 of 1 consumers have not fetched")
		fresh, deleted = l.pull(t, "")
		assert.Empty(t, fresh, mode)
		assert.NotEmpty(t, deleted, mode)
		got, _, err := l.Mode(t.Context())
		require.NoError(t, err)
		assert.Equal(t, mode, got)
	}
}

func TestQueriesLeaveOutWhatIsNotAskedFor(t *testing.T) {
	l := enforcing(t, "")
	l.set(t, entry(1, "192.0.2.1", time.Hour), entry(2, "198.51.100.0/24", time.Hour))
	for query, want := range map[string][]string{
		"":                              {"192.0.2.1", "198.51.100.0/24"},
		"?scopes=":                      {"192.0.2.1", "198.51.100.0/24"},
		"?scopes=ip":                    {"192.0.2.1"},
		"?scopes=Range,username":        {"198.51.100.0/24"},
		"?scopes=country":               nil,
		"?origins=cscli":                nil,
		"?origins=CAPI,offpath":         {"192.0.2.1", "198.51.100.0/24"},
		"?scenarios_containing=ssh":     nil,
		"?scenarios_containing=block":   {"192.0.2.1", "198.51.100.0/24"},
		"?scenarios_not_containing=off": nil,
		"?dedup=false&community_pull=true&nothing=": {"192.0.2.1", "198.51.100.0/24"},
	} {
		fresh, _ := l.pull(t, query+map[bool]string{true: "?", false: "&"}[query == ""]+"startup=true")
		assert.Equal(t, want, fresh, query)
	}
}

func TestLiveRequestsAreAnsweredForOneClient(t *testing.T) {
	l := enforcing(t, "")
	l.set(t, entry(1, "192.0.2.1", time.Hour), entry(2, "192.0.2.0/24", time.Hour), entry(3, "2001:db8:1::/48", time.Hour))
	for query, want := range map[string]string{
		"ip=192.0.2.1":                      "192.0.2.0/24 192.0.2.1",
		"ip=::ffff:192.0.2.9":               "192.0.2.0/24",
		"ip=192.0.3.1":                      "",
		"ip=2001:db8:1:2::3":                "2001:db8:1::/48",
		"range=192.0.2.0/25":                "192.0.2.0/24",
		"range=192.0.0.0/16&contains=false": "192.0.2.1 192.0.2.0/24",
		"scope=Ip&value=192.0.2.1":          "192.0.2.1",
		"scope=range&value=192.0.2.0/24":    "192.0.2.0/24",
		"scope=username&value=alice":        "",
		"ip=192.0.2.1&type=captcha":         "",
		"ip=192.0.2.1&type=ban&scopes=ip":   "192.0.2.1",
		"ip=192.0.2.1&origins=cscli":        "",
		"":                                  "192.0.2.1 192.0.2.0/24 2001:db8:1::/48",
	} {
		status, _, text := l.ask(t, "GET", "/v1/decisions?"+query, "")
		require.Equal(t, 200, status, query)
		if want == "" {
			assert.Equal(t, "null", text, query)
			continue
		}
		var all []struct{ Value string }
		require.NoError(t, json.Unmarshal([]byte(text), &all))
		var values []string
		for _, d := range all {
			values = append(values, d.Value)
		}
		assert.Equal(t, want, strings.Join(values, " "), query)
	}
	for _, query := range []string{"ip=example", "ip=192.0.2.0/24", "range=1.2.3", "ip=fe80::1%25eth0", "ip=%zz", "ip=192.0.2.1&a=" + strings.Repeat("x", 5000)} {
		status, _, _ := l.ask(t, "GET", "/v1/decisions?"+query, "")
		assert.Equal(t, 400, status, query)
	}
	assert.Empty(t, l.Unfetched(entry(1, "192.0.2.1", 0).ID), "who asks each time is never behind")
}

func TestAfterARestartWhatIsNotKnownIsTakenBack(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "published")
	l := enforcing(t, journal)
	l.set(t, entry(1, "192.0.2.1", time.Hour), entry(2, "192.0.2.2", time.Hour))
	l.pull(t, "?startup=true")
	l.lift(t, "192.0.2.1") // nobody hears of it
	l.stop()

	l = enforcing(t, journal)
	l.set(t, entry(2, "192.0.2.2", time.Hour))
	fresh, deleted := l.pull(t, "")
	assert.Equal(t, []string{"192.0.2.2"}, fresh)
	assert.Equal(t, []string{"192.0.2.1"}, deleted)
}

func TestALongAnswerIsCompressedAndWhole(t *testing.T) {
	l := enforcing(t, "")
	var many []mitigate.Entry
	for i := range uint32(5000) {
		many = append(many, entry(i+1, fmt.Sprintf("10.0.%d.%d", i>>8, i&255), time.Hour))
	}
	l.set(t, many...)
	fresh, _ := l.pull(t, "?startup=true")
	assert.Len(t, fresh, 5000)
	_, header, text := l.ask(t, "GET", "/v1/decisions/stream?startup=true", "", "Accept-Encoding", "br, gzip;q=0.5")
	assert.Equal(t, "gzip", header.Get("Content-Encoding"))
	assert.Equal(t, fmt.Sprint(len(text)), header.Get("Content-Length"))
	z, err := gzip.NewReader(strings.NewReader(text))
	require.NoError(t, err)
	plain, err := io.ReadAll(z)
	require.NoError(t, err)
	var a told
	require.NoError(t, json.Unmarshal(plain, &a))
	assert.Len(t, a.New, 5000)
	_, header, _ = l.ask(t, "GET", "/v1/decisions/stream?startup=true", "", "Accept-Encoding", "gzip;q=0")
	assert.Empty(t, header.Get("Content-Encoding"))
}

func TestAVerdictIsInForceOnceEveryConsumerHasFetchedIt(t *testing.T) {
	l := enforcing(t, "")
	e := entry(1, "192.0.2.1", time.Hour)
	l.set(t, e)
	assert.Equal(t, "published; nobody fetches it", l.Unfetched(e.ID))
	assert.Error(t, l.Prepared(t.Context()))
	_, err := l.Look(t.Context())
	assert.ErrorContains(t, err, "nobody fetches from it")
	l.pull(t, "")
	l.pull(t, "", "User-Agent", "other")
	assert.Empty(t, l.Unfetched(e.ID))
	require.NoError(t, l.Prepared(t.Context()))
	later := entry(2, "192.0.2.2", time.Hour)
	l.set(t, later)
	l.pull(t, "")
	assert.Equal(t, "published; 1 of 2 consumers have not fetched it", l.Unfetched(later.ID))
	f := l.Fetching()
	assert.Equal(t, 1, f.Behind)
	assert.Equal(t, []string{"crowdsec-test-bouncer@127.0.0.1", "other@127.0.0.1"}, []string{f.Consumers[0].Name, f.Consumers[1].Name})
	assert.Equal(t, []int{0, 1}, []int{f.Consumers[0].Behind, f.Consumers[1].Behind})
	l.pull(t, "", "User-Agent", "other")
	assert.Empty(t, l.Unfetched(later.ID))
	text, err := l.Look(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "crowdsec, 2 listed, 2 consumers", text)
	l.stop()
	text, err = l.Look(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "crowdsec, nobody can fetch before offpath runs", text)
}

func TestWhatBouncersReportIsCounted(t *testing.T) {
	l := enforcing(t, "")
	l.pull(t, "")
	status, header, text := l.ask(t, "POST", "/v1/usage-metrics", `{"remediation_components":[{"name":"b","metrics":[{"items":[
		{"name":"dropped","unit":"request","value":7,"labels":{"origin":"offpath","remediation":"ban"}},
		{"name":"dropped","unit":"byte","value":700,"labels":{"origin":"offpath"}},
		{"name":"dropped","unit":"request","value":5,"labels":{"origin":"CAPI"}},
		{"name":"processed","unit":"request","value":99,"labels":{}}],"meta":{}}]}],"log_processors":null}`)
	assert.Equal(t, 201, status)
	assert.Contains(t, header.Get("Content-Type"), "application/json")
	assert.True(t, json.Valid([]byte(text)))
	assert.Equal(t, uint64(7), l.Fetching().Consumers[0].Refused)
	for body, want := range map[string]int{"": 400, "[]": 400, "{": 400, strings.Repeat(" ", 2<<20): 413, "{}": 201} {
		status, _, _ := l.ask(t, "POST", "/v1/usage-metrics", body)
		assert.Equal(t, want, status)
	}
}

func TestItCarriesBlocksOfAddressesAndNetworksAndNothingElse(t *testing.T) {
	l := newTarget(t, targettest.FreePorts(t, 1)[0], "")
	for name, change := range map[string]func(*mitigate.Entry){
		"a rate":          func(e *mitigate.Entry) { e.Action = detect.ActionRateLimit },
		"a challenge":     func(e *mitigate.Entry) { e.Action = detect.ActionChallenge },
		"a tag":           func(e *mitigate.Entry) { e.Action = detect.ActionTag },
		"an endpoint":     func(e *mitigate.Entry) { e.Subject.Endpoint = "POST a.example/login" },
		"a program":       func(e *mitigate.Entry) { e.Subject.Fingerprint = "0123456789abcdef" },
		"a program alone": func(e *mitigate.Entry) { e.Subject = detect.Subject{UserAgent: "x"} },
		"everybody":       func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix("0.0.0.0/0") },
		"an account":      func(e *mitigate.Entry) { e.Subject = detect.Subject{UserHash: "x"} },
	} {
		e := entry(1, "192.0.2.1", time.Hour)
		assert.NoError(t, l.Carries(&e))
		change(&e)
		assert.ErrorIs(t, l.Carries(&e), mitigate.ErrUnsupported, name)
	}
}

func TestSetupNamesTheURLThatBouncersUse(t *testing.T) {
	c, err := crowdsec.Setup{}.Render()
	require.NoError(t, err)
	assert.Contains(t, c.Guide, "api_url: http://127.0.0.1:8080/\n")
	c, err = crowdsec.Setup{Address: "tcp:0.0.0.0:8443", TLS: true}.Render()
	require.NoError(t, err)
	assert.Contains(t, c.Guide, "api_url: https://offpath.example:8443/\n")
	_, err = crowdsec.Setup{Address: "unix:/a b"}.Render()
	assert.Error(t, err)
}
