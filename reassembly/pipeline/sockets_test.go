package pipeline_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/reassembly"
	"offpath/reassembly/internal/script"
)

// Frames of RFC 6455: of a client those are masked with zeros.
const (
	clientText  = "\x81\x85\x00\x00\x00\x00hello"
	clientClose = "\x88\x82\x00\x00\x00\x00\x03\xe8"
	serverText  = "\x81\x03abc"
	serverPing  = "\x89\x00"
	serverClose = "\x88\x02\x03\xe9"
)

// heldSocket writes a WebSocket after an upgrade from HTTP/1.
func heldSocket(c *script.Connection) {
	c.Open()
	c.Client("GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	c.Server("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n" + serverPing)
	c.Client(clientText + clientText)
	c.Server(serverText)
	c.Client(clientClose)
	c.Server(serverClose)
	c.Close()
}

// heldStream writes the same as a stream of HTTP/2 (RFC 8441), beside a request.
func heldStream(c *script.Connection) {
	client, server := newFramed(true), newFramed(false)
	client.head(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a", ":path", "/live")
	server.head(1, false, ":status", "200").data(1, false, serverPing)
	c.Open()
	c.Client(client.said())
	c.Server(server.said())
	c.Client(client.data(1, false, clientText[:4]).get(3, "/beside").data(1, false, clientText[4:]+clientText).said())
	c.Server(server.data(1, false, serverText).head(3, true, ":status", "204").said())
	c.Client(client.data(1, true, clientClose).said())
	c.Server(server.data(1, true, serverClose).said())
	c.Close()
}

// events are the lines that are no transactions.
func events(txs []*reassembly.Transaction) (of []*reassembly.Transaction) {
	for _, tx := range txs {
		if tx.Event != nil {
			of = append(of, tx)
		}
	}
	return of
}

func TestWhatAWebSocketHasSaidIsToldAtItsEnd(t *testing.T) {
	sockets := config
	sockets.Sockets = true
	for _, test := range []struct {
		name  string
		write func(*script.Connection)
	}{
		{"after an upgrade", heldSocket},
		{"in a stream of HTTP/2", heldStream},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := script.New()
			test.write(s.Connection())
			txs, stats := run(t, sockets, s.Packets(), 1)
			require.Len(t, events(txs), 1)
			end := events(txs)[0]
			ask := txs[slices.IndexFunc(txs, func(tx *reassembly.Transaction) bool { return tx.Request.Path == "/live" })]
			assert.Equal(t, &reassembly.WebSocket{
				Request: ask.ID,
				Client:  reassembly.SocketSide{Frames: 3, Messages: 2, Bytes: 12, CloseCode: 1000},
				Server:  reassembly.SocketSide{Frames: 3, Messages: 1, Bytes: 5, CloseCode: 1001},
			}, end.Event)
			assert.Equal(t, ask.CommunityID, end.CommunityID)
			assert.Equal(t, ask.Source, end.Source)
			assert.Equal(t, ask.Client, end.Client)
			assert.NotEqual(t, ask.ID, end.ID)
			assert.Greater(t, end.End, ask.End, "the transaction does not wait for it")
			assert.Equal(t, ask.Start+ask.Duration, end.Start)
			assert.Contains(t, ask.Flags.Names(), "upgraded")
			assert.True(t, ask.Complete)
			assert.EqualValues(t, 1, stats.WebSockets)
			assert.EqualValues(t, 1, stats.Sockets)

			without, stats := run(t, config, s.Packets(), 1)
			assert.Empty(t, events(without), "who does not ask gets none")
			assert.EqualValues(t, 1, stats.WebSockets)
			assert.EqualValues(t, 3, stats.WebSocketClient.Frames)
		})
	}
}

func TestAWebSocketOfWhichOctetsAreMissing(t *testing.T) {
	sockets := config
	sockets.Sockets = true
	for name, write := range map[string]func(*script.Connection){"after an upgrade": heldSocket, "in a stream of HTTP/2": heldStream} {
		t.Run(name, func(t *testing.T) {
			s := script.New()
			write(s.Connection())
			packets := s.Packets()
			whole, _ := run(t, sockets, packets, 64)
			want := events(whole)[0].Event.(*reassembly.WebSocket)
			found := 0
			for lost := range packets {
				txs, _ := run(t, sockets, script.Stamp(script.Without(packets, lost)), 64)
				for _, tx := range events(txs) {
					found++
					got := tx.Event.(*reassembly.WebSocket)
					for i, side := range []reassembly.SocketSide{got.Client, got.Server} {
						all := []reassembly.SocketSide{want.Client, want.Server}[i]
						require.LessOrEqual(t, side.Frames, all.Frames, "packet %d", lost)
						require.LessOrEqual(t, side.Bytes, all.Bytes, "packet %d", lost)
						require.True(t, side.Partial || side.Frames == all.Frames && side.Bytes == all.Bytes, "packet %d: %+v", lost, side)
					}
				}
			}
			assert.Greater(t, found, len(packets)/2)
		})
	}
}

func TestAWebSocketThatTheCaptureEndsIsMarked(t *testing.T) {
	sockets := config
	sockets.Sockets = true
	s := script.New()
	heldSocket(s.Connection())
	packets := slices.DeleteFunc(s.Packets(), func(p capture.Packet) bool { return p.Flags&capture.FlagFIN != 0 })
	txs, _ := run(t, sockets, packets, 64)
	require.Len(t, events(txs), 1)
	assert.Equal(t, []string{"truncated"}, events(txs)[0].Flags.Names())
}
