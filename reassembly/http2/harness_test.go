package http2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2/hpack"

	"offpath/reassembly/http2"
)

// corpora lies beside the project; see its README.md.
const corpora = "../../../shared/corpora"

// budget is a Budget of limited octets.
type budget struct{ limit, used, peak int }

func (b *budget) Take(n int) bool {
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	b.peak = max(b.peak, b.used)
	return true
}

func (b *budget) Give(n int) { b.used -= n }

// segment is octets that a side has sent, or that are missing.
type segment struct {
	side   http2.Side
	data   []byte
	gap    int
	inside bool
}

// cut cuts segments to at most size octets.
func cut(segments []segment, size int) (parts []segment) {
	for _, s := range segments {
		for len(s.data) > size {
			parts = append(parts, segment{side: s.side, data: s.data[:size]})
			s.data = s.data[size:]
		}
		parts = append(parts, s)
	}
	return parts
}

// Frame types and flags.
const (
	typeData         = 0
	typeHeaders      = 1
	typeReset        = 3
	typeSettings     = 4
	typePushPromise  = 5
	typePing         = 6
	typeGoAway       = 7
	typeWindowUpdate = 8
	typeContinuation = 9

	endStream  = 1
	endHeaders = 4
	padded     = 8
	priority   = 32
)

// Error codes.
const (
	codeInternal      = 2
	codeRefusedStream = 7
	codeCancel        = 8
)

// preface is what a client says first.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// peer writes both sides of a connection, frame by frame.
type peer struct {
	segments []segment
	block    [2]bytes.Buffer
	encoder  [2]*hpack.Encoder
}

// newPeer returns a connection whose prefaces were said.
func newPeer() *peer {
	p := rawPeer()
	p.raw(http2.Client, preface)
	p.settings(http2.Client)
	p.settings(http2.Server)
	return p
}

func rawPeer() *peer {
	p := &peer{}
	for side := range p.encoder {
		p.encoder[side] = hpack.NewEncoder(&p.block[side])
	}
	return p
}

// raw sends octets.
func (p *peer) raw(side http2.Side, data string) {
	p.segments = append(p.segments, segment{side: side, data: []byte(data)})
}

// frame sends a frame.
func (p *peer) frame(side http2.Side, kind, flags byte, id uint32, payload ...string) {
	all := strings.Join(payload, "")
	n := len(all)
	p.raw(side, string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags})+u32(id)+all)
}

func u32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// settings sends SETTINGS of ids and values in turn.
func (p *peer) settings(side http2.Side, settings ...uint32) {
	payload := ""
	for i := 0; i+1 < len(settings); i += 2 {
		payload += u32(settings[i])[2:] + u32(settings[i+1])
	}
	p.frame(side, typeSettings, 0, 0, payload)
}

// encode makes a header block of names and values in turn.
func (p *peer) encode(side http2.Side, fields ...string) string {
	p.block[side].Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		if err := p.encoder[side].WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			panic(err)
		}
	}
	return p.block[side].String()
}

// end is the flag of the last frame of a message.
func end(yes bool) byte {
	if yes {
		return endStream
	}
	return 0
}

func (p *peer) headers(side http2.Side, id uint32, last bool, fields ...string) {
	p.frame(side, typeHeaders, endHeaders|end(last), id, p.encode(side, fields...))
}

func (p *peer) request(id uint32, last bool, method, path string, fields ...string) {
	p.headers(http2.Client, id, last, append([]string{":method", method, ":scheme", "https", ":authority", "bank.example", ":path", path}, fields...)...)
}

func (p *peer) response(id uint32, last bool, status int, fields ...string) {
	p.headers(http2.Server, id, last, append([]string{":status", fmt.Sprint(status)}, fields...)...)
}

func (p *peer) data(side http2.Side, id uint32, last bool, data string) {
	p.frame(side, typeData, end(last), id, data)
}

func (p *peer) reset(side http2.Side, id, code uint32) {
	p.frame(side, typeReset, 0, id, u32(code))
}

// event is what was read, in words.
type event struct {
	stream uint32
	text   string
	tunnel string // octets, of Tunnel events in a row
}

// reading is a connection that is being read.
type reading struct {
	t      testing.TB
	conn   http2.Conn
	reader *http2.Reader
	budget *budget
	time   int64
	fed    uint64
	events []event
	heads  map[uint32]bool // streams that have had a Head
	asked  map[uint32]bool // streams that have had the client's
	done   map[uint32]bool // streams that were Closed
	fields bool            // fields are among the events
	each   func(e http2.Event)
}

func newReading(t testing.TB) *reading {
	return &reading{
		t: t, reader: http2.NewReader(1000, nil), budget: &budget{limit: 4 << 20},
		heads: map[uint32]bool{}, asked: map[uint32]bool{}, done: map[uint32]bool{},
	}
}

// feed reads segments, one a millisecond.
func (r *reading) feed(segments []segment) {
	for _, s := range segments {
		r.time += 1e6
		if s.gap > 0 {
			r.conn.Missing(r.reader, r.budget, s.side, int64(s.gap))
			r.pump(s.side, &http2.Input{Time: r.time})
			continue
		}
		r.fed += uint64(len(s.data))
		// Views of the segment must not be used after the call.
		data := bytes.Clone(s.data)
		r.pump(s.side, &http2.Input{Data: data, Time: r.time, Inside: s.inside})
		for i := range data {
			data[i] = '!'
		}
	}
}

// finish ends the connection and checks the books.
func (r *reading) finish() {
	for _, side := range []http2.Side{http2.Client, http2.Server} {
		r.conn.Finish(side)
		r.pump(side, &http2.Input{Time: r.time})
	}
	require.Equal(r.t, len(r.heads), len(r.done), "streams with a head that were closed")
	r.conn.Close(r.reader, r.budget)
	require.Zero(r.t, r.budget.used, "budget")
	s := &r.reader.Stats
	require.Equal(r.t, r.fed, s.Octets+s.SkippedOctets, "octets")
	require.Equal(r.t, s.StreamsOpened, s.StreamsClosed, "streams")
}

func (r *reading) pump(side http2.Side, in *http2.Input) {
	for {
		e := r.conn.Read(r.reader, r.budget, side, in)
		if e == http2.More {
			require.Empty(r.t, in.Data)
			return
		}
		if r.each != nil {
			r.each(e)
		}
		r.note(e)
	}
}

var sides = [...]string{"client", "server"}

func (r *reading) note(e http2.Event) {
	x := r.reader
	if e == http2.Lost {
		r.events = append(r.events, event{text: "lost"})
		return
	}
	id := x.Stream.ID
	if e == http2.Head && (x.Side == http2.Server || !r.asked[id]) {
		delete(r.done, id) // an answer alone, whose request may have been lost; or a request that comes late
	}
	require.False(r.t, r.done[id], "an event after Closed of stream %d", id)
	text := ""
	switch e {
	case http2.Head:
		if x.Message.Broken {
			r.t.Fatal("broken at the head")
		}
		r.heads[id] = true
		r.asked[id] = r.asked[id] || x.Side == http2.Client
		text = sides[x.Side] + " head" + r.head()
	case http2.End:
		require.True(r.t, r.heads[id], "End without Head")
		text = fmt.Sprintf("%s end%s %d", sides[x.Side], r.head(), x.Body.Bytes)
		if x.Body.Whole {
			text += " whole"
		}
		if n := len(x.Body.Prefix); n > 0 {
			text += fmt.Sprintf(" %q", x.Body.Prefix[:min(n, 40)])
		}
		for _, f := range x.Trailers {
			text += fmt.Sprintf(" %s=%s", f.Name, f.Value)
		}
		if x.Message.RPC.Is {
			text += fmt.Sprintf(" grpc=%d/%d", x.Message.RPC.Messages, x.Message.RPC.Status)
			if x.Message.RPC.Partial {
				text += "?"
			}
		}
		if x.Message.Gap > 0 {
			text += fmt.Sprintf(" gap=%d", x.Message.Gap)
		}
		if x.Message.Broken {
			text += " broken"
		}
		if x.Message.Unknown > 0 {
			text += fmt.Sprintf(" unknown=%d", x.Message.Unknown)
		}
		for _, name := range x.Message.Anomalies.Names() {
			text += " " + name
		}
	case http2.Tunnel:
		text = sides[x.Side] + " tunnel "
		if x.Missing > 0 {
			text += fmt.Sprintf("missing %d", x.Missing)
			break
		}
		if n := len(r.events); n > 0 && r.events[n-1].stream == id && r.events[n-1].text == text {
			r.events[n-1].tunnel += string(x.Data)
			return
		}
		r.events = append(r.events, event{id, text, string(x.Data)})
		return
	case http2.Closed:
		r.done[id] = true
		text = "closed " + [...]string{"ended", "reset", "goaway", "connection", "evicted", "expired"}[x.Reason]
		if x.Reason == http2.ReasonReset {
			text += fmt.Sprintf(" by %s %d", sides[x.Side], x.Code)
		}
	}
	r.events = append(r.events, event{stream: id, text: text})
}

func (r *reading) head() string {
	h := &r.reader.Head
	require.Equal(r.t, "2", h.Version)
	text := ""
	if h.Status != 0 {
		text = fmt.Sprintf(" %d", h.Status)
	} else if r.reader.Side == http2.Client {
		text = fmt.Sprintf(" %s %s", h.Method, h.Target)
		if h.Method == nil {
			text = fmt.Sprintf(" ? %s", h.Target)
		}
	} else {
		text = " ?"
	}
	if r.fields {
		for _, f := range h.Fields {
			text += fmt.Sprintf(" %s=%s", f.Name, f.Value)
		}
	}
	return text
}

// lines renders events as lines.
func (r *reading) lines() []string {
	list := []string{}
	for _, e := range r.events {
		line := fmt.Sprintf("%d %s", e.stream, e.text)
		if e.tunnel != "" {
			line += fmt.Sprintf("%q", e.tunnel)
		}
		list = append(list, line)
	}
	return list
}
