package proxyproto_test

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/proxyproto"
)

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// v2 is a header of version 2.
func v2(command, family byte, body ...string) string {
	all := strings.Join(body, "")
	return signature + string(binary.BigEndian.AppendUint16([]byte{command, family}, uint16(len(all)))) + all
}

func tlv(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// summed is a header with an extension that holds its checksum.
func summed(wrong byte, body ...string) string {
	h := []byte(v2(0x21, 0x11, append(body, tlv(3, "\x00\x00\x00\x00"))...))
	sum := crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(h[len(h)-4:], sum)
	h[len(h)-1] ^= wrong
	return string(h)
}

const (
	four = "\xc0\x00\x02\x01\xc6\x33\x64\x01\xc3\x50\x01\xbb"
	six  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\xc3\x50\x01\xbb"
)

func TestParse(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, test := range []struct {
		name string
		in   string
		want proxyproto.Header
	}{
		{"version 1 over IPv4", "PROXY TCP4 192.0.2.1 198.51.100.1 50000 443\r\n",
			proxyproto.Header{Version: 1, Source: at("192.0.2.1:50000"), Destination: at("198.51.100.1:443")}},
		{"version 1 over IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n",
			proxyproto.Header{Version: 1, Source: at("[2001:db8::1]:0"), Destination: at("[2001:db8::2]:65535")}},
		{"version 1 that does not know", "PROXY UNKNOWN\r\n", proxyproto.Header{Version: 1}},
		{"version 1 that does not know and says more", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", proxyproto.Header{Version: 1}},
		{"version 2 over IPv4", v2(0x21, 0x11, four), proxyproto.Header{Version: 2, Source: at("192.0.2.1:50000"), Destination: at("198.51.100.1:443")}},
		{"version 2 over IPv6", v2(0x21, 0x21, six), proxyproto.Header{Version: 2, Source: at("[2001:db8::1]:50000"), Destination: at("[2001:db8::2]:443")}},
		{"version 2 of the proxy itself", v2(0x20, 0x11, four), proxyproto.Header{Version: 2, Local: true}},
		{"version 2 without addresses", v2(0x21, 0x00), proxyproto.Header{Version: 2}},
		{"version 2 over a UNIX socket", v2(0x21, 0x31, strings.Repeat("\x00", 216)), proxyproto.Header{Version: 2}},
		{"extensions", v2(0x21, 0x11, four, tlv(1, "h2"), tlv(4, "padding"), tlv(2, "bank.example"), tlv(5, "id-7"), tlv(0x20, "\x01\x00\x00\x00\x00"+tlv(0x22, "CN")+tlv(0x21, "TLSv1.3"))),
			proxyproto.Header{Version: 2, Source: at("192.0.2.1:50000"), Destination: at("198.51.100.1:443"),
				ALPN: []byte("h2"), Authority: []byte("bank.example"), UniqueID: []byte("id-7"), TLS: true, TLSVersion: []byte("TLSv1.3")}},
		{"a checksum that is right", summed(0, four, tlv(1, "h2")),
			proxyproto.Header{Version: 2, Source: at("192.0.2.1:50000"), Destination: at("198.51.100.1:443"), ALPN: []byte("h2")}},
		{"an extension longer than the header ends them", v2(0x21, 0x11, four, tlv(1, "h2"), "\x02\xff\xffx"),
			proxyproto.Header{Version: 2, Source: at("192.0.2.1:50000"), Destination: at("198.51.100.1:443"), ALPN: []byte("h2")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i := range len(test.in) {
				_, n, v := proxyproto.Parse([]byte(test.in[:i]))
				require.Equal(t, proxyproto.Undecided, v, "after %d octets", i)
				require.Zero(t, n)
			}
			h, n, v := proxyproto.Parse([]byte(test.in + "GET / HTTP/1.1\r\n"))
			assert.Equal(t, proxyproto.Yes, v)
			assert.Equal(t, len(test.in), n)
			assert.Equal(t, test.want, h)
		})
	}
}

func TestWhatIsNoHeader(t *testing.T) {
	for _, test := range []struct {
		name, in string
		by       int // octets by which it is known
	}{
		{"a request", "GET / HTTP/1.1\r\n", 1},
		{"a request of a method that begins alike", "PROPFIND / HTTP/1.1\r\n", 4},
		{"a TLS record", "\x16\x03\x01\x00\xc8\x01", 1},
		{"a line that does not end", "PROXY TCP4 " + strings.Repeat("1", 100), 107},
		{"a line that ends too late", "PROXY UNKNOWN " + strings.Repeat("1", 92) + "\r\n", 107},
		{"an unknown family", "PROXY UDP4 192.0.2.1 198.51.100.1 50000 443\r\n", 45},
		{"an address of the other family", "PROXY TCP4 2001:db8::1 2001:db8::2 50000 443\r\n", 46},
		{"an address with a zone", "PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n", 41},
		{"a port with a leading zero", "PROXY TCP4 192.0.2.1 198.51.100.1 050 443\r\n", 43},
		{"a port that is too large", "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", 45},
		{"two spaces", "PROXY TCP4 192.0.2.1  198.51.100.1 1 2\r\n", 40},
		{"a version that is none", signature + "\x31\x11\x00\x00", 13},
		{"a command that is none", signature + "\x22\x11\x00\x00", 13},
		{"addresses cut short", v2(0x21, 0x21, four), 28},
		{"a header beyond the bound", v2(0x21, 0x11, four, strings.Repeat("\x04\x00\x00", 2000)), 16},
		{"a checksum that is wrong", summed(1, four), 35},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, n, v := proxyproto.Parse([]byte(test.in[:test.by]))
			assert.Equal(t, proxyproto.No, v)
			assert.Zero(t, n)
			if test.by > 1 {
				_, _, v = proxyproto.Parse([]byte(test.in[:test.by-1]))
				assert.Equal(t, proxyproto.Undecided, v)
			}
		})
	}
}

// FuzzParse: a verdict, once given, stands whatever follows; headers are within
// their bound and the octets given.
func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.1 50000 443\r\nGET"))
	f.Add([]byte(v2(0x21, 0x21, six, tlv(1, "h2"))))
	f.Add([]byte(summed(0, four, tlv(0x20, "\x01\x00\x00\x00\x00"+tlv(0x21, "TLSv1.3")))))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, n, v := proxyproto.Parse(data)
		require.LessOrEqual(t, n, min(len(data), proxyproto.MaxHeader))
		require.Equal(t, v == proxyproto.Yes, n > 0)
		if v == proxyproto.Undecided {
			require.Less(t, len(data), proxyproto.MaxHeader)
		}
		require.Equal(t, h.Source.IsValid(), h.Destination.IsValid())
		for i := range min(len(data), 300) {
			before, m, verdict := proxyproto.Parse(data[:i])
			if verdict != proxyproto.Undecided {
				require.Equal(t, v, verdict)
				require.Equal(t, n, m)
				require.Equal(t, h, before)
			}
		}
	})
}

func TestParsingABinaryHeaderAllocatesNothing(t *testing.T) {
	data := []byte(summed(0, four, tlv(1, "h2")))
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _, _ = proxyproto.Parse(data) }))
}

func BenchmarkParse(b *testing.B) {
	for name, in := range map[string]string{"v1": "PROXY TCP4 192.0.2.1 198.51.100.1 50000 443\r\n", "v2": v2(0x21, 0x11, four)} {
		b.Run(name, func(b *testing.B) {
			data := []byte(in)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				_, _, _ = proxyproto.Parse(data)
			}
		})
	}
}
