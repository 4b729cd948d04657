package netscaler

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
)

func password() ([]byte, error) { return []byte("p"), nil }

func TestWhatItCantCarryExactlyIsSaid(t *testing.T) {
	target, err := New(Options{Address: "https://a", User: "u", Password: password})
	require.NoError(t, err)
	whole := mitigate.Entry{
		ID: 0xabcd00000001, Action: detect.ActionBlock, Expires: 1_795_309_653,
		Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.0/24")},
	}
	require.NoError(t, target.Carries(&whole))
	client := func(text string) func(*mitigate.Entry) {
		return func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix(text) }
	}
	for reason, change := range map[string]func(*mitigate.Entry){
		`no action "challenge"`: func(e *mitigate.Entry) { e.Action = detect.ActionChallenge },
		`no action "rate_limit"`: func(e *mitigate.Entry) {
			e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: int64(time.Second)}
		},
		"addresses and networks alone": func(e *mitigate.Entry) { e.Subject.Fingerprint = "0123456789abcdef" },
		"names nothing":                func(e *mitigate.Entry) { e.Subject = detect.Subject{} },
		"as seen on the wire":          client("::ffff:192.0.2.1/128"),
		"has 20 bits":                  client("192.0.0.0/20"),
		"has 32 bits":                  client("2001:db8::/32"),
		"expiry 0":                     func(e *mitigate.Entry) { e.Expires = 0 },
		"expiry 2147483648":            func(e *mitigate.Entry) { e.Expires = 1 << 31 },
	} {
		e := whole
		change(&e)
		err := target.Carries(&e)
		assert.ErrorIs(t, err, mitigate.ErrUnsupported, reason)
		assert.ErrorContains(t, err, reason)
		assert.Error(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil), reason)
	}
}

func TestOptionsAndSetupRefuseWhatCantBe(t *testing.T) {
	for _, address := range []string{"", "a:443", "http://192.0.2.1", "http://localhost", "https://a@b", "https://a/b", "ftp://a"} {
		_, err := New(Options{Address: address, User: "u", Password: password})
		assert.Error(t, err, address)
		if address != "" {
			_, err = Setup{Address: address}.Render()
			assert.Error(t, err, address)
		}
	}
	for _, o := range []Options{{}, {User: "u"}, {Password: password}, {User: "u", Password: password, Timeout: -1}} {
		o.Address = "https://a"
		_, err := New(o)
		assert.Error(t, err, "%+v", o)
	}
	for _, s := range []Setup{{Name: "a b"}, {User: "[x]"}} {
		_, err := s.Render()
		assert.Error(t, err, "%+v", s)
	}
}

func FuzzRecordsAreReadAsTheyAreWritten(f *testing.F) {
	for _, text := range []string{"e:block:1795309653:fedcba9876543210", "w:tag:1:0000000100000001", "e:block:1:0", "-"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, ok := parseRecord(text); ok && r.String() != text {
			t.Fatalf("%q is read as %q", text, r)
		}
	})
}

func FuzzAnswersOfNITRO(f *testing.F) {
	f.Add([]byte(`{"errorcode":0,"message":"Done","severity":"NONE","policystringmap_pattern_binding":[{"name":"offpath_verdicts","key":"::1","value":"x"}]}`))
	f.Add([]byte(`{"errorcode":1243,"message":"Bulk operation failed","severity":"ERROR","response":[{"errorcode":273,"message":"Resource already exists"},{"errorcode":258,"message":"No such resource"}]}`))
	f.Add([]byte(`{"errorcode":0,"message":"Done","sessionid":"##ABC"}`))
	f.Add([]byte(`{"errorcode":0,"policystringmap":[{"name":"offpath_verdicts","comment":"offpath setup 1"}]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		_, _ = parseBindings(mapBinding, answer)
		_ = checkMark(answer)
		for _, status := range []int{200, 201, 207, 401, 404, 599} {
			err := parseStatus(status, answer)
			if err != nil && len(err.Error()) > 4*300+100 {
				t.Fatalf("an error of %d octets", len(err.Error()))
			}
			if err == nil && status != http.StatusOK && status != http.StatusCreated {
				t.Fatalf("%d is no error", status)
			}
		}
		if id, err := parseLogin(answer); err == nil && (id == "" || strings.ContainsAny(id, "\r\n;, ")) {
			t.Fatalf("session %q", id)
		}
	})
}

func TestAnAllowListIsTheSameHoweverItIsWritten(t *testing.T) {
	for value, same := range map[string]string{
		"192.0.2.1": "192.0.2.1", "192.0.2.1/32": "192.0.2.1", "192.0.2.9/24": "192.0.2.0/24",
		"2001:DB8::/32": "2001:db8::/32", "2001:db8:0:0::1/128": "2001:db8::1", "a person's": "a person's",
	} {
		assert.Equal(t, same, canonical(value), value)
	}
}
