package nginxplus

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/limitreq"
)

func TestUnsupportedIsSaidWithItsReason(t *testing.T) {
	target, err := New(Options{Address: "http://127.0.0.1:1", Rates: []detect.Rate{{Requests: 10, Per: 60e9}}})
	require.NoError(t, err)
	whole := mitigate.Entry{
		ID: 1<<32 | 1, Action: detect.ActionBlock, Expires: time.Now().Unix() + 60,
		Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.1/32")},
	}
	require.NoError(t, target.Carries(&whole))
	limit := whole
	limit.Action, limit.Rate = detect.ActionRateLimit, detect.Rate{Requests: 10, Per: 60e9}
	require.NoError(t, target.Carries(&limit))
	for reason, change := range map[string]func(*mitigate.Entry){
		`no action "challenge"`: func(e *mitigate.Entry) { e.Action = detect.ActionChallenge },
		`no action "hold"`:      func(e *mitigate.Entry) { e.Action = detect.ActionHold },
		"9 requests per 1m0s is none": func(e *mitigate.Entry) {
			e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 9, Per: 60e9}
		},
		"addresses and networks alone": func(e *mitigate.Entry) { e.Subject.Fingerprint = "0123456789abcdef" },
		"names nothing":                func(e *mitigate.Entry) { e.Subject = detect.Subject{} },
		"as seen on the wire":          func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix("::ffff:192.0.2.1/128") },
		"expiry 0":                     func(e *mitigate.Entry) { e.Expires = 0 },
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
	for _, address := range []string{"", "127.0.0.1:80", "unix:/a", "http://", "http://a@b:1", "http://a/b", "http://a?b", "ftp://a"} {
		_, err := New(Options{Address: address})
		assert.ErrorContains(t, err, "http://HOST:PORT", address)
	}
	_, err := New(Options{Address: "http://a", Timeout: -1})
	assert.Error(t, err)
	var many []detect.Rate
	for i := range limitreq.Max + 1 {
		many = append(many, detect.Rate{Requests: i + 1, Per: 1e9})
	}
	_, err = New(Options{Address: "http://a", Rates: many})
	assert.ErrorContains(t, err, "17 different rates")
	for _, s := range []Setup{
		{Name: "a b"}, {StateDir: "x"}, {AllowFile: "/a;b"}, {ClientHeader: "a{"}, {Address: "a"}, {Rates: many}, {TrustedProxies: make([]netip.Prefix, 1)},
	} {
		_, err := s.Render()
		assert.Error(t, err, "%+v", s)
	}
}

func TestThePrintedConfigurationSaysWhatGoesWhere(t *testing.T) {
	c, err := Setup{Address: "https://[::1]:8443/", Rates: []detect.Rate{{Requests: 10, Per: 60e9}}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}.Render()
	require.NoError(t, err)
	var b strings.Builder
	_, err = c.WriteTo(&b)
	require.NoError(t, err)
	for _, text := range []string{
		"listen [::1]:8443 ssl;", "set_real_ip_from 10.0.0.0/8;", "limit_req_zone $offpath_rate_10per60 zone=offpath_rate_10per60:10m rate=10r/m;",
		"limit_req zone=offpath_rate_10per60 burst=9 nodelay;", "address: https://[::1]:8443\n", "# ===== part 4",
	} {
		assert.Contains(t, b.String(), text)
	}
	assert.NotContains(t, b.String(), "There are no rate limits")
	c, err = Setup{}.Render()
	require.NoError(t, err)
	assert.Contains(t, c.Header, "There are no rate limits")
	assert.NotContains(t, c.HTTP+c.Location, "limit_req_zone")
	assert.NotContains(t, c.HTTP, "real_ip")
}

func TestNoAddressOfTheAPIMayBeCovered(t *testing.T) {
	for address, want := range map[string][]netip.Addr{
		"http://192.0.2.1:80": {netip.MustParseAddr("192.0.2.1")}, "https://[::1]:443": {netip.MustParseAddr("::1")}, "http://nginx.example": nil,
	} {
		target, err := New(Options{Address: address})
		require.NoError(t, err)
		assert.Equal(t, want, target.Addresses())
	}
}

func FuzzRecordsAreReadAsTheyAreWritten(f *testing.F) {
	for _, text := range []string{"e:block:1795309653:fedcba9876543210", "w:10per60:1:0000000100000001", "-", "e:block:1:0", "e::1:fedcba9876543210", "e:block:01:fedcba9876543210"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, ok := parseRecord(text); ok && r.String() != text {
			t.Fatalf("%q is read as %q", text, r)
		}
	})
}

func FuzzAnswersOfTheAPI(f *testing.F) {
	f.Add([]byte(`{"198.51.100.0/24":"e:block:1795309653:fedcba9876543210","a":{"value":"b"},"c":null}`))
	f.Add([]byte(`{"error":{"status":409,"text":"key already exists","code":"KeyvalKeyExists"},"request_id":"a","href":"b"}`))
	f.Add([]byte(`{"version":"1.29.8","build":"nginx-plus-r37","generation":6,"load_timestamp":"2022-06-28T11:15:44.467Z","timestamp":"2022-06-28T09:26:07.305Z","pid":2,"ppid":1}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if zone, err := parseZone(answer); err == nil {
			records, others := networksOf(zone)
			if len(records)+len(others) > len(zone) {
				t.Fatalf("%d records and %d others of %d", len(records), len(others), len(zone))
			}
			chosen, left := choose(records)
			if len(chosen)+len(left) != len(records) {
				t.Fatalf("%d chosen and %d left of %d", len(chosen), len(left), len(records))
			}
			for a := range chosen {
				for b := range chosen {
					if a != b && a.Overlaps(b) {
						t.Fatalf("%s overlaps %s", a, b)
					}
				}
			}
		}
		if r, ok := parseRefusal(400, answer); ok && len(r.Error()) > 4*(200+200)+100 {
			t.Fatalf("an error of %d octets", len(r.Error()))
		}
		if i, err := parseIdentity(answer, time.Unix(0, 0)); err == nil && len(i.Process)+len(i.Version) > 256 {
			t.Fatalf("an identity of %d octets", len(i.Process)+len(i.Version))
		}
	})
}
