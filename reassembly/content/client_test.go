package content

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

func trust(networks ...string) func(*Config) {
	return func(c *Config) {
		for _, n := range networks {
			c.TrustedProxies = append(c.TrustedProxies, netip.MustParsePrefix(n))
		}
	}
}

func TestEffectiveClient(t *testing.T) {
	for _, c := range []struct {
		name, source, proxy, fields, want string
	}{
		{"without headers the source is the client", "10.0.0.1", "", "", "10.0.0.1"},
		{"a peer that is not trusted is not believed", "192.0.2.1", "", "X-Forwarded-For: 203.0.113.7", "192.0.2.1"},
		{"a trusted peer is believed", "10.0.0.1", "", "X-Forwarded-For: 203.0.113.7", "203.0.113.7"},
		{"the last element counts, not what the client made up", "10.0.0.1", "", "X-Forwarded-For: 1.1.1.1, 203.0.113.7", "203.0.113.7"},
		{"trusted proxies are walked past", "10.0.0.1", "", "X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.9.9.9,10.8.8.8", "203.0.113.7"},
		{"field lines are joined in order", "10.0.0.1", "", "X-Forwarded-For: 1.1.1.1\nx-forwarded-for: 203.0.113.7\nX-Forwarded-For: 10.9.9.9", "203.0.113.7"},
		{"if all are trusted the first is the client", "10.0.0.1", "", "X-Forwarded-For: 10.1.1.1, 10.2.2.2", "10.1.1.1"},
		{"empty elements are skipped", "10.0.0.1", "", "X-Forwarded-For: 203.0.113.7, , ", "203.0.113.7"},
		{"a port is removed", "10.0.0.1", "", "X-Forwarded-For: 203.0.113.7:4711", "203.0.113.7"},
		{"IPv6", "10.0.0.1", "", "X-Forwarded-For: 2001:db8::7", "2001:db8::7"},
		{"IPv6 in brackets with a port", "10.0.0.1", "", "X-Forwarded-For: [2001:db8::7]:4711", "2001:db8::7"},
		{"IPv4-mapped IPv6 is IPv4", "::ffff:10.0.0.1", "", "X-Forwarded-For: ::ffff:203.0.113.7", "203.0.113.7"},
		{"a zone is dropped", "10.0.0.1", "", "X-Forwarded-For: fe80::1%eth0", "fe80::1"},
		{"garbage ends the walk at the proxy that wrote it", "10.0.0.1", "", "X-Forwarded-For: 203.0.113.7, garbage, 10.9.9.9", "10.9.9.9"},
		{"an address with leading zeros is garbage", "10.0.0.1", "", "X-Forwarded-For: 203.0.113.007", "10.0.0.1"},
		{"no client has the unspecified address", "10.0.0.1", "", "X-Forwarded-For: 0.0.0.0", "10.0.0.1"},
		{"Forwarded", "10.0.0.1", "", `Forwarded: for=1.1.1.1, for=203.0.113.7;proto=https;by=10.0.0.1`, "203.0.113.7"},
		{"Forwarded with quotes, brackets and port", "10.0.0.1", "", `Forwarded: For="[2001:db8:cafe::17]:4711"`, "2001:db8:cafe::17"},
		{"Forwarded, the parameter in another place and spaces", "10.0.0.1", "", `Forwarded: proto=http; host="a,b;c" ; for = "203.0.113.7"`, "203.0.113.7"},
		{"Forwarded with escapes in quotes", "10.0.0.1", "", `Forwarded: for="203.0.11\3.7"`, "203.0.113.7"},
		{"an obfuscated identifier is nobody", "10.0.0.1", "", `Forwarded: for=203.0.113.7, for=_hidden, for=10.9.9.9`, "10.9.9.9"},
		{"unknown is nobody", "10.0.0.1", "", `Forwarded: for=unknown`, "10.0.0.1"},
		{"an element without for is nobody", "10.0.0.1", "", `Forwarded: for=203.0.113.7, proto=http`, "10.0.0.1"},
		{"an open quote of the client swallows nothing", "10.0.0.1", "", `Forwarded: for="evil, for=203.0.113.7`, "203.0.113.7"},
		{"X-Forwarded-For goes before Forwarded", "10.0.0.1", "", "Forwarded: for=1.1.1.1\nX-Forwarded-For: 203.0.113.7", "203.0.113.7"},
		{"X-Real-IP", "10.0.0.1", "", "X-Real-IP: 203.0.113.7", "203.0.113.7"},
		{"CF-Connecting-IP", "10.0.0.1", "", "CF-Connecting-IP: 203.0.113.7", "203.0.113.7"},
		{"True-Client-IP", "10.0.0.1", "", "True-Client-IP: 203.0.113.7", "203.0.113.7"},
		{"PROXY protocol gives the peer", "10.0.0.1", "192.0.2.9", "X-Forwarded-For: 203.0.113.7", "192.0.2.9"},
		{"a trusted peer given by PROXY protocol is believed", "192.0.2.1", "10.0.0.1", "X-Forwarded-For: 203.0.113.7", "203.0.113.7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newExtractor(t, trust("10.0.0.0/8", "::ffff:172.16.0.0/108"))
			tx := &reassembly.Transaction{Source: netip.AddrPortFrom(netip.MustParseAddr(c.source), 1)}
			if c.proxy != "" {
				tx.Client = netip.MustParseAddr(c.proxy)
			}
			head, body := parse("GET / HTTP/1.1\n" + c.fields)
			e.Request(tx, head, body)
			assert.Equal(t, c.want, tx.Client.String())
		})
	}
}

func clientOf(e *Extractor, tx *reassembly.Transaction, head *message.Head) {
	f := e.shapes.fields(head)
	e.client(tx, &f)
}

func FuzzClient(f *testing.F) {
	f.Add("203.0.113.7, 10.0.0.1", `for="[2001:db8::1]:80";by=_x, for=10.0.0.2`)
	f.Add(`",,"`, `for="a\",b", for=;;=`)
	f.Add("::ffff:1.2.3.4,[::1]:,[", "for=\xff")
	e := newExtractor(f, trust("10.0.0.0/8"))
	f.Fuzz(func(t *testing.T, xff, forwarded string) {
		for _, field := range []message.Field{
			{Name: []byte("X-Forwarded-For"), Value: []byte(xff)}, {Name: []byte("Forwarded"), Value: []byte(forwarded)},
		} {
			head := &message.Head{Fields: []message.Field{field}}
			tx := &reassembly.Transaction{Source: netip.MustParseAddrPort("192.0.2.1:1")}
			clientOf(e, tx, head)
			assert.Equal(t, "192.0.2.1", tx.Client.String(), "an untrusted peer is the client whatever it says")

			// What a trusted proxy appends wins over anything before it.
			appended := ", 203.0.113.9"
			if string(field.Name) == "Forwarded" {
				appended = `, for="203.0.113.9:1"`
			}
			head.Fields[0].Value = append(append([]byte{}, field.Value...), appended...)
			tx = &reassembly.Transaction{Source: netip.MustParseAddrPort("10.0.0.1:1")}
			clientOf(e, tx, head)
			assert.Equal(t, "203.0.113.9", tx.Client.String())
		}
	})
}
