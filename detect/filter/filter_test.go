package filter

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/jsonl"
)

const start = 1_700_000_000_123_456_789 // 2023-11-14T22:13:20.123456789Z

// full has every field there is.
func full() *reassembly.Transaction {
	return &reassembly.Transaction{
		Start: start, End: start + 2e9, Duration: 1e9, ID: "35325606a73fecebbcd92ed1",
		Source: netip.MustParseAddrPort("10.0.0.1:1234"), Destination: netip.MustParseAddrPort("[2001:db8::1]:443"), Client: netip.MustParseAddr("192.0.2.7"),
		CommunityID: "1:abc=", Sequence: 3, VLAN: []uint16{7, 8}, Encapsulation: []string{"vlan"}, HTTPVersion: "1.1",
		Request: reassembly.Request{
			Method: "POST", Target: "/login?q=\\\xff", Domain: "bank.example", Path: "/login", Query: "q=\\\xff", BodyBytes: 5, MIMEType: "application/json",
			Referrer: "https://bank.example/", UserAgent: "curl/8", Headers: []string{"host", "accept"},
			Signature: reassembly.Signature{Media: "json", Keys: "k", Order: "o", Cookies: []string{"c"}, Location: "/l", Code: "e", Length: 3},
			Detail:    reassembly.Detail{Fields: [][2]string{{"Host", "bank.example"}, {"Accept", "\xfe"}}, SHA256: "aa", DecodedBytes: 6},
		},
		Response: reassembly.Response{
			Status: 401, BodyBytes: 0, MIMEType: "text/html",
			Signature: reassembly.Signature{Media: "html", Keys: "K", Order: "O", Cookies: []string{"sid"}, Location: "/L", Code: "E", Length: 0},
			Detail:    reassembly.Detail{Fields: [][2]string{{"Server", "x"}}, SHA256: "bb", DecodedBytes: 0},
		},
		Auth: reassembly.Auth{
			Carrier: "json", UserField: "user", PasswordField: "pass", PasswordFields: 1, GrantType: "password", UserHash: "u", PasswordHash: "p",
			SessionPresented: []string{"s1"}, SessionIssued: []string{"s2", "s3"}, TokenIssued: true, APIKeyHash: "a",
		},
		OFX:       &reassembly.OFX{MessageSets: []string{"BANKMSGSRQV1"}, StatusCodes: []string{"0"}, SourceHash: "f", DestinationHash: "t", Amount: "1.00", Currency: "EUR"},
		GRPC:      &reassembly.GRPC{Status: 0, RequestMessages: 1, ResponseMessages: 2, Partial: true},
		Operation: "op", JA4: "t13d", ServerName: "bank.example", Fingerprint: "f1", FingerprintLoose: "f2", FingerprintWire: "f3",
		Informational: []int{100, 103}, RefusedBy: "v", Flags: reassembly.FlagGap | reassembly.FlagMidstream,
		Anomalies: reassembly.AnomalyBareLF, GapBytes: 9, Complete: true, Sensitive: reassembly.SensitiveLooked | 2,
		Annotation: reassembly.Annotation{EventOutcome: "failure", Outcome: "rejected", Endpoint: "POST bank.example/login", Role: "login"},
	}
}

// flat lists the members of a line by their full names.
func flat(into map[string]any, path string, value any) {
	object, ok := value.(map[string]any)
	if !ok {
		into[path] = value
		return
	}
	for name, member := range object {
		flat(into, strings.TrimPrefix(path+"."+name, "."), member)
	}
}

func TestTheFieldsAreThoseOfALineWithTheirValues(t *testing.T) {
	minimal := &reassembly.Transaction{
		Start: start, End: start, Duration: reassembly.Unknown,
		Request:  reassembly.Request{BodyBytes: reassembly.Unknown, Signature: reassembly.Signature{Length: reassembly.Unknown}, Detail: reassembly.Detail{DecodedBytes: reassembly.Unknown}},
		Response: reassembly.Response{BodyBytes: reassembly.Unknown, Signature: reassembly.Signature{Length: reassembly.Unknown}, Detail: reassembly.Detail{DecodedBytes: reassembly.Unknown}},
	}
	partial := full()
	partial.Sensitive = reassembly.SensitiveLooked
	partial.GRPC.Status, partial.OFX.MessageSets, partial.OFX.Amount = reassembly.Unknown, nil, ""
	for name, tx := range map[string]*reassembly.Transaction{"full": full(), "minimal": minimal, "partial": partial} {
		t.Run(name, func(t *testing.T) {
			var line map[string]any
			decoder := json.NewDecoder(strings.NewReader(string(jsonl.AppendTransaction(nil, tx))))
			decoder.UseNumber()
			require.NoError(t, decoder.Decode(&line))
			want := map[string]any{}
			flat(want, "", line)
			for _, annotation := range []string{"event.outcome", "offpath.outcome", "offpath.endpoint", "offpath.role"} {
				delete(want, annotation)
			}
			want["timestamp"] = want["@timestamp"]
			delete(want, "@timestamp")
			got := map[string]any{}
			fields.walk("", func(path string, n *node) {
				if value, ok := n.value(tx); ok && n.members == nil {
					text, err := json.Marshal(value)
					require.NoError(t, err)
					decoder := json.NewDecoder(strings.NewReader(string(text)))
					decoder.UseNumber()
					var plain any
					require.NoError(t, decoder.Decode(&plain))
					got[path] = plain
				}
			})
			assert.Equal(t, want, got)
			f := fieldsOf(t, tx)
			assert.ElementsMatch(t, keys(want), f, "and has says so")
		})
	}
}

func keys(m map[string]any) (list []string) {
	for k := range m {
		if k != "timestamp" {
			list = append(list, k)
		}
	}
	return list
}

// fieldsOf lists the fields that has finds.
func fieldsOf(t *testing.T, tx *reassembly.Transaction) (list []string) {
	fields.walk("", func(path string, n *node) {
		if n.members != nil || path == "timestamp" {
			return
		}
		f, err := Compile("has(" + path + ")")
		require.NoError(t, err, path)
		if f.Holds(tx) {
			list = append(list, path)
		}
	})
	return list
}

func TestWhatIsPicked(t *testing.T) {
	bare := &reassembly.Transaction{Start: start, End: start, Request: reassembly.Request{Method: "GET", Path: "/"}}
	hello := &reassembly.Transaction{Start: start, End: start, Event: &reassembly.Hello{}, JA4: "t13d", ServerName: "a"}
	for _, c := range []struct {
		expression        string
		full, bare, hello bool
	}{
		{`true`, true, true, true},
		{`http.request.method == "POST" && url.path.startsWith("/login")`, true, false, false},
		{`http.response.status_code >= 400`, true, false, false},
		{`http.response.status_code < 400`, false, false, false},
		{`!(http.response.status_code >= 400)`, false, false, false},
		{`!has(http.response.status_code) || http.response.status_code < 400`, false, true, true},
		{`has(offpath.ofx)`, true, false, false},
		{`!has(offpath.ofx.amount)`, false, true, true},
		{`has(http.request.signature) || has(offpath.request.signature.media)`, true, false, false},
		{`"gap" in offpath.flags`, true, false, false},
		{`offpath.request.headers[0] == "host" && size(offpath.request.headers) == 2`, true, false, false},
		{`offpath.request.headers[7] == "host"`, false, false, false},
		{`offpath.request.header_fields.exists(f, f[0] == "Accept" && f[1] == "\\xfe")`, true, false, false},
		{`url.query == "q=\\\\\\xff"`, true, false, false},
		{`cidr("192.0.2.0/24").containsIP(client.ip)`, true, false, false},
		{`network.vlan.id == [7, 8] && 103 in offpath.informational`, true, false, false},
		{`network.protocol == "tls" && tls.client.server_name == "a"`, false, false, true},
		{`event.action == "tls-client-hello"`, false, false, true},
		{`timestamp > timestamp("2023-11-14T22:13:20Z") && timestamp < timestamp("2023-11-14T22:13:21Z")`, true, true, true},
		{`event.end - timestamp == duration("2s")`, true, false, false},
		{`event.duration >= 1000000000`, true, false, false},
		{`offpath.complete && offpath.sequence == 3`, true, false, false},
		{`url.path.matches("^/log[a-z]+$")`, true, false, false},
		{`http.version in ["1.1", "2"] && offpath.auth.carrier.upperAscii() == "JSON"`, true, false, false},
	} {
		if strings.Contains(c.expression, "http.request.signature") {
			_, err := Compile(c.expression)
			assert.ErrorContains(t, err, "there is offpath.request.signature")
			continue
		}
		f, err := Compile(c.expression)
		require.NoError(t, err, c.expression)
		assert.Equal(t, c.full, f.Holds(full()), "full: %s", c.expression)
		assert.Equal(t, c.bare, f.Holds(bare), "bare: %s", c.expression)
		assert.Equal(t, c.hello, f.Holds(hello), "hello: %s", c.expression)
	}
}

func TestMistakesAreNamedWithTheirPlaceAndTheMend(t *testing.T) {
	for _, c := range []struct{ expression, want string }{
		{`http.reqest.method == "GET"`, `at character 5: there is no field "reqest" here; ` + "`offpath replay --transactions -` shows which there are"},
		{`http.method == "GET"`, `at character 5: there is no field "method" here; there is http.request.method`},
		{`offpath.role == "login"`, `at character 8: there is no field "role" here; what detection adds is not known yet where the filter stands`},
		{`method == "GET"`, `at character 1: "method" is no field and no function; fields begin with one of timestamp, event, source, destination, client, network, http, url, user_agent, tls, user, offpath, and text stands in quotes`},
		{`http.request.method == POST`, `at character 24: "POST" is no field and no function; fields begin with one of timestamp, event, source, destination, client, network, http, url, user_agent, tls, user, offpath, and text stands in quotes`},
		{`http.response.status_code == "401"`, `at character 27: found no matching overload for '_==_' applied to '(int, string)'`},
		{`url.path`, `it says string, not whether to pick a transaction; compare it with something, as in http.request.method == "POST"`},
		{"url.path == \"/\" &&\n  url.quary == \"\"", `at line 2, character 6: there is no field "quary" here; ` + "`offpath replay --transactions -` shows which there are"},
		{strings.Repeat("(", 20<<10), "it has 20480 octets, more than 16384"},
	} {
		_, err := Compile(c.expression)
		require.Error(t, err, c.expression)
		assert.Equal(t, c.want, err.Error())
	}
	for _, broken := range []string{"", `url.path ==`, `"`, `url.path.matches("(")`, "((((", "a\x00b"} {
		_, err := Compile(broken)
		require.Error(t, err, "%q", broken)
		assert.NotContains(t, err.Error(), "\n")
	}
}

func TestMembersStandInTheOrderOfTheContract(t *testing.T) {
	assert.Equal(t, []string{"timestamp", "event", "source", "destination", "client", "network", "http", "url", "user_agent", "tls", "user", "offpath"}, fields.order)
	names, ok := provider{root: fields, prefix: typePrefix}.FindStructFieldNames("transaction.http")
	require.True(t, ok)
	assert.True(t, slices.Contains(names, "version"))
}

func BenchmarkHolds(b *testing.B) {
	for _, expression := range []string{`http.request.method == "POST" && url.path.startsWith("/login")`, `"gap" in offpath.flags`} {
		f, err := Compile(expression)
		require.NoError(b, err)
		tx := full()
		b.Run(fmt.Sprint(len(expression)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.Holds(tx)
			}
		})
	}
}
