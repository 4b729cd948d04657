package nginx

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
)

func TestAnswersToOrdersAreReadLineByLine(t *testing.T) {
	refusals, err := parseApplied("refused 1 no memory\nread 3\n", 3)
	require.NoError(t, err)
	assert.Equal(t, []refusal{{1, "no memory"}}, refusals)
	for _, text := range []string{"", "read 2\n", "read 3\nread 3\n", "refused 3 x\nread 3\n", "refused -1 x\nread 3\n", "read -1\nread 3\n", "refused x\n", "more\nread 3\n"} {
		_, err := parseApplied(text, 3)
		assert.Error(t, err, "%q", text)
	}
}

func TestCountersThatAreNoneAreLeftOut(t *testing.T) {
	hits := parseHits("r0000000100000002 3\np0000000100000002 4\nx0000000100000002 5\nr1 1\nr0000000100000003 x\n\nr0000000000000003 1\np0000000100000004 1\n")
	assert.Equal(t, []mitigate.Hits{{ID: 1<<32 + 2, Refused: 3, Passed: 4}, {ID: 1<<32 + 4, Passed: 1}}, hits)
}

func FuzzStatus(f *testing.F) {
	f.Add("start 0123456789abcdef\nsoftware 1022001/10023\nclock 1.5\nsetup 1\nshards 16\nmode 2\noff 0\nreadable 1\n")
	f.Add("clock NaN\nmode -1\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseStatus(text)
		if err == nil {
			assert.Len(t, s.start, 16)
			assert.GreaterOrEqual(t, s.mode, 0)
		}
	})
}

func FuzzApplied(f *testing.F) {
	f.Add("refused 1 no memory\nread 3\n", uint16(3))
	f.Fuzz(func(t *testing.T, text string, lines uint16) {
		n := int(lines)
		refusals, err := parseApplied(text, n)
		if err != nil {
			return
		}
		assert.LessOrEqual(t, len(refusals), n)
		for _, r := range refusals {
			assert.True(t, 0 <= r.line && r.line < n)
			assert.LessOrEqual(t, len(r.reason), maxReason)
		}
	})
}

func FuzzRows(f *testing.F) {
	f.Add("4/32/7f010203 b" + strings.Repeat("0", 37) + "\n")
	f.Add("p/" + strings.Repeat("a", 64) + " T" + strings.Repeat("f", 37) + "\n6/3/2 r\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := parseRows(text)
		if err != nil {
			return
		}
		for key, row := range rows {
			assert.True(t, isKey(key) && isRow(row) && !strings.ContainsAny(key+row, " \n"), "%q %q", key, row)
		}
	})
}

func FuzzHits(f *testing.F) {
	f.Add("r0000000100000002 3\np0000000100000002 4\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, h := range parseHits(text) {
			upper, lower := h.ID.Halves()
			assert.True(t, upper != 0 && lower != 0)
		}
	})
}

func FuzzOrders(f *testing.F) {
	f.Add("bank.example", "cracker/1 (x)", "GET a.example/b", 60, int64(1e9))
	f.Add("a\nb", "x\n+4/0/ b", "GET a/ \n-4/32/00000000", 0, int64(-1))
	f.Fuzz(func(t *testing.T, domain, agent, endpoint string, requests int, per int64) {
		for _, s := range []detect.Subject{{Domain: domain}, {UserAgent: agent}, {Endpoint: endpoint}, {UserAgent: agent, Domain: domain}} {
			e := mitigate.Entry{ID: 1<<32 + 1, Action: detect.ActionRateLimit, Rate: detect.Rate{Requests: requests, Per: per}, Subject: s, Expires: 1}
			p, reason := locate(s)
			row, other := encode(&e)
			if reason == "" && other == "" {
				assert.True(t, isKey(p.key), "%q", p.key)
				assert.True(t, isRow(row), "%q", row)
			}
		}
	})
}
