package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// octets is the number of octets in hex with spaces.
func octets(hex string) int { return len(strings.Join(strings.Fields(hex), "")) / 2 }

// outer4, outer6 and udpOf put headers with right lengths before a payload,
// all in hex.
func outer4(protocol byte, payload string) string {
	return fmt.Sprintf("45 00 %04x 00 01 40 00 40 %02x 00 00 0a 00 00 01 0a 00 00 02", 20+octets(payload), protocol) + payload
}

func outer6(next byte, payload string) string {
	return fmt.Sprintf("60 00 00 00 %04x %02x 40", octets(payload), next) +
		"fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02" + payload
}

func udpOf(src, dst int, payload string) string {
	return fmt.Sprintf("%04x %04x %04x 0000", src, dst, 8+octets(payload)) + payload
}

const (
	packet4 = ip4 + hello
	packet6 = ip6 + hello
	frame4  = macs + "0800" + packet4
	snap    = "aa aa 03 00 00 00 "
)

func TestDecodeUnwraps(t *testing.T) {
	const (
		toDS    = "0000 02aaaaaaaaaa 02bbbbbbbbbb 02cccccccccc 10 00"
		teredo6 = "60 00 00 00 00 19 06 40 20 01 00 00 cb 00 71 01 00 00 00 00 00 00 00 01 20 01 0d b8 00 01 00 02 00 03 00 04 00 05 00 06"
	)
	ethernet := func(s string) string { return macs + s }
	ip := func(protocol byte, s string) string { return ethernet("0800") + outer4(protocol, s) }
	udp := func(src, dst int, s string) string { return ip(17, udpOf(src, dst, s)) }
	tests := []struct {
		name string
		link capture.LinkType // 0 is Ethernet here
		hex  string
		want string // layers, or the disposition of what is not TCP
	}{
		// Link layers.
		{name: "PPP with address and control", link: capture.LinkPPP, hex: "ff 03 00 21" + packet4},
		{name: "PPP without them", link: capture.LinkPPP, hex: "00 57" + packet6},
		{name: "PPP whose protocol takes one octet", link: capture.LinkPPP, hex: "21" + packet4},
		{name: "PPP link control", link: capture.LinkPPP, hex: "ff 03 c0 21 01 01 00 04", want: "not_ip"},
		{name: "PPP in HDLC-like framing", link: capture.LinkPPPHDLC, hex: "ff 03 00 21" + packet4},
		{name: "Cisco HDLC under the type of PPP", link: capture.LinkPPPHDLC, hex: "0f 00 08 00" + packet4},
		{name: "Cisco HDLC", link: capture.LinkCiscoHDLC, hex: "0f 00 86 dd" + packet6},
		{name: "PPPoE as a link type", link: capture.LinkPPPoE, hex: "11 00 00 01 00 2f 00 21" + packet4, want: "pppoe"},
		{name: "PPP with a direction", link: capture.LinkPPPWithDir, hex: "01 ff 03 00 21" + packet4},
		{name: "NFLOG of a little-endian host", link: capture.LinkNFLOG, hex: "02 00 00 1e  08 00 01 00 08 00 01 00  05 00 0a 00 00 00 00 00  31 00 09 00" + packet4},
		{name: "NFLOG of a big-endian host", link: capture.LinkNFLOG, hex: "0a 00 00 1e  00 08 00 01 08 00 01 00  00 45 00 09" + packet6},
		{name: "NFLOG without a packet", link: capture.LinkNFLOG, hex: "02 00 00 1e  08 00 01 00 08 00 01 00", want: "not_ip"},
		{name: "NFLOG with an attribute of no length", link: capture.LinkNFLOG, hex: "02 00 00 1e  00 00 01 00 08 00 01 00", want: "malformed"},
		{name: "per-packet information", link: capture.LinkPPI, hex: "00 00 0c 00 01 00 00 00 ff ff ff ff" + frame4},
		{name: "per-packet information in itself", link: capture.LinkPPI, hex: "00 00 08 00 c0 00 00 00", want: "unsupported_link"},
		{name: "PKTAP", link: capture.LinkPKTAP, hex: "10 00 00 00 01 00 00 00 0c 00 00 00 00 00 00 00" + packet4},
		{name: "PKTAP beyond the frame", link: capture.LinkPKTAP, hex: "ff ff ff ff 01 00 00 00 0c 00 00 00", want: "malformed"},
		{name: "IEEE 802.3 with SNAP", hex: ethernet("0035" + snap + "08 00" + packet4)},
		{name: "IEEE 802.3 with IP's own service access point", hex: ethernet("0030 06 06 03" + packet4)},
		{name: "SNAP of another organisation", hex: ethernet("0035 aa aa 03 00 00 0c 20 00" + packet4), want: "not_ip"},
		{name: "Linux cooked with SNAP", link: capture.LinkSLL, hex: "0000 0001 0006 020000000001 0000 0004" + snap + "86 dd" + packet6},

		// IEEE 802.11.
		{name: "a data frame to the access point", link: capture.LinkWLAN, hex: "08 01" + toDS + snap + "08 00" + packet4},
		{name: "a QoS data frame with HT control", link: capture.LinkWLAN, hex: "88 81" + toDS + "00 00 00 00 00 00" + snap + "08 00" + packet4},
		{name: "four addresses", link: capture.LinkWLAN, hex: "08 03" + toDS + "02dddddddddd" + snap + "86 dd" + packet6},
		{name: "an aggregate with one part", link: capture.LinkWLAN, hex: "88 01" + toDS + "80 00" + macs + "00 35" + snap + "08 00" + packet4},
		{name: "a protected frame", link: capture.LinkWLAN, hex: "08 41" + toDS + snap + "08 00" + packet4, want: "not_ip"},
		{name: "a frame without data", link: capture.LinkWLAN, hex: "48 01" + toDS, want: "not_ip"},
		{name: "a beacon", link: capture.LinkWLAN, hex: "80 00" + toDS, want: "not_ip"},
		{name: "a part of a frame", link: capture.LinkWLAN, hex: "08 05" + toDS + snap + "08 00" + packet4, want: "fragment"},
		{name: "radiotap", link: capture.LinkRadiotap, hex: "00 00 08 00 00 00 00 00 08 01" + toDS + snap + "08 00" + packet4},
		{name: "radiotap that says the header is padded", link: capture.LinkRadiotap,
			hex: "00 00 19 00 03 00 00 80 00 00 00 00 00 00 00 00 11 11 11 11 11 11 11 11 20" + "88 01" + toDS + "00 00 00 00" + snap + "08 00" + packet4},
		{name: "radiotap of a frame that was received wrongly", link: capture.LinkRadiotap,
			hex: "00 00 09 00 02 00 00 00 40" + "08 01" + toDS + snap + "08 00" + packet4, want: "malformed"},
		{name: "radiotap whose words don't end", link: capture.LinkRadiotap, hex: "00 00 08 00 00 00 00 80", want: "malformed"},

		// Between Ethernet and IP.
		{name: "MPLS", hex: ethernet("8847 00010140") + packet4, want: "mpls"},
		{name: "a stack of three labels", hex: ethernet("8847 00010040 00020040 00030140") + packet6, want: "mpls"},
		{name: "a pseudowire with a control word", hex: ethernet("8847 00010140 00000000") + frame4, want: "mpls"},
		{name: "a pseudowire without one", hex: ethernet("8847 00010140") + frame4, want: "mpls"},
		{name: "a pseudowire to an address that begins as IPv4 does", hex: ethernet("8847 00010140 46") + frame4[2:], want: "mpls"},
		{name: "a pseudowire's own channel", hex: ethernet("8847 00010140 10000021") + packet4, want: "not_ip"},
		{name: "labels without a bottom", hex: ethernet("8847") + strings.Repeat("00010040", 20), want: "malformed"},
		{name: "PPPoE, padded", hex: ethernet("8864 11 00 00 01 00 2f 00 21") + packet4 + "00 00 00 00", want: "pppoe"},
		{name: "PPPoE in two tags", hex: ethernet("88a8 0001 8100 0002 8864 11 00 00 01 00 47 00 57") + packet6, want: "qinq vlan pppoe"},
		{name: "PPPoE discovery", hex: ethernet("8864 11 09 00 00 00 00"), want: "not_ip"},
		{name: "NSH", hex: ethernet("894f 0fc6 01 03 00000001") + strings.Repeat("00", 16) + frame4, want: "nsh"},
		{name: "NSH of maintenance", hex: ethernet("894f 2fc6 01 01 00000001") + strings.Repeat("00", 16) + packet4, want: "not_ip"},
		{name: "VN-Tag before a VLAN tag", hex: ethernet("8926 00010002 8100 0007 0800") + packet4, want: "vntag vlan"},
		{name: "E-tag", hex: ethernet("893f e000 1001 0000 86dd") + packet6, want: "etag"},
		{name: "IEEE 802.1ah", hex: ethernet("88a8 0001 88e7 00000064") + frame4, want: "qinq pbb"},
		{name: "FabricPath", hex: ethernet("8903 0401") + frame4, want: "fabricpath"},

		// On IP.
		{name: "IPv4 in IPv4", hex: ip(4, packet4), want: "ipip"},
		{name: "IPv4 in IPv6", link: capture.LinkRaw, hex: outer6(4, packet4), want: "ipip"},
		{name: "IPv6 in IPv4", hex: ip(41, packet6), want: "6in4"},
		{name: "IPv6 in IPv6 behind destination options", link: capture.LinkRaw, hex: outer6(60, "29 00 01 04 00000000"+packet6), want: "6in6"},
		{name: "MPLS in IPv4", hex: ip(137, "00010140"+packet4), want: "mpls"},
		{name: "GRE", hex: ip(47, "0000 0800"+packet4), want: "gre"},
		{name: "GRE with checksum, key and sequence", hex: ip(47, "b000 86dd 1234 0000 00000001 00000002"+packet6), want: "gre"},
		{name: "GRE with Ethernet in it (NVGRE)", hex: ip(47, "2000 6558 00006401"+frame4), want: "gre"},
		{name: "GRE with a tagged frame in it", hex: ip(47, "0000 6558"+macs+"8100 0007 0800"+packet4), want: "gre vlan"},
		{name: "GRE of PPTP with acknowledgement", hex: ip(47, "3081 880b 0031 0001 00000001 00000002 ff 03 00 21"+packet4), want: "gre"},
		{name: "an acknowledgement of PPTP alone", hex: ip(47, "2081 880b 0000 0001 00000002"), want: "not_tcp"},
		{name: "GRE with source routes", hex: ip(47, "4000 0800 00000000 00000000"+packet4), want: "not_tcp"},
		{name: "GRE from a web cache redirector", hex: ip(47, "0000 883e 00000000"+packet4), want: "gre"},
		{name: "GRE from an access point", hex: ip(47, "0000 8200 08 01"+toDS+snap+"08 00"+packet4), want: "gre"},
		{name: "GRE that ends in its options", hex: ip(47, "2000 0800 0000"), want: "malformed"},
		{name: "ERSPAN type I", hex: ip(47, "0000 88be"+frame4), want: "erspan1"},
		{name: "ERSPAN type II", hex: ip(47, "1000 88be 00000001 1001 0001 00000000"+frame4), want: "erspan2"},
		{name: "ERSPAN type III", hex: ip(47, "1000 22eb 00000001 2001 0001 00000000 0000 0000"+frame4), want: "erspan3"},
		{name: "ERSPAN type III with a platform-specific header", hex: ip(47, "1000 22eb 00000001 2001 0001 00000000 0000 0001 0000000000000000"+frame4), want: "erspan3"},
		{name: "ERSPAN type III of IP packets", hex: ip(47, "1000 22eb 00000001 2001 0001 00000000 0000 0800"+packet6), want: "erspan3"},
		{name: "ERSPAN of a version that isn't known", hex: ip(47, "1000 88be 00000001 7001 0001 00000000"+frame4), want: "malformed"},
		{name: "ESP", hex: ip(50, "00000001 00000001"+packet4), want: "not_tcp"},
		{name: "an Initial packet of QUIC", hex: udp(50000, 443, "c3 00000001 08 8394c8f03e515708 00 00 41"), want: "quic"},
		{name: "a packet of QUIC that negotiates the version", hex: udp(443, 50000, "c3 00000000 08 8394c8f03e515708 00"), want: "not_tcp"},
		{name: "a short header of QUIC", hex: udp(50000, 443, "43 8394c8f03e515708 00 00 41"), want: "not_tcp"},
		{name: "UDP to a port of no tunnel", hex: udp(4000, 4001, "08000000 00000100"+frame4), want: "not_tcp"},

		// On UDP.
		{name: "VXLAN", hex: udp(50000, 4789, "08000000 00000100"+frame4), want: "vxlan"},
		{name: "VXLAN to the port that Linux used first", hex: udp(50000, 8472, "08000000 00000100"+frame4), want: "vxlan"},
		{name: "VXLAN with a group policy", hex: udp(50000, 4789, "88000064 00000100"+frame4), want: "vxlan"},
		{name: "VXLAN over IPv6", link: capture.LinkRaw, hex: outer6(17, udpOf(50000, 4789, "08000000 00000100"+frame4)), want: "vxlan"},
		{name: "VXLAN-GPE", hex: udp(50000, 4790, "0c000001 00000100"+packet4), want: "vxlan_gpe"},
		{name: "VXLAN-GPE with NSH", hex: udp(50000, 4790, "0c000004 00000100 0fc2 02 03 00000001"+frame4), want: "vxlan_gpe nsh"},
		{name: "VXLAN without a network identifier", hex: udp(50000, 4789, "00000000 00000100"+frame4), want: "not_tcp"},
		{name: "VXLAN with reserved bits", hex: udp(50000, 4789, "08000000 00000101"+frame4), want: "not_tcp"},
		{name: "VXLAN the other way", hex: udp(4789, 50000, "08000000 00000100"+frame4), want: "not_tcp"},
		{name: "VXLAN around UDP", hex: udp(50000, 4789, "08000000 00000100"+ip(17, udpOf(53, 53, ""))), want: "not_tcp"},
		{name: "VXLAN around a damaged TCP header", hex: udp(50000, 4789, "08000000 00000100"+macs+"0800"+ip4+strings.Replace(hello, "50 18", "10 18", 1)), want: "not_tcp"},
		{name: "a UDP length beyond the packet", hex: ip(17, "c350 12b5 ffff 0000 08000000 00000100"+frame4), want: "not_tcp"},
		{name: "Geneve", hex: udp(50000, 6081, "0000 6558 000001 00"+frame4), want: "geneve"},
		{name: "Geneve with options and IP at once", hex: udp(50000, 6081, "0240 0800 000001 00 0102 80 01 00000000"+packet4), want: "geneve"},
		{name: "a control packet of Geneve", hex: udp(50000, 6081, "0080 6558 000001 00"+frame4), want: "not_tcp"},
		{name: "Geneve whose options reach beyond it", hex: udp(50000, 6081, "3f00 6558 000001 00"+frame4), want: "not_tcp"},
		{name: "GTP-U", hex: udp(2152, 2152, "30 ff 002d 00000001"+packet4), want: "gtp"},
		{name: "GTP-U with a sequence number", hex: udp(2152, 2152, "32 ff 0031 00000001 0001 00 00"+packet4), want: "gtp"},
		{name: "GTP-U with two extension headers", hex: udp(2152, 2152, "34 ff 004d 00000001 0000 00 85 01 0009 c0 01 0000 00"+packet6), want: "gtp"},
		{name: "GTP-U with an extension header of no length", hex: udp(2152, 2152, "34 ff 0035 00000001 0000 00 85 00 0009 00"+packet4), want: "not_tcp"},
		{name: "GTP-U whose length is not the datagram's", hex: udp(2152, 2152, "30 ff 002c 00000001"+packet4), want: "not_tcp"},
		{name: "an echo request of GTP-U", hex: udp(2152, 2152, "32 01 0004 00000000 0001 0000"), want: "not_tcp"},
		{name: "Teredo", hex: udp(50000, 3544, teredo6+hello), want: "teredo"},
		{name: "Teredo with authentication and origin", hex: udp(3544, 50000, "0001 0000 0000000000000000 00 0000 1234 0a000001"+teredo6+hello), want: "teredo"},
		{name: "Teredo between a client and a relay", hex: udp(50000, 51413, teredo6+hello), want: "teredo"},
		{name: "Teredo with something behind it", hex: udp(50000, 3544, teredo6+hello+"00"), want: "not_tcp"},
		{name: "IPv6 on Teredo's port without an address of Teredo", hex: udp(50000, 3544, packet6), want: "not_tcp"},
		{name: "MPLS in UDP", hex: udp(50000, 6635, "00010140"+packet4), want: "mpls"},
		{name: "AYIYA", hex: udp(50000, 5072, "41 52 11 29 00000001 00112233445566778899aabbccddeeff 0000000000000000000000000000000000000000"+packet6), want: "ayiya"},
		{name: "CAPWAP with Ethernet", hex: udp(50000, 5247, "00 1000 00 00000000"+frame4), want: "capwap"},
		{name: "CAPWAP with IEEE 802.11", hex: udp(5247, 50000, "00 1003 00 00000000 08 01"+toDS+snap+"08 00"+packet4), want: "capwap"},
		{name: "CAPWAP with IEEE 802.11 whose frame and sequence control are swapped", want: "capwap",
			hex: udp(5247, 50000, "00 1003 00 00000000 01 08 0000 02aaaaaaaaaa 02bbbbbbbbbb 02cccccccccc 76 50"+snap+"08 00"+packet4)},
		{name: "CAPWAP with a part of such a frame", want: "fragment",
			hex: udp(5247, 50000, "00 1003 00 00000000 01 08 0000 02aaaaaaaaaa 02bbbbbbbbbb 02cccccccccc 76 51"+snap+"08 00"+packet4)},
		{name: "CAPWAP that is encrypted", hex: udp(50000, 5247, "01 000000"+frame4), want: "not_tcp"},

		// Nested.
		{name: "a mirrored virtual network: ERSPAN, tag, VXLAN, tag", want: "vlan erspan2 vlan vxlan vlan",
			hex: ethernet("8100 0001 0800" + outer4(47, "1000 88be 00000001 1001 0001 00000000"+macs+"8100 0002 0800"+
				outer4(17, udpOf(50000, 4789, "08000000 00000100"+macs+"8100 0003 0800"+packet4))))},
		{name: "two tags outside and two inside: the last is a layer without an identifier", want: "qinq vlan gre qinq vlan",
			hex: ethernet("88a8 0001 8100 0002 0800" + outer4(47, "0000 6558"+macs+"88a8 0003 8100 0004 0800"+packet4))},
		{name: "eight layers", hex: ip(4, outer4(4, outer4(4, outer4(4, outer4(4, outer4(4, outer4(4, outer4(4, packet4)))))))), want: "ipip ipip ipip ipip ipip ipip ipip ipip"},
		{name: "nine layers", hex: ip(4, outer4(4, outer4(4, outer4(4, outer4(4, outer4(4, outer4(4, outer4(4, outer4(4, packet4))))))))), want: "malformed"},
	}
	d := New(MinMemory, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := unhex(t, tt.hex)
			p := capture.Packet{Data: data, WireLen: len(data), Link: max(tt.link, capture.LinkEthernet)}
			d.Decode(&p)
			if p.Disposition != capture.DispositionTCP {
				require.Equal(t, tt.want, p.Disposition.String())
				return
			}
			var layers []string
			for _, l := range p.Wrapping.Layers[:p.Wrapping.Depth] {
				layers = append(layers, l.String())
			}
			require.Equal(t, tt.want, strings.Join(layers, " "))
			assert.Equal(t, "HELLO", string(p.Payload))
			assert.Equal(t, 5, p.PayloadLen)
			assert.Equal(t, []uint16{49152, 80}, []uint16{p.SrcPort, p.DstPort})
			assert.Equal(t, Shard(p.Src, p.Dst, 49152, 80), p.Shard)
			assert.Equal(t, map[uint8]string{4: "192.0.2.1", 6: "2001:db8:1:2:3:4:5:6"}[p.IPVersion], p.Dst.Netip().String())
			assert.Zero(t, testing.AllocsPerRun(100, func() { d.Decode(&p) }))

			// Whatever the frame is cut to, it is never another connection's.
			for n := range data {
				cut := capture.Packet{Data: data[:n], WireLen: len(data), Link: p.Link}
				d.Decode(&cut)
				if cut.Disposition == capture.DispositionTCP {
					require.Equal(t, []any{p.Src, p.Dst, p.SrcPort, p.DstPort, p.Seq, p.Wrapping},
						[]any{cut.Src, cut.Dst, cut.SrcPort, cut.DstPort, cut.Seq, cut.Wrapping}, "cut to %d octets", n)
				}
			}
		})
	}
}

func TestUDPThatIsNoTunnelKeepsItsAddresses(t *testing.T) {
	data := unhex(t, outer4(17, udpOf(50000, 4789, "08000000 00000100"+macs+"8100 0007 0800"+outer4(17, udpOf(53, 53, "")))))
	p := capture.Packet{Data: data, WireLen: len(data), Link: capture.LinkRaw}
	new(Decoder).Decode(&p)
	assert.Equal(t, capture.DispositionNotTCP, p.Disposition)
	assert.Equal(t, "10.0.0.1", p.Src.Netip().String())
	assert.Zero(t, p.Wrapping)
	assert.Equal(t, Shard(addr("10.0.0.1"), addr("10.0.0.2"), 0, 0), p.Shard)
}

func BenchmarkDecodeTunnel(b *testing.B) {
	for name, head := range map[string]string{
		"VXLAN":   macs + "0800" + outer4(17, udpOf(50000, 4789, "08000000 00000100"+frame4)),
		"ERSPAN2": macs + "0800" + outer4(47, "1000 88be 00000001 1001 0001 00000000"+frame4),
	} {
		b.Run(name, func(b *testing.B) {
			data := unhex(b, head)
			p := capture.Packet{Data: data, WireLen: len(data), Link: capture.LinkEthernet}
			d := New(MinMemory, nil)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				d.Decode(&p)
			}
		})
	}
}

// benchmark of the slow path of fragments: two fragments a datagram.
func BenchmarkDecodeFragments(b *testing.B) {
	d := New(MinMemory, nil)
	first := unhex(b, "45 00 05 dc 00 01 20 00 40 06 00 00 c6 33 64 07 c0 00 02 01"+hello+strings.Repeat("41", 1455))
	last := unhex(b, "45 00 00 3c 00 01 00 b9 40 06 00 00 c6 33 64 07 c0 00 02 01"+strings.Repeat("42", 40))
	b.SetBytes(int64(len(first) + len(last)))
	b.ReportAllocs()
	var clock int64
	for b.Loop() {
		clock += 1000
		for _, data := range [][]byte{first, last} {
			binary.BigEndian.PutUint16(data[4:], uint16(clock/1000))
			p := capture.Packet{Data: data, WireLen: len(data), Link: capture.LinkRaw, Clock: clock}
			d.Decode(&p)
		}
	}
	require.NotZero(b, d.Fragments().Whole)
}

func TestOnlyTunnelsBetweenTheNamedNetworksAreRead(t *testing.T) {
	teredo6 := "60 00 00 00 00 19 06 40 20 01 00 00 cb 00 71 01 00 00 00 00 00 00 00 01 20 01 0d b8 00 01 00 02 00 03 00 04 00 05 00 06"
	for name, hex := range map[string]string{
		"IP in IP": outer4(4, packet4),
		"GRE":      outer4(47, "0000 0800"+packet4),
		"VXLAN":    outer4(17, udpOf(50000, 4789, "08000000 00000100"+frame4)),
		"Teredo":   outer4(17, udpOf(50000, 443, teredo6+hello)),
	} {
		data := unhex(t, macs+"0800"+hex)
		for _, tt := range []struct {
			networks []string
			want     capture.Disposition
		}{
			{nil, capture.DispositionTCP},
			{[]string{"10.0.0.0/24"}, capture.DispositionTCP},
			{[]string{"10.0.0.1/32", "10.0.0.2/32"}, capture.DispositionTCP},
			{[]string{"10.0.0.1/32"}, capture.DispositionNotTCP},
			{[]string{"10.0.0.2/32"}, capture.DispositionNotTCP},
			{[]string{"::/0"}, capture.DispositionNotTCP},
		} {
			var networks []netip.Prefix
			for _, n := range tt.networks {
				networks = append(networks, netip.MustParsePrefix(n))
			}
			p := capture.Packet{Data: data, WireLen: len(data), Link: capture.LinkEthernet}
			New(MinMemory, nil, networks...).Decode(&p)
			assert.Equal(t, tt.want, p.Disposition, "%s, %v", name, tt.networks)
			if tt.want != capture.DispositionTCP {
				assert.Equal(t, "10.0.0.1", p.Src.Netip().String(), "%s, %v", name, tt.networks)
				assert.Zero(t, p.Wrapping.Depth)
			}
		}
	}
}
