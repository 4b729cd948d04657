package http2_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/pcapfile"
	"offpath/reassembly/http2"
	"offpath/reassembly/tcp"
)

// captured reads the connections of a capture that speak HTTP/2 in clear, from
// their first octet or after an upgrade.
type captured struct {
	t      testing.TB
	reader *http2.Reader
	budget *tcp.Budget
	got    []string // one line per stream
}

// wire is a connection of a capture.
type wire struct {
	conn  http2.Conn
	ready [2]bool // the side has come to frames
}

// exchanged is the User of a stream.
type exchanged struct{ request, response string }

func (c *captured) Data(f *tcp.Flow, d tcp.Direction, s *tcp.Segment) int {
	w, _ := f.Conn.(*wire)
	if w == nil {
		w = &wire{}
		f.Conn = w
	}
	side, ok := c.orient(f, w, d, s.Data)
	if !ok {
		return len(s.Data)
	}
	data := s.Data
	if !w.ready[side] {
		switch i := bytes.Index(data, []byte("\r\n\r\n")); {
		case side == client && bytes.HasPrefix(data, []byte(preface[:16])), side == server && data[0] == 0:
			w.ready[side] = true
		case side == server && bytes.HasPrefix(data, []byte("HTTP/1.1 101")) && i > 0:
			w.ready[side] = true
			data = data[i+4:]
			w.conn.Upgrade(c.reader, c.budget, s.Time, false).User = &exchanged{request: "upgraded"}
		default:
			return len(s.Data)
		}
	}
	c.pump(w, side, &http2.Input{Data: data, Time: s.Time, Inside: len(data) < len(s.Data)})
	return len(s.Data)
}

// orient says who sends a segment, by the handshake or by what it says. A
// connection that was joined in the middle looks for frames.
func (c *captured) orient(f *tcp.Flow, w *wire, d tcp.Direction, data []byte) (http2.Side, bool) {
	sender, known := f.Client()
	if !known {
		side, frames := c.reader.Prove(data)
		switch {
		case frames:
			for _, side := range []http2.Side{client, server} {
				w.conn.Seek(c.reader, c.budget, side)
				w.ready[side] = true
			}
		case bytes.HasPrefix(data, []byte(preface[:16])), bytes.HasPrefix(data, []byte("GET ")):
			side = client
		default:
			return 0, false
		}
		if sender = d; side == server {
			sender = d.Other()
		}
		f.SetClient(sender)
	}
	if d == sender {
		return client, true
	}
	return server, true
}

func (c *captured) pump(w *wire, side http2.Side, in *http2.Input) {
	r := c.reader
	for {
		e := w.conn.Read(r, c.budget, side, in)
		if e == http2.More {
			return
		}
		require.NotEqual(c.t, http2.Lost, e)
		x, _ := r.Stream.User.(*exchanged)
		if x == nil {
			x = &exchanged{}
			r.Stream.User = x
		}
		switch {
		case e == http2.End && r.Side == client:
			authority, _ := r.Head.Get(":authority")
			x.request = fmt.Sprintf("%s %s%s %d", r.Head.Method, authority, r.Head.Target, r.Body.Bytes)
		case e == http2.End:
			x.response = fmt.Sprintf("%d %d", r.Head.Status, r.Body.Bytes)
			if m := r.Message; m.RPC.Is {
				x.response += fmt.Sprintf(" grpc %d of %d", m.RPC.Status, m.RPC.Messages)
			}
			if m := r.Message; m.Gap > 0 || m.Broken {
				x.response += fmt.Sprintf(" gap=%d broken=%v", m.Gap, m.Broken)
			}
			if names := r.Message.Anomalies.Names(); len(names) > 0 {
				x.response += " " + strings.Join(names, ",")
			}
		case e == http2.Closed:
			c.got = append(c.got, fmt.Sprintf("%d: %s -> %s", r.Stream.ID, x.request, x.response))
		}
	}
}

func (c *captured) Missing(f *tcp.Flow, d tcp.Direction, n int64, _ tcp.Cause) {
	if w, _ := f.Conn.(*wire); w != nil {
		side := server
		if sender, _ := f.Client(); d == sender {
			side = client
		}
		w.conn.Missing(c.reader, c.budget, side, n)
		c.pump(w, side, &http2.Input{})
	}
}

func (c *captured) Conflict(*tcp.Flow, tcp.Direction) {}
func (c *captured) End(*tcp.Flow, tcp.Direction)      {}
func (c *captured) Timeout(*tcp.Flow)                 {}

func (c *captured) Close(f *tcp.Flow, _ tcp.Reason) {
	if w, _ := f.Conn.(*wire); w != nil {
		for _, side := range []http2.Side{client, server} {
			w.conn.Finish(side)
			c.pump(w, side, &http2.Input{})
		}
		w.conn.Close(c.reader, c.budget)
	}
}

func TestCorporaInClear(t *testing.T) {
	if _, err := os.Stat(corpora); err != nil {
		t.Skipf("the corpora are not there: %v", err)
	}
	for name, want := range map[string][]string{
		"arkime/http2-nghttp2": {
			"13: GET nghttp2.org/ 0 -> 200 6616",
			"2: GET nghttp2.org/stylesheets/screen.css 0 -> 200 39082",
		},
		"deepflow/http.grpc-segmented": {
			"1: POST 192.168.199.215:30035/agent.Synchronizer/Push 2438 -> ",
		},
		"deepflow/http.grpc-server-stream": {
			"1: POST localhost:9001/timeseriesquery.TimeSeriesQueryService/ServerStreamQuery 35 -> 200 3223 grpc 0 of 5 gap=0 broken=true",
		},
		"deepflow/http.grpc-unary": {
			"1: POST 10.1.23.21:30035/agent.Synchronizer/Sync 242 -> 200 1336 grpc -1 of 1 gap=0 broken=true",
		},
		"deepflow/http.h2c_ascii": {
			"1: POST cartservice:7070/hipstershop.CartService/GetCart 43 -> 200 21 grpc 0 of 1",
		},
		"suricata-verify/http2-bugfixes": {
			"1: GET www.youtube.com/robots.txt 0 -> 200 331",
			"3: POST www.youtube.com/youtubei/v1/log_event?alt=json&key=AIzaSyAO_FJ2SlqU8Q4STEHLGCilw_Y9_11qcW8 1284 -> 200 31",
			"5: GET www.youtube.com/favicon.ico 0 -> 200 180",
			"7: GET www.youtube.com/sw.js 0 -> 200 461",
		},
		"suricata-verify/http2-compression-bug": {
			"1: GET ogs.google.com/widget/callout?prid=19027682&pgid=19027681&puid=1421396ff301105b&cce=1&dc=1&origin=https%3A%2F%2Fwww.google.com&cn=callout&pid=1&spid=538&hl=en 0 -> 200 11425",
			"3: POST play.google.com/log?format=json&hasfast=true 1736 -> 200 131",
			"5: POST play.google.com/log?format=json&hasfast=true 1198 -> 200 131",
			"7: POST play.google.com/log?format=json&hasfast=true 2195 -> 200 131",
			"9: POST play.google.com/log?format=json&hasfast=true&authuser=0 317 -> 200 131",
		},
		"suricata-verify/http2-deflate": {
			"1: upgraded -> 200 30",
		},
		"suricata-verify/http2-disabled": {
			"1: upgraded -> 200 62",
			"3: GET nghttp2.org/humans.txt 0 -> 404 9",
		},
		"suricata-verify/http2-errorcode": {
			"1: POST 127.0.0.1:6233/helloworld.GreeterService/SayHello 12 -> 200 19 grpc 0 of 1",
			"1: POST 127.0.0.1:6233/helloworld.GreeterService/SayHello 12 -> 200 19 grpc 0 of 1",
		},
		"suricata-verify/http2-frames": {
			"1: upgraded -> 200 62",
			"3: GET nghttp2.org/humans.txt 0 -> 404 9",
		},
		"suricata-verify/http2-keywords2": {
			"1: upgraded -> 200 62",
			"3: GET nghttp2.org/humans.txt 0 -> 404 9",
		},
		"suricata-verify/http2-long-frame": {
			"1: GET target.com/ 0 -> 200 70000 http2_frame_error",
			"3: GET evil.com/malware/payload.exe 0 -> ",
		},
		"suricata-verify/http2-range": {
			"1: upgraded -> 206 11",
			"1: upgraded -> 206 11",
			"1: upgraded -> 206 29",
		},
		"suricata-verify/http2-upgrade": {
			"1: upgraded -> 200 62",
			"3: GET nghttp2.org/humans.txt 0 -> 404 9",
		},
		"suricata-verify/http2-userinfo-authority": {
			"1: GET username:password@secdsm.org/ 0 -> 400 155",
		},
		"suricata-verify/dns-over-http2-limit": {
			"1: POST 127.0.0.1:8080/dns 131072 -> 415 16",
		},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(corpora, name, "*.pcap*"))
			require.NoError(t, err)
			require.Len(t, files, 1)
			source, err := pcapfile.Open(files, pcapfile.Options{Workers: 1})
			require.NoError(t, err)
			c := &captured{t: t, reader: http2.NewReader(1<<20, nil), budget: tcp.NewBudget(64 << 20)}
			table, err := tcp.New(tcp.Config{}, c, c.budget, new(tcp.Stats))
			require.NoError(t, err)
			require.NoError(t, source.Run(context.Background(), func(_ int, b capture.Batch) {
				for i := range b.Packets {
					table.Packet(&b.Packets[i])
				}
			}))
			table.Close()
			slices.Sort(c.got)
			assert.Equal(t, want, c.got)
			assert.Zero(t, c.budget.Used())
		})
	}
}
