package pipeline

import (
	"offpath/reassembly/http1"
	"offpath/reassembly/http2"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
	"offpath/reassembly/websocket"
)

// Stats are the books of a Pipeline. All counters only grow, except for what
// tcp.Stats says is a level.
type Stats struct {
	TCP   tcp.Stats
	HTTP  http1.Stats
	HTTP2 http2.Stats
	TLS   tls.Stats

	Transactions uint64 // handed over
	Complete     uint64 // of these, seen to their end
	Unanswered   uint64 // of these, without a response

	Hellos  uint64 // ClientHellos handed over
	Sockets uint64 // WebSockets handed over

	// Requests read = Transactions + RequestsAbandoned + those still open.
	RequestsAbandoned uint64 // requests whose head could not be kept

	ResponsesUnpaired    uint64 // responses whose request was not seen or can't be proven
	ResponsesUnsolicited uint64 // responses without a request that no loss explains
	ResponsesAbandoned   uint64 // responses whose head could not be kept
	Informational        uint64 // 1xx responses
	QueueOverflows       uint64 // requests given up because too many waited for a response, or there was no room to

	ConnectionsHTTP         uint64 // connections that spoke HTTP/1
	ConnectionsTLS          uint64 // connections that are secured by TLS; see TLS for what was decrypted
	ConnectionsHTTP2        uint64 // connections that spoke HTTP/2
	ConnectionsOther        uint64 // connections left because they speak something else
	ConnectionsRefused      uint64 // connections left because there was no room for what they speak
	ConnectionsProxied      uint64 // connections that begin with a PROXY protocol header
	ClaimsRetracted         uint64 // connections taken for TLS or HTTP/2, and counted there, that turned out to speak HTTP/1
	RolesCorrected          uint64 // times that the other side turned out to be the client
	ProxyHeadersDisbelieved uint64 // PROXY protocol headers from trusted proxies that are seen to send none

	ConnectionsUpgraded uint64 // HTTP connections that turned to another protocol
	ConnectionsTunnel   uint64 // HTTP connections that became a tunnel

	WebSockets      uint64 // WebSocket connections that have ended
	WebSocketClient SocketStats
	WebSocketServer SocketStats
}

// SocketStats are what one side of WebSockets said. They are counted when these
// end.
type SocketStats struct {
	Frames   uint64
	Messages uint64 // text and binary
	Octets   uint64 // of payloads, missing ones included
	Partial  uint64 // sides that could not be counted to their end
	Invalid  uint64 // sides that were not as RFC 6455 has it
}

func (s *SocketStats) add(c *websocket.Counts) {
	s.Frames += c.Frames
	s.Messages += c.Messages
	s.Octets += c.Octets
	if c.Partial {
		s.Partial++
	}
	if c.Invalid {
		s.Invalid++
	}
}

// Add adds o to s.
func (s *SocketStats) Add(o *SocketStats) {
	s.Frames += o.Frames
	s.Messages += o.Messages
	s.Octets += o.Octets
	s.Partial += o.Partial
	s.Invalid += o.Invalid
}

// Add adds o to s.
func (s *Stats) Add(o *Stats) {
	s.TCP.Add(&o.TCP)
	s.HTTP.Add(&o.HTTP)
	s.HTTP2.Add(&o.HTTP2)
	s.TLS.Add(&o.TLS)
	s.Transactions += o.Transactions
	s.Complete += o.Complete
	s.Unanswered += o.Unanswered
	s.Hellos += o.Hellos
	s.Sockets += o.Sockets
	s.RequestsAbandoned += o.RequestsAbandoned
	s.ResponsesUnpaired += o.ResponsesUnpaired
	s.ResponsesUnsolicited += o.ResponsesUnsolicited
	s.ResponsesAbandoned += o.ResponsesAbandoned
	s.Informational += o.Informational
	s.QueueOverflows += o.QueueOverflows
	s.ConnectionsHTTP += o.ConnectionsHTTP
	s.ConnectionsTLS += o.ConnectionsTLS
	s.ConnectionsHTTP2 += o.ConnectionsHTTP2
	s.ConnectionsOther += o.ConnectionsOther
	s.ConnectionsRefused += o.ConnectionsRefused
	s.ConnectionsProxied += o.ConnectionsProxied
	s.ClaimsRetracted += o.ClaimsRetracted
	s.RolesCorrected += o.RolesCorrected
	s.ProxyHeadersDisbelieved += o.ProxyHeadersDisbelieved
	s.WebSockets += o.WebSockets
	s.WebSocketClient.Add(&o.WebSocketClient)
	s.WebSocketServer.Add(&o.WebSocketServer)
	s.ConnectionsUpgraded += o.ConnectionsUpgraded
	s.ConnectionsTunnel += o.ConnectionsTunnel
}
