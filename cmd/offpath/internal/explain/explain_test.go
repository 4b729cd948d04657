package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/cmd/offpath/internal/api"
	"offpath/detect"
	"offpath/detect/jsonl"
)

var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

const (
	verdictID = "00000001000000ff"
	findingID = "0000000100000001"
)

func verdict(change func(*detect.Verdict)) *detect.Verdict {
	v := &detect.Verdict{
		Time: noon.UnixNano(), ID: verdictID, Action: detect.ActionBlock, Mode: detect.ModeEnforce,
		Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.7/32")}, Expires: noon.Add(10 * time.Minute).UnixNano(),
		Findings: []string{findingID}, Policy: "credential-stuffing",
		Expected: detect.Expected{AttackRequestsPerMinute: 72.46, LegitimateRequestsPerMillion: 3.2}, Message: "Block 192.0.2.7 \x1b[2J.",
	}
	if change != nil {
		change(v)
	}
	return v
}

func finding() *detect.Finding {
	return &detect.Finding{
		Time: noon.UnixNano(), ID: findingID, Kind: "alert", Rule: detect.RuleLoginFailures, Technique: "OAT-008 Credential Stuffing", Severity: 70,
		Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.7/32")}, WindowStart: noon.Add(-time.Minute).UnixNano(), WindowEnd: noon.UnixNano(),
		Evidence: detect.Evidence{
			Statistic: 14.85, Baseline: 0.08, Threshold: 13.8,
			Terms:  []detect.Term{{Name: "half-life and bounds", Value: -0.01}, {Name: "failures", Value: 17.16}, {Name: "successes", Value: -2.3}},
			Events: []string{"e1", "e2"},
		},
		Message: "192.0.2.7 tried 7 logins.",
	}
}

// file writes lines to a file.
func file(t *testing.T, lines ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lines")
	require.NoError(t, os.WriteFile(path, bytes.Join(lines, nil), 0o600))
	return path
}

func text(t *testing.T, e *api.Explanation, now time.Time) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, Write(&b, e, now.UnixNano()))
	for line := range strings.Lines(b.String()) {
		assert.Equal(t, strings.TrimRight(line, " \n"), strings.TrimRight(line, "\n"), "no blanks at the end")
	}
	return b.String()
}

const transaction = `{"@timestamp":"2026-01-05T11:59:59.000000000Z","event":{"id":"e2","duration":5000000,"outcome":"failure"},"client":{"ip":"192.0.2.7"},` +
	`"http":{"request":{"method":"POST"},"response":{"status_code":401}},"offpath":{"outcome":"rejected","endpoint":"POST a/login","sequence":0}}` + "\n"

func TestAVerdictOfFilesIsExplained(t *testing.T) {
	path := file(t, jsonl.AppendFinding(nil, finding()), jsonl.AppendVerdict(nil, verdict(nil)))
	e, err := FromFiles(verdictID, path)
	require.NoError(t, err)
	other := strings.Replace(transaction, `"e2"`, `"e9"`, 1)
	reordered := `{"event": {"id": "e1"}}` + "\n"
	require.NoError(t, AddTransactions(e, file(t, []byte(other+transaction+reordered))))
	require.Len(t, e.Transactions, 2)
	assert.Equal(t, `Verdict 00000001000000ff
  Block 192.0.2.7 ·[2J.

  What      Refuse every request.
  Whom      192.0.2.7
            client.ip  192.0.2.7  the client's address
  Decided   2026-01-05 12:00:00.000
  Until     2026-01-05 12:10:00.000
  Mode      enforce
  By        detection, by the policy credential-stuffing
  Price     of a million legitimate requests it is expected to hit about 3.2
  Effect    it is expected to stop about 72 attack requests a minute

To undo: offpath lift 00000001000000ff; a network in client.allow is never acted against again.

Finding 0000000100000001
  192.0.2.7 tried 7 logins.

  Seen      2026-01-05 11:59:00.000 to 2026-01-05 12:00:00.000
  About     192.0.2.7
  Rule      sequential_login_failures
  Threat    OAT-008 Credential Stuffing
  Severity  70 of 100

  What was compared
    Of honest logins there about 8.0 % fail, of an attacker's nearly all.
    What was seen is about 2.8 million times as likely of an attacker as of honest clients; 980,000 times is needed to act.

  What it adds up from (odds, the weightiest first)
    +17.16  × 28 million  failures              Logins that failed. Each speaks for an attacker, at one account the further ones less.
    -2.30   ÷ 10          successes             Logins that were right. Each speaks for a customer.
    -0.01   no matter     half-life and bounds  Taken off for what is long ago, which counts half after a day, and for what lies beyond the bounds of the sum.

  Transactions, for example
    e1
    e2  2026-01-05 11:59:59.000  192.0.2.7  POST a/login  401 rejected
`, text(t, e, time.Time{}))
}

func TestAFindingIsExplainedWithItsVerdicts(t *testing.T) {
	path := file(t, jsonl.AppendFinding(nil, finding()), jsonl.AppendVerdict(nil, verdict(nil)))
	e, err := FromFiles(findingID, path)
	require.NoError(t, err)
	got := text(t, e, time.Time{})
	assert.True(t, strings.HasPrefix(got, "Finding "+findingID+"\n"))
	assert.Contains(t, got, "  Verdicts decided for it: 1\n    "+verdictID+"  block  192.0.2.7  until 2026-01-05 12:10:00.000\n")
	e, err = FromFiles(findingID, file(t, jsonl.AppendFinding(nil, finding())))
	require.NoError(t, err)
	assert.Contains(t, text(t, e, time.Time{}), "No verdict was decided for it.")
	e.More = 30
	for range 25 {
		e.Verdicts = append(e.Verdicts, jsonl.AppendVerdict(nil, verdict(nil)))
	}
	assert.Contains(t, text(t, e, time.Time{}), "… and 35 more")
}

func TestWhatBecameOfAVerdictIsSaid(t *testing.T) {
	line := func(v *detect.Verdict) json.RawMessage { return jsonl.AppendVerdict(nil, v) }
	refused := noon.Add(time.Minute)
	active := &api.Verdict{
		Verdict:     line(verdict(nil)),
		Enforcement: &api.Enforcement{State: "refused", Refused: 12, LastRefused: &refused},
		Targets:     []api.TargetVerdict{{Target: "lb1", State: "in_force", Refused: 12}, {Target: "lb2", State: "unsupported", Detail: "no such table"}},
	}
	lift := verdict(func(v *detect.Verdict) {
		v.Action, v.Findings, v.Message = detect.ActionLift, nil, "Lifted by operator."
	})
	operators := verdict(func(v *detect.Verdict) { v.Findings, v.Policy = nil, "" })
	for _, c := range []struct {
		name          string
		e             api.Explanation
		now           time.Time
		with, without []string
	}{
		{"in force", api.Explanation{Verdict: line(verdict(nil)), Lines: 3, Decided: "2026-01-05T11:00:00Z", Live: true, Active: active}, noon,
			[]string{"Decided   2026-01-05 11:00:00.000; renewed or changed 2 times, last 2026-01-05 12:00:00.000", "(it is in force)",
				"lb1  in force          12 refused, 0 let through", "lb2  not possible there  0 refused", "no such table",
				"On the wire: its requests are refused\n  12 refused (last 2026-01-05 12:01:00.000), 0 answered", "offpath lift"}, nil},
		{"over", api.Explanation{Verdict: line(verdict(nil)), Live: true}, noon.Add(time.Hour), []string{"(it is over)", "To undo: nothing"}, []string{"offpath lift"}},
		{"not in force although it should be", api.Explanation{Verdict: line(verdict(nil)), Live: true,
			Audit: []api.AuditEntry{{Time: noon, What: "refused", Who: "detection", Detail: "it would hit lb1"}}}, noon,
			[]string{"but it is not in force", "What was done\n  2026-01-05 12:00:00.000  refused  detection    it would hit lb1"}, nil},
		{"lifted", api.Explanation{Verdict: line(lift), Live: true}, noon, []string{"Nothing any more: it has been lifted.", "Lifted    2026-01-05 12:00:00.000", "To undo: nothing"}, []string{"offpath lift"}},
		{"an operator's", api.Explanation{Verdict: line(operators)}, noon, []string{"By        an operator"}, []string{"Why"}},
		{"its finding is no longer kept", api.Explanation{Verdict: line(verdict(nil))}, noon, []string{"1 finding is behind it no longer kept: " + findingID}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.e.Kind = "verdict"
			got := text(t, &c.e, c.now)
			for _, want := range c.with {
				assert.Contains(t, strings.Join(strings.Fields(got), " "), strings.Join(strings.Fields(want), " "))
			}
			for _, not := range c.without {
				assert.NotContains(t, got, not)
			}
		})
	}
}

func TestALongAuditIsShownWithItsBeginningAndItsEnd(t *testing.T) {
	e := &api.Explanation{Kind: "verdict", Verdict: jsonl.AppendVerdict(nil, verdict(nil))}
	for i := range 100 {
		e.Audit = append(e.Audit, api.AuditEntry{Time: noon.Add(time.Duration(i) * time.Second), What: "changed"})
	}
	got := text(t, e, noon)
	assert.Equal(t, maxListed, strings.Count(got, "changed")-strings.Count(got, "renewed or changed"))
	assert.Contains(t, got, "12:00:00.000  changed")
	assert.Contains(t, got, "… 80 more")
	assert.Contains(t, got, "12:01:39.000  changed")
}

func TestDamageIsToldFromWhatIsWrong(t *testing.T) {
	a, b := &capture.DamageError{File: "a", Err: errNoLine}, &capture.DamageError{File: "b", Err: errNoLine}
	damage, rest := Damage(errors.Join(a, errors.Join(api.ErrUnknownID, b)))
	assert.Equal(t, []*capture.DamageError{a, b}, damage)
	assert.Equal(t, api.ErrUnknownID.Error(), rest.Error())
	damage, rest = Damage(nil)
	assert.Empty(t, damage)
	assert.NoError(t, rest)
}
