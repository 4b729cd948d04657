package decode

import (
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// FuzzDecode: any octets under any link type get a disposition, what is said
// about a TCP packet lies within them, and both directions share a shard.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		macs + "0800" + ip4 + hello,
		macs + "8100 0001 86dd" + ip6 + hello,
		macs + "88a8 0fff 8100 0001 0800" + ip4 + hello,
		macs + "86dd 60 00 00 00 00 00 00 40" + ip6addresses + "06 00 c2 04 00 01 86 a0" + hello,
		macs + "86dd 60 00 00 00 00 21 2c 40" + ip6addresses + "06 00 0000 00000001" + hello,
	} {
		f.Add(uint16(capture.LinkEthernet), unhex(f, s), 0)
	}
	f.Add(uint16(capture.LinkNull), unhex(f, "02000000"+ip4+hello), 1000)
	f.Add(uint16(capture.LinkSLL), unhex(f, "0000 0001 0006 020000000001 0000 0800"+ip4+hello), 0)
	f.Add(uint16(capture.LinkSLL2), unhex(f, "0800 0000 00000002 0001 00 06 0200000000010000"+ip4+hello), 0)
	f.Add(uint16(capture.LinkRaw), unhex(f, ip6+hello), 1<<20)
	f.Fuzz(func(t *testing.T, link uint16, data []byte, cut int) {
		p := capture.Packet{Data: data[:len(data):len(data)], Link: capture.LinkType(link)}
		p.WireLen = len(data) + max(0, cut)
		Decode(&p)
		require.Less(t, int(p.Disposition), capture.Dispositions)
		require.LessOrEqual(t, p.Wrapping.Tags, p.Wrapping.Depth)
		if p.Disposition != capture.DispositionTCP {
			require.Nil(t, p.Payload)
			require.Zero(t, p.PayloadLen)
			return
		}
		require.Contains(t, []uint8{4, 6}, p.IPVersion)
		require.GreaterOrEqual(t, p.PayloadLen, len(p.Payload))
		require.Equal(t, len(p.Payload), cap(p.Payload), "appending to the payload can't reach the frame")
		if len(p.Payload) > 0 {
			off := 0
			for off < len(data) && &data[off] != &p.Payload[0] {
				off++
			}
			require.GreaterOrEqual(t, off, 20+20)
			require.LessOrEqual(t, off+len(p.Payload), len(data))
		}
		require.Equal(t, p.Shard, Shard(p.Src, p.Dst, p.SrcPort, p.DstPort))
		require.Equal(t, p.Shard, Shard(p.Dst, p.Src, p.DstPort, p.SrcPort))
		again := p
		Decode(&again)
		require.Equal(t, p, again)
	})
}
