package decode

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// unhex reads hex with spaces.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	require.NoError(t, err)
	return b
}

// Headers that the tables put together. Lengths fit a TCP segment of 20 + 5
// octets that carries "HELLO".
const (
	macs = "02 00 00 00 00 01  02 00 00 00 00 02"

	ip4 = `45 00 00 2d 00 01 40 00 40 06 00 00
	       c6 33 64 07  c0 00 02 01` // 198.51.100.7 > 192.0.2.1

	ip6addresses = `20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01
	                20 01 0d b8 00 01 00 02 00 03 00 04 00 05 00 06`
	ip6 = "60 00 00 00 00 19 06 40" + ip6addresses

	hello = `c0 00 00 50  00 00 00 01  00 00 00 02  50 18 20 00 00 00 00 00
	         48 45 4c 4c 4f` // 49152 > 80, PSH ACK
)

func TestDecode(t *testing.T) {
	const (
		vlan = capture.EncapsulationVLAN
		qinq = capture.EncapsulationQinQ
	)
	wrapped := func(layers []capture.Encapsulation, ids ...uint16) capture.Wrapping {
		w := capture.Wrapping{Tags: uint8(len(ids)), Depth: uint8(len(layers))}
		copy(w.VLAN[:], ids)
		copy(w.Layers[:], layers)
		return w
	}
	type want struct {
		disposition capture.Disposition
		version     uint8
		wrapping    capture.Wrapping
		payload     string
		payloadLen  int // if it differs from that of payload
	}
	tests := []struct {
		name    string
		link    capture.LinkType
		hex     string
		wireLen int // if it differs from that of the data
		want    want
	}{
		// Link layers.
		{name: "Ethernet and IPv4", link: capture.LinkEthernet, hex: macs + "0800" + ip4 + hello,
			want: want{version: 4, payload: "HELLO"}},
		{name: "Ethernet and IPv6", link: capture.LinkEthernet, hex: macs + "86dd" + ip6 + hello,
			want: want{version: 6, payload: "HELLO"}},
		{name: "Ethernet padding is not payload", link: capture.LinkEthernet, hex: macs + "0800" + ip4 + hello + "00 00 00 00 00 00",
			want: want{version: 4, payload: "HELLO"}},
		{name: "ARP is no IP", link: capture.LinkEthernet, hex: macs + "0806 0001 0800 0604 0001",
			want: want{disposition: capture.DispositionNotIP}},
		{name: "a length instead of an EtherType is IEEE 802.3, here spanning tree", link: capture.LinkEthernet, hex: macs + "0026 424203 0000",
			want: want{disposition: capture.DispositionNotIP}},
		{name: "half an Ethernet header", link: capture.LinkEthernet, hex: macs + "08",
			want: want{disposition: capture.DispositionTruncated}},
		{name: "Linux cooked", link: capture.LinkSLL, hex: "0000 0001 0006 020000000001 0000 0800" + ip4 + hello,
			want: want{version: 4, payload: "HELLO"}},
		{name: "Linux cooked with a VLAN tag", link: capture.LinkSLL, hex: "0000 0001 0006 020000000001 0000 8100 0064 86dd" + ip6 + hello,
			want: want{version: 6, payload: "HELLO", wrapping: wrapped([]capture.Encapsulation{vlan}, 100)}},
		{name: "Linux cooked with an IEEE 802.2 frame", link: capture.LinkSLL, hex: "0000 0001 0006 020000000001 0000 0004 4242",
			want: want{disposition: capture.DispositionNotIP}},
		{name: "Linux cooked version 2", link: capture.LinkSLL2, hex: "0800 0000 00000002 0001 00 06 0200000000010000" + ip4 + hello,
			want: want{version: 4, payload: "HELLO"}},
		{name: "raw IPv4", link: capture.LinkRaw, hex: ip4 + hello, want: want{version: 4, payload: "HELLO"}},
		{name: "raw IPv6", link: capture.LinkRaw, hex: ip6 + hello, want: want{version: 6, payload: "HELLO"}},
		{name: "raw IP under the number of DLT_RAW", link: 12, hex: ip4 + hello, want: want{version: 4, payload: "HELLO"}},
		{name: "raw IP under OpenBSD's number of DLT_RAW", link: 14, hex: ip6 + hello, want: want{version: 6, payload: "HELLO"}},
		{name: "link type IPv4", link: capture.LinkIPv4, hex: ip4 + hello, want: want{version: 4, payload: "HELLO"}},
		{name: "link type IPv6", link: capture.LinkIPv6, hex: ip6 + hello, want: want{version: 6, payload: "HELLO"}},
		{name: "link type IPv6 with IPv4 in it", link: capture.LinkIPv6, hex: ip4 + hello, want: want{disposition: capture.DispositionMalformed}},
		{name: "raw IP of version 5", link: capture.LinkRaw, hex: "50", want: want{disposition: capture.DispositionMalformed}},
		{name: "raw IP without an octet", link: capture.LinkRaw, hex: "", want: want{disposition: capture.DispositionTruncated}},
		{name: "loopback of a little-endian host", link: capture.LinkNull, hex: "02000000" + ip4 + hello, want: want{version: 4, payload: "HELLO"}},
		{name: "loopback of a big-endian host", link: capture.LinkNull, hex: "00000002" + ip4 + hello, want: want{version: 4, payload: "HELLO"}},
		{name: "OpenBSD loopback", link: capture.LinkLoop, hex: "00000018" + ip6 + hello, want: want{version: 6, payload: "HELLO"}},
		{name: "loopback with AF_INET6 of Linux", link: capture.LinkNull, hex: "0a000000" + ip6 + hello, want: want{version: 6, payload: "HELLO"}},
		{name: "loopback with AF_INET6 of FreeBSD", link: capture.LinkNull, hex: "1c000000" + ip6 + hello, want: want{version: 6, payload: "HELLO"}},
		{name: "loopback with AF_INET6 of macOS", link: capture.LinkNull, hex: "1e000000" + ip6 + hello, want: want{version: 6, payload: "HELLO"}},
		{name: "loopback with another family", link: capture.LinkNull, hex: "07000000", want: want{disposition: capture.DispositionNotIP}},
		{name: "a link type that isn't decoded", link: 147, hex: ip4 + hello, want: want{disposition: capture.DispositionUnsupportedLink}},

		// Tags.
		{name: "a VLAN tag with priority", link: capture.LinkEthernet, hex: macs + "8100 e064 0800" + ip4 + hello,
			want: want{version: 4, payload: "HELLO", wrapping: wrapped([]capture.Encapsulation{vlan}, 100)}},
		{name: "a priority tag has VLAN 0", link: capture.LinkEthernet, hex: macs + "8100 a000 0800" + ip4 + hello,
			want: want{version: 4, payload: "HELLO", wrapping: wrapped([]capture.Encapsulation{vlan}, 0)}},
		{name: "a service and a customer tag", link: capture.LinkEthernet, hex: macs + "88a8 0fff 8100 0001 86dd" + ip6 + hello,
			want: want{version: 6, payload: "HELLO", wrapping: wrapped([]capture.Encapsulation{qinq, vlan}, 4095, 1)}},
		{name: "three tags, the outer of the old kind", link: capture.LinkEthernet, hex: macs + "9100 0001 8100 0002 8100 0003 0800" + ip4 + hello,
			want: want{version: 4, payload: "HELLO", wrapping: wrapped([]capture.Encapsulation{qinq, vlan, vlan}, 1, 2, 3)}},
		{name: "four tags are too many", link: capture.LinkEthernet, hex: macs + "8100 0001 8100 0002 8100 0003 8100 0004 0800" + ip4 + hello,
			want: want{disposition: capture.DispositionMalformed, wrapping: wrapped([]capture.Encapsulation{vlan, vlan, vlan}, 1, 2, 3)}},
		{name: "the frame ends inside a tag", link: capture.LinkEthernet, hex: macs + "8100 0001 08",
			want: want{disposition: capture.DispositionTruncated}},

		// IPv4.
		{name: "IPv4 with options", link: capture.LinkRaw,
			hex:  "46 00 00 31 00 01 40 00 40 06 00 00 c6 33 64 07 c0 00 02 01  94 04 00 00" + hello,
			want: want{version: 4, payload: "HELLO"}},
		{name: "IPv4 with a header length below 20", link: capture.LinkRaw, hex: "44" + ip4[2:] + hello,
			want: want{disposition: capture.DispositionMalformed}},
		{name: "IPv4 with a header length beyond the packet", link: capture.LinkRaw, hex: "4f 00 00 2d" + ip4[11:] + hello,
			want: want{disposition: capture.DispositionMalformed}},
		{name: "IPv4 with a header length beyond what was captured", link: capture.LinkRaw, hex: "4f 00 01 00" + ip4[11:], wireLen: 256,
			want: want{disposition: capture.DispositionTruncated}},
		{name: "half an IPv4 header", link: capture.LinkRaw, hex: "45 00 00 2d 00 01 40 00 40 06",
			want: want{disposition: capture.DispositionTruncated}},
		{name: "total length 0 (segmentation offload) reaches to the end of the frame", link: capture.LinkRaw,
			hex:  "45 00 00 00 00 01 40 00 40 06 00 00 c6 33 64 07 c0 00 02 01" + hello,
			want: want{version: 4, payload: "HELLO"}},
		{name: "total length 0 in a frame that was cut", link: capture.LinkRaw,
			hex: "45 00 00 00 00 01 40 00 40 06 00 00 c6 33 64 07 c0 00 02 01" + hello, wireLen: 65560,
			want: want{version: 4, payload: "HELLO", payloadLen: 65520}},
		{name: "total length within the header", link: capture.LinkRaw,
			hex:  "45 00 00 13 00 01 40 00 40 06 00 00 c6 33 64 07 c0 00 02 01" + hello,
			want: want{disposition: capture.DispositionMalformed}},
		{name: "a frame cut by the snap length has less payload than its IP length says", link: capture.LinkRaw,
			hex: "45 00 05 dc" + ip4[11:] + hello, wireLen: 1500,
			want: want{version: 4, payload: "HELLO", payloadLen: 1460}},
		{name: "a frame that a mirror cut without saying so", link: capture.LinkRaw,
			hex:  "45 00 05 dc" + ip4[11:] + hello,
			want: want{version: 4, payload: "HELLO", payloadLen: 1460}},
		{name: "the first fragment", link: capture.LinkRaw,
			hex:  "45 00 00 2c 00 01 20 00 40 06 00 00 c6 33 64 07 c0 00 02 01" + hello,
			want: want{disposition: capture.DispositionFragment}},
		{name: "the last fragment, at offset 8 where TCP flags would be", link: capture.LinkRaw,
			hex:  "45 00 00 2d 00 01 00 01 40 06 00 00 c6 33 64 07 c0 00 02 01" + hello,
			want: want{disposition: capture.DispositionFragment}},
		{name: "UDP", link: capture.LinkRaw,
			hex:  "45 00 00 1c 00 01 00 00 40 11 00 00 c6 33 64 07 c0 00 02 01  00 35 00 35 00 08 00 00",
			want: want{disposition: capture.DispositionNotTCP}},
		{name: "TCP in an authentication header", link: capture.LinkRaw,
			hex: "45 00 00 45 00 01 00 00 40 33 00 00 c6 33 64 07 c0 00 02 01" +
				"06 04 0000 00000001 00000001 000000000000000000000000" + hello,
			want: want{version: 4, payload: "HELLO"}},

		// IPv6.
		{name: "half an IPv6 header", link: capture.LinkRaw, hex: "60 00 00 00 00 19 06 40",
			want: want{disposition: capture.DispositionTruncated}},
		{name: "hop-by-hop, routing and destination options", link: capture.LinkRaw,
			hex: "60 00 00 00 00 39 00 40" + ip6addresses +
				"2b 00 05 02 0000 0100" + "3c 01 00 00 00000000 0000000000000000" + "06 00 01 04 00000000" + hello,
			want: want{version: 6, payload: "HELLO"}},
		{name: "an authentication header counts in words of 4 octets", link: capture.LinkRaw,
			hex: "60 00 00 00 00 31 33 40" + ip6addresses +
				"06 04 0000 00000001 00000001 000000000000000000000000" + hello,
			want: want{version: 6, payload: "HELLO"}},
		{name: "an atomic fragment is a whole packet", link: capture.LinkRaw,
			hex:  "60 00 00 00 00 21 2c 40" + ip6addresses + "06 00 0000 00000001" + hello,
			want: want{version: 6, payload: "HELLO"}},
		{name: "a first fragment", link: capture.LinkRaw,
			hex:  "60 00 00 00 00 20 2c 40" + ip6addresses + "06 00 0001 00000001" + hello,
			want: want{disposition: capture.DispositionFragment}},
		{name: "a later fragment", link: capture.LinkRaw,
			hex:  "60 00 00 00 00 21 2c 40" + ip6addresses + "06 00 0008 00000001" + hello,
			want: want{disposition: capture.DispositionFragment}},
		{name: "an extension header beyond the packet", link: capture.LinkRaw,
			hex:  "60 00 00 00 00 21 3c 40" + ip6addresses + "06 ff 0000 00000001" + hello,
			want: want{disposition: capture.DispositionMalformed}},
		{name: "an extension header beyond what was captured", link: capture.LinkRaw,
			hex: "60 00 00 00 20 00 3c 40" + ip6addresses + "06 ff 0000 00000001" + hello, wireLen: 8232,
			want: want{disposition: capture.DispositionTruncated}},
		{name: "more extension headers than anybody sends", link: capture.LinkRaw,
			hex:  "60 00 00 00 01 59 3c 40" + ip6addresses + strings.Repeat("3c 00 0000 00000000", 39) + "06 00 0000 00000000" + hello,
			want: want{disposition: capture.DispositionMalformed}},
		{name: "no next header", link: capture.LinkRaw, hex: "60 00 00 00 00 00 3b 40" + ip6addresses,
			want: want{disposition: capture.DispositionNotTCP}},
		{name: "payload length 0 (segmentation offload) reaches to the end of the frame", link: capture.LinkRaw,
			hex:  "60 00 00 00 00 00 06 40" + ip6addresses + hello,
			want: want{version: 6, payload: "HELLO"}},
		{name: "a jumbogram, cut by the snap length", link: capture.LinkRaw,
			hex:     "60 00 00 00 00 00 00 40" + ip6addresses + "06 00 c2 04 00 01 86 a0" + hello,
			wireLen: 100040,
			want:    want{version: 6, payload: "HELLO", payloadLen: 100000 - 8 - 20}},
		{name: "a jumbogram beyond its frame", link: capture.LinkRaw,
			hex:  "60 00 00 00 00 00 00 40" + ip6addresses + "06 00 c2 04 ff ff ff ff" + hello,
			want: want{disposition: capture.DispositionMalformed}},

		// TCP.
		{name: "TCP with options", link: capture.LinkRaw,
			hex: "45 00 00 31" + ip4[11:] +
				"c000 0050 00000001 00000002 6018 2000 0000 0000 02 04 05 b4 48 45 4c 4c 4f",
			want: want{version: 4, payload: "HELLO"}},
		{name: "a data offset below 5", link: capture.LinkRaw,
			hex:  ip4 + "c000 0050 00000001 00000002 4018 2000 0000 0000 48 45 4c 4c 4f",
			want: want{disposition: capture.DispositionMalformed}},
		{name: "a data offset beyond the segment", link: capture.LinkRaw,
			hex:  ip4 + "c000 0050 00000001 00000002 f018 2000 0000 0000 48 45 4c 4c 4f",
			want: want{disposition: capture.DispositionMalformed}},
		{name: "a data offset beyond what was captured", link: capture.LinkRaw,
			hex: "45 00 05 dc" + ip4[11:] + "c000 0050 00000001 00000002 f018 2000 0000 0000 48 45 4c 4c 4f", wireLen: 1500,
			want: want{disposition: capture.DispositionTruncated}},
		{name: "a segment too short for a TCP header, in an Ethernet frame padded with more", link: capture.LinkEthernet,
			hex:  macs + "0800 45 00 00 20" + ip4[11:] + hello,
			want: want{disposition: capture.DispositionMalformed}},
		{name: "half a TCP header", link: capture.LinkRaw, hex: ip4 + "c000 0050 00000001",
			want: want{disposition: capture.DispositionTruncated}},
		{name: "an ACK without payload", link: capture.LinkRaw,
			hex:  "45 00 00 28" + ip4[11:] + "c000 0050 00000001 00000002 5010 2000 0000 0000",
			want: want{version: 4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := unhex(t, tt.hex)
			// A Packet that was used before must not shine through.
			p := capture.Packet{
				Data: data, WireLen: len(data), Link: tt.link,
				Wrapping: capture.Wrapping{Tags: 3, Depth: 8}, Payload: []byte("old"), PayloadLen: 3, Shard: 77,
			}
			if tt.wireLen != 0 {
				p.WireLen = tt.wireLen
			}
			new(Decoder).Decode(&p)

			require.Equal(t, tt.want.disposition, p.Disposition, "disposition %s", p.Disposition)
			assert.Equal(t, tt.want.wrapping, p.Wrapping)
			assert.Equal(t, tt.want.payload, string(p.Payload))
			if tt.want.payloadLen == 0 {
				tt.want.payloadLen = len(tt.want.payload)
			}
			assert.Equal(t, tt.want.payloadLen, p.PayloadLen)
			if p.Disposition != capture.DispositionTCP {
				return
			}
			src, dst := "198.51.100.7", "192.0.2.1"
			if tt.want.version == 6 {
				src, dst = "2001:db8::1", "2001:db8:1:2:3:4:5:6"
			}
			assert.Equal(t, tt.want.version, p.IPVersion)
			assert.Equal(t, src, p.Src.Netip().String())
			assert.Equal(t, dst, p.Dst.Netip().String())
			assert.Equal(t, uint16(49152), p.SrcPort)
			assert.Equal(t, uint16(80), p.DstPort)
			assert.Equal(t, uint32(1), p.Seq)
			assert.Equal(t, uint32(2), p.Ack)
			assert.Equal(t, uint16(0x2000), p.Window)
			assert.Equal(t, capture.FlagACK, p.Flags&^capture.FlagPSH)
			assert.Equal(t, Shard(addr(src), addr(dst), 49152, 80), p.Shard)
		})
	}
}

func TestOtherIPPacketsTakeTheirShardFromTheAddressesAlone(t *testing.T) {
	udp := unhex(t, "45 00 00 1c 00 01 00 00 40 11 00 00 c6 33 64 07 c0 00 02 01  00 35 00 35 00 08 00 00")
	p := capture.Packet{Data: udp, WireLen: len(udp), Link: capture.LinkRaw}
	new(Decoder).Decode(&p)
	assert.Equal(t, Shard(addr("198.51.100.7"), addr("192.0.2.1"), 0, 0), p.Shard)
}

// Every prefix of a frame is what a snap length may leave of it.
func TestAnySnapLengthGivesTheSameHeadersOrTruncated(t *testing.T) {
	data := unhex(t, macs+"88a8 0fff 8100 0001 86dd 60 00 00 00 00 21 2c 40"+ip6addresses+"06 00 0000 00000001"+hello)
	whole := capture.Packet{Data: data, WireLen: len(data), Link: capture.LinkEthernet}
	new(Decoder).Decode(&whole)
	require.Equal(t, capture.DispositionTCP, whole.Disposition)
	for n := range data {
		p := capture.Packet{Data: data[:n], WireLen: len(data), Link: capture.LinkEthernet}
		new(Decoder).Decode(&p)
		if n < len(data)-len("HELLO") {
			assert.Equal(t, capture.DispositionTruncated, p.Disposition, "cut to %d octets", n)
			continue
		}
		want := whole
		want.Data, want.Payload = p.Data, whole.Payload[:n-(len(data)-len("HELLO"))]
		assert.Equal(t, want, p, "cut to %d octets", n)
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	for _, s := range []string{macs + "0800" + ip4 + hello, macs + "8100 0001 86dd" + ip6 + hello, macs + "0806"} {
		data := unhex(t, s)
		p := capture.Packet{Data: data, WireLen: len(data), Link: capture.LinkEthernet}
		d := New(MinMemory, nil)
		assert.Zero(t, testing.AllocsPerRun(1000, func() { d.Decode(&p) }))
	}
}

func BenchmarkDecode(b *testing.B) {
	request := make([]byte, 408)
	for name, head := range map[string]string{
		"IPv4":       macs + "0800" + ip4 + hello,
		"VLAN, IPv6": macs + "8100 0001 86dd" + ip6 + hello,
		"ARP":        macs + "0806",
	} {
		b.Run(name, func(b *testing.B) {
			data := append(unhex(b, head), request...)
			if name == "IPv4" {
				binary.BigEndian.PutUint16(data[16:], uint16(len(data)-14))
			}
			p := capture.Packet{Data: data, WireLen: len(data), Link: capture.LinkEthernet}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			d := New(MinMemory, nil)
			for b.Loop() {
				d.Decode(&p)
			}
		})
	}
}
