package f5bigip

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
)

func password() ([]byte, error) { return []byte("p"), nil }

func TestUnsupportedIsSaidWithItsReason(t *testing.T) {
	target, err := New(Options{Address: "https://bigip.example", User: "u", Password: password})
	require.NoError(t, err)
	whole := mitigate.Entry{
		ID: 1<<32 | 1, Action: detect.ActionBlock, Expires: time.Now().Unix() + 60,
		Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.1/32")},
	}
	require.NoError(t, target.Carries(&whole))
	limit := func(requests int, per time.Duration) func(e *mitigate.Entry) {
		return func(e *mitigate.Entry) {
			e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: requests, Per: int64(per)}
		}
	}
	e := whole
	limit(10, time.Minute)(&e)
	require.NoError(t, target.Carries(&e))
	for reason, change := range map[string]func(*mitigate.Entry){
		`no action "challenge"`:        func(e *mitigate.Entry) { e.Action = detect.ActionChallenge },
		"10 requests per 1.5s is not":  limit(10, 1500*time.Millisecond),
		"0 requests per 1s is not":     limit(0, time.Second),
		"1 requests per 25h0m0s":       limit(1, 25*time.Hour),
		"addresses and networks alone": func(e *mitigate.Entry) { e.Subject.Fingerprint = "0123456789abcdef" },
		"names nothing":                func(e *mitigate.Entry) { e.Subject = detect.Subject{} },
		"as seen on the wire":          func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix("::ffff:192.0.2.1/128") },
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
	for _, o := range []Options{{}, {User: "u"}, {Password: password}, {User: "u", Password: password, Partition: "a b"}, {User: "u", Password: password, Timeout: -1}} {
		o.Address = "https://a"
		_, err := New(o)
		assert.Error(t, err, "%+v", o)
	}
	for _, s := range []Setup{{Name: "a b"}, {Partition: "a;b"}, {User: "[x]"}, {TrustedProxies: make([]netip.Prefix, 1)}} {
		_, err := s.Render()
		assert.Error(t, err, "%+v", s)
	}
}

func FuzzRecordsAreReadAsTheyAreWritten(f *testing.F) {
	for _, text := range []string{"e:block:1795309653:fedcba9876543210", "w:10per60:1:0000000100000001", "e:block:1:0", "e::1:fedcba9876543210"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, ok := parseRecord(text); ok && r.String() != text {
			t.Fatalf("%q is read as %q", text, r)
		}
	})
}

func FuzzAnswersOfTheAPI(f *testing.F) {
	f.Add([]byte(`{"type":"ip","selfLink":"https://localhost/mgmt/tm/x?ver=17.1.1","records":[{"name":"198.51.100.0/24","data":"e:block:1795309653:fedcba9876543210"},{"name":"::1","data":"x"}]}`))
	f.Add([]byte(`{"code":404,"message":"01020036:3: not found","errorStack":[],"apiError":3}`))
	f.Add([]byte(`{"token":{"token":"ABC","timeout":1200}}`))
	f.Add([]byte(`{"transId":1389812351,"state":"STARTED","timeoutSeconds":30}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if g, err := parseGroup(answer); err == nil {
			records := map[netip.Prefix]record{}
			if others := recordsOf(g, true, records); others+len(records) != len(g.Records) {
				t.Fatalf("%d records and %d others of %d", len(records), others, len(g.Records))
			}
			if v := versionOf(g.Link); len(v) > 32 {
				t.Fatalf("a version of %d octets", len(v))
			}
		}
		if r, ok := parseRefusal(404, answer); ok && len(r.Error()) > 4*300+100 {
			t.Fatalf("an error of %d octets", len(r.Error()))
		}
		now := time.Unix(0, 0)
		if k, err := parseLogin(answer, now); err == nil && (k.text == "" || !k.until.After(now) || k.until.After(now.Add(maxTokenLife))) {
			t.Fatalf("token %+v", k)
		}
		if s, err := parseTransaction(answer); err == nil && (s.ID == 0 || len(s.State) > 300) {
			t.Fatalf("transaction %+v", s)
		}
	})
}
