package pipeline

import (
	"offpath/reassembly/http1"
	"offpath/reassembly/tcp"
)

// Stats are the books of a Pipeline. All counters only grow, except for what
// tcp.Stats says is a level.
type Stats struct {
	TCP  tcp.Stats
	HTTP http1.Stats

	Transactions uint64 // handed over
	Complete     uint64 // of these, seen to their end
	Unanswered   uint64 // of these, without a response

	// Requests read = Transactions + RequestsAbandoned + those still open.
	RequestsAbandoned uint64 // requests whose head could not be kept

	ResponsesUnpaired    uint64 // responses whose request was not seen or can't be proven
	ResponsesUnsolicited uint64 // responses without a request that no loss explains
	ResponsesAbandoned   uint64 // responses whose head could not be kept
	Informational        uint64 // 1xx responses
	QueueOverflows       uint64 // requests given up because too many waited for a response

	ConnectionsHTTP     uint64 // connections that spoke HTTP/1
	ConnectionsTLS      uint64 // connections left because they speak TLS
	ConnectionsHTTP2    uint64 // … HTTP/2 without TLS
	ConnectionsOther    uint64 // … something else
	ConnectionsUpgraded uint64 // HTTP connections that turned to another protocol
	ConnectionsTunnel   uint64 // HTTP connections that became a tunnel
}

// Add adds o to s.
func (s *Stats) Add(o *Stats) {
	s.TCP.Add(&o.TCP)
	s.HTTP.Add(&o.HTTP)
	s.Transactions += o.Transactions
	s.Complete += o.Complete
	s.Unanswered += o.Unanswered
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
	s.ConnectionsUpgraded += o.ConnectionsUpgraded
	s.ConnectionsTunnel += o.ConnectionsTunnel
}
