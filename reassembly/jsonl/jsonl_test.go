package jsonl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
)

// full is a transaction in which everything is known.
func full() *reassembly.Transaction {
	return &reassembly.Transaction{
		Start: 1704067200_000000001, End: 1704067200_250000000, Duration: 249_999_999, ID: "0011223344556677",
		Source: netip.MustParseAddrPort("203.0.113.7:51000"), Destination: netip.MustParseAddrPort("[2001:db8::1]:80"),
		Client: netip.MustParseAddr("198.51.100.9"), CommunityID: "1:abc=", Sequence: 3,
		VLAN: []uint16{100, 7}, Encapsulation: []string{"qinq", "vlan"}, HTTPVersion: "1.1",
		Request: reassembly.Request{
			Method: "POST", Target: "/login?a=b", Domain: "bank.example", Path: "/login", Query: "a=b", BodyBytes: 42,
			MIMEType: "application/json", Referrer: "https://bank.example/", UserAgent: "App/1", Headers: []string{"host", "accept"},
			Signature: reassembly.Signature{Media: "json", Keys: "00000000000000aa", Order: "00000000000000bb", Length: 6},
			Detail:    reassembly.Detail{Fields: [][2]string{{"Host", "bank.example"}, {"Accept", ""}}, SHA256: "ab12", DecodedBytes: 42},
		},
		Response: reassembly.Response{
			Status: 401, BodyBytes: 0, MIMEType: "text/html",
			Signature: reassembly.Signature{Media: "none", Cookies: []string{"SID"}, Location: "/login", Code: "AUTH_1", Length: 0},
			Detail:    reassembly.Detail{Fields: [][2]string{}, SHA256: "cd34", DecodedBytes: 0},
		},
		Auth: reassembly.Auth{
			Carrier: "json", UserField: "user", PasswordField: "password", PasswordFields: 1, GrantType: "password",
			UserHash: "00000000000000cc", PasswordHash: "00000000000000dd", SessionPresented: []string{"01", "02"},
			SessionIssued: []string{"03"}, TokenIssued: true, APIKeyHash: "04",
		},
		OFX: &reassembly.OFX{
			MessageSets: []string{"SIGNONMSGSRQV1"}, StatusCodes: []string{"0"}, SourceHash: "05", DestinationHash: "06",
			Amount: "12.50", Currency: "EUR",
		},
		GRPC:      &reassembly.GRPC{Status: 7, RequestMessages: 2, ResponseMessages: 0, Partial: true},
		Operation: "login", JA4: "t13d", ServerName: "bank.example",
		Fingerprint: "f1", FingerprintLoose: "f2", FingerprintWire: "f3", Informational: []int{100, 103}, RefusedBy: "0000000100000002",
		Flags: reassembly.FlagGap | reassembly.FlagOneWay, Anomalies: reassembly.AnomalyBareLF | reassembly.AnomalyNULInHead,
		GapBytes: 17, Complete: true, Sensitive: found(reassembly.PlaceRequestBody, reassembly.ClassCard, reassembly.ClassEmail),
		Annotation: reassembly.Annotation{EventOutcome: "failure", Outcome: "rejected", Endpoint: "POST bank.example/login", Role: "login"},
	}
}

// found is that classes of sensitive data are at a place.
func found(p reassembly.Place, classes ...reassembly.Class) (s reassembly.Sensitive) {
	s.Add(p, 0)
	for _, c := range classes {
		s.Add(p, c.Of())
	}
	return s
}

func TestThatNothingSensitiveWasFoundIsNoLackOfLooking(t *testing.T) {
	tx := blank()
	tx.Sensitive = reassembly.SensitiveLooked
	line := AppendTransaction(nil, tx)
	assert.Contains(t, string(line), `,"sensitive":[]`)
	r := NewReader(bytes.NewReader(line))
	require.True(t, r.Next(), r.Err())
	assert.Equal(t, reassembly.SensitiveLooked, r.Transaction().Sensitive)
}

func TestTheOrderOfKeysIsTheContracts(t *testing.T) {
	want, err := os.ReadFile("testdata/full.jsonl")
	require.NoError(t, err)
	assert.Equal(t, string(want), string(AppendTransaction(nil, full())))
}

func TestWhatIsUnknownHasNoKey(t *testing.T) {
	assert.Equal(t,
		`{"@timestamp":"1970-01-01T00:00:00.000000000Z","event":{"end":"1970-01-01T00:00:00.000000000Z"},`+
			`"network":{"protocol":"http"},"offpath":{"sequence":0,"complete":false}}`+"\n",
		string(AppendTransaction(nil, blank())))
}

func TestWithoutTokenIssuedThereIsOneIfNotAllSessionsCanBeCookies(t *testing.T) {
	read := func(auth, cookies string) bool {
		line := `{"@timestamp":"2024-01-01T00:00:00Z","offpath":{"auth":{` + auth + `},"response":{"signature":{"cookies":[` + cookies + `]}}}}`
		r := NewReader(strings.NewReader(line))
		require.True(t, r.Next(), "%v", r.Err())
		return r.Transaction().Auth.TokenIssued
	}
	assert.True(t, read(`"session_issued":["a"]`, ``))
	assert.True(t, read(`"session_issued":["a","b"]`, `"sid"`))
	assert.False(t, read(`"session_issued":["a"]`, `"sid"`))
	assert.True(t, read(`"session_issued":["a"],"token_issued":true`, `"device"`), "the cookie is no session's")
	assert.False(t, read(`"session_issued":["a"],"token_issued":false`, ``))
	assert.False(t, read(``, ``))
	assert.False(t, read(`"token_issued":true`, ``), "a token is one of the sessions")
}

func TestZeroAndFalseAreWritten(t *testing.T) {
	line := string(AppendTransaction(nil, &reassembly.Transaction{Source: netip.MustParseAddrPort("10.0.0.1:0")}))
	for _, want := range []string{
		`"duration":0`, `"port":0`, `"request":{"body":{"bytes":0}}`, `"sequence":0`, `"complete":false`, `"length":0`, `"decoded_bytes":0`,
	} {
		assert.Contains(t, line, want)
	}
	assert.NotContains(t, line, "gap_bytes")
}

func TestStringsOfTheWire(t *testing.T) {
	for _, c := range []struct{ name, wire, want string }{
		{"plain text stands for itself", "a/b <c>&'d'", `"a/b <c>&'d'"`},
		{"a backslash is doubled, then escaped", `a\b`, `"a\\\\b"`},
		{"what looks like an escape stays apart from one", `\xff`, `"\\\\xff"`},
		{"an octet that is no UTF-8 becomes an escape", "a\xffb", `"a\\xffb"`},
		{"a truncated character becomes escapes", "\xe2\x82", `"\\xe2\\x82"`},
		{"an encoded surrogate is no UTF-8", "\xed\xa0\x80", `"\\xed\\xa0\\x80"`},
		{"the replacement character itself is UTF-8", "\ufffd", "\"\ufffd\""},
		{"controls are escaped", "\x00\n\r\t\x1f", `"\u0000\n\r\t\u001f"`},
		{"a quote is escaped", `"`, `"\""`},
		{"other characters stay", "grüße 🏦", `"grüße 🏦"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := AppendString(nil, c.wire)
			assert.Equal(t, c.want, string(got))
			var s string
			require.NoError(t, json.Unmarshal(got, &s))
			assert.Equal(t, c.wire, string(appendWire(nil, []byte(s))))
		})
	}
}

func TestForeignBackslashesStay(t *testing.T) {
	assert.Equal(t, `a\b\xZZ\`, string(appendWire(nil, []byte(`a\b\xZZ\`))))
}

func TestTimesAgreeWithTheStandardLibrary(t *testing.T) {
	check := func(ns int64) {
		want := time.Unix(0, ns).UTC()
		got := string(new(instants).append(nil, ns))
		require.Equal(t, want.Format(`"2006-01-02T15:04:05.000000000Z"`), got)
		back, ok := parseTime([]byte(strings.Trim(got, `"`)))
		require.True(t, ok, got)
		require.Equal(t, ns, back)
	}
	for _, ns := range []int64{0, -1, 1, math.MinInt64, math.MaxInt64, 951782400e9, -2208988800e9} {
		check(ns)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		check(int64(rng.Uint64()))
	}
}

func TestDaysHaveTheirDates(t *testing.T) {
	for day := days(-400, 3, 1); day < days(9999, 12, 31); day += 13 {
		year, month, mday := civil(day)
		want := time.Unix(day*daySecond, 0).UTC()
		if int(year) != want.Year() || time.Month(month) != want.Month() || int(mday) != want.Day() {
			t.Fatalf("day %d: %d-%d-%d, not %v", day, year, month, mday, want)
		}
	}
}

func TestATimeWrittenAfterAnother(t *testing.T) {
	const sec = 1_700_000_000e9
	for _, c := range [][2]int64{
		{sec, sec}, {sec, sec + 1}, {sec, sec + 999_999_999}, {sec, sec + 1e9}, {sec + 999_999_999, sec + 1e9}, {sec + 5, sec + 4},
		{-1, -1}, {-1, 0}, {-5, -4}, {0, math.MaxInt64}, {math.MinInt64, math.MaxInt64}, {math.MaxInt64, math.MinInt64},
	} {
		var both instants
		first := both.append([]byte("some text"), c[0])
		assert.Equal(t, string(new(instants).append(first, c[1])), string(both.append(first, c[1])), "%d after %d", c[1], c[0])
	}
}

func TestNumbersAgreeWithTheStandardLibrary(t *testing.T) {
	check := func(v int64) { require.Equal(t, strconv.FormatInt(v, 10), string(appendInt(nil, v))) }
	for v := int64(1); v > 0; v *= 10 {
		for d := int64(-101); d <= 101; d++ {
			check(v + d)
			check(-v - d)
		}
	}
	for v := range int64(20000) {
		check(v)
	}
	check(math.MinInt64)
}

func TestAddressesAgreeWithTheStandardLibrary(t *testing.T) {
	for i := range 256 {
		for at := range 4 {
			octets := [4]byte{0, 10, 100, 255}
			octets[at] = byte(i)
			a := netip.AddrFrom4(octets)
			require.Equal(t, "at "+a.String(), string(appendAddr([]byte("at "), a)))
		}
	}
	for _, s := range []string{"::", "2001:db8::1", "fe80::1%eth0", "::ffff:192.0.2.1"} {
		require.Equal(t, s, string(appendAddr(nil, netip.MustParseAddr(s))))
	}
}

func TestStringsOfEveryLengthWithAnOctetAnywhere(t *testing.T) {
	for n := range 40 {
		for i := range n {
			for c := range 256 {
				wire := []byte(strings.Repeat("x", n))
				wire[i] = byte(c)
				require.Equal(t, string(appendEscaped([]byte{'"'}, string(wire))), string(AppendString(nil, string(wire))))
			}
		}
	}
}

func TestTimesOfOtherTools(t *testing.T) {
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{"2024-01-02T03:04:05Z", true},
		{"2024-01-02t03:04:05.5z", true},
		{"2024-01-02T03:04:05.123456789012Z", true},
		{"2024-01-02T03:04:05.25+05:30", true},
		{"2024-02-29T23:59:59-12:00", true},
		{"2023-02-29T00:00:00Z", false},
		{"2024-13-01T00:00:00Z", false},
		{"2024-01-02T24:00:00Z", false},
		{"2024-01-02 03:04:05Z", false},
		{"2024-01-02T03:04:05", false},
		{"2024-01-02T03:04:05.Z", false},
		{"2400-01-02T03:04:05Z", false},
		{"1600-01-02T03:04:05Z", false},
		{"", false},
	} {
		got, ok := parseTime([]byte(c.text))
		assert.Equal(t, c.ok, ok, c.text)
		if c.ok {
			want, err := time.Parse(time.RFC3339Nano, strings.ToUpper(c.text))
			require.NoError(t, err)
			assert.Equal(t, want.UnixNano(), got, c.text)
		}
	}
}

// randomTransaction has arbitrary octets in its strings.
func randomTransaction(rng *rand.Rand) *reassembly.Transaction {
	str := func() string {
		if rng.IntN(3) == 0 {
			return ""
		}
		b := make([]byte, 1+rng.IntN(12))
		for i := range b {
			switch rng.IntN(4) {
			case 0:
				b[i] = byte(rng.Uint32())
			case 1:
				b[i] = `\x"fF0{}[],:`[rng.IntN(12)]
			default:
				b[i] = byte(' ' + rng.IntN(95))
			}
		}
		return string(b)
	}
	list := func() []string {
		var l []string
		for range rng.IntN(3) {
			l = append(l, str())
		}
		return l
	}
	number := func() int64 {
		return []int64{reassembly.Unknown, 0, 1, math.MaxInt64, math.MinInt64, int64(rng.Uint64())}[rng.IntN(6)]
	}
	addr := func() netip.Addr {
		switch rng.IntN(3) {
		case 0:
			return netip.AddrFrom4([4]byte{10, byte(rng.Uint32()), 0, 1})
		case 1:
			return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(rng.Uint32())})
		}
		return netip.Addr{}
	}
	endpoint := func() netip.AddrPort {
		if a := addr(); a.IsValid() {
			return netip.AddrPortFrom(a, uint16(rng.Uint32()))
		}
		return netip.AddrPort{}
	}
	signature := func() reassembly.Signature {
		return reassembly.Signature{Media: str(), Keys: str(), Order: str(), Cookies: list(), Location: str(), Code: str(), Length: int(number())}
	}
	detail := func() reassembly.Detail {
		d := reassembly.Detail{SHA256: str(), DecodedBytes: number()}
		if rng.IntN(2) == 0 {
			d.Fields = make([][2]string, rng.IntN(3))
			for i := range d.Fields {
				d.Fields[i] = [2]string{str(), str()}
			}
		}
		return d
	}
	tx := &reassembly.Transaction{
		Start: int64(rng.Uint64()), End: int64(rng.Uint64()), Duration: number(), ID: str(),
		Source: endpoint(), Destination: endpoint(), Client: addr(), CommunityID: str(), Sequence: int(number()),
		Encapsulation: list(), HTTPVersion: str(),
		Request: reassembly.Request{
			Method: str(), Target: str(), Domain: str(), Path: str(), Query: str(), BodyBytes: number(), MIMEType: str(),
			Referrer: str(), UserAgent: str(), Headers: list(), Signature: signature(), Detail: detail(),
		},
		Response: reassembly.Response{
			Status: int(int32(rng.Uint32())), BodyBytes: number(), MIMEType: str(), Signature: signature(), Detail: detail(),
		},
		Auth: reassembly.Auth{
			Carrier: str(), UserField: str(), PasswordField: str(), PasswordFields: int(number()), GrantType: str(), UserHash: str(),
			PasswordHash: str(), SessionPresented: list(), SessionIssued: list(), APIKeyHash: str(),
		},
		Operation: str(), JA4: str(), ServerName: str(), Fingerprint: str(), FingerprintLoose: str(), FingerprintWire: str(),
		RefusedBy: str(), Flags: reassembly.Flags(rng.IntN(64)), Anomalies: reassembly.Anomalies(rng.IntN(1 << 22)),
		GapBytes: number(), Complete: rng.IntN(2) == 0, Sensitive: (reassembly.Sensitive(rng.Uint64N(1<<36)) | reassembly.SensitiveLooked) * reassembly.Sensitive(rng.IntN(2)),
		Annotation: reassembly.Annotation{EventOutcome: str(), Outcome: str(), Endpoint: str(), Role: str()},
	}
	for range rng.IntN(3) {
		tx.VLAN = append(tx.VLAN, uint16(rng.Uint32()))
		tx.Informational = append(tx.Informational, 100+rng.IntN(100))
	}
	if rng.IntN(2) == 0 {
		tx.OFX = &reassembly.OFX{MessageSets: list(), StatusCodes: list(), SourceHash: str(), DestinationHash: str(), Amount: str(), Currency: str()}
	}
	if rng.IntN(2) == 0 {
		tx.GRPC = &reassembly.GRPC{Status: int(number()), RequestMessages: int(number()), ResponseMessages: int(number()), Partial: rng.IntN(2) == 0}
	}
	return tx
}

func TestReadingIsTheInverseOfWriting(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var file []byte
	var want []*reassembly.Transaction
	for range 5000 {
		tx := randomTransaction(rng)
		want = append(want, tx)
		from := len(file)
		file = AppendTransaction(file, tx)
		line := file[from:]
		require.True(t, json.Valid(line), "%s", line)
		require.True(t, utf8.Valid(line))
		require.Equal(t, len(line)-1, bytes.IndexByte(line, '\n'))
	}
	r := NewReader(iotest.HalfReader(bytes.NewReader(file)))
	for _, tx := range want {
		require.True(t, r.Next(), "%v", r.Err())
		require.Equal(t, tx, r.Transaction())
	}
	assert.False(t, r.Next())
	assert.NoError(t, r.Err())
	assert.False(t, r.Next(), "the end stays the end")
	assert.NoError(t, r.Err())
}

func read(t *testing.T, text string) *reassembly.Transaction {
	t.Helper()
	r := NewReader(strings.NewReader(text))
	require.True(t, r.Next(), "%v", r.Err())
	return r.Transaction()
}

func TestWhatOtherToolsWrite(t *testing.T) {
	t.Run("keys that are not known are skipped, whatever their value", func(t *testing.T) {
		tx := read(t, `{"tags":["a",{"b":[]}],"@timestamp":"1970-01-01T00:00:01Z","http":{"extra":{"x":1},"version":"1.1"},"x":null}`)
		assert.Equal(t, "1.1", tx.HTTPVersion)
	})
	t.Run("without event.end the end is start plus duration", func(t *testing.T) {
		assert.EqualValues(t, 1_000_000_500, read(t, `{"@timestamp":"1970-01-01T00:00:01Z","event":{"duration":500}}`).End)
	})
	t.Run("without either the end is the start", func(t *testing.T) {
		assert.EqualValues(t, 1_000_000_000, read(t, `{"@timestamp":"1970-01-01T00:00:01Z"}`).End)
	})
	t.Run("null is unknown", func(t *testing.T) {
		want := blank()
		want.Start, want.End = 1e9, 1e9
		assert.Equal(t, want, read(t, `{"@timestamp":"1970-01-01T00:00:01Z","event":{"id":null,"duration":null},"source":null,"client":{"ip":null},"network":{"vlan":{"id":null}},"offpath":{"complete":null,"flags":null,"ofx":null,"request":{"headers":null,"header_fields":null}}}`))
	})
	t.Run("keys in any order, escaped, with white space, and CR LF", func(t *testing.T) {
		tx := read(t, " { \"ev\\u0065nt\" : { \"id\" : \"a\" } , \"@timestamp\" : \"1970-01-01T00:00:01Z\" } \r\n")
		assert.Equal(t, "a", tx.ID)
	})
	t.Run("integers in floating point", func(t *testing.T) {
		assert.EqualValues(t, 1500, read(t, `{"@timestamp":"1970-01-01T00:00:01Z","event":{"duration":1.5e3}}`).Duration)
	})
	t.Run("flags that are not known are left out", func(t *testing.T) {
		assert.Equal(t, reassembly.FlagGap, read(t, `{"@timestamp":"1970-01-01T00:00:01Z","offpath":{"flags":["new","gap"]}}`).Flags)
	})
	t.Run("empty lines and lines of another kind are skipped", func(t *testing.T) {
		tx := read(t, "\n  \n"+`{"@timestamp":"1970-01-01T00:00:01Z","event":{"action":"tls-client-hello","id":"a"}}`+"\n"+
			`{"@timestamp":"1970-01-01T00:00:01Z","event":{"id":"b"}}`)
		assert.Equal(t, "b", tx.ID)
	})
}

func TestBadLinesAreReportedWithTheirPlace(t *testing.T) {
	const good = `{"@timestamp":"1970-01-01T00:00:01Z"}` + "\n"
	for _, c := range []struct{ name, line, want string }{
		{"no JSON", `hello`, "line 2: not a JSON object"},
		{"a list", `[1]`, "line 2: not a JSON object"},
		{"cut off", `{"@timestamp":"1970-01-01T00:00:01Z","event":{"id":"a`, "line 2: not a JSON object"},
		{"two objects", `{"@timestamp":"1970-01-01T00:00:01Z"}{}`, "line 2: something behind the JSON object"},
		{"no time", `{"event":{"id":"a"}}`, "line 2: no @timestamp"},
		{"a time that is none", `{"@timestamp":"yesterday"}`, "line 2: @timestamp: not an RFC 3339 time"},
		{"an address that is none", `{"source":{"ip":"10.0.0"}}`, "line 2: ip: not an IP address"},
		{"a port too large", `{"source":{"port":65536}}`, "line 2: port: not an integer from 0 to 65535"},
		{"a string for an object", `{"http":"1.1"}`, "line 2: http: not an object"},
		{"a number for a string", `{"event":{"id":5}}`, "line 2: id: not a string"},
		{"a string for a list", `{"offpath":{"request":{"headers":"host"}}}`, "line 2: headers: not a list"},
		{"a list of numbers", `{"offpath":{"request":{"headers":[1]}}}`, "line 2: headers: not a list of strings"},
		{"a field of three", `{"offpath":{"request":{"header_fields":[["a","b","c"]]}}}`, "line 2: header_fields: not a list of [name, value]"},
		{"a field of one", `{"offpath":{"request":{"header_fields":[["a"]]}}}`, "line 2: header_fields: not a list of [name, value]"},
		{"a fraction", `{"event":{"duration":1.5}}`, "line 2: duration: not an integer"},
		{"text for a truth value", `{"offpath":{"complete":"yes"}}`, "line 2: complete: not true or false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(good + c.line + "\n" + good))
			require.True(t, r.Next())
			require.False(t, r.Next())
			assert.Nil(t, r.Transaction())
			var bad *LineError
			require.ErrorAs(t, r.Err(), &bad)
			assert.Contains(t, bad.Error(), c.want)
			assert.Equal(t, 2, bad.Line)
			assert.EqualValues(t, len(good), bad.Offset)
			assert.True(t, r.Next(), "the line behind it is read")
			assert.False(t, r.Next())
			assert.NoError(t, r.Err())
		})
	}
}

func TestALineIsBounded(t *testing.T) {
	const good = `{"@timestamp":"1970-01-01T00:00:01Z"}` + "\n"
	long := io.MultiReader(strings.NewReader(good+`{"x":"`), io.LimitReader(zeros{}, MaxLine), strings.NewReader("\"}\n"+good))
	r := NewReader(long)
	require.True(t, r.Next())
	require.False(t, r.Next())
	assert.ErrorIs(t, r.Err(), ErrLineTooLong)
	assert.EqualError(t, r.Err(), fmt.Sprintf("line 2: longer than %d octets", MaxLine))
	assert.True(t, r.Next())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestAFailingInputIsReported(t *testing.T) {
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader(`{"@timestamp":"1970-01-01T00:00:01Z"}`+"\n{"), iotest.ErrReader(broken)))
	require.True(t, r.Next())
	for range 2 {
		assert.False(t, r.Next())
		assert.ErrorIs(t, r.Err(), broken)
		assert.EqualError(t, r.Err(), "line 2: broken")
	}
}

func FuzzString(f *testing.F) {
	for _, s := range []string{"", "plain", `a\b`, "\xff", `\xff`, "\x00\"", "grüße", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		got := AppendString(nil, wire)
		var s string
		require.NoError(t, json.Unmarshal(got, &s))
		require.True(t, utf8.Valid(got))
		require.Equal(t, wire, string(appendWire(nil, []byte(s))))
	})
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"@timestamp":"1970-01-01T00:00:01Z"}`))
	f.Add(AppendTransaction(nil, full()))
	f.Add([]byte(`{"@timestamp":"1970-01-01T00:00:01Z","offpath":{"ofx":{},"request":{"header_fields":[[]]}}}`))
	f.Add([]byte(`{"@timestamp":"1970-01-01T00:00:01Z","offpath":{"grpc":{},"operation":"a.B/C"}}`))
	f.Add([]byte(`{"@timestamp":"1970-01-01T00:00:01Z","offpath":{"grpc":{"status":16,"request_messages":1,"partial":false}}}`))
	f.Add([]byte(`{"@timestamp":"1970-01-01T00:00:01Z","offpath":{"grpc":null}}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		r := NewReader(bytes.NewReader(file))
		for r.Next() {
			line := AppendTransaction(nil, r.Transaction())
			require.True(t, json.Valid(line), "%s", line)
			again := NewReader(bytes.NewReader(line))
			require.True(t, again.Next(), "%v in %s", again.Err(), line)
			require.Equal(t, r.Transaction(), again.Transaction())
		}
	})
}

func TestWritingDoesNotAllocate(t *testing.T) {
	tx := full()
	tx.Flags, tx.Anomalies = 0, 0
	buf := make([]byte, 0, 8<<10)
	assert.Zero(t, testing.AllocsPerRun(1000, func() { buf = AppendTransaction(buf[:0], tx) }))
	var e Encoder
	list := calls(2 * connectionSlots)
	for range 2 {
		for _, tx := range list {
			buf = e.Append(buf[:0], tx)
		}
	}
	i := 0
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		buf = e.Append(buf[:0], list[i])
		i++
	}), "once the tables are full")
}

// Each member that the encoder keeps text of changes by itself, so that slots are
// shared by what differs in one of them alone.
func TestAnEncoderWritesWhatItWouldWithoutMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	var e Encoder
	list := calls(4)
	for i, tx := range list {
		tx.Sequence = i
	}
	lists := [][]string{nil, {"host"}, {"cookie"}, {"a", "b"}}
	texts := []string{"", "a", "b", "0123456789abcdef", "1123456789abcdef", strings.Repeat("long", 200), "\x80\""}
	signature := func(s *reassembly.Signature) {
		switch rng.IntN(7) {
		case 0:
			s.Media = texts[rng.IntN(len(texts))]
		case 1:
			s.Keys = texts[rng.IntN(len(texts))]
		case 2:
			s.Order = texts[rng.IntN(len(texts))]
		case 3:
			s.Location = texts[rng.IntN(len(texts))]
		case 4:
			s.Code = texts[rng.IntN(len(texts))]
		case 5:
			s.Cookies = lists[rng.IntN(len(lists))]
		case 6:
			s.Length = rng.IntN(3) - 1
		}
	}
	for range 20_000 {
		tx := list[rng.IntN(len(list))]
		switch other := list[rng.IntN(len(list))]; rng.IntN(12) {
		case 0:
			tx.Source = netip.AddrPortFrom(other.Source.Addr(), tx.Source.Port())
		case 1:
			tx.Source = other.Source
		case 2:
			tx.Destination = netip.AddrPortFrom(tx.Destination.Addr(), uint16(80+rng.IntN(2)))
		case 3:
			tx.Client = other.Client
		case 4:
			tx.CommunityID = other.CommunityID
		case 5:
			tx.VLAN = [][]uint16{nil, nil, {7}}[rng.IntN(3)]
		case 6:
			tx.Request.UserAgent = texts[rng.IntN(len(texts))]
		case 7:
			tx.Request.Headers = lists[rng.IntN(len(lists))]
		case 8:
			signature(&tx.Request.Signature)
		case 9:
			signature(&tx.Response.Signature)
		}
		require.Equal(t, string(AppendTransaction(nil, tx)), string(e.Append(nil, tx)))
	}
}

// typical is a transaction as an API makes them, without details.
func typical() *reassembly.Transaction {
	tx := full()
	tx.Request.Detail = reassembly.Detail{DecodedBytes: reassembly.Unknown}
	tx.Response.Detail = reassembly.Detail{DecodedBytes: reassembly.Unknown}
	tx.OFX, tx.GRPC, tx.Flags, tx.Anomalies, tx.Informational, tx.GapBytes = nil, nil, 0, 0, nil, 0
	return tx
}

// calls is n authenticated requests of an app, as different as they come: they
// are far more than caches near the processor hold.
func calls(n int) []*reassembly.Transaction {
	rng := rand.New(rand.NewPCG(5, 5))
	headers := []string{"host", "user-agent", "accept", "accept-language", "accept-encoding", "authorization", "x-app-version", "x-request-id"}
	list := make([]*reassembly.Transaction, n)
	for i := range list {
		tx := blank()
		tx.Start = 1_700_000_000e9 + int64(i)*1e5
		tx.Duration = rng.Int64N(1e7)
		tx.End = tx.Start + tx.Duration
		tx.ID = fmt.Sprintf("%024x", rng.Uint64())
		tx.Client = netip.AddrFrom4([4]byte{198, 18, byte(rng.IntN(256)), byte(rng.IntN(256))})
		tx.Source = netip.AddrPortFrom(tx.Client, uint16(20000+rng.IntN(40000)))
		tx.Destination = netip.MustParseAddrPort("198.19.0.10:80")
		tx.CommunityID = fmt.Sprintf("1:%027x=", rng.Uint64())
		tx.Sequence = rng.IntN(500)
		tx.HTTPVersion = "1.1"
		account := fmt.Sprintf("/api/v2/accounts/%d", 10000000+rng.IntN(1000000))
		tx.Request.Method = "GET"
		tx.Request.Target = account + fmt.Sprintf("/transactions?page=%d&size=20", rng.IntN(30))
		tx.Request.Path, tx.Request.Query, _ = strings.Cut(tx.Request.Target, "?")
		tx.Request.Domain = "api.bank.example"
		tx.Request.BodyBytes = 0
		tx.Request.UserAgent = fmt.Sprintf("ExampleBank/5.%d.3 (Android 13; SM-A546B; okhttp/4.12.0)", rng.IntN(20))
		tx.Request.Headers = headers[:4+rng.IntN(5)]
		tx.Request.Signature = reassembly.Signature{Media: "none", Length: 0}
		tx.Response.Status, tx.Response.BodyBytes, tx.Response.MIMEType = 200, rng.Int64N(2000), "application/json"
		tx.Response.Signature = reassembly.Signature{Media: "json", Keys: fmt.Sprintf("%016x", rng.Uint64()), Order: fmt.Sprintf("%016x", rng.Uint64()), Length: 8}
		tx.Auth.Carrier = "bearer"
		tx.Auth.SessionPresented = []string{fmt.Sprintf("%016x", rng.Uint64())}
		tx.Complete = true
		tx.Annotation.Endpoint = "GET api.bank.example/api/v2/accounts/{id}/transactions"
		list[i] = tx
	}
	return list
}

func BenchmarkEncoder(b *testing.B) {
	list := calls(1 << 13)
	var e Encoder
	var buf []byte
	octets, i := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		if len(buf) > 64<<10 { // as the writer does
			buf = buf[:0]
		}
		before := len(buf)
		buf = e.Append(buf, list[i&(len(list)-1)])
		octets += len(buf) - before
		i++
	}
	b.SetBytes(int64(octets / i))
}

func BenchmarkReader(b *testing.B) {
	line := AppendTransaction(nil, typical())
	file := bytes.Repeat(line, 1000)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	r := NewReader(bytes.NewReader(file))
	for b.Loop() {
		if !r.Next() {
			r = NewReader(bytes.NewReader(file))
		}
	}
}

func TestWhatIsNoTransactionIsALineThatTheReaderPassesOver(t *testing.T) {
	at := func(event reassembly.Event) *reassembly.Transaction {
		return &reassembly.Transaction{
			Start: 1704067200_000000001, End: 1704067205_000000001, Duration: reassembly.Unknown, ID: "0011", Event: event,
			Source: netip.MustParseAddrPort("203.0.113.7:51000"), Destination: netip.MustParseAddrPort("[2001:db8::1]:443"),
			Client: netip.MustParseAddr("203.0.113.7"), CommunityID: "1:abc=", JA4: "t13d", ServerName: "bank.example",
		}
	}
	socket := at(&reassembly.WebSocket{
		Request: "2233",
		Client:  reassembly.SocketSide{Frames: 4, Messages: 2, Bytes: 130, CloseCode: 1000},
		Server:  reassembly.SocketSide{Frames: 1, Bytes: 9, Gap: 7, Partial: true, Invalid: true},
	})
	socket.Duration, socket.Flags = 4_000_000_000, reassembly.FlagTruncated
	const ends = `"source":{"ip":"203.0.113.7","port":51000},"destination":{"ip":"2001:db8::1","port":443},"client":{"ip":"203.0.113.7"},`
	for _, test := range []struct {
		name string
		tx   *reassembly.Transaction
		want string
	}{
		{"a ClientHello", at(&reassembly.Hello{JA3: "ef", Version: 0x0304, Protocols: []string{"h2"}}),
			`{"@timestamp":"2024-01-01T00:00:00.000000001Z","event":{"action":"tls-client-hello","id":"0011","end":"2024-01-01T00:00:05.000000001Z"},` +
				ends + `"network":{"community_id":"1:abc=","protocol":"tls"},"tls":{"client":{"ja3":"ef","ja4":"t13d","server_name":"bank.example"}},` +
				`"offpath":{"tls":{"version":"1.3","alpn":["h2"]}}}`},
		{"a WebSocket", socket,
			`{"@timestamp":"2024-01-01T00:00:00.000000001Z","event":{"action":"websocket-end","id":"0011","duration":4000000000,"end":"2024-01-01T00:00:05.000000001Z"},` +
				ends + `"network":{"community_id":"1:abc=","protocol":"websocket"},"tls":{"client":{"ja4":"t13d","server_name":"bank.example"}},` +
				`"offpath":{"flags":["truncated"],"websocket":{"request":"2233",` +
				`"client":{"frames":4,"messages":2,"bytes":130,"close_code":1000,"partial":false,"invalid":false},` +
				`"server":{"frames":1,"messages":0,"bytes":9,"gap_bytes":7,"partial":true,"invalid":true}}}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			line := AppendTransaction(nil, test.tx)
			assert.Equal(t, test.want+"\n", string(line))
			r := NewReader(bytes.NewReader(AppendTransaction(line, full())))
			require.True(t, r.Next())
			assert.Equal(t, full(), r.Transaction())
			assert.False(t, r.Next())
			assert.NoError(t, r.Err())
		})
	}
}
