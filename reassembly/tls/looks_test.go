package tls_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly/tls"
	"offpath/reassembly/tls/hello"
)

// sslv2Hello is a ClientHello in the form of SSL 2.0: TLS 1.0, suites 0x2f and one
// of SSL 2.0 alone, a challenge of 16 octets.
var sslv2Hello = "\x80\x1f\x01\x03\x01\x00\x06\x00\x00\x00\x10" + "\x00\x00\x2f\x01\x00\x80" + strings.Repeat("c", 16)

func TestLooks(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       tls.Verdict
	}{
		{"nothing", "", tls.Undecided},
		{"a ClientHello", "\x16\x03\x01\x02\x00\x01", tls.ClientHello},
		{"a ServerHello", "\x16\x03\x03\x00\x60\x02", tls.ServerHello},
		{"a handshake record of one octet", "\x16\x03\x01\x00\x01\x01", tls.ClientHello},
		{"a record header alone", "\x16\x03\x01\x02\x00", tls.Undecided},
		{"two octets", "\x16\x03", tls.Undecided},
		{"application data", "\x17\x03\x03\x40\x11", tls.Midstream},
		{"another handshake message", "\x16\x03\x03\x00\x60\x0b", tls.Midstream},
		{"an alert", "\x15\x03\x03\x00\x02\x02\x28", tls.Midstream},
		{"another major version", "\x16\x04\x01\x02\x00\x01", tls.Unlike},
		{"another minor version", "\x16\x03\x09\x02\x00\x01", tls.Unlike},
		{"a record that is too long", "\x16\x03\x01\x80\x00\x01", tls.Unlike},
		{"an empty handshake record", "\x16\x03\x01\x00\x00\x01", tls.Unlike},
		{"HTTP", "GET / HTTP/1.1", tls.Unlike},
		{"SOCKS", "\x05\x01\x00", tls.Unlike},
		{"a hello in the form of SSL 2.0", sslv2Hello, tls.ClientHello},
		{"its first octets", sslv2Hello[:10], tls.Undecided},
		{"SSL 2.0 itself", "\x80\x1c\x01\x00\x02\x00\x03\x00\x00\x00\x10\x01\x00\x80", tls.ClientHello},
		{"lengths that contradict each other", "\x80\x20" + sslv2Hello[2:], tls.Unlike},
		{"octets with the high bit", "\xff\xfe\xfd\xfc", tls.Unlike},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, tls.Looks([]byte(c.data))) })
	}
}

func TestAHelloInTheFormOfSSL2(t *testing.T) {
	for _, size := range []int{1, 5, 100} {
		var got []hello.Client
		o := observe(t, tls.Config{Secrets: store(t, nil)})
		tape := []said{{client: true, octets: []byte(sslv2Hello)}}
		o.hello = func(h *hello.Client) { got = append(got, *h) }
		o.hear(tape, size)
		if assert.Len(t, got, 1) {
			assert.True(t, got[0].SSLv2)
			assert.Equal(t, hello.VersionTLS10, got[0].LegacyVersion)
			assert.Equal(t, []uint16{0x2f}, got[0].Suites)
			assert.Equal(t, strings.Repeat("\x00", 16)+strings.Repeat("c", 16), string(got[0].Random[:]))
			assert.Empty(t, got[0].JA4(hello.TCP)+got[0].JA3())
			assert.False(t, got[0].Malformed)
		}
		o.close(t)
	}
}
