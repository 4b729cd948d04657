package jsonl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
)

func found() *detect.Finding {
	return &detect.Finding{
		Time: noon, ID: "0000000100000001", Kind: "campaign", Rule: "r", Technique: "OAT-008 Credential Stuffing", Severity: 70,
		Subject: everything().Subject, WindowStart: noon - 5e9, WindowEnd: noon,
		Evidence: detect.Evidence{
			Statistic: 14.8, Baseline: 0.08, Threshold: 13.8056, Terms: []detect.Term{{Name: "wrong\\", Value: 14.8}, {Name: "right", Value: -1}},
			Events: []string{"e1", "e2"},
		},
		Campaign: &detect.Campaign{ID: "c", State: "open", Attempts: 4, Accounts: 3, AccountsHit: 2, Addresses: 1},
		Message:  "It failed \xff.",
	}
}

func TestReadingAFindingIsTheInverseOfWritingIt(t *testing.T) {
	for _, want := range []*detect.Finding{found(), {ID: "x", Kind: "alert"}} {
		got, err := ParseFinding(AppendFinding(nil, want))
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

func TestWhatIsNoFindingIsSaid(t *testing.T) {
	good := string(AppendFinding(nil, found()))
	for _, c := range []struct{ name, line, want string }{
		{"no JSON", `{`, "unexpected end of JSON input"},
		{"a verdict", string(AppendVerdict(nil, block())), "no finding: event.id or event.kind is missing"},
		{"no time", strings.Replace(good, "2026-01-05T12:00", "yesterday", 1), "@timestamp: "},
		{"no window", strings.Replace(good, `"start":"2026`, `"start":"yester`, 1), "offpath.window.start: "},
		{"no network", strings.Replace(good, "2001:db8:1:2::/64", "2001:db8::/640", 1), "offpath.subject.client.ip: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseFinding([]byte(c.line))
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func FuzzParseFinding(f *testing.F) {
	f.Add(AppendFinding(nil, found()))
	f.Fuzz(func(t *testing.T, line []byte) {
		v, err := ParseFinding(line)
		if err != nil {
			return
		}
		again, err := ParseFinding(AppendFinding(nil, v))
		require.NoError(t, err)
		assert.Equal(t, v, again)
	})
}
