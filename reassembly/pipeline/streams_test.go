package pipeline_test

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2/hpack"

	"offpath/capture"
	"offpath/reassembly"
	"offpath/reassembly/internal/script"
)

// framed writes what one side of HTTP/2 says.
type framed struct {
	octets []byte
	block  bytes.Buffer
	hpack  *hpack.Encoder
}

// Types and flags of frames (RFC 9113 section 6).
const (
	frameData, frameHeaders, frameReset, frameSettings, frameContinuation = 0, 1, 3, 4, 9

	endStream, endHeaders = 1, 4
)

// newFramed is a side that has said its preface.
func newFramed(client bool) *framed {
	s := &framed{}
	s.hpack = hpack.NewEncoder(&s.block)
	if client {
		s.octets = append(s.octets, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
	}
	return s.frame(frameSettings, 0, 0, "")
}

// frame writes a frame.
func (s *framed) frame(kind, flags byte, stream uint32, payload string) *framed {
	n := len(payload)
	s.octets = append(s.octets, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	s.octets = append(binary.BigEndian.AppendUint32(s.octets, stream), payload...)
	return s
}

// ended is END_STREAM if it is the last frame.
func ended(last bool) byte {
	if last {
		return endStream
	}
	return 0
}

// encode encodes pairs of name and value.
func (s *framed) encode(fields ...string) string {
	s.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = s.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return s.block.String()
}

func (s *framed) head(stream uint32, last bool, fields ...string) *framed {
	return s.frame(frameHeaders, endHeaders|ended(last), stream, s.encode(fields...))
}

func (s *framed) get(stream uint32, path string) *framed {
	return s.head(stream, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", path)
}

func (s *framed) data(stream uint32, last bool, data string) *framed {
	return s.frame(frameData, ended(last), stream, data)
}

// said returns what was said since the last call.
func (s *framed) said() string {
	text := string(s.octets)
	s.octets = s.octets[:0]
	return text
}

// rpcMessage is a message of gRPC.
func rpcMessage(size int) string {
	return "\x00\x00\x00\x00" + string(rune(size)) + strings.Repeat("m", size)
}

func TestCallsOfGRPC(t *testing.T) {
	const path = "/bank.v1.Accounts/Transfer"
	call := []string{":method", "POST", ":scheme", "http", ":authority", "a", ":path", path, "content-type", "application/grpc", "te", "trailers"}
	answered := []string{":status", "200", "content-type", "application/grpc+proto"}
	for _, test := range []struct {
		name  string
		write func(client, server *framed)
		want  reassembly.GRPC
	}{
		{"one message each way, and a status", func(client, server *framed) {
			client.head(1, false, call...).data(1, true, rpcMessage(5))
			server.head(1, false, answered...).data(1, false, rpcMessage(9)).head(1, true, "grpc-status", "0")
		}, reassembly.GRPC{Status: 0, RequestMessages: 1, ResponseMessages: 1}},
		{"messages across frames, and several in one", func(client, server *framed) {
			client.head(1, false, call...).data(1, false, rpcMessage(5)[:3]).data(1, true, rpcMessage(5)[3:]+rpcMessage(0)+rpcMessage(1))
			server.head(1, false, answered...).head(1, true, "grpc-status", "7")
		}, reassembly.GRPC{Status: 7, RequestMessages: 3, ResponseMessages: 0}},
		{"a status without messages", func(client, server *framed) {
			client.head(1, false, call...).data(1, true, rpcMessage(5))
			server.head(1, true, append(answered, "grpc-status", "16")...)
		}, reassembly.GRPC{Status: 16, RequestMessages: 1, ResponseMessages: 0}},
		{"what is no message", func(client, server *framed) {
			client.head(1, false, call...).data(1, true, "\x07\x00\x00\x00\x01m")
			server.head(1, true, append(answered, "grpc-status", "12")...)
		}, reassembly.GRPC{Status: 12, RequestMessages: 0, ResponseMessages: 0, Partial: true}},
		{"a proxy that answers itself", func(client, server *framed) {
			client.head(1, false, call...).data(1, true, rpcMessage(5))
			server.head(1, true, ":status", "503", "content-type", "text/html")
		}, reassembly.GRPC{Status: reassembly.Unknown, RequestMessages: 1, ResponseMessages: reassembly.Unknown}},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := newFramed(true), newFramed(false)
			test.write(client, server)
			s := script.New()
			c := s.Connection()
			c.Open()
			c.Client(client.said())
			c.Server(server.said())
			c.Close()
			txs, _ := run(t, config, s.Packets(), 64)
			require.Len(t, txs, 1)
			assert.Equal(t, "bank.v1.Accounts/Transfer", txs[0].Operation)
			require.NotNil(t, txs[0].GRPC)
			assert.Equal(t, test.want, *txs[0].GRPC)
		})
	}
}

func TestWhatIsNoCallOfGRPCHasNoneOfItsFields(t *testing.T) {
	client, server := newFramed(true).get(1, "/"), newFramed(false).head(1, true, ":status", "204")
	s := script.New()
	c := s.Connection()
	c.Open()
	c.Client(client.said())
	c.Server(server.said())
	c.Close()
	txs, _ := run(t, config, s.Packets(), 64)
	require.Len(t, txs, 1)
	assert.Nil(t, txs[0].GRPC)
}

// TestRequestsOfHTTP2WithoutTheirServerAreHandedOver: the mirror has only what the
// client says.
func TestRequestsOfHTTP2WithoutTheirServerAreHandedOver(t *testing.T) {
	client := newFramed(true)
	s := script.New()
	c := s.Connection()
	c.Silent = true
	c.Send(true, capture.FlagSYN, nil)
	for i := range 5 {
		c.Client(client.get(uint32(2*i+1), "/"+strconv.Itoa(i)).said())
		s.Wait(time.Second)
	}
	s.Wait(time.Minute)
	other := s.Connection() // moves the clock
	other.Open()
	other.Client(get("/other"))
	packets := s.Packets()
	asked := map[string]int64{}
	for i, path := range []string{"/0", "/1", "/2", "/3", "/4"} {
		asked[path] = packets[i+1].Time
	}
	txs, stats := run(t, config, packets, 1)
	require.Len(t, txs, 6)
	for _, tx := range txs[:5] {
		assert.Equal(t, asked[tx.Request.Path]+int64(2*time.Second), tx.End, tx.Request.Path)
		assert.Equal(t, []string{"one_way"}, tx.Flags.Names())
		assert.Zero(t, tx.Response.Status)
		assert.False(t, tx.Complete)
	}
	assert.EqualValues(t, 5, stats.HTTP2.StreamsExpired)
}

func TestPseudoHeaderFieldsAreAmongTheFieldsAndNotAmongTheHeaders(t *testing.T) {
	client := newFramed(true).head(1, true, ":method", "GET", ":path", "/a?access_token=topsecret", ":authority", "a", ":scheme", "https", "accept", "*/*")
	server := newFramed(false).head(1, true, ":status", "204", "server", "s")
	s := script.New()
	c := s.Connection()
	c.Open()
	c.Client(client.said())
	c.Server(server.said())
	c.Close()
	detailed := live
	detailed.Content.DetailHeaders = true
	txs, _ := run(t, detailed, s.Packets(), 64)
	require.Len(t, txs, 1)
	names := func(fields [][2]string) (list []string) {
		for _, f := range fields {
			list = append(list, f[0])
			assert.NotContains(t, f[1], "topsecret")
		}
		return list
	}
	assert.Equal(t, []string{":method", ":path", ":authority", ":scheme", "accept"}, names(txs[0].Request.Detail.Fields))
	assert.Equal(t, []string{":status", "server"}, names(txs[0].Response.Detail.Fields))
	assert.Equal(t, []string{"accept"}, txs[0].Request.Headers)
}

func TestAServerThatAnswersThePrefaceInHTTP1IsHeard(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		want         []string
	}{
		{"with an error", "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad", []string{
			"GET /a 0 req=0 res=-1 incomplete", "POST /b 0 req=0 res=-1 incomplete", "PRI * 400 req=0 res=3",
		}},
		{"twice, the second time what follows the preface", "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\n\r\nHTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", []string{
			"GET /a 0 req=0 res=-1 incomplete", "POST /b 0 req=0 res=-1 incomplete", "PRI * 505 req=0 res=0",
		}},
		{"with one that is cut short", "HTTP/1.1 400 Bad Request\r\nContent-Length: 30\r\n\r\nbad", []string{
			"GET /a 0 req=0 res=-1 incomplete", "POST /b 0 req=0 res=-1 incomplete", "PRI * 400 req=0 res=3 incomplete",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, mss := range []int{1460, 9} {
				s := script.New()
				c := s.Connection()
				c.MSS = mss
				c.Open()
				c.Client(newFramed(true).get(1, "/a").head(3, true, ":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/b").said())
				c.Server(test.answer)
				c.Client(newFramed(false).said())
				c.Close()
				txs, stats := run(t, config, s.Packets(), 64)
				assert.Equal(t, test.want, lines(txs), "segments of %d octets", mss)
				assert.Equal(t, "2", txs[2].HTTPVersion)
				assert.Zero(t, stats.ConnectionsOther)
				ids := map[string]bool{}
				for _, tx := range txs {
					ids[tx.ID] = true
				}
				assert.Len(t, ids, len(txs))
			}
		})
	}
}

func TestAPrefaceInPiecesBeginsHTTP2(t *testing.T) {
	asked := newFramed(true).get(1, "/a").get(3, "/b").said()
	answered := newFramed(false).head(1, true, ":status", "200").head(3, true, ":status", "404").said()
	want := []string{"GET /a 200 req=0 res=0", "GET /b 404 req=0 res=0"}
	for _, test := range []struct {
		name string
		say  func(c *script.Connection, cut int)
	}{
		{"and the rest follows", func(c *script.Connection, cut int) {
			c.Client(asked[:cut])
			c.Client(asked[cut:])
			c.Server(answered)
		}},
		{"and the server speaks in between", func(c *script.Connection, cut int) {
			c.Client(asked[:cut])
			c.Server(answered[:9])
			c.Client(asked[cut:])
			c.Server(answered[9:])
		}},
		{"in a tunnel", func(c *script.Connection, cut int) {
			c.Client("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")
			c.Server("HTTP/1.1 200 OK\r\n\r\n")
			c.Client(asked[:cut])
			c.Client(asked[cut:])
			c.Server(answered)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for cut := 1; cut < 30; cut++ {
				s := script.New()
				c := s.Connection()
				c.Open()
				test.say(c, cut)
				c.Close()
				txs, _ := run(t, config, s.Packets(), 64)
				got := lines(txs)
				if len(got) == 3 {
					require.Contains(t, got[0], "CONNECT")
					got = got[1:]
				}
				assert.Equal(t, want, got, "after %d octets", cut)
			}
		})
	}
}
