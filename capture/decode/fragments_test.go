package decode

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// segment is a TCP segment with a payload.
func segment(t testing.TB, payload string) []byte {
	return append(unhex(t, hello)[:20], payload...)
}

// fragment4 and fragment6 are packets with a part of a datagram.
func fragment4(t testing.TB, protocol byte, id uint16, offset int, more bool, part []byte) []byte {
	p := append(unhex(t, ip4), part...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[4:], id)
	field := uint16(offset / 8)
	if more {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(p[6:], field)
	p[9] = protocol
	return p
}

func fragment6(t testing.TB, next byte, id uint16, offset int, more bool, part []byte) []byte {
	p := append(unhex(t, ip6), next, 0, 0, 0, 0, 0, 0, 0)
	p = append(p, part...)
	binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
	p[6] = protocolFragment
	field := uint16(offset)
	if more {
		field |= 1
	}
	binary.BigEndian.PutUint16(p[42:], field)
	binary.BigEndian.PutUint32(p[44:], uint32(id))
	return p
}

type fragmentOf func(t testing.TB, next byte, id uint16, offset int, more bool, part []byte) []byte

// sight is a frame and when it comes.
type sight struct {
	at    int64
	frame []byte
	cut   int // octets that the snap length took
}

// see decodes frames, and returns the payloads of those that are TCP.
func see(d *Decoder, sights ...sight) (payloads []string, packets []capture.Packet) {
	for _, s := range sights {
		p := capture.Packet{Data: s.frame[:len(s.frame)-s.cut], WireLen: len(s.frame), Link: capture.LinkRaw, Clock: s.at}
		d.Decode(&p)
		packets = append(packets, p)
		if p.Disposition == capture.DispositionTCP {
			payloads = append(payloads, string(p.Payload))
		}
	}
	return payloads, packets
}

// at makes sights of frames that come at the same time.
func at(clock int64, frames ...[]byte) (sights []sight) {
	for _, f := range frames {
		sights = append(sights, sight{at: clock, frame: f})
	}
	return sights
}

// Whatever a datagram is cut into, in any order, with copies: one of the frames
// brings the packet that would have come whole.
func TestADatagramCutAnyhowIsThePacketThatWasCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(791, 8200))
	for round := range 3000 {
		cut, version := fragmentOf(fragment4), uint8(4)
		if rng.IntN(2) == 0 {
			cut, version = fragment6, 6
		}
		payload := make([]byte, 1+rng.IntN(3000))
		for i := range payload {
			payload[i] = byte(rng.Uint32())
		}
		whole := segment(t, string(payload))
		var frames [][]byte
		for off := 0; off < len(whole); {
			end := min(len(whole), off+8*(1+rng.IntN(100)))
			f := cut(t, protocolTCP, uint16(round), off, end < len(whole), whole[off:end])
			for range 1 + rng.IntN(2) {
				frames = append(frames, f)
			}
			off = end
		}
		if len(frames) < 2 || frames[0][6] == frames[len(frames)-1][6] && version == 4 && len(whole) <= 800 {
			continue // not cut at all
		}
		rng.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
		d := New(MinMemory, nil)
		payloads, packets := see(d, at(1, frames...)...)
		require.NotEmpty(t, payloads)
		for _, got := range payloads { // twice if every part came twice
			require.Equal(t, string(payload), got)
		}
		for i, p := range packets {
			require.Equal(t, &frames[i][0], &p.Data[0], "Data stays the frame")
			if p.Disposition == capture.DispositionTCP {
				require.Equal(t, version, p.IPVersion)
				require.Equal(t, len(payload), p.PayloadLen)
				require.Equal(t, Shard(p.Src, p.Dst, 49152, 80), p.Shard)
				require.Equal(t, []any{uint16(49152), uint16(80), uint32(1), uint32(2)}, []any{p.SrcPort, p.DstPort, p.Seq, p.Ack})
			} else {
				require.Equal(t, capture.DispositionFragment, p.Disposition)
			}
		}
		d.Flush()
		stats := d.Fragments()
		require.Zero(t, stats.Expired+stats.Conflicting+stats.Evicted)
		require.Empty(t, d.defragmenter.table)
		require.Empty(t, d.defragmenter.sources)
		require.Zero(t, d.defragmenter.cost)
	}
}

func TestFragmentsOfADatagram(t *testing.T) {
	const second = int64(1e9)
	text := strings.Repeat("abcdefgh", 20) // 160 octets; 180 with the TCP header
	whole := segment(t, text)
	other := segment(t, strings.ToUpper(text))
	type wants struct {
		payloads []string
		stats    capture.FragmentStats
	}
	both := func(sights func(cut fragmentOf) []sight) map[string][]sight {
		return map[string][]sight{"IPv4": sights(fragment4), "IPv6": sights(fragment6)}
	}
	tests := []struct {
		name   string
		sights map[string][]sight
		want   wants
	}{
		{"two parts", both(func(cut fragmentOf) []sight {
			return at(0, cut(t, 6, 1, 0, true, whole[:96]), cut(t, 6, 1, 96, false, whole[96:]))
		}), wants{[]string{text}, capture.FragmentStats{Whole: 1}}},
		{"the last part first", both(func(cut fragmentOf) []sight {
			return at(0, cut(t, 6, 1, 96, false, whole[96:]), cut(t, 6, 1, 0, true, whole[:96]))
		}), wants{[]string{text}, capture.FragmentStats{Whole: 1}}},
		{"parts of 8 octets, less than a TCP header", both(func(cut fragmentOf) []sight {
			var frames [][]byte
			for off := 0; off < len(whole); off += 8 {
				end := min(off+8, len(whole))
				frames = append(frames, cut(t, 6, 1, off, end < len(whole), whole[off:end]))
			}
			return at(0, frames...)
		}), wants{[]string{text}, capture.FragmentStats{Whole: 1}}},
		{"two datagrams mixed", both(func(cut fragmentOf) []sight {
			return at(0, cut(t, 6, 1, 0, true, whole[:96]), cut(t, 6, 2, 0, true, other[:96]),
				cut(t, 6, 1, 96, false, whole[96:]), cut(t, 6, 2, 96, false, other[96:]))
		}), wants{[]string{text, strings.ToUpper(text)}, capture.FragmentStats{Whole: 2}}},
		{"a part that comes after 30 seconds comes too late", both(func(cut fragmentOf) []sight {
			return append(at(0, cut(t, 6, 1, 0, true, whole[:96])), at(30*second, cut(t, 6, 1, 96, false, whole[96:]))...)
		}), wants{nil, capture.FragmentStats{Expired: 2}}},
		{"a part that comes just before", both(func(cut fragmentOf) []sight {
			return append(at(0, cut(t, 6, 1, 0, true, whole[:96])), at(30*second-1, cut(t, 6, 1, 96, false, whole[96:]))...)
		}), wants{[]string{text}, capture.FragmentStats{Whole: 1}}},
		{"a part that never comes", both(func(cut fragmentOf) []sight {
			return at(0, cut(t, 6, 1, 0, true, whole[:96]), cut(t, 6, 1, 104, false, whole[104:]))
		}), wants{nil, capture.FragmentStats{Expired: 1}}},
		{"other octets in the same place: nobody knows which the server took", both(func(cut fragmentOf) []sight {
			return at(0, cut(t, 6, 1, 0, true, whole[:96]), cut(t, 6, 1, 0, true, other[:96]), cut(t, 6, 1, 96, false, whole[96:]))
		}), wants{nil, capture.FragmentStats{Conflicting: 1}}},
		{"what is left of such a datagram is not begun again", both(func(cut fragmentOf) []sight {
			return at(0, cut(t, 6, 1, 0, true, whole[:96]), cut(t, 6, 1, 8, true, other[8:96]),
				cut(t, 6, 1, 0, true, other[:96]), cut(t, 6, 1, 96, false, other[96:]))
		}), wants{nil, capture.FragmentStats{Conflicting: 1}}},
		{"a part within another (teardrop)", both(func(cut fragmentOf) []sight {
			return at(0, cut(t, 6, 1, 0, true, whole[:96]), cut(t, 6, 1, 24, false, other[24:30]))
		}), wants{nil, capture.FragmentStats{Conflicting: 1}}},
		{"two ends", both(func(cut fragmentOf) []sight {
			return at(0, cut(t, 6, 1, 96, false, whole[96:]), cut(t, 6, 1, 160, false, whole[160:176]), cut(t, 6, 1, 0, true, whole[:96]))
		}), wants{nil, capture.FragmentStats{Conflicting: 1}}},
		{"a part behind the end", both(func(cut fragmentOf) []sight {
			return at(0, cut(t, 6, 1, 96, false, whole[96:176]), cut(t, 6, 1, 176, true, whole[:8]), cut(t, 6, 1, 0, true, whole[:96]))
		}), wants{nil, capture.FragmentStats{Conflicting: 1}}},
		{"parts that overlap with the same octets: allowed in IPv4", map[string][]sight{
			"IPv4": at(0, fragment4(t, 6, 1, 0, true, whole[:96]), fragment4(t, 6, 1, 160, false, whole[160:]),
				fragment4(t, 6, 1, 48, true, whole[48:112]), fragment4(t, 6, 1, 80, false, whole[80:])),
		}, wants{[]string{text}, capture.FragmentStats{Whole: 1}}},
		{"parts that overlap with the same octets: forbidden in IPv6", map[string][]sight{
			"IPv6": at(0, fragment6(t, 6, 1, 0, true, whole[:96]), fragment6(t, 6, 1, 48, false, whole[48:])),
		}, wants{nil, capture.FragmentStats{Conflicting: 1}}},
		{"more parts than a datagram can need", both(func(cut fragmentOf) []sight {
			var frames [][]byte
			for i := range maxPieces + 1 {
				frames = append(frames, cut(t, 6, 1, 16*i, true, whole[:8]))
			}
			return at(0, frames...)
		}), wants{nil, capture.FragmentStats{Evicted: 1}}},
		{"copies of all parts by a mirror, part by part", both(func(cut fragmentOf) []sight {
			a, b := cut(t, 6, 1, 0, true, whole[:96]), cut(t, 6, 1, 96, false, whole[96:])
			return at(0, a, a, b, b)
		}), wants{[]string{text}, capture.FragmentStats{Whole: 1, Duplicates: 2}}},
		{"copies of all parts by a mirror, one datagram after the other", both(func(cut fragmentOf) []sight {
			a, b := cut(t, 6, 1, 0, true, whole[:96]), cut(t, 6, 1, 96, false, whole[96:])
			return at(0, a, b, a, b)
		}), wants{[]string{text, text}, capture.FragmentStats{Whole: 2, Duplicates: 2}}},
		{"a copy does not mix with the next datagram of the same number", both(func(cut fragmentOf) []sight {
			b := cut(t, 6, 1, 96, false, whole[96:])
			return append(at(0, cut(t, 6, 1, 0, true, whole[:96]), b, b),
				at(second, cut(t, 6, 1, 0, true, other[:96]), cut(t, 6, 1, 96, false, other[96:]))...)
		}), wants{[]string{text, strings.ToUpper(text)}, capture.FragmentStats{Whole: 2, Duplicates: 1}}},
		{"the next datagram of the same number may begin like the one before", both(func(cut fragmentOf) []sight {
			a := cut(t, 6, 1, 0, true, whole[:96])
			return at(0, a, cut(t, 6, 1, 96, false, whole[96:]), a, cut(t, 6, 1, 96, false, other[96:]))
		}), wants{[]string{text, text[:76] + strings.ToUpper(text[76:])}, capture.FragmentStats{Whole: 2, Duplicates: 1}}},
		{"a part cut by the snap length: the payload ends there", both(func(cut fragmentOf) []sight {
			return []sight{{frame: cut(t, 6, 1, 0, true, whole[:96]), cut: 16}, {frame: cut(t, 6, 1, 96, false, whole[96:])}}
		}), wants{[]string{text[:60]}, capture.FragmentStats{Whole: 1}}},
	}
	for _, tt := range tests {
		for version, sights := range tt.sights {
			t.Run(tt.name+", "+version, func(t *testing.T) {
				d := New(MinMemory, nil)
				payloads, packets := see(d, sights...)
				d.Flush()
				assert.Equal(t, tt.want.payloads, payloads)
				assert.Equal(t, tt.want.stats, d.Fragments())
				for _, p := range packets {
					assert.Contains(t, []capture.Disposition{capture.DispositionTCP, capture.DispositionFragment}, p.Disposition)
					if p.Disposition == capture.DispositionTCP {
						assert.Equal(t, len(text), p.PayloadLen)
					}
				}
			})
		}
	}
}

func TestFragmentsThatNoHostTakesAreMalformed(t *testing.T) {
	part := make([]byte, 64)
	for name, frame := range map[string][]byte{
		"all but the last in multiples of 8 octets, IPv4": fragment4(t, 6, 1, 0, true, part[:63]),
		"all but the last in multiples of 8 octets, IPv6": fragment6(t, 6, 1, 0, true, part[:63]),
		"beyond 65535 octets, IPv4":                       fragment4(t, 6, 1, 65528, false, part),
		"beyond 65535 octets, IPv6":                       fragment6(t, 6, 1, 65528, false, part),
		"without an octet, IPv4":                          fragment4(t, 6, 1, 64, true, nil),
		"without an octet, IPv6":                          fragment6(t, 6, 1, 64, false, nil),
	} {
		t.Run(name, func(t *testing.T) {
			d := New(MinMemory, nil)
			_, packets := see(d, sight{frame: frame})
			assert.Equal(t, capture.DispositionMalformed, packets[0].Disposition)
			assert.Empty(t, d.defragmenter.table)
		})
	}
}

func TestFragmentsInAndOfTunnels(t *testing.T) {
	text := strings.Repeat("abcdefgh", 20)
	whole := segment(t, text)
	inner := [][]byte{fragment4(t, 6, 7, 0, true, whole[:96]), fragment4(t, 6, 7, 96, false, whole[96:])}
	vxlan := func(packet []byte) []byte {
		b := append(unhex(t, "c350 12b5 0000 0000 08000000 00000100"+macs+"0800"), packet...)
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		return b
	}
	plain := func(next byte, b []byte) []byte { return fragment4(t, next, 0, 0, false, b) }

	var frames [][]byte
	for i, part := range inner { // fragments in VXLAN in fragments in IPv6 in IPv4
		d := vxlan(part)
		for _, f := range [][]byte{fragment6(t, 17, uint16(i), 0, true, d[:64]), fragment6(t, 17, uint16(i), 64, false, d[64:])} {
			frames = append(frames, plain(protocolIPv6, f))
		}
	}
	d := New(MinMemory, nil)
	payloads, packets := see(d, at(0, frames...)...)
	assert.Equal(t, []string{text}, payloads)
	assert.EqualValues(t, 3, d.Fragments().Whole)
	last := packets[len(packets)-1]
	assert.Equal(t, []capture.Encapsulation{capture.Encapsulation6in4, capture.EncapsulationVXLAN}, last.Wrapping.Layers[:last.Wrapping.Depth])
}

func TestADatagramMadeOfFragmentsHasNoFragmentHeader(t *testing.T) {
	inside := fragment6(t, 6, 2, 0, true, make([]byte, 64))[40:]
	_, packets := see(New(MinMemory, nil), at(0,
		fragment6(t, protocolFragment, 1, 0, true, inside[:64]), fragment6(t, protocolFragment, 1, 64, false, inside[64:]))...)
	assert.Equal(t, capture.DispositionMalformed, packets[1].Disposition)
}

// A million unfinished datagrams of one source, and as many of others: memory
// stays within the bound, and the one source does not push out the others.
func TestUnfinishedDatagramsStayWithinTheirMemory(t *testing.T) {
	d := New(MinMemory, nil)
	frame := fragment4(t, 6, 0, 0, true, make([]byte, 64))
	victim := segment(t, "victim")
	see(d, sight{frame: func() []byte {
		f := fragment4(t, 6, 0, 0, true, victim[:16])
		f[12] = 9
		return f
	}()})
	fill := func(n int, change func(i int)) {
		for i := range n {
			change(i)
			see(d, sight{frame: frame})
			require.LessOrEqual(t, d.defragmenter.cost, MinMemory)
		}
	}
	fill(100_000, func(i int) { binary.BigEndian.PutUint32(frame[16:], uint32(i)) })
	assert.LessOrEqual(t, d.defragmenter.cost, MinMemory/sourceShare+1024)
	payloads, _ := see(d, sight{frame: func() []byte {
		f := fragment4(t, 6, 0, 16, false, victim[16:])
		f[12] = 9
		return f
	}()})
	assert.Equal(t, []string{"victim"}, payloads)

	fill(100_000, func(i int) { binary.BigEndian.PutUint32(frame[12:], uint32(i)) })
	stats := d.Fragments()
	assert.EqualValues(t, 200_001, stats.Whole+stats.Evicted+uint64(len(d.defragmenter.table)))
	assert.LessOrEqual(t, len(d.defragmenter.sources), len(d.defragmenter.table))
}

func TestFragmentsWithoutADefragmenterAreClassified(t *testing.T) {
	whole := segment(t, "hello, world")
	_, packets := see(new(Decoder), at(0, fragment4(t, 6, 1, 0, true, whole[:16]), fragment4(t, 6, 1, 16, false, whole[16:]))...)
	assert.Equal(t, capture.DispositionFragment, packets[0].Disposition)
	assert.Equal(t, capture.DispositionFragment, packets[1].Disposition)
}
