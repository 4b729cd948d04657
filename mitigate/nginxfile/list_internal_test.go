package nginxfile

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
)

func network(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func TestTheFileSaysWhatHoldsForEachNetworkTheNarrowestFirst(t *testing.T) {
	const later = 1_795_413_999
	l := list{
		allow: []netip.Prefix{network("192.0.2.0/24")},
		held: map[netip.Prefix]record{
			network("198.51.100.7/32"): {later, true, "block", 0xa_0000_0001},
			network("198.51.100.0/24"): {later + 1, false, "10per60", 0xa_0000_0002},
			network("2001:db8::/48"):   {later + 2, true, "tag", 0xa_0000_0003},
			network("203.0.113.1/32"):  {later - 1, true, "block", 0xa_0000_0004}, // has ended
		},
	}
	text := l.render(time.Unix(later-1, 0))
	assert.Equal(t, `# Written by offpath; what is changed here is lost at its next order.
geo $offpath_generation { default `+l.generation+`; }
geo $offpath_allowed {
192.0.2.0/24 1;
}
geo $offpath_held {
default "";
198.51.100.0/24 1795414000:w:10per60:0000000a00000002;
198.51.100.7/32 1795413999:e:block:0000000a00000001,1795414000:w:10per60:0000000a00000002;
2001:db8::/48 1795414001:e:tag:0000000a00000003;
}
# end
`, string(text))
	got, ok := parseList(text)
	require.True(t, ok)
	assert.Equal(t, l, got)
	assert.Len(t, l.held, 3)
	again := l
	assert.Equal(t, string(text), string(again.render(time.Unix(later-1, 0))))
}

func TestAFileThatIsCutOrChangedIsNoList(t *testing.T) {
	l := list{held: map[netip.Prefix]record{network("198.51.100.7/32"): {minExpires, true, "block", 0xa_0000_0001}}}
	text := l.render(time.Unix(0, 0))
	for n := range text {
		_, ok := parseList(text[:n])
		require.False(t, ok, "cut after %d octets", n)
		changed := slices.Clone(text)
		changed[n] ^= 1
		_, ok = parseList(changed)
		require.False(t, ok, "octet %d changed", n)
	}
	_, ok := parseList(append(text, '\n'))
	assert.False(t, ok)
}

func FuzzParseList(f *testing.F) {
	l := list{allow: []netip.Prefix{network("::/0")}, held: map[netip.Prefix]record{network("198.51.100.7/32"): {minExpires, true, "block", 0xa_0000_0001}}}
	text := l.render(time.Unix(0, 0))
	f.Add(text)
	f.Add([]byte(allowLine + heldLine + lastLine))
	f.Add([]byte(allowLine + "1.2.3.4/32 1;\n" + heldLine + "::/0 1;\n" + lastLine))
	f.Add(text[len(firstLine)+len(beforeGen)+lenGeneration+len(afterGen):])
	f.Fuzz(func(t *testing.T, text []byte) {
		parseList(text)
		// With the right generation what follows is looked at, too.
		whole := []byte(firstLine + beforeGen + hashOf(text) + afterGen)
		got, ok := parseList(append(whole, text...))
		if !ok {
			return
		}
		for p, r := range got.held {
			if again, ok := parseRecord(r.String()); !ok || again != r || !p.IsValid() {
				t.Fatalf("%s %v", p, r)
			}
		}
		same := got
		same.render(time.Unix(0, 0))
		if !maps.Equal(same.held, got.held) {
			t.Fatalf("%v is written as %v", got.held, same.held)
		}
	})
}

// Any lists: what a line says is what a plain search finds.
func FuzzNesting(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 16, 1, 2, 3, 4, 24, 1, 2, 3, 4, 32})
	f.Fuzz(func(t *testing.T, data []byte) {
		held := make(map[netip.Prefix]record)
		const most = 5 * 64 // the search is quadratic
		for chunk := range slices.Chunk(data[:min(most, len(data))], 5) {
			if len(chunk) == 5 {
				p, _ := netip.AddrFrom4([4]byte(chunk)).Prefix(int(chunk[4] % 33))
				held[p] = record{minExpires, chunk[4] > 128, "block", mitigate.ID(1<<32 | uint64(binary.BigEndian.Uint32(chunk)) | 1)}
			}
		}
		all := len(held)
		left := shallow(held)
		if len(left)+len(held) != all {
			t.Fatalf("%d and %d are not %d", len(left), len(held), all)
		}
		for p := range held {
			var want []netip.Prefix
			for q := range held {
				if q.Overlaps(p) && q.Bits() < p.Bits() {
					want = append(want, q)
				}
			}
			slices.SortFunc(want, func(a, b netip.Prefix) int { return b.Bits() - a.Bits() })
			got := around(held, lengths(held), p)
			if len(got) != len(want) || len(got) >= nesting {
				t.Fatalf("%s: %v, not %v", p, got, want)
			}
			for i, q := range want {
				if got[i] != held[q] {
					t.Fatalf("%s: %v, not %v", p, got, want)
				}
			}
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	const whole = "offpath nginx_file 1\ndir /etc/nginx/offpath\nrates 10per60 1per1\ngeneration none\nmode hand\nworker 12\ntime 1795413600.123\nversion 1.22.1\nend\n"
	s, ok := parseStatus(whole)
	if !ok || !s.local || s.mode != detect.ModeOff || s.worker != 12 || len(s.rates) != 2 || s.time.UnixMilli() != 1795413600123 {
		f.Fatalf("%+v", s)
	}
	for n := range len(whole) {
		if _, ok := parseStatus(whole[:n]); ok {
			f.Fatalf("cut after %d octets it is one", n)
		}
	}
	f.Add(whole)
	f.Add(strings.Replace(whole, "hand", "enforce", 1))
	f.Add(strings.Replace(whole, "12", "-1", 1))
	f.Fuzz(func(t *testing.T, answer string) {
		s, ok := parseStatus(answer)
		if ok && (s.worker < 1 || s.dir == "" || s.generation == "" || s.mode == "" || s.local && s.mode != detect.ModeOff || len(s.version) > 64) {
			t.Fatalf("%+v", s)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (nginx) S 11 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2\n"))
	f.Add([]byte("12 (a ) S 1 (b) S 11 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2\n"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, ok := parseStat(text); ok && s.start == "" {
			t.Fatalf("%+v", s)
		}
	})
	s, ok := parseStat([]byte("12 (a) S 1 (b) S 11 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2\n"))
	if !ok || s != (stat{11, "4711"}) {
		f.Fatalf("%+v", s)
	}
}

func TestUnsupportedIsSaidWithItsReason(t *testing.T) {
	target, err := New(Options{Rates: []detect.Rate{{Requests: 10, Per: 60e9}}})
	require.NoError(t, err)
	whole := mitigate.Entry{
		ID: 1<<32 | 1, Action: detect.ActionBlock, Expires: time.Now().Unix() + 60,
		Subject: detect.Subject{Client: network("192.0.2.1/32")},
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
		"addresses and networks alone": func(e *mitigate.Entry) { e.Subject.UserAgent = "cracker" },
		"names nothing":                func(e *mitigate.Entry) { e.Subject = detect.Subject{} },
		"as seen on the wire":          func(e *mitigate.Entry) { e.Subject.Client = network("::ffff:192.0.2.1/128") },
		"expiry 0 is no time":          func(e *mitigate.Entry) { e.Expires = 0 },
		"expiry 10000000000":           func(e *mitigate.Entry) { e.Expires = 10_000_000_000 },
	} {
		e := whole
		change(&e)
		err := target.Carries(&e)
		assert.ErrorIs(t, err, mitigate.ErrUnsupported, reason)
		assert.ErrorContains(t, err, reason)
	}
}

func TestWhatThereIsNoRoomForIsRejectedTheFirstToEndFirst(t *testing.T) {
	target, err := New(Options{Capacity: 1})
	require.NoError(t, err)
	held := map[netip.Prefix]record{
		network("192.0.2.1/32"): {minExpires, true, "block", 0xa_0000_0001},
		network("192.0.2.2/32"): {minExpires + 1, true, "block", 0xa_0000_0002},
	}
	assert.Equal(t, []mitigate.Rejection{{ID: 0xa_0000_0001, Answer: "there is room for 1 verdicts"}}, target.bound(held))
	assert.Len(t, held, 1)
}

func TestOptionsAndSetupRefuseWhatCantBe(t *testing.T) {
	var many []detect.Rate
	for i := range 17 {
		many = append(many, detect.Rate{Requests: i + 1, Per: 1e9})
	}
	for problem, o := range map[string]Options{
		"is no port of a loopback address":         {Address: "tcp:192.0.2.1:80"},
		"is neither":                               {Address: "http://127.0.0.1:80"},
		"no absolute path of plain letters":        {Address: "unix:a"},
		"longer path":                              {Address: "unix:/" + strings.Repeat("a", 107)},
		`"x" is not an absolute path`:              {Dir: "x"},
		`"/a;b" is not an absolute path`:           {PIDFile: "/a;b"},
		`"nginx" is not an absolute path`:          {Program: "nginx"},
		"99ms between reloads is not within 100ms": {Interval: 99 * time.Millisecond},
		"1h0m0s between reloads":                   {Interval: time.Hour},
		"is negative":                              {Timeout: -1},
		"capacity 200001":                          {Capacity: 200_001},
		"17 different rates":                       {Rates: many},
	} {
		_, err := New(o)
		assert.ErrorContains(t, err, problem)
	}
	for _, s := range []Setup{
		{Name: "a b"}, {Dir: "x"}, {PIDFile: "/a{b"}, {ClientHeader: "a{"}, {Address: "a"}, {Rates: many}, {TrustedProxies: make([]netip.Prefix, 1)},
	} {
		_, err := s.Render()
		assert.Error(t, err, "%+v", s)
	}
}

func TestThePrintedConfigurationSaysWhatGoesWhere(t *testing.T) {
	c, err := Setup{Address: "tcp:[::1]:9000", Dir: "/srv/lists/", Rates: []detect.Rate{{Requests: 10, Per: 60e9}}, TrustedProxies: []netip.Prefix{network("10.0.0.0/8")}}.Render()
	require.NoError(t, err)
	var b strings.Builder
	_, err = c.WriteTo(&b)
	require.NoError(t, err)
	for _, text := range []string{
		"listen [::1]:9000;", "set_real_ip_from 10.0.0.0/8;", "limit_req_zone $offpath_rate_10per60 zone=offpath_rate_10per60:10m rate=10r/m;",
		"limit_req zone=offpath_rate_10per60 burst=9 nodelay;", "address: tcp:[::1]:9000\n", "conf_dir: /srv/lists\n", "touch /srv/lists/off\n",
		"include /srv/lists/verdicts.con[f];", "# ===== part 4",
	} {
		assert.Contains(t, b.String(), text)
	}
	assert.NotContains(t, b.String(), "There are no rate limits")
	c, err = Setup{Address: "unix:/run/offpath.sock"}.Render()
	require.NoError(t, err)
	assert.Contains(t, c.Status, "listen unix:/run/offpath.sock;")
	assert.Contains(t, c.Header, "There are no rate limits")
}
