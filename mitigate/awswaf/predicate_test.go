package awswaf_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/awswaf"
	"offpath/mitigate/internal/awswaftest"
)

const ja4 = "t13d1516h2_8daaf6152771_b186095e22b6"

// about is a block of a program or domain for an hour.
func about(id uint32, s detect.Subject) mitigate.Entry {
	e := entry(id, "203.0.113.1")
	e.Subject = s
	return e
}

func refusedFor(e mitigate.Entry) awswaftest.Verdict {
	return awswaftest.Verdict{Status: 403, Marker: e.ID.String()}
}

func TestProgramsAndDomainsHaveRulesOfTheirOwnWithTheirMarker(t *testing.T) {
	_, judge, target := enforcing(t)
	tls, agent := about(1, detect.Subject{JA4: ja4}), about(2, detect.Subject{UserAgent: "curl/8.0 (x.y*)"})
	both := about(3, detect.Subject{JA4: ja4, UserAgent: "curl/9"})
	domain := about(4, detect.Subject{Domain: "old.bank.example", UserAgent: "app"})
	sync(t, target, tls, agent, both, domain)
	ask := func(r awswaftest.Request) awswaftest.Verdict {
		r.Client = "192.0.2.1"
		return judge.Requests(t, r)[0]
	}
	assert.Equal(t, refusedFor(tls), ask(awswaftest.Request{JA4: ja4, UserAgent: "other"}))
	assert.Equal(t, refusedFor(both), ask(awswaftest.Request{JA4: ja4, UserAgent: "curl/9"}), "the most specific")
	assert.Equal(t, refusedFor(agent), ask(awswaftest.Request{UserAgent: "curl/8.0 (x.y*)"}))
	for host, want := range map[string]awswaftest.Verdict{
		"old.bank.example": refusedFor(domain), "OLD.bank.example:8443": refusedFor(domain), "old.bank.example.": refusedFor(domain),
		"oldxbank.example": passed, "very.old.bank.example": passed, "old.bank.example.org": passed,
	} {
		assert.Equal(t, want, ask(awswaftest.Request{Host: host, UserAgent: "app"}), host)
	}
	for _, r := range []awswaftest.Request{{}, {UserAgent: "curl/9"}, {UserAgent: "curl/8.0 (xzy*)"}, {Host: "old.bank.example"}} {
		assert.Equal(t, passed, ask(r), "%+v", r)
	}
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{agent.Subject}))
	assert.Equal(t, passed, ask(awswaftest.Request{UserAgent: "curl/8.0 (x.y*)"}), "lifted")
	assert.Equal(t, mitigate.SyncReport{Held: 3, Compared: true, Set: 1, Removed: 1}, sync(t, target, tls, both, agent))
	assert.Equal(t, refusedFor(agent), ask(awswaftest.Request{UserAgent: "curl/8.0 (x.y*)"}))
	assert.Equal(t, mitigate.SyncReport{Held: 3, Compared: true, Removed: 3}, sync(t, target))
	assert.Equal(t, passed, ask(awswaftest.Request{JA4: ja4}))
}

func TestAClientsOwnVerdictAndTheAllowListGoBeforeAProgramsRule(t *testing.T) {
	f, judge, target := enforcing(t)
	program := about(1, detect.Subject{JA4: ja4})
	sync(t, target, program, limited(2, "203.0.113.7", rates[0]), watched(entry(3, "203.0.113.8")))
	require.NoError(t, target.SetAllow(t.Context(), proxies))
	ask := func(client string) awswaftest.Verdict {
		return judge.Requests(t, awswaftest.Request{Client: client, JA4: ja4})[0]
	}
	assert.Equal(t, passed, ask("203.0.113.7"), "within its own rate")
	want := refusedFor(program)
	assert.Equal(t, want, ask("203.0.113.9"))
	want.Counted = " offpath-watch"
	assert.Equal(t, want, ask("203.0.113.8"), "one that only watches hides none that is enforced")
	assert.Equal(t, passed, ask("198.51.100.7"), "allowed")

	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	assert.Equal(t, awswaftest.Verdict{Status: 200, Counted: " offpath-verdict-e-" + program.ID.String()}, ask("203.0.113.9"))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	writes := f.Count("UpdateRuleGroup")
	other := about(4, detect.Subject{UserAgent: "x"})
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{watched(other)}, nil))
	assert.Equal(t, writes, f.Count("UpdateRuleGroup"), "off stays off")
	assert.Equal(t, passed, ask("203.0.113.9"))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, refusedFor(program), ask("203.0.113.9"))
	assert.Equal(t, awswaftest.Verdict{Status: 200, Counted: " offpath-verdict-w-" + other.ID.String()}, judge.Requests(t, awswaftest.Request{Client: "192.0.2.1", UserAgent: "x"})[0])
}

func TestRulesOfVerdictsEndAndAreFew(t *testing.T) {
	_, judge, target := enforcing(t, func(o *awswaf.Options) { o.Rules = 2 })
	var entries []mitigate.Entry
	for i := range uint32(4) {
		e := about(i+1, detect.Subject{UserAgent: fmt.Sprint("bot/", i)})
		e.Expires += int64(i)
		e.Monitor = i == 3
		entries = append(entries, e)
	}
	var rejected *mitigate.RejectedError
	_, err := target.Sync(t.Context(), entries)
	require.ErrorAs(t, err, &rejected)
	require.Len(t, rejected.Rejections, 2)
	assert.Equal(t, entries[3].ID, rejected.Rejections[0].ID, "what only watches goes first")
	assert.Equal(t, entries[0].ID, rejected.Rejections[1].ID, "then what ends first")

	soon := about(9, detect.Subject{JA4: ja4})
	soon.Expires = time.Now().Unix() + 2
	sync(t, target, soon, entries[1])
	ask := func(r awswaftest.Request) int { r.Client = "192.0.2.1"; return judge.Requests(t, r)[0].Status }
	require.Equal(t, 403, ask(awswaftest.Request{JA4: ja4}))
	time.Sleep(time.Until(time.Unix(soon.Expires, 0)))
	require.NoError(t, target.Sweep(t.Context()))
	assert.Equal(t, []int{200, 403}, []int{ask(awswaftest.Request{JA4: ja4}), ask(awswaftest.Request{UserAgent: "bot/1"})})
}

func TestPredicatesThatAWSCantMatchExactlyAreUnsupported(t *testing.T) {
	target := newTarget(t, "http://127.0.0.1:1")
	client := entry(1, "203.0.113.1").Subject.Client
	for reason, s := range map[string]detect.Subject{
		"it matches JA4":            {Fingerprint: "0123456789abcdef"},
		"beside addresses":          {JA4: ja4, Client: client},
		"JA4, User-Agent":           {Endpoint: "GET bank.example/login"},
		"domain alone":              {JA4: ja4, Session: "0123456789abcdef"},
		"is no JA4":                 {JA4: "t13d1516h2"},
		"is longer than 200":        {UserAgent: strings.Repeat("a", 201)},
		"more than printable ASCII": {UserAgent: "caf\u00e9"},
		"is no plain name":          {Domain: "[::1]"},
	} {
		e := about(1, s)
		err := target.Carries(&e)
		assert.ErrorIs(t, err, mitigate.ErrUnsupported, reason)
		assert.ErrorContains(t, err, reason)
	}
	e := about(1, detect.Subject{JA4: ja4})
	e.Action, e.Rate = detect.ActionRateLimit, rates[0]
	assert.ErrorContains(t, target.Carries(&e), "of a program or domain it has no action")
	e = about(1, detect.Subject{JA4: ja4, UserAgent: strings.Repeat("a", 200), Domain: "Bank.example."})
	assert.NoError(t, target.Carries(&e))
}
