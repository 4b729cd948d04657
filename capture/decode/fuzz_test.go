package decode

import (
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// FuzzDecode: any octets under any link type get a disposition, what is said
// about a packet of TCP or QUIC lies within them, and both directions share a shard.
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
	f.Add(uint16(capture.LinkEthernet), unhex(f, macs+"8847 00010140 00000000"+frame4), 0)
	f.Add(uint16(capture.LinkEthernet), unhex(f, macs+"8864 11 00 00 01 00 2f 00 21"+packet4), 0)
	f.Add(uint16(capture.LinkPPP), unhex(f, "ff 03 00 21"+packet4), 0)
	f.Add(uint16(capture.LinkNFLOG), unhex(f, "02 00 00 1e 05 00 0a 00 00 00 00 00 31 00 09 00"+packet4), 0)
	f.Add(uint16(capture.LinkRadiotap), unhex(f, "00 00 08 00 00 00 00 00 08 01 0000 02aaaaaaaaaa 02bbbbbbbbbb 02cccccccccc 10 00"+snap+"08 00"+packet4), 0)
	for port, tunnel := range map[int]string{
		4789: "08000000 00000100" + frame4, 4790: "0c000004 00000100 0fc2 02 03 00000001" + frame4,
		6081: "0240 0800 000001 00 0102 80 01 00000000" + packet4, 2152: "34 ff 004d 00000001 0000 00 85 01 0009 c0 01 0000 00" + packet6,
		5072: "41 52 11 29 00000001 00112233445566778899aabbccddeeff 0000000000000000000000000000000000000000" + packet6,
		5247: "00 1000 00 00000000" + frame4, 6635: "00010140" + packet4,
	} {
		f.Add(uint16(capture.LinkRaw), unhex(f, outer4(17, udpOf(port, port, tunnel))), 0)
	}
	f.Add(uint16(capture.LinkRaw), unhex(f, outer4(47, "1000 22eb 00000001 2001 0001 00000000 0000 0001 0000000000000000"+frame4)), 0)
	f.Fuzz(func(t *testing.T, link uint16, data []byte, cut int) {
		p := capture.Packet{Data: data[:len(data):len(data)], Link: capture.LinkType(link)}
		p.WireLen = len(data) + max(0, cut)
		new(Decoder).Decode(&p)
		require.Less(t, int(p.Disposition), capture.Dispositions)
		require.LessOrEqual(t, p.Wrapping.Tags, p.Wrapping.Depth)
		headers := 20 + 20
		switch p.Disposition {
		case capture.DispositionTCP:
		case capture.DispositionQUIC:
			headers = 20 + 8
		default:
			require.Nil(t, p.Payload)
			require.Zero(t, p.PayloadLen)
			return
		}
		require.Contains(t, []uint8{4, 6}, p.IPVersion)
		require.LessOrEqual(t, int(p.Wrapping.Depth), capture.MaxEncapsulations)
		require.GreaterOrEqual(t, p.PayloadLen, len(p.Payload))
		require.Equal(t, len(p.Payload), cap(p.Payload), "appending to the payload can't reach the frame")
		if len(p.Payload) > 0 {
			off := 0
			for off < len(data) && &data[off] != &p.Payload[0] {
				off++
			}
			require.GreaterOrEqual(t, off, headers)
			require.LessOrEqual(t, off+len(p.Payload), len(data))
		}
		require.Equal(t, p.Shard, Shard(p.Src, p.Dst, p.SrcPort, p.DstPort))
		require.Equal(t, p.Shard, Shard(p.Dst, p.Src, p.DstPort, p.SrcPort))
		again := p
		new(Decoder).Decode(&again)
		require.Equal(t, p, again)
	})
}

// FuzzFragments: any octets as fragments of one datagram, told apart by their
// own header of five octets, leave memory within its bound and the books in
// balance; what comes out says the same each time, and only of octets that came
// in.
func FuzzFragments(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x00\x08ABCDEFGH\x00\x01\x00\x00\x04abcd"), false)
	f.Add([]byte("\x00\x01\x00\x00\x04abcd\x00\x00\x01\x00\x08ABCDEFGH\x00\x01\x00\x00\x04abcd"), true)
	f.Add([]byte("\x00\x00\x01\x00\x10ABCDEFGHIJKLMNOP\x00\x01\x01\x00\x08IJKLMNOP\x00\x02\x00\x00\x01q"), false)
	f.Add([]byte("\x00\x00\x01\x00\x08ABCDEFGH\x00\x00\x01\xff\x08abcdefgh"), true)
	f.Fuzz(func(t *testing.T, script []byte, six bool) {
		run := func() (whole []fragment, stats capture.FragmentStats) {
			d := newDefragmenter(4096)
			var clock int64
			offered := map[int]map[byte]bool{} // octets by offset
			for b := script; len(b) >= 5; {
				n := min(int(b[4]), len(b)-5)
				key := datagramKey{version: 4, id: uint32(b[0])}
				if six {
					key.version = 6
				}
				part := fragment{offset: int(b[1]) * 8, size: int(b[4]), more: b[2]&1 != 0, next: b[2], octets: b[5 : 5+n]}
				clock += int64(b[3]) * 1e8
				b = b[5+n:]
				if !part.valid() {
					continue
				}
				for i, c := range part.octets {
					if offered[part.offset+i] == nil {
						offered[part.offset+i] = map[byte]bool{}
					}
					offered[part.offset+i][c] = true
				}
				w := d.add(clock, key, part)
				require.LessOrEqual(t, d.cost, 4096)
				require.LessOrEqual(t, len(w.octets), w.size)
				for i, c := range w.octets {
					require.True(t, offered[i][c], "octet %d came from nowhere", i)
				}
				if w.size != 0 {
					whole = append(whole, w)
				}
			}
			d.flush()
			require.Empty(t, d.table)
			require.Empty(t, d.sources)
			require.Zero(t, d.cost)
			require.EqualValues(t, len(whole), d.stats.Whole)
			return whole, d.stats
		}
		whole, stats := run()
		again, statsAgain := run()
		require.Equal(t, whole, again)
		require.Equal(t, stats, statsAgain)
	})
}
