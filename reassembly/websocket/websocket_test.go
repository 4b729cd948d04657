package websocket_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/websocket"
)

const (
	final      = 0x80
	compressed = 0x40
)

// server is a frame as a server sends it, client as a client does.
func server(first byte, payload string) string {
	return string(length([]byte{first}, 0, len(payload))) + payload
}

func client(first byte, payload string) string {
	key := []byte{1, 2, 3, 4}
	out := append(length([]byte{first}, 0x80, len(payload)), key...)
	for i := range len(payload) {
		out = append(out, payload[i]^key[i%4])
	}
	return string(out)
}

func length(out []byte, mask byte, n int) []byte {
	switch {
	case n < 126:
		return append(out, mask|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(out, mask|126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(out, mask|127), uint64(n))
}

func TestFramesAreCounted(t *testing.T) {
	long := strings.Repeat("x", 70000)
	for _, test := range []struct {
		name   string
		client bool
		in     string
		want   websocket.Counts
	}{
		{"a text and a binary message", true, client(final|1, "hello") + client(final|2, "\x00\x01"),
			websocket.Counts{Frames: 2, Octets: 7, Messages: 2, Text: 1, Binary: 1}},
		{"a message in fragments with a ping between", true, client(1, "hel") + client(final|9, "?") + client(0, "l") + client(final, "o"),
			websocket.Counts{Frames: 4, Octets: 6, Messages: 1, Fragments: 2, Text: 1, Ping: 1}},
		{"lengths of all sizes", false, server(final|2, "") + server(final|2, long[:126]) + server(final|2, long),
			websocket.Counts{Frames: 3, Octets: 70126, Messages: 3, Binary: 3}},
		{"a close code under a mask", true, client(final|8, "\x03\xe9going away"),
			websocket.Counts{Frames: 1, Octets: 12, Close: 1, CloseCode: 1001}},
		{"a close code without one", false, server(final|8, "\x03\xe8"),
			websocket.Counts{Frames: 1, Octets: 2, Close: 1, CloseCode: 1000}},
		{"a close frame without a code", false, server(final|8, ""), websocket.Counts{Frames: 1, Close: 1}},
		{"a pong", false, server(final|10, "x"), websocket.Counts{Frames: 1, Octets: 1, Pong: 1}},
		{"compression is flagged", false, server(final|compressed|1, "\xca\x49\xcc"), websocket.Counts{Frames: 1, Octets: 3, Messages: 1, Text: 1, Compressed: true}},
		{"a client that does not mask", true, server(final|1, "x"), websocket.Counts{Frames: 1, Octets: 1, Messages: 1, Text: 1, Invalid: true}},
		{"a server that masks", false, client(final|1, "x"), websocket.Counts{Frames: 1, Octets: 1, Messages: 1, Text: 1, Invalid: true}},
		{"a continuation of nothing", false, server(final, "x"), websocket.Counts{Frames: 1, Octets: 1, Fragments: 1, Invalid: true}},
		{"a message inside another", false, server(1, "x") + server(final|1, "y"), websocket.Counts{Frames: 2, Octets: 2, Messages: 2, Text: 2, Invalid: true}},
		{"a ping in fragments", false, server(9, "x"), websocket.Counts{Frames: 1, Octets: 1, Ping: 1, Invalid: true}},
		{"a ping that is too long", false, server(final|9, long[:126]), websocket.Counts{Frames: 1, Octets: 126, Ping: 1, Invalid: true}},
		{"a close frame of one octet", false, server(final|8, "x"), websocket.Counts{Frames: 1, Octets: 1, Close: 1, Invalid: true}},
		{"a length in more octets than it needs", false, "\x81\x7e\x00\x01x", websocket.Counts{Frames: 1, Octets: 1, Messages: 1, Text: 1, Invalid: true}},
		{"an opcode that is none ends the count", false, server(final|3, "x") + server(final|1, "y"), websocket.Counts{Invalid: true, Partial: true}},
		{"reserved bits end the count", false, server(final|0x21, "x"), websocket.Counts{Invalid: true, Partial: true}},
		{"a length beyond 2^63 ends the count", false, "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", websocket.Counts{Invalid: true, Partial: true}},
		{"a frame that goes on", false, "\x82\x7f\x00\x00\x00\xff\xff\xff\xff\xffabc", websocket.Counts{Frames: 1, Octets: 3, Messages: 1, Binary: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 3, 1} {
				var c websocket.Counter
				if !test.client {
					c.Server()
				}
				for rest := test.in; len(rest) > 0; {
					n := min(size, len(rest))
					c.Read([]byte(rest[:n]))
					rest = rest[n:]
				}
				assert.Equal(t, test.want, c.Counts, "segments of %d octets", size)
			}
		})
	}
}

func TestMissingOctets(t *testing.T) {
	for _, test := range []struct {
		name    string
		before  string
		missing int64
		after   string
		want    websocket.Counts
	}{
		{"inside a payload cost themselves", "\x81\x05a", 3, "e" + server(final|1, "x"), websocket.Counts{Frames: 2, Octets: 6, Messages: 2, Text: 2, Gap: 3}},
		{"to the end of a payload cost themselves", "\x81\x05a", 4, server(final|1, "x"), websocket.Counts{Frames: 2, Octets: 6, Messages: 2, Text: 2, Gap: 4}},
		{"beyond a payload end the count", "\x81\x05a", 5, server(final|1, "x"), websocket.Counts{Frames: 1, Octets: 5, Messages: 1, Text: 1, Gap: 4, Partial: true}},
		{"in a header end the count", "\x81", 1, "x", websocket.Counts{Partial: true}},
		{"between frames end the count", server(final|1, "x"), 1, server(final|1, "x"), websocket.Counts{Frames: 1, Octets: 1, Messages: 1, Text: 1, Partial: true}},
		{"in a close code leave it unknown", "\x88\x04\x03", 1, "ab", websocket.Counts{Frames: 1, Octets: 4, Close: 1, Gap: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c websocket.Counter
			c.Server()
			c.Read([]byte(test.before))
			c.Missing(test.missing)
			c.Read([]byte(test.after))
			assert.Equal(t, test.want, c.Counts)
		})
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	var c websocket.Counter
	data := []byte(client(final|1, strings.Repeat("x", 300)) + client(final|9, ""))
	assert.Zero(t, testing.AllocsPerRun(100, func() { c.Read(data) }))
	assert.EqualValues(t, 2*101, c.Frames)
	assert.False(t, c.Invalid)
}

// FuzzCounter: any segmentation gives the same counts, and octets that are missing
// give no more than there were.
func FuzzCounter(f *testing.F) {
	f.Add([]byte(client(final|1, "hello")+client(final|8, "\x03\xe8bye")), uint8(3), uint16(4), uint16(3), false)
	f.Add([]byte(server(1, "hel")+server(final|9, "")+server(final, "lo")), uint8(1), uint16(1), uint16(9), true)
	f.Fuzz(func(t *testing.T, data []byte, size uint8, at, n uint16, fromServer bool) {
		var whole, parts, lossy websocket.Counter
		for _, c := range []*websocket.Counter{&whole, &parts, &lossy} {
			if fromServer {
				c.Server()
			}
		}
		whole.Read(data)
		for rest := data; len(rest) > 0; {
			k := min(int(size)+1, len(rest))
			parts.Read(rest[:k])
			rest = rest[k:]
		}
		require.Equal(t, whole.Counts, parts.Counts)

		from := min(int(at), len(data))
		to := min(from+int(n), len(data))
		lossy.Read(data[:from])
		if to > from {
			lossy.Missing(int64(to - from))
		}
		lossy.Read(data[to:])
		require.LessOrEqual(t, lossy.Frames, whole.Frames)
		require.LessOrEqual(t, lossy.Octets, whole.Octets)
		require.True(t, lossy.CloseCode == 0 || lossy.CloseCode == whole.CloseCode || lossy.Close > 1)
		if !lossy.Partial {
			require.Equal(t, whole.Frames, lossy.Frames)
			require.Equal(t, whole.Octets, lossy.Octets)
			require.Equal(t, whole.Messages, lossy.Messages)
		}
	})
}

func BenchmarkCounter(b *testing.B) {
	var c websocket.Counter
	data := []byte(client(final|1, strings.Repeat("x", 120)))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		c.Read(data)
	}
}
