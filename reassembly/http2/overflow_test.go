package http2_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/http2"
)

// blockIn sends a header block in frames of sizes that next tells.
func (p *peer) blockIn(side http2.Side, id uint32, last bool, block string, next func() int) {
	kind, flags := byte(typeHeaders), end(last)
	for {
		n := min(next(), len(block))
		if n == len(block) {
			flags |= endHeaders
		}
		p.frame(side, kind, flags, id, block[:n])
		if block = block[n:]; flags&endHeaders != 0 {
			return
		}
		kind, flags = typeContinuation, 0
	}
}

// each is a size of frames that is always the same.
func each(n int) func() int { return func() int { return n } }

// literal is a field that is not compressed, by the first octet of its representation.
func literal(first byte, name, value string) string {
	return string([]byte{first}) + length(len(name)) + name + length(len(value)) + value
}

// length encodes the length of a string (RFC 7541 section 5.1).
func length(n int) string {
	if n < 127 {
		return string([]byte{byte(n)})
	}
	text := []byte{127}
	for n -= 127; n >= 128; n >>= 7 {
		text = append(text, byte(n)|128)
	}
	return string(append(text, byte(n)))
}

func TestWhatALongHeaderBlockEntersInTheTableIsKnown(t *testing.T) {
	const indexed, plain = 0x40, 0x00
	const get = "\x82\x86\x84\x01\x01a" // GET http / a
	const newest = "\xbe"               // the entry made last
	const fresh = "\x40\x01n\x01v"      // and one more
	filler := strings.Repeat(literal(plain, "filler", strings.Repeat("f", 1000)), 100)
	long := strings.Repeat("l", 200_000)
	for _, test := range []struct {
		name, block string
		want        string // the end of the next request, whose last fields are the entry made last and a new one
		anomalies   string
	}{
		{"a field beyond the bound", get + filler + literal(indexed, "x", "y"), "x=y n=v 0 whole", "head_too_large"},
		{"a field before the bound", get + literal(indexed, "x", "y") + filler, "x=y n=v 0 whole", "head_too_large"},
		{"a field longer than the bound that is not entered", get + literal(indexed, "x", "y") + literal(plain, "long", long), "x=y n=v 0 whole", "head_too_large"},
		{"a field longer than the bound, which empties the table", get + literal(indexed, "x", "y") + literal(indexed, "long", long) + literal(indexed, "z", "1"), "z=1 n=v 0 whole", "head_too_large"},
		{"a new size of the table beyond the bound, which does too", get + literal(indexed, "x", "y") + filler + "\x20\x3f\xe1\x1f" + literal(indexed, "z", "1"), "z=1 n=v 0 whole", "head_too_large"},
		{"an index of nothing beyond the bound", get + literal(indexed, "x", "y") + filler + "\xff\x00", "n=v 0 whole unknown=1", "head_too_large hpack_error"},
		{"a string beyond the end", get + literal(indexed, "x", "y") + filler + "\x40\x01x\x7f", "n=v 0 whole unknown=1", "head_too_large hpack_error"},
		{"a long string beyond the end", get + literal(indexed, "x", "y") + literal(indexed, "long", long)[:150_000], "n=v 0 whole unknown=1", "head_too_large hpack_error"},
		{"a name longer than the bound", get + literal(indexed, "x", "y") + literal(indexed, long, "y"), "n=v 0 whole unknown=1", "head_too_large hpack_error"},
		{"an integer without end", get + literal(indexed, "x", "y") + filler + "\x7f" + strings.Repeat("\xff", 100), "n=v 0 whole unknown=1", "head_too_large hpack_error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{16384, 40_000, 1000, 7} {
				p := newPeer()
				p.settings(server, 5, 1<<20)
				p.blockIn(client, 1, true, test.block, each(size))
				p.frame(client, typeHeaders, endHeaders|endStream, 3, get+newest+fresh)
				r := newReading(t)
				r.feed(p.segments)
				r.finish()
				lines := []string{}
				for _, line := range r.lines() {
					if strings.Contains(line, " end ") {
						lines = append(lines, line)
					}
				}
				require.Len(t, lines, 2)
				assert.Contains(t, lines[0], "1 client end GET / 0")
				assert.True(t, strings.HasSuffix(lines[0], test.anomalies), "%s: frames of %d octets", lines[0], size)
				r = newReading(t)
				r.fields = true
				r.feed(p.segments)
				r.finish()
				all := r.lines()
				require.Contains(t, strings.Join(all, "\n"), "3 client end")
				for _, line := range all {
					if strings.HasPrefix(line, "3 client end") {
						assert.True(t, strings.HasSuffix(line, test.want), "%s: frames of %d octets", line, size)
					}
				}
			}
		})
	}
}

// TestAfterLongHeaderBlocksTheTableIsTheEncoders: however blocks are cut into frames, and
// whatever the encoder does with its table.
func TestAfterLongHeaderBlocksTheTableIsTheEncoders(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 7))
		p := newPeer()
		pool := []string{}
		for i := range 60 {
			pool = append(pool, fmt.Sprintf("x-%d", i%40), strings.Repeat(fmt.Sprint(i, ","), 1+r.IntN(150)))
		}
		pick := func(n int) (fields []string) {
			for range n {
				at := 2 * r.IntN(len(pool)/2)
				fields = append(fields, pool[at], pool[at+1])
			}
			return fields
		}
		want := map[uint32]string{}
		for id := uint32(1); id < 40; id += 2 {
			fields := append([]string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/"}, pick(r.IntN(12))...)
			if id%4 == 1 { // a long one
				for range 8 + r.IntN(20) {
					fields = append(fields, "y", strings.Repeat("\x01", 3000+r.IntN(3000))) // too long to be entered, some of them
					fields = append(fields, pick(r.IntN(12))...)
				}
			} else {
				line := ""
				for i := 0; i < len(fields); i += 2 {
					line += " " + fields[i] + "=" + fields[i+1]
				}
				want[id] = line
			}
			if r.IntN(4) == 0 {
				p.encoder[client].SetMaxDynamicTableSize(uint32(r.IntN(4097)))
			}
			p.blockIn(client, id, true, p.encode(client, fields...), func() int { return 1 + r.IntN(16384) })
		}
		got := newReading(t)
		got.fields = true
		got.feed(cut(p.segments, 1+r.IntN(5000)))
		got.finish()
		require.Zero(t, got.reader.Stats.FieldsUnknown+got.reader.Stats.TablesLost, "seed %d", seed)
		seen := 0
		for _, line := range got.lines() {
			for id, fields := range want {
				if strings.HasPrefix(line, fmt.Sprintf("%d client end ", id)) {
					require.Contains(t, line, "GET /"+fields+" 0 whole", "seed %d", seed)
					seen++
				}
			}
		}
		require.Equal(t, len(want), seen)
	}
}

func TestWithoutRoomALongHeaderBlockIsGivenUp(t *testing.T) {
	p := newPeer()
	p.blockIn(client, 1, true, "\x82\x86\x84\x41\x01a"+strings.Repeat(literal(0x40, "filler", strings.Repeat("f", 1000)), 100), each(3000))
	p.request(3, true, "GET", "/3")
	for room := 0; room < 256<<10; room += 8 << 10 {
		r := newReading(t)
		r.budget.limit = room
		r.feed(p.segments)
		r.finish()
	}
}
