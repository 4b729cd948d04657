package predicate_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/detect"
	"offpath/mitigate/internal/predicate"
)

func TestTheTextOfASubjectHasItsMembersInOrder(t *testing.T) {
	one, wide := netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8:0:7::9/64")
	for _, tt := range []struct {
		name    string
		subject detect.Subject
		text    string
		shape   predicate.Shape
	}{
		{"a program", detect.Subject{Fingerprint: "0123456789abcdef"}, "fingerprint 0123456789abcdef\n", predicate.Fingerprint},
		{"an address at an endpoint", detect.Subject{Client: one, Endpoint: "GET Bank.example./Login"},
			"address 192.0.2.7\nendpoint GET bank.example/Login\n", predicate.Address | predicate.Endpoint},
		{"all that a network can have beside it", detect.Subject{Client: wide, Fingerprint: "0123456789abcdef", UserAgent: "x y", Domain: "Bank.example."},
			"network 2001:db8:0:7::\nfingerprint 0123456789abcdef\nuser_agent x y\ndomain bank.example\n",
			predicate.Network64 | predicate.Fingerprint | predicate.UserAgent | predicate.Domain},
	} {
		text, shape, reason := predicate.Of(tt.subject, netip.Addr.String)
		assert.Empty(t, reason, tt.name)
		assert.Equal(t, tt.text, text, tt.name)
		assert.Equal(t, tt.shape, shape, tt.name)
	}
}

func TestWhatHasNoExactTextIsNotWritten(t *testing.T) {
	for _, tt := range []struct {
		name    string
		subject detect.Subject
		reason  string
	}{
		{"a network beside a program", detect.Subject{Client: netip.MustParsePrefix("192.0.2.0/24"), Fingerprint: "0123456789abcdef"}, "single addresses"},
		{"a fingerprint in capitals", detect.Subject{Fingerprint: "0123456789ABCDEF"}, "16 hex digits"},
		{"a User-Agent of two lines", detect.Subject{UserAgent: "a\nfingerprint 0123456789abcdef"}, "no header field"},
		{"a User-Agent that is too long", detect.Subject{UserAgent: strings.Repeat("x", 4097)}, "4097 octets"},
		{"an endpoint and a domain", detect.Subject{Endpoint: "GET a.example/", Domain: "b.example"}, "does not match both"},
		{"a template", detect.Subject{Endpoint: "GET a.example/{id}"}, "literal path"},
		{"an operation", detect.Subject{Endpoint: "POST a.example/graphql#login"}, "literal path"},
		{"a path that no request is named by", detect.Subject{Endpoint: "GET a.example/%61"}, "literal path"},
		{"a path of 17 segments", detect.Subject{Endpoint: "GET a.example" + strings.Repeat("/x", 17)}, "literal path"},
		{"a domain with a port", detect.Subject{Domain: "a.example:80"}, "more than a name"},
	} {
		_, _, reason := predicate.Of(tt.subject, netip.Addr.String)
		assert.Contains(t, reason, tt.reason, tt.name)
	}
}

func TestAClientAloneIsAnAddressOrANetworkAsSeenOnTheWire(t *testing.T) {
	at := func(text string) detect.Subject { return detect.Subject{Client: netip.MustParsePrefix(text)} }
	for text, want := range map[string]string{"192.0.2.1/32": "192.0.2.1/32", "192.0.2.1/24": "192.0.2.0/24", "2001:db8::1/64": "2001:db8::/64"} {
		client, reason := predicate.Client(at(text))
		assert.Empty(t, reason)
		assert.Equal(t, want, client.String())
	}
	with := at("192.0.2.1/32")
	with.UserAgent = "curl/8"
	for reason, s := range map[string]detect.Subject{
		"the subject names nothing":               {},
		"it matches addresses and networks alone": with,
		"is not an address as seen on the wire":   at("::ffff:192.0.2.1/128"),
	} {
		_, said := predicate.Client(s)
		assert.Contains(t, said, reason)
	}
}
