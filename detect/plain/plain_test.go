package plain

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"offpath/detect"
)

func TestASubjectIsSaidInWords(t *testing.T) {
	network := netip.MustParsePrefix("192.0.2.0/24")
	for _, c := range []struct {
		name    string
		subject detect.Subject
		want    string
	}{
		{"an address", detect.Subject{Client: netip.MustParsePrefix("192.0.2.1/32")}, "192.0.2.1"},
		{"a network", detect.Subject{Client: network}, "192.0.2.0/24"},
		{"a software at an endpoint", detect.Subject{Fingerprint: "f1", Endpoint: "POST a/login"}, "clients with fingerprint f1 at POST a/login"},
		{"three marks", detect.Subject{Fingerprint: "f1", UserAgent: "x/1", JA4: "t13"}, "clients with fingerprint f1, User-Agent x/1 and JA4 t13"},
		{"a software in a network", detect.Subject{Client: network, UserAgent: "x/1"}, "192.0.2.0/24 with User-Agent x/1"},
		{"a host", detect.Subject{Domain: "bank.example"}, "clients at bank.example"},
		{"an endpoint", detect.Subject{Endpoint: "POST a/login"}, "POST a/login"},
		{"an account", detect.Subject{UserHash: "aa"}, "account aa"},
		{"a session", detect.Subject{Session: "bb"}, "session bb"},
		{"an account's session", detect.Subject{Session: "bb", UserHash: "aa"}, "clients with session bb and account aa"},
		{"none", detect.Subject{}, "everybody"},
		{"what would move a terminal's cursor", detect.Subject{UserAgent: "\x1b[2J"}, `clients with User-Agent "\x1b[2J"`},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, Subject(c.subject)) })
	}
}

func TestNumbersAreSaidAsPeopleSayThem(t *testing.T) {
	for n, want := range map[float64]string{
		0.043: "0.043", 1: "1", 9.96: "10", 99.4: "99", 99.6: "100", 333: "330", 1234567: "1.2 million", 98765: "99,000", 2e9: "2 billion", 5e12: "5 trillion", 1e30: "more than a thousand trillion",
	} {
		assert.Equal(t, want, Round(n), n)
	}
	for length, want := range map[time.Duration]string{0: "a moment", 47 * time.Millisecond: "47 ms", 500 * time.Millisecond: "0.5 s", 90 * time.Second: "90 s", 90 * time.Minute: "90 minutes", 3 * time.Hour: "3 hours"} {
		assert.Equal(t, want, Span(length.Nanoseconds()), length)
	}
	for share, want := range map[float64]string{0: "none", 1: "all", 0.0001: "less than 0.1 %", 0.023: "2.3 %", 0.44: "44 %", 0.999: "more than 99 %"} {
		assert.Equal(t, want, Percent(share), share)
	}
}
