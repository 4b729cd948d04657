package jsonl

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
)

// noon is 2026-01-05T12:00:00.000000007Z.
var noon = time.Date(2026, 1, 5, 12, 0, 0, 7, time.UTC).UnixNano()

func block() *detect.Verdict {
	return &detect.Verdict{
		Time: noon, ID: "00000001000000ab", Action: detect.ActionBlock,
		Subject: detect.Subject{Client: netip.MustParsePrefix("203.0.113.7/32")},
		Mode:    detect.ModeMonitor, Expires: noon + 600e9, Findings: []string{"0000000100000001"},
		Expected: detect.Expected{AttackRequestsPerMinute: 72.5}, Message: "Block.",
	}
}

func everything() *detect.Verdict {
	v := block()
	v.Action = detect.ActionRateLimit
	v.Rate = detect.Rate{Requests: 10, Per: 60e9}
	v.Subject = detect.Subject{
		Client: netip.MustParsePrefix("2001:db8:1:2::/64"), Fingerprint: "fp", UserAgent: "curl\\8 \xff\"é", JA4: "t13d", Endpoint: "GET a/{id}",
		Domain: "a.example", Session: "s", UserHash: "u",
	}
	v.Findings = []string{"a", "b"}
	v.Policy = "p"
	return v
}

func TestVerdictLine(t *testing.T) {
	assert.Equal(t, `{"@timestamp":"2026-01-05T12:00:00.000000007Z","event":{"id":"00000001000000ab"},`+
		`"offpath":{"action":"block","subject":{"client":{"ip":"203.0.113.7"}},"mode":"monitor","expires":"2026-01-05T12:10:00.000000007Z",`+
		`"finding":["0000000100000001"],"expected":{"attack_requests_per_minute":72.5,"legitimate_requests_per_million":0}},"message":"Block."}`+"\n",
		string(AppendVerdict(nil, block())))
}

func TestVerdictLineWithEveryMember(t *testing.T) {
	assert.Equal(t, `{"@timestamp":"2026-01-05T12:00:00.000000007Z","event":{"id":"00000001000000ab"},`+
		`"offpath":{"action":"rate_limit","subject":{"client":{"ip":"2001:db8:1:2::/64"},"offpath":{"fingerprint":"fp","endpoint":"GET a/{id}","session":"s"},`+
		`"user_agent":{"original":"curl\\\\8 \\xff\"é"},"tls":{"client":{"ja4":"t13d"}},"url":{"domain":"a.example"},"user":{"hash":"u"}},`+
		`"rate":{"requests":10,"per":"60s"},"mode":"monitor","expires":"2026-01-05T12:10:00.000000007Z",`+
		`"finding":["a","b"],"policy":"p","expected":{"attack_requests_per_minute":72.5,"legitimate_requests_per_million":0}},"message":"Block."}`+"\n",
		string(AppendVerdict(nil, everything())))
}

func TestFindingLine(t *testing.T) {
	f := &detect.Finding{
		Time: noon, ID: "0000000100000001", Kind: "alert", Rule: "r", Technique: "OAT-008 Credential Stuffing", Severity: 70,
		Subject: detect.Subject{Client: netip.MustParsePrefix("203.0.113.7/32")}, WindowStart: noon - 5e9, WindowEnd: noon,
		Evidence: detect.Evidence{
			Statistic: 14.8, Baseline: 0.08, Threshold: 13.8056, Terms: []detect.Term{{Name: "failures", Value: 14.8}, {Name: "successes", Value: 0}},
			Events: []string{"e1", "e2"},
		},
		Campaign: &detect.Campaign{ID: "c", State: "open", Attempts: 4, Accounts: 3, AccountsHit: 2, Addresses: 1},
		Message:  "It failed.",
	}
	assert.Equal(t, `{"@timestamp":"2026-01-05T12:00:00.000000007Z","event":{"id":"0000000100000001","kind":"alert","severity":70},`+
		`"rule":{"name":"r"},"threat":{"technique":{"name":"OAT-008 Credential Stuffing"}},`+
		`"offpath":{"subject":{"client":{"ip":"203.0.113.7"}},"window":{"start":"2026-01-05T11:59:55.000000007Z","end":"2026-01-05T12:00:00.000000007Z"},`+
		`"evidence":{"statistic":14.8,"baseline":0.08,"threshold":13.8056,"terms":[{"name":"failures","value":14.8},{"name":"successes","value":0}],"events":["e1","e2"]},`+
		`"campaign":{"id":"c","state":"open","attempts":4,"accounts":3,"accounts_hit":2,"addresses":1}},"message":"It failed."}`+"\n",
		string(AppendFinding(nil, f)))
}

func TestWhatJSONCannotHoldIsLeftOut(t *testing.T) {
	f := &detect.Finding{Evidence: detect.Evidence{Statistic: math.Inf(1), Baseline: math.NaN()}}
	line := AppendFinding(nil, f)
	assert.True(t, json.Valid(line))
	assert.NotContains(t, string(line), "statistic")
}

func TestReadingIsTheInverseOfWriting(t *testing.T) {
	var file []byte
	want := []*detect.Verdict{block(), everything(), {ID: "x", Action: detect.ActionLift}}
	for _, v := range want {
		file = AppendVerdict(append(file, '\n'), v)
	}
	r := NewReader(bytes.NewReader(file))
	for _, v := range want {
		require.True(t, r.Next(), "%v", r.Err())
		assert.Equal(t, v, r.Verdict())
	}
	assert.False(t, r.Next())
	assert.NoError(t, r.Err())
}

func TestBadLinesAreReportedWithTheirPlace(t *testing.T) {
	good := strings.TrimSuffix(string(AppendVerdict(nil, everything())), "\n")
	for _, c := range []struct{ name, line, want string }{
		{"no JSON", `{`, "line 2: unexpected end of JSON input"},
		{"a transaction", `{"event":{"id":"1"}}`, "line 2: no verdict: event.id or offpath.action is missing"},
		{"no time", strings.Replace(good, "2026-01-05T12:00", "yesterday", 1), "line 2: @timestamp: "},
		{"a time out of range", strings.Replace(good, "2026-01-05T12:00", "9026-01-05T12:00", 1), `line 2: @timestamp: "9026-01-05T12:00:00.000000007Z" is outside of the years 1678 to 2261`},
		{"no expiry", strings.Replace(good, "2026-01-05T12:10", "never", 1), "line 2: offpath.expires: "},
		{"no network", strings.Replace(good, "2001:db8:1:2::/64", "2001:db8::/640", 1), "line 2: offpath.subject.client.ip: "},
		{"no period", strings.Replace(good, `"60s"`, `"minute"`, 1), "line 2: offpath.rate.per: "},
		{"too long", strings.Repeat(" ", maxLine+1), "line 2: bufio.Scanner: token too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(good + "\n" + c.line + "\n" + good))
			require.True(t, r.Next())
			assert.False(t, r.Next())
			var line *LineError
			require.ErrorAs(t, r.Err(), &line)
			assert.Contains(t, r.Err().Error(), c.want)
			assert.False(t, r.Next(), "it stays at its error")
		})
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	buf, v := make([]byte, 0, 4096), everything()
	assert.Zero(t, testing.AllocsPerRun(100, func() { buf = AppendVerdict(buf[:0], v) }))
}

func FuzzVerdict(f *testing.F) {
	f.Add("block", "203.0.113.0/24", "agent\\\x00\xff", "message\u2028", int64(1), int64(2), 1.5, 10, int64(60))
	f.Fuzz(func(t *testing.T, action, network, agent, message string, at, expires int64, rate float64, requests int, per int64) {
		v := &detect.Verdict{
			ID: "id" + agent, Action: detect.Action(action), Time: at, Expires: expires, Message: message,
			Subject: detect.Subject{UserAgent: agent, Domain: message, Session: action},
		}
		if p, err := netip.ParsePrefix(network); err == nil {
			v.Subject.Client = p
		}
		if !math.IsNaN(rate) && !math.IsInf(rate, 0) {
			v.Expected.AttackRequestsPerMinute = rate
		}
		if per > 0 && per < 1e9 {
			v.Rate = detect.Rate{Requests: requests, Per: per * 1e9}
		}
		line := AppendVerdict(nil, v)
		require.True(t, json.Valid(line), "%s", line)
		require.Equal(t, 1, bytes.Count(line, []byte("\n")))
		if action == "" {
			return
		}
		got, err := ParseVerdict(line)
		require.NoError(t, err)
		assert.Equal(t, v, got)
	})
}

func FuzzParseVerdict(f *testing.F) {
	f.Add(AppendVerdict(nil, everything()))
	f.Fuzz(func(t *testing.T, line []byte) {
		v, err := ParseVerdict(line)
		if err != nil {
			return
		}
		again, err := ParseVerdict(AppendVerdict(nil, v))
		require.NoError(t, err)
		v.Rate.Per -= v.Rate.Per % 1e9 // whole seconds
		if v.Rate == (detect.Rate{}) {
			again.Rate = detect.Rate{}
		}
		assert.Equal(t, v, again)
	})
}

func TestAnAccountIsALine(t *testing.T) {
	a := detect.Account{Campaign: "00000001000000ff", UserHash: `b"c`, Hit: true, First: 1e9, Last: 61e9}
	assert.JSONEq(t, `{"campaign":"00000001000000ff","user":{"hash":"b\"c"},"hit":true,"first":"1970-01-01T00:00:01.000000000Z","last":"1970-01-01T00:01:01.000000000Z"}`,
		string(AppendAccount(nil, &a)))
	a = detect.Account{Campaign: "x", First: 1, Last: 1}
	assert.Contains(t, string(AppendAccount(nil, &a)), `"hit":false`)
}
