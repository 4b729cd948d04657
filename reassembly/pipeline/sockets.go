package pipeline

import (
	"net/netip"
	"strings"

	"offpath/reassembly"
	"offpath/reassembly/http2"
	"offpath/reassembly/tcp"
	"offpath/reassembly/websocket"
)

// socket is a WebSocket that is being counted: what a connection is after an
// upgrade, or a stream of HTTP/2.
type socket struct {
	sides    [2]websocket.Counter // by http2.Side
	request  string               // event.id of what asked for it, which it shares with no other
	client   netip.Addr           // of the same
	sequence int                  // likewise
	start    int64                // capture time of the answer, ns since the epoch
	last     int64                // of the last octet since
}

// socketCost is what a socket is charged to the budget, octets.
const socketCost = 512

// openSocket begins to count a WebSocket that a transaction's answer has opened;
// nil is returned if there is no room for it.
func (s *shard) openSocket(tx *reassembly.Transaction, start int64) *socket {
	if !s.admits(socketCost) {
		return nil
	}
	k := &socket{request: strings.Clone(tx.ID), client: tx.Client, sequence: tx.Sequence, start: start, last: start}
	k.sides[http2.Server].Server()
	return k
}

// read counts what a side says.
func (k *socket) read(side http2.Side, data []byte, time int64) {
	k.last = max(k.last, time)
	k.sides[side].Read(data)
}

// turnToSocket makes a connection a WebSocket.
func (s *shard) turnToSocket(f *tcp.Flow, c *conn, tx *reassembly.Transaction) {
	l := s.over(c)
	if l == nil {
		s.refuse(f, c)
		return
	}
	k := s.openSocket(tx, c.last)
	if k == nil {
		s.refuse(f, c)
		return
	}
	client := c.client
	s.endRequests(f, c)
	s.startOver(c)
	c.client, c.oriented, c.turned = client, true, true
	l.socket = k
}

// closeSocket books a WebSocket that has ended, and hands it over.
func (s *shard) closeSocket(f *tcp.Flow, c *conn, k *socket) {
	s.budget.Give(socketCost)
	client, server := &k.sides[http2.Client].Counts, &k.sides[http2.Server].Counts
	s.stats.WebSockets++
	s.stats.WebSocketClient.add(client)
	s.stats.WebSocketServer.add(server)
	if !s.config.Sockets {
		return
	}
	tx := s.txs.New()
	s.identify(f, c, tx, k.start, socketEvent-k.sequence)
	tx.Sequence, tx.Client = k.sequence, k.client
	tx.End, tx.Duration = s.table.Clock(), k.last-k.start
	tx.Event = &reassembly.WebSocket{Request: k.request, Client: socketSide(client), Server: socketSide(server)}
	if s.cut {
		tx.Flags = reassembly.FlagTruncated
	}
	s.stats.Sockets++
	s.done = append(s.done, tx)
}

// socketEvent is where the sequences begin, downwards, that tell the event.id of a
// WebSocket from those of transactions; -1 is that of a ClientHello.
const socketEvent = -2

func socketSide(c *websocket.Counts) reassembly.SocketSide {
	return reassembly.SocketSide{
		Frames: c.Frames, Messages: c.Messages, Bytes: c.Octets, Gap: c.Gap,
		CloseCode: c.CloseCode, Partial: c.Partial, Invalid: c.Invalid,
	}
}
