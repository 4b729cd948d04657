package cloudflare

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
)

const hex32 = "0123456789abcdef0123456789abcdef"

func options() Options {
	return Options{Account: hex32, Zones: []string{hex32}, Token: func() ([]byte, error) { return []byte("t"), nil }}
}

func TestUnsupportedIsSaidWithItsReason(t *testing.T) {
	target, err := New(options())
	require.NoError(t, err)
	whole := mitigate.Entry{
		ID: 1<<32 | 1, Action: detect.ActionBlock, Expires: time.Now().Unix() + 60,
		Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.1/32")},
	}
	client := func(text string) func(*mitigate.Entry) {
		return func(e *mitigate.Entry) { e.Subject.Client = netip.MustParsePrefix(text) }
	}
	for _, carried := range []string{"192.0.2.1/32", "10.0.0.0/8", "2001:db8::/64", "2000::/12"} {
		e := whole
		client(carried)(&e)
		assert.NoError(t, target.Carries(&e), carried)
	}
	for reason, change := range map[string]func(*mitigate.Entry){
		"2001:db8::1/128 is neither": client("2001:db8::1/128"), // never its /64 instead
		"2001:db8::/65 is neither":   client("2001:db8::/65"),
		"2000::/11 is neither":       client("2000::/11"),
		"10.0.0.0/7 is neither":      client("10.0.0.0/7"),
		"as seen on the wire":        client("::ffff:192.0.2.1/128"),
		"who solves a challenge":     func(e *mitigate.Entry) { e.Action = detect.ActionChallenge },
		`no action "tag"`:            func(e *mitigate.Entry) { e.Action = detect.ActionTag },
		"it has no rate of a client": func(e *mitigate.Entry) {
			e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: 10, Per: 60e9}
		},
		"can't only watch":             func(e *mitigate.Entry) { e.Monitor = true },
		"addresses and networks alone": func(e *mitigate.Entry) { e.Subject.Fingerprint = "0123456789abcdef" },
		"names nothing":                func(e *mitigate.Entry) { e.Subject = detect.Subject{} },
		"expiry 0":                     func(e *mitigate.Entry) { e.Expires = 0 },
		"expiry 253402300800":          func(e *mitigate.Entry) { e.Expires = maxExpiry + 1 },
	} {
		e := whole
		change(&e)
		err := target.Carries(&e)
		assert.ErrorIs(t, err, mitigate.ErrUnsupported, reason)
		assert.ErrorContains(t, err, reason)
		_, err = target.Sync(t.Context(), []mitigate.Entry{e})
		assert.ErrorIs(t, err, mitigate.ErrUnsupported, reason)
	}
}

func TestOptionsAndSetupRefuseWhatCantBe(t *testing.T) {
	for want, change := range map[string]func(*Options){
		`account "a"`:                         func(o *Options) { o.Account = "a" },
		"0 zones":                             func(o *Options) { o.Zones = nil },
		"21 zones":                            func(o *Options) { o.Zones = make([]string, 21) },
		`zone "../x"`:                         func(o *Options) { o.Zones = []string{"../x"} },
		"or there twice":                      func(o *Options) { o.Zones = []string{hex32, hex32} },
		"it has no token":                     func(o *Options) { o.Token = nil },
		"would show the token to the network": func(o *Options) { o.Address = "http://api.cloudflare.com/client/v4" },
		"is not https://HOST":                 func(o *Options) { o.Address = "https://a@b/" },
		"capacity -1":                         func(o *Options) { o.Capacity = -1 },
		"capacity 20001":                      func(o *Options) { o.Capacity = 20_001 },
		"a time is negative":                  func(o *Options) { o.Gap = -1 },
	} {
		o := options()
		change(&o)
		_, err := New(o)
		assert.ErrorContains(t, err, want)
	}
	for _, s := range []Setup{{Account: "a"}, {Zones: []string{"b;c"}}, {Address: "https://x/$(reboot)"}, {Capacity: -1}} {
		_, err := s.Render()
		assert.Error(t, err, "%+v", s)
	}
	text, err := Setup{}.Render()
	require.NoError(t, err)
	var b strings.Builder
	_, err = text.WriteTo(&b)
	require.NoError(t, err)
	for _, part := range []string{"Cloudflare keeps no expiry", "Zone WAF             | Edit", "api=https://api.cloudflare.com/client/v4\n", `"expression": "(ip.src in $offpath_block and not ip.src in $offpath_allow and http.request.timestamp.sec lt 1000000000)"`, "up to 9000 for verdicts"} {
		assert.Contains(t, b.String(), part)
	}
}

func TestRetryAfterIsBelievedWithinBounds(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "-1": 0, "x": 0, "7": 7 * time.Second, "4294967295": maxHold, "99999999999": 0,
		"Thu, 01 Jan 2026 00:01:00 GMT": time.Minute, "Thu, 01 Jan 2025 00:00:00 GMT": 0, "Fri, 01 Jan 2027 00:00:00 GMT": maxHold,
	} {
		assert.Equal(t, want, retryAfter(text, now), text)
	}
}

func FuzzCommentsAreReadAsTheyAreWritten(f *testing.F) {
	for _, text := range []string{"offpath fedcba9876543210 until 2026-11-23T11:00:00Z", "offpath fedcba9876543210 until 2026-11-23T11:00:00.5Z", "offpath allow", "offpath fedcba9876543210 until 2026-11-23T12:00:00+01:00", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, ok := parseRecord(text); ok && (r.String() != text || r.expires <= 0 || r.expires > maxExpiry) {
			t.Fatalf("%q is read as %q", text, r)
		}
	})
}

func FuzzAnswersOfTheAPI(f *testing.F) {
	f.Add(200, []byte(`{"success":true,"errors":[],"messages":[],"result":[{"id":"7c5dae5552338874e5053f2534d2767a","ip":"10.0.0.1/32","comment":"offpath fedcba9876543210 until 2026-11-23T11:00:00Z"},{"id":"a","ip":"2001:db8::/64"}],"result_info":{"cursors":{"after":"abc"}}}`))
	f.Add(200, []byte(`{"success":true,"result":{"id":"a","rules":[{"id":"b","ref":"offpath","enabled":false,"description":"offpath: enforce","expression":"(ip.src in $offpath_block and not ip.src in $offpath_allow and http.request.timestamp.sec lt 1795309653)","action":"block"}]}}`))
	f.Add(403, []byte(`{"success":false,"errors":[{"code":10000,"message":"Authentication error"}],"messages":[],"result":null}`))
	f.Fuzz(func(t *testing.T, status int, answer []byte) {
		var items []item
		after, err := parseAnswer(status, answer, &items)
		if err != nil && len(err.Error()) > 4*maxText+200 {
			t.Fatalf("an error of %d octets", len(err.Error()))
		}
		if err == nil && (status < 200 || status > 299 || len(after) > maxCursor) {
			t.Fatalf("%d is taken, with a cursor of %d octets", status, len(after))
		}
		ours, others := holdings(items)
		if len(ours)+len(others) > len(items) {
			t.Fatalf("%d and %d of %d items", len(ours), len(others), len(items))
		}
		for p, h := range ours {
			if !p.IsValid() || p != p.Masked() || h.item == "" {
				t.Fatalf("item %v is %+v", p, h)
			}
			if q, ok := parseNetwork(formatNetwork(p)); !ok || q != p {
				t.Fatalf("%v is written %s", p, formatNetwork(p))
			}
		}
		var s ruleset
		if _, err := parseAnswer(status, answer, &s); err == nil {
			if r, ok := s.rule(); ok {
				const now = 1795309653
				mode, local := r.mode(now)
				if descriptions[mode] == "" || mode == detect.ModeEnforce && (!r.enabled || r.lease != 0 && r.lease <= now) || local && r.enabled {
					t.Fatalf("mode %q, %v of %+v", mode, local, r)
				}
			}
		}
	})
}

func FuzzAllowListsCoverWhatTheyAreToCover(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0}, uint8(7))
	f.Add([]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, uint8(128))
	f.Fuzz(func(t *testing.T, octets []byte, bits uint8) {
		a, ok := netip.AddrFromSlice(octets)
		if !ok {
			return
		}
		p := netip.PrefixFrom(a, int(bits))
		if !p.IsValid() {
			return
		}
		all, err := allowed([]netip.Prefix{p})
		if err != nil {
			return
		}
		covered := false
		for q := range all {
			least, most := min6, max6
			if q.Addr().Is4() {
				least, most = min4, max4
			}
			if q != q.Masked() || q.Bits() < least || q.Bits() > most || !q.Overlaps(p.Masked()) {
				t.Fatalf("%v has %v", p, q)
			}
			covered = covered || q.Contains(a)
		}
		if !covered {
			t.Fatalf("%v is not in %v", p, all)
		}
	})
}
