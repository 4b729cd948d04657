package decode

import (
	"math/rand/v2"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// TestDecodeAgreesWithGopacket builds valid packets at random (addresses, IP
// and TCP options, tags, extension headers, padding), and reads them with both.
func TestDecodeAgreesWithGopacket(t *testing.T) {
	rng := rand.New(rand.NewPCG(2026, 11))
	for range 5000 {
		data := randomFrame(t, rng)
		p := capture.Packet{Data: data, WireLen: len(data), Link: capture.LinkEthernet}
		new(Decoder).Decode(&p)

		theirs := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
		require.Nil(t, theirs.ErrorLayer(), "generated a packet that gopacket refuses")
		require.Equal(t, capture.DispositionTCP, p.Disposition, "%s", theirs)
		tcp := theirs.Layer(layers.LayerTypeTCP).(*layers.TCP)
		switch ip := theirs.NetworkLayer().(type) {
		case *layers.IPv4:
			require.Equal(t, uint8(4), p.IPVersion)
			require.Equal(t, ip.SrcIP.String(), p.Src.Netip().String())
			require.Equal(t, ip.DstIP.String(), p.Dst.Netip().String())
		case *layers.IPv6:
			require.Equal(t, uint8(6), p.IPVersion)
			require.True(t, ip.SrcIP.Equal(p.Src[:]))
			require.True(t, ip.DstIP.Equal(p.Dst[:]))
		}
		require.Equal(t, uint16(tcp.SrcPort), p.SrcPort)
		require.Equal(t, uint16(tcp.DstPort), p.DstPort)
		require.Equal(t, tcp.Seq, p.Seq)
		require.Equal(t, tcp.Ack, p.Ack)
		require.Equal(t, tcp.Window, p.Window)
		require.Equal(t, flagsOf(tcp), p.Flags)
		require.Equal(t, string(tcp.Payload), string(p.Payload))
		require.Equal(t, len(tcp.Payload), p.PayloadLen)
		var tags []uint16
		for _, l := range theirs.Layers() {
			if tag, ok := l.(*layers.Dot1Q); ok {
				tags = append(tags, tag.VLANIdentifier)
			}
		}
		require.Equal(t, tags, append([]uint16(nil), p.Wrapping.VLAN[:p.Wrapping.Tags]...))
	}
}

func flagsOf(tcp *layers.TCP) (flags uint8) {
	for i, set := range []bool{tcp.FIN, tcp.SYN, tcp.RST, tcp.PSH, tcp.ACK, tcp.URG, tcp.ECE, tcp.CWR} {
		if set {
			flags |= 1 << i
		}
	}
	return flags
}

func randomFrame(t *testing.T, rng *rand.Rand) []byte {
	octets := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	coin := func() bool { return rng.IntN(2) == 0 }

	six := coin()
	ipType := layers.EthernetTypeIPv4
	if six {
		ipType = layers.EthernetTypeIPv6
	}
	types := []layers.EthernetType{ipType}
	for range rng.IntN(capture.MaxTags + 1) {
		types = append([]layers.EthernetType{[]layers.EthernetType{layers.EthernetTypeDot1Q, layers.EthernetTypeQinQ}[rng.IntN(2)]}, types...)
	}
	stack := []gopacket.SerializableLayer{&layers.Ethernet{SrcMAC: octets(6), DstMAC: octets(6), EthernetType: types[0]}}
	for _, next := range types[1:] {
		stack = append(stack, &layers.Dot1Q{VLANIdentifier: uint16(rng.IntN(4096)), Priority: uint8(rng.IntN(8)), Type: next})
	}
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(rng.Uint32()), DstPort: layers.TCPPort(rng.Uint32()), Seq: rng.Uint32(), Ack: rng.Uint32(),
		Window: uint16(rng.Uint32()), FIN: coin(), SYN: coin(), RST: coin(), PSH: coin(), ACK: coin(), URG: coin(), ECE: coin(), CWR: coin(),
	}
	if coin() {
		tcp.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: octets(2)}}
	}
	if six {
		ip := &layers.IPv6{Version: 6, SrcIP: octets(16), DstIP: octets(16), NextHeader: layers.IPProtocolTCP, HopLimit: 64}
		stack = append(stack, ip)
		if coin() {
			ip.NextHeader = layers.IPProtocolIPv6Destination
			option := &layers.IPv6DestinationOption{OptionType: 0x1e, OptionData: octets(4 + 8*rng.IntN(3))}
			extension := &layers.IPv6Destination{Options: []*layers.IPv6DestinationOption{option}}
			extension.NextHeader = layers.IPProtocolTCP
			stack = append(stack, extension)
		}
		require.NoError(t, tcp.SetNetworkLayerForChecksum(ip))
	} else {
		ip := &layers.IPv4{Version: 4, SrcIP: net.IP(octets(4)), DstIP: net.IP(octets(4)), Protocol: layers.IPProtocolTCP, TTL: 64}
		if coin() {
			ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: octets(2)}}
		}
		stack = append(stack, ip)
		require.NoError(t, tcp.SetNetworkLayerForChecksum(ip))
	}
	stack = append(stack, tcp, gopacket.Payload(octets(rng.IntN(1400))))
	buffer := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...))
	data := append([]byte(nil), buffer.Bytes()...)
	if coin() {
		data = append(data, octets(rng.IntN(8))...) // padding
	}
	return data
}
