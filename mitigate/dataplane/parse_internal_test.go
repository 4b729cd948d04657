package dataplane

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate"
)

func TestWhatTheAPIAnswersIsRead(t *testing.T) {
	for name, answer := range map[string]string{
		"version 2": `[{"info":{"pid":71,"uptime":9,"version":"2.6.12-1"},"runtimeAPI":"/s"}]`,
		"version 3": `{"info":{"pid":71,"uptime":9,"version":"2.6.12-1"},"runtimeAPI":"/s"}`,
	} {
		p, err := parseInfo([]byte(answer))
		require.NoError(t, err, name)
		assert.Equal(t, process{71, 9, "2.6.12-1"}, p, name)
	}
	for answer, want := range map[string]string{
		``: "no JSON", `[]`: "no process", `[1]`: "no process", `{}`: "nothing of HAProxy's pid", `{"info":{"pid":0}}`: "nothing of HAProxy's pid",
		`{"info":{"pid":1,"uptime":-1}}`: "nothing of HAProxy's pid", `{"error":"dial unix /s: connect: no such file"}`: "no such file",
	} {
		_, err := parseInfo([]byte(answer))
		assert.ErrorContains(t, err, want, answer)
	}

	h, err := parseLines([]byte(`[{"id":"0x1","key":"a","value":"1"},{"id":"0x2","key":"b","value":"2"}]`))
	require.NoError(t, err)
	assert.Equal(t, held{lines: map[string]string{"a": "1", "b": "2"}}, h)
	h, err = parseLines([]byte(`[{"key":"a","value":"1"},{"key":"a","value":"2"}]`))
	require.NoError(t, err)
	assert.Equal(t, held{lines: map[string]string{"a": "1"}, doubled: true}, h, "the first counts")
	h, err = parseLines([]byte(`[{"key":"pad:1","value":"1"},{"key":"100::1","value":"2"},{"key":"100::/64","value":"2"}]`))
	require.NoError(t, err)
	assert.Equal(t, held{lines: map[string]string{"100::/64": "2"}}, h, "what is there for its length is none")
	h, err = parseLines([]byte(`[{"key":"pad:1","value":"1"},{"key":"pad:1","value":"1"}]`))
	require.NoError(t, err)
	assert.Equal(t, held{lines: map[string]string{}, appended: true}, h)
	_, err = parseLines([]byte(`{}`))
	assert.Error(t, err)

	names, err := parseNames([]byte(`[{"file":"/a.map"},{"file":7},{},{"file":"/b.map"}]`), "file")
	require.NoError(t, err)
	assert.Equal(t, []string{"/a.map", "/b.map"}, names)

	hits, err := parseHits([]byte(`[{"key":"r:00000001000000ab","http_req_cnt":3},{"key":"p:00000001000000ab","http_req_cnt":4},{"key":"p:x","http_req_cnt":4},{"key":"p:00000001000000ac","http_req_cnt":-1}]`))
	require.NoError(t, err)
	assert.Equal(t, []mitigate.Hits{{ID: 0x1000000ab, Refused: 3, Passed: 4}}, hits)

	for _, tt := range []struct {
		status int
		answer string
		want   *refusal
	}{
		{404, `{"code":404,"message":"no"}`, &refusal{404, "no"}},
		{404, ``, &refusal{404, ""}},
		{502, `<html>`, nil},
		{404, `{}`, nil},
		{200, `{"code":404,"message":"no"}`, nil},
	} {
		got, ok := parseRefusal(tt.status, []byte(tt.answer))
		assert.Equal(t, tt.want, got, "%+v", tt)
		assert.Equal(t, tt.want != nil, ok)
	}
	assert.NoError(t, confirm([]byte(`{"key":"a","value":"1"}`), line{"a", "1"}))
	assert.Error(t, confirm([]byte(`{"key":"a","value":"2"}`), line{"a", "1"}))
	assert.Error(t, confirm([]byte(`{"key":"b","value":"1"}`), line{"a", "1"}))
	assert.Error(t, confirm(nil, line{"a", "1"}))
}

func TestShapesAreReadAsTheyAreWritten(t *testing.T) {
	for _, s := range []shapes{{}, {1 << 4, 1_795_309_653}, {1<<63 | 1, 1 << 32}} {
		assert.Equal(t, s, parseShapes(s.line().Value))
	}
	for _, wrong := range []string{"", "x", "1", "1:", "1:-1", "1:x", "11111111111111111:1"} {
		assert.Equal(t, shapes{}, parseShapes(wrong), wrong)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`[{"info":{"pid":71,"uptime":9,"version":"2.6.12-1"}}]`, `{"info":{"pid":71,"uptime":9}}`, `{"error":"x"}`, `[null]`,
		`[{"key":"a","value":"1"},{"key":"a","value":"2"},null]`, `[{"key":"r:00000001000000ab","http_req_cnt":3}]`,
		`[{"file":"/a"}]`, `{"code":404,"message":"no"}`, ``, `[`,
	} {
		f.Add([]byte(seed), uint16(404))
	}
	f.Fuzz(func(t *testing.T, answer []byte, status uint16) {
		if p, err := parseInfo(answer); err == nil && (p.pid <= 0 || p.uptime < 0 || len(p.name) > 64) {
			t.Errorf("%q is process %+v", answer, p)
		}
		if h, err := parseLines(answer); err == nil {
			var list []line
			if err := json.Unmarshal(answer, &list); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			list = slices.DeleteFunc(list, func(l line) bool { return isPad(l.Key) })
			for _, l := range list {
				if !seen[l.Key] && h.lines[l.Key] != l.Value {
					t.Errorf("%q is first %q and read as %q", l.Key, l.Value, h.lines[l.Key])
				}
				seen[l.Key] = true
			}
			if h.doubled != (len(seen) < len(list)) || len(h.lines) != len(seen) {
				t.Errorf("%q: %+v", answer, h)
			}
			networksOf(h)
		}
		if hits, err := parseHits(answer); err == nil {
			seen := map[mitigate.ID]bool{}
			for _, h := range hits {
				if seen[h.ID] || h.ID == 0 {
					t.Errorf("%q has %s twice, or none", answer, h.ID)
				}
				seen[h.ID] = true
			}
		}
		if names, err := parseNames(answer, "file"); err == nil {
			for _, n := range names {
				if n == "" {
					t.Errorf("%q has an empty name", answer)
				}
			}
		}
		if r, ok := parseRefusal(int(status), answer); ok && (r.Status < 400 || len(r.Message) > longestMessage) {
			t.Errorf("%q is %+v", answer, r)
		}
		if confirm(answer, line{"a", "1"}) == nil {
			var l line
			if json.Unmarshal(answer, &l) != nil || l != (line{"a", "1"}) {
				t.Errorf("%q confirms", answer)
			}
		}
	})
}

func FuzzShapes(f *testing.F) {
	f.Add("10:1795309653")
	f.Add("ffffffffffffffff:1")
	f.Fuzz(func(t *testing.T, value string) {
		s := parseShapes(value)
		if s.expires < 0 || parseShapes(s.line().Value) != s {
			t.Errorf("%q is %+v", value, s)
		}
	})
}
