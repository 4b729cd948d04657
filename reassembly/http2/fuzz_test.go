package http2_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/reassembly/http2"
)

// FuzzConn: whatever both sides say, in any segmentation it gives the same events,
// and the books balance. The first octet of each piece says which side speaks and
// how long the piece is.
func FuzzConn(f *testing.F) {
	pieces := func(p *peer) (data []byte) {
		for _, s := range p.segments {
			for _, part := range cut([]segment{s}, 127) {
				data = append(append(data, byte(len(part.data))<<1|byte(s.side)), part.data...)
			}
		}
		return data
	}
	p := newPeer()
	p.request(1, false, "POST", "/a", "content-type", "application/grpc")
	p.data(client, 1, true, grpc("x"))
	p.response(1, false, 103)
	p.response(1, false, 200, "content-type", "application/grpc")
	p.data(server, 1, false, grpc("y"))
	p.headers(server, 1, true, "grpc-status", "0")
	f.Add(pieces(p), uint8(4), false)
	p = newPeer()
	p.headers(client, 1, false, ":method", "CONNECT", ":authority", "a:1")
	p.response(1, false, 200)
	p.data(client, 1, true, "hello")
	p.frame(server, typePushPromise, endHeaders, 1, u32(2), p.encode(server, ":method", "GET"))
	p.frame(server, typeGoAway, 0, 0, u32(0), u32(0))
	p.reset(server, 1, codeCancel)
	f.Add(pieces(p), uint8(0), false)
	f.Add(pieces(p)[100:], uint8(9), true)
	f.Fuzz(func(t *testing.T, data []byte, size uint8, midstream bool) {
		var segments []segment
		for len(data) > 1 {
			n := min(int(data[0]>>1), len(data)-1)
			s := segment{side: http2.Side(data[0] & 1), data: data[1 : 1+n]}
			if data = data[1+n:]; n > 0 {
				segments = append(segments, s)
			}
		}
		whole, parts := newReading(t), newReading(t)
		whole.fields, parts.fields = true, true
		if midstream {
			for _, side := range []http2.Side{client, server} {
				whole.conn.Seek(whole.reader, whole.budget, side)
				parts.conn.Seek(parts.reader, parts.budget, side)
			}
		}
		whole.feed(segments)
		whole.finish()
		parts.feed(cut(segments, int(size)+1))
		parts.finish()
		if !midstream { // segments prove frame boundaries there
			require.Equal(t, whole.lines(), parts.lines())
		}
	})
}

// FuzzMissing: what is read of a conversation with octets missing is a part of what
// is read of it whole.
func FuzzMissing(f *testing.F) {
	f.Add(uint64(1), uint8(10), uint8(60))
	f.Add(uint64(2), uint8(100), uint8(255))
	f.Fuzz(func(t *testing.T, seed uint64, loss, size uint8) {
		checkLoss(t, seed, float64(loss)/512, int(size)*6+10)
	})
}
